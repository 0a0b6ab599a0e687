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

  --- A run of four phases at its second one, of which a step runs on that many hosts.
  local function fan_out(set, hosts)
    local view, seq = progress.new(set), 0
    local function tell(record)
      seq = seq + 1
      record.seq, record.time = seq, record.time or time_of(0)
      view:follow(record)
      view:line(record)
      return seq
    end
    tell { type = "run", run = 142, procedure = "encode/release", environment = "encode/prod", actor = "alice@jump1" }
    local function steps(phase, titles)
      local list = {}
      for i, title in ipairs(titles) do
        list[i] = { title = title, number = ("%d.%d"):format(phase, i), kind = "step",
          no_return = title == "Promote" or nil }
      end
      return { number = phase, title = "Phase " .. phase, steps = list }
    end
    tell { type = "outline", run = 142, procedure = "encode/release", environment = "encode/prod", guard = "production",
      phases = { steps(1, { "Look" }), steps(2, { "Demote", "Switch", "Check", "Wait", "Tell", "Promote" }),
        steps(3, { "Keep logs" }), steps(4, { "Thank" }) } }
    for number, title in pairs { ["1.1"] = "Look", ["2.1"] = "Demote" } do
      tell { type = "end", of = tell { type = "step", path = title, number = number }, path = title, status = "done" }
    end
    tell { type = "step", path = "Switch", number = "2.2" }
    tell { type = "fan out", path = "Switch", total = hosts }
    for i = 1, hosts // 2 do
      local name = ("host%03d"):format(i)
      local path, began = "Switch/" .. name, time_of(i % 20)
      local begun = tell { type = "step", path = path, branch = name, number = "2.2", time = began }
      local status = i % 40 == 0 and "failed" or i % 2 == 0 and "done" or nil
      if status then
        tell { type = "end", of = begun, path = path, status = status,
          failure = status == "failed" and { message = "nginx -t failed" } or nil }
      else
        tell { type = "intent", path = path, kind = "file.content", show = name .. " /etc/nginx/nginx.conf",
          time = began }
      end
    end
    return view
  end

  it("folds two hundred hosts to figures, with those that failed and those that are slowest", function()
    local view = fan_out(page.new { width = 80, utf8 = true }, 200)
    view:follow { type = "outlook", undo = 252, left = 780 }
    golden("progress-hosts", table.concat(view:block(require "native.clock".parse(time_of(20))), "\n"))
  end)

  it("never takes more rows than there are, and keeps its head and its foot", function()
    for _, rows in ipairs { 6, 10, 22 } do
      local lines = fan_out(page.new { width = 80 }, 20):block(0, rows)
      truthy(#lines <= rows)
      matches(lines[2], "encode/release on encode/prod")
      matches(lines[#lines], "%^C")
    end
  end)

  it("says a silence, on a terminal and on a pipe", function()
    local view = fan_out(page.new { width = 80 }, 4)
    view:follow(RECORDS[9])
    local now = require "native.clock".parse(time_of(0)) + 100
    matches(table.concat(view:block(now), "\n"), "no word for 2m")
    matches(view:silence(now), "still at 2.2 Switch, no word for 2m, last: proxy1 |")
    equal(view:silence(require "native.clock".parse(time_of(5))), nil)
  end)
end)
