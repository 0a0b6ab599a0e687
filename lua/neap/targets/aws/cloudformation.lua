--- Stacks of CloudFormation: a stack's state is its template, its parameters and its tags. It is changed by change
--- sets, which are looked at before they are carried out.
local account   = require "neap.targets.aws.account"
local body      = require "neap.targets.aws.cloudformation_body"
local effect    = require "neap.engine.effect"
local events    = require "neap.targets.aws.cloudformation_events"
local fault     = require "native.error"
local hosts     = require "neap.targets.connection"
local ordered   = require "neap.ordered"
local resource  = require "neap.targets.aws.resource"
local shell     = require "neap.targets.shell"
local status    = require "neap.targets.aws.cloudformation_status"
local task      = require "native.task"
local templates = require "neap.targets.aws.cloudformation_template"

local cloudformation = {}

local EVERY   = 5     -- seconds between two looks
local HIDDEN  = "****" -- how AWS shows a value that it does not show

-- ---- what is there ----

local function map_of(list, key, value)
  local map = {}
  for _, one in ipairs(list or {}) do map[one[key]] = one[value] end
  return map
end

local function get(target)
  local stack = status.describe(target)
  if not stack or status.GONE[stack.StackStatus] or status.EMPTY[stack.StackStatus] then return nil end
  local found = account.read(target, "GetTemplate", { StackName = target.stack, TemplateStage = "Original" })
  return { template = found.TemplateBody, parameters = map_of(stack.Parameters, "ParameterKey", "ParameterValue"),
    tags = map_of(stack.Tags, "Key", "Value") }
end

-- ---- what must stay ----

local function protected_types()
  local policy = (hosts.run().environment.policy or {}).cloudformation or {}
  local set = {}
  for _, one in ipairs(policy.never_delete or {}) do set[one] = true end
  return set
end

local function is_named(target, id)
  for _, one in ipairs(target.named or {}) do
    if one == id then return true end
  end
  return false
end

--- Raises kind `denied` where resources are in a list that policy protects and nobody has named.
local function refuse_loss(target, losses)
  local types, lines = protected_types(), {}
  for _, one in ipairs(losses) do
    if types[one.type] and not is_named(target, one.id) then
      lines[#lines + 1] = ("%s %s would be %s"):format(one.id, one.type, one.how)
    end
  end
  if not lines[1] then return end
  fault.raise { kind = "denied", code = "never_delete", output = table.concat(lines, "\n"),
    message = ("the stack %s would lose what the environment's policy protects"):format(target.stack),
    hint = "name each of them in `named`, if that is meant" }
end

local function losses_of(changes)
  local losses = {}
  for _, change in ipairs(changes) do
    local one = change.ResourceChange or {}
    local how = one.Action == "Remove" and "deleted"
      or (one.Replacement == "True" or one.Replacement == "Conditional") and "replaced"
    if how then losses[#losses + 1] = { id = one.LogicalResourceId, type = one.ResourceType, how = how } end
  end
  return losses
end

-- ---- changes ----

local function listed(map, key, value)
  local list = {}
  for i, name in ipairs(ordered.keys(map)) do list[i] = { [key] = name, [value] = map[name] } end
  return list
end

local function parameters_of(state)
  local list = listed(state.parameters, "ParameterKey", "ParameterValue")
  for _, one in ipairs(list) do
    if one.ParameterValue == HIDDEN then one.ParameterValue, one.UsePreviousValue = nil, true end
  end
  return list
end

local function set_name(witness) return "neap-" .. witness:gsub("[^%w-]", "-") end

local function has_set(target, name)
  local ok, failure = pcall(account.read, target, "DescribeChangeSet", { StackName = target.stack,
    ChangeSetName = name })
  if ok then return true end
  if fault.is(failure) and (failure.kind == "missing" or failure.code == "ValidationError") then return false end
  return error(failure, 0)
end

--- A stack that was reviewed and never made is a husk once nobody's change set is left in it.
local function delete_husk(target)
  local stack = status.describe(target)
  if not stack or stack.StackStatus ~= "REVIEW_IN_PROGRESS" then return end
  for _, set in ipairs(resource.all(target, "ListChangeSets", { StackName = target.stack }, "Summaries")) do
    if set.StackName == target.stack then return end
  end
  account.change(target, "DeleteStack", { StackName = target.stack }, { repeatable = true })
end

local function delete_set(target, name)
  if has_set(target, name) then
    account.change(target, "DeleteChangeSet", { StackName = target.stack, ChangeSetName = name }, { repeatable = true })
  end
  delete_husk(target)
end

--- The changes of a set, once it is made. Raises where AWS sees nothing to change.
local function changes_of(target, name)
  local changes, count = {}, 0
  local set, token
  repeat
    set = account.read(target, "DescribeChangeSet", { StackName = target.stack, ChangeSetName = name,
      NextToken = token })
    if set.Status:find "PENDING" or set.Status:find "IN_PROGRESS" then
      count = count + 1
      resource.pause(count, EVERY)
      changes, token = {}, nil
    else
      table.move(set.Changes or {}, 1, #(set.Changes or {}), #changes + 1, changes)
      token = set.NextToken
    end
  until not token and not set.Status:find "PENDING" and not set.Status:find "IN_PROGRESS"
  if set.Status == "FAILED" then
    fault.raise { kind = "denied", code = "ChangeSetFailed", output = set.StatusReason,
      message = ("CloudFormation makes no change of the stack %s"):format(target.stack) }
  end
  return changes
end

local function create_set(target, name, state, is_new)
  local template = body.of(target, state.template)
  account.change(target, "CreateChangeSet", { StackName = target.stack, ChangeSetName = name,
    ChangeSetType = is_new and "CREATE" or "UPDATE", TemplateBody = template.TemplateBody,
    TemplateURL = template.TemplateURL, Parameters = parameters_of(state), Capabilities = target.capabilities,
    Tags = listed(state.tags, "Key", "Value"), ClientToken = name }, { repeatable = true })
end

--- The changes of a set in which nothing is lost that must stay; the set is deleted where that is not so.
local function harmless_changes(target, name)
  local ok, result = pcall(function()
    local changes = changes_of(target, name)
    refuse_loss(target, losses_of(changes))
    return changes
  end)
  if ok then return result end
  task.shield(delete_set, target, name)
  return error(result, 0)
end

local function execute(target, state, call, is_new)
  local name = set_name(call.witness)
  create_set(target, name, state, is_new)
  harmless_changes(target, name)
  local story = events.follow(target, status.describe(target))
  account.change(target, "ExecuteChangeSet", { StackName = target.stack, ChangeSetName = name,
    ClientRequestToken = name },
    { repeatable = true })
  status.check_good(target, status.wait_until_still(target, story), story)
end

local function delete_stack(target, token)
  local losses, stack = {}, status.describe(target)
  if not stack then return end
  local found = account.find(target, "DescribeStackResources", { StackName = target.stack })
  for _, one in ipairs(found and found.StackResources or {}) do
    if one.ResourceStatus ~= "DELETE_COMPLETE" then -- what a failed creation has taken back itself is listed, too
      losses[#losses + 1] = { id = one.LogicalResourceId, type = one.ResourceType, how = "deleted" }
    end
  end
  refuse_loss(target, losses)
  local story = events.follow(target, stack)
  account.change(target, "DeleteStack", { StackName = target.stack, ClientRequestToken = token }, { repeatable = true })
  stack = status.wait_until_still(target, story)
  if stack and not status.GONE[stack.StackStatus] then status.check_good(target, stack, story) end
end

local function put(target, state, call)
  local stack = status.describe(target)
  if not state then return delete_stack(target, set_name(call.witness)) end
  if stack and status.EMPTY[stack.StackStatus] then
    delete_stack(target, set_name(call.witness))
    stack = nil
  end
  return execute(target, state, call, not stack or status.GONE[stack.StackStatus])
end

--- A change set that is deleted cannot be carried out any more.
local function take(target, id, intent)
  if status.is_moving(status.describe(target)) then return "running", "the stack is changing" end
  if effect.same(get(target), intent.after) then return nil end
  task.shield(delete_set, target, set_name(id))
  if not events.has_begun(target, set_name(id)) then
    task.sleep(account.late(target, intent))
    if not status.is_moving(status.describe(target)) then task.shield(delete_set, target, set_name(id)) end -- one that was made late
  end
  if status.is_moving(status.describe(target)) then return "running", "the stack is changing" end
  return nil
end

local function lines_of(title, map)
  local lines = {}
  for i, one in ipairs(listed(map, "name", "value")) do lines[i] = ("%s %s: %s"):format(title, one.name, one.value) end
  return lines
end

--- JSON in one form, so that a difference shows what differs; all else as it is.
local function readable(template)
  local ok, text = pcall(resource.pretty, template)
  return ok and text or template
end

effect.resource "cloudformation.stack" {
  timeout = 3600 * 3, get = get, put = put, take = take, meet = account.meet,
  show = function(target) return "stack " .. target.stack end,
  key = function(target) return { target.stack, target.region, target.profile } end,
  text = function(state)
    local lines = lines_of("parameter", state.parameters)
    table.move(lines_of("tag", state.tags), 1, 1000, #lines + 1, lines)
    lines[#lines + 1] = readable(state.template)
    return table.concat(lines, "\n")
  end,
}

-- ---- a look at what an update would change ----

local function line_of(change)
  local one = change.ResourceChange or {}
  return ("%s %s %s%s"):format(one.Action, one.LogicalResourceId, one.ResourceType,
    one.Replacement and one.Replacement ~= "False" and (", replaced: " .. one.Replacement) or "")
end

local NO_CHANGE = { "didn't contain changes", "No updates are to be performed" } -- as AWS says it

local function says_no_change(failure)
  local reason = fault.is(failure) and (failure.message .. (failure.output or "")) or ""
  return reason:find(NO_CHANGE[1], 1, true) ~= nil or reason:find(NO_CHANGE[2], 1, true) ~= nil
end

effect.action "cloudformation.preview" {
  timeout = 900,
  run = function(target, state, call)
    local name, lines = set_name(call.witness), {}
    local ok, changes = pcall(function()
      create_set(target, name, state, false)
      return harmless_changes(target, name)
    end)
    if not ok and not says_no_change(changes) then error(changes, 0) end
    for i, change in ipairs(ok and changes or {}) do lines[i] = line_of(change) end
    delete_set(target, name)
    return lines
  end,
  take = function(target, id, intent)
    task.shield(delete_set, target, set_name(id))
    task.sleep(account.late(target, intent))
    task.shield(delete_set, target, set_name(id))
    return "void"
  end,
  meet = account.meet,
  show = function(target) return "stack " .. target.stack end,
  says = function() return "a change set is made, looked at and deleted" end,
}

-- ---- what authors call ----

--- The parameters that a template takes, with what they are where nobody says.
local summary = effect.read("cloudformation.summary", function(target, template)
  return body.parameters(target, template)
end)

local function value_of(one, given, before)
  local key = one.ParameterKey
  if given[key] ~= nil then
    if one.NoEcho then
      fault.raise { kind = "denied", message = ("%s is not shown by AWS: neap only leaves it as it is"):format(key) }
    end
    return tostring(given[key])
  end
  local value = before and before.parameters[key] or one.DefaultValue
  return value or fault.raise { kind = "missing", message = ("the template's parameter %s has no value"):format(key) }
end

local OPTIONS = { capabilities = true, named = true, s3_bucket = true, s3_prefix = true }
local STACK = { template = true, parameters = true, tags = true }

local function target_of(name, options)
  if type(name) ~= "string" or not name:find "^%a[%w-]*$" then
    error(("%q is no name of a stack"):format(tostring(name)), 3)
  end
  return resource.target("cloudformation", options, { stack = name, capabilities = options.capabilities,
    named = options.named, templates = body.place(options, 3) })
end

local function check(target, stack)
  if type(stack) ~= "table" or type(stack.template) ~= "string" then error('a stack is { template = "…" }', 3) end
  shell.check_keys(stack, STACK, "a stack", 3)
  body.check(target, stack.template, "the template of " .. target.stack)
end

--- The parameters that the template takes; that it has those that are given.
local function parameters_for(target, stack)
  local list, known = summary(resource.apart(target), stack.template), {}
  for _, one in ipairs(list) do known[one.ParameterKey] = true end
  shell.check_keys(stack.parameters, known, ("the template of %s: Parameters"):format(target.stack), 3)
  return list
end

--- What a stack shall be, from what it is.
local function wanted_state(stack, parameters, before)
  local state = { template = stack.template, parameters = {}, tags = stack.tags or before and before.tags or {} }
  for _, one in ipairs(parameters) do
    state.parameters[one.ParameterKey] = value_of(one, stack.parameters or {}, before)
  end
  return state
end

--- A template that is there comes back with a rollback: that it can is looked at before it goes.
local function check_way_back(target, before, options)
  if options.keep or options.irreversible then return end
  body.check(target, before.template, ("the template that %s has, and a rollback brings back,"):format(target.stack))
end

--- Makes a stack be as given: { template = text, parameters = { … }, tags = { … } }. Parameters that are not given
--- stay, or take the template's default. The run makes a change set and refuses it where it deletes or replaces what is
--- of a type in the policy's cloudformation.never_delete, unless its logical id is among `named`; what two templates in
--- JSON already say of deletions is refused before. Where more than one global secondary index of a table comes or goes,
--- the stack is updated once for each, as DynamoDB wants it.
--- @param name string
--- @param stack { template: string, parameters?: table<string, string>, tags?: table<string, string> }
--- @param options? table  capabilities, named (lists); s3_bucket, s3_prefix (where a template above 51,200 bytes is put by
---   the run); keep, irreversible, timeout; profile, region, endpoint
function cloudformation.stack(name, stack, options)
  options = resource.options(options, OPTIONS, 2)
  local target = target_of(name, options)
  check(target, stack)
  local wanted = parameters_for(target, stack)
  status.check_ready(resource.apart(target), false)
  repeat
    local state = effect.change("cloudformation.stack", target, function(before)
      local next_state = wanted_state(stack, wanted, before)
      if before then
        check_way_back(target, before, options)
        refuse_loss(target, templates.losses(before.template, stack.template))
        next_state.template = templates.next(before.template, stack.template)
      end
      return next_state
    end, resource.of_change(options))
  until state.template == stack.template
end

local read_state = effect.read("cloudformation.state", function(target) return get(target) end)

--- Makes a change set of a stack that is there, looks at it and deletes it: one that would lose what the policy protects
--- is refused as by cloudformation.stack.
--- @param name string
--- @param stack { template: string, parameters?: table<string, string>, tags?: table<string, string> }
--- @param options? table  capabilities, named; s3_bucket, s3_prefix; timeout; profile, region, endpoint
--- @return string[]  a line for each change
function cloudformation.preview(name, stack, options)
  options = resource.options(options, OPTIONS, 2)
  local target = target_of(name, options)
  check(target, stack)
  local before = read_state(target)
  if not before then fault.raise { kind = "missing", message = ("there is no stack %s"):format(name) } end
  refuse_loss(target, templates.losses(before.template, stack.template))
  local state = wanted_state(stack, parameters_for(target, stack), before)
  if effect.same(before, state) then return {} end
  return effect.perform("cloudformation.preview", target, state,
    { keep = "nothing is left of it", timeout = options.timeout })
end

--- Deletes a stack with all that is in it: its template and parameters come back with a rollback, what was stored does
--- not. Protected types are refused as by cloudformation.stack.
--- @param name string
--- @param options? table  as of cloudformation.stack
function cloudformation.delete(name, options)
  options = resource.options(options, OPTIONS, 2)
  local target = target_of(name, options)
  status.check_ready(resource.apart(target), true)
  effect.change("cloudformation.stack", target, function(before)
    if before then check_way_back(target, before, options) end
    return nil
  end, resource.of_change(options))
end

local read_outputs = effect.read("cloudformation.outputs", function(target)
  local stack = status.describe(target)
  if not stack then fault.raise { kind = "missing", message = ("there is no stack %s"):format(target.stack) } end
  return map_of(stack.Outputs, "OutputKey", "OutputValue")
end)

--- What a stack gives out, by name.
--- @param name string
--- @param options? table  profile, region, endpoint
--- @return table<string, string>
function cloudformation.outputs(name, options)
  return read_outputs(target_of(name, account.check_options(options, {}, 2)))
end

return cloudformation
