--- Golden files: what an operator reads, compared letter by letter. NEAP_GOLDEN=write writes them anew.
local fs   = require "native.fs"
local task = require "native.task"

local FOLDER = "tests/cli/golden/"
local PATIENCE, PAUSE, STILL = 30, 0.1, 1 -- seconds: until it fails, between two looks, without a change before it is written

local golden = {}

--- @param name string  without folder and ending
--- @return string
function golden.path(name) return FOLDER .. name .. ".txt" end

local function is_written() return os.getenv "NEAP_GOLDEN" == "write" end

local function settled(text) return (text:gsub("\n*$", "\n")) end

local function expected_of(path) return fs.exists(path) and fs.read(path) or "" end

local function write(path, text)
  fs.mkdir(path:match "^(.*)/", "0755")
  fs.write(path, text, { mode = "0644" })
end

--- Fails where the text is not the file's.
--- @param path string
--- @param text string
function golden.compare(path, text)
  text = settled(text)
  if is_written() then return write(path, text) end
  local expected = expected_of(path)
  if text == expected then return end
  local diff = require "native.diff".unified(expected, text, { from = path, to = "now", context = 2 })
  error(diff .. "NEAP_GOLDEN=write writes it anew", 3)
end

--- Looks until what is shown is the golden file's, which is written once it stands still. Fails where that takes too long.
--- @param name string  without folder and ending
--- @param look fun(): string, any
--- @return any  what the last look has given beside the text
function golden.becomes(name, look)
  local path, until_then, before = golden.path(name), task.now() + PATIENCE, nil
  local text, more = look()
  while is_written() and text ~= before do
    task.sleep(STILL)
    before, text, more = text, look()
  end
  while not is_written() and settled(text) ~= expected_of(path) and task.now() < until_then do
    task.sleep(PAUSE)
    text, more = look()
  end
  golden.compare(path, text)
  return more
end

--- golden(name, text) fails where the text is not the one of the golden file.
return setmetatable(golden, { __call = function(_, name, text) golden.compare(golden.path(name), text) end })
