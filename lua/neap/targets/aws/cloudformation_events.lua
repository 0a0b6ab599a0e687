--- What CloudFormation tells of a stack: shown as output of the running step while the stack is waited for, each event
--- once, and kept as far as it says why something failed.
local account = require "neap.targets.aws.account"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"

local events = {}

local Story = {}
Story.__index = Story

local MOST_PAGES = 100
local MOST_FAILURES = 10
local LONGEST = 500 -- bytes of a reason

--- Calls see(event) for each event of a stack, the newest first, until it returns false.
local function each(target, stack, see)
  local token
  for _ = 1, MOST_PAGES do
    local page = account.read(target, "DescribeStackEvents", { StackName = stack, NextToken = token })
    for _, event in ipairs(page.StackEvents or {}) do
      if see(event) == false then return end
    end
    token = page.NextToken
    if not token then return end
  end
end

local DONE_WITHOUT = { denied = true, missing = true, remote = true, lost = true, connect = true, protocol = true }

--- Events are a courtesy: where they cannot be had, the stack is waited for without.
local function try(fn, ...)
  local ok, failure = pcall(fn, ...)
  if not ok and not (fault.is(failure) and DONE_WITHOUT[failure.kind]) then error(failure, 0) end
end

--- Begins to follow a stack: what has happened so far is not told.
--- @param target table
--- @param stack table  of DescribeStacks
--- @return table story  with look() and failures
function events.follow(target, stack)
  -- by its id: by its name a stack that is deleted is not found
  local story = setmetatable({ target = target, id = stack.StackId, told = {}, failures = {} }, Story)
  try(each, target, story.id, function(event)
    story.last = event.EventId
    return false
  end)
  return story
end

local function one_line(text)
  if #text > LONGEST then text = text:sub(1, LONGEST):gsub("[\xC0-\xFF][\x80-\xBF]*$", "") .. " …" end
  return (text:gsub("%s+", " "))
end

local function text_of(event)
  local reason = event.ResourceStatusReason and ": " .. event.ResourceStatusReason or ""
  return one_line(("%s %s %s%s"):format(event.LogicalResourceId or "", event.ResourceType or "",
    event.ResourceStatus or "", reason))
end

local function is_failure(event) return (event.ResourceStatus or ""):find "_FAILED$" ~= nil end

--- The stack's own event only sums up, and what was cancelled fell with another.
local function is_cause(event)
  local is_whole = event.PhysicalResourceId == event.StackId
  local is_cancelled = (event.ResourceStatusReason or ""):find "^Resource %w+ cancelled"
  return is_failure(event) and not is_whole and not is_cancelled
end

function Story:tell(event)
  local text, output = text_of(event), hosts.run().output
  if output then output(self.target.stack, text .. "\n", is_failure(event) and "err" or "out") end
  if is_cause(event) and #self.failures < MOST_FAILURES then self.failures[#self.failures + 1] = text end
end

--- The events that were not told yet, by their time; of the same time, as CloudFormation lists them.
local function news(self)
  local list = {}
  each(self.target, self.id, function(event)
    if event.EventId == self.last then return false end
    if not self.told[event.EventId] then list[#list + 1] = event end
  end)
  local place = {}
  for i, event in ipairs(list) do place[event] = i end
  table.sort(list, function(a, b)
    local at, bt = a.Timestamp or "", b.Timestamp or ""
    if at ~= bt then return at < bt end
    return place[a] > place[b]
  end)
  return list
end

--- Tells what has happened since the last look.
function Story:look()
  try(function()
    for _, event in ipairs(news(self)) do
      self.told[event.EventId] = true
      self:tell(event)
    end
  end)
end

--- Whether a stack has begun what it was told to under this token.
--- @param target table
--- @param token string
--- @return boolean
function events.has_begun(target, token)
  local found = false
  local ok, failure = pcall(each, target, target.stack, function(event)
    found = event.ClientRequestToken == token
    return not found
  end)
  if not ok and not fault.is(failure) then error(failure, 0) end
  return found
end

return events
