--- Groups of Redshift that clusters are made with: of parameters, and of subnets.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local json     = require "native.json"
local ordered  = require "neap.ordered"
local resource = require "neap.targets.aws.resource"
local shell    = require "neap.targets.shell"

local groups = {}

local MOST = 20 -- parameters in one call

local function change(target, operation, parameters)
  return account.change(target, operation, parameters, { repeatable = true })
end

-- ---- parameters ----

--- A value in one form: lists and objects of JSON whatever their spaces and order.
local function canonical(value)
  if type(value) == "table" then return resource.document(value) end
  local text = tostring(value)
  local ok, document = pcall(resource.document, text:find "^%s*[%[{]" and text or "")
  return ok and document or text
end

--- The parameters that somebody has set; all others are as Redshift has them.
local function parameters_of(target)
  local map = {}
  for _, one in ipairs(resource.all(target, "DescribeClusterParameters",
    { ParameterGroupName = target.group, Source = "user" }, "Parameters")) do
    if one.ParameterValue then map[one.ParameterName] = canonical(one.ParameterValue) end
  end
  return map
end

local function get_parameters(target)
  local found = account.find(target, "DescribeClusterParameterGroups", { ParameterGroupName = target.group })
  local one = found and found.ParameterGroups and found.ParameterGroups[1]
  return one and { family = one.ParameterGroupFamily, description = one.Description,
    parameters = parameters_of(target) }
end

local function in_pieces(target, operation, list)
  for first = 1, #list, MOST do
    change(target, operation, { ParameterGroupName = target.group,
      Parameters = { table.unpack(list, first, math.min(first + MOST - 1, #list)) } })
  end
end

local function set_parameters(target, wanted, now)
  local set, reset = {}, {}
  for _, name in ipairs(ordered.keys(wanted)) do
    if wanted[name] ~= now[name] then set[#set + 1] = { ParameterName = name, ParameterValue = wanted[name] } end
  end
  for _, name in ipairs(ordered.keys(now)) do
    if wanted[name] == nil then reset[#reset + 1] = { ParameterName = name } end
  end
  in_pieces(target, "ResetClusterParameterGroup", reset)
  in_pieces(target, "ModifyClusterParameterGroup", set)
end

local function merged(parameters, given)
  local map = {}
  for name, value in pairs(parameters) do map[name] = value end
  for name, value in pairs(given) do
    map[name] = value ~= false and canonical(value) or nil
  end
  return map
end

resource.declare("redshift.parameter_group", {
  get = get_parameters,
  put = function(target, state)
    if not state then return resource.remove(target, "DeleteClusterParameterGroup",
      { ParameterGroupName = target.group }) end
    local now = get_parameters(target)
    if not now then
      resource.make(target, "CreateClusterParameterGroup", { ParameterGroupName = target.group,
        ParameterGroupFamily = state.family, Description = state.description })
    end
    set_parameters(target, state.parameters, now and now.parameters or {})
  end,
  take = resource.taken_in_parts(get_parameters, function(state)
    local parts = merged(state.parameters, {})
    parts["the group"] = { state.family, state.description }
    return parts
  end),
  show = function(target) return "parameter group " .. target.group end,
  text = function(state)
    local lines = { "family " .. state.family, state.description }
    for _, name in ipairs(ordered.keys(state.parameters)) do
      local value = state.parameters[name]
      local ok, pretty = pcall(resource.pretty, value:find "^[%[{]" and value or "")
      lines[#lines + 1] = ("%s = %s"):format(name, ok and pretty or value)
    end
    return table.concat(lines, "\n")
  end,
})

local GROUP = { family = true, description = true, parameters = true }

local function refuse_other(what, name, field, before, given)
  if given == nil or given == before then return end
  fault.raise { kind = "conflict",
    message = ("the %s of the %s %s is %s, and cannot be changed"):format(field, what, name, tostring(before)) }
end

--- Makes a parameter group be there with these values: a text, a number, a table (as JSON), "true"; false: as Redshift
--- has it. What is not named stays. nil instead of the group: it is not there. Clusters that use it may have to be
--- rebooted: redshift.with_reboot.
--- @param name string
--- @param group? { family?: string, description?: string, parameters?: table<string, any> }  family: "redshift-1.0"
--- @param options? table  keep, irreversible, timeout; profile, region, endpoint
function groups.parameter_group(name, group, options)
  options = resource.options(options, {}, 2)
  shell.check_keys(group, GROUP, "a parameter group", 2)
  local target = resource.target("redshift", options, { group = name })
  effect.change("redshift.parameter_group", target, function(before)
    if not group then return nil end
    if before then
      refuse_other("parameter group", name, "family", before.family, group.family)
      refuse_other("parameter group", name, "description", before.description, group.description)
    end
    local base = before or { family = group.family or "redshift-1.0", description = group.description or name,
      parameters = {} }
    return { family = base.family, description = base.description,
      parameters = merged(base.parameters, group.parameters or {}) }
  end, resource.of_change(options))
end

local WLM = { concurrency = true, short_queries = true }

--- The value of wlm_json_configuration for one queue: so many queries at a time, and queries that take no longer than
--- so many seconds (0: as Redshift finds) past it.
--- @param given { concurrency: integer, short_queries?: integer|false }
--- @return table[]
function groups.wlm(given)
  shell.check_keys(given, WLM, "redshift.wlm", 2)
  local list = json.array { { auto_wlm = false, query_concurrency = given.concurrency } }
  if given.short_queries ~= nil then
    list[2] = { short_query_queue = given.short_queries ~= false,
      max_execution_time = given.short_queries and given.short_queries * 1000 or nil }
  end
  return list
end

-- ---- subnets ----

local function get_subnets(target)
  local found = account.find(target, "DescribeClusterSubnetGroups", { ClusterSubnetGroupName = target.group })
  local one, ids = found and found.ClusterSubnetGroups and found.ClusterSubnetGroups[1], {}
  if not one then return nil end
  for i, subnet in ipairs(one.Subnets or {}) do ids[i] = subnet.SubnetIdentifier end
  table.sort(ids)
  return { description = one.Description, subnets = ids }
end

resource.declare("redshift.subnet_group", {
  get = get_subnets,
  put = function(target, state)
    if not state then return resource.remove(target, "DeleteClusterSubnetGroup",
      { ClusterSubnetGroupName = target.group }) end
    local given = { ClusterSubnetGroupName = target.group, Description = state.description,
      SubnetIds = state.subnets }
    if get_subnets(target) then change(target, "ModifyClusterSubnetGroup", given)
    else resource.make(target, "CreateClusterSubnetGroup", given) end
  end,
  show = function(target) return "subnet group " .. target.group end,
  text = function(state) return ("%s\n%s"):format(state.description, table.concat(state.subnets, "\n")) end,
})

--- Makes a subnet group hold these subnets; nil: it is not there.
--- @param name string
--- @param group? { subnets: string[], description?: string }
--- @param options? table  keep, irreversible, timeout; profile, region, endpoint
function groups.subnet_group(name, group, options)
  options = resource.options(options, {}, 2)
  shell.check_keys(group, { subnets = true, description = true }, "a subnet group", 2)
  if group and (type(group.subnets) ~= "table" or not group.subnets[1]) then
    error('a subnet group is { subnets = { "subnet-…", … } }', 2)
  end
  effect.change("redshift.subnet_group", resource.target("redshift", options, { group = name }), function(before)
    if not group then return nil end
    local ids = { table.unpack(group.subnets) }
    table.sort(ids)
    return { description = group.description or before and before.description or name, subnets = ids }
  end, resource.of_change(options))
end

return groups
