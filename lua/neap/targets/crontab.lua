--- Crontabs of a host's users, by the host's own crontab, which refuses what cron could not read and tells cron.
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local lines   = require "neap.targets.file.line"
local shell   = require "neap.targets.shell"
local witness = require "neap.targets.witness"

local crontab = {}

local OPTIONS = { keep = true, irreversible = true, timeout = true }

local function target_of(host, user, options)
  options = shell.check_options(options, OPTIONS, 3)
  if type(user) ~= "string" or not user:find "^[%w_][%w_.-]*$" then
    error(("%q is no user's name"):format(tostring(user)), 3)
  end
  return { host = hosts.name(host), user = user }, options
end

local function argv_of(target, word) return { "crontab", "-u", target.user, word } end

--- The whole crontab; nil where the user has none.
local function read(target)
  local argv = argv_of(target, "-l")
  local result = hosts.exec(target.host, argv, { become = "root", reads = true, ok = { 0, 1 }, timeout = 60 })
  if result.status == 0 then return result.out end
  if result.err:find "no crontab for" then return nil end
  fault.raise { kind = "remote", host = target.host, code = result.status, output = result.err,
    message = ("crontab -l failed on %s: %s"):format(target.host, result.err:match "[^\n]+" or "no output") }
end

local function write(target, text, call)
  witness.run(target.host, call, argv_of(target, text and "-" or "-r"), { become = "root", input = text,
    timeout = call.timeout })
end

effect.resource "crontab.table" {
  timeout = 60,
  get = read, put = write,
  -- crontab puts a whole file in place or none: what is there afterwards tells
  take = function(target, id, intent)
    if witness.take(target, id, intent, "any") == "running" then return "running", "a command still runs" end
  end,
  prepare = witness.prepare, release = witness.release,
  show = function(target) return ("%s crontab of %s"):format(target.host, target.user) end,
}

local function check_line(line)
  if type(line) ~= "string" or line == "" or line:find "[\n\0]" then
    error("a line of a crontab is a text without a line end", 3)
  end
end

--- Makes sure that a user's crontab has this line: at its end, if it has it nowhere. A rollback puts the crontab back.
--- @param host string|table
--- @param user string
--- @param line string  as "00 7 * * * /usr/local/bin/backup"
--- @param options? { keep?: string, irreversible?: string, timeout?: number }
function crontab.line(host, user, line, options)
  check_line(line)
  local target
  target, options = target_of(host, user, options)
  effect.change("crontab.table", target, function(before) return lines.added(before or "", line) end, options)
end

--- Makes sure that a user's crontab has this line nowhere.
--- @param host string|table
--- @param user string
--- @param line string
--- @param options? { keep?: string, irreversible?: string, timeout?: number }
function crontab.absent_line(host, user, line, options)
  check_line(line)
  local target
  target, options = target_of(host, user, options)
  effect.change("crontab.table", target, function(before) return before and lines.removed(before, line) end, options)
end

local read_table = effect.read("crontab.read", read)

--- A user's crontab; nil where there is none.
--- @param host string|table
--- @param user string
--- @return string?
function crontab.read(host, user) return read_table((target_of(host, user))) end

return crontab
