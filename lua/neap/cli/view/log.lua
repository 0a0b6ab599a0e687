--- The text of `neap log`: head, a bar for each phase of time, and a line for each thing that happened.
local change      = require "neap.cli.view.change"
local change_text = require "neap.cli.view.change_text"
local event       = require "neap.cli.view.event"
local step_path   = require "neap.engine.step_path"
local time        = require "neap.cli.view.time"

local view = {}

local BAR    = 40 -- columns of a bar
local MARGIN = 18 -- columns before what a line is about

local function arguments_of(run, page) return page:clean(table.concat(page.arguments(run.arguments), " ")) end

local function add_head(lines, model, page)
  local run = model.run
  local last = model.last and model.last.time or run.started
  local title = ("%s on %s   run %d"):format(page:clean(run.procedure), page:clean(run.environment), run.run)
  lines[#lines + 1] = (("%s   %s"):format(page:paint("bold", title), arguments_of(run, page)):gsub("%s+$", ""))
  lines[#lines + 1] = ("%s - %s (%s)   %s   by %s"):format(time.second(run.started), time.of_day(last),
    page.duration(time.between(run.started, last) or 0), page:clean(model.summary), page:clean(run.actor or "?"))
  lines[#lines + 1] = view.chain(model.chain, run, page)
end

--- Whether journals are whole, a line a run; the environment is named where there is more than one.
--- @param results { environment: string, run: integer, records?: integer, anchors?: integer, problem?: string }[]
--- @param page neap.page
--- @return string
function view.chains(results, page)
  if #results == 0 then return "There are no runs." end
  local lines, several = {}, results[1].environment ~= results[#results].environment
  for i, one in ipairs(results) do
    local name = several and page:clean(one.environment) .. ": " or ""
    local anchored = one.anchors and (", %s"):format(page.count(one.anchors, "anchor")) or ""
    lines[i] = name .. (one.problem and page:paint("alarm", page:clean(one.problem))
      or ("journal of run %d: %s%s, whole"):format(one.run, page.count(one.records, "record"), anchored))
  end
  return table.concat(lines, "\n")
end

--- Whether the journal is whole.
--- @param chain { whole: boolean, records?: integer, problem?: string }
--- @param page neap.page
--- @return string
function view.chain(chain, run, page)
  if chain.whole then return ("journal of run %d: %s, whole"):format(run.run, page.count(chain.records, "record")) end
  return page:paint("alarm", page:clean(chain.problem))
end

-- Bars

--- From when to when each phase lasted, by the records of its steps; "4" of "4.3" is the phase.
local function spans(model)
  local list, by_phase = {}, {}
  for _, record in ipairs(model.records) do
    local title = record.path and step_path.title(record.path)
    local phase = title and model.numbers[title] and model.numbers[title]:match "^%d+"
    if phase and not by_phase[phase] then
      by_phase[phase] = { phase = phase, first = record.time }
      list[#list + 1] = by_phase[phase]
    end
    if phase then by_phase[phase].last = record.time end
  end
  return list
end

local function add_bars(lines, model, page)
  local total = time.between(model.run.started, model.last and model.last.time)
  if not total or total < 1 then return end
  lines[#lines + 1] = ""
  for _, span in ipairs(spans(model)) do
    local from = math.floor((time.between(model.run.started, span.first) or 0) / total * BAR)
    local length = math.max(1, math.floor((time.between(span.first, span.last) or 0) / total * BAR + 0.5))
    from = math.min(from, BAR - 1)
    length = math.min(length, BAR - from)
    local full, empty = page.utf8 and "█" or "#", page.utf8 and "·" or "."
    lines[#lines + 1] = ("%s  %s%s%s  %s"):format(page:right(span.phase, 3), empty:rep(from), full:rep(length),
      empty:rep(BAR - from - length), page.duration(time.between(span.first, span.last) or 0))
  end
end

-- Lines

local COLOURS = { ["!"] = "alarm", ["+"] = "green", ["~"] = "yellow", ["-"] = "red", [">"] = "cyan" }
local ALWAYS = { ["!"] = true, ["+"] = true, ["~"] = true, ["-"] = true, [">"] = true, ask = true, note = true,
                 head = true }
local SIGNS = { step = ">", done = " ", ask = "?", note = " ", head = " " }

local function result_of(line, page)
  local parts = {}
  if line.result then parts[1] = page:clean(line.result) end
  if line.seconds then parts[#parts + 1] = page.duration(line.seconds) end
  if line.mark then parts[#parts + 1] = line.mark end
  if line.detail then parts[#parts + 1] = page:clean(line.detail) end
  return table.concat(parts, " ")
end

local function row_of(line, page)
  local sign = page:paint(COLOURS[line.sign] or "dim", SIGNS[line.sign] or line.sign)
  local number = page:left(line.number or "", 5)
  local what = line.kind and ("%s  %s"):format(page:clean(line.text), page:paint("dim", page:clean(line.kind)))
    or page:clean(line.text)
  local text = ("%s  %s %s %s  %s"):format(time.of_day(line.time), number, sign, what, result_of(line, page))
  return page:fit(text:gsub("%s+$", ""), MARGIN)
end

local function add_patch(lines, intent, page)
  if intent.before == nil and intent.after == nil then return end
  for _, line in ipairs(change.diff_lines(change_text.text(intent.before), change_text.text(intent.after), page)) do
    lines[#lines + 1] = (" "):rep(16) .. line
  end
end

local function is_of_step(line, wanted) return wanted == nil or line.number == wanted or line.title == wanted end

local function add_lines(lines, model, page, options)
  local reader, intents, left_out = event.new(), {}, 0
  lines[#lines + 1] = ""
  lines[#lines + 1] = page:paint("bold", "TIME      STEP    WHAT  RESULT")
  for _, record in ipairs(model.records) do
    if record.type == "intent" then intents[record.seq] = record end
    local line = reader:read(record)
    if line and record.path then line.title = select(2, reader:step_of(record.path)) end
    if line and is_of_step(line, options.step) then
      if options.all or ALWAYS[line.sign] then
        lines[#lines + 1] = row_of(line, page)
        local intent = record.type == "end" and intents[record.of]
        if options.patch and intent then add_patch(lines, intent, page) end
      else
        left_out = left_out + 1
      end
    end
  end
  for _, intent in ipairs(model.in_doubt) do
    local line = { time = intent.time, sign = "!", number = reader:step_of(intent.path), kind = intent.kind,
                   text = intent.show or intent.kind, result = "IN DOUBT" }
    if is_of_step(line, options.step) then lines[#lines + 1] = row_of(line, page) end
  end
  if left_out == 0 then return end
  local more = "... %d more (--all)   -p with differences   --step 4.3   --json"
  lines[#lines + 1] = page:paint("dim", more:format(left_out))
end

--- The lines alone.
--- @param model table  as standing.of gives it
--- @param page neap.page
--- @param options { step?: string, patch?: boolean, all?: boolean }
--- @return string[]
function view.lines(model, page, options)
  local lines = {}
  add_lines(lines, model, page, options)
  return lines
end

--- @param model table  as standing.of gives it, with chain and summary
--- @param page neap.page
--- @param options { step?: string, patch?: boolean, all?: boolean }
--- @return string
function view.text(model, page, options)
  local lines = {}
  add_head(lines, model, page)
  add_bars(lines, model, page)
  add_lines(lines, model, page, options)
  return table.concat(lines, "\n")
end

return view
