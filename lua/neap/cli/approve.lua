--- `neap approve`: signs a plan with one's own ssh key, so that somebody else may run it.
local approval = require "neap.engine.approval"
local choice   = require "neap.cli.choice"
local clock    = require "native.clock"
local duration = require "neap.engine.duration"
local failure  = require "neap.cli.failure"
local fault    = require "native.error"
local fs       = require "native.fs"
local history  = require "neap.cli.history"
local json     = require "native.json"
local process  = require "native.process"
local shell    = require "neap.targets.shell"
local view     = require "neap.cli.view.plan"

local approve = {
  summary = "sign a plan, so that somebody else may run it",
  examples = { "neap approve 3f9c1a --env encode/prod",
               "neap approve 3f9c1a --env encode/prod --key ~/.ssh/id_ed25519 --expires 4h" },
}

local KEYS = { "id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk" }

function approve.arguments(parser)
  parser:argument("plan", "its id, as `neap plan` printed it")
  parser:option("--env", "the environment that it is a plan for"):argname "ENV"
  parser:option("--key", "the ssh key to sign with; its .pub where an agent has it"):argname "FILE"
  parser:option("--expires", "how long the approval holds"):argname "DURATION":default "24h"
end

local function find_plan(options)
  local id = options.plan
  if not options.env then failure.wrong_use("approve needs --env", ("neap approve %s --env ENV"):format(id)) end
  local names, folders = choice.journals(options.env)
  for _, name in ipairs(names) do
    local line = history.reading(folders[name], function(journal) return journal.store:plan(id) end)
    if line then return json.decode(line), folders[name] end
  end
  failure.wrong_use(("no plan '%s' for %s"):format(id, options.env), "neap plan PROCEDURE --env " .. options.env)
end

local function own_key()
  local folder = process.user().home .. "/.ssh/"
  for _, name in ipairs(KEYS) do
    if fs.exists(folder .. name) then return folder .. name end
    if fs.exists(folder .. name .. ".pub") then return folder .. name .. ".pub" end
  end
  failure.wrong_use("no ssh key in ~/.ssh to sign with", "neap approve PLAN --key FILE")
end

--- ssh-keygen asks for the passphrase at the terminal itself, so it is started in its foreground.
local function sign(text, key)
  local folder = fs.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/neap-")
  local file = folder .. "/approval"
  fs.write(file, text, { mode = "0600" })
  local done = os.execute(shell.words { "ssh-keygen", "-q", "-Y", "sign", "-n", approval.NAMESPACE, "-f", key, file }
    .. " 2>" .. shell.quote(folder .. "/said"))
  local signature = done and fs.exists(file .. ".sig") and fs.read(file .. ".sig")
  local said = fs.read(folder .. "/said")
  fs.remove_tree(folder)
  if signature then return signature end
  fault.raise { kind = "auth", where = "", message = "ssh-keygen did not sign with " .. key, output = said }
end

local function keep(folder, plan, one)
  local journal = require "neap.engine.journal".open(folder)
  local ok, raised = pcall(journal.store.save_approval, journal.store, plan.id, json.encode(one))
  journal:close()
  if not ok then error(raised, 0) end
end

function approve.run(options)
  local console, seconds = options.console, duration.seconds(options.expires)
  if not seconds then failure.wrong_use(("--expires '%s' is no duration"):format(options.expires), "--expires 24h") end
  local plan, folder = find_plan(options)
  if not console.json then console:tell(view.text(plan, console.err)) end
  local expiry, user = clock.utc(clock.now() + seconds), process.user()
  local text = approval.text(plan, expiry)
  local signature = failure.before_change(sign, text, options.key or own_key())
  keep(folder, plan, { text = text, signature = signature,
    by = { user = user.name, uid = user.uid, host = process.hostname() } })
  if console.json then
    console:answer_json { plan = plan.id, environment = plan.environment, expiry = expiry }
    return 0
  end
  console:answer(("Plan %s is approved by %s until %s."):format(plan.id, user.name, expiry))
  console:tell(("Next: neap run %s --env %s --plan %s"):format(plan.procedure, plan.environment, plan.id))
end

return approve
