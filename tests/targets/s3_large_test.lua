--- Large objects in little memory: a process of neap's own, measured by the system.
local fs        = require "native.fs"
local process   = require "native.process"
local sshd      = require "tests.sshd"
local versitygw = require "tests.versitygw"

local KEY, SECRET = "AKIALARGE", "sorrel/and+gneiss=52"

local MEASURE = [==[
import os, subprocess, sys
done = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, used = os.wait4(done.pid, 0)
print(used.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
]==]

local PROCEDURE = [[
-- There and back.
step "Up" { run = function() s3.put("pail", "large%d", { file = "FOLDER/file%d" }) end }
step "Down" { run = function() s3.download("pail", "large%d", "local", "FOLDER/back%d") end }
]]

describe("s3", function()
  local server, folder

  before_each(function()
    if not versitygw.is_there() then skip "versitygw is not installed (sh vendor/versitygw.sh)" end
    folder = scratch()
    server = versitygw.start(folder, KEY, SECRET)
    fs.mkdir(folder .. "/data/pail")
    sshd.run { "mkdir", "-p", folder .. "/procedures/demo/environments" }
    sshd.write(folder .. "/procedures/demo/environments/lab.yml",
      ("aws: { region: us-west-2, endpoints: { s3: \"%s\" } }\n"):format(server.url))
  end)
  after_each(function()
    if server then server:close() end
    server = nil
  end)

  --- Brings so many MB up and down. The most memory that neap had meanwhile, in bytes.
  local function memory_for(size)
    sshd.run { "sh", "-c", 'head -c "$2" /dev/urandom >"$1"', "sh", ("%s/file%d"):format(folder, size),
      tostring(size * 1000000) }
    sshd.write(("%s/procedures/demo/it%d.lua"):format(folder, size),
      (PROCEDURE:gsub("%%d", tostring(size)):gsub("FOLDER", folder)))
    local result = process.run({ "python3", "-c", MEASURE, "build/neap", "run", ("demo/it%d"):format(size),
      "--env", "lab", "--foreground", "--yes", "--no-input" }, { reads = true, timeout = 600, env = {
        NEAP_PATH = folder, XDG_STATE_HOME = folder .. "/state", AWS_ACCESS_KEY_ID = KEY,
        AWS_CONFIG_FILE = "/dev/null", AWS_SECRET_ACCESS_KEY = SECRET } })
    equal({ result.status, result.status ~= 0 and result.err or "" }, { 0, "" })
    sshd.run { "cmp", ("%s/file%d"):format(folder, size), ("%s/back%d"):format(folder, size) }
    return tonumber(result.out)
  end

  it("brings large files there and back in memory that does not grow with them", function()
    local small, large = memory_for(20), memory_for(200)
    if large - small >= 16000000 then error(("%d bytes for 20 MB, %d for 200 MB"):format(small, large)) end
  end)
end)
