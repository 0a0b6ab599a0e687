-- The release of ENCODE with a cluster, of a server to look at alone, and of one node of a cluster anew.
local console = require "tests.lab.console"
local encode  = require "tests.lab.encode"

local function nodes(name, count)
  local list = {}
  for i = 0, count - 1 do list[name .. i] = "running" end
  return list
end

local function with(map, more)
  for key, value in pairs(more) do map[key] = value end
  return map
end

local function health() return console.on("new", "curl -s localhost:9200/_cluster/health") end

local CLUSTER = with(nodes("v88-data", 5), { ["v88-master"] = "running" })
local TEST    = with(nodes("v88-test-data", 5), { ["v88-test-master"] = "running" })

describe("encode/release", function()
  it("of a cluster builds nodes and master, and a test server of the same kind; the test proxy leads there", function()
    console.lab "reset"
    encode.run(0, "-p servers=clustered -p test_server=yes")
    local instances = with({}, CLUSTER)
    equal(encode.instances(), with(instances, TEST))
    matches(health(), '"status":"green".*"number_of_data_nodes":5')
    equal(console.on("new", "cat /var/log/elasticsearch.log | wc -l"), "2") -- copies of two indexes
    equal(encode.servers(), encode.AFTER)
    equal(console.shell "curl -s -H 'Host: test.encode.lab' http://proxy1/", "v88.test.lab\n")
  end)

  it("of a node puts it aside, builds one of its name, and sets the replicas", function()
    local cluster = with(encode.instances(), {}) -- of the run before
    console.on("new", "rm /var/lib/elasticsearch-stand-in.json")
    local before = encode.servers()
    encode.expect(0, encode.RUN .. " -p servers=node -p node=3")
    equal(encode.instances(), with({ ["v88-data3-replaced"] = "stopped" }, cluster))
    matches(health(), '"status":"green".*"number_of_data_nodes":5')
    equal({ encode.servers(), #console.mails() }, { before, 1 })
    -- and one that cannot be built is taken back
    console.shell "echo 0 >~/instance-limit"
    local output = encode.expect(5, encode.RUN .. " -p servers=node -p node=1")
    matches(output, "InstanceLimitExceeded")
    equal(encode.instances()["v88-data1-replaced"], "stopped")
    encode.expect(0, (encode.BACK:gsub("rollback 1", "rollback 3")))
    equal(encode.instances(), with({ ["v88-data3-replaced"] = "stopped" }, cluster))
  end)

  it("of a cluster that is half made is rolled back to no instance at all", function()
    console.lab "reset"
    local before = encode.state()
    console.shell "echo 3 >~/instance-limit"
    local output = encode.run(5, "-p servers=clustered")
    matches(output, "InstanceLimitExceeded")
    equal(encode.instances(), nodes("v88-data", 3))
    matches(encode.expect(5, encode.GO_ON), "3 of 5 instances v88%-data stand")
    encode.expect(0, encode.BACK)
    equal(encode.state(), before)
  end)

  it("of a demo server builds that alone; its run has no point of no return", function()
    console.lab "reset"
    local before = encode.state()
    local output = encode.run(0, "-p servers=demo")
    equal(output:find "The point of no return is passed", nil)
    equal(encode.instances(), { ["v88-test"] = "running" })
    local after = encode.state()
    equal({ after.files, after.servers, console.mails() }, { before.files, before.servers, {} })
  end)
end)
