--- kill -9 in what no target can be asked about: a person is, in both directions, and answers on the command line.
local fs         = require "native.fs"
local repository = require "tests.kills.repository"

local LIB = [[
-- A letter box that says nothing.
effect.action "demo.letter" {
  take = function() return "unknown", "look into the box" end,
  show = function(target) return "letter into " .. target.path end,
  run = function(target, text)
    host.exec("local", { "sh", "-c", 'echo "$1" >>"$2"', "sh", text, target.path })
  end,
}
local lib = {}
function lib.send(path, text) effect.perform("demo.letter", { path = path }, text, { keep = "a letter was sent" }) end
return lib
]]

local PROCEDURE = [[
-- A letter between two files.
local lib, folder = require "demo.lib", env.folder
step "Before" { run = function() file.write("local", folder .. "/before", "made") end }
step "Tell" { run = function() lib.send(folder .. "/box", "hello") end }
step "Behind" { run = function() file.write("local", folder .. "/behind", "made") end }
]]

describe("a run that is killed in what nobody can be asked about", function()
  local HERE = { "--env", "lab", "--yes", "--foreground", "--no-input" }
  local world

  -- before: the letter is not sent; after: it is, and its end is not known.
  local function killed(when)
    world = repository.new(scratch())
    repository.write(world.folder, { ["procedures/demo/lib.lua"] = LIB, ["procedures/demo/it.lua"] = PROCEDURE })
    local result = world:neap(("call:5:%s=kill"):format(when), "run", "demo/it", table.unpack(HERE))
    equal(result.signal, "KILL")
    equal(fs.exists(world.data .. "/box"), when == "after")
  end

  local function neap(status, ...)
    local result = world:neap(nil, ...)
    local text = result.out .. result.err
    if result.status == status then return text end
    error(("expected %d, got %s\n%s"):format(status, tostring(result.status), text), 2)
  end

  local function asked(verb)
    matches(neap(8, verb, "1", table.unpack(HERE)),
      "look into the box.-neap resume 1 .-%-%-answer applied|not%-applied|stop .-"
        .. "neap rollback 1 .-%-%-answer applied|not%-applied|stop ")
  end

  for answer, when in pairs { ["not-applied"] = "before", applied = "after" } do
    it("goes on once somebody has said " .. answer, function()
      killed(when)
      asked "resume"
      neap(0, "resume", "1", "--answer", answer, table.unpack(HERE))
      equal({ world:world().box, world:world().behind }, { "hello\n", "made" })
    end)

    it("is rolled back once somebody has said " .. answer, function()
      killed(when)
      asked "rollback"
      neap(0, "rollback", "1", "--answer", answer, table.unpack(HERE))
      equal({ world:world().box, world:world().before }, { when == "after" and "hello\n" or nil })
    end)
  end

  it("stays as it is while nobody knows", function()
    killed "after"
    asked "rollback"
    neap(8, "rollback", "1", "--answer", "stop", table.unpack(HERE))
    asked "resume"
  end)

  it("is rolled back without an answer to what was asked on the way forward", function()
    world = repository.new(scratch())
    repository.write(world.folder, { ["procedures/demo/it.lua"] = 'manual "Look" { text = "Look" }' })
    neap(8, "run", "demo/it", table.unpack(HERE))
    matches(neap(2, "rollback", "1", "--answer", "done", table.unpack(HERE)),
      "the rollback of run 1 waits for no answer")
    neap(0, "rollback", "1", table.unpack(HERE))
  end)
end)
