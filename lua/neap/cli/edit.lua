--- What a person edits at a failure: the arguments of the run, or its procedure's file in the repository.
local choice     = require "neap.cli.choice"
local fault      = require "native.error"
local fs         = require "native.fs"
local repository = require "neap.repository"

local edit = {}

local HEAD = [[
# The arguments of run %d of %s, one a line: name=value. What is left out stays as it is.
]]

local function editor()
  for _, name in ipairs { "VISUAL", "EDITOR" } do
    local command = os.getenv(name)
    if command and command ~= "" then return command end
  end
end

--- Everything waits meanwhile, for the editor has the terminal. Whether it ended well.
local function open(command, path)
  return os.execute(("%s '%s'"):format(command, path:gsub("'", "'\\''"))) == true
end

--- Opens a file in the person's editor, and waits until that has ended. Raises where there is none, and where it failed.
--- @param path string
function edit.open(path)
  local command = editor()
  if not command then
    fault.raise { kind = "missing", where = "", message = "no editor is set", hint = "export EDITOR=vi" }
  end
  if not open(command, path) then fault.raise { kind = "remote", where = "", message = "the editor failed" } end
end

local function said(asker, prompt)
  local typed = asker.console:ask(prompt)
  return typed and typed:match "^%s*(.-)%s*$" or ""
end

-- ---- arguments ----

local function is_line(value) return not (value or ""):find "[\n\r]" end

local function to_text(question)
  local lines = { HEAD:format(question.shown.run, question.shown.procedure) }
  for _, one in ipairs(question.shown.arguments) do
    if one.description then lines[#lines + 1] = ("# %s (%s)\n"):format(one.description, one.type) end
    local set = one.value ~= nil and is_line(one.value)
    local why = one.value ~= nil and "of several lines: not edited here" or ""
    lines[#lines + 1] = set and ("%s=%s\n"):format(one.name, one.value) or ("# %s=%s\n"):format(one.name, why)
  end
  return table.concat(lines)
end

local function from_text(text)
  local given = {}
  for line in text:gmatch "[^\n]+" do
    local name, value = line:match "^%s*([%a_][%w_]*)=(.*)$"
    if not name and not line:find "^%s*#" and line:find "%S" then
      fault.raise { kind = "protocol", where = "", message = ("this line is no name=value: %s"):format(line) }
    end
    if name and not utf8.len(value) then
      fault.raise { kind = "protocol", where = "", message = ("%s is not UTF-8"):format(name) }
    end
    if name then given[name] = value end
  end
  return given
end

local function in_editor(command, question)
  local folder = fs.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/neap-")
  local path = folder .. "/arguments"
  local ok, given = pcall(function()
    fs.write(path, to_text(question), { mode = "0600" })
    if not open(command, path) then fault.raise { kind = "remote", where = "", message = "the editor failed" } end
    return from_text(fs.read(path))
  end)
  fs.remove_tree(folder)
  if not ok then error(given, 0) end
  return given
end

local function line_by_line(asker, question)
  local given = {}
  for _, one in ipairs(question.shown.arguments) do
    if one.description then asker.console:tell(asker.console.err:clean(one.description)) end
    local typed = said(asker, ("%s [%s]: "):format(one.name, one.value or "none"))
    if typed ~= "" and utf8.len(typed) then given[one.name] = typed end
  end
  return given
end

--- Of what was given, that which is another; nil where nothing is.
local function changed(question, given)
  for _, one in ipairs(question.shown.arguments) do
    if given[one.name] == one.value then given[one.name] = nil end
  end
  return next(given) ~= nil and given or nil
end

local function arguments(asker, question)
  local command = editor()
  local given = command and in_editor(command, question) or not command and line_by_line(asker, question)
  local other = changed(question, given)
  if not other then asker.console:tell "The arguments are as they were." end
  return other and { arguments = other }
end

-- ---- code ----

local function code(asker, question)
  local found = repository.procedure(question.shown.procedure)
  local command = editor()
  if not command then
    said(asker, ("Edit %s elsewhere (there is no EDITOR); Enter takes it as it then is: "):format(found.file))
  elseif not open(command, found.file) then
    fault.raise { kind = "remote", where = "", message = "the editor failed" }
  end
  return { files = choice.procedure({ procedure = question.shown.procedure }).files }
end

-- ---- which ----

local function which(asker, question)
  if #question.shown.arguments == 0 then return code end
  local typed = said(asker, "Edit the arguments or the code (a, c): ")
  return typed == "a" and arguments or typed == "c" and code or nil
end

--- Has a person edit, and say why. nil: nothing is to be changed.
--- @param asker neap.asker
--- @param question neap.question  of kind "failure"
--- @return { choice: "edit", arguments?: table<string, string>, files?: table<string, string>, reason: string }?
function edit.ask(asker, question)
  local how = which(asker, question)
  if not how then return nil end
  local ok, answer = pcall(how, asker, question)
  if not ok and not fault.is(answer) then error(answer, 0) end
  if not ok then asker.console:tell(asker.console.err:clean(answer.message)) end
  if not ok or not answer then return nil end
  answer.choice, answer.reason = "edit", said(asker, "Changed, because: ")
  return answer.reason ~= "" and answer or nil
end

return edit
