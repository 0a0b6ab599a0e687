--- Lines typed at a run: the prompt, what a line would change, what it gave.
local change = require "neap.cli.view.change"
local value  = require "neap.cli.view.value"

local view = {}

local HELP = [[
A line is an expression, whose value is shown, or a statement. It sees what the
steps see: env, the words, and the arguments as arg. Reads happen at once; a
change is shown and asked about, and is undone with the run. A name that is set
without local stays for the next lines, until the run stops. An unfinished line
goes on in the next one; an empty one drops it.
  :q  back to the failure      ?  this      ?file.write  what a word does
  :x  expanded rows, on and off             :json  values as JSON]]

--- @return string
function view.help() return HELP end

--- Before what is typed.
--- @param question table  of kind "shell"
--- @param environment string  full name
--- @return string
function view.prompt(question, environment)
  local shown = question.shown
  local prompt = ("neap %s %d/%s"):format(environment:match "[^/]*$", shown.run, shown.step.number)
  return shown.unfinished and ("."):rep(#prompt) .. "> " or prompt .. "> "
end

local UNDO = { undo = "undo", keep = "keep", irreversible = "NO UNDO" }

--- What a line is about to change.
--- @param shown table  sign, kind, show, before_text, after_text, says, disposition, why
--- @param page neap.page
--- @return string
function view.change(shown, page)
  local one = setmetatable({ undo = UNDO[shown.disposition] }, { __index = shown })
  return table.concat(change.lines(one, page, {}), "\n")
end

-- ---- what a line gave ----

local function add_failure(lines, failure, page)
  for _, line in ipairs(page:lines(failure.message)) do
    lines[#lines + 1] = page:paint("alarm", #lines == 0 and "! " .. line or "  " .. line)
  end
  for _, line in ipairs(page:last_lines(failure.output)) do lines[#lines + 1] = "  | " .. line end
  if failure.hint then lines[#lines + 1] = "  hint  " .. page:clean(failure.hint) end
end

--- What a line gave; nil where that is nothing.
--- @param event { values?: { value: any }[], failure?: table }
--- @param page neap.page
--- @param options? { expanded?: boolean, json?: boolean }
--- @return string?
function view.text(event, page, options)
  local lines = {}
  if event.failure then add_failure(lines, event.failure, page) end
  for _, box in ipairs(event.values or {}) do
    for _, line in ipairs(value.lines(box.value, page, options)) do lines[#lines + 1] = line end
  end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

-- ---- new code ----

local function add_steps(lines, title, list, page)
  if #list == 0 then return end
  lines[#lines + 1] = title
  for _, step in ipairs(list) do
    lines[#lines + 1] = ("  %s %s"):format(page:clean(step.number), page:clean(step.title))
    if step.before then
      for _, line in ipairs(change.diff_lines(step.before, step.after, page)) do lines[#lines + 1] = "    " .. line end
    end
  end
end

--- What new code has otherwise of steps that are over.
--- @param shown { changed: table[], gone: table[], earlier: table[], files: string[] }
--- @param page neap.page
--- @return string[] lines
function view.code(shown, page)
  local lines = {}
  add_steps(lines, "They were done as the lines with - say:", shown.changed, page)
  add_steps(lines, "They are in the code no more:", shown.gone, page)
  add_steps(lines, "They are new, stand before steps that are over, and will be done now:", shown.earlier, page)
  for _, path in ipairs(shown.files) do lines[#lines + 1] = "  changed file: " .. page:clean(path) end
  return lines
end

return view
