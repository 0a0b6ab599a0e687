--- A site's maintenance mode by DNS: its names lead to a page that says so, and later again to where they led before.
--- A site is { zone =, names = {…}, page = { cname =, ttl = } or { alias = { zone =, name = } }, servers = {…} }: a
--- hosted zone of Route 53, names in it, where they lead meanwhile, and the name servers that have to know it.
local maintenance = {}

local TYPES = { "A", "AAAA", "CNAME" } -- by any of which a name may lead somewhere

local function absolute(name) return (name:lower():gsub("%.?$", ".")) end

--- What each name has of each type: that of the list, or nothing.
local function all_of(names, list)
  local records = {}
  for _, name in ipairs(names) do
    for _, type in ipairs(TYPES) do
      local record = { name = name, type = type, absent = true }
      for _, one in ipairs(list) do
        if one.type == type and absolute(one.name) == absolute(name) then record = one end
      end
      records[#records + 1] = record
    end
  end
  return records
end

local function page_of(site)
  local list, page = {}, site.page
  for i, name in ipairs(site.names) do
    list[i] = page.alias and { name = name, type = "A", alias = page.alias }
      or { name = name, type = "CNAME", ttl = page.ttl or 60, values = { page.cname } }
  end
  return list
end

--- Leads the site's names to its page. A rollback leads them back.
--- @param site table
--- @return table[]  where they led, for maintenance.off
function maintenance.on(site)
  local before = route53.list(site.zone, site.names)
  route53.records(site.zone, all_of(site.names, page_of(site)))
  return before
end

--- Leads the site's names where they led before.
--- @param site table
--- @param before table[]  what maintenance.on returned
function maintenance.off(site, before) route53.records(site.zone, all_of(site.names, before)) end

local function records(name, type, server)
  local ok, found = pcall(dns.query, name, type, { servers = { server } })
  if ok then return found end
  if found.kind ~= "missing" then error(found, 0) end
  return {}
end

local function addresses(name, server)
  local set = {}
  for _, one in ipairs(records(name, "A", server)) do set[one.value] = true end
  return set
end

--- An alias of Route 53 is not to be seen: the name then has addresses of what it leads to.
local function shares_address(name, other, server)
  local theirs = addresses(other, server)
  for address in pairs(addresses(name, server)) do
    if theirs[address] then return true end
  end
  return false
end

--- Whether a name server has the name lead to the other one.
--- @param name string
--- @param other string
--- @param server string
--- @return boolean
function maintenance.leads_to(name, other, server)
  local found = records(name, "CNAME", server)[1]
  if found then return absolute(found.value) == absolute(other) end
  return shares_address(name, other, server)
end

local function target_of(record) return record.alias and record.alias.name or record.values and record.values[1] end

--- Whether a name server knows the record. What is no alias is compared by its values.
local function knows(server, record)
  if record.alias or record.type == "CNAME" then return maintenance.leads_to(record.name, target_of(record), server) end
  local found = {}
  for _, one in ipairs(records(record.name, record.type, server)) do found[one.value] = true end
  for _, value in ipairs(record.values) do
    if not found[value] then return false end
  end
  return true
end

local function known_everywhere(site, list)
  for _, server in ipairs(site.servers) do
    for _, record in ipairs(list) do
      if not knows(server, record) then return false end
    end
  end
  return true
end

--- Whether all name servers of the site know that it is in maintenance.
--- @param site table
--- @return boolean
function maintenance.is_on(site) return known_everywhere(site, page_of(site)) end

--- Whether all of them know where the site's names lead again.
--- @param site table
--- @param before table[]  what maintenance.on returned
--- @return boolean
function maintenance.is_off(site, before) return known_everywhere(site, before) end

return maintenance
