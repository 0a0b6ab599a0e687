local approval = require "neap.engine.approval"
local clock    = require "native.clock"
local fs       = require "native.fs"
local json     = require "native.json"
local process  = require "native.process"
local world    = require "tests.engine.world"

local PROCEDURE = [[step "Set" { run = function() world.set("a", 1) end }]]

local function run(...)
  local done = process.run({ ... }, { reads = true })
  if done.status ~= 0 then error(done.err) end
end

describe("an approval", function()
  local folder, w

  --- A key of somebody who may approve, or not.
  local function key_of(name, allowed)
    local key = folder .. "/" .. name
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
    if allowed ~= false then fs.append(folder .. "/allowed", name .. "@example.org " .. fs.read(key .. ".pub")) end
    return key
  end

  local function signed(text, key, by)
    fs.write(folder .. "/text", text, { mode = "0600" })
    if fs.exists(folder .. "/text.sig") then fs.remove(folder .. "/text.sig") end
    run("ssh-keygen", "-q", "-Y", "sign", "-n", "neap-approve", "-f", key, folder .. "/text")
    by = by or { user = "bob", uid = 4711, host = "h" }
    return { text = text, signature = fs.read(folder .. "/text.sig"), by = by }
  end

  local function in_an_hour() return clock.utc(clock.now() + 3600) end

  local function new_plan() return json.decode(json.encode(w:plan())) end

  local function approve(plan, key, by, expiry)
    w.store:save_approval(plan.id, json.encode(signed(approval.text(plan, expiry or in_an_hour()), key, by)))
  end

  before_each(function()
    if process.user().uid ~= 0 then skip "the list of signers must be root's" end
    folder = scratch()
    fs.write(folder .. "/allowed", "", { mode = "0644" })
    local approvals = { need = "1", allowed_signers = folder .. "/allowed" }
    w = world.new(PROCEDURE, { a = 0 }, { policy = { approvals = approvals } })
  end)

  local function refused(plan, with)
    local failure = raises(w.start, w, { plan = plan })
    equal({ failure.kind, failure.code }, { "denied", "approval" })
    matches(failure.message .. "\n" .. (failure.output or ""), with)
    equal(w.log, {})
    equal(select(2, w.store:lease()), nil)
  end

  it("lets its plan be run, and stands in the run's journal", function()
    local plan = new_plan()
    approve(plan, key_of "bob")
    equal(w:start({ plan = plan }).status, "done")
    local note
    for _, event in ipairs(w.events) do note = event.type == "note" and event or note end
    equal({ note.kind, note.principal }, { "approval", "bob@example.org" })
    matches(note.key, "^SHA256:")
  end)

  it("is needed: without it, or without a plan, nothing begins", function()
    refused(nil, "asks for an approval of a plan")
    refused(new_plan(), "asks for an approval of plan %x+, and it has 0")
  end)

  it("counts once a person, and as many are needed as the policy says", function()
    w.policy.approvals.need = "2"
    local plan, bob = new_plan(), key_of "bob"
    approve(plan, bob)
    approve(plan, bob)
    refused(plan, "2 approvals of plan %x+, and it has 1.*the same person's twice")
    approve(plan, key_of "carol")
    equal(w:start({ plan = plan }).status, "done")
  end)

  it("lapses when code, arguments or facts change, or time passes", function()
    local plan, bob = new_plan(), key_of "bob"
    approve(plan, bob)
    w.files["procedures/test/it.lua"] = PROCEDURE .. "\n"
    refused(plan, "procedure, code, environment or arguments are not those of plan")
    refused(new_plan(), "and it has 0")
    w.files["procedures/test/it.lua"] = PROCEDURE
    w.values.a = 7
    refused(new_plan(), "and it has 0")
    w.values.a = 0
    local altered = new_plan()
    altered.effects[next(altered.effects)].show = "another"
    refused(altered, "it is of another plan")
  end)

  it("lapses at its expiry", function()
    local plan = new_plan()
    approve(plan, key_of "bob", nil, clock.utc(clock.now() - 1))
    refused(plan, "it expired")
  end)

  it("is not by a key that nobody allowed, nor altered, nor of another purpose", function()
    local plan, bob = new_plan(), key_of "bob"
    approve(plan, key_of("mallory", false))
    refused(plan, "its key is not among the allowed signers")
    local one = signed(approval.text(plan, clock.utc(clock.now() - 1)), bob)
    one.text = approval.text(plan, in_an_hour())
    w.store:save_approval(plan.id, json.encode(one))
    refused(plan, "its signature does not hold")
    run("ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", bob, folder .. "/allowed")
    one.signature = fs.read(folder .. "/allowed.sig")
    w.store:save_approval(plan.id, json.encode(one))
    refused(plan, "its signature does not hold")
  end)

  it("is not by whoever runs, unless the policy allows it", function()
    local plan, bob, me = new_plan(), key_of "bob", process.user()
    approve(plan, bob, { user = me.name, uid = me.uid, host = "h" })
    refused(plan, "by whoever runs the plan")
    w.policy.approvals.not_runner = "false"
    equal(w:start({ plan = plan }).status, "done")
  end)

  it("is not by a principal of the runner's name", function()
    local plan, me = new_plan(), process.user()
    approve(plan, key_of(me.name))
    refused(plan, "by whoever runs the plan")
  end)

  it("needs a list of signers that nobody else can write", function()
    local plan = new_plan()
    approve(plan, key_of "bob")
    run("chmod", "0666", folder .. "/allowed")
    refused(plan, "can be written by others")
    run("chmod", "0664", folder .. "/allowed")
    run("chgrp", "12", folder .. "/allowed")
    refused(plan, "can be written by others")
    run("chown", "4711", folder .. "/allowed")
    run("chmod", "0644", folder .. "/allowed")
    refused(plan, "belongs neither to root nor to the operators' group")
    w.policy.approvals.allowed_signers = folder .. "/none"
    refused(plan, "there is no .*/none")
  end)
end)
