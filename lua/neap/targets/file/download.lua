--- Files that come over HTTP: what they hold is known beforehand by its SHA-256.
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local kinds    = require "neap.targets.file.kinds"
local known    = require "neap.targets.file.known"
local requests = require "neap.targets.http.request"
local stages   = require "neap.targets.file.stage"

local download = {}

local HERE = { host = "local", become = false }

local function check_sum(target, path, wanted)
  local sum = kinds.sha256 { host = HERE.host, become = HERE.become, path = path }
  if sum == wanted then return end
  fault.raise { kind = "conflict", message = ("what %s gives is not what was expected: its SHA-256 is %s"):format(
    target.url, sum), hint = "expected " .. wanted }
end

local function bring(target, state, call)
  stages.with("download", function(stage)
    local path = requests.to_file({ url = target.url, host = target.via }, target.request, stage .. "/body")
    check_sum(target, path, state.sha256)
    kinds.put_file(target, path, state, call)
  end)
end

effect.resource "http.download"(known.kind(bring, function(target) return target.url end))

--- Makes sure that the file is there. Raises kind `conflict` where another is.
--- @param target table   host, path, become; url, via, request
--- @param wanted { sha256: string, mode?: string, owner?: string, group?: string }
--- @param options table  of the effect
--- @return { sha256: string, mode: string, owner: string, group: string }
function download.file(target, wanted, options)
  return known.change("http.download", target, wanted.sha256, wanted, options)
end

return download
