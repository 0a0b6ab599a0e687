local golden   = require "tests.cli.golden"
local page     = require "neap.cli.view.page"
local progress = require "neap.cli.view.progress"

local RECORDS = {
  { type = "run", run = 142, procedure = "encode/release", environment = "encode/prod", actor = "alice@jump1" },
  { type = "step", path = "Switch the proxies", number = "4.3", attempt = 1 },
  { type = "step", path = "Switch the proxies/proxy1", number = "4.3", attempt = 1, branch = "proxy1" },
  { type = "step", path = "Switch the proxies/proxy2", number = "4.3", attempt = 1, branch = "proxy2" },
  { type = "intent", path = "Switch the proxies/proxy1", kind = "file.content", show = "proxy1 /etc/nginx/nginx.conf",
    before = "a", after = "b", disposition = "undo" },
  { type = "intent", path = "Switch the proxies/proxy2", kind = "file.content", show = "proxy2 /etc/nginx/nginx.conf",
    before = "a", after = "b", disposition = "undo" },
  { type = "end", of = 5, path = "Switch the proxies/proxy1", status = "done" },
  { type = "intent", path = "Switch the proxies/proxy1", kind = "nginx.reload", show = "proxy1 nginx",
    disposition = "undo", bracket = "close" },
  { type = "output", host = "proxy1", text = "nginx: the configuration file syntax is ok\n\27]0;evil\7" },
}

--- The second that a record is of: 02:21:40 and so on.
local function time_of(seconds) return ("2026-11-21T02:21:%02d.000Z"):format(40 + seconds) end

local function after(count, set)
  local view, lines = progress.new(set), {}
  for i = 1, count do
    local record = setmetatable({ seq = i, time = time_of(i) }, { __index = RECORDS[i] })
    view:follow(record)
    lines[#lines + 1] = view:line(record)
  end
  return view, lines
end

describe("progress", function()
  it("shows what is under way, each with its clock, and the last output", function()
    local set = page.new { width = 72, utf8 = true }
    local view, lines = after(#RECORDS, set)
    local now = require "native.clock".parse(time_of(19))
    golden("progress", table.concat(lines, "\n") .. "\n" .. table.concat(view:block(now), "\n"))
  end)

  it("fits a narrow terminal that knows ASCII alone", function()
    local set = page.new { width = 40 }
    local view = after(#RECORDS, set)
    for _, line in ipairs(view:block(0)) do
      truthy(#line <= 40)
      truthy(not line:find "[\128-\255]")
    end
  end)

  it("shows the way back, and when to turn back at the latest, above the step", function()
    local view = after(4, page.new { width = 72, utf8 = true })
    local by = require "native.clock".parse(time_of(0)) + 5400
    view:follow { type = "outlook", undo = 252, turn_back_by = by, left = 780 }
    equal(view:block(0)[2], "undo from here about 4m   turn back no later than 03:51   about 13m left")
    view:follow { type = "outlook", undo = 0 }
    matches(view:block(0)[2], "^> 4.3")
  end)

  it("takes away from the block what has ended", function()
    local view = after(7, page.new { width = 72 })
    truthy(not table.concat(view:block(0), "\n"):find("proxy1", 1, true))
  end)
end)
