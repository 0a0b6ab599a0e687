--- Command lines for a POSIX shell on a host: the one place that quotes.
local near    = require "neap.near"
local ordered = require "neap.ordered"
local secret  = require "native.secret"

local shell = {}

local TEXT_LIMIT = 96 * 1024 -- bytes; Linux takes at most 128 KiB in one argument

--- A word that the shell hands on byte for byte. Raises a mistake for NUL, which no argument can hold.
--- @param word string|number
--- @return string
function shell.quote(word)
  word = tostring(word)
  if word:find("\0", 1, true) then error("an argument cannot hold a NUL byte", 2) end
  if word:find("^[%w_@%%+:,./-]+$") then return word end
  return "'" .. word:gsub("'", [['\'']]) .. "'"
end

--- The words of an argument list, quoted.
--- @param argv (string|number)[]
--- @return string
function shell.words(argv)
  local words = {}
  for i, word in ipairs(argv) do words[i] = shell.quote(word) end
  return table.concat(words, " ")
end

local IN_SIGHT = "everybody on the host reads it in the list of processes; hand it over as `input`, or in `env`"

local function check_argv(argv)
  if type(argv) ~= "table" or argv[1] == nil then error("an argument list begins with a program", 4) end
  for key, word in pairs(argv) do
    if secret.is(word) then error("a secret is no argument: " .. IN_SIGHT, 4) end
    if math.type(key) ~= "integer" or (type(word) ~= "string" and type(word) ~= "number") then
      error("an argument list holds texts and numbers only", 4)
    end
  end
  local program = tostring(argv[1])
  if program == "" or program:find("^%-") then error(("%q is no program's name"):format(program), 4) end
end

--- What reads the first line of the input and carries it out, before the command gets the rest.
local READ_SETTINGS = [[IFS= read -r neap_settings && eval "$neap_settings" && unset neap_settings || exit]]

local function holds_secret(value)
  return secret.is(value) or (type(value) == "string" and secret.holds(value) ~= nil)
end

--- One variable, for that line. The commands in it are the shell's own: none shows its arguments to anybody.
local function secret_setting(name, value)
  return ("%s=$(printf %%s "):format(name) .. secret.base64(value)
    .. (" | base64 -d; printf .) && %s=${%s%%.} && export %s"):format(name, name, name)
end

--- The lines before a command, and the first line of its input, nil where it needs none.
local function setting_lines(options)
  local lines, settings = {}, nil
  if options.cwd then lines[1] = "cd -- " .. shell.quote(options.cwd) .. " || exit" end
  for _, name in ipairs(ordered.keys(options.env)) do
    local value = options.env[name]
    if not tostring(name):find("^[%a_][%w_]*$") then error(("%q is no variable's name"):format(name), 4) end
    if holds_secret(value) then
      settings = (settings and settings .. " && " or "") .. secret_setting(name, value)
    else
      lines[#lines + 1] = ("export %s=%s"):format(name, shell.quote(value))
    end
  end
  if settings then lines[#lines + 1] = READ_SETTINGS end
  return lines, settings and settings .. "\n"
end

--- The input of a command whose text has those settings.
--- @param settings native.secret.value?
--- @param input string|native.secret.value?
--- @return string|native.secret.value?
function shell.input(settings, input) return settings and settings .. (input or "") or input end

--- The text for `sh -c` that runs a command. A list runs that program with these arguments and no shell's meaning in
--- any of them; a text is the shell's. `become` runs it as that user through sudo, a list without cwd and env directly,
--- so that sudoers need allow only the program itself.
--- Variables that hold a secret do not stand in it: they are what has to come first in the command's input.
--- @param command (string|number)[]|string
--- @param options? { become?: string|false, env?: table<string, string|native.secret.value>, cwd?: string }
--- @return string text
--- @return native.secret.value? settings  for shell.input
function shell.text(command, options)
  options = options or {}
  if secret.is(command) then error("a command holds no secret: " .. IN_SIGHT, 2) end
  local lines, settings = setting_lines(options)
  local direct = type(command) ~= "string" and #lines == 0
  if type(command) == "string" then
    lines[#lines + 1] = command
  else
    check_argv(command)
    lines[#lines + 1] = (options.become and direct and "" or "exec ") .. shell.words(command)
  end
  local text = table.concat(lines, "\n")
  if text:find("\0", 1, true) then error("a command cannot hold a NUL byte", 2) end
  if options.become then
    local sudo = ("exec sudo -n -u %s -- "):format(shell.quote(options.become))
    text = sudo .. (direct and text or "sh -c " .. shell.quote(text))
  end
  if #text > TEXT_LIMIT then error("the command is longer than 96 KiB: hand long text over as `input`", 2) end
  local mark = secret.holds(text)
  if mark then error(("the command holds (secret %s): "):format(mark) .. IN_SIGHT, 2) end
  return text, settings
end

--- A command as one line for people: its beginning, at most 80 bytes, no line ends.
--- @param command (string|number)[]|string
--- @return string
function shell.line(command)
  local text = secret.redact(type(command) == "string" and command or shell.words(command))
  text = text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  if #text <= 80 then return text end
  return text:sub(1, (utf8.offset(text, 0, 78) or 78) - 1) .. "…"
end

--- Raises a mistake for the first key of a table that is none of names, with the name that was probably meant.
--- @param given table?
--- @param names table<string, any>
--- @param what string     whose key it is: "a rule"
--- @param level integer   as error counts
function shell.check_keys(given, names, what, level)
  for key in pairs(given or {}) do
    if names[key] == nil then
      error(("%s has no %q%s"):format(what, tostring(key), near.hint(key, names)), level + 1)
    end
  end
end

--- Raises a mistake for the first key of options that is none of names, with the name that was probably meant.
--- @param options table?
--- @param names table<string, any>
--- @param level integer  as error counts
--- @return table options
function shell.check_options(options, names, level)
  for key in pairs(options or {}) do
    if names[key] == nil then
      error(("no option is named %q%s"):format(tostring(key), near.hint(key, names)), level + 1)
    end
  end
  return options or {}
end

return shell
