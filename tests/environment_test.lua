local environment = require "neap.environment"
local fs          = require "native.fs"

describe("environment", function()
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
    matches(refused "policy: { on_failure: explode }", "policy.on_failure is 'explode'; it may be stop, rollback")
  end)

  it("names the line of what is no YAML", function()
    matches(refused "values:\n  - a\n b: 1\n", "lab.yml:%d")
  end)
end)

describe("environment hosts", function()
  local root

  before_each(function() root = fs.realpath(scratch()) end)

  local function load(text)
    local folder = root .. "/procedures/encode/environments"
    fs.mkdir(folder, "0755")
    fs.write(folder .. "/lab.yml", text, { mode = "0644" })
    return environment.load(folder .. "/lab.yml")
  end

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
  local root

  before_each(function() root = fs.realpath(scratch()) end)

  local function load(text)
    local folder = root .. "/procedures/encode/environments"
    fs.mkdir(folder, "0755")
    fs.write(folder .. "/lab.yml", text, { mode = "0644" })
    return environment.load(folder .. "/lab.yml")
  end

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
