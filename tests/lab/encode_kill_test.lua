-- The release of ENCODE, killed anywhere: by the fail points of its processes, of which there is one more after each thing
-- that a person says is done.
local console = require "tests.lab.console"
local encode  = require "tests.lab.encode"
local fs      = require "native.fs"

local KILLS     = os.getenv "NEAP_SOAK" and math.huge or 5 -- of each test
local PROCESSES = 4

--- The command of the run's process number `i`.
local function command(i) return i == 1 and encode.RUN or encode.ANSWER end

--- The points that an undisturbed run passes, as NEAP_FAULT names them, each with its process.
local function points()
  console.lab "reset"
  local path, list = scratch() .. "/points", {}
  for i = 1, PROCESSES do
    local setting = ("NEAP_FAULT_COUNT=%s-%d"):format(path, i)
    encode.expect(i == PROCESSES and 0 or 8, command(i), setting, encode.FAULTY)
    local passed = {}
    for point in fs.read(("%s-%d"):format(path, i)):gmatch "[^\n]+" do
      passed[point] = (passed[point] or 0) + 1
      local site, when = point:match "^(%S+) (%S+)$"
      list[#list + 1] = { process = i, at = #list + 1, text = ("%s:%d:%s=kill"):format(site, passed[point], when) }
    end
  end
  return list
end

--- Some of them, the same each time, in the order of the run.
local function chosen(points_passed, seed)
  local list = table.move(points_passed, 1, #points_passed, 1, {})
  if KILLS >= #list then return list end
  math.randomseed(seed)
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
  local some = table.move(list, 1, KILLS, 1, {})
  table.sort(some, function(a, b) return a.at < b.at end)
  return some
end

local function kill_at(point)
  console.lab "reset"
  for i = 1, point.process - 1 do encode.expect(8, command(i)) end
  local _, status = encode.neap(command(point.process), "NEAP_FAULT=" .. point.text, encode.FAULTY)
  equal({ point.text, status }, { point.text, 137 })
end

--- What it comes to, but for the names of keys and of backups.
local function outcome()
  return { encode.servers(), encode.instances(), encode.repository():gsub(" %x+\n", "\n"), encode.upgrades(),
    encode.key_count(), encode.objects "encoded-logs", console.mails(), #encode.objects "encoded-backups-prod",
    console.on("new", "crontab -l"), console.file("new", encode.CONF), console.file("new", encode.APACHE) }
end

describe("encode/release, killed", function()
  local all, undisturbed

  before_each(function()
    if all then return end
    all = points()
    undisturbed = outcome()
  end)

  it("is resumed to the end state of an undisturbed run", function()
    for _, point in ipairs(chosen(all, 142)) do
      kill_at(point)
      local output, status = encode.neap(encode.GO_ON)
      if status == 2 then output, status = encode.neap(encode.RUN) end -- killed before there was a run
      output, status = encode.answer(output, status)
      equal({ point.text, status, output }, { point.text, 0, output })
      equal({ point.text, outcome() }, { point.text, undisturbed })
    end
  end)

  -- Runs a command until it ends, or has a connection to the mail server: then it is killed, which this says by 137.
  local UNTIL_MAIL = [[%s %s --no-input </dev/null >/dev/null 2>&1 & run=$!
    while kill -0 $run 2>/dev/null; do
      if ss -Htn state established 'dport = :2525' | grep -q .; then kill -9 $run; fi
      sleep 0.1
    done
    wait $run]]

  -- Killed while the mail server, which stands still, has its connection and no mail.
  local function kill_in_mail()
    console.lab "reset"
    console.shell "kill -STOP $(pgrep -f 'mail_serve[r].py.*2525')"
    local process, status = 0, 8
    while status == 8 do
      process = process + 1
      status = select(2, console.shell(UNTIL_MAIL:format(encode.NEAP, command(process))))
    end
    console.shell "kill -CONT $(pgrep -f 'mail_serve[r].py.*2525')"
    equal(status, 137)
  end

  it("asks a person about the mail that it was killed in, in both directions", function()
    kill_in_mail()
    local output, status = encode.neap(encode.GO_ON)
    equal({ status, console.answer_to(output) }, { 8, "not-applied" })
    output, status = encode.answer(output, status)
    equal({ status, output }, { 0, output })
    equal(outcome(), undisturbed)
    kill_in_mail()
    output, status = encode.neap(encode.BACK)
    equal({ status, console.answer_to(output) }, { 8, "not-applied" })
    encode.expect(0, encode.BACK .. " --answer not-applied")
    equal(console.mails(), {})
  end)

  it("is rolled back to what was there before, until it has promoted", function()
    console.lab "reset"
    local wanted = encode.state()
    for _, point in ipairs(chosen(all, 88)) do
      kill_at(point)
      local may_go_back = console.in_recovery "new"
      local output, status = encode.neap(encode.BACK)
      if status == 8 then output, status = encode.neap(encode.BACK .. " --answer " .. console.answer_to(output)) end
      if status == 2 then output, status = "", 0 end -- killed before there was a run
      if may_go_back then
        equal({ point.text, status, output }, { point.text, 0, output })
        equal({ point.text, encode.state() }, { point.text, wanted })
      else
        truthy(status ~= 0)
        equal(console.page "proxy1", "v88.production.lab")
      end
    end
  end)
end)
