--- @meta native.xml

--- XML documents of servers to plain data.
--- @class native.xml
local xml = {}

--- @class native.xml.element
--- @field name string  without a prefix
--- @field text? string  where it holds no elements
--- @field attributes? table<string, string>
--- @field [integer] native.xml.element

--- Raises `protocol` with `line:column: ` in front on what is not one document, declares a document type, lies deeper than
--- 256 elements or has more than a million.
--- @param text string
--- @return native.xml.element
function xml.parse(text) end

return xml
