--- lua/types declares, for editors, exactly what the native modules register.
local tree = require "tests.tree"

--- One file's declarations: what its module's table holds, and each class of objects by its full name.
local function declarations(path)
  local module, classes, class_of, class = {}, {}, {}, nil
  local lines = tree.lines(path)
  local returned = table.concat(lines, "\n"):match "\nreturn ([%w_]+)\n*$"
  for _, line in ipairs(lines) do
    local name, parent = line:match "^%-%-%-%s*@class%s+([%w_.]+)%s*:?%s*([%w_.]*)"
    if name then class = { parent = parent, fields = {}, methods = {} } end
    local field = line:match "^%-%-%-%s*@field%s+([%a_][%w_]*)"
    if field then class.fields[field] = true end
    local variable = line:match "^local ([%w_]+) = {}"
    if variable then class_of[variable] = class end
    if name then classes[name] = class end
    local owner, separator, member = line:match "^function ([%w_]+)([.:])([%w_]+)%("
    if separator == "." and owner == returned then module[member] = true end
    if separator == ":" then class_of[owner].methods[member] = true end
  end
  if next(module) then
    for field in pairs(class_of[returned].fields) do module[field] = true end
  end
  return module, classes
end

local function names(set, keep)
  local list = {}
  for name, value in pairs(set) do
    if type(name) == "string" and not name:find "^__" and keep(value) then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function any() return true end

local function is_method(value) return type(value) == "function" end

local function native_modules()
  local list = names(package.preload, any)
  for i = #list, 1, -1 do
    if not list[i]:find "^native%." then table.remove(list, i) end
  end
  return list
end

--- The classes of all types files.
local function declared_classes()
  local all = {}
  for _, path in ipairs(tree.files("lua/types/native", "%.lua$")) do
    local _, classes = declarations(path)
    for name, class in pairs(classes) do all[name] = class end
  end
  return all
end

local function all_methods(class, classes)
  local methods = {}
  while class do
    for name in pairs(class.methods) do methods[name] = true end
    class = classes[class.parent]
  end
  return methods
end

--- The metatables that native modules have registered for objects with methods, by name.
local function registered_classes()
  for _, name in ipairs(native_modules()) do require(name) end
  local found = {}
  for key, value in pairs(debug.getregistry()) do
    local named = type(value) == "table" and rawget(value, "__name") == key and key ~= "FILE*"
    if named and type(rawget(value, "__index")) == "table" then found[key] = value end
  end
  return found
end

describe("types of native modules", function()
  for _, name in ipairs(native_modules()) do
    it("declare the functions of " .. name, function()
      local declared = declarations("lua/types/" .. name:gsub("%.", "/") .. ".lua")
      equal(names(declared, any), names(require(name), any))
    end)
  end

  it("declare the methods of each object that has some", function()
    local classes = declared_classes()
    for name, metatable in pairs(registered_classes()) do
      local class = classes["native." .. name] or (metatable.__stream and classes.stream)
      truthy(class or error("no types file declares a class native." .. name))
      equal({ name, names(all_methods(class, classes), any) }, { name, names(metatable.__index, is_method) })
    end
  end)

  it("declare methods of no object that is not there", function()
    local classes, registered = declared_classes(), registered_classes()
    for name, class in pairs(classes) do
      local known = name == "stream" or registered[name:gsub("^native%.", "")]
      if next(class.methods) and not known then error(("no native module has objects of %s"):format(name)) end
    end
  end)

  it("stand in files of modules that are there", function()
    local modules = { ["native.stream"] = true } -- what streams of several modules have in common
    for _, name in ipairs(native_modules()) do modules[name] = true end
    for _, path in ipairs(tree.files("lua/types/native", "%.lua$")) do
      local meta = tree.lines(path)[1]:match "^%-%-%-%s?@meta ([%w_.]+)$"
      equal({ path, meta }, { path, "native." .. path:match "([%w_]+)%.lua$" })
      truthy(modules[meta] or error("no module " .. meta))
    end
  end)
end)
