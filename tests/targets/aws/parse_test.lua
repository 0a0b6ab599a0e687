local crypto = require "native.crypto"
local json   = require "native.json"
local model  = require "neap.targets.aws.model"
local oracle = require "tests.targets.aws.oracle"
local parse  = require "neap.targets.aws.parse"

describe("replies of AWS", function()
  local function result_of(body)
    return parse.result(model.of "dynamodb", "DescribeTable", { status = 200, headers = {}, body = body })
  end

  local function there_are_models()
    if #model.services() == 0 then skip "no models of AWS are installed" end
  end

  it("are of the model's types whatever a server sends", function()
    there_are_models()
    local table = result_of [[{"Table": {"TableName": 7, "ItemCount": "12", "TableArn": ["a"], "KeySchema": 5,
      "CreationDateTime": 1e300, "StreamSpecification": {"StreamEnabled": "true"}, "TableStatus": {"a": "b"}}}]].Table
    equal(table, { TableName = "7", ItemCount = 12, CreationDateTime = "1e+300",
      StreamSpecification = { StreamEnabled = true } })
  end)

  it("that are no object are none, and null is an empty one", function()
    there_are_models()
    equal(result_of "null", {})
    for _, body in ipairs { "7", '"text"', "true", "<html/>" } do equal(raises(result_of, body).kind, "lost") end
    local problem = parse.problem(model.of "dynamodb", { status = 400, headers = {},
      body = '{"__type": 5, "message": {"a": 1}}' })
    equal({ problem.code, problem.message }, { "400", '{"__type": 5, "message": {"a": 1}}' })
  end)

  local function there()
    if not oracle.is_there() then skip "python3-botocore is not installed" end
  end

  -- Data without the marks of lists, so that an empty list and an empty object are the same.
  local function plain(value)
    if type(value) ~= "table" then return value end
    local copy = {}
    for key, item in pairs(value) do copy[key] = plain(item) end
    return copy
  end

  local function reply_of(case)
    return { status = case.status, headers = case.headers, body = crypto.unbase64(case.body) }
  end

  local function compare(seed)
    local protocols, compared = {}, 0
    for _, case in ipairs(oracle.cases("replies", seed, 320, table.unpack(oracle.USED))) do
      local name = ("%s.%s, seed %d"):format(case.service, case.operation, seed)
      local ok, result = pcall(parse.result, model.of(case.service), case.operation, reply_of(case))
      if not ok then error(name .. ": " .. tostring(result), 0) end
      equal(json.encode { name, plain(result) }, json.encode { name, plain(case.result) })
      protocols[case.protocol], compared = (protocols[case.protocol] or 0) + 1, compared + 1
    end
    return protocols, compared
  end

  it("say what botocore reads in them, for every operation that upgrades use and a sample of all others", function()
    there()
    local protocols, compared = compare(oracle.seed())
    truthy(compared >= 300)
    for _, protocol in ipairs { "query", "ec2", "json", "rest-json", "rest-xml" } do
      truthy(protocols[protocol] > 20)
    end
  end)

  it("that refuse have the code, the message and the request that botocore finds", function()
    there()
    for _, case in ipairs(oracle.cases("errors", oracle.seed(), 120)) do
      local problem = parse.problem(model.of(case.service), reply_of(case))
      equal({ case.service, problem.code, problem.message, problem.request },
        { case.service, case.code, case.message, case.request })
    end
  end)
end)
