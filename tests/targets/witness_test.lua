local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local hosts   = require "neap.targets.host"
local process = require "native.process"
local task    = require "native.task"
local witness = require "neap.targets.witness"

--- fn(call) within a run of its own; call(name) is what the engine would hand to a kind.
local function within(fn)
  local run = fixture.run()
  return fixture.within(run, changing, function()
    local place = witness.prepare("local")
    return fn(function(name) return { witness = name, place = place } end)
  end)
end

local function contents(path) return fs.exists(path) and fs.read(path) or "" end

local function wait_for(path)
  task.deadline(10, function()
    while contents(path) == "" do task.sleep(0.02) end
  end)
  return (contents(path):gsub("\n$", ""))
end

--- The verdict once nothing of the command runs any more.
local function settled(name, call)
  for _ = 1, 100 do
    local verdict, detail = witness.take("local", name, call)
    if verdict ~= "running" then return verdict, detail end
    task.sleep(0.05)
  end
end

--- A command that is under way when this returns; the task that waits for it.
local function begin(call, text, options)
  local folder = scratch()
  process.run { "chmod", "777", folder }
  local started = folder .. "/started"
  local running = task.spawn(pcall, witness.run, "local", call, "echo $$ >" .. started .. "; " .. text, options)
  return running, tonumber(wait_for(started))
end

--- The process that leads the job's session.
local function leader(call)
  return assert(fs.readlink(call.place.folder .. "/" .. call.witness .. "/job"):match("^(%d%d+)%."))
end

describe("a witnessed command", function()
  it("gives both outputs and the exit status", function()
    within(function(call)
      equal(witness.run("local", call "a", { "sh", "-c", "echo out; echo err >&2; exit 3" }, { ok = { 3 } }),
        { out = "out\n", err = "err\n", status = 3 })
    end)
  end)

  it("raises remote with the last lines when it fails", function()
    within(function(call)
      local failure = raises(witness.run, "local", call "a", "echo no such table >&2; exit 4")
      equal(failure.kind, "remote")
      equal(failure.code, 4)
      equal(failure.output, "no such table")
      equal(failure.message, "echo no such table >&2; exit 4 failed on local (exit status 4)")
    end)
  end)

  it("gets its input byte for byte, and no file of it is left", function()
    within(function(call)
      local input = "a\0b\255\n\n"
      local result = witness.run("local", call "a", { "od", "-An", "-tx1" }, { input = input })
      equal(result.out, " 61 00 62 ff 0a 0a\n")
      equal(fs.list(call "a".place.folder .. "/a"), { "err", "job", "out", "status" })
    end)
  end)

  it("has no input where none is given", function()
    within(function(call) equal(witness.run("local", call "a", { "cat" }).out, "") end)
  end)

  it("keeps the login's umask", function()
    within(function(call)
      local mask = process.run({ "sh", "-c", "umask" }, { reads = true }).out
      equal(witness.run("local", call "a", "umask").out, mask)
    end)
  end)

  it("shows output while it runs", function()
    within(function(call)
      local seen = {}
      witness.run("local", call "a", "echo one; sleep 0.5; echo two >&2", {
        on_output = function(bytes, side) seen[#seen + 1] = side .. ":" .. bytes end,
      })
      equal(seen, { "out:one\n", "err:two\n" })
    end)
  end)

  it("keeps the beginning and the end of a flood", function()
    within(function(call)
      local result = witness.run("local", call "a", "echo first; head -c 5000000 /dev/zero | tr '\\0' x; echo last")
      equal(result.out:sub(1, 6), "first\n")
      equal(result.out:sub(-6), "xlast\n")
      matches(result.out, "%[3885899 bytes left out%]")
      local _, taken = witness.take("local", "a", call "a")
      equal(taken.out == result.out, true)
    end)
  end)

  it("runs once, however often it is called", function()
    within(function(call)
      local path = scratch() .. "/count"
      for _ = 1, 3 do equal(witness.run("local", call "a", "echo x >>" .. path).status, 0) end
      equal(contents(path), "x\n")
    end)
  end)

  it("never runs once its name was taken", function()
    within(function(call)
      local path = scratch() .. "/late"
      equal((witness.take("local", "a", call "a")), "void")
      equal((witness.take("local", "a", call "a")), "void")
      equal(raises(witness.run, "local", call "a", "echo x >>" .. path).kind, "conflict")
      equal(contents(path), "")
    end)
  end)

  it("never runs when the run's folder is gone", function()
    within(function(call)
      local path = scratch() .. "/late"
      witness.release("local", call "a".place)
      local failure = raises(witness.run, "local", call "a", "echo x >>" .. path)
      equal(failure.kind, "conflict")
      matches(failure.message, "folder of this run on local")
      equal(contents(path), "")
    end)
  end)

  it("never runs with half of its input", function()
    within(function(call)
      local path, place = scratch() .. "/cut", call "a".place
      local script = require "neap.targets.witness.script"
      local result = process.run({ "sh", "-c", 'eval "$1"', "neap", script, "start", place.folder, "a",
        "cat >" .. path },
        { input = "YWJj" })
      equal(result.out, "neap\n= none\n")
      equal(fs.exists(path), false)
      equal((witness.take("local", "a", call "a")), "void")
    end)
  end)

  it("never runs when its input arrives after its name was taken", function()
    within(function(call)
      local path, place = scratch() .. "/late", call "a".place
      local script = require "neap.targets.witness.script"
      local stream <close> = process.spawn { "sh", "-c", 'eval "$1"', "neap", script, "start", place.folder, "a",
        "cat >" .. path }
      stream:write("YW")
      task.sleep(0.2)
      equal((witness.take("local", "a", call "a")), "void")
      stream:write("Jj.")
      stream:close_input()
      equal(stream:wait(), { status = 0 })
      matches(stream:read(), "= void\n$")
      equal(fs.exists(path), false)
    end)
  end)

  it("is void for the settler who comes between the job's two acts", function()
    within(function(call)
      local place = call "a".place
      fs.mkdir(place.folder .. "/a", "0700") -- the job was stopped just here
      equal((witness.take("local", "a", call "a")), "void")
      equal(fs.readlink(place.folder .. "/a/job"), "closed")
    end)
  end)
end)

describe("taking a witness", function()
  it("finds what was done, with its output", function()
    within(function(call)
      witness.run("local", call "a", "echo out; echo err >&2")
      local verdict, result = witness.take("local", "a", call "a")
      equal(verdict, "done")
      equal(result, { out = "out\n", err = "err\n", status = 0 })
    end)
  end)

  it("calls another exit status than the wanted ones partial", function()
    within(function(call)
      pcall(witness.run, "local", call "a", "exit 7")
      local verdict, why = witness.take("local", "a", call "a")
      equal({ verdict, why }, { "partial", "exit status 7" })
      equal((witness.take("local", "a", call "a", { 7 })), "done")
    end)
  end)

  it("tells two settlers the same", function()
    within(function(call)
      for round = 1, 10 do
        local name = "r" .. round
        local command = task.spawn(pcall, witness.run, "local", call(name), "true")
        local one = task.spawn(witness.take, "local", name, call(name))
        local two = task.spawn(witness.take, "local", name, call(name))
        local _, first = one:wait()
        local _, second = two:wait()
        command:wait()
        truthy(first == second or first == "running" or second == "running")
        local final = witness.take("local", name, call(name))
        truthy(first ~= "void" or final == "void")
        truthy(second ~= "void" or final == "void")
      end
    end)
  end)

  it("says running while it runs, and can wait for its end", function()
    within(function(call)
      local running = begin(call "a", "sleep 0.6; echo end")
      equal((witness.take("local", "a", call "a")), "running")
      local verdict, result = witness.follow("local", "a", call "a")
      equal(verdict, "done")
      equal(result.out, "end\n")
      local _, ok = running:wait()
      equal(ok, true)
    end)
  end)

  it("says partial when it was killed", function()
    within(function(call)
      local running = begin(call "a", "sleep 30")
      process.run { "sh", "-c", "kill -9 -" .. leader(call "a") }
      local verdict, why = settled("a", call "a")
      equal({ verdict, why }, { "partial", "it was killed: it ended without a status" })
      local _, _, failure = running:wait()
      equal(failure.kind, "remote")
    end)
  end)

  it("does not take the shell's death for the command's", function()
    within(function(call)
      local running = begin(call "a", "sleep 1; echo still")
      process.run { "sh", "-c", "kill -9 " .. leader(call "a") }
      equal((witness.take("local", "a", call "a")), "running")
      local _, _, failure = running:wait()
      equal(failure.kind, "remote")
      equal((witness.take("local", "a", call "a")), "partial")
    end)
  end)

  it("says partial when the host was started anew since", function()
    within(function(call)
      local running = begin(call "a", "sleep 0.5")
      local link = call "a".place.folder .. "/a/job"
      local pid, born = fs.readlink(link):match("^(%d+)%.(%d+)%.")
      fs.remove(link)
      process.run { "ln", "-s", pid .. "." .. born .. ".00000000-another-boot", link }
      local verdict, why = witness.take("local", "a", call "a")
      equal({ verdict, why }, { "partial", "the host was started anew while it ran" })
      running:wait()
    end)
  end)

  it("refuses to judge when the folder is missing or another's", function()
    within(function(call)
      local place = call "a".place
      local gone = { place = { login = place.login, folder = place.folder .. "/gone" } }
      equal(raises(witness.take, "local", "a", gone).kind, "conflict")
      local other = { place = { login = "somebody", folder = place.folder } }
      local failure = raises(witness.take, "local", "a", other)
      equal(failure.kind, "conflict")
      matches(failure.message, "started on local by somebody")
      equal(fs.exists(place.folder .. "/a"), false)
    end)
  end)
end)

describe("ending a witnessed command", function()
  local function ends(text, options, stop)
    within(function(call)
      local running, pid = begin(call "a", text, options)
      stop(running)
      local _, ok, failure = running:wait()
      equal(ok, false)
      equal(process.alive(pid), false)
      equal((settled("a", call "a")), "partial")
      return failure
    end)
  end

  it("is what a cancelled task does", function()
    ends("sleep 30", nil, function(running) running:cancel() end)
  end)

  it("is what a passed timeout does", function()
    ends("sleep 30", { timeout = 0.5 }, function() end)
  end)

  it("goes as far as KILL", function()
    ends("trap '' TERM; sleep 30; sleep 30", { timeout = 0.5 }, function() end)
  end)

  it("reaches what runs as another user", function()
    if process.user().uid ~= 0 then skip("needs root") end
    ends("sleep 30", { timeout = 0.5, become = "games" }, function() end)
  end)

  it("lets the command put things right and say how it ended", function()
    within(function(call)
      local running = begin(call "a", "trap 'echo tidy; exit 9' TERM; while :; do sleep 0.2; done", { timeout = 0.5 })
      running:wait()
      local verdict, why = witness.take("local", "a", call "a")
      equal({ verdict, why }, { "partial", "exit status 9" })
      local _, result = witness.take("local", "a", call "a", { 9 })
      equal(result.out, "tidy\n")
    end)
  end)
end)

describe("the run's folder", function()
  it("takes no late call while it is being removed", function()
    for round = 1, 15 do
      local path = scratch() .. "/late"
      within(function(call)
        local place = call "a".place
        for i = 1, 40 do fs.mkdir(place.folder .. "/taken" .. i, "0700") end
        equal((witness.take("local", "a", call "a")), "void")
        local late = task.spawn(function()
          task.sleep(0.001 * round)
          return pcall(witness.run, "local", call "a", "echo ran >" .. path)
        end)
        witness.release("local", place)
        late:wait()
      end)
      equal(contents(path), "")
    end
  end)

  it("is made for the login alone, and removed at the close", function()
    local run, place = fixture.run(), nil
    fixture.within(run, changing, function()
      place = witness.prepare { host = "local", path = "/x" }
      equal(place.login, process.user().name)
      equal(fs.stat(place.folder).mode, "0700")
      equal(witness.prepare("local"), place)
    end)
    equal(fs.exists(place.folder:match("(.*)/")), false)
  end)
end)

describe("a caller that is killed", function()
  --- Has a neap of its own call the command once, and kills it after so many seconds; says whether it was in time.
  local function call_and_kill(place, name, path, seconds)
    local child <close> = process.spawn({ "sh", "-c",
      "echo $$; exec build/neap test tests/targets/witness_caller.lua" }, {
      env = { NEAP_CALL = table.concat({ place.login, place.folder, name, path }, "\n") },
    })
    local pid = child:read():match("^(%d+)\n")
    task.sleep(seconds)
    process.run { "kill", "-9", pid }
    local ended = child:wait()
    truthy(ended.signal == "KILL" or ended.status == 0)
    return ended.signal == "KILL"
  end

  local function count(path, name)
    local found = 0
    for line in contents(path):gmatch("[^\n]+") do
      if line == name then found = found + 1 end
    end
    return found
  end

  it("leaves a command that ran once or never will, 60 times", function()
    within(function(call)
      local path, place, seen = scratch() .. "/log", call "x".place, { done = 0, void = 0, killed = 0 }
      for round = 1, 60 do
        local name = "r" .. round
        if call_and_kill(place, name, path, round * 0.002) then seen.killed = seen.killed + 1 end
        local verdict, detail = settled(name, call(name))
        truthy(verdict == "done" or verdict == "void")
        seen[verdict] = seen[verdict] + 1
        equal(count(path, name), verdict == "done" and 1 or 0)
        pcall(witness.run, "local", call(name), "echo " .. name .. " >>" .. path)
        equal({ count(path, name), detail and detail.status }, { verdict == "done" and 1 or 0, verdict == "done" and 0
          or nil })
      end
      truthy(seen.done > 0 and seen.void > 0 and seen.killed > 20)
    end)
  end)
end)

describe("the script on the host", function()
  it("runs with nothing but busybox", function()
    if process.run({ "sh", "-c", "command -v busybox" }, { reads = true }).status ~= 0 then skip "no busybox" end
    local folder = scratch()
    changing(process.run, { "sh", "-c", 'for a in $(busybox --list); do ln -s "$(command -v busybox)" "$1/$a"; done',
      "sh", folder })
    local script = require "neap.targets.witness.script"
    local function say(input, ...)
      return changing(process.run, { folder .. "/sh", "-c", 'eval "$1"', "neap", script, ... },
        { env = { PATH = folder, HOME = folder }, input = input }).out
    end
    local login, place = say("", "prepare", "run", "1"):match("^neap\n= ready\n([^\n]+)\n([^\n]+)\n$")
    equal(say("YQBi.", "start", place, "a", "od -An -tx1; echo no >&2; exit 3"),
      "neap\nout 10\n 61 00 62\nerr 3\nno\n= done 3\n")
    equal(say("", "take", place, "a", login), "neap\nout 10\n 61 00 62\nerr 3\nno\n= done 3\n")
    equal(say("", "take", place, "b", login), "neap\n= void\n")
    equal(say(".", "start", place, "b", "echo late"), "neap\n= void\n")
    equal(say("", "remove", place:match("(.*)/")), "neap\n= removed\n")
  end)
end)
