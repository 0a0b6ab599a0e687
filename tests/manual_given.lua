--- What the examples of the manual find there, by chapter: files of the repository, states and answers of targets in
--- memory, arguments; or real servers, which an environment names.
local fs       = require "native.fs"
local postgres = require "tests.postgres"
local sshd     = require "tests.sshd"

--- @class manual.given
--- @field arguments? table<string, string>
--- @field files? table<string, string>  of the repository, by path
--- @field targets? fun(trial: neap.trial)
--- @field real? fun(folder: string): string  makes what is asked in truth, and gives what the environment says of it

--- @type table<string, manual.given>
local given = {}

given.architecture = { targets = function(trial) trial:put("site.motd", "web", "welcome\n") end }

given.authors = { targets = function(trial)
  trial:file("web", "/etc/apache2/sites-available/site.conf", "ProxyPass / http://v87/\n")
  trial:answer("service.test", "configtest", { status = 0 })
end }

given["aws-resources"] = { targets = function(trial)
  trial:answer("ec2.security_group_id", "rdw%-redshift", "sg-0a1b")
  trial:put("redshift.roles", { service = "redshift", account = "AWS default", cluster = "rdw-opus" }, {})
end }

given.configuration = { targets = function(trial)
  trial:file("web", "/etc/app/application.yml",
    "spring:\n  datasource: { url: old, password: old }\narchive: { root: here }\nlegacy: true\n")
end }

given.http = { targets = function(trial)
  trial:answer("http.read", "_cluster/health", { status = 200, headers = {}, body = '{"status":"green"}' })
end }

given.network = {
  files = { ["procedures/lib/maintenance.lua"] = fs.read "procedures/lib/maintenance.lua" },
  targets = function(trial)
    trial:answer("dns.query", "encode.example.org", { { type = "CNAME", value = "new.example.org", ttl = 60 } })
    trial:answer("route53.zone", nil, "Z0123456789ABCDEFGHIJ")
    trial:answer("route53.list", nil,
      { { name = "www.encode.example.org.", type = "CNAME", ttl = 60, values = { "web1.example.org" } } })
    local asked = 0
    trial:answer("dns.query", "www.encode.example.org", function()
      asked = asked + 1
      return { { type = "CNAME", value = asked < 3 and "status.example.org" or "web1.example.org", ttl = 60 } }
    end)
  end,
}

given.people = { targets = function(trial)
  local asked = 0
  trial:answer("host.read", "carrier", function()
    asked = asked + 1
    return asked > 1 and "1" or "0"
  end)
end }

given.s3 = { targets = function(trial)
  trial:answer("s3.files", "/srv/logs/v88", { { name = "a.log", path = "/srv/logs/v88/a.log", size = 1,
    digest = ("0"):rep(64) } })
end }

given.git = { real = function(folder)
  local make = ([[set -e
    git init -q --bare %s/remote.git
    git clone -q %s/remote.git %s/RDW_Deploy_Opus
    cd %s/RDW_Deploy_Opus
    git checkout -q -b master
    echo "image: task:1.0.3" >task-service.yml
    git add . && git -c user.name=ann -c user.email=ann@example.org commit -qm first && git push -q -u origin master
    git config user.name ann && git config user.email ann@example.org]]):gsub("%%s", folder)
  sshd.run { "sh", "-c", make }
  return ("repositories:\n  deploy: { git: %s/RDW_Deploy_Opus }\n"):format(folder)
end }

--- A database of its own in a real server.
local function database(name, tables)
  local server = postgres.start()
  server.sql(("drop database if exists %s; create database %s"):format(name, name))
  server.sql(tables, name)
  return ("databases:\n  main: { postgres: %s, port: %d, database: %s, user: postgres, password: null, ca: null }\n")
    :format(server.socket, server.port, name)
end

given.sql = { real = function()
  return database("manual_sql", [[
    create table people (id integer primary key, name text, state text, account integer);
    insert into people values (7, 'Ann', 'new', null), (8, 'Bob', 'old', null);
    create table events (size integer); insert into events values (1), (2);
    create table accounts (id serial primary key, owner integer);]])
end }

given.scripts = {
  arguments = { schema = "app" },
  files = {
    ["procedures/shop/load.sql"] = "create table :schema.parts (id integer);\n",
    ["procedures/shop/unload.sql"] = "drop table :schema.parts;\n",
  },
  real = function() return database("manual_scripts", "create schema app") end,
}

return given
