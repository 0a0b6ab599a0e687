--- @meta native.yaml

--- YAML text to plain data.
--- @class native.yaml
local yaml = {}

--- Keys are strings, null is json.null, lists are marked as by json.array, an alias is a copy of its value. typed (the
--- default) reads scalars by YAML 1.2's core schema, but numbers that begin with a zero stay text; with `typed =
--- false` all but null stays text. Raises `protocol` with `name:line:column: ` in front on what is not one document in
--- UTF-8, and on keys that stand twice, merge keys, tags, and what is nested or unpacks too far.
--- @param text string
--- @param options? { name?: string, typed?: boolean }  name of the text for messages
--- @return any value
--- @return table<string, integer> lines  where each part starts, by its path: "hosts.old.ssh", in lists "a.1"
function yaml.parse(text, options) end

return yaml
