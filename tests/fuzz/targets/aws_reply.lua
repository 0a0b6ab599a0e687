--- Replies of AWS, of each protocol: a result is of its shapes' types, and a refusal has a code. In: a byte for the operation
--- and one for the status, headers, NUL, the body.
local model = require "neap.targets.aws.model"
local parse = require "neap.targets.aws.parse"

local OPERATIONS = {
  { "sts", "AssumeRole" }, { "iam", "GetUser" }, { "iam", "ListUsers" }, { "s3", "ListObjectsV2" },
  { "s3", "GetObject" }, { "s3", "HeadObject" }, { "s3", "GetBucketTagging" }, { "route53", "ListResourceRecordSets" },
  { "dynamodb", "GetItem" }, { "dynamodb", "DescribeTable" }, { "sso", "GetRoleCredentials" },
  { "sns", "GetTopicAttributes" }, { "cloudformation", "DescribeStacks" }, { "sqs", "ReceiveMessage" },
  { "autoscaling", "DescribeAutoScalingGroups" }, { "ec2", "DescribeInstances" },
}

local TYPES = { structure = "table", list = "table", map = "table", string = "string", blob = "string",
  timestamp = "string", integer = "number", long = "number", float = "number", double = "number", boolean = "boolean",
  character = "string" }

local check

local within = {}

function within.structure(service, shape, value)
  for name, item in pairs(value) do
    truthy(shape.members[name], "a member that is in no model")
    check(service, service:shape(shape.members[name]), item, name)
  end
end

function within.list(service, shape, value)
  for _, item in ipairs(value) do check(service, service:shape(shape.member), item, "item") end
end

function within.map(service, shape, value)
  for key, item in pairs(value) do
    truthy(type(key) == "string", "a key that is no text")
    check(service, service:shape(shape.value), item, key)
  end
end

function check(service, shape, value, name)
  if shape.document or shape.jsonvalue then return end
  truthy(type(value) == TYPES[shape.type], ("%s is a %s, and its shape a %s"):format(name, type(value), shape.type))
  if within[shape.type] then within[shape.type](service, shape, value) end
end

local function headers_of(text)
  local headers = {}
  for name, value in text:gmatch "([^\n:]+):%s*([^\n]*)" do headers[name:lower()] = value end
  return headers
end

return {
  parsers = { "neap/targets/aws/parse.lua" },
  run = function(data)
    local which, status, rest = data:byte(1) or 0, data:byte(2) or 0, data:sub(3)
    local headers, body = parts(rest, 2)
    local operation = OPERATIONS[which % #OPERATIONS + 1]
    local service = model.of(operation[1])
    local reply = { status = 200 + status, headers = headers_of(headers), body = body }
    local problem = parse.problem(service, reply)
    truthy(type(problem.code) == "string" and type(problem.message) == "string", "a refusal without a code or message")
    attempt(parse.date, reply)
    local result = parse.result(service, operation[2], reply)
    check(service, service:shape(service:operation(operation[2]).output), result, operation[2])
  end,
}
