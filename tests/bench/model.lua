--- How long a service of AWS takes to be known from its model: read, decoded, one operation looked at. In a process of its
--- own each time, as a run has it.
local model   = require "neap.targets.aws.model"
local process = require "native.process"
local task    = require "native.task"

describe("the model of a service", function()
  it("is loaded", function()
    local begun = task.now()
    local service = model.of(process.environ "BENCH_SERVICE")
    truthy(service:shape(service:operation(process.environ "BENCH_OPERATION").input))
    print(("seconds %.6f"):format(task.now() - begun))
  end)
end)
