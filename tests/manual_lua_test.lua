--- The manual's examples in Lua, each run: in an environment that is made of the manual's own, forward and back.
local console = require "tests.lab.console"
local fs      = require "native.fs"
local given   = require "tests.manual_given"
local manual  = require "tests.manual"

local write = manual.write

local NEAP = fs.realpath "build/neap"

local DECLARES = { "guide", "remark", "manual", "await", "step", "phase" }
local STOP = "The example is taken back"
local STOPS = ('\nstep %q { run = function() fail "to see the way back" end }\n'):format(STOP)

--- A procedure as it stands, else lines of a step; and a step that fails, for the way back.
local function procedure_of(text)
  for _, word in ipairs(DECLARES) do
    if ("\n" .. text):find("\n[^\n]-%f[%w]" .. word .. ' "') then return text .. STOPS end
  end
  return ('step "The example" { run = function()\n%s\nend }\n'):format(text) .. STOPS
end

--- With targets in memory.
local function try(there)
  local one = trial("shop/example", { env = "shop/lab", given = there.targets, arguments = there.arguments })
  local before, outcome = one.targets:snapshot(), one:run()
  matches(outcome.failure and outcome.failure.message or outcome.status, "to see the way back$")
  equal(one:rollback().status, "rolled back")
  equal(one.targets:snapshot(), before)
end

--- With real ones.
local function carry_out(root, there)
  local words = { "--env lab --yes --no-input --foreground --outside-window --reason 'an example'" }
  for name, value in pairs(there.arguments or {}) do words[#words + 1] = ("-p %s=%s"):format(name, value) end
  local start = ("cd %s && HOME=%s XDG_STATE_HOME=%s/state %s "):format(root, root, root, NEAP)
  local said = console.shell(start .. "run shop/example " .. table.concat(words, " "))
  matches(said, STOP .. ".*to see the way back")
  local back, status = console.shell(start .. "rollback 1 --yes --no-input --foreground")
  if status ~= 0 and not back:find "run 1 is closed: rolled back" then error(back, 0) end -- it had changed nothing
end

local SWITCH = manual.of("README", "lua")[1] -- the chapter on tests shows a test of it

local function run_its_test(root)
  write(root, "procedures/site/switch.lua", SWITCH.text)
  write(root, "procedures/site/environments/lab.yml", manual.of("README", "yaml")[1].text)
  write(root, "procedures/site/switch_test.lua", manual.of("testing", "lua")[1].text)
  matches(console.shell(("cd %s && %s test"):format(root, NEAP)), "\n3 passed, 0 failed")
end

local OTHERWISE = {
  testing = run_its_test,
  kubernetes = function() skip "tests/kube/manual_test.lua runs it, on a control plane" end,
}

describe("an example of the manual", function()
  local getenv, root = os.getenv, nil

  before_each(function()
    root = scratch()
    rawset(os, "getenv", function(name) return name == "NEAP_PATH" and root or getenv(name) end)
  end)
  after_each(function() rawset(os, "getenv", getenv) end)

  local function run(block)
    local there = given[block.chapter] or {}
    manual.write_environments(root, block, there.real and there.real(root))
    write(root, "procedures/shop/example.lua", procedure_of(block.text))
    for path, text in pairs(there.files or {}) do write(root, path, text) end
    if there.real then carry_out(root, there) else try(there) end
  end

  for _, block in ipairs(manual.blocks()) do
    local otherwise = OTHERWISE[block.chapter]
    if block.language == "lua" and block.place ~= SWITCH.place then
      it("runs, and is taken back: " .. block.place, function()
        if otherwise then otherwise(root) else run(block) end
      end)
    end
  end
end)
