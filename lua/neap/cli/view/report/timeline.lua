--- The timeline of the HTML report: a lane for each target, a bar for each thing that took time. A label stands in its bar,
--- or beside it where there is room; where there is none it is left out, and the bar's title says it.
local markup   = require "neap.cli.view.report.markup"
local terminal = require "native.terminal"
local time     = require "neap.cli.view.time"

local timeline = {}

local WIDTH, LEFT, RIGHT = 960, 150, 950
local ROW, BAR, TOP = 20, 15, 30
local LETTER = 7.4   -- of a label, at most, where letters are 12 high
local LEAST = 3      -- a bar can be seen
local ROWS = 4       -- of a lane; what does not fit lies over the last
local LANES = 40     -- the targets after these share one
local STEPS = { 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 604800 }
local TICKS = 8

local text = markup.text

-- ---- what there is ----

local function bar(from, to, class, label, title)
  from, to = time.seconds(from), time.seconds(to)
  return from and { from = from, to = math.max(to or from, from), class = class, label = label, title = title }
end

local CLASSES = { done = "good", ["in doubt"] = "bad", failed = "bad", ["partly done"] = "bad" }

local function add(lanes, name, one)
  if not one then return end
  if not lanes[name] and #lanes >= LANES then name = "others" end
  local lane = lanes[name]
  if not lane then
    lane = { name = name, bars = {} }
    lanes[name], lanes[#lanes + 1] = lane, lane
  end
  lane.bars[#lane.bars + 1] = one
end

local function add_phases(lanes, account)
  for _, phase in ipairs(account.phases) do
    local first, last
    for _, step in ipairs(phase.steps) do
      if step.started and (not first or step.started < first) then first = step.started end
      local ended = step.ended or step.started and account.ended
      if ended and (not last or ended > last) then last = ended end
    end
    local name = ("%d %s"):format(phase.number, phase.title)
    add(lanes, "phases", first and bar(first, last, "phase", name, name))
  end
end

local function add_waits(lanes, account)
  for _, phase in ipairs(account.phases) do
    for _, step in ipairs(phase.steps) do
      if step.kind ~= "step" and step.started then
        local name = ("%s %s"):format(step.number, step.title)
        add(lanes, step.kind == "manual" and "people" or "waits",
          bar(step.started, step.ended or account.ended, "wait", name, name))
      end
    end
  end
end

local function add_effects(lanes, account)
  for _, one in ipairs(account.effects) do
    local name = ("%s %s %s"):format(one.number or "", one.sign, one.show)
    add(lanes, one.lane, bar(one.started, one.ended or account.ended, CLASSES[one.status] or "wait",
      one.number or one.kind, ("%s: %s"):format(name, one.status)))
    if one.back then
      add(lanes, one.lane, bar(one.back.started, one.back.ended or account.ended, "back", one.number or one.kind,
        ("%s: taken back"):format(name)))
    end
  end
end

-- ---- where it stands ----

--- The first row of a lane in which a bar lies over none before it.
local function row_for(rows, one)
  for i = 1, ROWS do
    if not rows[i] or rows[i] <= one.x + LEAST then return i end
  end
  return ROWS
end

local function set_rows(lane)
  local rows = {}
  table.sort(lane.bars, function(a, b) return a.from < b.from end)
  for _, one in ipairs(lane.bars) do
    one.row = row_for(rows, one)
    rows[one.row] = math.max(rows[one.row] or 0, one.x + one.width)
  end
  lane.rows = math.max(#rows, 1)
end

--- Where the label of a bar begins; nil: there is no room before the next bar of its row.
local function label_at(one, free_from, next_x)
  local needed = terminal.width(one.label) * LETTER
  if needed <= one.width - 6 then return one.x + 3 end
  local beside = one.x + one.width + 4
  if one.x >= free_from and beside + needed <= math.min(next_x - 3, RIGHT) then return beside end
end

local function set_labels(lane)
  for row = 1, lane.rows do
    local bars, free_from = {}, 0
    for _, one in ipairs(lane.bars) do
      if one.row == row then bars[#bars + 1] = one end
    end
    for i, one in ipairs(bars) do
      local next_x = bars[i + 1] and bars[i + 1].x or math.huge
      one.label_x = one.x >= free_from and label_at(one, free_from, next_x) or nil
      if one.label_x then free_from = one.label_x + terminal.width(one.label) * LETTER end
    end
  end
end

--- Seconds to a place across the page.
local function scale_of(account)
  local first, last = time.seconds(account.started), time.seconds(account.ended)
  local span = math.max(last - first, 1)
  return function(seconds)
    return LEFT + math.min(math.max((seconds - first) / span, 0), 1) * (RIGHT - LEFT)
  end, first, span
end

local function set(lanes, across)
  local y = TOP
  for _, lane in ipairs(lanes) do
    for _, one in ipairs(lane.bars) do
      one.x = across(one.from)
      one.width = math.max(across(one.to) - one.x, LEAST)
    end
    set_rows(lane)
    set_labels(lane)
    lane.y, y = y, y + lane.rows * ROW + 6
  end
  return y
end

-- ---- how it is written ----

local function step_of_ticks(span)
  for _, step in ipairs(STEPS) do
    if span / step <= TICKS then return step end
  end
  return span / TICKS
end

local function add_ticks(out, across, first, span, bottom)
  local step = step_of_ticks(span)
  for at = math.ceil(first / step) * step, first + span, step do
    local shown = os.date(step < 60 and "!%H:%M:%S" or "!%H:%M", math.floor(at))
    local x = math.min(across(at), RIGHT - #shown * LETTER / 2 + WIDTH - RIGHT)
    out(('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke-dasharray="2 3"/>'):format(x, TOP - 8, x, bottom))
    out(('<text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>'):format(x, TOP - 13, shown))
  end
end

local function short(name)
  return utf8.len(name) and utf8.len(name) > 19 and name:sub(1, utf8.offset(name, 19) - 1) .. "…" or name
end

local function add_lane(out, lane)
  local name = terminal.clean(lane.name)
  out(('<text x="4" y="%d">%s<title>%s</title></text>'):format(lane.y + 12, text(short(name)), text(name)))
  for _, one in ipairs(lane.bars) do
    local y = lane.y + (one.row - 1) * ROW
    out(('<rect class="b-%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"><title>%s</title></rect>'):format(
      one.class, one.x, y, one.width, BAR, text(one.title)))
    if one.label_x then
      out(('<text x="%.1f" y="%d">%s</text>'):format(one.label_x, y + 12, text(one.label)))
    end
  end
  local below = lane.y + lane.rows * ROW + 1
  out(('<line x1="%d" y1="%d" x2="%d" y2="%d"/>'):format(LEFT, below, RIGHT, below))
end

--- @param account neap.account
--- @return string svg
function timeline.svg(account)
  local lanes, lines = {}, {}
  local function out(line) lines[#lines + 1] = line end
  add_phases(lanes, account)
  add_effects(lanes, account)
  add_waits(lanes, account)
  local across, first, span = scale_of(account)
  local bottom = set(lanes, across)
  out(('<svg viewBox="0 0 %d %d" role="img" aria-label="%s">'):format(WIDTH, bottom + 4,
    text(("what ran when, from %s to %s UTC"):format(account.started:sub(12, 19), account.ended:sub(12, 19)))))
  add_ticks(out, across, first, span, bottom)
  for _, lane in ipairs(lanes) do add_lane(out, lane) end
  if account.verdict.state == "bad" then
    out(('<line class="end" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>'):format(across(first + span), TOP - 8,
      across(first + span), bottom))
  end
  out "</svg>"
  return table.concat(lines, "\n")
end

return timeline
