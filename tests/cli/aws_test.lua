--- `neap doctor aws`, beside a server that answers as STS does.
local clock  = require "native.clock"
local golden = require "tests.cli.golden"
local json   = require "native.json"
local sshd   = require "tests.sshd"
local stage  = require "tests.cli.stage"
local world  = require "tests.targets.aws.world"

local CONFIG = "[profile deploy]\nregion = eu-west-1\ncredential_process = PROGRAM\n" ..
  "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/deploy\nsource_profile = base\n"
local KEYS = "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = qJ8+vault-of-the-lab\n"
local PROGRAM = [[#!/bin/sh
echo '{"Version": 1, "AccessKeyId": "ASIAPROGRAM", "SecretAccessKey": "sK/teal-otter+9", "SessionToken": "t0k/pine",
  "Expiration": "2100-01-01T00:00:00Z"}'
]]

describe("neap doctor aws", function()
  local on, peer, home

  before_each(function()
    home = scratch()
    peer = world.server { "python3", "tests/targets/aws/identity.py" }
    sshd.write(home .. "/program", PROGRAM)
    sshd.run { "chmod", "700", home .. "/program" }
    world.home(home, { config = CONFIG:gsub("PROGRAM", home .. "/program"), credentials = KEYS })
    on = stage.new(scratch(), {
      ["procedures/shop/release.lua"] = "-- x\n",
      ["procedures/shop/environments/lab.yml"] = ([[
aws: { profile: deploy, account: "123456789012", endpoint: "%s", endpoints: { s3: "%s/objects" } }
policy: { allow_exec: ["%s/program"] }
]]):format(peer.url, peer.url, home),
      ["procedures/shop/environments/other.yml"] = ([[
aws: { profile: role, region: us-west-2, account: "210987654321", endpoint: "%s" }
]]):format(peer.url),
      ["procedures/shop/environments/none.yml"] = "aws: { profile: nobody }\n",
    })
    clock.virtual(false) -- a real server takes real time
  end)

  after_each(function()
    stage.leave()
    world.restore()
    peer:close()
  end)

  --- The screen, without what is another each time.
  local function screen(line)
    return (on:screen(line):gsub("127%.0%.0%.1:%d+", "127.0.0.1:PORT"):gsub("ok in [^\n]+", "ok in TIME")
      :gsub("20[%d-]+ [%d:]+ UTC, in about [^\n]+", "SOON"))
  end

  it("says whose credentials were found where, until when, and where it asks", function()
    golden("doctor-aws", screen "doctor aws --env shop/lab")
  end)

  it("says so of a role that another profile takes, and refuses another account than the environment's", function()
    local text = screen "doctor aws --env shop/other"
    golden("doctor-aws-other", text)
    matches(text, "exit status 9")
  end)

  it("says which places it looked at where there are no credentials", function()
    equal(on:neap "doctor aws --env shop/none", 9)
    local text = on.output:gsub("%s+", " ")
    matches(text, "WRONG there is no AWS profile nobody in /%S+/.aws/config and /%S+/.aws/credentials")
    matches(text, "0 of 1 ok")
  end)

  it("says it as JSON, and no secret", function()
    equal(on:neap "doctor aws --env shop/lab --json", 0)
    local model = json.decode(on.output)
    equal(model.good, #model.findings)
    equal(model.aws, { source = "credential_process of profile deploy", key = "ASIAPROGRAM",
      expires = "2100-01-01T00:00:00Z", region = "eu-west-1", region_from = "profile deploy", account = "123456789012",
      arn = "arn:aws:sts::123456789012:assumed-role/deploy/neap", endpoints = {
        { service = "sts", url = peer.url, from = "aws.endpoint of the environment" },
        { service = "s3", url = peer.url .. "/objects", from = "aws.endpoints of the environment" } } })
    equal(on.output:find("teal", 1, true) or on.output:find("t0k", 1, true), nil)
  end)

  it("looks without an environment, too, at the profile that is named", function()
    world.home(home, {}, { AWS_ENDPOINT_URL_STS = peer.url, AWS_REGION = "us-east-2" })
    equal(on:neap "doctor aws --profile role", 0)
    matches(on.output, "us%-east%-2, of AWS_REGION")
    matches(on.output, "of AWS_ENDPOINT_URL_STS")
    matches(on.output, "123456789012, the environment names none")
    equal(on:neap "doctor aws --profile rloe", 9)
    matches(on.output:gsub("%s+", " "), "Did you mean 'role'")
  end)

  it("is part of what the doctor says of an environment with AWS", function()
    equal(on:neap "doctor --env shop/lab", 0)
    matches(on.output, "aws +credentials +ok")
  end)
end)
