--- What a step's functions keep outside themselves: locals of the file, and what lies in their tables. A step that changes
--- one would leave a later step without it after a resume, so it fails and names it.
local sandbox = require "neap.engine.sandbox"

local locals = {}

local MOST = 5000 -- values looked at for one step; what a procedure keeps beyond that is not watched

local watch

local function watch_table(seen, map, path)
  if debug.getmetatable(map) ~= nil then return end -- neap's own, or shown read-only
  local kept = { map = map, path = path, content = {} }
  table.insert(seen.list, kept)
  for key, value in next, map do
    kept.content[key] = value
    watch(seen, value, ("%s.%s"):format(path, tostring(key)))
  end
end

--- Each upvalue of a procedure's function, and of those it calls.
local function watch_function(seen, fn, path)
  if not sandbox.is_foreign(fn) then return end
  for i = 1, 255 do
    local name, value = debug.getupvalue(fn, i)
    if not name then return end
    local id = debug.upvalueid(fn, i)
    if name ~= "_ENV" and not seen[id] then
      seen[id] = true
      table.insert(seen.list, { fn = fn, index = i, value = value, path = path .. name })
      watch(seen, value, path .. name)
    end
  end
end

function watch(seen, value, path)
  local kind = type(value)
  if (kind ~= "table" and kind ~= "function") or seen[value] or #seen.list > MOST then return end
  seen[value] = true
  if kind == "table" then return watch_table(seen, value, path) end
  watch_function(seen, value, "")
end

--- Notes the values that these functions can reach.
--- @param functions function[]
--- @return table seen
function locals.note(functions)
  local seen = { list = {} }
  for _, fn in ipairs(functions) do watch(seen, fn, "") end
  return seen
end

local function is_changed(kept)
  if kept.fn then
    local _, now = debug.getupvalue(kept.fn, kept.index)
    return not rawequal(now, kept.value)
  end
  for key, value in next, kept.map do
    if not rawequal(kept.content[key], value) then return true end
  end
  for key in next, kept.content do
    if rawget(kept.map, key) == nil then return true end
  end
end

--- Raises when one of the noted values is another by now.
--- @param step table
--- @param seen table
function locals.check(step, seen)
  for _, kept in ipairs(seen.list) do
    if is_changed(kept) then
      error(("%s: step %q sets %q, %s of the file: after a resume it would be as before; return it, and use the "
        .. "step's .result"):format(step.where, step.title, kept.path, kept.fn and "a local" or "a table"), 0)
    end
  end
end

return locals
