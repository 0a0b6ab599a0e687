--- Where a run stands at a step that failed, and what a person can do about it.
local fault     = require "native.error"
local log       = require "neap.cli.view.log"
local outcome   = require "neap.cli.view.outcome"
local step_path = require "neap.engine.step_path"

local view = {}

--- Key, the engine's option, what it does. `diff` and `output` only look.
local KEYS = {
  { "r", "retry", "retry %s" },
  { "e", "edit", "edit arguments or code, then retry" },
  { "h", "by hand", "done by hand (its check must pass)" },
  { "k", "skip", "skip it, with a reason" },
  { "b", "back", "back: all, or to a step" },
  { "s", "shell", "shell: lines of Lua in this run" },
  { "o", "hand over", "hand over to someone" },
  { "q", "quit", "leave it stopped" },
  { "d", "diff", "diff: what this step changed" },
  { "l", "output", "full output" },
}
local LOOKS = { diff = true, output = true }

--- Before what is typed.
--- @param question table
--- @param environment string  full name
--- @return string
function view.prompt(question, environment)
  return ("%d %s %s> "):format(question.shown.run, environment:match "[^/]*$", question.shown.step.number)
end

--- What a person means: a key, or the whole word.
--- @param typed string
--- @param options string[]
--- @return string? choice  one of the options, "diff" or "output"
function view.choice(typed, options)
  local wanted = typed:match "^%s*(.-)%s*$"
  for _, entry in ipairs(KEYS) do
    if wanted == entry[1] or wanted == entry[2] then
      if LOOKS[entry[2]] then return entry[2] end
      for _, option in ipairs(options) do
        if option == entry[2] then return option end
      end
    end
  end
end

local WIDEST = 40 -- columns of a key and what it does

--- The keys, in as many columns as there is room for.
--- @param question table
--- @param page neap.page
--- @return string
function view.keys(question, page)
  local cells = {}
  for i, entry in ipairs(KEYS) do
    local what = entry[3]:format(page:clean(question.shown.step.number))
    if entry[2] == "by hand" and not question.shown.has_check then what = "done by hand, with a reason" end
    cells[i] = ("  %s  %s"):format(page:paint("bold", entry[1]), what)
  end
  local lines, across = { page:paint("bold", "WHAT NOW?") }, math.max(page.edge // WIDEST, 1)
  for i = 1, #cells, across do
    local row = {}
    for j = i, math.min(i + across - 1, #cells) do row[#row + 1] = page:left(cells[j], page.edge // across) end
    lines[#lines + 1] = table.concat(row):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

local function counts(shown, page)
  local undo = ("Undo: %s"):format(page.count(shown.undo, "effect"))
  local about = shown.undo > 0 and (shown.undo_seconds or 0) >= 1 and ", about " .. page.about(shown.undo_seconds) or ""
  local kept = shown.kept > 0 and ("; %d kept"):format(shown.kept) or ""
  return undo .. about .. kept .. "."
end

local FEWEST = 3 -- effects in place that are shown on any terminal

local function lines_of(question, page, left_out)
  local shown = question.shown
  local model = { run = shown.run, step = shown.step, failure = fault.new(shown.failure), status = "stopped",
                  changed = table.move(shown.changed, left_out + 1, #shown.changed, 1, {}), in_doubt = {},
                  point_of_no_return = shown.point_of_no_return }
  local lines, more = outcome.stand(model, page), shown.more + left_out
  if more > 0 then lines[#lines + 1] = ("  and %s before these"):format(page.count(more, "effect")) end
  if #shown.changed > 0 then lines[#lines + 1] = "  " .. counts(shown, page) end
  lines[#lines + 1] = ""
  lines[#lines + 1] = view.keys(question, page)
  return table.concat(lines, "\n")
end

--- What failed is to be in sight together with the keys: where all does not fit, the oldest effects are left out.
--- @param question table  as engine/decide asks it
--- @param page neap.page
--- @param rows? integer  that there are; none: all is shown
--- @return string
function view.text(question, page, rows)
  local count = #question.shown.changed
  local text = lines_of(question, page, 0)
  local over = rows and select(2, text:gsub("\n", "")) + 1 - rows or 0
  if over <= 0 or count <= FEWEST then return text end
  return lines_of(question, page, math.min(over + 1, count - FEWEST))
end

--- What the step has changed so far, with differences.
--- @param model table  as cli/standing gives it
--- @param question table
--- @param page neap.page
--- @return string
function view.diff(model, question, page)
  return table.concat(log.lines(model, page, { step = question.path, patch = true }), "\n")
end

local function output_of(record)
  local failed = record.failure and record.failure.output
  local result = type(record.result) == "table" and record.result.out
  return type(failed) == "string" and failed or type(result) == "string" and result or nil
end

--- All that came back from the targets of the step.
--- @param model table
--- @param question table
--- @param page neap.page
--- @return string
function view.output(model, question, page)
  local lines, seen = {}, {}
  for _, record in ipairs(model.records) do
    local of_step = record.type == "end" and record.path and step_path.root(record.path) == question.path
    local text = of_step and output_of(record)
    if text and not seen[text] then
      seen[text] = true
      for _, line in ipairs(page:lines(text)) do lines[#lines + 1] = "  | " .. line end
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or "  Nothing came back."
end

return view
