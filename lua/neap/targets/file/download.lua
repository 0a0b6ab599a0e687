--- Files that come over HTTP: what they hold is known beforehand by its SHA-256.
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local fs       = require "native.fs"
local kinds    = require "neap.targets.file.kinds"
local requests = require "neap.targets.http.request"
local rights   = require "neap.targets.file.rights"
local witness  = require "neap.targets.witness"

local download = {}

local LONG = 3600 -- seconds
local HERE = { host = "local", become = false }

local function get(target)
  local found = kinds.look_for_file(target)
  return found and { sha256 = kinds.sha256(target), mode = found.mode, owner = found.owner, group = found.group }
end

local function check_sum(target, path, wanted)
  local sum = kinds.sha256 { host = HERE.host, become = HERE.become, path = path }
  if sum == wanted then return end
  fault.raise { kind = "conflict", message = ("what %s gives is not what was expected: its SHA-256 is %s"):format(
    target.url, sum), hint = "expected " .. wanted }
end

local function bring(target, state, call, stage)
  local path = requests.to_file({ url = target.url, host = target.via }, target.request, stage .. "/body")
  check_sum(target, path, state.sha256)
  kinds.put_file(target, path, state, call)
end

local function put(target, state, call)
  if not state then return kinds.remove_file(target, call) end
  local stage = fs.mkdtemp "/var/tmp/neap-download-"
  local ok, failure = pcall(bring, target, state, call, stage)
  fs.remove_tree(stage)
  if not ok then error(failure, 0) end
end

effect.resource "http.download" {
  prepare = witness.prepare, get = get, put = put, take = kinds.take_file, release = witness.release, timeout = LONG,
  key = function(target) return { host = target.host, path = target.path, become = target.become } end,
  show = function(target) return ("%s %s, from %s"):format(target.host, target.path, target.url) end,
  text = function(state) return ("%s %s:%s sha256 %s\n"):format(state.mode, state.owner, state.group, state.sha256) end,
}

--- Makes sure that the file is there. Raises kind `conflict` where another is.
--- @param target table   host, path, become; url, via, request
--- @param wanted { sha256: string, mode?: string, owner?: string, group?: string }
--- @param options table  of the effect
--- @return { sha256: string, mode: string, owner: string, group: string }
function download.file(target, wanted, options)
  return effect.change("http.download", target, function(before)
    if before and before.sha256 ~= wanted.sha256 then
      fault.raise { kind = "conflict", host = target.host, hint = "move it away, or remove it, first",
        message = ("%s on %s is there already, and another"):format(target.path, target.host) }
    end
    return rights.with({ sha256 = wanted.sha256 }, target, before, wanted, "0644")
  end, options)
end

return download
