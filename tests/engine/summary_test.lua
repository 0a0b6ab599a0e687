--- Summaries: a run that is taken up from them is in the state that all its records come to.
local crypto  = require "native.crypto"
local fold    = require "neap.engine.fold"
local journal = require "neap.engine.journal"
local audit   = require "neap.engine.audit"
local json    = require "native.json"
local summary = require "neap.engine.summary"
local world   = require "tests.engine.world"

local least = summary.least

before_each(function() summary.least = 1 end)
after_each(function() summary.least = least end)

local TEXT = [[
  step "One" { run = function() world.set("a", 1) world.set("b", 1) return world.read "go" end }
  step "Two" { on = { "x", "y" }, at_a_time = 2, run = function(name)
    world.set(name, 2)
    world.event("e" .. name, 1, { undo = 1 })
  end }
  step "Three" { undo = function() world.set("own", 0) end, run = function() world.set("own", 3) end }
  step "Four" { run = function() world.set("c", 4) end }
  step "Five" { run = function() world.set("d", 5) if not world.read "go" then fail "no" end end }
  step "Six" { run = function() world.set("e", 6) end }]]

--- What a state says, without what is read again from the journal.
local function facts(state)
  local steps = {}
  for path, step in pairs(state.steps) do steps[path] = { step.status, step.seq, step.end_seq } end
  local effects = {}
  for seq, effect in pairs(state.effects) do effects[seq] = { effect.status, effect.end_seq, effect.undone } end
  return { state.step_order, state.finished, state.standing, state.places, state.took, steps, effects, state.turn,
    state.pins, state.left, state.seq, state.undo_seconds and math.floor(state.undo_seconds * 1000 + 0.5) }
end

--- The state by summaries, and by all records; how many summaries there are.
local function both(store, run)
  local opened, notes = journal.open(store), 0
  local source = opened:source(function() return run end)
  local short, long = fold.new(source), fold.new(source)
  local reading = opened:read(run)
  reading:each(function(outline) short:add(outline) end, function(note)
    notes = notes + 1
    short:add_summary(note)
  end)
  for entry in opened.store:records(run) do long:add(opened:outline(entry.line)) end
  equal(reading:result(), long.seq)
  return facts(short), facts(long), notes
end

local function rewrite(store, run, change)
  local head = ""
  for _, entry in ipairs(store.by_run[run]) do
    local record = json.decode(entry.line)
    change(record)
    entry.line = json.encode(record)
    head = crypto.sha256(head .. entry.line)
    entry.hash = head
  end
end

describe("a summary", function()
  it("stands for records of steps that are over, in every state of a run that fails, resumes and goes back", function()
    local w = world.new(TEXT, {})
    equal(w:start().status, "stopped")
    local short, long, notes = both(w.store, 1)
    equal(short, long)
    equal(notes, 3) -- One, Two, Four
    w.values.go = true
    equal(w:resume().status, "done")
    short, long, notes = both(w.store, 1)
    equal(short, long)
    equal(notes, 4) -- Six
  end)

  it("is what a rollback goes by as well", function()
    local w = world.new(TEXT, {})
    w:start()
    equal(w:rollback().status, "rolled back")
    equal(w.values, { own = 0 })
    local short, long = both(w.store, 1)
    equal(short, long)
  end)

  it("waits until it stands for enough", function()
    summary.least = 10
    local w = world.new(TEXT, { go = true })
    equal(w:start().status, "done")
    local short, long, notes = both(w.store, 1)
    equal({ short, notes }, { long, 2 }) -- One and Two; Four, Five and Six
  end)

  it("is held against the records before it by an audit", function()
    local w = world.new(TEXT, { go = true })
    w:start()
    equal(audit.all(w.store)[1].problem, nil)
    rewrite(w.store, 1, function(record)
      if record.kind == "summary" and record.over:find "Four" then
        record.over = record.over:gsub("%d+ Four", "99 Four")
      end
    end)
    matches(audit.all(w.store)[1].problem, "is not what the records before it come to")
  end)

  it("does not let a run be taken up of which a record that it stands for was altered", function()
    local w = world.new(TEXT, {})
    w:start()
    local records = w.store.by_run[1]
    local count, line = #records, records[5].line
    matches(line, '"type":"intent"')
    records[5].line = line:gsub('"target":"a"', '"target":"z"')
    w.log = {}
    local failure = raises(w.resume, w)
    equal({ failure.kind, #records, w.log }, { "journal", count, {} })
    matches(failure.message, "damaged at record 5")
    records[5].line = line
    records[#records - 1].hash = ("0"):rep(64)
    equal(raises(w.resume, w).kind, "journal")
  end)

  it("that only looks like one is passed over", function()
    local w = world.new([[
      step "One" { run = function() return { kind = "summary", earlier = 7 } end }
      step "Two" { run = function() world.set("a", 1) fail "no" end }]], {})
    w:start()
    local short, long, notes = both(w.store, 1)
    equal({ short, notes }, { long, 1 })
  end)
end)
