--- The manual's commands, each line run in a folder where there is what it speaks of; and its screens, each typed again
--- and compared. Those of the chapter on recipes are run by tests/cli/recipes_test.lua.
local console  = require "tests.lab.console"
local fakes    = require "neap.fakes.targets"
local fs       = require "native.fs"
local manual   = require "tests.manual"
local postgres = require "tests.postgres"
local session  = require "neap.engine.session"
local stage    = require "tests.cli.stage"

local NEAP = fs.realpath "build"
local NGINX = "http { server { location / { proxy_pass http://v87; } } }\n"

local RELEASE = [[
-- Releases the shop.
local arg = parameters { version = "its number", old = { "the one before", default = "63" } }
step "Say it" { run = function() file.write(env.hosts.new, "/srv/" .. arg.old, arg.version .. "\n") end }
]]

local GUIDE = "# How the shop is released\n\n1. Close the shop.\n2. Open the shop.\n"

local write = manual.write

--- The commands of a block, without what is said of them.
local function commands_of(block)
  local list = {}
  for line in block.text:gmatch "[^\n]+" do list[#list + 1] = (line:gsub("%s+#.*$", "")) end
  return list
end

local function sh(chapter) return commands_of(manual.of(chapter, "sh")[1]) end

--- Where the commands of a chapter are run; recipes has several blocks, by its headings.
local RUN = { README = "here", authors = "here", environments = "here", people = "here", rehearsing = "here",
  repl = "here", recipes = "tests/cli/recipes_test.lua", running = "tests/cli/at_test.lua" }

describe("a command of the manual", function()
  it("is run by a test", function()
    local found = {}
    for _, block in ipairs(manual.blocks()) do
      if block.language == "sh" then
        local again = found[block.chapter] and block.chapter ~= "recipes"
        found[block.chapter] = again and "another block, which no test runs: " .. block.place or RUN[block.chapter]
          or "no test: " .. block.place
      end
    end
    equal(found, RUN)
  end)

  local root

  before_each(function() root = scratch() end)

  --- Runs each line of the chapter; statuses by a line's number where they are not 0.
  local function run(chapter, statuses)
    local outputs = {}
    for i, line in ipairs(sh(chapter)) do
      local setting = "cd %s && PATH=%s:$PATH HOME=%s XDG_STATE_HOME=%s/state NEAP_FOREGROUND=1 bash -c '%s' </dev/null"
      if line:find "<" then setting = setting:gsub(" </dev/null", "") end
      local output, status = console.shell(setting:format(root, NEAP, root, root, (line:gsub("'", "'\\''"))))
      equal({ line, status, status ~= (statuses[i] or 0) and output or "" }, { line, statuses[i] or 0, "" })
      outputs[i] = output
    end
    return outputs
  end

  it("makes a procedure out of a guide", function()
    write(root, "shop-release.md", GUIDE)
    write(root, "procedures/shop/environments/local.yml", "values: {}\n")
    local outputs = run("authors", { [2] = 8 }) -- a checklist, and nobody is here
    matches(outputs[2], "Close the shop")
    matches(fs.read(root .. "/procedures/shop/release.lua"), 'manual "Close the shop')
  end)

  it("shows environments", function()
    write(root, "procedures/shop/release.lua", 'step "Write" { run = function() end }\n')
    write(root, "procedures/shop/environments/base.yml", "")
    write(root, "procedures/shop/environments/prod.yml", manual.of("environments", "yaml")[1].text)
    local outputs = run("environments", { [4] = 9 }) -- there is no Vault here, nor the secrets' file
    matches(outputs[3], "https://www%.example%.org/.*prod%.yml:%d+")
    matches(outputs[4], "there is no token of Vault")
  end)

  it("rehearses", function()
    local text = RELEASE:gsub("env.hosts.new", '"local"'):gsub("/srv/", root .. "/")
    write(root, "procedures/encode/release.lua", text)
    write(root, "procedures/encode/environments/test.yml", "values: {}\n")
    matches(run("rehearsing", {})[1], "proven")
  end)

  it("types lines of Lua", function()
    local server = postgres.start()
    write(root, "lines", ("%q\n:write\nfile.write('local', '%s/motd', 'back at four')\n"):format("a line", root))
    write(root, "procedures/encode/environments/lab.yml",
      ("databases:\n  main: { postgres: %s, port: %d, database: postgres, user: postgres }\n")
      :format(server.socket, server.port))
    matches(run("repl", {})[1], '^%[?.*"now"')
    equal(fs.read(root .. "/motd"), "back at four")
  end)
end)

describe("a screen of the manual", function()
  local on, targets, prepare, reopen

  before_each(function()
    targets, prepare, reopen = fakes.new(), session.prepare, session.reopen
    local function on_fakes(fn)
      return function(given)
        given.fakes = targets
        return fn(given)
      end
    end
    session.prepare, session.reopen = on_fakes(prepare), on_fakes(reopen)
    on = stage.new(scratch(), {
      ["procedures/site/switch.lua"] = manual.of("README", "lua")[1].text,
      ["procedures/site/environments/lab.yml"] = manual.of("README", "yaml")[1].text,
      ["procedures/encode/release.lua"] = RELEASE,
      ["procedures/encode/environments/prod.yml"] = "hosts:\n  new: { ssh: new }\n  old: { ssh: old }\n"
        .. "  proxies: [ { name: proxy1, ssh: proxy1 }, { name: proxy2, ssh: proxy2 } ]\n"
        .. "databases:\n  main: { postgres: new, database: main }\npolicy: { guard: production }\n",
    })
    for _, name in ipairs { "proxy1", "proxy2" } do
      targets:put("file.content", { host = name, path = "/etc/nginx/nginx.conf" },
        { content = NGINX, mode = "0644", owner = "root", group = "root" })
    end
    for _, name in ipairs { "new", "proxy2" } do
      targets:put("file.content", { host = name, path = "/etc/motd" },
        { content = "welcome\n", mode = "0644", owner = "root", group = "root" })
    end
  end)
  after_each(function()
    session.prepare, session.reopen = prepare, reopen
    stage.leave()
  end)

  local function masked(text)
    return (text:gsub("%d%d:%d%d:%d%d", "TIME"):gsub("%d+%.%ds", "SECONDS"):gsub("%d+/[%d.]+>", "RUN>"))
  end

  --- What a person typed in a screen.
  local function typed(block)
    local answers = {}
    for line in block.text:gmatch "[^\n]+" do
      answers[#answers + 1] = line:match "^neap [^>]*> (.*)$" or line:match "^apply on .-%] (.*)$"
    end
    return answers
  end

  local function shows(screen, block)
    if not masked(screen):find(masked(block.text), 1, true) then
      error(("%s is not in what is seen:\n%s"):format(block.place, screen), 2)
    end
  end

  it("of the REPL is what is seen", function()
    local screens = manual.of("repl", "console")
    targets:answer("sql.query", "pg_stat_replication", { columns = { "client_addr", "state" },
      rows = { { client_addr = "10.0.4.88", state = "streaming" } } })
    local answers = typed(screens[1])
    table.move({ ":write", "prod", "" }, 1, 3, #answers + 1, answers)
    local more = typed(screens[2])
    table.move(more, 1, #more, #answers + 1, answers)
    on.answers = answers
    local screen = on:screen("repl --env encode/prod", true)
    shows(screen, screens[1])
    shows(screen, screens[2])
  end)

  it("at a failure is what is seen", function()
    local block = manual.of("people", "console")[1]
    targets:answer("host.read", "getent", "10.0.4.88       v88.example.org")
    targets.fail_at = 1
    local answers = typed(block)
    table.insert(answers, 1, "s")
    table.move({ ":q", "q" }, 1, 2, #answers + 1, answers)
    on.answers = answers
    shows(on:screen("run encode/release --env prod -p version=64 --yes", true), block)
  end)

  it("has a plan signed and run", function()
    local key, allowed = on:signer "bob"
    local policy = manual.of("people", "yaml")[1].text:gsub("/etc/neap/allowed_signers", allowed)
    local file = on.root .. "/procedures/encode/environments/prod.yml"
    policy = policy:gsub("not_runner: true", "not_runner: false") -- there is one login here
    fs.write(file, fs.read(file):gsub("policy:.*", "") .. policy, { mode = "0644" })
    local id
    for _, line in ipairs(sh "people") do
      line = line:match("^neap (.*)$"):gsub("3f9c1a", id or "")
      equal({ line, on:neap(line .. (line:find "^approve" and " --key " .. key or "")), }, { line, 0 })
      id = id or on.output:match "neap approve (%x+) "
    end
    truthy(targets:get("file.content", { host = "new", path = "/srv/63" }))
  end)

  it("of what neap is like is what is seen", function()
    local statuses = {}
    for i, line in ipairs(sh "README") do
      targets.fail_at = line:find "^neap r[ue][ns]" and targets.changed + 2 or nil
      statuses[i] = on:neap(line:match "^neap (.*)$")
    end
    equal(statuses, { 0, 0, 0, 5, 5, 0, 0 })
    equal(targets:get("file.content", { host = "proxy1", path = "/etc/nginx/nginx.conf" }).content, NGINX)
  end)
end)
