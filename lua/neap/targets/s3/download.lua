--- Objects into files. Small ones are changes of the file like any other; large ones come piece by piece beside their
--- place, go on after an interruption, and appear when they are whole.
local account  = require "neap.targets.aws.account"
local crypto   = require "native.crypto"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local file     = require "neap.targets.file"
local fs       = require "native.fs"
local objects  = require "neap.targets.s3.objects"
local request  = require "neap.targets.s3.request"
local state    = require "neap.targets.s3.state"
local task     = require "native.task"
local tasks    = require "neap.tasks"

local download = {}

local TIMEOUT  = 3600 -- seconds for one request
local ATTEMPTS = 20   -- that each bring something
local BEHIND   = 32 << 20 -- bytes that have come before they are looked at again
local PAUSE    = 0.01 -- seconds between two looks at what has come

local function temporary(target, id)
  local folder, name = target.path:match "^(.*/)([^/]+)$"
  return ("%s.%s.neap-%s"):format(folder, name:sub(1, 200), id)
end

local function size_of(path)
  local found = fs.lstat(path)
  return found and found.type == "file" and found.size or nil
end

local function take_up(target, path)
  local part = temporary(target, "part")
  if size_of(part) then fs.rename(part, path) end
end

local function request_rest(target, data, path, have)
  return request.send(target, { method = "GET", bucket = target.bucket, key = target.key, reads = true, to_file = path,
    headers = { Range = ("bytes=%d-"):format(have), ["if-match"] = request.quoted_etag(data.etag) },
    before_again = function() fault.raise { kind = "lost", message = "the reply broke off" } end }, TIMEOUT)
end

--- Brings what is still missing. What breaks off leaves what it brought.
local function bring(target, data, path)
  for count = 1, ATTEMPTS do
    local have = size_of(path) or 0
    if have >= data.size then return end
    local ok, failure = pcall(request_rest, target, data, path, have)
    if not ok then
      local status = fault.is(failure) and failure.status
      local final = not fault.is(failure, "lost") and not (status and status >= 500)
      if final or count == ATTEMPTS then error(failure, 0) end
    end
  end
end

--- Calls fn(offset, length) with what comes to a file, in pieces, until its last byte or `over()`.
local function follow(path, fn, over)
  local at = 0
  return task.spawn(function()
    repeat
      local last = over()
      local size = size_of(path) or 0
      if size > at and (last or size - at >= BEHIND) then
        fn(at, size - at)
        at = size
      elseif not last then
        task.sleep(PAUSE)
      end
    until last
  end)
end

--- Brings the object. Its digest is made of what has come while the rest comes, and that is made durable meanwhile.
local function bring_whole(target, data, path)
  local hasher, is_over = crypto.hasher(), false
  local function over() return is_over end
  local followers = { follow(path, function(at, length) hasher:update_file(path, at, length) end, over),
    follow(path, function() fs.sync { path } end, over) }
  local ok, failure = pcall(bring, target, data, path)
  is_over = true
  tasks.wait(followers)
  if not ok then error(failure, 0) end
  for _, one in ipairs(followers) do
    local good, problem = one:wait()
    if not good then error(problem, 0) end
  end
  return "sha256:" .. hasher:hex()
end

local function check_whole(target, data, path, digest)
  digest = size_of(path) == data.size and digest
  if digest and (data.digest:find "^etag:" or digest == data.digest) then return digest end
  fs.remove(path)
  return fault.raise { kind = "verify", message = ("what came of s3://%s/%s is not what is there"):format(target.bucket,
    target.key) }
end

local function run(target, data, call)
  task.may_change "s3.download"
  local path = temporary(target, call.witness)
  take_up(target, path)
  local digest = check_whole(target, data, path, bring_whole(target, data, path))
  fs.rename(path, target.path)
  fs.sync { target.path:match "^(.*/)" }
  return { digest = digest }
end

local function undo(target, _, call)
  task.may_change "s3.download"
  if not size_of(target.path) then return end
  if call.result and objects.digest_of_file(target.path) ~= call.result.digest then
    fault.raise { kind = "conflict", message = target.path .. " is not what was downloaded" }
  end
  fs.remove(target.path)
end

--- The file beside its place is taken away from a call that would still rename it.
local function take(target, id, intent)
  if intent.undoes then return size_of(target.path) and "void" or "done" end
  local path = temporary(target, id)
  if size_of(path) then
    fs.rename(path, temporary(target, "part"))
    return "void"
  end
  local digest = objects.digest_of_file(target.path, intent.data.size)
  if not digest then return "void" end
  return "done", { digest = digest }
end

effect.action "s3.download" {
  timeout = TIMEOUT * 24, run = run, undo = undo, take = take, late = false, meet = account.meet,
  show = function(target) return ("s3://%s/%s to %s"):format(target.bucket, target.key, target.path) end,
  says = function(data) return ("%d bytes"):format(data.size) end,
}

local head = effect.read("s3.digest", function(target, bucket, key)
  local one, etag = state.read(target, bucket, { key = key, path = "", digest = "?" })
  if one then one.etag = etag end
  return one
end)

local look = effect.read("s3.local", function(path, size)
  return { there = fs.lstat(path) ~= nil, digest = objects.digest_of_file(path, size) }
end)

local function bring_large(target, bucket, key, path, one, options)
  effect.perform("s3.download", account.with(target, { bucket = bucket, key = key, host = "local", path = path }),
    { size = one.size, etag = one.etag, digest = one.digest },
    { keep = options.keep, irreversible = options.irreversible, timeout = options.timeout })
end

--- Makes a file of a host hold what an object does.
--- @param target table
--- @param bucket string
--- @param key string
--- @param host string
--- @param path string
--- @param options table
function download.file(target, bucket, key, host, path, options)
  local one = head(target, bucket, key)
  if not one then fault.raise { kind = "missing", message = ("s3://%s/%s is not there"):format(bucket, key) } end
  if one.content then
    return file.write(host, path, one.content, { keep = options.keep, irreversible = options.irreversible,
      timeout = options.timeout })
  end
  if host ~= "local" then
    fault.raise { kind = "denied", host = host,
      message = ("s3://%s/%s has more than 8 MiB: download it on %s itself"):format(bucket, key, host) }
  end
  local now = look(path, one.size)
  if now.digest and now.digest == one.digest then return end
  if now.there then
    fault.raise { kind = "conflict", message = path .. " is there already", hint = "move it away first (file.move)" }
  end
  bring_large(target, bucket, key, path, one, options)
end

return download
