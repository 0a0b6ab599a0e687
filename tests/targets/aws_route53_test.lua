local stage = require "tests.targets.aws.stage"

local PICTURE = [==[
r = client('route53')
zone = r.list_hosted_zones()['HostedZones'][0]['Id']
sets = r.list_resource_record_sets(HostedZoneId=zone)['ResourceRecordSets']
for s in sets: s.get('ResourceRecords', []).sort(key=str) # DNS knows no order of them
show(sorted(json.dumps(s, sort_keys=True) for s in sets))
]==]

local MAKE = [==[
r = client('route53')
zone = r.create_hosted_zone(Name='example.com', CallerReference='1')['HostedZone']['Id']
def put(**s): r.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={'Changes': [{'Action': 'CREATE',
  'ResourceRecordSet': s}]})
put(Name='lms.example.com', Type='CNAME', TTL=300, ResourceRecords=[{'Value': 'lb.example.com'}])
put(Name='studio.example.com', Type='A', TTL=60, ResourceRecords=[{'Value': '192.0.2.2'}, {'Value': '192.0.2.1'}])
put(Name='w.example.com', Type='A', TTL=60, SetIdentifier='one', Weight=10, ResourceRecords=[{'Value': '192.0.2.9'}])
show(zone)
]==]

describe("route53", function()
  local world

  before_each(function() world = stage.with(scratch(), MAKE) end)
  after_each(stage.leave)

  it("makes, changes and takes away records of a zone at once, and puts them back", function()
    world:there_and_back(PICTURE, { [[
      route53.records("example.com", {
        { name = "lms.example.com", type = "CNAME", ttl = 60, values = { "new.example.com" } },
        { name = "www.example.com", type = "A", ttl = 60, values = { "192.0.2.7" } },
        { name = "studio.example.com", type = "A", absent = true },
        { name = "w.example.com", type = "A", set = "one", weight = 0, ttl = 60, values = { "192.0.2.9" } },
      })]] }, function(now, plan)
      matches(table.concat(now), "new.example.com")
      equal(table.concat(now):find("studio", 1, true), nil)
      matches(plan.phases[1].steps[1].effects[1].before_text, "lms.example.com. 300 CNAME lb.example.com")
    end)
  end)

  it("points names to a maintenance page and back", function()
    world:there_and_back(PICTURE, { [[
      route53.point("example.com", { "lms.example.com", "studio.example.com" },
        { alias = { zone = route53.CLOUDFRONT, name = "d111.cloudfront.net" } })]] }, function(now)
      equal(select(2, table.concat(now):gsub("d111.cloudfront.net", "")), 2)
    end)
  end)

  it("lists what names have, as it is taken to put it back", function()
    world:trial({ [[
      local list = route53.list("example.com", { "lms.example.com", "w.example.com." })
      if #list ~= 2 or list[1].values[1] ~= "lb.example.com" or list[2].weight ~= 10 then fail "other records" end
      route53.records("example.com", list)]] }):run "done"
  end)

  it("takes a zone by the id that Route 53 gives it, with and without its path", function()
    local path = world:boto "show(client('route53').list_hosted_zones()['HostedZones'][0]['Id'])"
    for _, zone in ipairs { path, path:match "[^/]+$" } do
      world:trial({ ('if #route53.list(%q, { "lms.example.com" }) ~= 1 then fail "none" end'):format(zone) }):run "done"
    end
    for _, zone in ipairs { "Z1D633PJN98FT9", "Z0423578ABCDEFGHIJKL" } do
      local failure = world:refused(PICTURE, ('route53.list(%q, { "lms.example.com" })'):format(zone))
      equal(failure.code, "NoSuchHostedZone") -- it was asked for by this id, not by a name
    end
  end)

  it("shifts weight between several records of one name, shows it in the plan, and puts it back", function()
    world:there_and_back(PICTURE, { [[
      route53.records("example.com", {
        { name = "w.example.com", type = "A", set = "one", weight = 0, ttl = 60, values = { "192.0.2.9" } },
        { name = "w.example.com", type = "A", set = "three", weight = 90, ttl = 60, values = { "192.0.2.8" } },
        { name = "w.example.com", type = "A", set = "two", weight = 10, ttl = 60, values = { "192.0.2.7" } } })]] },
      function(now, plan)
        equal(select(2, table.concat(now):gsub('"w.example.com."', "")), 3)
        local effect = plan.phases[1].steps[1].effects[1]
        matches(effect.before_text, "w.example.com. 60 A 192.0.2.9, set one, weight 10")
        matches(effect.after_text, "w.example.com. 60 A 192.0.2.9, set one, weight 0")
      end)
  end)

  it("refuses what a record or an alias does not have, where the procedure says it", function()
    matches(world:mistake 'route53.point("example.com", { "a.example.com" }, { cnam = "b" })',
      "\"cnam\"%. Did you mean 'cname'")
    matches(world:mistake 'route53.point("example.com", { "a.example.com" }, { alias = { zon = "b" } })',
      "alias has no \"zon\"%. Did you mean 'zone'")
  end)

  it("does nothing where all is so already", function()
    local plan = world:trial({ [[route53.records("example.com", {
      { name = "STUDIO.example.com.", type = "A", ttl = 60, values = { "192.0.2.1", "192.0.2.2" } } })]] }):plan()
    equal(plan.phases[1].steps[1].effects[1].sign, "=")
  end)

  it("names a zone that is not there", function()
    equal(world:refused(PICTURE, 'route53.records("nowhere.com", {})').kind, "missing")
  end)

  it("is as it should be after a crash at any commit", function()
    world:each_crash(stage.anew, PICTURE, { [[route53.records("example.com", {
      { name = "lms.example.com", type = "CNAME", ttl = 60, values = { "new.example.com" } } })]] })
  end)

  it("ends its servers", stage.finish)
end)
