--- Names of buckets and objects, and which of them may become names of files.
local fault = require "native.error"

local names = {}

--- Raises a mistake where it is no bucket's name.
--- @param bucket any
--- @param level integer
function names.check_bucket(bucket, level)
  if type(bucket) ~= "string" or not bucket:find "^[%w][%w.-]+[%w]$" or bucket:find("..", 1, true) then
    error(("%q is no name of a bucket"):format(tostring(bucket)), level + 1)
  end
end

--- Raises a mistake where it is no object's key.
--- @param key any
--- @param level integer
function names.check_key(key, level)
  if type(key) ~= "string" or key == "" or #key > 1024 or not utf8.len(key) or key:find "%z" then
    error(("%q is no key of an object"):format(tostring(key)), level + 1)
  end
end

--- Bucket and the rest of an address.
--- @param address string  "s3://bucket/key"
--- @param level integer
--- @return string bucket
--- @return string key
function names.split(address, level)
  local bucket, key = tostring(address):match "^s3://([^/]+)/?(.*)$"
  if not bucket then error(("%q is no address, as in s3://bucket/key"):format(tostring(address)), level + 1) end
  names.check_bucket(bucket, level + 1)
  return bucket, key
end

local function refuse(key, why)
  fault.raise { kind = "denied", message = ("%q cannot become the name of a file: %s"):format(key, why) }
end

--- The parts of a key that is to be a file's path below a folder. Raises kind `denied` where one is empty, "." or "..",
--- or has control characters.
--- @param key string
--- @return string[]
function names.parts(key)
  local parts = {}
  for part in (key .. "/"):gmatch "([^/]*)/" do
    if part == "" then refuse(key, "a part of it is empty") end
    if part == "." or part == ".." then refuse(key, "it has the part " .. part) end
    if part:find "[%c\127]" then refuse(key, "it has control characters") end
    if #part > 255 then refuse(key, "a part of it is longer than 255 bytes") end
    parts[#parts + 1] = part
  end
  return parts
end

--- Raises kind `conflict` where two of the keys would be one file, on a system that does not tell a from A, or one a
--- file and the other's folder.
--- @param keys string[]
function names.check_collisions(keys)
  local files, folders = {}, {}
  local function clash(a, b)
    fault.raise { kind = "conflict", message = ("%q and %q cannot both be files"):format(a, b) }
  end
  for _, key in ipairs(keys) do
    local parts, path = names.parts(key:lower()), ""
    for i, part in ipairs(parts) do
      path = path .. "/" .. part
      if files[path] then clash(files[path], key) end
      if i < #parts then folders[path] = folders[path] or key end
    end
    if folders[path] then clash(folders[path], key) end
    files[path] = key
  end
end

return names
