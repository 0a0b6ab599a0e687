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

--- The nodes of a text, of all its documents. Nodes are numbers from 1 in the order in which they begin; positions are
--- bytes as of string.sub.
--- @class native.yaml.tree
local tree = {}

--- Raises `protocol` with `name:line:column: ` in front on what is no YAML in UTF-8, and on keys that stand twice, aliases
--- without their anchor, and what is too deep or too much. Tags, merge keys and any keys are taken.
--- @param text string
--- @param options? { name?: string }
--- @return native.yaml.tree
function yaml.nodes(text, options) end

--- The documents, at least one: the first has no root where there is nothing but comments.
--- @return { root: integer?, first: integer }[]
function tree:documents() end

--- @param id integer
--- @return "map"|"list"|"scalar"|"alias" kind
--- @return "plain"|"single"|"double"|"literal"|"folded"|"block"|"flow" style
--- @return integer first
--- @return integer content  behind anchor and tag
--- @return integer last     of a block collection the end of the last thing in it, of a block scalar without its line end
--- @return integer line
--- @return integer column   from 0, in characters
--- @return integer next     the first node that does not lie in this one
--- @return string? anchor
--- @return string? tag
function tree:node(id) end

--- The nodes right in a collection; of a map keys and values in turn.
--- @param id integer
--- @return integer[]
function tree:children(id) end

--- The text of a scalar, the name of an alias; nil of a collection.
--- @param id integer
--- @return string?
function tree:text(id) end

--- Each alias, and behind it the node that it stands for.
--- @return integer[]
function tree:aliases() end

--- By how much the first map within a map is indented; whether lists stand in the column of their keys. nil: not seen.
--- @return integer? step
--- @return boolean? flush
function tree:indent() end

--- Whether two nodes are the same in all but place and kind of quotes: text, tags, anchors, order.
--- @param id integer
--- @param other native.yaml.tree
--- @param other_id integer
--- @return boolean same
--- @return integer? line  in the other text, where they differ
function tree:same(id, other, other_id) end

--- A node as parse has it. Raises `protocol` for tags and merge keys, and for aliases that unpack too far.
--- @param id integer
--- @return any
function tree:value(id) end

--- Plain data as YAML, in block style unless flow; it ends with a line end. Strings that any reader would take for
--- something else are quoted. Raises on what has no YAML form.
--- @param value any
--- @param options? { order?: string[], indent?: integer, flow?: boolean, flush?: boolean, quote?: "'"|'"' }
---   order: keys that come before the others, which are sorted; flush: lists stand in the column of their key; quote: of
---   every string
--- @return string
function yaml.emit(value, options) end

return yaml
