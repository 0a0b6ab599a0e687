--- The splitter of SQL: items lie one behind the other, their texts stand in the script where they say, and they are the
--- same however the script comes in. In: a byte for dialect and size of pieces, the script.
local split = require "neap.targets.sql.split"

local function items_of(text, dialect, size)
  local list = {}
  local took, failure = attempt(function()
    local items = split.open(pieces(text, size), dialect, "s")
    for item in items.next, items do
      list[#list + 1] = item
      local data = {}
      if item.data then
        for piece in items.data, items do data[#data + 1] = piece end
        list[#list + 1] = { data = table.concat(data) }
      end
    end
  end)
  list[#list + 1] = { refusal = took and "" or failure.message }
  return list
end

local function check_places(list, text, dialect)
  local at = 0
  for _, item in ipairs(list) do
    if item.offset then
      truthy(item.offset >= at and item.finish >= item.offset and item.finish <= #text, "items are out of order")
      if item.text and dialect == "postgres" then
        equal(text:sub(item.offset + 1, item.offset + #item.text), item.text, "text of a statement")
      end
      at = item.finish
    end
    for _, variable in ipairs(item.variables or {}) do
      truthy(item.text:sub(variable.from, variable.to):find(variable.name, 1, true), "a variable's place")
    end
    if item.variables then attempt(split.substitute, item, { a = "1", b = "it's" }) end
    if dialect == "postgres" and item.command and item.command ~= "copy" then
      attempt(split.arguments, item.arguments or "", { a = "x" })
    end
  end
end

--- Where the line of a command ends counts for nothing.
local function without_ends(list)
  for _, item in ipairs(list) do
    if item.command then item.finish = nil end
  end
  return list
end

return {
  parsers = { "neap/targets/sql/split.lua", "neap/targets/sql/scanner.lua", "neap/targets/sql/split_postgres.lua",
    "neap/targets/sql/split_mysql.lua" },
  run = function(data)
    local first, text = data:byte() or 0, data:sub(2)
    local dialect = first % 2 == 0 and "postgres" or "mysql"
    local whole = items_of(text, dialect, #text + 1)
    check_places(whole, text, dialect)
    if text:find "\0" then return end -- which is refused as soon as it comes
    equal(without_ends(items_of(text, dialect, first // 2 % 8 + 1)), without_ends(whole), "in pieces")
  end,
}
