--- A neap that dies at a point of what it does, while the test lives on and takes the run up: from there on nothing that
--- it does reaches anybody.
local store = require "neap.fakes.store"

local mortal = {}

--- { points so far, at which of them it dies, nil for never, dead }.
local Mortal = {}
Mortal.__index = Mortal

--- @param at? integer
function mortal.new(at) return setmetatable({ points = 0, at = at, dead = false }, Mortal) end

--- Lives again, counts anew, and dies at that point.
--- @param at? integer
function Mortal:live(at) self.dead, self.at, self.points = false, at, 0 end

function Mortal:point()
  self.points = self.points + 1
  if self.points == self.at then self.dead = true end
  if self.dead then error("crash", 0) end
end

--- A journal in memory, with a point before and after the commit of a batch of records; and what it keeps, without them.
function Mortal:journal()
  local kept = store.new()
  local dying = setmetatable({ insert = function(_, batch)
    self:point()
    store.insert(kept, batch)
    self:point()
  end }, { __index = kept, __newindex = kept })
  return dying, kept
end

--- Gives a trial such a journal; `kept` of the trial is what it keeps.
function Mortal:write_for(trial)
  trial.store, trial.kept = self:journal()
  return trial
end

local QUIET = { cancel = true, facts = true, notices = true }

--- A connection to a database with a point before and after each statement; one that dies closes it.
function Mortal:connection(native)
  return setmetatable({ native = native }, { __index = function(_, method)
    return function(_, ...)
      if method == "close" then return native:close() end
      if QUIET[method] then return native[method](native, ...) end
      local ok, failure = pcall(self.point, self)
      local results = ok and table.pack(native[method](native, ...))
      if ok then ok, failure = pcall(self.point, self) end
      if ok then return table.unpack(results, 1, results.n) end
      native:close()
      error(failure, 0)
    end
  end })
end

--- A driver's function `connect` that gives such connections.
function Mortal:connecting(connect)
  return function(...)
    if self.dead then error("crash", 0) end
    return self:connection(connect(...))
  end
end

--- Runs a trial whose neap dies at a point of its journal, odd before, even after a commit; 0: never. Returns the trial,
--- the points with whether it died, and the outcome, nothing where it died.
function mortal.run(trial, at)
  local crash = mortal.new(at)
  local dying, kept = crash:journal()
  trial.store = dying
  local ok, outcome = pcall(trial.start, trial)
  trial.store = kept
  return trial, crash, ok and outcome
end

return mortal
