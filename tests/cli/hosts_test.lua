local fs    = require "native.fs"
local ssh   = require "neap.targets.ssh"
local sshd  = dofile "tests/sshd.lua"
local stage = require "tests.cli.stage"

local clock = require "native.clock"

describe("neap host add and doctor", function()
  local on, server, known, folder
  local look, open = ssh.look, ssh.open

  --- The person's own ssh files are left alone.
  local function with_own_files(call, key)
    return function(alias, options)
      options.overrides = { hostname = "127.0.0.1", port = server.port, user = require "native.process".user().name,
                            known_hosts = known, identity_file = key, identity_agent = "none" }
      return call(alias, options)
    end
  end

  before_each(function()
    folder = scratch()
    known = folder .. "/known_hosts"
    local key = sshd.key(folder, "id", "ed25519")
    server = sshd.start(folder, { users = { key } })
    ssh.look, ssh.open = with_own_files(look, key), with_own_files(open, key)
    on = stage.new(scratch(), {
      ["procedures/shop/release.lua"] = "-- x\n",
      ["procedures/shop/environments/lab.yml"] = "hosts:\n  web1: { ssh: web1 }\n  web2: { ssh: v$(release).web }\n",
    })
    clock.virtual(false) -- real servers take real time
  end)

  after_each(function()
    ssh.look, ssh.open = look, open
    server.stop()
    stage.leave()
  end)

  local function fingerprint() return sshd.fingerprint(server.host_key "ed25519") end

  it("adds a host by the fingerprint that is given", function()
    equal(on:neap("host add web1 --fingerprint " .. fingerprint()), 0)
    matches(on.output, "added to " .. known:gsub("%p", "%%%0"))
    truthy(fs.read(known):find("ssh-ed25519", 1, true))
    equal(on:neap "host add web1 --env shop/lab", 0)
    matches(on.output, "is known already")
  end)

  it("does not add a host that shows another", function()
    equal(on:neap "host add web1 --fingerprint SHA256:AAAA", 1)
    matches(on.output, "is not added: it shows ssh%-ed25519 SHA256:")
    equal(fs.exists(known), false)
  end)

  it("asks a person, and takes only yes for yes", function()
    equal(on:neap "host add web1", 8)
    matches(on.told, "%-%-fingerprint")
    on.answers = { "y" }
    equal(on:neap "host add web1", 1)
    on.answers = { "yes" }
    equal(on:neap "host add web1", 0)
    truthy(fs.exists(known))
  end)

  it("refuses a key that has changed, whoever vouches for it", function()
    local other = sshd.key(folder, "other", "ed25519")
    fs.write(known, server.line "ed25519":gsub("ssh%-ed25519 .*", sshd.public(other)) .. "\n", { mode = "0600" })
    equal(on:neap("host add web1 --fingerprint " .. fingerprint()), 1)
    matches(on.told, "is not added: its key is changed")
  end)

  it("asks for a host that the environment has", function()
    equal(on:neap "host add wbe1 --env shop/lab", 2)
    matches(on.told, "Did you mean 'web1'")
  end)

  it("is told by the doctor which hosts answer", function()
    equal(on:neap "doctor --env shop/lab", 9)
    matches(on.output, "host +web1 +WRONG the key of %S+ is not known")
    matches(on.output, "web2 +WRONG its address is v$%(release%).web")
    on:neap("host add web1 --fingerprint " .. fingerprint())
    equal(on:neap "doctor --env shop/lab -p release=1", 0)
    matches(on.output, "host +web1 +ok +127%.0%.0%.1 as")
    matches(on.output, "lease +shop/lab +ok +free")
  end)
end)
