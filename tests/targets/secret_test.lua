local crypto  = require "native.crypto"
local fixture = require "tests.targets.fixture"
local hosts   = require "neap.targets.connection"
local secret  = require "native.secret"
local shell   = require "neap.targets.shell"

local VALUE = "target's \"secret\" $(no) \\ 71c0\n\n"

describe("a secret of a command", function()
  local value

  before_each(function() value = secret.literal(VALUE, secret.keyring()) end)

  local function out(options, text)
    options.reads = true
    return fixture.within(fixture.run(), changing, hosts.exec, "local", text, options).out
  end

  it("reaches it as a variable, whole, and what else it gets stays", function()
    local text = 'printf %s "$X" | sha256sum; printf "<%s>" "$Y"; cat; echo "${neap_settings-gone}"'
    local said = out({ env = { X = value, Y = "plain" }, input = "rest of\ninput\n" }, text)
    equal(said, crypto.sha256(VALUE) .. "  -\n<plain>rest of\ninput\ngone\n")
    equal(out({ env = { A = value, B = "b" .. value } }, 'printf %s "$A$B" | sha256sum'):sub(1, 64),
      crypto.sha256(VALUE .. "b" .. VALUE))
  end)

  it("stands in no text that a list of processes shows", function()
    local text, settings = shell.text({ "true" }, { env = { X = value } })
    equal(secret.holds(text), nil)
    truthy(secret.is(settings))
    local again = shell.text({ "true" }, { env = { X = "also " .. VALUE } })
    equal(secret.holds(again), nil)
  end)

  it("is refused as an argument, and in a text", function()
    for _, command in ipairs { { "echo", value }, "echo " .. value, { "echo", VALUE }, "echo " .. crypto.hex(VALUE) } do
      matches(tostring(raises(shell.text, command)), "in the list of processes; hand it over as `input`, or in `env`")
    end
  end)

  it("reaches it through sudo, too", function()
    if require("native.process").user().uid ~= 0 then skip "needs root, for sudo without a password" end
    local text = 'id -un; printf %s "$X" | sha256sum; cat'
    local said = out({ env = { X = value }, become = "nobody", input = "rest" }, text)
    equal(said, "nobody\n" .. crypto.sha256(VALUE) .. "  -\nrest")
  end)

  it("is its input", function()
    equal(out({ input = "a" .. value }, "sha256sum"):sub(1, 64), crypto.sha256("a" .. VALUE))
  end)

  it("is not in what its failure says", function()
    local failure = raises(out, { input = value }, "cat >&2; exit 4")
    equal({ failure.kind, failure.code, failure.output:find("71c0", 1, true) }, { "remote", 4 })
  end)
end)
