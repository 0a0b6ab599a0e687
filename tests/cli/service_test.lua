--- What systemd is told of a run that it has started as a service of Type=notify. A listener stands in for it.
local console = require "tests.lab.console"
local fs      = require "native.fs"
local process = require "native.process"
local socket  = require "native.socket"

local NEAP = fs.realpath "build/neap"

local LISTENER = [[
import socket, sys
one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
one.bind(sys.argv[1].replace("@", "\0"))
print("bound", flush=True)
for _ in range(int(sys.argv[2])): print(one.recv(4096).decode().replace("\n", "|"), flush=True)
]]

local PROCEDURE = [[
step "Write it down" { run = function() file.write("local", "DIR/out/greeting", "hello") end }
manual "Look\nat it" { text = "Look" }
]]

describe("systemd", function()
  local folder, listener

  local function listen(path, count)
    listener = process.spawn({ "python3", "-c", LISTENER, path, tostring(count) }, { reads = true })
    equal(listener:read(), "bound\n")
  end

  before_each(function()
    folder = scratch()
    fs.mkdir(folder .. "/procedures/shop/environments", "0755")
    fs.mkdir(folder .. "/out", "0755")
    fs.write(folder .. "/procedures/shop/environments/lab.yml", "values: {}\n")
    fs.write(folder .. "/procedures/shop/release.lua", (PROCEDURE:gsub("DIR", folder)))
  end)
  after_each(function()
    if listener then listener:close() end
    listener = nil
  end)

  for _, place in ipairs { "a path", "a name in no folder" } do
    it("is told by " .. place .. " that a run has its lease, and where it is", function()
      local path = place == "a path" and folder .. "/notify" or "@" .. folder
      listen(path, 4)
      local run = "cd %s && HOME=%s XDG_STATE_HOME=%s/state NOTIFY_SOCKET=%s %s run shop/release --env lab --yes "
        .. "--no-input --foreground </dev/null"
      local output, status = console.shell(run:format(folder, folder, folder, path, NEAP))
      if status ~= 8 then error(output) end
      equal(listener:collect({ timeout = 20 }).out, "READY=1|\nREADY=1|STATUS=1.1 Write it down|\n"
        .. "READY=1|STATUS=1.2 Look at it|\nREADY=1|STATUS=asks: Look|\n")
    end)
  end

  it("is not waited for where it does not listen", function()
    equal(socket.tell(folder .. "/nobody", "READY=1"), false)
    matches(raises(socket.tell, ("x"):rep(200), "READY=1"), "too long")
  end)
end)
