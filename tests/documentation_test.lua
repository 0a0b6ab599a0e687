--- Doc comments: on what others may call, saying what it takes and gives.
local reference = require "neap.reference"
local tree      = require "tests.tree"

local comment_above, declared = reference.comment_above, reference.declared

--- The folders and files whose functions others call: the engine, targets, and what procedures and verbs share.
local DOCUMENTED = {
  "lua/neap/engine/", "lua/neap/targets/", "lua/neap/environment.lua", "lua/neap/words.lua", "lua/neap/near.lua",
  "lua/neap/ordered.lua", "lua/neap/repository.lua", "lua/neap/state.lua", "lua/neap/tasks.lua",
}

local function wanted(path)
  for _, prefix in ipairs(DOCUMENTED) do
    if path:sub(1, #prefix) == prefix then return true end
  end
  return false
end

--- Tables whose functions a file gives out: true for the one it returns, "class" for classes, some of whose methods are
--- for their own file.
local function public_tables(lines)
  local public = {}
  for number, line in ipairs(lines) do
    local returned, variable = line:match "^return ([%w_]+)$", line:match "^local ([%w_]+)%s*="
    if variable and comment_above(lines, number):find "@class" then public[variable] = "class" end
    if returned or line:find "%.methods$" then public[returned or variable] = true end
  end
  return public
end

local function list_of(text, pattern)
  local list = {}
  for item in text:gmatch(pattern) do list[#list + 1] = item end
  return list
end

--- The first of `names` that does not stand, in this order, among `parameters`; methods may leave out self.
local function stranger(names, parameters)
  local at = 1
  for _, name in ipairs(names) do
    while parameters[at] and parameters[at] ~= name do at = at + 1 end
    if not parameters[at] then return name end
    at = at + 1
  end
end

local function check_comment(comment, parameters)
  local names = list_of(comment, "%-%-%- @param ([%w_.]+)")
  if comment == "" then return "has no comment" end
  local unknown = stranger(names, parameters)
  if unknown then return "describes a parameter that it does not have there: " .. unknown end
  if comment:find "%-%-%- @return%s*\n" or comment:find "%-%-%- @return%s*$" then return "returns no type" end
end

--- Calls see(number, name, parameters, comment) for each public function of a file.
local function each_public(lines, see)
  local public = public_tables(lines)
  for number, line in ipairs(lines) do
    local owner, name, parameters = declared(line)
    local comment = comment_above(lines, number)
    if owner and name:sub(1, 2) ~= "__" and (public[owner] == true or public[owner] and comment ~= "") then
      see(number, name, list_of(parameters, "[%w_.]+"), comment)
    end
  end
end

local function problems_of(path, lines)
  local found = {}
  each_public(lines, function(number, name, parameters, comment)
    local problem = check_comment(comment, parameters)
    if problem then found[#found + 1] = ("%s:%d %s %s"):format(path, number, name, problem) end
  end)
  return found
end

--- What authors of procedures call is described whole: each parameter has its line.
local function gaps_of(path, lines)
  local found = {}
  each_public(lines, function(number, name, parameters, comment)
    for _, parameter in ipairs(parameters) do
      local described = comment:find("@param " .. parameter:gsub("%p", "%%%0") .. "%f[^%w_.]")
      if parameter ~= "self" and not described then
        found[#found + 1] = ("%s:%d %s does not describe %s"):format(path, number, name, parameter)
      end
    end
  end)
  return found
end

--- The modules of targets that words.lua names.
local function word_files()
  local words, files = table.concat(tree.lines "lua/neap/words.lua", "\n"), {}
  for _, path in ipairs(tree.files("lua/neap/targets", "%.lua$")) do
    local module = path:match "^lua/(.*)%.lua$":gsub("/", ".")
    if words:find(('"%s"'):format(module), 1, true) then files[#files + 1] = path end
  end
  return files
end

-- ---- C ----

--- The names under which Lua calls C functions, by C function.
local function registered(text)
  local functions = {}
  for entries in text:gmatch "luaL_Reg [%w_]+%[%] = (%b{});" do
    for name, fn in entries:gmatch '{"([%w_]+)", ([%w_]+)}' do
      if name:sub(1, 2) ~= "__" then functions[fn] = name end
    end
  end
  return functions
end

--- The comment that ends above a function's definition; nil where it is not defined.
local function comment_of(text, fn)
  local from = text:find("\n[%w ]-int " .. fn .. "%(lua_State %*L%)\n{")
  if not from then return nil end
  local before = text:sub(1, from)
  return before:find "%*/\n$" and before:match ".*(/%*.*%*/\n)$" or ""
end

local function signature_problem(text, fn, name)
  local comment = comment_of(text, fn)
  if not comment then return nil end
  if comment == "" then return "has no comment" end
  if not comment:find("%f[%w_]" .. name .. "%f[^%w_]%s*[({]") then
    return "does not begin with its call, as Lua writes it"
  end
end

local function c_problems()
  local all, found = {}, {}
  for _, path in ipairs(tree.files("src", "%.c$")) do all[path] = table.concat(tree.lines(path), "\n") end
  for _, text in pairs(all) do
    for fn, name in pairs(registered(text)) do
      for path, defining in pairs(all) do
        local own = defining == text or not defining:find("static int " .. fn .. "(", 1, true)
        local problem = own and signature_problem(defining, fn, name)
        if problem then found[#found + 1] = ("%s %s (%s) %s"):format(path, fn, name, problem) end
      end
    end
  end
  table.sort(found)
  return found
end

describe("documentation", function()
  it("stands above each public function of Lua, and names its parameters as they are", function()
    local found = {}
    for _, path in ipairs(tree.files("lua/neap", "%.lua$")) do
      if wanted(path) then table.move(problems_of(path, tree.lines(path)), 1, 100, #found + 1, found) end
    end
    equal(found, {})
  end)

  it("describes all that the words of a procedure take", function()
    local found = {}
    for _, path in ipairs(word_files()) do table.move(gaps_of(path, tree.lines(path)), 1, 100, #found + 1, found) end
    equal(found, {})
  end)

  it("stands above each C function that Lua calls, with the call", function()
    equal(c_problems(), {})
  end)

  it("that is missing or wrong is found", function()
    local lines = {
      "local x = {}", "--- Does it.", "--- @param b any", "function x.y(a)", "end", "function x.z() end", "return x",
    }
    equal(problems_of("x.lua", lines),
      { "x.lua:4 y describes a parameter that it does not have there: b", "x.lua:6 z has no comment" })
    equal(gaps_of("x.lua", lines), { "x.lua:4 y does not describe a" })
  end)
end)
