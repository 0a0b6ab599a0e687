--- What Tab offers, and what is kept of typed lines.
local complete = require "neap.cli.repl.complete"
local console  = require "neap.cli.view.console"
local cursor   = require "neap.cli.repl.cursor"
local fs       = require "native.fs"
local history  = require "neap.cli.repl.history"
local postgres = require "tests.postgres"
local process  = require "native.process"
local sitting  = require "neap.cli.repl.sitting"
local task     = require "native.task"

local FILES = {
  ["procedures/shop/lib.lua"] = "return { hello = function() end }",
  ["procedures/shop/open.lua"] = [[
phase "A"
step "One" { run = function() end }
step "Two" { run = function() end }
]],
}

local SILENT = [[
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(60)]]

local function names_of(at)
  local list = {}
  for i, one in ipairs(at.open) do list[i] = one.bracket .. one.before end
  return { at.quote or "", at.text, table.concat(list, " ") }
end

describe("where the cursor stands in Lua", function()
  it("is in a string, a comment, a name, in the calls round it", function()
    for text, expected in pairs {
      ["x = env.ho"] = { "", "env.ho", "" },
      ["file.read(env.hosts['new'], '/et"] = { "'", "/et", "(file.read" },
      ["a(b, { c = 1, d"] = { "", "d", "(a {" },
      ["env.hosts[\"n"] = { '"', "n", "[env.hosts" },
      ["'a \\' b' .. x:"] = { "", "x:", "" },
      ["f '/x"] = { "'", "/x", "(f" },
      ["f(g(1), h[2], ["] = { "", "", "(f [" },
      ["x = [[long ( text"] = { "[[", "long ( text", "" },
      ["f(1) -- a comment ( \n g("] = { "", "", "(g" },
    } do
      equal({ text, names_of(cursor.at(text)) }, { text, expected })
    end
    equal(cursor.at("x = 1 -- f(").comment, true)
  end)
end)

describe("any text before the cursor", function()
  it("is looked through without a mistake, in time that grows with it", function()
    local pieces, seed = { "'", '"', "[[", "]]", "[=[", "--", "\n", "(", ")", "{", "}", "[", "]", "env.hosts", ":", ".",
      "\\", " ", ",", "x", "\xff", "é", "function" }, 20261126
    for _ = 1, 3000 do
      local text = {}
      for i = 1, 30 do
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        text[i] = pieces[seed // 65536 % #pieces + 1]
      end
      local at = cursor.at(table.concat(text))
      equal(type(at.text), "string")
    end
    equal(cursor.at(("f("):rep(2000) .. "x").text, "x")
  end)
end)

describe("Tab at neap repl", function()
  local root, getenv, sits

  local function sit(environment, procedure)
    root = fs.realpath(scratch())
    FILES["procedures/shop/environments/lab.yml"] = environment
    for path, text in pairs(FILES) do
      fs.mkdir(root .. "/" .. path:match "^(.*)/", "0755")
      fs.write(root .. "/" .. path, text, { mode = "0644" })
    end
    local set = { NEAP_PATH = root, XDG_STATE_HOME = root .. "/state", COLUMNS = "80" }
    getenv = os.getenv
    rawset(os, "getenv", function(name) return set[name] or getenv(name) end)
    sits = sitting.open { env = "shop/lab", procedure = procedure, console = console.new {} }
  end

  after_each(function()
    if sits then sits.session:leave() end
    rawset(os, "getenv", getenv)
    sits = nil
  end)

  local function offered(text) return (complete.names(text, sits)) end

  local function has(text, ...)
    local there = {}
    for _, name in ipairs(offered(text)) do there[name] = true end
    for _, name in ipairs { ... } do truthy(there[name] or error(("%s does not offer %s"):format(text, name), 2)) end
  end

  it("offers words, methods, names of the environment, keys of options and commands", function()
    sit("hosts: { web-1: { ssh: w1 }, both: [{ name: a, ssh: a }, { name: b, ssh: b }] }\n"
      .. "values: { folder: /srv }\nsecrets: { key: env:K }\n")
    equal(offered "fi", { "file" })
    has("x = ", "env", "nginx", "local", "tostring")
    has("env.", "hosts", "databases", "secrets", "folder", "name")
    equal(offered "env.hosts.", { "a", "b", "both", "local" })
    equal(offered "env.hosts['", { "a", "b", "both", "local", "web-1" })
    equal(offered "env.hosts['web-1']:", { "read", "read_shell", "run", "shell" })
    equal(offered "env.hosts.both[1]:run", { "run" })
    equal(offered "env.secrets.", { "key" })
    has("file.w", "write")
    has("file.write(env.hosts['local'], '/x', 'text', { ", "mode = ", "owner = ", "keep = ")
    has("env.hosts['local']:read({ 'ls' }, { ", "cwd = ", "become = ")
    has("(\"x\"):", nil)
    equal(offered ":w", { "write" })
    equal(offered "require 'shop.", { "shop.lib", "shop.open" })
    equal(offered "x = -- fi", {})
    equal(offered "nothing.at.", {})
  end)

  it("offers names that lines have set, and steps of the procedure", function()
    sit("values: {}\n", "shop/open")
    sits:take "my_name = { inner = 1 }"
    equal(offered "my_", { "my_name" })
    equal(offered "my_name.", { "inner" })
    equal(offered ":step 1", { "1.1", "1.2" })
    equal(sits.unfinished, nil)
  end)

  it("offers files of the host that a call is about, no names that would end the text", function()
    sit "values: {}\n"
    for _, name in ipairs { "alpha.conf", "alpine", "a'b" } do
      fs.write(root .. "/" .. name, "", { mode = "0644" })
    end
    fs.mkdir(root .. "/albums", "0755")
    equal(offered(("file.read(env.hosts['local'], '%s/al"):format(root)),
      { root .. "/albums/", root .. "/alpha.conf", root .. "/alpine" })
    equal(offered(("env.hosts['local']:read { 'cat', '%s/alp"):format(root)),
      { root .. "/alpha.conf", root .. "/alpine" })
    equal(offered(("'%s/al"):format(root)), {})
    equal(#offered(("file.read(env.hosts['local'], '%s/a"):format(root)), 3)
  end)

  it("offers tables and columns of a database", function()
    local server = postgres.start()
    server.sql "drop table if exists shelves; create table shelves (shelf_number int, what text)"
    local secret = scratch() .. "/password"
    fs.write(secret, server.password, { mode = "0600" })
    sit(("databases:\n  main: { postgres: localhost, port: %d, user: %s, database: postgres, ca: %s, "
      .. "password: 'file:%s' }\n"):format(server.port, server.user, server.ca, secret))
    equal(offered "env.databases.main:query 'select * from shelv", { "shelves" })
    equal(offered "env.databases.main:query('select shelf_", { "shelf_number" })
    server.sql "drop table shelves"
    equal(offered "env.databases.main:query 'select * from shelv", { "shelves" })
  end)

  it("gives up a target that does not answer in time, and does not ask it again at once", function()
    local silent = process.spawn({ "python3", "-c", SILENT }, { reads = true })
    sit(("hosts: { silent: { ssh: 127.0.0.1, port: %d } }\n"):format(silent:read()))
    local begun = task.now()
    equal(offered "file.read(env.hosts.silent, '/etc/", {})
    equal(offered "file.read(env.hosts.silent, '/etc/", {})
    truthy(task.now() - begun < 10)
    silent:close()
    task.sleep(0.3) -- until the session that was being opened has failed
    equal(sits.session.number, nil)
  end)

  it("puts there what all have in common, and lists them where nothing more can be put", function()
    sit "values: { folder_one: a, folder_two: b }\n"
    equal({ complete.at("env.fo", sits) }, { "lder_" })
    equal({ complete.at("env.folder_", sits) }, { "", "folder_one  folder_two\n" })
    equal({ complete.at("env.folder_o", sits) }, { "ne" })
    equal({ complete.at("zzz", sits) }, { "" })
  end)
end)

describe("typed lines", function()
  it("are not kept where they hold what looks like a secret, or begin with a space", function()
    for _, line in ipairs { "x = 1", "env.secrets.token", "postgres.promote(env.hosts.new, '9.3/main')",
      "f { keep = 'because' }", "db:query 'select token from sessions'" } do
      equal({ line, history.may_keep(line) }, { line, true })
    end
    for _, line in ipairs { " x = 1", "", "f { password = 'abc' }", "token = \"abc\"", "f{ ['api_key'] = 'x' }",
      "db:execute \"create user x identified by 'abc'\"", "x.secret_key='a'",
      "db:execute [[alter role x password 'y']]" } do
      equal({ line, history.may_keep(line) }, { line, false })
    end
  end)

  it("are not kept where they hold a secret that neap knows", function()
    local secret = require "native.secret"
    local value = secret.literal("a-most-unusual-4711-word", secret.keyring(), "env:X")
    equal(history.may_keep "print 'a-most-unusual-4711-word'", false)
    truthy(value)
  end)
end)
