--- A newcomer's way: a procedure is made, tried, run, broken, mended, and taken back, in a folder where nothing was.
local console = require "tests.lab.console"
local fs      = require "native.fs"

local NEAP = fs.realpath "build/neap"

describe("a newcomer", function()
  local folder

  local function neap(words)
    local text = "cd %s && HOME=%s XDG_STATE_HOME=%s/state %s %s </dev/null"
    return console.shell(text:format(folder, folder, folder, NEAP, words))
  end

  local function ok(words)
    local output, status = neap(words)
    if status ~= 0 then error(("neap %s ended with %d\n%s"):format(words, status, output), 2) end
    return output
  end

  local function change(path, from, to)
    local text = fs.read(folder .. "/" .. path)
    fs.write(folder .. "/" .. path, (text:gsub(from, to)))
  end

  before_each(function()
    folder = scratch()
    ok "new shop/release --repo ."
    change("procedures/shop/environments/lab.yml", "/tmp/neap%-shop", folder .. "/shop")
  end)

  it("is told how to begin where there is no repository", function()
    local empty = scratch()
    local output, status = console.shell(("cd %s && %s new shop/release"):format(empty, NEAP))
    equal(status, 2)
    matches(output, "neap new shop/release %-%-repo %.")
  end)

  it("is told of names that a procedure cannot have", function()
    for _, name in ipairs { "shop/lib", "shop/release_test", "lib/shop" } do
      local output, status = neap("new " .. name)
      equal(status, 2)
      matches(output, "would be no procedure")
    end
  end)

  it("has a procedure that is sound and tested, for the linter too", function()
    matches(ok "check shop/release", "0 errors")
    matches(ok "test", "3 passed, 0 failed")
    equal(select(2, console.shell(("cd %s && luacheck --quiet ."):format(folder))), 0)
  end)

  it("plans and runs it", function()
    matches(ok "plan shop/release --env lab", "%+ local .-/shop/greeting")
    equal(fs.exists(folder .. "/shop"), false)
    ok "run shop/release --env lab --yes --foreground"
    equal(fs.read(folder .. "/shop/greeting"), "hello\n")
  end)

  it("breaks it, reads the error, mends it, and goes on", function()
    change("procedures/shop/release.lua", 'arg%.greeting %.%. "\\n"', "env.no_such_value")
    matches(ok "check shop/release", "0 errors") -- what is not there is known when it is asked for
    local output, status = neap "run shop/release --env lab --yes --foreground --no-input"
    equal(status, 5)
    matches(output, "procedures/shop/release.lua:13")
    matches(output, "What to look at when it fails")
    change("procedures/shop/release.lua", "env%.no_such_value", 'arg.greeting .. "\\n"')
    ok "resume 1 --env shop/lab --foreground --no-input --yes --code current --reason mended"
    equal(fs.read(folder .. "/shop/greeting"), "hello\n")
  end)

  it("takes it back", function()
    change("procedures/shop/release.lua", "file%.exists%b()", 'fail "not today"')
    equal(select(2, neap "run shop/release --env lab --yes --foreground --no-input"), 5)
    equal(fs.exists(folder .. "/shop/greeting"), true)
    ok "rollback 1 --env shop/lab --foreground --no-input"
    equal(fs.exists(folder .. "/shop"), false)
    matches(ok "runs", "rolled back")
    matches(ok "complete -- log ''", "^shop/lab/1\tshop/release, rolled back\n")
    matches(ok "complete -- log --env shop/lab ''", "^1\tshop/release, rolled back\n")
  end)

  it("asks for help with a file that holds no secret and no contents", function()
    change("procedures/shop/environments/lab.yml", "values:", "secrets:\n  token: file:" .. folder .. "/token\nvalues:")
    fs.write(folder .. "/token", "a-token-that-nobody-sees", { mode = "0600" })
    change("procedures/shop/release.lua", "arg.greeting %.%.", "env.secrets.token ..")
    ok "run shop/release --env lab --yes --foreground"
    ok "doctor --env shop/lab --bundle help.tar.gz"
    local unpack = "cd %s && stat -c %%a help.tar.gz && mkdir out && tar -xzf help.tar.gz -C out && grep -r . out"
    local text = console.shell(unpack:format(folder))
    matches(text, "^600\n")
    matches(text, "run%-1.txt:.*shop/greeting")
    matches(text, "environment.txt:.*token")
    truthy(not text:find("a-token-that-nobody-sees", 1, true))
  end)

  it("is not overwritten", function()
    local output, status = neap "new shop/release"
    equal(status, 2)
    matches(output, "procedures/shop/release.lua is there already")
  end)
end)
