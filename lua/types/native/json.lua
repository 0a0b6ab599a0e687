--- @meta native.json

--- Data to JSON text and back, so that it comes back as it was: 64-bit integers, 1.0 and empty lists are kept.
--- A table is a list if it is marked as one or its first key is an integer, else an object.
--- @class native.json
--- @field null lightuserdata  JSON's null
local json = {}

--- The canonical text: one line, keys sorted by bytes, floats with a point or an exponent.
--- Raises on NaN, infinities, text that is not UTF-8, mixed tables, functions, and on more than 512 levels.
--- @param value any
--- @return string
function json.encode(value) end

--- The same with one entry a line and two spaces a level, without a newline at the end.
--- @param value any
--- @return string
function json.encode_pretty(value) end

--- Raises `protocol` with `line:column: ` in front on anything that is not one JSON value in UTF-8, and on keys that
--- stand twice.
--- @param text string
--- @return any
function json.decode(text) end

--- The strings, integers and booleans of an object as `encode` writes it; what lies deeper is left out. nil: the text has
--- to be decoded to be known.
--- @param text string
--- @param apart string  an entry that is given as the text it is
--- @return table? outline
--- @return string? apart
function json.outline(text, apart) end

--- Marks the table as a list, so that it is written as `[]` when it is empty.
--- @generic T: table
--- @param list T
--- @return T list  the same table
function json.array(list) end

return json
