-- Lines at `neap repl` on the lab's servers of ENCODE. What is said of a server was asked of that server.
local console = require "tests.lab.console"
local fs      = require "native.fs"

local ENV  = fs.exists("/usr/lib/postgresql/15") and "lab" or "lab13"
local NEAP, FAULTY = "build/neap", "build/fault/neap"
local CONF = "/etc/nginx/nginx.conf"

local SWITCH = [[nginx.edit(env.hosts.proxies[2], "/etc/nginx/nginx.conf", function(conf)
  conf:replace_host(env.server.old, env.server.new)
end)]]

local function quoted(text) return "'" .. text:gsub("'", [['\'']]) .. "'" end

-- A session of these lines: what it says, and its exit status.
local function session(lines, setting, program)
  local words = {}
  for _, line in ipairs(lines) do words[#words + 1] = "-e " .. quoted(line) end
  return console.shell(("%s timeout 120 %s repl encode/release --env %s -p version=88 -p old=87 --yes %s </dev/null")
    :format(setting or "", program or NEAP, ENV, table.concat(words, " ")))
end

local function expect(status, lines, setting, program)
  local output, got = session(lines, setting, program)
  if got ~= status then error(("expected exit status %d, got %d\n%s"):format(status, got, output), 2) end
  return output
end

local function neap(words) return console.shell(("timeout 120 %s %s --no-input </dev/null"):format(NEAP, words)) end

local function open_run()
  return neap("runs"):match "\n%s*(%d+)%s[^\n]-repl[^\n]-stopped" or neap("runs"):match "\n%s*(%d+)%s[^\n]-repl"
end

local function served() return console.page "proxy2" end

describe("lines on the servers of a web site", function()
  local before

  before_each(function()
    console.lab "reset"
    before = console.file("proxy2", CONF)
  end)

  it("read hosts, and refuse to change them without a run", function()
    local output = expect(0, { "env.hosts.old:read { 'hostname' }",
      "file.exists(env.hosts.proxies[2], '" .. CONF .. "')" })
    matches(output, "^old\n.*true\n")
    output = expect(1, { SWITCH })
    matches(output, "%+%s+server v88.production.lab.*not done: lines may only read")
    equal({ console.file("proxy2", CONF), served() }, { before, "v87.production.lab" })
  end)

  it("change a proxy, which serves another release until it is taken back, byte for byte", function()
    expect(0, { ":write", SWITCH, ":read" })
    equal(served(), "v88.production.lab")
    console.lab "reset"
    local output = expect(0, { ":write", SWITCH, ":undo" })
    matches(output, "taken back  repl/1")
    equal({ console.file("proxy2", CONF), served() }, { before, "v87.production.lab" })
  end)

  it("are settled by their servers after neap was killed in the middle, and rolled back", function()
    local stopped = 0
    for _, fault in ipairs { "call:2:before", "call:2:after", "call:3:before", "call:4:after", "call:5:after" } do
      console.lab "reset"
      local output, status = session({ ":write", SWITCH }, ("NEAP_FAULT=%s=kill"):format(fault), FAULTY)
      equal({ fault, status }, { fault, 137 })
      local run = output:match "run (%d+) is open" or open_run()
      output, status = neap(("resume %s --env encode/%s --yes"):format(run, ENV))
      local changed = console.on("proxy2", "grep -c 'server v88.production.lab' " .. CONF .. " || true") ~= "0"
      if status == 0 then
        equal({ fault, served() }, { fault, changed and "v88.production.lab" or "v87.production.lab" })
      else
        matches(output, "repl/1 was cut short before [^\n]*nginx.*not in force")
        equal({ fault, status, changed, served() }, { fault, 5, true, "v87.production.lab" })
        stopped = stopped + 1
        equal(select(2, neap(("abandon %s --env encode/%s --reason test --yes"):format(run, ENV))), 0)
      end
      console.lab "reset"
      output, status = session({ ":write", SWITCH }, ("NEAP_FAULT=%s=kill"):format(fault), FAULTY)
      run = output:match "run (%d+) is open"
      equal({ fault, status }, { fault, 137 })
      output, status = neap(("rollback %s --env encode/%s --yes"):format(run, ENV))
      equal({ fault, status, output:match "ROLLED BACK" }, { fault, 0, "ROLLED BACK" })
      equal({ fault, console.file("proxy2", CONF), served() }, { fault, before, "v87.production.lab" })
    end
    truthy(stopped > 0)
  end)
end)
