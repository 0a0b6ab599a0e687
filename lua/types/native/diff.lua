--- @meta native.diff

--- What differs between two texts, line by line.
--- @class native.diff
local diff = {}

--- Starts and counts are those of a unified diff: lines from 1 on, and of no lines the one before.
--- @class native.diff.hunk
--- @field a_start integer
--- @field a_count integer
--- @field b_start integer
--- @field b_count integer
--- @field lines native.diff.line[]

--- Its sign and its text without the newline; no_newline when the text ends there without one.
--- @class native.diff.line
--- @field [1] " "|"-"|"+"
--- @field [2] string
--- @field no_newline? boolean

--- The changes with so many unchanged lines around them, 3 by default; none for the same text.
--- @param a string
--- @param b string
--- @param options? { context?: integer }
--- @return native.diff.hunk[]
function diff.lines(a, b, options) end

--- A unified diff for people, `patch` and `git apply`; "" for the same text. Names must not hold tabs, newlines,
--- quotes or backslashes.
--- @param a string
--- @param b string
--- @param options? { from?: string, to?: string, context?: integer }  names of the sides, "a" and "b" by default
--- @return string
function diff.unified(a, b, options) end

return diff
