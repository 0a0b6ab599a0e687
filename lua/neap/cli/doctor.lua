--- `neap doctor`: whether a run could begin: hosts that answer, rights, clocks, the journal's folder, the lease.
local arguments   = require "neap.cli.arguments"
local aws         = require "neap.cli.doctor_aws"
local choice      = require "neap.cli.choice"
local clock       = require "native.clock"
local environment = require "neap.environment"
local fault       = require "native.error"
local finding     = require "neap.cli.finding"
local fs          = require "native.fs"
local process     = require "native.process"
local state       = require "neap.state"
local task        = require "native.task"
local view        = require "neap.cli.view.doctor"

local doctor = {
  summary = "look whether a run could begin",
  examples = { "neap doctor", "neap doctor --env encode/lab", "neap doctor --env encode/lab -p old=63 -p version=64",
    "neap doctor aws --env encode/lab", "neap doctor --env encode/lab --bundle support.tar.gz" },
}

local FOUND_PROBLEMS = 9
local SKEW = 2                     -- seconds that clocks may differ
local ROOM = 64 << 20              -- bytes that the journal should have left
local HOST_TIMEOUT = 30            -- seconds for all that is asked of a host

function doctor.arguments(parser)
  parser:command_target "what"
  parser:require_command(false)
  parser:command("aws", "who neap is at AWS: which credentials it found, whose, until when, and where it asks")
    :add_help(false):option("--profile", "of ~/.aws, instead of the environment's"):argname "NAME"
  parser:option("--env", "the environment: <group>/<name>, or <name> where only one group has it"):argname "ENV"
  parser:option("--bundle", "write what somebody who helps has to see, without secrets"):argname "FILE"
  parser:option("-p", "an argument of the run, where hosts are named by one"):argname "NAME=VALUE":count "*"
    :target "param"
end

local function complain(message, hint) fault.raise { kind = "conflict", message = message, hint = hint, where = "" } end

-- ---- here ----

local function check_ssh()
  local result = process.run({ "ssh", "-V" }, { reads = true, timeout = 10 })
  return (result.err .. result.out):match "^[^\n]*"
end

local function check_locale()
  if not require "native.terminal".utf8() then
    complain("the locale is not UTF-8: names and diffs are shown escaped", "export LANG=C.UTF-8")
  end
  return "UTF-8"
end

local function here() return { finding("local", "ssh", check_ssh), finding("local", "locale", check_locale) } end

-- ---- the journal ----

local function check_folder(env)
  local folder, shared = state.folder(env.name)
  return ("%s, %s"):format(folder, shared and "shared by its Unix group" or "only yours: two people could run at once")
end

local function check_room(env)
  local folder = state.folder(env.name)
  local free = fs.free_bytes(folder)
  local text = ("%d MiB free for the journal"):format(free >> 20)
  if free < ROOM then complain(text, "make room in " .. folder) end
  return text
end

local function check_lease(env)
  local folder = state.folder(env.name)
  if not fs.exists(folder .. "/journal.db") then return "free" end
  for _, run in ipairs(require "neap.cli.history".of(env.name, folder)) do
    if not run.outcome then
      complain(("held by run %d, %s, of %s"):format(run.run, run.procedure, tostring(run.actor)),
        ("neap resume %d --env %s, or neap rollback"):format(run.run, env.name))
    end
  end
  return "free"
end

-- ---- hosts ----

local function said(session, command)
  local stream <close> = session:exec(command, { reads = true })
  return stream:collect { timeout = HOST_TIMEOUT }
end

--- How far the host's clock is ahead of ours, in seconds: by the middle of the exchange.
local function skew_of(session)
  local before = clock.now()
  local theirs = tonumber((said(session, "date -u +%s.%N").out:gsub("%s", "")))
  if not theirs then return nil end
  return theirs - (before + clock.now()) / 2
end

local function sudo_note(session, entry)
  local user = entry.become or "root"
  local result = said(session, ("sudo -n -u '%s' -- true"):format(user))
  if result.status == 0 then return ("sudo -n as %s ok"):format(user) end
  if not entry.become then return "no sudo" end
  fault.raise { kind = "denied", message = ("sudo -n as %s is refused"):format(user), output = result.err, where = "",
                hint = "add a NOPASSWD rule to sudoers on " .. entry.name }
end

local function check_host(entry, ask)
  if entry.ssh:find "%$%(" then complain(("its address is %s"):format(entry.ssh), "give it: -p NAME=VALUE") end
  local session <close> = require "neap.targets.ssh".open(entry.ssh,
    { overrides = { user = entry.user, port = entry.port }, ask = ask, timeout = HOST_TIMEOUT })
  local facts, skew = session:facts(), skew_of(session)
  local notes = { ("%s as %s"):format(facts.address, facts.user), sudo_note(session, entry) }
  if skew and math.abs(skew) > SKEW then
    complain(("its clock is %.1f s %s"):format(math.abs(skew), skew > 0 and "ahead" or "behind"),
      "look at its time service")
  end
  notes[#notes + 1] = skew and ("clock %+.2f s"):format(skew) or "no clock"
  return table.concat(notes, ", ")
end

local function hosts_of(env)
  local names = {}
  for name, entry in pairs(env.hosts) do
    if not entry[1] and entry.ssh then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- All hosts at the same time; the findings in the order of their names.
local function check_hosts(env, ask)
  local running, findings = {}, {}
  for i, name in ipairs(hosts_of(env)) do
    running[i] = task.spawn(finding, "host", name, check_host, env.hosts[name], ask)
  end
  for i, handle in ipairs(running) do
    local ok, result = handle:wait()
    if not ok then error(result, 0) end
    findings[i] = result
  end
  return findings
end

local function asker(console)
  return function(prompt, options)
    return console.may_ask and console:ask(console.err:clean(prompt) .. " ", options) or nil
  end
end

local function environment_of(options)
  local env = choice.named_environment(options.env)
  local given = arguments.pairs(options.param)
  return next(given) and environment.resolve(env, given) or env
end

local function environment_findings(options, env)
  local findings = { finding("journal", "folder", check_folder, env), finding("journal", "disk", check_room, env),
                     finding("lease", env.name, check_lease, env) }
  table.move(check_hosts(env, asker(options.console)), 1, 1000, #findings + 1, findings)
  local of_aws = next(env.aws or {}) and aws.look(env, {}, asker(options.console)) or { findings = {} }
  return table.move(of_aws.findings, 1, 1000, #findings + 1, findings)
end

local function look(options)
  local env = options.env and environment_of(options)
  if options.what == "aws" then
    return aws.look(env or { name = "this machine" }, { profile = options.profile }, asker(options.console))
  end
  local findings = here()
  if env then table.move(environment_findings(options, env), 1, 1000, #findings + 1, findings) end
  return { findings = findings }
end

local function write_bundle(options)
  local name = options.env and choice.named_environment(options.env).name
  local names = require "neap.cli.bundle"(options.bundle, name)
  options.console:answer(("%s: %s"):format(options.bundle, table.concat(names, ", ")))
end

function doctor.run(options)
  local console, started = options.console, task.now()
  if options.bundle then return write_bundle(options) end
  local model = look(options)
  local findings, good = model.findings, 0
  for _, one in ipairs(findings) do good = good + (one.ok and 1 or 0) end
  model.good, model.seconds = good, task.now() - started
  if console.json then console:answer_json(model) else console:answer(view.text(model, console.out)) end
  return good < #findings and FOUND_PROBLEMS or 0
end

return doctor
