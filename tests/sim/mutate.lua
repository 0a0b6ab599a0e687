--- Loads one module of the engine with a fault in it.
local mutate = {}

local searcher

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- The module's text with the fault; raises where the text to be replaced does not stand in it exactly once.
local function faulty(mutant, path)
  local text = read(path)
  local first, last = text:find(mutant.text, 1, true)
  if not first then error(("%s: %s has no such text any more"):format(mutant.name, path), 0) end
  if text:find(mutant.text, last + 1, true) then error(("%s: %s has that text twice"):format(mutant.name, path), 0) end
  return text:sub(1, first - 1) .. mutant.replacement .. text:sub(last + 1)
end

local function module_of(mutant)
  local name = mutant.module:find "/" and mutant.module or "engine/" .. mutant.module
  return "neap." .. name:gsub("/", "."), "lua/neap/" .. name .. ".lua"
end

--- From now on the mutant's module is loaded with its fault.
function mutate.install(mutant)
  local module, path = module_of(mutant)
  local chunk = assert(load(faulty(mutant, path), "=" .. path:sub(5), "t"))
  searcher = function(name) return name == module and chunk or nil end
  table.insert(package.searchers, 1, searcher)
end

function mutate.remove() table.remove(package.searchers, 1) end

return mutate
