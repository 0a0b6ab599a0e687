-- The release of ENCODE rehearsed on the lab's servers. What is said of a server was asked of that server.
local console = require "tests.lab.console"
local encode  = require "tests.lab.encode"
local fs      = require "native.fs"

local RELEASE = "encode/release -p version=88 -p old=87 -p new_keys=no --foreground --yes"
local ANSWERS = 5 -- each way forward asks whether all is merged

-- How often the old server was put into recovery.
local function demotions()
  local log = "cat /var/log/postgresql/*.log | grep -c 'entering standby mode' || true"
  return tonumber((console.on("old", log):gsub("%s", "")))
end

local function rehearse(env, setting)
  local output, status = encode.neap(("rehearse %s --env %s"):format(RELEASE, env), setting)
  for _ = 1, ANSWERS do
    if status ~= 8 then break end
    output, status = encode.neap(encode.ANSWER:gsub("encode/%S+", "encode/" .. env), setting)
  end
  if status ~= 0 then error(output, 2) end
  return output
end

-- What a server is given beforehand that gets no keys of its own.
local function give_keys()
  for owner, path in pairs { postgres = encode.BACKUPS, encoded = encode.UPLOADS } do
    local text = console.on("old", "cat " .. path)
    local put = "f=%s; install -d -o %s $(dirname $f); printf '%%s\n' '%s' >$f; chown %s: $f; chmod 640 $f"
    console.on("new", put:format(path, owner, text, owner))
  end
end

describe("a rehearsal of encode/release", function()
  before_each(function()
    console.lab "reset"
    give_keys()
  end)

  it("turns back before the promotion where a person would have to say yes, and leaves all as it was", function()
    local repository = scratch()
    console.shell("cp -r procedures " .. repository)
    fs.write(repository .. "/procedures/encode/environments/asking.yml",
      ("extends: %s.yml\npolicy: { point_of_no_return: ask }\n"):format(encode.ENV), { mode = "0644" })
    local before, demoted = encode.state(), demotions()
    local output = rehearse("asking", "NEAP_PATH=" .. repository)
    matches(output, "REHEARSAL PASSED")
    matches(output, "Promote the new database is not crossed")
    equal(encode.state(), before)
    equal(demotions() - demoted, 2)
  end)

  it("crosses it where the policy says so, and serves by the new server", function()
    local output = rehearse(encode.ENV)
    matches(output, "REHEARSAL PASSED")
    matches(output, "irreversible +%d")
    equal(encode.servers(), encode.AFTER)
  end)
end)
