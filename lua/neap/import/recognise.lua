--- What neap could do itself of a step of a guide: forms for its author to fill in and switch on.
local recognise = {}

--- A form is the text of a step's `run`, `check`, or of a whole await.
--- @class neap.form
--- @field what string  in a few words
--- @field word "step"|"await"|"check"
--- @field code string

local SHELL = { sh = true, bash = true, shell = true, console = true, zsh = true }
local SQL = { sql = true, mysql = true, postgres = true, postgresql = true, redshift = true, psql = true }

local PROGRAMS = { "sudo", "git", "cd", "aws", "kubectl", "docker", "service", "systemctl", "python", "python3", "bin",
  "mkdir", "cp", "mv", "rm", "scp", "rsync", "ssh", "curl", "psql", "mysql", "gradle", "gradlew", "salt", "ansible",
  "terraform", "helm", "tar", "make", "npm", "pip" }

local programs = {}
for _, name in ipairs(PROGRAMS) do programs[name] = true end

local function is_command(line)
  local word = line:gsub("^%s*%$%s+", ""):match "^%s*([%w_./-]+)%s+%S"
  return word ~= nil and (programs[word] or word:find "^%.?/" ~= nil or programs[word:match "^(%w+)/" or ""] ~= nil)
end

--- A Lua text that holds anything.
--- @param text string
--- @return string
function recognise.quoted(text)
  local level = 0
  while text:find("]" .. ("="):rep(level) .. "]", 1, true) or text:find("]" .. ("="):rep(level) .. "$") do
    level = level + 1
  end
  local equals = ("="):rep(level)
  return ("[%s[\n%s]%s]"):format(equals, text, equals)
end

local function without_prompts(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = (line:gsub("^%s*%$%s+", "")) end
  return table.concat(lines, "\n")
end

local function shell(text)
  return { what = "a command", word = "step",
    code = ("run = function() env.hosts.HOST:shell(%s) end,"):format(recognise.quoted(without_prompts(text))) }
end

local function sql(text)
  local statement = recognise.quoted((text:gsub("%s+$", "")))
  return { what = "SQL", word = "step",
    code = ("run = function() env.databases.DATABASE:execute(%s) end,"):format(statement) }
end

local function edit_yaml()
  return { what = "an edit of YAML", word = "step", code =
    'run = function() yaml.edit(env.hosts.HOST, "/PATH.yml", function(doc) doc:set("KEY", VALUE) end) end,' }
end

local function edit_file(path)
  return { what = "an edit of " .. path, word = "step", code =
    ("run = function() file.edit(env.hosts.HOST, %q, function(text) return text end) end,"):format(path) }
end

local function of_code(block, forms)
  local info = block.info:lower():match "^%S*"
  if SHELL[info] or info == "" and is_command(block.text) then
    forms[#forms + 1] = shell(block.text)
  elseif SQL[info] then
    forms[#forms + 1] = sql(block.text)
  elseif info == "yaml" or info == "yml" then
    forms[#forms + 1] = edit_yaml()
  end
end

local EDITORS = { nano = true, vi = true, vim = true, emacs = true, pico = true }

local function edited_path(text)
  for program, path in text:gmatch "(%a+)%s+(/[%w_./{}-]+)" do
    if EDITORS[program] then return path end
  end
end

local CHECKS = { "verify", "make sure", "be sure", "check that", "check whether", "ensure", "confirm" }
local WAITS = { "wait until", "wait for", "wait to", "once completed", "until it" }

local function says(text, phrases)
  local lower = text:lower()
  for _, phrase in ipairs(phrases) do
    if lower:find(phrase, 1, true) then return true end
  end
  return false
end

local function of_text(entry, forms)
  local text = entry.text
  local path = edited_path(text)
  if path then
    forms[#forms + 1] = edit_file(path)
  elseif is_command(text) then
    forms[#forms + 1] = shell(text)
  end
  if says(text, WAITS) then
    forms[#forms + 1] = { what = "a wait", word = "await",
      code = 'check = function() return CONDITION end, every = "10s", timeout = "1h",' }
  elseif says(text, CHECKS) then
    forms[#forms + 1] = { what = "a check", word = "check", code = "check = function() return CONDITION end," }
  end
end

--- @param entry neap.outline_entry
--- @return neap.form[]
function recognise.forms(entry)
  local forms = {}
  if entry.kind ~= "step" then return forms end
  of_text(entry, forms)
  for _, block in ipairs(entry.code) do of_code(block, forms) end
  return forms
end

local PLACEHOLDERS = { "{(%u[%u%d_]*)}", "<(%l[%l%d_ -]*)>", "%${?(%u[%u%d_]+)}?" }

local VOID = { br = true, hr = true, img = true }

--- Whether a name in angle brackets is HTML: it is closed somewhere, or needs no end.
local function is_html(shown, text)
  local name = shown:match "^<(%l%w*)"
  return name ~= nil and (VOID[name] or text:find("</" .. name .. ">", 1, true) ~= nil)
end

--- What the guide leaves to be filled in: names for parameters, the text that stands there, and the first line that has it.
--- @param lines string[]
--- @return { name: string, shown: string, line: integer }[]
function recognise.placeholders(lines)
  local list, seen, text = {}, {}, table.concat(lines, "\n")
  for number, line in ipairs(lines) do
    for _, pattern in ipairs(PLACEHOLDERS) do
      for whole, name in line:gmatch("(" .. pattern .. ")") do
        local key = name:lower():gsub("[^%w]+", "_"):gsub("^_+", ""):gsub("_+$", "")
        if key:find "^%a" and not seen[key] and not is_html(whole, text) then
          seen[key] = true
          list[#list + 1] = { name = key, shown = whole, line = number }
        end
      end
    end
  end
  return list
end

return recognise
