--- @meta native.gzip

--- Files that gzip has compressed.
--- @class native.gzip
local gzip = {}

--- Raises `protocol` on what is no gzip file, is damaged, or holds more than max_bytes.
--- @param bytes string
--- @param max_bytes integer
--- @return string
function gzip.unpack(bytes, max_bytes) end

return gzip
