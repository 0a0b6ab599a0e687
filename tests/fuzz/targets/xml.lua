--- XML: a document is elements within one another, each with a name; text stands where no element does.
local xml = require "native.xml"

local function check(element, depth)
  truthy(type(element.name) == "string" and element.name ~= "", "an element without a name")
  truthy(not element.name:find(":", 1, true), "a prefix is left")
  truthy(depth <= 256, "too deep")
  truthy(not (element.text and element[1]), "text beside elements")
  for _, child in ipairs(element) do check(child, depth + 1) end
end

return { run = function(data) must(check, xml.parse(data), 1) end }
