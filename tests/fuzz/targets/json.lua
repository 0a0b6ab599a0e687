--- JSON: the canonical text of what was read says the same, and is its own canonical text; an outline says no other.
local json = require "native.json"

return {
  run = function(data)
    local value = json.decode(data)
    local text = must(json.encode, value)
    equal(json.encode(must(json.decode, text)), text, "canonical text")
    equal(json.encode(must(json.decode, json.encode_pretty(value))), text, "pretty text")
    local outline, apart = json.outline(text, "place")
    for key, item in pairs(outline or {}) do equal(item, value[key], "outline") end
    if apart then equal(json.encode(json.decode(apart)), json.encode(value.place), "what is apart") end
    attempt(json.outline, data, "place")
  end,
}
