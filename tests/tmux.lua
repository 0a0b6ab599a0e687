--- A terminal with neap in it, by tmux: what a person types goes in, what they see comes out.
local fs      = require "native.fs"
local process = require "native.process"
local task    = require "native.task"

local tmux = {}
tmux.__index = tmux

local PATIENCE = 30 -- seconds

--- Output of a tmux command on this pane's own server.
local function call(self, ...)
  local stream <close> = process.spawn({ "tmux", "-S", self.socket, "-f", "/dev/null", ... },
    { env = self.env, clear_env = true, reads = true })
  local parts = {}
  for piece in function() return stream:read() end do parts[#parts + 1] = piece end
  return table.concat(parts)
end

--- A command that has nothing to say; raises where it says something.
local function tell(self, ...)
  local result = process.run({ "tmux", "-S", self.socket, ... }, { env = self.env, clear_env = true, reads = true })
  local said = result.out .. result.err
  if said ~= "" or result.status ~= 0 then error(("tmux %s: %s"):format((...), said), 3) end
end

--- @param options? { env?: table<string, string>, columns?: integer, rows?: integer, cwd?: string }  columns: 80
--- @return table pane  with a shell whose prompt is "$ "
function tmux.new(options)
  options = options or {}
  local folder = fs.mkdtemp "/tmp/neap-tmux-"
  local self = setmetatable({ folder = folder, socket = folder .. "/s", seen = 0 }, tmux)
  self.env = { PATH = process.environ "PATH", HOME = folder, LC_ALL = "C.UTF-8", TERM = "screen", SHELL = "/bin/sh",
    NEAP_LUA = process.environ "NEAP_LUA", TZ = "UTC", PS1 = "$ ", NEAP_PATH = process.environ "NEAP_PATH" }
  for name, value in pairs(options.env or {}) do self.env[name] = value end
  call(self, "new-session", "-d", "-x", tostring(options.columns or 80), "-y", tostring(options.rows or 50),
    "-c", options.cwd or folder, "exec sh -i")
  call(self, "set", "-g", "status", "off")
  return self
end

--- Types text as it is.
function tmux:type(text) call(self, "send-keys", "-l", text) end

--- Presses keys by tmux's names for them: "Enter", "C-c", "Tab".
function tmux:keys(...) call(self, "send-keys", ...) end

--- Types a line to whatever reads.
function tmux:command(line)
  self:type(line)
  self:keys "Enter"
end

--- Starts neap, and says when it has ended.
function tmux:neap(line)
  self:command(("%s %s; echo neap ended with $?"):format(process.executable(), line))
end

--- What the pane shows, with what has scrolled away; colours: with the sequences that make them.
--- @param colours? boolean
--- @return string
function tmux:screen(colours)
  return (call(self, "capture-pane", "-p", "-S", "-", colours and "-e" or "-J"):gsub("\n*$", ""))
end

--- The lines that have scrolled away and those that are in sight, as wide as the terminal has them, with the sequences
--- that make colours.
--- @return string above
--- @return string below
function tmux:lines()
  local function capture(...) return (call(self, "capture-pane", "-p", "-e", "-N", ...):gsub("[\n ]*$", "")) end
  local scrolled = tonumber(call(self, "display-message", "-p", "#{history_size}")) > 0
  return scrolled and capture("-S", "-", "-E", "-1") or "", capture()
end

--- Makes the terminal wider or narrower, as a person pulls at its window.
function tmux:resize(columns, rows) tell(self, "resize-window", "-x", tostring(columns), "-y", tostring(rows)) end

--- Copies what is written to the pane from now on into a file.
--- @param path string
function tmux:record(path) tell(self, "pipe-pane", "-O", "exec cat >" .. path) end

local function count_of(screen, text) return select(2, screen:gsub(text:gsub("%p", "%%%0"), "")) end

--- Waits until the text is shown, once more than when it was waited for before.
--- @param text string
--- @return string screen
function tmux:expect(text)
  local until_then = task.now() + PATIENCE
  self.shown = self.shown or {}
  while true do
    local screen = "\n" .. self:screen()
    local count = count_of(screen, text)
    if count > (self.shown[text] or 0) then
      self.shown[text] = count
      return screen
    end
    if task.now() > until_then then error(("no %q on the screen:\n%s"):format(text, screen), 2) end
    task.sleep(0.05)
  end
end

--- Waits until nothing is shown behind the text.
--- @param text string
function tmux:expect_last(text)
  local until_then = task.now() + PATIENCE
  while self:screen():sub(-#text) ~= text do
    if task.now() > until_then then error(("%q is not the last on the screen:\n%s"):format(text, self:screen()), 2) end
    task.sleep(0.05)
  end
end

--- Waits until a file that the pane is recorded in holds the text.
--- @param path string
--- @param text string
--- @return string written  all that it holds
function tmux:expect_in(path, text)
  local until_then = task.now() + PATIENCE
  while true do
    local written = fs.exists(path) and fs.read(path) or ""
    if written:find(text, 1, true) then return written end
    if task.now() > until_then then error(("no %q in %q"):format(text, written), 2) end
    task.sleep(0.02)
  end
end

--- Waits until a file is there.
--- @param path string
function tmux:expect_file(path)
  local until_then = task.now() + PATIENCE
  while not fs.exists(path) do
    if task.now() > until_then then error(("no %s; the screen is\n%s"):format(path, self:screen()), 2) end
    task.sleep(0.05)
  end
end

--- Takes the terminal away from what runs in it.
function tmux:kill() call(self, "kill-server") end

function tmux:close()
  self:kill()
  fs.remove_tree(self.folder)
end

return tmux
