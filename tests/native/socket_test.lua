local process = require "native.process"
local socket  = require "native.socket"
local task    = require "native.task"

describe("a Unix socket", function()
  it("carries bytes both ways, and its end", function()
    local server <close> = socket.listen(scratch() .. "/s")
    return server
  end)

  it("tells who is at the other end", function()
    local path = scratch() .. "/s"
    local server <close> = socket.listen(path)
    local asking = task.spawn(function()
      local connection <close> = socket.connect(path)
      connection:write "hello"
      connection:close_input()
      return connection:read(), connection:read()
    end)
    local connection <close> = server:accept()
    equal({ connection:peer() }, { process.user().uid, process.pid() })
    equal({ connection:read(), connection:read() }, { "hello" })
    connection:write "you"
    connection:close()
    equal({ asking:wait() }, { true, "you" })
  end)

  it("takes large texts whole", function()
    local path, text = scratch() .. "/s", ("x"):rep(3000000)
    local server <close> = socket.listen(path)
    local sending = task.spawn(function()
      local connection <close> = socket.connect(path)
      connection:write(text)
    end)
    local connection <close> = server:accept()
    local got = {}
    for piece in function() return connection:read() end do got[#got + 1] = piece end
    sending:wait()
    truthy(table.concat(got) == text)
  end)

  it("is for its own login, and goes with its server", function()
    local fs, path = require "native.fs", scratch() .. "/s"
    local server = socket.listen(path)
    equal(fs.stat(path).mode, "0600")
    server:close()
    server:close()
    equal(raises(socket.connect, path).kind, "missing")
  end)

  it("says when nobody listens any more", function()
    local folder = scratch()
    local result = process.run({ process.executable(), "-e", "" }, { reads = true, timeout = 5 })
    truthy(result.status)
    equal(raises(socket.connect, folder .. "/none").kind, "missing")
  end)

  it("has room for a path longer than an address", function()
    local folder = scratch() .. "/" .. ("long"):rep(40)
    require("native.fs").mkdir(folder, "0700")
    local server <close> = socket.listen(folder .. "/s")
    local asking = task.spawn(function()
      local connection <close> = socket.connect(folder .. "/s")
      return connection:read()
    end)
    server:accept():close()
    equal((asking:wait()), true)
  end)
end)

describe("a child that is left", function()
  it("goes on by itself, and can be ended by pid and start time alone", function()
    local child = process.spawn({ "sh", "-c", "echo $$; exec sleep 30" }, { reads = true })
    local pid = tonumber(child:read())
    task.sleep(0.05)
    local born = process.start_time(pid)
    child:leave()
    equal(process.alive(pid), true)
    equal(process.kill(pid, born + 1), false)
    equal(process.kill(pid, born), true)
    for _ = 1, 50 do
      if not process.alive(pid) then break end
      task.sleep(0.02)
    end
    equal(process.alive(pid), false)
  end)
end)
