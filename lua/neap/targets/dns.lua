--- The domain name system, asked at the name servers that one means: whether a change of a record has arrived there.
local effect = require "neap.engine.effect"
local fault  = require "native.error"
local native = require "native.dns"
local shell  = require "neap.targets.shell"

local dns = {}

local TIMEOUT = 15 -- seconds
local TYPES = { A = true, AAAA = true, CNAME = true, TXT = true, MX = true, NS = true, SOA = true, SRV = true,
  PTR = true }
local OPTIONS = { servers = true, timeout = true }

local function of_type(records, type)
  local list = {}
  for _, record in ipairs(records) do
    if record.type == type then
      list[#list + 1] = { type = type, value = record.value, ttl = record.ttl }
    end
  end
  return list
end

local function ask(target)
  local ok, records = pcall(native.query, target.name, target.type,
    { servers = target.servers, timeout = target.timeout })
  if ok then return of_type(records, target.type) end
  if fault.is(records) then
    records.message = ("%s %s%s: %s"):format(target.type, target.name,
      target.servers and " at " .. table.concat(target.servers, ", ") or "", records.message)
  end
  error(records, 0)
end

local query = effect.read("dns.query", ask)

--- The records of that type, in the server's order; none where the name has others alone. An alias on the way is followed.
--- Raises `missing` where there is no such name, `timeout`, `connect` where no server answers or can be reached, `remote`
--- where it fails, `protocol` where the answer cannot be read.
--- @param name string  exactly this name: no domain is added
--- @param type "A"|"AAAA"|"CNAME"|"TXT"|"MX"|"NS"|"SOA"|"SRV"|"PTR"
--- @param options? { servers?: string[], timeout?: number }  "10.0.0.1", "127.0.0.1:5353", default: the system's; 15 s
--- @return { type: string, value: string, ttl: integer }[]  value as people write it, names in lower case
function dns.query(name, type, options)
  options = shell.check_options(options, OPTIONS, 2)
  if not TYPES[type] then error(("no type of record is named %q"):format(tostring(type)), 2) end
  return query { name = name, type = type, servers = options.servers, timeout = options.timeout or TIMEOUT }
end

return dns
