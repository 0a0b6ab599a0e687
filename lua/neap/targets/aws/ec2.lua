--- Servers of EC2: made from an image by a request that is the same when it comes twice, stopped, started, ended;
--- images.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local ordered  = require "neap.ordered"
local resource = require "neap.targets.aws.resource"
local security = require "neap.targets.aws.ec2_security"
local shell    = require "neap.targets.shell"
local task     = require "native.task"

local ec2 = { security_group = security.group, security_group_id = security.id }

local EVERY = 5 -- seconds between two looks

-- ---- instances ----

local function describe(target, id)
  local found = account.find(target, "DescribeInstances", { InstanceIds = { id } })
  local group = found and found.Reservations and found.Reservations[1]
  return group and group.Instances[1]
end

local function state_of(target, id)
  local one = describe(target, id)
  return one and one.State.Name
end

--- The instance that carries an effect's name; nil where there is none.
local function made_by(target, witness)
  local found = account.read(target, "DescribeInstances", { Filters = { { Name = "tag:" .. resource.MARK,
    Values = { witness } } } })
  for _, group in ipairs(found.Reservations or {}) do
    for _, one in ipairs(group.Instances) do
      if one.State.Name ~= "terminated" and one.State.Name ~= "shutting-down" then return one.InstanceId end
    end
  end
end

local STANDING = { "pending", "running", "stopping", "stopped" }

--- Instances by their tag Name, also by a pattern with `*`; not those that are ended.
local function named(target, name)
  local list = {}
  local found = account.read(target, "DescribeInstances", { Filters = { { Name = "tag:Name", Values = { name } },
    { Name = "instance-state-name", Values = STANDING } } })
  for _, group in ipairs(found.Reservations or {}) do
    for _, one in ipairs(group.Instances) do
      local tags = {}
      for _, tag in ipairs(one.Tags or {}) do tags[tag.Key] = tag.Value end
      list[#list + 1] = { id = one.InstanceId, name = tags.Name, state = one.State.Name, type = one.InstanceType,
        private_ip = one.PrivateIpAddress, tags = tags }
    end
  end
  table.sort(list, function(a, b) return a.name .. a.id < b.name .. b.id end)
  return list
end

local function wait_for(target, id, wanted)
  local now = state_of(target, id)
  while now ~= wanted do
    if not now or now == "terminated" or now == "shutting-down" then
      fault.raise { kind = "remote", message = ("%s is %s, not %s"):format(id, now or "not there", wanted) }
    end
    task.sleep(EVERY)
    now = state_of(target, id)
  end
  return describe(target, id)
end

local function told(one)
  return { id = one.InstanceId, private_ip = one.PrivateIpAddress, public_ip = one.PublicIpAddress,
    private_dns = one.PrivateDnsName, zone = one.Placement and one.Placement.AvailabilityZone }
end

--- The request with its token, and its name as a tag.
local function request_of(data, witness)
  local request, specifications = {}, {}
  for key, value in pairs(data.parameters) do request[key] = value end
  for _, one in ipairs(request.TagSpecifications or {}) do
    if one.ResourceType ~= "instance" then specifications[#specifications + 1] = one end
  end
  local tags = { { Key = resource.MARK, Value = witness } }
  for _, tag in ipairs(data.tags) do tags[#tags + 1] = tag end
  specifications[#specifications + 1] = { ResourceType = "instance", Tags = tags }
  request.TagSpecifications, request.ClientToken, request.MinCount, request.MaxCount = specifications, witness, 1, 1
  return request
end

local function start(target, data, witness)
  local found = account.change(target, "RunInstances", request_of(data, witness), { repeatable = true })
  return told(wait_for(target, found.Instances[1].InstanceId, "running"))
end

local function terminate(target, id)
  account.change(target, "TerminateInstances", { InstanceIds = { id } }, { repeatable = true })
  while (state_of(target, id) or "terminated") ~= "terminated" do task.sleep(EVERY) end
end

--- The tag tells: EC2 gives it to the instance in the act that makes it.
local function take_run(target, id, intent)
  if intent.undoes then
    if not intent.of_result then return "unknown", "which instance it was is not known" end
    return (state_of(target, intent.of_result.id) or "terminated") == "terminated" and "done" or "void"
  end
  local made = made_by(target, id)
  if made then return "done", told(wait_for(target, made, "running")) end
  task.sleep(account.late(target, intent))
  made = made_by(target, id)
  if made then return "done", told(wait_for(target, made, "running")) end
  return "void"
end

effect.action "ec2.run" {
  timeout = 1800,
  run = function(target, data, call) return start(target, data, call.witness) end,
  undo = function(target, _, call) terminate(target, call.result.id) end,
  take = take_run, meet = account.meet,
  show = function(target) return "instance " .. target.name end,
  says = function(data) return "of " .. tostring(data.parameters.ImageId) end,
}

--- Those that are there now and were not known before.
local function newcomers(target, known)
  local set, list = {}, {}
  for _, id in ipairs(known) do set[id] = true end
  for _, one in ipairs(named(target, target.name)) do
    if not set[one.id] then list[#list + 1] = one.id end
  end
  return list
end

--- Forward nothing happens: what makes the instances comes after it, and so is over when they are ended.
effect.action "ec2.launched" {
  timeout = 1800,
  run = function() end,
  undo = function(target, _, call)
    for _, id in ipairs(newcomers(target, call.data.known)) do terminate(target, id) end
  end,
  take = function(target, _, intent)
    if not intent.undoes then return "void" end
    return newcomers(target, intent.data.known)[1] and "void" or "done"
  end,
  meet = account.meet,
  show = function(target) return "instances " .. target.name end,
  says = function() return "made by what follows" end,
}

effect.action "ec2.terminate" {
  timeout = 1800,
  run = function(target) terminate(target, target.id) end,
  take = function(target, _, intent)
    local function is_gone() return (state_of(target, target.id) or "terminated") == "terminated" end
    if not is_gone() then task.sleep(account.late(target, intent)) end
    return is_gone() and "done" or "void"
  end,
  meet = account.meet,
  show = function(target) return "instance " .. target.id end,
  says = function() return "is ended for good" end,
}

resource.declare("ec2.state", {
  timeout = 1800,
  get = function(target)
    local now = state_of(target, target.id)
    if now == "pending" then return "running" end
    return now == "stopping" and "stopped" or now
  end,
  put = function(target, state)
    account.change(target, state == "running" and "StartInstances" or "StopInstances", { InstanceIds = { target.id } },
      { repeatable = true })
    wait_for(target, target.id, state)
  end,
  show = function(target) return "instance " .. target.id end,
  text = function(state) return state end,
})

resource.declare("ec2.tags", {
  get = function(target)
    local found, map = account.read(target, "DescribeTags", { Filters = { { Name = "resource-id",
      Values = { target.id } } } }), {}
    for _, tag in ipairs(found.Tags or {}) do
      if not tag.Key:find "^aws:" then map[tag.Key] = tag.Value end
    end
    return map
  end,
  put = function(target, state, call)
    local added, removed = {}, {}
    for key, value in pairs(state) do
      if call.before[key] ~= value then added[#added + 1] = { Key = key, Value = value } end
    end
    for key in pairs(call.before) do
      if state[key] == nil then removed[#removed + 1] = { Key = key } end
    end
    if added[1] then
      account.change(target, "CreateTags", { Resources = { target.id }, Tags = added }, { repeatable = true })
    end
    if removed[1] then
      account.change(target, "DeleteTags", { Resources = { target.id }, Tags = removed }, { repeatable = true })
    end
  end,
  show = function(target) return "tags of " .. target.id end,
})

-- ---- images ----

local function images_named(target)
  return account.read(target, "DescribeImages", { Owners = { "self" }, Filters = { { Name = "name",
    Values = { target.name } } } }).Images or {}
end

local COPY = "neap %s" -- the description of a copy: older models know no tags for it

local function mark_of(image)
  return resource.mark_in(image.Tags) or (image.Description or ""):match "^neap (%x+%-%x+)$"
end

--- The image of this name that an effect, or with `of_run` any of its run, has made.
local function image_by(target, witness, of_run)
  for _, one in ipairs(images_named(target)) do
    local mark = mark_of(one)
    if mark == witness or of_run and resource.is_of_run(mark, witness) then return one end
  end
end

local function wait_for_image(target, witness)
  while true do
    local one = image_by(target, witness)
    if one and one.State == "available" then return { id = one.ImageId } end
    if one and one.State ~= "pending" then
      fault.raise { kind = "remote", message = ("the image %s is %s"):format(target.name, one.State) }
    end
    task.sleep(EVERY * 3)
  end
end

local function delete_image(target, call)
  local one = image_by(target, call.witness, true)
  if not one then return end
  account.change(target, "DeregisterImage", { ImageId = one.ImageId }, { repeatable = true })
  for _, device in ipairs(one.BlockDeviceMappings or {}) do
    if device.Ebs and device.Ebs.SnapshotId then
      account.change(target, "DeleteSnapshot", { SnapshotId = device.Ebs.SnapshotId }, { repeatable = true })
    end
  end
end

local function refuse_taken(target)
  local one = images_named(target)[1]
  if not one then return end
  resource.refuse_taken("an image " .. target.name, ("%s, made at %s"):format(one.ImageId,
    one.CreationDate or "an unknown time"))
end

local function make_image(target, data, witness)
  if data.from then
    return account.change(target, "CopyImage", { Name = target.name, SourceImageId = data.image,
      SourceRegion = data.from, Encrypted = data.encrypted, Description = COPY:format(witness), ClientToken = witness },
      { repeatable = true })
  end
  return account.change(target, "CreateImage", { Name = target.name, InstanceId = data.instance,
    NoReboot = data.no_reboot, Description = data.description, TagSpecifications = { { ResourceType = "image",
      Tags = { { Key = resource.MARK, Value = witness } } } } }, { repeatable = false })
end

effect.action "ec2.image" {
  timeout = 3600 * 4,
  run = function(target, data, call)
    refuse_taken(target)
    make_image(target, data, call.witness)
    return wait_for_image(target, call.witness)
  end,
  undo = function(target, _, call) delete_image(target, call) end,
  take = function(target, id, intent)
    if not image_by(target, id, intent.undoes) then task.sleep(account.late(target, intent)) end
    local is_there = image_by(target, id, intent.undoes) ~= nil
    if intent.undoes then return is_there and "void" or "done" end
    if not is_there then return "void" end
    return "done", wait_for_image(target, id)
  end,
  meet = account.meet,
  show = function(target) return "image " .. target.name end,
  says = function(data) return "of " .. (data.instance or data.image) end,
}

local look_for_taken = effect.read("ec2.taken", refuse_taken)

-- ---- what authors call ----

local function listed_tags(tags)
  local list = {}
  for i, name in ipairs(ordered.keys(tags)) do list[i] = { Key = name, Value = tags[name] } end
  return list
end

--- Starts one instance, once, and waits until it runs; a rollback ends it. parameters are RunInstances' own: ImageId,
--- InstanceType, SubnetId, …
--- @param name string  its tag Name
--- @param parameters table
--- @param options? table  tags; keep, irreversible, timeout; profile, region
--- @return { id: string, private_ip: string, public_ip: string?, private_dns: string, zone: string }
function ec2.run(name, parameters, options)
  options = resource.options(options, { tags = true }, 2)
  local target = resource.target("ec2", options, { name = name })
  account.client(target):check("RunInstances", request_of({ parameters = parameters, tags = {} }, ""), 2)
  local tags = { Name = name }
  for key, value in pairs(options.tags or {}) do tags[key] = value end
  return effect.perform("ec2.run", target, { parameters = parameters, tags = listed_tags(tags) },
    resource.of_change(options))
end

local function set_state(id, state, options)
  options = resource.options(options, {}, 3)
  effect.change("ec2.state", resource.target("ec2", options, { id = id }), function(before)
    if before == "running" or before == "stopped" then return state end
    return fault.raise { kind = "missing", message = ("the instance %s is %s"):format(id, before or "not there") }
  end, resource.of_change(options))
end

--- Starts an instance and waits until it runs.
--- @param id string
--- @param options? table  keep, irreversible, timeout; profile, region
function ec2.start(id, options) set_state(id, "running", options) end

--- Stops an instance and waits until it is stopped.
--- @param id string
--- @param options? table  as of ec2.start
function ec2.stop(id, options) set_state(id, "stopped", options) end

--- Ends an instance for good: a point of no return.
--- @param id string
--- @param options? table  as of ec2.start
function ec2.terminate(id, options)
  options = resource.options(options, {}, 2)
  effect.perform("ec2.terminate", resource.target("ec2", options, { id = id }), nil, resource.of_change(options))
end

--- Changes tags of an instance, a volume, an image: those given, false for one that is to go; others stay.
--- @param id string
--- @param tags table<string, string|false>
--- @param options? table  as of ec2.start
function ec2.tags(id, tags, options)
  options = resource.options(options, {}, 2)
  effect.change("ec2.tags", resource.target("ec2", options, { id = id }), function(before)
    local map = {}
    for key, value in pairs(before) do map[key] = value end
    for key, value in pairs(tags) do map[key] = value or nil end
    return map
  end, resource.of_change(options))
end

local SOURCE = { instance = true, image = true, from = true, no_reboot = true, encrypted = true, description = true }

local function check_source(source, level)
  shell.check_options(source, SOURCE, level + 1)
  if (source.instance == nil) == (source.image == nil) or (source.image == nil) ~= (source.from == nil) then
    error('the source is { instance = "i-…" } or { image = "ami-…", from = region }', level + 1)
  end
end

--- Makes an image of an instance ({ instance = id }), or of an image of another region ({ image = id, from = region });
--- a rollback takes it away with its snapshots. Raises kind `conflict` where there is one of that name that this effect
--- has not made.
--- @param name string
--- @param source { instance?: string, image?: string, from?: string, no_reboot?: boolean, encrypted?: boolean,
---   description?: string }
--- @param options? table  as of ec2.start
--- @return { id: string }
function ec2.image(name, source, options)
  options = resource.options(options, {}, 2)
  check_source(source, 2)
  local target = resource.target("ec2", options, { name = name })
  if effect.planning() then look_for_taken(resource.apart(target)) end
  return effect.perform("ec2.image", target, source, resource.of_change(options))
end

local read_named = effect.read("ec2.named", function(target) return named(target, target.name) end)

--- Instances that are not ended, by their tag Name.
--- @param name string  `*` stands for any text
--- @param options? table  profile, region
--- @return { id: string, name: string, state: string, type: string, private_ip: string?, tags: table }[]
function ec2.named(name, options)
  local target = resource.target("ec2", account.check_options(options, {}, 2), { name = name })
  return read_named(resource.apart(target))
end

--- Calls fn, which has a program of somebody else's make instances; a rollback ends those of that name which were not
--- there before.
--- @param name string  their tag Name; `*` stands for any text
--- @param fn fun(): any
--- @param options? table  as of ec2.start
--- @return any  what fn returns
function ec2.launched(name, fn, options)
  options = resource.options(options, {}, 2)
  local target, known = resource.target("ec2", options, { name = name }), {}
  for i, one in ipairs(read_named(resource.apart(target))) do known[i] = one.id end
  effect.perform("ec2.launched", target, { known = known }, resource.of_change(options))
  return fn()
end

local read_instance = effect.read("ec2.instance", function(target)
  local one = describe(target, target.id)
  return one and { id = one.InstanceId, state = one.State.Name, private_ip = one.PrivateIpAddress,
    public_ip = one.PublicIpAddress, type = one.InstanceType, image = one.ImageId }
end)

--- What EC2 says of an instance; nil where it is not there.
--- @param id string
--- @param options? table  profile, region
--- @return { id: string, state: string, private_ip: string?, public_ip: string?, type: string, image: string }?
function ec2.instance(id, options)
  return read_instance(resource.target("ec2", account.check_options(options, {}, 2), { id = id }))
end

return ec2
