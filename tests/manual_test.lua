--- The manual's examples: Lua that loads and calls what is there, YAML that is an environment's, commands that neap takes.
local arguments = require "neap.cli.arguments"
local reference = require "neap.reference"
local tree      = require "tests.tree"
local yaml      = require "native.yaml"

local function chapters()
  local paths = tree.files("lua/neap/manual", "%.md$")
  paths[#paths + 1] = "README.md"
  return paths
end

--- Calls see(place, language, text) for each block of code.
local function each_block(see)
  for _, path in ipairs(chapters()) do
    local language, block, from
    for number, line in ipairs(tree.lines(path)) do
      local fence = line:match "^```(.*)$"
      if fence and not block then
        language, block, from = fence, {}, number
      elseif fence then
        see(("%s:%d"):format(path, from), language, table.concat(block, "\n") .. "\n")
        block = nil
      elseif block then
        block[#block + 1] = line
      end
    end
  end
end

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
  it("in Lua is Lua", function()
    local count = 0
    each_block(function(place, language, text)
      if language ~= "lua" then return end
      count = count + 1
      assert(load(text:gsub("…", "--[[ and more ]]"), "=" .. place, "t", {}))
    end)
    truthy(count >= 15)
  end)

  it("in Lua calls functions that are there", function()
    local wrong = {}
    each_block(function(place, language, text)
      if language ~= "lua" then return end
      for _, name in ipairs(strangers(text)) do wrong[#wrong + 1] = ("%s: no %s"):format(place, name) end
    end)
    equal(wrong, {})
  end)

  it("in YAML is YAML", function()
    each_block(function(place, language, text)
      if language ~= "yaml" then return end
      local ok, failure = pcall(yaml.parse, text, { name = place, typed = false })
      if not ok then error(place .. ": " .. tostring(failure)) end
    end)
  end)

  it("for the command line is taken by neap's own parser", function()
    local verbs, wrong = {}, {}
    for _, name in ipairs(require "neap.cli.verbs") do verbs[name] = true end
    each_block(function(place, _, text)
      for _, command in ipairs(commands_of(text)) do
        local words = words_of(command)
        local verb = verbs[words[1]] and require("neap.cli." .. words[1])
        if not verb then
          wrong[#wrong + 1] = ("%s: no verb in 'neap %s'"):format(place, command)
        elseif verb.arguments then
          local ok, failure = pcall(arguments.parse, words[1], verb, { table.unpack(words, 2) })
          local said = ok or failure.message or failure
          if not ok then wrong[#wrong + 1] = ("%s: %s: %s"):format(place, command, tostring(said)) end
        end
      end
    end)
    equal(wrong, {})
  end)
end)
