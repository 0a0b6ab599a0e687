--- What a step says of several things at once, of time and of chance: parallel, each, now, random, fail.
local branches = require "neap.engine.branch"
local clock    = require "native.clock"
local crypto   = require "native.crypto"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local fan_out  = require "neap.engine.fan_out"

local near     = require "neap.near"

local together = {}

--- The branch that a step's run stands in; reads, checks and changes are no place for branches of their own.
local function current(word)
  local branch = branches.current()
  if not branch or not branch.path or branch.inside then error(word .. " belongs into the run of a step", 3) end
  return branch
end

local EACH = { at_a_time = true, max_failures = true }

local function check_options(options)
  for key in pairs(options) do
    if not EACH[key] then error(("no option is named %q%s"):format(tostring(key), near.hint(key, EACH)), 3) end
  end
end

--- Runs the named functions side by side and waits for all: parallel { warehouse = function() … end, … }.
--- Returns their results by name. The names are the branches' identity, so they must stay the same on resume.
--- @param named table<string, fun(): any>
--- @return table<string, any>
function together.parallel(named)
  local branch, items = current "parallel", {}
  for name, fn in pairs(named) do
    if type(name) ~= "string" or type(fn) ~= "function" then
      error("parallel takes functions with names: parallel { warehouse = function() … end }", 2)
    end
    items[#items + 1] = { name = name, run = fn }
  end
  table.sort(items, function(a, b) return a.name < b.name end)
  return fan_out.run(branch, items, {}, function(item) return item.run() end)
end

--- Calls fn(item) for each item of a list, at most at_a_time (1) of them side by side. An item has a name or is a text.
--- @param items any[]
--- @param fn fun(item: any): any
--- @param options? { at_a_time?: integer|string, max_failures?: integer }
--- @return table<string, any> results  by the items' names
function together.each(items, fn, options)
  local branch = current "each"
  options = options or {}
  check_options(options)
  local limits = { at_a_time = options.at_a_time or 1, max_failures = options.max_failures }
  return fan_out.run(branch, items, limits, fn)
end

local read_now = effect.read("now", function() return clock.now() end)
local read_random = effect.read("random", function(_, low, high)
  local number = 0
  for byte in crypto.random(6):gmatch "." do number = number * 256 + byte:byte() end
  return low + number % (high - low + 1)
end)

--- Seconds since 1970; a read, so that a resumed step sees the time it saw before.
--- @return number
function together.now() return read_now "clock" end

--- A whole number from low to high; a read.
--- @param low integer
--- @param high integer
--- @return integer
function together.random(low, high) return read_random("random", low, high) end

--- Fails the step with a message for the operator.
--- @param message string
--- @param hint? string  what to do about it
function together.fail(message, hint) fault.raise { kind = "remote", message = message, hint = hint } end

return together
