--- versitygw, a server of S3 that checks every signature and checksum, on loopback (vendor/versitygw.sh).
local fs      = require "native.fs"
local native  = require "native.http"
local process = require "native.process"
local sshd    = require "tests.sshd"
local task    = require "native.task"

local versitygw = {}

local CACHE = process.environ "XDG_CACHE_HOME" or process.user().home .. "/.cache"
local PROGRAM = CACHE .. "/neap-lab/bin/versitygw"

--- Whether it is installed.
function versitygw.is_there() return fs.exists(PROGRAM) end

local function free_port()
  return tonumber(sshd.run { "python3", "-c",
    "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])" })
end

local function is_up(port)
  local ok, exchange = pcall(native.open, { url = ("http://127.0.0.1:%d/"):format(port), proxy = "" })
  if not ok then return false end
  local answered = pcall(exchange.response, exchange, { timeout = 2 })
  exchange:close()
  return answered
end

--- Starts one that keeps its objects, with their versions, in that folder; ends with :close(). `url` is its address.
--- @param folder string  an empty one
--- @param key string
--- @param secret string
--- @return { url: string, close: fun(self) }
function versitygw.start(folder, key, secret)
  local port = free_port()
  for _, name in ipairs { "data", "sidecar", "versions" } do fs.mkdir(folder .. "/" .. name) end
  local stream = process.spawn({ PROGRAM, "--port", ("127.0.0.1:%d"):format(port), "--access", key, "--secret", secret,
    "--region", "us-west-2", "--quiet", "posix", "--sidecar", folder .. "/sidecar", "--versioning-dir",
    folder .. "/versions", folder .. "/data" }, { reads = true, input = false })
  for _ = 1, 100 do
    if is_up(port) then break end
    task.sleep(0.05)
  end
  local one = { url = ("http://127.0.0.1:%d"):format(port) }
  function one.close() stream:close() end
  return one
end

return versitygw
