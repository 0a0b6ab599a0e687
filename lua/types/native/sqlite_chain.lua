--- @meta native.sqlite_chain

--- Chains of hashed records in a database file: each record's hash is SHA-256 over its predecessor's hash and its line. They
--- are followed in a thread, by a connection of its own, while Lua goes on.
--- @class native.sqlite_chain
local chain = {}

--- @class native.sqlite_chain.check
local check = {}

--- Begins to follow the records of a run.
--- @param path string
--- @param sql string  of the rows { seq, hash, line } in order, with ? for the run
--- @param run integer
--- @return native.sqlite_chain.check
function chain.begin(path, sql, run) end

--- Takes in what is said of steps that are over and of effects in place. Raises `protocol` where it is not such a text.
--- @param text string  lines `seq last path` of a step, its record and its end; `seq last` of an effect, its intent and end
--- @param order string[]  gets the paths at its end
--- @param finished table<string, integer>  gets seq << 32 | last by path
--- @param standing table<integer, integer>  gets last by seq
function chain.add(text, order, finished, standing) end

--- Waits for the end, without the loop. Raises `journal` where the file cannot be read.
--- @return integer count  of the records up to the end, or up to the one that is broken
--- @return string head  what the hash of the last of them has to be
--- @return boolean broken  whether the last is altered, missing or out of order
function check:result() end

--- Ends it where it stands. May be called twice.
function check:close() end

return chain
