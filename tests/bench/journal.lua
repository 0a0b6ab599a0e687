--- Seconds that a pair of intent and end costs in the engine's journal; run by bench.py as a test, which may require.
local journal = require "neap.engine.journal"
local task    = require "native.task"

local PAIRS = math.tointeger(tonumber(os.getenv "BENCH_PAIRS"))

it("keeps pairs of intent and end", function()
  local opened = journal.open(os.getenv "BENCH_FOLDER")
  local function first() return { { type = "run", procedure = "bench/journal", arguments = {} } } end
  local writer = opened:take(nil, first, function() end)
  local before = { content = ("a"):rep(256), mode = "0644", owner = "root", group = "root" }
  local after = { content = ("b"):rep(256), mode = "0644", owner = "root", group = "root" }

  local begun = task.now()
  for number = 1, PAIRS do
    local intent = writer:write { type = "intent", path = "Step " .. number, kind = "file.content", before = before,
      after = after, target = { host = "h1", path = "/etc/some.conf" }, disposition = "undo" }
    writer:write { type = "end", intent = intent.seq, result = "done" }
  end
  local seconds = (task.now() - begun) / PAIRS
  writer:write { type = "close", outcome = "done" }
  opened:close()
  print("seconds", seconds)
end)
