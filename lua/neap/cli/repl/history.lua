--- Lines that were typed, kept for another time in a file of this login's own. What looks like a secret is not kept, nor a
--- line that begins with a space.
local fs     = require "native.fs"
local secret = require "native.secret"
local state  = require "neap.state"

local history = {}

local MOST = 1000         -- lines that are read again
local LONGEST = 4096      -- bytes of a line that is kept
local TRIM_AT = 512 << 10 -- bytes of the file

local SECRETIVE = { "passw", "passphrase", "secret", "token", "api_?key", "credential", "identified%s+by",
                    "private_?key" }

--- A text in quotes that is given to something with such a name.
local function looks_secret(line)
  local low = line:lower():gsub("env%.secrets%.[%w_]*", "")
  for _, word in ipairs(SECRETIVE) do
    if low:find(word .. "[%w_]*[\"']?%]?%s*[=:(,]*%s*[\"'%[]") then return true end
  end
  return false
end

--- Whether a line may be kept: it holds no secret that neap knows, and nothing that looks like one.
--- @param line string
--- @return boolean
function history.may_keep(line)
  if line:find "^%s" or not line:find "%S" or #line > LONGEST then return false end
  return not secret.holds(line) and not secret.marked(line) and not looks_secret(line)
end

local function lines_of(path)
  local lines = {}
  for line in fs.read(path):gmatch "[^\n]+" do lines[#lines + 1] = line end
  return table.move(lines, math.max(1, #lines - MOST + 1), #lines, 1, {})
end

--- The last lines, oldest first.
--- @return string[]
function history.read()
  local path = state.typed_lines()
  return fs.exists(path) and lines_of(path) or {}
end

local function write(path, lines)
  fs.write(path, table.concat(lines, "\n") .. "\n", { mode = "0600" })
end

--- Adds a line at the end. Where the file cannot be written, the line is kept for this sitting alone.
--- @param line string  one that may be kept
function history.add(line)
  local path = state.typed_lines()
  pcall(function()
    local folder = path:match "^(.*)/"
    if not fs.exists(folder) then fs.mkdir(folder, "0700") end
    local there = fs.stat(path)
    if not there then return write(path, { line }) end
    if there.size > TRIM_AT then write(path, lines_of(path)) end
    local file <close> = assert(io.open(path, "a"))
    file:write(line, "\n")
  end)
end

return history
