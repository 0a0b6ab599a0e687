--- Golden files: what an operator reads, compared letter by letter. NEAP_GOLDEN=write writes them anew.
local fs = require "native.fs"

local FOLDER = "tests/cli/golden/"

local golden = {}

--- @param name string  without folder and ending
--- @return string
function golden.path(name) return FOLDER .. name .. ".txt" end

--- Fails where the text is not the file's.
--- @param path string
--- @param text string
function golden.compare(path, text)
  text = text:gsub("\n*$", "\n")
  if os.getenv "NEAP_GOLDEN" == "write" then return fs.write(path, text, { mode = "0644" }) end
  local expected = fs.exists(path) and fs.read(path) or ""
  if text == expected then return end
  local diff = require "native.diff".unified(expected, text, { from = path, to = "now", context = 2 })
  error(diff .. "NEAP_GOLDEN=write writes it anew", 3)
end

--- golden(name, text) fails where the text is not the one of the golden file.
return setmetatable(golden, { __call = function(_, name, text) golden.compare(golden.path(name), text) end })
