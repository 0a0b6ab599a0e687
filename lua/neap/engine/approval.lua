--- Approvals: signatures over a plan by persons other than its runner, kept beside it and checked before a run of it
--- begins. They are made with ssh-keygen, whose keys people have, and lapse with any change of what was signed.
local clock   = require "native.clock"
local crypto  = require "native.crypto"
local data    = require "neap.engine.data"
local fault   = require "native.error"
local fs      = require "native.fs"
local journal = require "neap.engine.journal"
local json    = require "native.json"
local process = require "native.process"

--- @class neap.approval
--- @field text string  canonical JSON { plan, environment, snapshot, arguments, nonce, expiry }
--- @field signature string  SSHSIG, armoured
--- @field by { user: string, uid: integer, host: string }  who said `neap approve`

local approval = {}

--- What a signature is good for: no other program's signature counts, and none of ours counts elsewhere.
approval.NAMESPACE = "neap-approve"

--- The digest of all that makes a plan, of which its id is the beginning.
--- @param plan neap.plan
--- @return string hex
function approval.digest(plan)
  local pins = plan.pins and next(plan.pins) and plan.pins or nil
  return data.digest(plan.procedure, plan.environment, plan.arguments, plan.effects, plan.snapshot, pins)
end

--- What is signed.
--- @param plan neap.plan
--- @param expiry string  UTC, as clock.utc writes it
--- @return string text
function approval.text(plan, expiry)
  return json.encode { plan = approval.digest(plan), environment = plan.environment, snapshot = plan.snapshot,
    arguments = plan.arguments, nonce = crypto.hex(crypto.random(16)), expiry = expiry }
end

-- ---- who has signed ----

local function refuse(message, ...)
  fault.raise { kind = "denied", code = "approval", where = "", message = message:format(...) }
end

local function check_rights(path, group)
  if path:sub(1, 1) ~= "/" then refuse("policy.approvals.allowed_signers is no whole path: %s", path) end
  local found = fs.stat(path) or refuse("there is no %s, which says whose approvals count", path)
  local mode = tonumber(found.mode, 8)
  local is_theirs = found.uid == 0 or group ~= nil and found.gid == group and found.uid ~= process.user().uid
  if not is_theirs then refuse("%s belongs neither to root nor to the operators' group", path) end
  if mode & 2 ~= 0 or mode & 16 ~= 0 and found.gid ~= 0 then
    refuse("%s can be written by others (mode %s)", path, found.mode)
  end
end

local function keygen(input, ...)
  return process.run({ "ssh-keygen", ... }, { input = input, reads = true, clear_env = false })
end

local function first_principal(allowed, signature)
  local found = keygen("", "-Y", "find-principals", "-f", allowed, "-s", signature)
  return found.status == 0 and found.out:match "^[^\n]+" or nil
end

--- Whose signature it is; nil and why not.
local function signer_of(one, allowed, folder)
  local signature = folder .. "/signature"
  fs.write(signature, one.signature, { mode = "0600" })
  local principal = first_principal(allowed, signature)
  if not principal then return nil, "its key is not among the allowed signers" end
  local said = keygen(one.text, "-Y", "verify", "-f", allowed, "-I", principal, "-n", approval.NAMESPACE,
    "-s", signature)
  local key = said.out:match "(SHA256:%S+)"
  if said.status ~= 0 or not key then return nil, "its signature does not hold" end
  return { principal = principal, key = key }
end

-- ---- who runs ----

local function fingerprints_in(text, into)
  for key in text:gmatch "SHA256:%S+" do into[key] = true end
end

--- The login that runs, the one before sudo, and the keys that it has.
local function runner()
  local user = process.user()
  local self = { uids = { [user.uid] = true }, names = { [user.name] = true }, keys = {} }
  local before, uid = os.getenv "SUDO_USER", math.tointeger(tonumber(os.getenv "SUDO_UID" or ""))
  if before then self.names[before] = true end
  if uid then self.uids[uid] = true end
  local folder = user.home .. "/.ssh"
  for _, name in ipairs(fs.exists(folder) and fs.list(folder) or {}) do
    if name:find "%.pub$" then fingerprints_in(keygen("", "-l", "-f", folder .. "/" .. name).out, self.keys) end
  end
  if os.getenv "SSH_AUTH_SOCK" then
    local ok, listed = pcall(process.run, { "ssh-add", "-l" }, { reads = true, timeout = 10 })
    if ok then fingerprints_in(listed.out, self.keys) end
  end
  return self
end

local function is_runner(who, one, signer)
  return who.uids[one.by.uid] or who.keys[signer.key] or who.names[signer.principal:match "^[^@]*"]
end

-- ---- what counts ----

--- Why an approval does not fit the plan, or nil.
local function misfit(one, plan)
  local ok, signed = pcall(json.decode, one.text)
  if not ok then return "it is damaged" end
  if signed.plan ~= approval.digest(plan) or signed.snapshot ~= plan.snapshot or signed.environment ~= plan.environment
    or not data.same(signed.arguments, plan.arguments) then
    return "it is of another plan"
  end
  if (clock.parse(signed.expiry) or 0) <= clock.now() then return "it expired " .. signed.expiry end
  return nil, signed
end

local function judge(one, plan, demand, who, folder)
  local why, signed = misfit(one, plan)
  if why then return nil, why end
  local signer
  signer, why = signer_of(one, demand.allowed_signers, folder)
  if not signer then return nil, why end
  if demand.not_runner and is_runner(who, one, signer) then return nil, "it is by whoever runs the plan" end
  signer.expiry, signer.nonce = signed.expiry, signed.nonce
  return signer
end

--- What an environment's policy asks for; nil: nothing.
--- @param policy table
--- @return { need: integer, allowed_signers: string, not_runner: boolean }?
function approval.demand(policy)
  local given = policy.approvals
  if not given then return nil end
  local need = math.tointeger(tonumber(given.need or 1)) or refuse("policy.approvals.need is no number")
  return { need = need, not_runner = tostring(given.not_runner) ~= "false", allowed_signers = given.allowed_signers
    or refuse("policy.approvals lacks allowed_signers, the file that says whose approvals count") }
end

--- The approvals that count, one a person, and why the others do not.
--- @param list neap.approval[]
--- @param plan neap.plan
--- @param demand table  as approval.demand gives it
--- @param group? integer  the operators' group, whose allowed signers are trusted too
--- @return { principal: string, key: string, expiry: string, nonce: string }[] valid
--- @return string[] refused  one line each
function approval.judge(list, plan, demand, group)
  check_rights(demand.allowed_signers, group)
  local valid, refused, seen, who = {}, {}, {}, runner()
  local folder = fs.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/neap-")
  for _, one in ipairs(list) do
    local signer, why = judge(one, plan, demand, who, folder)
    if signer and (seen[signer.principal] or seen[signer.key]) then signer, why = nil, "the same person's twice" end
    if signer then
      seen[signer.principal], seen[signer.key] = true, true
      valid[#valid + 1] = signer
    else
      refused[#refused + 1] = ("of %s on %s: %s"):format(one.by.user, one.by.host, why)
    end
  end
  fs.remove_tree(folder)
  return valid, refused
end

--- The approvals of a plan, as they are kept beside it.
--- @param place string|table  the environment's folder, or a store
--- @param plan neap.plan
--- @return neap.approval[]
function approval.of(place, plan)
  local opened = journal.open(place, { read_only = true })
  local ok, lines = pcall(opened.store.approvals, opened.store, plan.id)
  if type(place) == "string" then opened:close() end
  if not ok then error(lines, 0) end
  local list = {}
  for i, line in ipairs(lines) do list[i] = json.decode(line) end
  return list
end

--- The group of a folder that several share; nil where it is one person's own.
local function group_of(place)
  local found = type(place) == "string" and fs.stat(place)
  return found and tonumber(found.mode, 8) & 16 ~= 0 and found.gid or nil
end

local function needs(self, demand, plan)
  local persons = demand.need == 1 and "an approval" or ("%d approvals"):format(demand.need)
  return ("%s asks for %s of %s"):format(self.environment.name, persons, plan and "plan " .. plan.id or "a plan")
end

--- Refuses a run that the environment's policy wants approved and that is not: kind "denied", code "approval".
--- @param self table  the session, prepared and not begun
--- @param given { state: string|table, plan?: table }
--- @param snapshot string  digest of the code and environment that would run
--- @return table[] valid  for the journal
function approval.require(self, given, snapshot)
  local demand, plan = approval.demand(self.environment.policy or {}), given.plan
  if not demand then return {} end
  if not plan then
    fault.raise { kind = "denied", code = "approval", where = "", message = needs(self, demand),
      hint = "neap plan, neap approve by somebody else, then neap run --plan ID" }
  end
  local is_other = plan.procedure ~= self.procedure.name or plan.environment ~= self.environment.name
  if is_other or plan.snapshot ~= snapshot or not data.same(plan.arguments, data.plain(self.procedure.arguments)) then
    fault.raise { kind = "denied", code = "approval", where = "", hint = "plan again, and have that approved",
      message = ("procedure, code, environment or arguments are not those of plan %s"):format(plan.id) }
  end
  local valid, refused = approval.judge(approval.of(given.state, plan), plan, demand, group_of(given.state))
  if #valid >= demand.need then return valid end
  fault.raise { kind = "denied", code = "approval", where = "", output = table.concat(refused, "\n"),
    message = ("%s, and it has %d"):format(needs(self, demand, plan), #valid),
    hint = ("neap approve %s --env %s"):format(plan.id, self.environment.name) }
end

--- What the run's journal says of an approval.
--- @param one table  of approval.require's
--- @return table record
function approval.note(one)
  return { type = "note", kind = "approval", principal = one.principal, key = one.key, nonce = one.nonce,
    expiry = one.expiry, text = ("approved by %s (%s), until %s"):format(one.principal, one.key, one.expiry) }
end

return approval
