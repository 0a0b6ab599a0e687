--- Names in Route 53: sets of records, changed together by one batch that AWS takes whole or not at all, and only where
--- they are still as they were.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local json     = require "native.json"
local resource = require "neap.targets.aws.resource"
local shell    = require "neap.targets.shell"
local task     = require "native.task"

local route53 = {}

local IN_SYNC_EVERY = 5 -- seconds
local SHORTEST_ID   = 8 -- letters and digits of a zone's id, in capitals and without a dot

local FIELDS = {
  weight = "Weight", region = "Region", failover = "Failover", location = "GeoLocation",
  multi_value = "MultiValueAnswer", health_check = "HealthCheckId",
}

-- ---- states ----

local function absolute(name)
  name = name:lower():gsub("\\052", "*")
  return name:sub(-1) == "." and name or name .. "."
end

local function state_of(set)
  local one = { name = absolute(set.Name), type = set.Type, set = set.SetIdentifier, ttl = set.TTL }
  for field, member in pairs(FIELDS) do one[field] = set[member] end
  if set.AliasTarget then
    one.alias = { zone = set.AliasTarget.HostedZoneId, name = absolute(set.AliasTarget.DNSName),
      evaluate = set.AliasTarget.EvaluateTargetHealth }
    return one
  end
  one.values = {}
  for i, record in ipairs(set.ResourceRecords or {}) do one.values[i] = record.Value end
  table.sort(one.values)
  return one
end

local function set_of(one)
  local set = { Name = one.name, Type = one.type, SetIdentifier = one.set, TTL = one.ttl }
  for field, member in pairs(FIELDS) do set[member] = one[field] end
  if one.alias then
    set.AliasTarget = { HostedZoneId = one.alias.zone, DNSName = one.alias.name,
      EvaluateTargetHealth = one.alias.evaluate }
    return set
  end
  set.ResourceRecords = {}
  for i, value in ipairs(one.values) do set.ResourceRecords[i] = { Value = value } end
  return set
end

local function is_named(one, wanted)
  return one.name == wanted.name and one.type == wanted.type and one.set == wanted.set
end

--- The set as AWS has it; nil where there is none. All sets of a name and type follow one another.
local function find_set(target, wanted)
  local from = { StartRecordName = wanted.name, StartRecordType = wanted.type }
  repeat
    from.HostedZoneId = target.zone
    local page = account.read(target, "ListResourceRecordSets", from)
    for _, set in ipairs(page.ResourceRecordSets or {}) do
      local one = state_of(set)
      if is_named(one, wanted) then return set end
      if one.name ~= wanted.name or one.type ~= wanted.type then return nil end
    end
    from = { StartRecordName = page.NextRecordName, StartRecordType = page.NextRecordType,
      StartRecordIdentifier = page.NextRecordIdentifier }
  until not page.IsTruncated
end

local function get(target)
  local list = {}
  for _, wanted in ipairs(target.records) do
    local set = find_set(target, wanted)
    if set then list[#list + 1] = state_of(set) end
  end
  return list[1] and list or nil
end

-- ---- changes ----

local function find_in(list, wanted)
  for _, one in ipairs(list or {}) do
    if is_named(one, wanted) then return one end
  end
end

--- A set exactly as AWS has it, to be deleted: which AWS refuses where it is another by then.
local function as_it_is(target, was)
  local set = find_set(target, was)
  if set and effect.same(state_of(set), was) then return set end
  return fault.raise { kind = "conflict", message = ("%s %s was changed by somebody else"):format(was.name, was.type) }
end

--- What was there is deleted as it was, and only that; then comes what is to be.
local function batch(target, before, after)
  local changes = {}
  for _, wanted in ipairs(target.records) do
    local was, will = find_in(before, wanted), find_in(after, wanted)
    if not effect.same(was, will) then
      if was then changes[#changes + 1] = { Action = "DELETE", ResourceRecordSet = as_it_is(target, was) } end
      if will then
        changes[#changes + 1] = { Action = was and "UPSERT" or "CREATE", ResourceRecordSet = set_of(will) }
      end
    end
  end
  return changes
end

local function wait_in_sync(target, id)
  while account.read(target, "GetChange", { Id = id }).ChangeInfo.Status ~= "INSYNC" do task.sleep(IN_SYNC_EVERY) end
end

local SHOWN = { "set", "weight", "region", "failover", "location", "multi_value", "health_check" }

--- A record for people, with all by which it may differ from another.
local function line_of(one)
  local value = one.alias and "alias of " .. one.alias.name .. (one.alias.zone and " in " .. one.alias.zone or "")
    .. (one.alias.evaluate and ", by its health" or "") or table.concat(one.values, " ")
  local parts = { ("%s %s %s %s"):format(one.name, one.ttl or "-", one.type, value) }
  for _, field in ipairs(SHOWN) do
    local shown = one[field]
    if shown ~= nil then
      parts[#parts + 1] = ("%s %s"):format(field, type(shown) == "table" and json.encode(shown) or tostring(shown))
    end
  end
  return table.concat(parts, ", ")
end

resource.declare("route53.records", {
  timeout = 600,
  get = get,
  put = function(target, state, call)
    local ok, result = pcall(account.change, target, "ChangeResourceRecordSets", { HostedZoneId = target.zone,
      ChangeBatch = { Comment = "neap " .. call.witness, Changes = batch(target, call.before, state) } },
      { repeatable = false, happened = function() return effect.same(get(target), state) end })
    if ok then return result and wait_in_sync(target, result.ChangeInfo.Id) end
    if fault.is(result) and result.code == "InvalidChangeBatch" then result.kind = "conflict" end
    error(result, 0)
  end,
  show = function(target)
    local names = {}
    for i, one in ipairs(target.records) do names[i] = ("%s %s"):format(one.name, one.type) end
    return table.concat(names, ", ", 1, math.min(3, #names)) .. (#names > 3 and (" and %d more"):format(#names - 3)
      or "")
  end,
  text = function(list)
    local lines = {}
    for i, one in ipairs(list) do lines[i] = line_of(one) end
    return table.concat(lines, "\n")
  end,
})

-- ---- what authors call ----

--- The id of a zone given by its id or its name.
local zone_of = effect.read("route53.zone", function(target, zone)
  local id = zone:match "^/?hostedzone/(%w+)$" or zone:match "^[%u%d]+$"
  if id and #id >= SHORTEST_ID then return id end
  local page = account.read(target, "ListHostedZonesByName", { DNSName = absolute(zone) })
  local found
  for _, one in ipairs(page.HostedZones or {}) do
    if absolute(one.Name) == absolute(zone) and not (one.Config and one.Config.PrivateZone) then
      if found then
        fault.raise { kind = "conflict", message =
          ("there are several zones named %s: name it by its id"):format(zone) }
      end
      found = one.Id:match "[^/]+$"
    end
  end
  return found or fault.raise { kind = "missing", message = ("there is no public zone named %s"):format(zone) }
end)

local RECORD = { name = true, type = true, set = true, ttl = true, values = true, alias = true, weight = true,
  region = true, failover = true, location = true, multi_value = true, health_check = true, absent = true }

local ALIAS = { zone = true, name = true, evaluate = true }

local function checked_alias(record, level)
  local alias = record.alias
  if type(alias) == "table" then shell.check_keys(alias, ALIAS, record.name .. ": alias", level + 1) end
  if type(alias) ~= "table" or alias.zone == nil or alias.name == nil then
    error(("%s: alias is { zone =, name = }"):format(record.name), level + 1)
  end
  return { zone = alias.zone, name = absolute(alias.name), evaluate = alias.evaluate or false }
end

local function checked(record, level)
  if type(record) ~= "table" or type(record.name) ~= "string" or type(record.type) ~= "string" then
    error('a record is { name = "www.example.com", type = "CNAME", ttl = 60, values = { "…" } }', level + 1)
  end
  account.check_options(record, RECORD, level + 1)
  local one = {}
  for key, value in pairs(record) do one[key] = value end
  one.name, one.absent = absolute(record.name), nil
  one.ttl, one.weight = math.tointeger(tonumber(record.ttl)), math.tointeger(tonumber(record.weight))
  if record.absent then return one, true end
  if (record.values == nil) == (record.alias == nil) or record.values and not one.ttl then
    error(("%s: either ttl and values, or alias = { zone =, name = }"):format(record.name), level + 1)
  end
  if one.alias then
    one.alias = checked_alias(record, level + 1)
  else
    one.values = {}
    for i, value in ipairs(record.values) do one.values[i] = tostring(value) end -- also what is known later
    table.sort(one.values)
  end
  return one
end

local function change(zone, records, options, level)
  options = resource.options(options, {}, level)
  if type(zone) ~= "string" then error("a zone is named by its id or its name", level) end
  local target = account.target("route53", options)
  local named, wanted = {}, {}
  for i, record in ipairs(records) do
    local one, absent = checked(record, level)
    named[i] = { name = one.name, type = one.type, set = one.set }
    if not absent then wanted[#wanted + 1] = one end
  end
  target.zone = zone_of(resource.apart(target), zone)
  target.records = named
  effect.change("route53.records", target, function() return wanted[1] and wanted or nil end,
    resource.of_change(options))
end

--- Makes records of a zone be as given, all of them at once: { name =, type =, ttl =, values = } or { name =, type =,
--- alias = { zone =, name =, evaluate = } }, with set, weight, region, failover, location, multi_value or health_check
--- where there are several of a name; absent = true: not there. Waits until all servers have them.
--- @param zone string  its id, or the name of a public zone
--- @param records table[]
--- @param options? table  keep, irreversible, timeout; profile, region, endpoint
function route53.records(zone, records, options)
  change(zone, records, options, 3)
end

local POINT = { cname = true, ttl = true, alias = true }

--- Makes names lead somewhere else, or back: for a maintenance page, say, of CloudFront. What stands there by another
--- type (A, AAAA, CNAME) is taken away in the same batch.
--- @param zone string
--- @param names string[]
--- @param to { cname?: string, ttl?: integer, alias?: { zone: string, name: string } }
--- @param options? table  as of route53.records
function route53.point(zone, names, to, options)
  local records = {}
  shell.check_options(to, POINT, 2)
  if (to.cname == nil) == (to.alias == nil) then
    error("names lead to { cname = }, or to { alias = { zone =, name = } }", 2)
  end
  for _, name in ipairs(names) do
    if to.cname then
      records[#records + 1] = { name = name, type = "A", absent = true }
      records[#records + 1] = { name = name, type = "AAAA", absent = true }
      records[#records + 1] = { name = name, type = "CNAME", ttl = to.ttl or 60, values = { to.cname } }
    else
      records[#records + 1] = { name = name, type = "CNAME", absent = true }
      records[#records + 1] = { name = name, type = "A", alias = to.alias }
    end
  end
  change(zone, records, options, 3)
end

local read_list = effect.read("route53.list", function(target, zone, names)
  target.zone = zone_of(target, zone)
  local wanted, list, from = {}, {}, {}
  for _, name in ipairs(names) do wanted[absolute(name)] = true end
  repeat
    local page = account.read(target, "ListResourceRecordSets", { HostedZoneId = target.zone,
      StartRecordName = from.name, StartRecordType = from.type, StartRecordIdentifier = from.set })
    for _, set in ipairs(page.ResourceRecordSets or {}) do
      if wanted[absolute(set.Name)] then list[#list + 1] = state_of(set) end
    end
    from = { name = page.NextRecordName, type = page.NextRecordType, set = page.NextRecordIdentifier }
  until not page.IsTruncated
  return list
end)

--- The records that names have, as route53.records takes them; names with a dot at their end.
--- @param zone string
--- @param names string[]
--- @param options? table  profile, region, endpoint
--- @return table[]
function route53.list(zone, names, options)
  return read_list(account.target("route53", account.check_options(options, {}, 2)), zone, names)
end

--- The zone of all CloudFront distributions, for aliases.
route53.CLOUDFRONT = "Z2FDTNDATAQYW2"

return route53
