-- The update of BOSS by the command line, on the lab's hosts and on moto. What is said of AWS, of repositories and of
-- hosts was asked of those.
local console = require "tests.lab.console"
local json    = require "native.json"

local NEAP  = "build/fault/neap"
local KILLS = tonumber(os.getenv "NEAP_KILLS" or os.getenv "NEAP_SOAK" and 40 or 3)
local WHAT  = "boss/update-production --env lab -p sprint=sprint19 -p former=sprint18 -p mine=ops@theboss.lab"
local RUN   = "run " .. WHAT .. " --foreground --yes"
local ALL   = 12 -- manual steps, at most

-- moto carries out at once what it is asked: nothing that was sent has to be waited out for five minutes
local function neap(words, setting)
  local text = "%s NEAP_SIGNATURE_LIFE=0.5 timeout 900 %s %s --no-input </dev/null"
  return console.shell(text:format(setting or "", NEAP, words))
end

local function resume() return neap "resume 1 --env boss/lab --foreground --yes" end

--- Answers what run n waits for until it ends, or until `until_then` stands in what it says; the last exit status.
local function go_on(output, status, until_then, n)
  local answer = "resume %d --env boss/lab --foreground --yes --answer done --reason 'the test says so'"
  for _ = 1, ALL do
    if status ~= 8 or until_then and output:find("WAITS FOR A PERSON +[%d.]+ " .. until_then) then break end
    output, status = neap(answer:format(n or 1))
  end
  return output, status
end

local function check(output, status, expected)
  if status == expected then return output end
  error(("expected exit status %d, got %s\n%s"):format(expected, tostring(status), output), 2)
end

-- ---- what is there ----

local function aws()
  local output, status = console.shell "build/vendor/moto/bin/python tests/lab/boss/picture.py"
  return check(output, status, 0)
end

--- What each branch and tag of the remotes holds, what is checked out here, and which files are changed.
local function repositories()
  return console.shell [[for r in boss-manage spdb; do
    git -C /srv/git/$r.git for-each-ref --format='%(refname) %(objectname)' | sed "s/^/$r /"
    git -C ~/git/$r symbolic-ref HEAD
    git -C ~/git/$r for-each-ref --format='%(refname) %(objectname)' refs/tags
    git -C ~/git/$r status --porcelain
  done; ls ~/git]]
end

local function state() return aws() .. repositories() end

local function now() return json.decode(aws()) end

--- Names of operations that moto was asked for and that are no reads.
local function changing_requests()
  return console.shell [[
    grep -vE ' (AWSEvents\.|AWSStepFunctions\.)?(Get|List|Describe)[A-Za-z]*$|^GET ' /srv/aws/requests |
    grep -vE ' /$| GetCallerIdentity$' | sort | uniq -c]]
end

local function forget_requests() console.shell ": >/srv/aws/requests" end

--- Changes the release that is to come: Python that has `configs`, as a commit on the branch integration.
local function release(text)
  local _, status = console.shell(([[set -e; rm -rf /tmp/release-of-the-test
    git clone -q -b integration /srv/git/boss-manage.git /tmp/release-of-the-test
    cd /tmp/release-of-the-test; python3 -c "
import json
configs = json.load(open('cloud_formation/configs.json'))
%s
json.dump(configs, open('cloud_formation/configs.json', 'w'), indent=1)"
    git commit -q -a -m 'Another release' && git push -q origin integration
    cd /; rm -rf /tmp/release-of-the-test]]):format(text))
  equal(status, 0)
end

local function rolled_back_to(before)
  local output, status = neap "rollback 1 --env boss/lab --foreground --yes"
  check(output, status, 0)
  equal(state(), before)
end

--- Beside the run: waits until the cache was asked for its keys, notes of which size redis then is, lets the key go.
local function write_the_cuboid_once_it_is_asked_for()
  console.shell [[rm -f /tmp/redis-while-it-waited
    (until tests/lab/lab sh cache redis-cli info commandstats | grep -q cmdstat_scan; do sleep 0.5; done
    build/vendor/moto/bin/python tests/lab/boss/picture.py |
      grep -o 'cache\.m3\.xlarge\|cache\.r5\.large' >/tmp/redis-while-it-waited
    tests/lab/lab sh cache redis-cli del WRITE-CUBOID-41) >/dev/null 2>&1 </dev/null &]]
end

local undisturbed -- what a run leaves that nothing happens to

describe("boss/update-production", function()
  before_each(function() console.lab "reset" end)

  it("is planned without a change, brings the stack to the sprint, and changes no stack when it runs again", function()
    local before = state()
    forget_requests()
    local output, status = neap("plan " .. WHAT)
    check(output, status, 0)
    equal(changing_requests(), "")
    equal(state(), before)
    equal(select(2, output:gsub("~ stack ApiProductionBoss", "")), 2) -- one index goes, another comes
    output, status = go_on(neap(RUN))
    check(output, status, 0)
    undisturbed = state()
    local after = now()
    equal(after.indexes, { "appended-index", "task-index" })
    equal(after["mailing list"], json.decode(before:match "^(.-\n})")["mailing list"])
    equal(after.records, json.decode(before:match "^(.-\n})").records)
    equal(after["delete rule"], "DISABLED")
    matches(after.machines["Resolve.Hierarchy.Production.Boss"], "side by side")
    equal(console.shell "stat -c %a /srv/boss-backups /srv/boss-backups/*", "700\n600\n")
    matches(console.shell "cat /srv/boss-backups/*", "bossadmin%-of%-lab%-realm")
    equal(console.shell(("grep -raolE '%s' ~/.local || true"):format(table.concat({ "bossadmin-of-lab-realm",
      "admin-of-lab-keycloak", "set-at-creation-b7", "token-of-the-labs-vault" }, "|"))), "")
    forget_requests()
    console.shell "git -C ~/git/boss-manage checkout -q -- config/iam" -- what a person has done by then
    output, status = neap(RUN)
    output, status = go_on(output, status, nil, 2)
    check(output, status, 0)
    equal(state(), undisturbed)
    equal(changing_requests():find("ExecuteChangeSet", 1, true), nil)
  end)

  it("makes redis anew when no cuboid waits, and stacks with new functions; is rolled back to what was", function()
    release [[configs['redis']['resources']['Cache']['Properties']['CacheNodeType'] = 'cache.r5.large'
name = 'downsampleVolume-production-boss'
configs['cachedb']['functions'].append(name)
configs['cachedb']['resources']['Downsample'] = json.loads(json.dumps(
    configs['cachedb']['resources']['Lambda']).replace('multiLambda-production-boss', name))]]
    console.on("cache", "redis-cli set WRITE-CUBOID-41 bytes; redis-cli set READ-CUBOID-7 bytes")
    local before = state()
    write_the_cuboid_once_it_is_asked_for()
    local output, status = neap(RUN)
    output, status = go_on(output, status, "See in Scalyr")
    check(output, status, 8)
    equal(console.shell "cat /tmp/redis-while-it-waited", "cache.m3.xlarge\n")
    local after = now()
    truthy(after.functions["downsampleVolume-production-boss"])
    local node = after.stacks.RedisProductionBoss.template.Resources.Cache.Properties.CacheNodeType
    equal(node, "cache.r5.large")
    rolled_back_to(before)
  end)

  --- Goes on, and is to stop at a step with that said.
  local function stops_at(step, said, output, status)
    check(output, status, 5)
    matches(output, "FAILED  " .. step)
    matches(output, said)
    matches(output, "neap rollback %d")
  end

  it("begins nothing with credentials that AWS does not take", function()
    console.shell [[sed -i 's/AKIABOSSLABPROD/AKIAOFNOBODY/' ~/.aws/credentials
      curl -s -d 0 -H 'Content-Type: text/plain' http://127.0.0.1:5000/moto-api/reset-auth]]
    local before = repositories()
    local output, status = neap(RUN)
    check(output, status, 1)
    matches(output, "FAILED  1.1 ")
    matches(output, "InvalidClientTokenId")
    equal(repositories(), before)
  end)

  it("stops where something fails, says so, goes on when it is mended, and is rolled back to what was", function()
    local before = state()
    console.shell [[mkdir -m 700 /srv/boss-backups && ln -s /dev/full /srv/boss-backups/vault-before-sprint19.json]]
    local output, status = neap(RUN)
    output, status = go_on(output, status, "See that boss%-manage")
    console.lab("off", "bastion")
    stops_at("5.1", "Vault at vault.production.boss", go_on(output, status))
    console.lab("boot", "bastion")
    console.shell "echo wrong >~/git/boss-manage/vault/private/vault.production.boss/vault_token"
    stops_at("5.1", "403", resume())
    console.shell "printf token-of-the-labs-vault >~/git/boss-manage/vault/private/vault.production.boss/vault_token"
    stops_at("5.1", "No space left on device", resume())
    console.shell "rm /srv/boss-backups/*; echo CoreProductionBoss >/srv/aws/refused"
    stops_at("9.1", "UPDATE_ROLLBACK_COMPLETE", go_on(resume()))
    console.shell "echo CachedbProductionBoss >/srv/aws/refused"
    stops_at("9.8", "Boss Manage Error: Status of stack 'CachedbProductionBoss'", resume())
    console.shell "rm /srv/aws/refused"
    rolled_back_to(before)
  end)

  it("has packer build the images that the sprint lacks, once, and leaves them there", function()
    console.shell [[cd ~/git/boss-manage/bin && ./packer.py production.boss vault --name sprint19
      mkdir -m 700 /srv/boss-backups && ln -s /dev/full /srv/boss-backups/vault-before-sprint19.json]]
    local before, made = now(), {}
    for _, name in ipairs(before.images) do made[name] = true end
    local output, status = neap(RUN .. " -p images=build")
    stops_at("5.1", "No space left on device", go_on(output, status))
    local after = now()
    for _, name in ipairs(after.images) do truthy(made[name] or name:find "%.boss%-sprint19$") end
    truthy(#after.images > #before.images)
    check("", select(2, neap "rollback 1 --env boss/lab --foreground --yes"), 0)
    before.images = after.images
    equal(now(), before)
    output, status = neap(RUN .. " -p images=build")
    output, status = go_on(output, status, nil, 2)
    matches(check(output, status, 5), "No space left on device")
    equal(now().images, after.images)
  end)

  it("is stopped before any stack is touched by a template that would lose a table", function()
    release "del configs['api']['resources']['Objects']"
    local before = now()
    local output, status = go_on(neap(RUN))
    stops_at("8.2", "would lose what the environment's policy protects", output, status)
    matches(output, "Objects AWS::DynamoDB::Table would be deleted")
    equal(now().stacks, before.stacks)
  end)

  it(("ends after each of %d kills as an undisturbed run does"):format(KILLS), function()
    if not undisturbed then
      check("", select(2, go_on(neap(RUN))), 0)
      undisturbed = state()
      console.lab "reset"
    end
    math.randomseed(19)
    for kill = 1, KILLS do
      if kill > 1 then console.lab "reset" end
      local point = ("journal:%d:%s=kill"):format(math.random(20, 210), math.random() < 0.5 and "before" or "after")
      local output, status = neap(RUN, "NEAP_FAULT=" .. point)
      output, status = go_on(output, status)
      if status == 137 then output, status = go_on(resume()) end
      check(point .. "\n" .. output, status, 0)
      equal({ point, state() }, { point, undisturbed })
    end
  end)
end)
