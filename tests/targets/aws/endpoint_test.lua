local endpoint = require "neap.targets.aws.endpoint"
local fixture  = require "tests.targets.fixture"
local model    = require "neap.targets.aws.model"
local oracle   = require "tests.targets.aws.oracle"
local secret   = require "native.secret"
local world    = require "tests.targets.aws.world"

describe("endpoints of AWS", function()
  local home

  before_each(function()
    if not oracle.is_there() then skip "python3-botocore is not installed" end
    home = scratch()
  end)
  after_each(world.restore)

  local function within(fn)
    local run = fixture.run()
    run.keys = secret.keyring()
    return fixture.within(run, function(inner) return inner() end, fn)
  end

  it("are those of botocore, with what requests are signed for", function()
    local seed = oracle.seed()
    world.home(home, {})
    within(function()
      for _, case in ipairs(oracle.cases("endpoints", seed, 40)) do
        local at = endpoint.of(model.of(case.service), { region = case.region })
        equal({ case.service, case.region, at.host, at.name, at.region },
          { case.service, case.region, case.host, case.signs, case.signed_region })
      end
    end)
  end)

  -- Where a request to that service would go.
  local function host(service, settings, config, more)
    world.home(home, { config = config or "" }, more)
    return within(function()
      local at = endpoint.of(model.of(service), settings)
      return at.scheme .. "://" .. at.host .. at.path
    end)
  end

  it("can be given: by the call, the environment's section, the variables, the profile, in this order", function()
    local config = "[default]\nservices = own\nendpoint_url = http://localhost:8\n"
      .. "[services own]\nroute_53 =\n  endpoint_url = http://localhost:7\n"
    local variables = { AWS_ENDPOINT_URL_ROUTE_53 = "http://localhost:5", AWS_ENDPOINT_URL = "http://localhost:6" }
    local all = { endpoint = "http://localhost:1/x/", endpoints = { route53 = "http://localhost:2" },
      endpoint_url = "http://localhost:3", region = "us-west-2" }
    equal(host("route53", all, config, variables), "http://localhost:1/x")
    all.endpoint = nil
    equal(host("route53", all, config, variables), "http://localhost:2")
    equal(host("iam", all, config, variables), "http://localhost:3")
    local none = { region = "us-west-2" }
    equal(host("route53", none, config, variables), "http://localhost:5")
    equal(host("iam", none, config, variables), "http://localhost:6")
    equal(host("route53", none, config), "http://localhost:7")
    equal(host("iam", none, config), "http://localhost:8")
    equal(host("iam", none, config, { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "true" }), "https://iam.amazonaws.com")
  end)

  it("of the kinds FIPS and dual-stack are refused, not passed over", function()
    local failure = raises(host, "iam", {}, "", { AWS_USE_FIPS_ENDPOINT = "true" })
    equal(failure.kind, "denied")
    matches(failure.message, "AWS_USE_FIPS_ENDPOINT is set")
    equal(raises(host, "iam", {}, "[default]\nuse_dualstack_endpoint = true\n").kind, "denied")
  end)
end)
