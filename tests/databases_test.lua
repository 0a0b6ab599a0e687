local environment = require "neap.environment"
local fs          = require "native.fs"

describe("a database of an environment", function()
  local root

  before_each(function() root = fs.realpath(scratch()) end)

  local function load(text)
    local folder = root .. "/procedures/encode/environments"
    fs.mkdir(folder, "0755")
    fs.write(folder .. "/lab.yml", text, { mode = "0644" })
    return environment.load(folder .. "/lab.yml")
  end

  local function refused(entry)
    local failure = raises(load, "hosts: { jump: { ssh: j } }\ndatabases:\n  main: " .. entry .. "\n")
    matches(failure.where, "lab.yml:3")
    return failure.message
  end

  local function built(entry)
    return load("hosts: { jump: { ssh: j } }\ndatabases:\n  main: " .. entry).databases.main
  end

  it("says where it is by a host, a service, a folder of sockets", function()
    local main = built "{ postgres: db.example.org, port: 5433, user: app, read_timeout: 3h }"
    equal(main, { name = "main",
      engine = "postgres", dialect = "postgres", host = "db.example.org", port = 5433, user = "app", tls = "verify",
      read_timeout = 10800 })
    local service = built "{ postgres: service=rdw, dialect: redshift, host: rdw.example.org, via: jump }"
    equal({ service.service, service.host, service.via, service.dialect }, { "rdw", "rdw.example.org", "jump",
      "redshift" })
    local socket = built "{ mysql: /run/mysqld/mysqld.sock, database: app }"
    equal({ socket.socket, socket.tls, socket.engine, socket.dialect }, { "/run/mysqld/mysqld.sock", "off", "mysql",
      "mysql" })
  end)

  it("keeps its password as the reference it is", function()
    equal(built("{ mysql: db, password: env:DB_PASSWORD }").password, "env:DB_PASSWORD")
    matches(refused "{ mysql: db, password: hunter2 }", "password of database 'main': the secret stands there itself")
  end)

  it("goes without TLS only where nobody is in between", function()
    equal(built("{ postgres: localhost, tls: off }").tls, "off")
    equal(built("{ postgres: db, via: jump, tls: off }").tls, "off")
    matches(refused "{ postgres: db, tls: off }", "for sockets, for this machine and for tunnels")
    matches(refused "{ postgres: db, tls: maybe }", "verify or off")
  end)

  it("refuses what it does not know, and names the near key and host", function()
    matches(refused "{ postgres: db, pasword: env:X }", "no key 'pasword'. Did you mean 'password'")
    matches(refused "{ postgres: db, via: jumpp }", "names no host: jumpp. Did you mean 'jump'")
    matches(refused "{ user: x }", "by postgres or by mysql")
    matches(refused "{ postgres: a, mysql: b }", "by postgres or by mysql")
    matches(refused "{ mysql: service=rdw }", "services are PostgreSQL's")
    matches(refused "{ postgres: 'host=a dbname=b' }", "have keys of their own")
    matches(refused "{ postgres: db, dialect: mysql }", "postgres or redshift")
    matches(refused "{ postgres: db, port: high }", "is no number: high")
    matches(refused "{ postgres: db, read_timeout: long }", "is no time")
    matches(refused "db.example.org", "is a map")
  end)

  it("waits for the arguments of a run where its values refer to them", function()
    local env = load "databases: { main: { postgres: db-$(release), port: $(port), database: $(release) } }"
    equal(env.databases.main.port, "$(port)")
    local resolved = environment.resolve(env, { release = "v2", port = 5439 }).databases.main
    equal({ resolved.host, resolved.port, resolved.database }, { "db-v2", 5439, "v2" })
  end)
end)
