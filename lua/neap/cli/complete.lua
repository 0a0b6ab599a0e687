--- `neap complete -- WORD…`: what could stand in the last word's place; asked by the shells' completion, a line each, with
--- what it is behind a tab. `:file` alone says that it is a file's name, which the shell knows better.
local repository = require "neap.repository"
local verbs      = require "neap.cli.verbs"

local complete = {}

local FILES = { { ":file" } }

-- ---- what a verb takes ----

--- Takes the place of a parser, and notes what is declared.
local Recorder = {}
Recorder.__index = Recorder

local function recorder() return setmetatable({ options = {}, arguments = {}, commands = {} }, Recorder) end

--- What follows a declaration (`:argname "ENV"`) says more of it; what is not asked for here is passed over.
local function noting(one)
  return setmetatable({}, { __index = function(self, key)
    return function(_, value)
      one[key] = value
      return self
    end
  end })
end

function Recorder:add_option(names, text, takes_value)
  local one = { text = text, takes_value = takes_value, names = {} }
  for name in names:gmatch "%S+" do one.names[#one.names + 1] = name end
  self.options[#self.options + 1] = one
  return noting(one)
end

function Recorder:option(names, text) return self:add_option(names, text, true) end
function Recorder:flag(names, text) return self:add_option(names, text, false) end

function Recorder:argument(name, text)
  local one = { name = name, text = text }
  self.arguments[#self.arguments + 1] = one
  return noting(one)
end

function Recorder:command(name, text)
  local one = recorder()
  one.name, one.text = name, text
  self.commands[#self.commands + 1] = one
  return one
end

function Recorder:command_target() return self end
function Recorder:add_help() return self end

local function find(list, name)
  for _, one in ipairs(list) do
    if one.name == name then return one end
    for _, other in ipairs(one.names or {}) do
      if other == name then return one end
    end
  end
end

-- ---- what has been said so far ----

--- Reads the words before the last one: the command they lead to, values of options, arguments in order, and the option
--- that the last word is the value of.
local function read(parser, words)
  local said = { parser = parser, options = {}, arguments = {} }
  local waiting
  for i = 1, #words - 1 do
    local word = words[i]
    local option = not waiting and find(said.parser.options, word:match "^(%-%-[%w-]+)=" or word)
    if waiting then
      said.options[waiting.names[#waiting.names]] = word
      waiting = nil
    elseif option then
      local value = word:match "^%-%-[%w-]+=(.*)$"
      if value then said.options[option.names[#option.names]] = value end
      waiting = option.takes_value and not value and option or nil
    elseif find(said.parser.commands, word) then
      said.parser = find(said.parser.commands, word)
    elseif word:sub(1, 1) ~= "-" then
      table.insert(said.arguments, word)
    end
  end
  said.waiting = waiting
  return said
end

--- The value of an argument by its name.
local function value_of(said, name)
  for i, one in ipairs(said.parser.arguments) do
    if one.name == name then return said.arguments[i] end
  end
end

-- ---- values ----

local values = {}

local function choices(list)
  local found = {}
  for i, value in ipairs(list) do found[i] = { value } end
  return found
end

function values.procedure()
  local found = {}
  for i, entry in ipairs(repository.procedures()) do
    found[i] = { entry.name, repository.summary(require "native.fs".read(entry.file)) }
  end
  return found
end

function values.group()
  local found, seen = {}, {}
  for _, entry in ipairs(repository.procedures()) do
    if not seen[entry.group] then found[#found + 1] = { entry.group } end
    seen[entry.group] = true
  end
  return found
end

--- Short names where the procedure is known, else full ones.
function values.ENV(said)
  local procedure, found = value_of(said, "procedure"), {}
  local group = procedure and procedure:match "^([^/]+)/"
  if group then return choices(require "neap.cli.choice".environment_names(group)) end
  for i, entry in ipairs(repository.environments()) do found[i] = { entry.name } end
  return found
end

values.environment = values.ENV

local function parameters_of(name)
  local found = repository.procedure(name)
  local files, path = repository.snapshot(found)
  return require "neap.engine.procedure".load({ files = files, path = path, showing = true }).parameters
end

--- `name=` for each parameter, or its values where it says which there are.
values["NAME=VALUE"] = function(said, word)
  local procedure, found = value_of(said, "procedure"), {}
  local name = word:match "^([%w_]+)="
  for _, parameter in ipairs(procedure and parameters_of(procedure) or {}) do
    local offered = parameter.one_of or parameter.type == "boolean" and { "yes", "no" } or {}
    if name == parameter.name then
      for _, value in ipairs(offered) do found[#found + 1] = { ("%s=%s"):format(name, value) } end
    elseif not name then
      found[#found + 1] = { parameter.name .. "=", parameter.description }
    end
  end
  return found
end

--- Open runs, then the newest: by number alone where --env says whose.
function values.run(said)
  local found, env = {}, said.options["--env"]
  local runs = require "neap.cli.history".all()
  for _, open in ipairs { true, false } do
    for _, run in ipairs(runs) do
      local own = not env or run.environment == env or run.environment:match "[^/]*$" == env
      if own and open == (run.outcome == nil) and #found < 20 then
        local number = env and tostring(run.run) or ("%s/%d"):format(run.environment, run.run)
        found[#found + 1] = { number, ("%s, %s"):format(run.procedure, run.outcome or "open") }
      end
    end
  end
  return found
end

function values.word()
  local found = {}
  for _, name in ipairs(require "neap.reference".names()) do
    found[#found + 1] = { name }
    for _, entry in ipairs(require "neap.reference".word(name).entries) do
      if entry.name ~= name then found[#found + 1] = { entry.name } end
    end
  end
  return found
end

--- What may stand for an option's value or an argument.
local function values_for(one, said, word)
  if one.choices then return choices(one.choices) end
  local what = one.argname or one.name
  if what == "FILE" or what == "file" or what == "folder" then return FILES end
  return values[what] and values[what](said, word) or {}
end

local function option_names(parser)
  local found = {}
  for _, option in ipairs(parser.options) do
    for _, name in ipairs(option.names) do found[#found + 1] = { name, option.text } end
  end
  return found
end

local function commands_of(parser)
  local found = {}
  for i, command in ipairs(parser.commands) do found[i] = { command.name, command.text } end
  return found
end

local function within_option(parser, said, word)
  local name, value = word:match "^(%-%-[%w-]+)=(.*)$"
  local option = name and find(parser.options, name)
  if not option then return option_names(parser) end
  local found = {}
  for i, one in ipairs(values_for(option, said, value)) do found[i] = { ("%s=%s"):format(name, one[1]), one[2] } end
  return found
end

local function verbs_with_summaries()
  local found = {}
  for i, verb in ipairs(verbs) do found[i] = { verb, require("neap.cli." .. verb).summary } end
  return found
end

local function candidates(words)
  local word = words[#words]
  if #words == 1 then return verbs_with_summaries() end
  if not verbs.is(words[1]) then return {} end
  local verb = require("neap.cli." .. words[1])
  if not verb.arguments then return FILES end
  local parser = recorder()
  verb.arguments(parser)
  require "neap.cli.arguments".add_everywhere(parser)
  local said = read(parser, { table.unpack(words, 2) })
  if said.waiting then return values_for(said.waiting, said, word) end
  if word:sub(1, 1) == "-" then return within_option(said.parser, said, word) end
  if #said.parser.commands > 0 then return commands_of(said.parser) end
  local argument = said.parser.arguments[#said.arguments + 1]
  return argument and values_for(argument, said, word) or {}
end

--- Prints the candidates that begin with the last word. What cannot be known is nothing.
--- @param words string[]  those behind `neap`, up to the one that is being typed
--- @return integer status
function complete.main(words)
  local ok, found = pcall(candidates, words)
  if not ok then found = {} end -- a procedure that cannot be read, a journal of somebody else's
  local lines, page = {}, require "neap.cli.view.page".new { utf8 = true }
  for _, one in ipairs(found) do
    if one == FILES[1] or one[1]:sub(1, #words[#words]) == words[#words] then
      lines[#lines + 1] = page:clean(one[1]) .. (one[2] and one[2] ~= "" and "\t" .. page:clean(one[2]) or "")
    end
  end
  if #lines > 0 then require "neap.cli.view.console".new({}):answer(table.concat(lines, "\n")) end
  return 0
end

return complete
