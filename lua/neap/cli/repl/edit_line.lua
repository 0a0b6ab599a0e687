--- `:e`: the last statement, or a file of the repository, in the person's editor.
local edit  = require "neap.cli.edit"
local fault = require "native.error"
local fs    = require "native.fs"
local repl  = require "neap.engine.repl"

local edit_line = {}

local function last_statement(sits)
  local last = sits.lines[#sits.lines]
  return last and last.text or ""
end

--- What the person has made of a text; nil where it is as it was.
local function edited(text)
  local folder = fs.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/neap-")
  local path = folder .. "/line.lua"
  local ok, result = pcall(function()
    fs.write(path, text .. "\n", { mode = "0600" })
    edit.open(path)
    return (fs.read(path):gsub("\n*$", ""))
  end)
  fs.remove_tree(folder)
  if not ok then error(result, 0) end
  return result ~= text and result or nil
end

local function run_statement(sits)
  local text = edited(last_statement(sits))
  if not text or not text:find "%S" then return sits:tell "nothing was changed" end
  local fn, message = repl.compile(text, sits.globals)
  if not fn then fault.raise { kind = "conflict", where = "", message = message } end
  sits:tell(table.concat(sits.console.err:lines(text), "\n"))
  return sits:run_line(fn, text)
end

--- @param sits table  the sitting
--- @param path string  below the repository; "": the last statement, which is then run
--- @return boolean?
function edit_line.run(sits, path)
  if path == "" then return run_statement(sits) end
  local file = sits.read.environment.root .. "/" .. path
  if not sits.session.files[path] and not fs.exists(file) then
    fault.raise { kind = "missing", where = "", message = ("there is no %s in the repository"):format(path) }
  end
  edit.open(sits.read.environment.files[path] and path or file)
end

return edit_line
