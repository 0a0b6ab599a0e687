--- Hosts: the machines of an environment, what can be read of them and run on them. Commands that change run as
--- witnessed commands (witness.lua): at most once, and to their end also when the connection is cut.
local effect = require "neap.engine.effect"
local hosts  = require "neap.targets.connection"
local shell  = require "neap.targets.shell"
require "neap.targets.command"

local host = hosts.methods

--- @class (exact) neap.read_options
--- @field become? string|false  the user to act as; false: the login itself
--- @field input? string         what it reads, byte for byte
--- @field timeout? number       seconds
--- @field env? table<string, string>
--- @field cwd? string           the folder it runs in; else the login's home
--- @field ok? integer[]|"any"   exit statuses that are no failure

--- @class (exact) neap.run_options: neap.read_options
--- @field undo? string[]|string  the command that takes it back
--- @field keep? string           why a rollback leaves it
--- @field irreversible? string   why there is no way back behind it

local READ_OPTIONS = { become = true, input = true, timeout = true, env = true, cwd = true, ok = true }

local function read_output(self, command, options)
  options = shell.check_options(options, READ_OPTIONS, 3)
  local given = { reads = true }
  for key, value in pairs(options) do given[key] = value end
  return hosts.exec(self, command, given).out
end

--- The output of a program that changes nothing. Raises kind `remote` unless its exit status is in `ok` (default: 0).
--- @param argv (string|number)[]
--- @param options? neap.read_options
--- @return string output  with its last line end
host.read = effect.read("host.read", function(self, argv, options)
  if type(argv) ~= "table" then error("read takes an argument list; read_shell takes a text", 2) end
  return read_output(self, argv, options)
end)

--- The same for a text of the shell.
--- @param text string
--- @param options? table  as of read
--- @return string output
host.read_shell = effect.read("host.read_shell", function(self, text, options)
  if type(text) ~= "string" then error("read_shell takes a text; read takes an argument list", 2) end
  return read_output(self, text, options)
end)

local RUN_OPTIONS = { become = true, input = true, timeout = true, undo = true, keep = true, irreversible = true,
  env = true, cwd = true, ok = true }

local function perform(self, command, options)
  options = shell.check_options(options, RUN_OPTIONS, 3)
  local become = hosts.become(self, options.become)
  shell.text(command, { become = become, env = options.env, cwd = options.cwd }) -- raises what is wrong with it now
  return effect.perform("command.run",
    { host = self.name, command = command, become = become, cwd = options.cwd, env = options.env },
    { input = options.input, ok = options.ok },
    { undo = options.undo and { command = options.undo }, keep = options.keep, irreversible = options.irreversible,
      timeout = options.timeout })
end

--- Runs a program that changes something, exactly once. `undo` is the argument list (or shell text) that takes it back,
--- run by the same user in the same folder. Raises kind `remote` unless the exit status is in `ok` (default: 0).
--- @param argv (string|number)[]
--- @param options? neap.run_options
--- @return { out: string, err: string, status: integer }
function host:run(argv, options)
  if type(argv) ~= "table" then error("run takes an argument list; shell takes a text", 2) end
  return perform(self, argv, options)
end

--- The same for a text of the shell.
--- @param text string
--- @param options? table  as of run
--- @return { out: string, err: string, status: integer }
function host:shell(text, options)
  if type(text) ~= "string" then error("shell takes a text; run takes an argument list", 2) end
  return perform(self, text, options)
end

return hosts
