--- @meta native.zstd

--- Compressed blobs that state their size.
--- @class native.zstd
local zstd = {}

--- @param bytes string
--- @param level? integer  1 to 19, 3 by default
--- @return string
function zstd.compress(bytes, level) end

--- Raises `protocol` when bytes is not one whole frame that says it unpacks to at most max_bytes, or does not unpack to
--- what it says.
--- @param bytes string
--- @param max_bytes integer
--- @return string
function zstd.decompress(bytes, max_bytes) end

return zstd
