--- Files that are known by their SHA-256: the journal has not what they hold, which comes again from where it came.
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local kinds   = require "neap.targets.file.kinds"
local rights  = require "neap.targets.file.rights"
local witness = require "neap.targets.witness"

local known = {}

local LONG = 3600 -- seconds

local function get(target)
  local found = kinds.look_for_file(target)
  return found and { sha256 = kinds.sha256(target), mode = found.mode, owner = found.owner, group = found.group }
end

--- A kind of such files, for effect.resource. Target { host, path, become, … }; state { sha256, mode, owner, group }, nil
--- where nothing is.
--- @param bring fun(target: table, state: table, call: table)  puts what it is to hold there, by kinds.put_file
--- @param origin fun(target: table): string  where that comes from
--- @return table
function known.kind(bring, origin)
  return {
    prepare = witness.prepare, get = get, take = kinds.take_file, release = witness.release, timeout = LONG,
    put = function(target, state, call)
      if not state then return kinds.remove_file(target, call) end
      return bring(target, state, call)
    end,
    key = function(target) return { host = target.host, path = target.path, become = target.become } end,
    show = function(target) return ("%s %s, from %s"):format(target.host, target.path, origin(target)) end,
    text = function(state)
      return ("%s %s:%s sha256 %s\n"):format(state.mode, state.owner, state.group, state.sha256)
    end,
  }
end

--- Makes sure that the file is there. Raises kind `conflict` where another is.
--- @param name string  of the kind
--- @param target table
--- @param sha256 string
--- @param options { mode?: string, owner?: string, group?: string }
--- @param change table  of the effect
--- @return { sha256: string, mode: string, owner: string, group: string }
function known.change(name, target, sha256, options, change)
  return effect.change(name, target, function(before)
    if before and before.sha256 ~= sha256 then
      fault.raise { kind = "conflict", host = target.host, hint = "move it away, or remove it, first",
        message = ("%s on %s is there already, and another"):format(target.path, target.host) }
    end
    return rights.with({ sha256 = sha256 }, target, before, options, "0644")
  end, change)
end

return known
