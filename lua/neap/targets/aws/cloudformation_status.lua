--- How a stack stands: what its status means, waiting until it is still, and when it may be changed.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local resource = require "neap.targets.aws.resource"

local status = {}

local EVERY = 5 -- seconds between two looks

local HUSK = "the empty stack is left, so that its events can be read; the next attempt deletes it first"

status.GONE = { DELETE_COMPLETE = true, REVIEW_IN_PROGRESS = true }
status.EMPTY = { ROLLBACK_COMPLETE = true, ROLLBACK_FAILED = true } -- a creation that failed leaves a husk
local GOOD = { CREATE_COMPLETE = true, UPDATE_COMPLETE = true, IMPORT_COMPLETE = true }

--- What AWS says of a stack; nil where there is none of that name.
--- @param target table
--- @return table?
function status.describe(target)
  local ok, found = pcall(account.read, target, "DescribeStacks", { StackName = target.stack })
  if ok then return found.Stacks and found.Stacks[1] end
  if fault.is(found) and found.code == "ValidationError" and found.message:find "does not exist" then return nil end
  return error(found, 0)
end

--- A stack in review waits for somebody to carry out its change set, and does nothing by itself.
--- @param stack table?
--- @return boolean
function status.is_moving(stack)
  return stack ~= nil and stack.StackStatus ~= "REVIEW_IN_PROGRESS" and stack.StackStatus:find "_IN_PROGRESS$" ~= nil
end

--- Waits until a stack does nothing any more.
--- @param target table
--- @param story? table  of events.follow: what happens meanwhile is told
--- @return table?  of describe
function status.wait_until_still(target, story)
  local stack, count = status.describe(target), 0
  while status.is_moving(stack) do
    count = count + 1
    if story then story:look() end
    resource.pause(count, EVERY)
    stack = status.describe(target)
  end
  if story then story:look() end
  return stack
end

--- Raises kind `remote` with the story's failures where a stack has not come to stand as it should.
--- @param target table
--- @param stack table?
--- @param story table
function status.check_good(target, stack, story)
  if stack and GOOD[stack.StackStatus] then return end
  local why = story.failures[1] and ": " .. story.failures[1] or ""
  fault.raise { kind = "remote", code = stack and stack.StackStatus,
    hint = stack and status.EMPTY[stack.StackStatus] and HUSK or nil, output = table.concat(story.failures, "\n"),
    message = ("the stack %s came to stand at %s%s"):format(target.stack, stack and stack.StackStatus or "nothing",
      why) }
end

--- States in which AWS takes no update, and what helps: a stack that stands so is not as wanted, whatever its template.
local UNFIT = {
  CREATE_FAILED = "cloudformation.delete it first",
  DELETE_FAILED = "its deletion has to be brought to its end first: cloudformation.delete",
  UPDATE_FAILED = "aws cloudformation rollback-stack --stack-name %s",
  UPDATE_ROLLBACK_FAILED = "aws cloudformation continue-update-rollback --stack-name %s",
  IMPORT_ROLLBACK_FAILED = "aws cloudformation continue-update-rollback --stack-name %s",
}

--- Raises kind `conflict` where a stack is changing, or stands so that AWS takes no update.
--- @param target table
--- @param is_deletion boolean  a stack may be deleted however it stands
status.check_ready = effect.read("cloudformation.ready", function(target, is_deletion)
  local stack = status.describe(target)
  local now = stack and stack.StackStatus or ""
  if status.is_moving(stack) then
    fault.raise { kind = "conflict", code = now,
      message = ("the stack %s is changing already: %s"):format(target.stack, now),
      hint = "wait until that is over: aws cloudformation describe-stack-events --stack-name " .. target.stack }
  end
  if is_deletion or not UNFIT[now] then return end
  fault.raise { kind = "conflict", code = now, output = stack.StackStatusReason,
    message = ("the stack %s stands at %s"):format(target.stack, now), hint = UNFIT[now]:format(target.stack) }
end)

return status
