--- A run that begins later: what can be checked is checked now, and systemd starts it.
local approval  = require "neap.engine.approval"
local clock     = require "native.clock"
local failure   = require "neap.cli.failure"
local fault     = require "native.error"
local fs        = require "native.fs"
local moment    = require "neap.cli.moment"
local notices   = require "neap.notices"
local process   = require "native.process"
local rehearsed = require "neap.engine.rehearsed"
local session   = require "neap.engine.session"
local view      = require "neap.cli.view.schedule"
local window    = require "neap.engine.window"

local schedule = {}

local LINGER = "/var/lib/systemd/linger/"

--- What a run needs of this login's environment: names alone are said, systemd-run takes the values from its own.
local PASSED = { "HOME", "PATH", "LANG", "LC_ALL", "TZ", "NEAP_PATH", "XDG_CONFIG_HOME", "XDG_STATE_HOME",
                 "XDG_CACHE_HOME", "KUBECONFIG", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE",
                 "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "AWS_DATA_PATH", "PGSERVICEFILE", "PGPASSFILE",
                 "VAULT_ADDR", "GNUPGHOME", "PASSWORD_STORE_DIR", "SOPS_AGE_KEY_FILE", "SSL_CERT_FILE", "NO_PROXY",
                 "no_proxy" }

--- What is this login's alone, and may be missed.
local LEFT = { "SSH_AUTH_SOCK", "VAULT_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
               "PGPASSWORD", "HTTPS_PROXY", "https_proxy" }

local UNATTENDED = { ask = "it is asked for at a terminal",
                     env = "it is a variable of this login, and no secret is passed on" }

-- ---- what would stand unanswered at night ----

local function code_of(files)
  local texts = {}
  for path, text in pairs(files) do
    if path:find "%.lua$" then texts[#texts + 1] = text end
  end
  return table.concat(texts, "\n")
end

local function check_reference(env, name, reference)
  local why = type(reference) == "string" and UNATTENDED[reference:match "^(%w+):"]
  if not why then return end
  failure.needs_person(("%s of %s is %s: %s"):format(name, env.name, reference, why),
    "keep it where it can be had unattended: file:, cmd:, vault: …")
end

--- Secrets and passwords of databases that the code names, and ways to tell people, have to be had without anybody.
local function check_secrets(request)
  local code, env = code_of(request.files), request.environment
  local function check_named(name, reference)
    if code:find("%f[%w_]" .. name:gsub("%p", "%%%0") .. "%f[^%w_]") then check_reference(env, name, reference) end
  end
  for name, reference in pairs(env.secrets) do check_named(name, reference) end
  for name, database in pairs(env.databases) do check_named(name, database.password) end
  for _, reference in ipairs(notices.references(env.notify)) do check_reference(env, "notify", reference) end
end

local function check_window(request, found, at)
  if not found then return nil end
  local ends, why = window.ends(found, at)
  if ends or request.outside_window then return ends end
  return fault.raise { kind = "denied", code = "window", where = "", state = "Nothing was scheduled.",
    message = ("%s may not be changed then: %s"):format(request.environment.name, why),
    next = { "another --at, or --outside-window --reason WHY" } }
end

local function refuse_expired(what, ends)
  fault.raise { kind = "denied", code = "approval", where = "", state = "Nothing was scheduled.",
    message = ("%s ends at %s, before the run begins"):format(what, clock.utc(ends):sub(1, 16)) }
end

--- Procedure and arguments as the run will load them, and who has to have said yes until then.
local function check_admission(request, at)
  local self = session.prepare(request)
  for _, one in ipairs(approval.require(self, request, session.snapshot_digest(self.files))) do
    local ends = clock.parse(one.expiry)
    if ends <= at then refuse_expired("the approval of " .. one.principal, ends) end
  end
  local earlier = rehearsed.require(self, request, session.code_digest(self.files))
  local ends = earlier and clock.parse(earlier.ended) + rehearsed.demand(self.environment.policy).within
  if ends and ends <= at then refuse_expired("what the rehearsal is good for", ends) end
  return self
end

--- Where a run stops because a person is asked.
local function stops(self)
  local titles, passes = {}, self.environment.policy.point_of_no_return == "pass"
  for _, step in ipairs(self.procedure.steps) do
    if step.kind == "manual" or step.irreversible and not passes then titles[#titles + 1] = step.title end
  end
  return titles
end

local function left_behind()
  local names = {}
  for _, name in ipairs(LEFT) do
    if process.environ(name) then names[#names + 1] = name end
  end
  return names
end

-- ---- systemd ----

local function unit_name(request, at)
  local group, env = request.environment.name:match "^(.*)/(.*)$"
  local time = clock.utc(at):sub(1, 16):gsub("[-:]", "")
  local name = ("neap-%s-%s-%s-%s"):format(group, env, request.name:match "[^/]*$", time)
  return (name:gsub("[^%w:_.-]", "_"))
end

--- What systemd starts. A `$` would be a variable to it.
local function command_of(options, request)
  local argv = { process.executable(), "run", request.name, "--env", request.environment.name }
  for _, given in ipairs(options.param or {}) do table.move({ "-p", given }, 1, 2, #argv + 1, argv) end
  if options.plan then table.move({ "--plan", options.plan }, 1, 2, #argv + 1, argv) end
  if request.outside_window then
    table.move({ "--outside-window", "--reason", request.outside_window }, 1, 3, #argv + 1, argv)
  end
  table.move({ "--yes", "--no-input", "--foreground", "--inhibit" }, 1, 4, #argv + 1, argv)
  for i, word in ipairs(argv) do argv[i] = word:gsub("%$", "$$") end
  return argv
end

--- The timer's and the service's properties. Stopped, neap has time to settle what is in hand.
local function timer_of(model)
  local argv = { "systemd-run", "--quiet", "--unit=" .. model.unit,
    ("--description=neap: %s on %s"):format(model.procedure, model.environment),
    "--on-calendar=" .. model.calendar, "--timer-property=AccuracySec=1s", "--service-type=notify",
    "--property=KillMode=mixed", "--property=TimeoutStartSec=infinity", "--property=TimeoutStopSec=10min",
    "--working-directory=" .. fs.getcwd() }
  if not model.system then table.insert(argv, 2, "--user") end
  for _, name in ipairs(PASSED) do
    if process.environ(name) then argv[#argv + 1] = "--setenv=" .. name end
  end
  argv[#argv + 1] = "--"
  return table.move(model.command, 1, #model.command, #argv + 1, argv)
end

local function refuse(message, output, ...)
  fault.raise { kind = "missing", where = "", message = message, output = output, state = "Nothing was scheduled.",
    next = { ... } }
end

--- A user's manager ends with the last login, and its timers with it.
local function check_linger(user)
  if user.uid == 0 or fs.exists(LINGER .. user.name) then return end
  refuse("systemd forgets the timers of " .. user.name .. " at the last logout", nil, "loginctl enable-linger")
end

local function start(model)
  local ok, said = pcall(process.run, timer_of(model), { reads = true })
  if not ok and not fault.is(said, "missing") then error(said, 0) end
  if ok and said.status == 0 then return end
  refuse(ok and "systemd did not take it" or "there is no systemd-run here", ok and said.err or nil,
    "without systemd at or cron can start it: neap doc recipes")
end

--- What will be: raises where it cannot, or where a person would be missed then.
local function model_of(options, request)
  local env, user = request.environment, process.user()
  local found = window.of(env.policy)
  local zone = found and found.zone or "local"
  local at = moment.of(options.at, zone, clock.now())
  local ends = check_window(request, found, at)
  check_secrets(request)
  local self = failure.before_change(check_admission, request, at)
  check_linger(user)
  return { procedure = request.name, environment = env.name, plan = options.plan, at = clock.utc(at),
    text = moment.text(at, zone), unit = unit_name(request, at), user = user.name, system = user.uid == 0,
    calendar = clock.utc(at):sub(1, 19):gsub("T", " ") .. " UTC", ends = ends and moment.text(math.floor(ends), zone),
    command = command_of(options, request), stops = stops(self), left = left_behind() }
end

--- Has a run begin later, and says so.
--- @param options table  of the command line; at
--- @param request table  as begin.prepare leaves it
--- @return integer status
function schedule.start(options, request)
  local model, env, console = model_of(options, request), request.environment, options.console
  require "neap.cli.confirm".start(options, env.name, env.policy, "run")
  start(model)
  return (console.json and console:answer_json(model) or console:answer(view.text(model, console.out))) and 0
end

return schedule
