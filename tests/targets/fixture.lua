--- A run as the targets see it, without an engine behind it: hosts, connections, and a place for them to end.
local task = require "native.task"

local fixture = {}

local count = 0

--- A run with these hosts beside `local`.
--- @param hosts? table<string, table>
function fixture.run(hosts)
  count = count + 1
  local run = { uid = ("test-%d-%d"):format(require("native.process").pid(), count), connections = {},
    environment = { hosts = hosts or {} } }
  run.environment.hosts["local"] = run.environment.hosts["local"] or { name = "local" }
  return run
end

--- Calls fn within the run, with leave to change; then closes what the run holds.
function fixture.within(run, changing, fn, ...)
  local branch = setmetatable({ run = run }, { __index = task.context() }) -- the test's own: it holds its scratch folders
  local results = table.pack(pcall(task.with_context, branch, changing, fn, ...))
  for host, place in pairs((run.connections.witness or { places = {} }).places) do
    task.with_context(branch, changing, require("neap.targets.witness").release, host, place)
  end
  for _, connection in pairs(run.connections) do connection:close() end
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

return fixture
