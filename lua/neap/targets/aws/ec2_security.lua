--- Security groups of EC2: who may reach what stands in one.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local resource = require "neap.targets.aws.resource"
local shell    = require "neap.targets.shell"

local security = {}

-- ---- what is there ----

local function find(target)
  local found = account.read(target, "DescribeSecurityGroups", { Filters = {
    { Name = "group-name", Values = { target.group } }, { Name = "vpc-id", Values = { target.vpc } } } })
  return found.SecurityGroups and found.SecurityGroups[1]
end

--- What makes a rule the same one, whatever is noted with it.
local function key_of(rule)
  return ("%s %d-%d from %s"):format(rule.protocol, rule.first, rule.last, rule.from)
end

local SOURCES = { { "IpRanges", "CidrIp" }, { "Ipv6Ranges", "CidrIpv6" }, { "UserIdGroupPairs", "GroupId" },
  { "PrefixListIds", "PrefixListId" } }

local function rules_of(permissions)
  local rules = {}
  for _, one in ipairs(permissions or {}) do
    for _, source in ipairs(SOURCES) do
      for _, from in ipairs(one[source[1]] or {}) do
        rules[#rules + 1] = { protocol = one.IpProtocol, first = one.FromPort or -1, last = one.ToPort or -1,
          from = from[source[2]], note = from.Description }
      end
    end
  end
  table.sort(rules, function(a, b) return key_of(a) < key_of(b) end)
  return rules
end

local function get(target)
  local one = find(target)
  return one and { description = one.Description, rules = rules_of(one.IpPermissions) }
end

-- ---- changes ----

local function source_of(from)
  if from:find "^sg%-" then return SOURCES[3] end
  if from:find "^pl%-" then return SOURCES[4] end
  return from:find ":" and SOURCES[2] or SOURCES[1]
end

local function permission_of(rule)
  local source = source_of(rule.from)
  return { IpProtocol = rule.protocol, FromPort = rule.first ~= -1 and rule.first or nil,
    ToPort = rule.last ~= -1 and rule.last or nil,
    [source[1]] = { { [source[2]] = rule.from, Description = rule.note } } }
end

--- The rules of one list that are not in another, as requests have them; `noted`: those that are, with another note.
local function difference(list, other, noted)
  local known, permissions = {}, {}
  for _, rule in ipairs(other) do known[key_of(rule)] = rule end
  for _, rule in ipairs(list) do
    local there = known[key_of(rule)]
    local counts = not there
    if noted then counts = there ~= nil and there.note ~= rule.note end
    if counts then permissions[#permissions + 1] = permission_of(rule) end
  end
  return permissions[1] and permissions
end

--- Comes before goes: who may reach it before and after is never shut out between.
local function set_rules(target, id, wanted, now)
  local added, noted, gone = difference(wanted, now), difference(wanted, now, true), difference(now, wanted)
  if added then
    resource.make(target, "AuthorizeSecurityGroupIngress", { GroupId = id, IpPermissions = added })
  end
  if noted then
    account.change(target, "UpdateSecurityGroupRuleDescriptionsIngress", { GroupId = id, IpPermissions = noted },
      { repeatable = true })
  end
  if gone then resource.remove(target, "RevokeSecurityGroupIngress", { GroupId = id, IpPermissions = gone }) end
end

local function made(target, description)
  resource.make(target, "CreateSecurityGroup", { GroupName = target.group, VpcId = target.vpc,
    Description = description })
  for count = 1, math.huge do -- it may be seen later than it is made
    local one = find(target)
    if one then return one end
    resource.pause(count, 2)
  end
end

resource.declare("ec2.security_group", {
  get = get,
  put = function(target, state)
    local one = find(target)
    if not state then return one and resource.remove(target, "DeleteSecurityGroup", { GroupId = one.GroupId }) end
    one = one or made(target, state.description)
    set_rules(target, one.GroupId, state.rules, rules_of(one.IpPermissions))
  end,
  take = resource.taken_in_parts(get, function(state)
    local parts = { ["the group"] = state.description }
    for _, rule in ipairs(state.rules) do parts[key_of(rule)] = { rule.note } end
    return parts
  end),
  show = function(target) return ("security group %s of %s"):format(target.group, target.vpc) end,
  text = function(state)
    local lines = { state.description }
    for i, rule in ipairs(state.rules) do lines[i + 1] = key_of(rule) .. (rule.note and ": " .. rule.note or "") end
    return table.concat(lines, "\n")
  end,
})

-- ---- what authors call ----

local GROUP = { description = true, rules = true }
local RULE  = { protocol = true, port = true, to = true, from = true, note = true }

local function check_keys(given, known, what, level)
  if type(given) ~= "table" then error(what .. " is a table", level + 1) end
  shell.check_keys(given, known, what, level + 1)
end

local function rule_of(given, level)
  check_keys(given, RULE, "a rule", level + 1)
  if type(given.from) ~= "string" then error("from says who: addresses, a group's id, a prefix list's", level + 1) end
  local port = given.port
  return { protocol = given.protocol or "tcp", first = port or -1, last = given.to or port or -1, from = given.from,
    note = given.note }
end

local function target_of(vpc, name, options)
  return resource.target("ec2", options, { vpc = vpc, group = name })
end

--- Makes a security group of a VPC let in these, and nobody else: { port = 5439, from = "10.0.0.0/16" } and the like,
--- with `to` for a range of ports, protocol ("tcp", "udp", "icmp", "-1" for all), note. What it lets out is left as it
--- is. nil instead of the group: it is not there.
--- @param vpc string   "vpc-…"
--- @param name string
--- @param group? { description?: string, rules?: table[] }  without rules those that are there stay
--- @param options? table  keep, irreversible, timeout; profile, region, endpoint
function security.group(vpc, name, group, options)
  options = resource.options(options, {}, 2)
  local rules = group and group.rules and {}
  if group then check_keys(group, GROUP, "a security group", 2) end
  for i, given in ipairs(rules and group.rules or {}) do rules[i] = rule_of(given, 2) end
  table.sort(rules or {}, function(a, b) return key_of(a) < key_of(b) end)
  effect.change("ec2.security_group", target_of(vpc, name, options), function(before)
    if not group then return nil end
    if before and group.description and group.description ~= before.description then
      fault.raise { kind = "conflict",
        message = ("the description of the security group %s cannot be changed"):format(name) }
    end
    return { description = before and before.description or group.description or name,
      rules = rules or before and before.rules or {} }
  end, resource.of_change(options))
end

local read_id = effect.read("ec2.security_group_id", function(target)
  local one = find(target)
  if one then return one.GroupId end
  return fault.raise { kind = "missing",
    message = ("there is no security group %s in %s"):format(target.group, target.vpc) }
end)

--- The id of a security group. Raises kind `missing` where it is not there.
--- @param vpc string
--- @param name string
--- @param options? table  profile, region, endpoint
--- @return string
function security.id(vpc, name, options)
  return read_id(target_of(vpc, name, account.check_options(options, {}, 2)))
end

return security
