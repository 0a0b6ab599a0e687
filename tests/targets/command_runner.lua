-- Not a test of its own: command_test runs it as the run that it kills.
local fixture = require "tests.targets.fixture"
local process = require "native.process"

describe("the run", function()
  it("runs", function()
    local path, state = process.environ("NEAP_TRIAL"):match("(.*)\n(.*)")
    local steps = {}
    for i = 1, 4 do
      steps[i] = ([[env.hosts["local"]:shell("echo %d >>PATH/log; sleep 0.05", { keep = "a line" })]]):format(i)
    end
    fixture.trial(steps, path, nil, state):run "done"
  end)
end)
