local fs      = require "native.fs"
local json    = require "native.json"
local model   = require "neap.targets.aws.model"
local pages   = require "neap.targets.aws.pages"
local path    = require "neap.targets.aws.path"
local process = require "native.process"
local sshd    = require "tests.sshd"
local world   = require "tests.targets.aws.world"

describe("models of AWS", function()
  after_each(world.restore)

  local SERVICE = { metadata = { protocol = "smithy-rpc-v2-cbor", endpointPrefix = "lab",
    protocols = { "smithy-rpc-v2-cbor", "query", "json" } },
    operations = { GetThing = { name = "GetThing", input = { shape = "Input", locationName = "own" } } },
    shapes = { Input = { type = "structure", locationName = "shape's", required = { "A" }, members = {} } } }

  -- A folder of models with one service.
  local function folder(name, service, packed)
    local root = scratch()
    for _, version in ipairs { "2019-01-01", "2020-01-01" } do
      fs.mkdir(("%s/%s/%s"):format(root, name, version))
      local file = ("%s/%s/%s/service-2.json"):format(root, name, version)
      service.metadata.apiVersion = version
      sshd.write(file, json.encode(service))
      if packed then process.run({ "gzip", file }, { reads = true }) end
    end
    world.variables { HOME = root, AWS_DATA_PATH = root }
  end

  it("are read plain and packed, the newest version, in a protocol that neap speaks", function()
    for _, packed in ipairs { false, true } do
      local name = packed and "lab-packed" or "lab-plain"
      folder(name, SERVICE, packed)
      local service = model.of(name)
      equal({ service.metadata.apiVersion, service.protocol }, { "2020-01-01", "json" })
      local shape = service:shape(service:operation("GetThing").input)
      equal({ shape.type, shape.locationName, shape.required[1] }, { "structure", "own", "A" })
    end
  end)

  it("that are not there are named with what is near", function()
    folder("lab-near", SERVICE, false)
    local failure = raises(model.of, "lab-neat")
    equal(failure.kind, "missing")
    matches(failure.message, "lab%-neat.*Did you mean 'lab%-near'")
    matches(raises(model.of, "../etc"), "is no name of a service")
  end)

  it("say of an operation whether it reads", function()
    for _, name in ipairs { "GetUser", "ListUsers", "DescribeStacks", "HeadObject", "Query", "Scan", "LookupEvents",
      "SearchResources", "AssumeRoleWithSAML" } do equal(model.reads(name), true) end
    for _, name in ipairs { "PutObject", "QueryAndDelete", "ScanAll", "DeleteUser", "Getaway", "SendEmail" } do
      equal({ name, model.reads(name) }, { name, false })
    end
  end)

  it("have paths into results: names, indices, projections, alternatives, and nothing more", function()
    local value = { A = { { B = "1", C = { { D = 1 }, { D = 2 } } }, { B = "2", C = { { D = 3 } } } }, E = "e" }
    equal(path.find(value, "A[].B"), { "1", "2" })
    equal(path.find(value, "A[].C[].D"), { 1, 2, 3 })
    equal({ path.find(value, "A[0].B"), path.find(value, "A[-1].B"), path.find(value, "X.Y || E") }, { "1", "2", "e" })
    equal({ path.find(value, "A[9].B"), path.find(value, "X[].Y") }, {})
    for _, text in ipairs { "length(A)", "A[?B=='1']", "A[].[B, C]", "A | B", "`1`" } do
      matches(raises(path.find, value, text), "says more than names")
    end
  end)

  it("have waiters, of which a failure ends the wait at once", function()
    local service = { name = "lab" }
    function service.waiter()
      return { operation = "GetThing", delay = 0.01, maxAttempts = 50, acceptors = {
        { matcher = "pathAll", argument = "Items[].State", expected = "ready", state = "success" },
        { matcher = "pathAny", argument = "Items[].State", expected = "broken", state = "failure" },
        { matcher = "error", expected = "NotYet", state = "retry" } } }
    end
    local looks
    local function wait(...)
      looks = { ... }
      return pages.wait(service, "ThingReady", {}, function()
        local look = table.remove(looks, 1)
        if look.error then require("native.error").raise { kind = "missing", code = look.error, message = "x" } end
        local items = {}
        for i, state in ipairs(look) do items[i] = { State = state } end
        return { Items = items }
      end, {})
    end
    equal(#wait({ error = "NotYet" }, {}, { "ready", "new" }, { "ready", "ready" }).Items, 2)
    local failure = raises(wait, { "new" }, { "broken", "ready" }, { "ready" })
    equal({ failure.kind, #looks }, { "remote", 1 })
    equal(raises(wait, { error = "Denied" }).code, "Denied")
  end)
end)
