--- A terminal with neap in it, 80 columns wide, by tmux: what a person types goes in, what they see comes out.
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

--- @param options? { env?: table<string, string>, rows?: integer, cwd?: string }
--- @return table pane  with a shell whose prompt is "$ "
function tmux.new(options)
  options = options or {}
  local folder = fs.mkdtemp "/tmp/neap-tmux-"
  local self = setmetatable({ folder = folder, socket = folder .. "/s", seen = 0 }, tmux)
  self.env = { PATH = process.environ "PATH", HOME = folder, LC_ALL = "C.UTF-8", TERM = "screen", SHELL = "/bin/sh",
    NEAP_LUA = process.environ "NEAP_LUA", TZ = "UTC", PS1 = "$ ", NEAP_PATH = process.environ "NEAP_PATH" }
  for name, value in pairs(options.env or {}) do self.env[name] = value end
  call(self, "new-session", "-d", "-x", "80", "-y", tostring(options.rows or 50), "-c", options.cwd or folder,
    "exec sh -i")
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
