--- Logs that are followed: line by line as they are written, over connections that break, until one says what is waited for.
local client = require "neap.targets.k8s.client"
local fault  = require "native.error"
local hosts  = require "neap.targets.connection"
local output = require "neap.targets.output"
local task   = require "native.task"
local waits  = require "neap.targets.k8s.wait"

local logs = {}

local PAUSE = 1              -- seconds before a log that broke off is asked for again
local LONGEST_LINE = 1 << 20 -- bytes

local POD = { api = "v1", kind = "Pod", resource = "pods", namespaced = true }

--- A time as the server writes it, so that texts stand in the order of times: its fraction has nine digits.
local function sortable(time)
  local seconds, fraction = time:match "^(%d+%-%d+%-%d+T%d+:%d+:%d+)%.?(%d*)"
  return seconds and seconds .. "." .. fraction .. ("0"):rep(9 - #fraction)
end

local Log = {}
Log.__index = Log

--- What came before the connection broke comes again, and is known by its time.
function Log:take_line(line)
  local time, text = line:match "^(%S+) ?(.*)$"
  local at = time and sortable(time)
  if not at then
    text = line
  elseif self.last and at <= self.last then
    return false
  end
  self.last = at or self.last
  local shown = self.side:add(text .. "\n")
  if self.show and shown ~= "" then self.show(shown) end
  return self.wanted ~= nil and self.wanted(text)
end

--- Takes bytes as they come. Returns whether the line that is waited for is among them.
function Log:take(bytes)
  self.rest = self.rest .. bytes
  while true do
    local line, behind = self.rest:match "^([^\n]*)\n()"
    if not line then break end
    self.rest = self.rest:sub(behind)
    if self:take_line(line) then
      self.found = true
      return true
    end
  end
  if #self.rest > LONGEST_LINE then
    fault.raise { kind = "protocol", message = "a line of the log is longer than 1 MiB" }
  end
  return false
end

function Log:query(options)
  local since = self.last and self.last:match "^[^.]+"
  return { follow = "true", timestamps = "true", container = options.container,
    tailLines = not since and options.tail or nil, sinceSeconds = not since and options.since or nil,
    sinceTime = since and since .. "Z" or nil }
end

local BROKEN = { lost = true, connect = true, remote = true }

--- Whether the pod may still write: a log that ended, and one that was cut off, end alike.
local function is_running(place, pod)
  local found = client.get(place.cluster, client.path(POD, place.namespace, pod))
  return found ~= nil and not found.metadata.deletionTimestamp and (found.status or {}).phase == "Running"
end

local function follow(place, pod, options, log)
  local path = client.path(POD, place.namespace, pod) .. "/log"
  while true do
    log.rest = ""
    local ok, failure = pcall(client.stream, place.cluster, path, log:query(options), function(bytes)
      return log:take(bytes)
    end)
    if log.found then return end
    if not ok and not (fault.is(failure) and BROKEN[failure.kind]) then error(failure, 0) end
    if ok and not is_running(place, pod) then return end
    task.sleep(PAUSE)
  end
end

local function matcher(wanted)
  if type(wanted) ~= "string" then return wanted end
  return function(line) return line:find(wanted) ~= nil end
end

--- Follows the log of a pod until a line is wanted, or the pod writes no more. Raises `timeout` where that takes longer,
--- and `remote` where the log has ended without the line; both with the last lines.
--- @param place table
--- @param options { container?: string, tail?: integer, since?: integer, ["until"]?: string|fun(line: string): any }
--- @param timeout number  seconds
--- @return string  the first 64 KiB and the last 1 MiB
function logs.follow(place, options, timeout)
  local pod, run = waits.pod(place), hosts.run()
  local name = ("%s pod/%s"):format(place.cluster, pod)
  local log = setmetatable({ side = output.new(), rest = "", wanted = matcher(options["until"]),
    show = run.output and function(bytes) run.output(name, bytes, "out") end }, Log)
  local ok, failure = pcall(task.deadline, timeout, follow, place, pod, options, log)
  log.side:finish()
  local text = log.side:text()
  if ok and (log.found or not log.wanted) then return text end
  local said = hosts.last_lines { out = text, err = "" }
  if ok then
    fault.raise { kind = "remote", host = place.cluster, output = said ~= "" and said or nil,
      message = ("the log of %s has ended without the line that was waited for"):format(name) }
  end
  if fault.is(failure, "timeout") then
    failure.host, failure.output = place.cluster, said ~= "" and said or nil
    failure.message = ("the log of %s did not come to what was waited for in %g s"):format(name, timeout)
  end
  return error(failure, 0)
end

return logs
