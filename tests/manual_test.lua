--- The manual's examples: Lua that loads and calls what is there, YAML that is an environment's, commands that neap takes.
local arguments = require "neap.cli.arguments"
local environment = require "neap.environment"
local manual    = require "tests.manual"
local reference = require "neap.reference"

--- Functions of words that a text calls and that are not there.
local function strangers(text)
  local found = {}
  for word, name in text:gsub("%-%-[^\n]*", ""):gmatch "%f[%w_.:]([%a_]+)%.([%a_]+)[ (]+[{(%w\"']" do
    local known = reference.word(word)
    if known and not known.declaration and word ~= "host" and not reference.find(word .. "." .. name) then
      found[#found + 1] = word .. "." .. name
    end
  end
  return found
end

--- The commands of a block: lines that begin with neap, behind a prompt or variables.
local function commands_of(text)
  local commands = {}
  for line in text:gmatch "[^\n]+" do
    line = line:gsub("^%$ ", ""):gsub("^[%u_]+=%S+ ", "")
    local words = line:match "^neap%s+(.*)$"
    if words and not words:find "> " and not words:find "^%*" then commands[#commands + 1] = words end
  end
  return commands
end

--- Words of a command as a shell would cut them, up to what is explained behind it.
local function words_of(command)
  local words, at = {}, 1
  command = command:gsub("   .*$", ""):gsub("%s+#.*$", ""):gsub("%s*[|<>].*$", "")
  while at <= #command do
    local quote, text, behind = command:match("^(['\"])(.-)%1()", at)
    if not quote then text, behind = command:match("^(%S+)()", at) end
    if text then words[#words + 1] = text end
    at = behind or at + 1
  end
  return words
end

describe("an example of the manual", function()
  it("says what it is, so that it is run: Lua, a part of an environment, commands, a screen", function()
    local known, wrong = { lua = true, yaml = true, sh = true, console = true }, {}
    for _, block in ipairs(manual.blocks()) do
      local is_list = block.language == "" and not block.text:find "%f[%w]neap "
      if not known[block.language] and not is_list then wrong[#wrong + 1] = block.place end
    end
    equal(wrong, {})
  end)

  it("in Lua calls functions that are there", function()
    local wrong = {}
    for _, block in ipairs(manual.blocks()) do
      for _, name in ipairs(block.language == "lua" and strangers(block.text) or {}) do
        wrong[#wrong + 1] = ("%s: no %s"):format(block.place, name)
      end
    end
    equal(wrong, {})
  end)

  it("in YAML is an environment, with what its chapter says before", function()
    for _, block in ipairs(manual.blocks()) do
      if block.language == "yaml" then
        local root = scratch()
        manual.write_environments(root, block)
        local ok, failure = pcall(environment.load, root .. "/procedures/shop/environments/lab.yml")
        if not ok then error(block.place .. ": " .. tostring(failure), 0) end
      end
    end
  end)

  it("for the command line is taken by neap's own parser, and so are those of its help", function()
    local verbs, wrong = {}, {}
    for _, name in ipairs(require "neap.cli.verbs") do verbs[name] = require("neap.cli." .. name) end
    local function check(place, text)
      for _, command in ipairs(commands_of(text)) do
        local words = words_of(command)
        local verb = verbs[words[1]]
        if not verb then
          wrong[#wrong + 1] = ("%s: no verb in 'neap %s'"):format(place, command)
        elseif verb.arguments then
          local ok, failure = pcall(arguments.parse, words[1], verb, { table.unpack(words, 2) })
          local said = ok or failure.message or failure
          if not ok then wrong[#wrong + 1] = ("%s: %s: %s"):format(place, command, tostring(said)) end
        end
      end
    end
    for _, block in ipairs(manual.blocks()) do check(block.place, block.text) end
    manual.each_inline(function(place, text)
      if text:find "^neap %l+ " then check(place, (text:gsub("[%[%]]", ""))) end -- what may be left out is given
    end)
    for name, verb in pairs(verbs) do check("neap help " .. name, table.concat(verb.examples or {}, "\n")) end
    equal(wrong, {})
  end)
end)
