--- A repository of procedures for the tests of faults, runs of it as processes of their own, and what the lab's servers
--- say themselves. Nothing is asked of neap that a server can answer.
local fs      = require "native.fs"
local process = require "native.process"
local task    = require "native.task"

local world = {}
world.__index = world

world.NEAP, world.FAULTY = "build/neap", "build/fault/neap"

local ENVIRONMENT = [[
hosts:
  old: { ssh: old }
  new: { ssh: new }
  proxy1: { ssh: proxy1 }
%s]]

-- a broken connection is noticed within seconds, not in the three quarters of a minute of a real one
local SSH_CONFIG = [[
Host *
  User ops
  IdentityFile ~/.ssh/id_ed25519
  IdentitiesOnly yes
  StrictHostKeyChecking yes
  ConnectTimeout 3
  ServerAliveInterval 2
  ServerAliveCountMax 1
]]

-- ---- the lab ----

--- A verb of tests/lab/lab. Raises where it fails.
--- @return string output
function world.lab(...)
  local result = process.run({ "tests/lab/lab", ... }, { reads = true, timeout = 60 })
  if result.status ~= 0 then error(("lab %s: %s%s"):format(table.concat({ ... }, " "), result.out, result.err), 2) end
  return result.out
end

--- What a shell text says that root runs on a host by its console, without its last line end.
function world.on(host, text) return (world.lab("sh", host, "sh", "-c", text):gsub("\n$", "")) end

--- Lines of a file on a host; none where it is not there.
function world.lines(host, path)
  local list = {}
  for line in world.on(host, ("cat %s 2>/dev/null || true"):format(path)):gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

--- Waits until fn() is true.
function world.wait(fn, seconds)
  task.deadline(seconds or 20, function()
    while not fn() do task.sleep(0.05) end
  end)
end

--- Waits until a file of a host holds that line.
function world.wait_for(host, path, line)
  world.wait(function()
    for _, found in ipairs(world.lines(host, path)) do
      if found == line then return true end
    end
    return false
  end)
end

--- Digest, mode and owner of a file on a host, or "absent".
function world.file(host, path)
  return world.on(host, ("test -e %s || { echo absent; exit; }; sha256sum <%s; stat -c '%%a %%U:%%G' %s"):format(
    path, path, path))
end

--- How many commands' names are left in the homes of a host: none once a run is closed.
function world.witnesses(host)
  return tonumber(world.on(host, "ls -d /home/ops/.neap/effects/*/*/* 2>/dev/null | wc -l"))
end

--- Sends a signal to a process of this machine, by its number.
function world.signal(name, pid)
  process.run({ "kill", "-s", name, tostring(pid) }, { reads = true })
end

-- ---- runs ----

--- A fresh world below a folder.
--- @param folder string
--- @param procedures table<string, string>  name to text; `trial/<name>` is then known to neap
--- @param more? string  lines of the environment beside its hosts
function world.new(folder, procedures, more)
  local self = setmetatable({ folder = folder, started = 0 }, world)
  local group = folder .. "/procedures/trial"
  fs.mkdir(group .. "/environments", "0700")
  fs.write(group .. "/environments/lab.yml", ENVIRONMENT:format(more or ""), { mode = "0644" })
  for name, text in pairs(procedures) do
    fs.write(("%s/%s.lua"):format(group, name), text, { mode = "0644" })
  end
  fs.write(os.getenv "HOME" .. "/.ssh/config", SSH_CONFIG, { mode = "0600" })
  self.state = folder .. "/state"
  return self
end

-- in the process that is started, so that its number is known
local HERE = { run = true, resume = true, rollback = true }

local function in_foreground(words)
  if not HERE[words[1]] then return words end
  return table.move(words, 2, #words, 3, { words[1], "--foreground" })
end

local function environment(self, setting)
  local env = { HOME = os.getenv "HOME", PATH = process.environ "PATH", LC_ALL = "C.UTF-8", XDG_STATE_HOME = self.state,
    NEAP_PATH = self.folder, COLUMNS = "200" }
  for key, value in pairs(setting or {}) do env[key] = value end
  return env
end

--- Starts neap and returns at once.
--- @param words string[]
--- @param setting? table<string, string>  of its environment; NEAP_FAULT takes the build with fail points
--- @return { pid: integer, wait: fun(self): table }
function world:start(words, setting)
  self.started = self.started + 1
  local pid_file = ("%s/pid-%d"):format(self.folder, self.started)
  local program = setting and (setting.NEAP_FAULT or setting.NEAP_FAULT_COUNT) and world.FAULTY or world.NEAP
  local command = { "sh", "-c", 'echo $$ >"$1"; shift; exec "$@"', "sh", pid_file, program,
    table.unpack(in_foreground(words)) }
  local stream = process.spawn(command,
    { env = environment(self, setting), clear_env = true, reads = true, input = false })
  local collecting = task.spawn(stream.collect, stream, { timeout = 200 })
  world.wait(function() return fs.exists(pid_file) and fs.read(pid_file) ~= "" end)
  local running = { pid = math.tointeger(tonumber(fs.read(pid_file))) }
  function running.wait()
    local ok, result = collecting:wait()
    stream:close()
    if not ok then error(result, 0) end
    result.text = result.out .. result.err
    return result
  end
  return running
end

--- Runs neap to its end.
--- @param words string  as on the command line
--- @return table result  of process.run, and `text`: both outputs
function world:neap(words, setting)
  local list = {}
  for word in words:gmatch "%S+" do list[#list + 1] = word end
  return self:start(list, setting):wait()
end

--- Runs neap on a terminal of its own, with somebody there who types that line when the question is asked.
--- @return table result  as of neap, text: what the terminal shows
function world:typed(words, question, line)
  local command = { "script", "-qec", world.NEAP .. " " .. words, "/dev/null" }
  local stream <close> = process.spawn(command, { env = environment(self, { TERM = "dumb" }), clear_env = true,
    reads = true })
  local shown, asked = "", false
  return task.deadline(120, function()
    for piece in function() return stream:read() end do
      shown = shown .. piece
      if not asked and shown:find(question, 1, true) then
        asked = true
        stream:write(line .. "\n")
      end
    end
    local ended = stream:wait()
    return { status = ended.status, signal = ended.signal, text = shown }
  end)
end

--- The same as neap; raises unless it ends with that exit status.
function world:expect(status, words, setting)
  local result = self:neap(words, setting)
  world.check(result, status, words)
  return result.text
end

--- Raises unless a run ended with that exit status.
function world.check(result, status, words)
  if result.status == status then return result end
  error(("neap %s: expected exit status %d, got %s %s\n%s"):format(words or "", status, tostring(result.status),
    result.signal or "", result.text), 3)
end

return world
