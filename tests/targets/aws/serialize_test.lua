local crypto    = require "native.crypto"
local json      = require "native.json"
local model     = require "neap.targets.aws.model"
local oracle    = require "tests.targets.aws.oracle"
local serialize = require "neap.targets.aws.serialize"
local sigv4     = require "neap.targets.aws.sigv4"
local xml       = require "native.xml"

describe("requests of AWS", function()
  local function decoded(text)
    return (text:gsub("%+", " "):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
  end

  -- A form as a set of its pairs. Numbers may be written in several ways.
  local function form(text)
    local pairs_of = {}
    for pair in text:gmatch "[^&]+" do
      local name, value = pair:match "^([^=]*)=?(.*)$"
      value = decoded(value)
      pairs_of[#pairs_of + 1] = decoded(name) .. "=" .. (value:find "^%d+%.%d+$" and tostring(tonumber(value)) or value)
    end
    table.sort(pairs_of)
    return pairs_of
  end

  local function plain(value)
    if type(value) ~= "table" then return value end
    local copy = {}
    for key, item in pairs(value) do copy[key] = plain(item) end
    return copy
  end

  local outline

  function outline(node)
    local parts = {}
    for i, child in ipairs(node) do parts[i] = outline(child) end
    return { name = node.name, attributes = node.attributes, text = node.text, elements = parts }
  end

  local function body_of(case, body)
    if body == "" then return "" end
    if case.protocol == "query" or case.protocol == "ec2" then return form(body) end
    if case.protocol == "rest-xml" and body:find "^%s*<" then
      local ok, node = pcall(xml.parse, body)
      return ok and outline(node) or body
    end
    local ok, value = pcall(json.decode, body)
    return ok and plain(value) or body
  end

  local function query_of(list)
    local pairs_of = {}
    for i, pair in ipairs(list) do
      pairs_of[i] = (pair:find "=" and pair or pair .. "="):gsub("(%d)%.0$", "%1"):gsub("True$", "true"):gsub("False$",
        "false")
    end
    table.sort(pairs_of)
    return pairs_of
  end

  local function lowered(headers)
    local map = {}
    for name, value in pairs(headers) do map[name:lower()] = value end
    return map
  end

  --- The request of neap as the oracle writes its own.
  local function made(case)
    local request = serialize.request(model.of(case.service), case.operation, case.parameters)
    local query = {}
    for pair in sigv4.query(request.query):gmatch "[^&]+" do query[#query + 1] = pair end
    return { method = request.method, host = (request.host_prefix or "") .. "example.org", path = request.path,
      query = query_of(query), headers = lowered(request.headers), body = body_of(case, request.body or "") }
  end

  local function expected(case)
    return { method = case.method, host = case.host, path = case.path, query = query_of(case.query),
      headers = case.headers, body = body_of(case, crypto.unbase64(case.body)) }
  end

  local function compare(seed, count)
    local protocols, compared = {}, 0
    for _, case in ipairs(oracle.cases("requests", seed, count, table.unpack(oracle.USED))) do
      local name = ("%s.%s, seed %d"):format(case.service, case.operation, seed)
      local ok, request = pcall(made, case)
      if not ok then error(name .. ": " .. tostring(request), 0) end
      equal(json.encode { name, request }, json.encode { name, expected(case) })
      protocols[case.protocol], compared = (protocols[case.protocol] or 0) + 1, compared + 1
    end
    return protocols, compared
  end

  it("are those of botocore, for every operation that upgrades use and a sample of all others", function()
    if not oracle.is_there() then skip "python3-botocore is not installed" end
    local seed = oracle.seed()
    local protocols, compared = compare(seed, 320)
    truthy(compared >= 320 + #oracle.USED)
    for _, protocol in ipairs { "query", "ec2", "json", "rest-json", "rest-xml" } do
      truthy(protocols[protocol] > 20)
    end
  end)
end)
