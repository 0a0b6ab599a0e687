local process = require "native.process"
local task    = require "native.task"

local function start(...) return process.spawn({ ... }, { reads = true }) end

describe("a stream", function()
  it("is written and read by turns", function()
    local cat <close> = start("cat")
    cat:write("one\n")
    equal(cat:read(), "one\n")
    cat:write("two\n")
    equal(cat:read(), "two\n")
    cat:close_input()
    equal(cat:read(), nil)
    equal(cat:wait(), { status = 0 })
  end)

  it("reads the error output by itself", function()
    local sh <close> = start("sh", "-c", "echo a; echo b >&2")
    equal(sh:read_error(), "b\n")
    equal(sh:read(), "a\n")
    equal({ sh:read(), sh:read_error() }, {})
  end)

  it("reads no more than it is asked to", function()
    local sh <close> = start("printf", "abcdef")
    equal({ sh:read(4), sh:read(4), sh:read(4) }, { "abcd", "ef" })
  end)

  it("lets one task write while another reads", function()
    local cat <close> = start("cat")
    local text = ("x"):rep(3000000)
    local writing = task.spawn(function()
      cat:write(text)
      cat:close_input()
    end)
    local count = 0
    for piece in function() return cat:read() end do count = count + #piece end
    equal(count, #text)
    equal(writing:wait(), true)
  end)

  it("collects what a caller has not read yet", function()
    local cat <close> = start("cat")
    cat:write("one ")
    equal(cat:collect { input = "two" }, { out = "one two", err = "", out_bytes = 7, err_bytes = 0, status = 0 })
  end)

  it("raises lost when the program closed its input and runs on", function()
    local sh <close> = start("sh", "-c", "exec <&-; echo closed; sleep 64")
    sh:read()
    local failure = raises(sh.write, sh, "x")
    equal(failure.kind, "lost")
  end)

  it("takes input for a program that has ended", function()
    local done <close> = start("true")
    done:wait()
    done:write(("x"):rep(100000))
    done:close_input()
    equal(done:wait(), { status = 0 })
  end)

  it("wakes whoever waits when it is closed", function()
    local sleeping = start("sleep", "65")
    local reading = task.spawn(function() return sleeping:read() end)
    task.sleep(0.05)
    sleeping:close()
    local ok, failure = reading:wait()
    equal({ ok, failure.kind }, { false, "lost" })
  end)

  it("can be closed twice, and then refuses", function()
    local cat = start("cat")
    cat:close()
    cat:close()
    matches(raises(cat.read, cat), "closed")
  end)

  it("is ended by the collector", function()
    local pid = start("sh", "-c", "echo $$; exec sleep 66"):read():match("%d+")
    collectgarbage()
    collectgarbage()
    for _ = 1, 100 do
      if not process.alive(math.tointeger(pid)) then return end
      task.sleep(0.02)
    end
    error("still alive")
  end)

  it("keeps within a limit", function()
    local yes <close> = start("sh", "-c", "yes | head -c 100000")
    local result = yes:collect { limit = 100 }
    equal(result.out, ("y\n"):rep(25) .. "\n[99900 bytes left out]\n" .. ("y\n"):rep(25))
  end)

  it("refuses an option it does not know", function()
    local cat <close> = start("cat")
    equal(type(raises(cat.collect, cat, { inptu = "" })), "string")
  end)
end)
