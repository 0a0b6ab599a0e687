local environment = require "neap.environment"
local fs          = require "native.fs"

local root

before_each(function() root = fs.realpath(scratch()) end)

local function write(name, text)
  local folder = root .. "/procedures/encode/environments"
  fs.mkdir(folder, "0755")
  fs.write(folder .. "/" .. name, text, { mode = "0644" })
  return folder .. "/" .. name
end

local function load(text) return environment.load(write("lab.yml", text)) end

local function refused(text)
  local failure = raises(load, text)
  return (failure.where or "") .. failure.message
end

describe("environment", function()
  it("is named after its group and file", function()
    local env = load "values: { a: 1 }"
    equal({ env.name, env.group }, { "encode/lab", "encode" })
    equal(env.values, { a = "1" })
    equal(env.files, { ["procedures/encode/environments/lab.yml"] = "values: { a: 1 }" })
  end)

  it("may be empty", function()
    equal(load("# nothing yet\n").values, {})
  end)

  it("merges maps deeply with what it extends, and replaces lists and texts", function()
    write("base.yml", "values:\n  pg: { version: 9.3, cluster: main }\n  names: [a, b]\n  x: base\n")
    local env = load "extends: base.yml\nvalues:\n  pg: { version: 15 }\n  names: [c]\n"
    equal(env.values, { pg = { version = "15", cluster = "main" }, names = { "c" }, x = "base" })
  end)

  it("says whose account of AWS it is, where, and as whom", function()
    local env = load("aws: { profile: prod, region: us-west-2, account: 012345678901,\n"
      .. "  endpoints: { s3: 'https://s3.lab' } }\n")
    equal(env.aws, { profile = "prod", region = "us-west-2", account = "012345678901",
      endpoints = { s3 = "https://s3.lab" } })
    for text, problem in pairs {
      ["acount: 1"] = "aws has no key 'acount'. Did you mean 'account'?",
      ["late: 5"] = "aws.late is for another server than AWS's",
      ["late: soon\n  endpoint: 'http://127.0.0.1:1'"] = "aws.late is a number of seconds",
      ["account: 123"] = "aws.account is a number of",
      ["accounts: { dev: 123 }"] = "aws.accounts of dev is a number of",
      ["region: here"] = "aws.region is a region", ["endpoint: s3.lab"] = "aws.endpoint is no URL",
      ["endpoints: [a]"] = "aws.endpoints is a map", ["endpoints: { s3: x }"] = "aws.endpoints of s3 is no URL",
    } do
      local said = refused("values: {}\naws:\n  " .. text)
      truthy(said:find(problem, 1, true))
      matches(said, "lab.yml:3: ")
    end
    equal(load("values: { r: us-west-2 }\naws: { region: $(r), account: $(later) }").aws.region, "us-west-2")
  end)

  it("says how clusters are reached, by keys that are known and hosts that are there", function()
    local env = load "clusters: { opus: { context: night, namespace: rdw, expect_version: '1.30' } }"
    equal(env.clusters.opus, { context = "night", namespace = "rdw", expect_version = "1.30" })
    matches(refused "clusters: { opus: { contxt: night } }", "lab.yml:1: cluster 'opus' has no key 'contxt'.*context")
    matches(refused "clusters: { opus: { namespace: rdw } }", "cluster 'opus' has no context")
    matches(refused "clusters: { opus: night }", "cluster 'opus' is a map")
    matches(refused "clusters: { opus: { context: night, via: bastion } }", "'bastion', which is no host")
  end)

  it("takes away what is said to be nothing", function()
    write("base.yml", "values: { a: 1, b: 2 }")
    equal(load("extends: base.yml\nvalues: { a: ~ }").values, { b = "2" })
  end)

  it("leaves texts that look like something else as they are", function()
    equal(load("values: { a: on, b: no, c: 9.30, d: 0x10 }").values, { a = "on", b = "no", c = "9.30", d = "0x10" })
  end)

  it("knows where a value came from, and what it replaced", function()
    write("base.yml", "values:\n  x: base\n")
    local env = load "extends: base.yml\nvalues:\n\n  x: mine\n"
    local origin = environment.origin(env, "values.x")
    equal({ origin.file, origin.line, origin.value }, { "procedures/encode/environments/lab.yml", 4, "mine" })
    equal({ origin.overrode.line, origin.overrode.value }, { 2, "base" })
    equal(environment.origin(env, "x"), origin)
    matches(raises(environment.origin, env, "values.y").message, "has no 'values.y'")
  end)

  it("refuses files that extend one another, and one that is not there", function()
    write("a.yml", "extends: lab.yml")
    matches(refused "extends: a.yml", "a.yml:1: these files extend one another")
    matches(refused "\nextends: b.yml", "lab.yml:2: it extends b.yml, which is not there")
  end)

  it("refuses a file outside its repository", function()
    local other = scratch() .. "/secret.yml"
    fs.write(other, "values: {}", { mode = "0600" })
    matches(refused("extends: " .. ("../"):rep(20) .. other:sub(2)), "outside the repository")
  end)

  it("refuses a file that everybody may write to", function()
    local path = write("lab.yml", "values: {}")
    os.execute("chmod o+w " .. path)
    local failure = raises(environment.load, path)
    equal(failure.kind, "denied")
    matches(failure.hint, "chmod o%-w")
  end)

  it("refuses keys it does not know, and names the near one", function()
    matches(refused "values: {}\nhost: {}\n", "lab.yml:2: an environment has no key 'host'. Did you mean 'hosts'")
    matches(refused "hosts:\n  a: { ssh: x, prot: 1 }", "lab.yml:2: host 'a' has no key 'prot'. Did you mean 'port'")
    matches(refused "policy:\n  on_failrue: rollback",
      "lab.yml:2: policy has no key 'on_failrue'. Did you mean 'on_failure'")
    matches(refused "policy: { window: { day: [tue] } }", "policy.window has no key 'day'. Did you mean 'days'")
    matches(refused "policy: { window: { from: night } }", "policy.window.from: \"night\" is no time")
    matches(refused "policy: { approvals: 2 }", "policy.approvals is a map of allowed_signers, need, not_runner")
    matches(refused "policy: { on_failure: explode }", "policy.on_failure is 'explode'; it may be stop, rollback")
  end)

  it("names the line of what is no YAML", function()
    matches(refused "values:\n  - a\n b: 1\n", "lab.yml:%d")
  end)
end)

describe("environment repositories", function()
  it("are known by their names, with what git needs to know", function()
    local env = load [[
hosts: { jump: { ssh: jump } }
values: { home: /srv }
repositories:
  deploy: { git: ~/git/RDW_Deploy_Opus, remote: "git@example.org:x.git", branch: v1_1, on: jump, become: deploy }
  config: { git: $(home)/config }
]]
    equal(env.repositories.deploy, { name = "deploy", git = "~/git/RDW_Deploy_Opus", remote = "git@example.org:x.git",
      branch = "v1_1", on = "jump", become = "deploy" })
    equal(env.repositories.config, { name = "config", git = "/srv/config" })
  end)

  it("are refused with keys that nobody knows, without a folder, and on what is no host", function()
    matches(refused "repositories:\n  x: { git: /a, brnch: b }", "lab.yml:2: .*no key 'brnch'.*Did you mean 'branch'")
    matches(refused "repositories: { x: { remote: b } }", "lacks git")
    matches(refused "repositories: { x: { git: a/b } }", "absolute or below ~/")
    matches(refused "repositories: { x: /a }", "is a map")
    matches(refused "hosts: { jump: { ssh: j } }\nrepositories: { x: { git: /a, on: jmp } }",
      "lies on 'jmp', which is no host.*'jump'")
    matches(refused "hosts: { two: [ { name: a, ssh: a } ] }\nrepositories: { x: { git: /a, on: two } }", "a group")
  end)
end)

describe("environment hosts", function()
  it("are known by their names, alone and in groups", function()
    local env = load [[
hosts:
  old: { ssh: old.example.org, become: root, port: 2222 }
  proxies:
    - { name: proxy1, ssh: 10.0.0.1 }
    - { name: proxy2, ssh: 10.0.0.2 }
  some: [old, proxy1]
]]
    equal(env.hosts.old, { name = "old", ssh = "old.example.org", become = "root", port = 2222 })
    equal(env.hosts.proxies[2], { name = "proxy2", ssh = "10.0.0.2" })
    truthy(env.hosts.proxies[1] == env.hosts.proxy1)
    equal(env.hosts["local"], { name = "local" })
  end)

  it("of a group may be named from elsewhere", function()
    local env = load "hosts:\n  zebra: { ssh: z }\n  animals: [zebra]\n"
    equal(env.hosts.animals, { env.hosts.zebra })
  end)

  it("have one name each, an address, and a number for a port", function()
    local function message(text) return tostring(raises(load, text)) end
    matches(message "hosts:\n  a: { ssh: x }\n  b: [{ name: a, ssh: y }]",
      "lab.yml:3: two hosts or groups are called 'a'")
    matches(message "hosts:\n  a: { port: 1 }", "lab.yml:2: host 'a' has no ssh")
    matches(message "hosts:\n  a: { ssh: x, port: ssh }", "lab.yml:2: port of host 'a' is no number: ssh")
    matches(message "hosts:\n  b:\n    - { ssh: y }", "lab.yml:3: a host of a group needs a name")
    matches(message "hosts:\n  alpha: { ssh: x }\n  b: [alpa]", "lab.yml:3: no host 'alpa'. Did you mean 'alpha'")
    matches(message "hosts:\n  local: { ssh: x }", "'local' is this machine")
  end)
end)

describe("references", function()
  it("to values are resolved when the file is read", function()
    local env = load [[
values:
  zone: example.org
  full: www.$(zone)
  list: [a, b]
  copy: $(list)
  deep: $(map.x)
  map: { x: 1 }
]]
    equal(env.values.full, "www.example.org")
    equal(env.values.copy, { "a", "b" })
    equal(env.values.deep, "1")
  end)

  it("to arguments wait for the run", function()
    local env = load "hosts:\n  new: { ssh: v$(release).$(zone) }\nvalues: { zone: org }\n"
    equal(env.hosts.new.ssh, "v$(release).org")
    equal(environment.resolve(env, { release = 88 }).hosts.new.ssh, "v88.org")
    equal(env.hosts.new.ssh, "v$(release).org")
  end)

  it("to nothing are errors at their line, once the arguments are known", function()
    local env = load "values:\n  a: $(relase)\n"
    local failure = raises(environment.resolve, env, { release = "88" })
    matches(failure.where .. failure.message, "lab.yml:2: $%(relase%) is neither a value nor an argument")
    matches(failure.message, "Did you mean 'release'")
  end)

  it("in a circle are errors", function()
    matches(tostring(raises(load, "values:\n  a: $(b)\n  b: x$(a)\n")), "lab.yml:%d: $%(%a%) refers to itself")
  end)

  it("to a list cannot stand within a text", function()
    matches(tostring(raises(load, "values:\n  a: [1]\n  b: x$(a)\n")), "lab.yml:3: $%(a%) is a list or a map")
  end)
end)

describe("a group of hosts", function()
  local process = require "native.process"
  local user = process.user

  before_each(function()
    process.user = function() return { name = "ops", uid = 1, home = root .. "/home" } end
  end)

  after_each(function() process.user = user end)

  local function names_of(env, group)
    local names = {}
    for i, host in ipairs(environment.resolve(env, {}).hosts[group]) do names[i] = host.name .. "=" .. host.ssh end
    return names
  end

  local function unresolved(text)
    local failure = raises(function() environment.resolve(load(text), {}) end)
    return (failure.where or "") .. failure.message
  end

  it("may be spelt out, with how many there must be", function()
    local env = load [[
hosts:
  web: { from: static, hosts: [ { name: a, ssh: x }, { name: b, ssh: y } ], expect: { min: 2 } }]]
    equal(names_of(env, "web"), { "a=x", "b=y" })
    equal(env.hosts.a.ssh, "x")
    matches(unresolved "hosts:\n  web:\n    from: static\n    hosts: []\n    expect: { min: 2 }",
      "lab.yml:5: group 'web': 0 found, expected are at least 2")
    matches(unresolved "hosts:\n  web: { from: static, hosts: [ { name: a, ssh: x } ], expect: { min: 2, max: 3 } }",
      "1 found, expected are 2 to 3")
  end)

  it("is found in ssh_config, with what that includes, when a run begins", function()
    fs.mkdir(root .. "/home/.ssh/conf.d", "0700")
    fs.write(root .. "/home/.ssh/config", "Include conf.d/*.conf\nHost web1 web2\n  User x\nHost *\nHost db1\n", {})
    fs.write(root .. "/home/.ssh/conf.d/a.conf", "Host web3\nhost=web1\n", {})
    local env = load "hosts:\n  web: { from: ssh_config, match: web*, user: deploy, expect: { min: 1, max: 3 } }"
    equal(env.hosts.web, {})
    equal(names_of(env, "web"), { "web1=web1", "web2=web2", "web3=web3" })
    equal(environment.resolve(env, {}).hosts.web1.user, "deploy")
    matches(unresolved "hosts:\n  web: { from: ssh_config, match: mail*, expect: { min: 1 } }", "0 found")
  end)

  it("is found in ssh_config also where files include one another", function()
    fs.mkdir(root .. "/home/.ssh/loop", "0700")
    fs.write(root .. "/home/.ssh/config", "Include loop/*\nInclude loop/*\nHost web9\n", {})
    for i = 1, 4 do fs.write(("%s/home/.ssh/loop/%d"):format(root, i), "Include loop/*\nInclude loop/*\n", {}) end
    equal(names_of(load "hosts:\n  web: { from: ssh_config, match: web* }", "web"), { "web9=web9" })
  end)

  it("is listed by a program only where the policy names it", function()
    local program = root .. "/list"
    fs.write(program, "#!/bin/sh\necho '# all'\necho a 10.0.0.1\necho b\n", { mode = "0755" })
    local text = ("policy: { allow_exec: [ %s ] }\nhosts:\n  web: { from: command, command: [ %s ] }"):format(program,
      program)
    equal(names_of(load(text), "web"), { "a=10.0.0.1", "b=b" })
    matches(unresolved(text:gsub("^[^\n]*\n", "")), "may not be run to list hosts")
    fs.write(program, "#!/bin/sh\nexit 3\n", { mode = "0755" })
    matches(unresolved(text), "lists no hosts %(exit status 3%)")
  end)

  it("refuses what it does not know", function()
    matches(unresolved "hosts: { web: { from: dns, hosts: [] } }", "not 'dns'")
    matches(unresolved "hosts: { web: { from: command } }", "lacks command")
    matches(unresolved "hosts: { web: { from: static, hosts: [], expct: 1 } }", "no key 'expct'. Did you mean 'expect'")
    matches(unresolved "hosts: { web: { from: static, hosts: [], expect: { mn: 1 } } }", "no key 'mn'")
  end)
end)
