-- Not a test of its own: witness_test runs it as the caller that it kills.
local fixture = require "tests.targets.fixture"
local process = require "native.process"
local witness = require "neap.targets.witness"

describe("the caller", function()
  it("calls", function()
    local login, folder, name, path = process.environ("NEAP_CALL"):match("(.*)\n(.*)\n(.*)\n(.*)")
    fixture.within(fixture.run(), changing, function()
      witness.run("local", { witness = name, place = { login = login, folder = folder } },
        ("echo %s >>%s; sleep 0.1"):format(name, path))
    end)
  end)
end)
