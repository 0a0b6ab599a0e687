--- What the live view costs: two hundred hosts under way that say so many lines a second, and the block drawn four times.
local clock    = require "native.clock"
local page     = require "neap.cli.view.page"
local progress = require "neap.cli.view.progress"

local HOSTS, SECONDS, DRAWINGS = 200, 10, 4

it("shows what hosts say", function()
  local view, seq = progress.new(page.new { width = 80, utf8 = true, colour = true }), 0
  local function tell(record)
    seq = seq + 1
    record.seq, record.time = seq, clock.utc()
    view:line(record)
    view:follow(record)
  end
  tell { type = "step", path = "All", number = "1.1" }
  for i = 1, HOSTS do
    local name = "host" .. i
    tell { type = "step", path = "All/" .. name, branch = name }
    tell { type = "intent", path = "All/" .. name, kind = "command.run", show = name .. " make" }
  end
  local began = os.clock()
  for _ = 1, SECONDS do
    for i = 1, math.tointeger(os.getenv "BENCH_LINES") do
      tell { type = "output", host = "host" .. i % HOSTS, text = ("cc -O2 -c -o part%d.o part%d.c\n"):format(i, i) }
    end
    for _ = 1, DRAWINGS do view:block(clock.now(), 22) end
  end
  print("share", (os.clock() - began) / SECONDS)
end)
