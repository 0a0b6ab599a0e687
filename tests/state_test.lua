local fs      = require "native.fs"
local process = require "native.process"
local state   = require "neap.state"

describe("state", function()
  local home
  local getenv, environ = os.getenv, process.environ

  before_each(function()
    home = fs.realpath(scratch())
    rawset(os, "getenv", function(name) return name == "XDG_STATE_HOME" and home or getenv(name) end)
  end)

  after_each(function()
    rawset(os, "getenv", getenv)
    process.environ = environ
  end)

  it("is a person's own folder where the environment has none", function()
    local folder, shared = state.folder "encode/lab"
    equal({ folder, shared }, { home .. "/neap/encode/lab", false })
    equal(fs.stat(folder).mode, "0700")
  end)

  it("is in the login's home where no variable names one, as in a timer's job", function()
    rawset(os, "getenv", function() return nil end)
    process.environ = function() return nil end
    equal((state.path "encode/nowhere"), process.user().home .. "/.local/state/neap/encode/nowhere")
  end)

  it("says what cannot be made, that nothing was changed, and how to name another folder", function()
    fs.write(home .. "/neap", "a file where the folder would be", { mode = "0600" })
    local failure = raises(state.folder, "encode/lab")
    truthy(failure.message:find(home .. "/neap", 1, true))
    equal(failure.state, "Nothing was changed.")
    matches(failure.hint, "XDG_STATE_HOME")
  end)

  it("refuses a folder or key that everybody may write to", function()
    local folder = state.folder "encode/lab"
    os.execute("chmod 0707 " .. folder)
    matches(raises(state.folder, "encode/lab").message, "everybody may write to " .. folder:gsub("%p", "%%%0"))
    os.execute("chmod 0700 " .. folder)
    fs.write(folder .. "/key", "x", { mode = "0600" })
    os.execute("chmod 0606 " .. folder .. "/key")
    equal(raises(state.folder, "encode/lab").kind, "denied")
  end)

  it("knows the environments that have a journal", function()
    fs.write(state.folder "encode/lab" .. "/journal.db", "", { mode = "0600" })
    state.folder "encode/other"
    local known = state.known()
    equal(known["encode/lab"], home .. "/neap/encode/lab")
    equal(known["encode/other"], nil)
  end)
end)
