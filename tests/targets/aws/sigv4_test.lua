local crypto = require "native.crypto"
local oracle = require "tests.targets.aws.oracle"
local secret = require "native.secret"
local sigv4  = require "neap.targets.aws.sigv4"

describe("signatures of AWS", function()
  local KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
  local TIME = "20261126T123045Z"
  local keys

  before_each(function() keys = secret.keyring() end)

  local function there()
    if not oracle.is_there() then skip "python3-botocore is not installed" end
  end

  local function credentials(token)
    return { key = KEY, secret = secret.literal(SECRET, keys), token = token and secret.literal(token, keys) }
  end

  local function request_of(case)
    return { method = case.method or "GET", host = "example.org", path = case.path, query = case.query,
      headers = case.headers or {}, body = case.body and crypto.unbase64(case.body) }
  end

  local function check_signed(case)
    local request = request_of(case)
    sigv4.sign(request, credentials(case.token), "us-west-2", case.service, TIME)
    equal({ case.service, case.path, request.headers.Authorization }, { case.service, case.path, case.authorization })
  end

  local function check_presigned(case)
    local query = sigv4.presigned(request_of(case), credentials(case.token), "us-west-2", TIME, case.seconds)
    local wanted = table.concat(case.presigned, "&")
    equal(secret.is(query), case.token ~= nil)
    local parts = {}
    for part in (secret.is(query) and secret.reveal(query) or query):gmatch "[^&]+" do parts[#parts + 1] = part end
    table.sort(parts)
    equal({ case.path, table.concat(parts, "&") }, { case.path, wanted })
  end

  it("are botocore's own, of odd paths and repeated parameters, with and without a session, and of URLs", function()
    there()
    local signed, presigned = 0, 0
    for _, case in ipairs(oracle.cases "signatures") do
      if case.presigned then
        check_presigned(case)
        presigned = presigned + 1
      else
        check_signed(case)
        signed = signed + 1
      end
    end
    equal({ signed, presigned }, { 432, 72 })
  end)

  it("leave the secret key and the session's token secrets", function()
    local request = { method = "GET", host = "example.org", path = "/", query = {}, headers = {} }
    sigv4.sign(request, credentials "token", "us-west-2", "iam", TIME)
    equal(secret.is(request.headers["X-Amz-Security-Token"]), true)
    equal(type(request.headers.Authorization), "string")
    equal(request.headers.Authorization:find(SECRET, 1, true), nil)
  end)
end)
