-- The release of ENCODE under random faults at random moments: neap killed, stopped and woken, hosts cut off, standing
-- still or silent. What was done is counted in the hosts' own logs: nothing lost, nothing done twice.
--   NEAP_TRIALS=n   how many (6; with NEAP_SOAK 500)       NEAP_SEED=n   where the chance begins (1)
local console = require "tests.lab.console"
local fs      = require "native.fs"
local world   = require "tests.lab.world"

local TRIALS = tonumber(os.getenv "NEAP_TRIALS" or os.getenv "NEAP_SOAK" and 500 or 6)
local SEED   = tonumber(os.getenv "NEAP_SEED" or 1)

local ENV      = fs.exists "/usr/lib/postgresql/15" and "lab" or "lab13"
local RUN      = ("run encode/release --env %s -p version=88 -p old=87 --yes --no-input"):format(ENV)
local LONGEST  = 15  -- seconds that an undisturbed run takes, and some
local STOPPED  = os.getenv "NEAP_SOAK" and 60 or 12 -- seconds of the longest SIGSTOP
local ATTEMPTS = 8   -- resumes until a run must have come to its end
local HOSTS    = { "old", "new", "proxy1", "proxy2" }

-- What sudo of a host has logged, by the words that change something there.
local CHANGING = {
  ["postgresql restart"] = { "old" }, ["main promote"] = { "new" }, ["main reload"] = { "new" },
  ["nginx -s reload"] = { "proxy1", "proxy2" },
}

local version = console.on("old", "ls /etc/postgresql")
local CONF    = "/etc/nginx/nginx.conf"
local TOUCHED = {
  { "proxy1", CONF }, { "proxy2", CONF },
  { "old", ("/var/lib/postgresql/%s/main/standby.signal"):format(version) },
  { "new", ("/etc/postgresql/%s/main/postgresql.conf"):format(version) },
}

local function state()
  local found = {}
  for i, place in ipairs(TOUCHED) do found[i] = place[1] .. " " .. console.file(table.unpack(place)) end
  for _, proxy in ipairs { "proxy1", "proxy2" } do found[#found + 1] = proxy .. " serves " .. console.page(proxy) end
  for _, host in ipairs { "old", "new" } do
    found[#found + 1] = ("%s in recovery: %s"):format(host, console.in_recovery(host))
  end
  return found
end

--- How often each host ran each command that changes something.
local function counts()
  local found = {}
  for words, hosts in pairs(CHANGING) do
    for _, host in ipairs(hosts) do
      found[host .. ": " .. words] = tonumber(console.on(host,
        ("grep -c 'COMMAND=.*%s$' /var/log/sudo.log || true"):format(words)))
    end
  end
  return found
end

--- Whether the names of commands are gone from all hosts, but for those that the run says it had to leave.
local function is_swept(said)
  local count, named = 0, 0
  for _, host in ipairs(HOSTS) do count = count + world.witnesses(host) end
  for _ in said:gmatch "left, for it could not be reached: " do named = named + 1 end
  return count == 0 or named > 0
end

-- ---- chance ----

local function some_seconds(most) return math.random() * most end

local function one_of(list) return list[math.random(#list)] end

local function sleep(seconds) require "native.task".sleep(seconds) end

-- ---- faults: each leaves the world whole again ----

local faults = {}

function faults.kill(running)
  sleep(some_seconds(LONGEST))
  world.signal("KILL", running.pid)
end

function faults.stop(running)
  sleep(some_seconds(LONGEST))
  world.signal("STOP", running.pid)
  sleep(some_seconds(some_seconds(STOPPED)))
  world.signal("CONT", running.pid)
end

local function fault_of_host(break_it, mend_it, ...)
  local more = { ... }
  return function()
    local host = one_of(HOSTS)
    sleep(some_seconds(LONGEST))
    world.lab(break_it, host, table.unpack(more))
    sleep(some_seconds(10))
    world.lab(mend_it, host)
  end
end

faults.cut, faults.freeze = fault_of_host("cut", "heal"), fault_of_host("freeze", "thaw")
faults.drop, faults.refuse = fault_of_host("drop", "clear", "22"), fault_of_host("refuse", "clear", "22")

-- kills are what the count is about; the others share the rest
local CHANCES = { "kill", "kill", "kill", "kill", "kill", "stop", "cut", "freeze", "drop", "refuse" }

--- Runs neap with a fault on the way; its exit status.
local function disturbed(self, words, story)
  local fault = one_of(CHANCES)
  local list = {}
  for word in words:gmatch "%S+" do list[#list + 1] = word end
  local running = self:start(list)
  faults[fault](running)
  local result = running:wait()
  story[#story + 1] = ("%s: %s -> %s"):format(list[1], fault, result.status or result.signal)
  story.last = result.text
  return result.status
end

local ENDED = { forward = { [0] = true }, back = { [0] = true, [4] = true } }

--- Takes the run to its end in that direction, at first with more faults; the direction in which it ended, nil where it did
--- not. A run that was killed before it was one is begun.
local function taken_to_its_end(self, words, direction, story)
  local answer = ""
  for attempt = 1, ATTEMPTS do
    local status
    if attempt <= 2 and math.random() < 0.4 then
      status = disturbed(self, words .. answer, story)
    else
      local result = self:neap(words .. answer)
      status, story.last = result.status, result.text
      story[#story + 1] = ("%s -> %s"):format(words:match "^%S+", status or result.signal)
    end
    if ENDED[direction][status] then return direction end
    answer = status == 8 and " --answer " .. console.answer_to(story.last) or ""
    if direction == "back" and status == 5 and story.last:find("cannot be taken back", 1, true) then
      -- the promotion that was in doubt had happened: there is no way but on
      direction, words = "forward", words:gsub("^rollback", "resume")
    elseif status == 2 then
      -- killed before there was a run, or behind its close
      if direction == "back" or not console.in_recovery "new" then return direction end
      words = RUN
    end
  end
end

--- The procedure without what a person has to do: there is nobody.
local function new_world()
  local self = world.new(scratch(), {})
  console.shell("cp -r procedures/encode " .. self.folder .. "/procedures/; sed -i '/^manual /d' "
    .. self.folder .. "/procedures/encode/release.lua")
  return self
end

--- More than once is twice; that a rollback does the same once more is its own doing.
local function check_counts(found, most, story)
  for what, count in pairs(found) do
    if count > most then
      error(("%s: %d times, at most %d\n%s"):format(what, count, most, table.concat(story, "\n")))
    end
  end
end

local function check(condition, what, story)
  if condition then return end
  error(("%s\n%s\n%s"):format(what, table.concat(story, "\n"), story.last or ""), 2)
end

describe("encode/release, disturbed at random moments", function()
  local before, after

  it("is known undisturbed", function()
    console.lab "reset"
    before = state()
    new_world():expect(0, RUN)
    after = state()
    check_counts(counts(), 1, {})
  end)

  it("ends whole, forward or back, with nothing lost and nothing done twice", function()
    math.randomseed(SEED)
    local told = {}
    for trial = 1, TRIALS do
      console.lab "reset"
      local self, story = new_world(), { ("seed %d, trial %d"):format(SEED, trial) }
      local status = disturbed(self, RUN, story)
      -- behind the promotion there is no way back
      local back = status ~= 0 and math.random() < 0.4 and console.in_recovery "new"
      local direction = back and "back" or "forward"
      if status ~= 0 then
        local words = (back and "rollback" or "resume") .. " 1 --yes --no-input"
        direction = taken_to_its_end(self, words, direction, story)
        check(direction, "came to no end", story)
        back = direction == "back"
      end
      check(table.concat(state(), "\n") == table.concat(back and before or after, "\n"),
        "not the state it should be in:\n" .. table.concat(state(), "\n"), story)
      check_counts(counts(), back and 2 or 1, story)
      check(is_swept(story.last), "names of commands are left, and nobody says so", story)
      told[direction] = (told[direction] or 0) + 1
      told[#story] = (told[#story] or 0) + 1
      if os.getenv "NEAP_SOAK" then
        io.stderr:write(("trial %d: %s\n"):format(trial, table.concat(story, "; ")))
      end
    end
    io.stderr:write(("%d trials: %d forward, %d back\n"):format(TRIALS, told.forward or 0, told.back or 0))
  end)
end)
