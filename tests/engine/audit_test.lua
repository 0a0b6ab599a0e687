--- Damage to a journal is found, wherever it is: in each byte, in what is missing, in what was written anew.
local audit = require "neap.engine.audit"
local world = require "tests.engine.world"

local TEXT = [[
  step "One" { run = function() world.set("a", ("x"):rep(5000)) world.read "b" end }
  step "Two" { run = function() world.event("mail", "y", { keep = "a mail" }) end }]]

--- A closed run and its store; a second one, closed too, with `runs = 2`.
local function journaled(anchors)
  local w = world.new(TEXT, { a = 1, b = 2 })
  equal(w:start({ anchors = anchors }).status, "done")
  w.values.a = 1
  equal(w:start({ anchors = anchors }).status, "done")
  return w.store
end

local function problems(store, anchors)
  local list = {}
  for _, result in ipairs(audit.all(store, anchors)) do list[#list + 1] = result.problem end
  return list
end

local function flipped(text, at) return text:sub(1, at - 1) .. string.char(text:byte(at) ~ 1) .. text:sub(at + 1) end

--- Every `step`-th byte of a field of the entries.
local function each_byte(entries, field, step, fn)
  local offset = 0
  for _, entry in ipairs(entries) do
    local whole = entry[field]
    for at = 1, #whole do
      offset = offset + 1
      if offset % step == 0 then
        entry[field] = flipped(whole, at)
        fn(entry.seq, at)
      end
    end
    entry[field] = whole
  end
end

describe("a journal's audit", function()
  it("finds it whole as it was written", function()
    local store = journaled()
    local results = audit.all(store)
    equal({ #results, results[1].closed, results[2].run, problems(store) }, { 2, true, 2, {} })
  end)

  it("finds each byte of the records and of their hashes that was flipped", function()
    local store = journaled()
    local step = os.getenv "NEAP_SOAK" and 1 or 13
    local tried = 0
    for _, field in ipairs { "line", "hash" } do
      each_byte(store.by_run[1], field, step, function(seq, at)
        tried = tried + 1
        local ok = pcall(audit.run, store, 1)
        if ok then error(("byte %d of the %s of record %d was flipped and not found"):format(at, field, seq)) end
      end)
    end
    truthy(tried > 100)
    equal(problems(store), {})
  end)

  it("finds contents that are altered or gone", function()
    local store = journaled()
    local digest = next(store.blobs)
    local bytes = store.blobs[digest]
    store.blobs[digest] = flipped(bytes, 1)
    matches(problems(store)[1], "record %d+ holds content that is altered")
    store.blobs[digest] = nil
    matches(problems(store)[1], "lacks the content")
  end)

  it("finds records that are gone at the end, and whole runs", function()
    local store = journaled()
    local last = table.remove(store.by_run[2])
    equal(problems(store), { "the journal of run 2 is damaged: its last records are missing" })
    table.insert(store.by_run[2], last)
    local runs = store.runs
    store.runs = function(self) return { runs(self)[1] } end
    equal(problems(store), { "run 1 is missing from the journal" })
  end)

  it("lets the run that holds the lease be without its end", function()
    local w = world.new([[step "One" { run = function() world.set("a", 1) fail "no" end }]])
    equal(w:start().status, "stopped")
    equal(problems(w.store), {})
  end)

  it("finds a journal that was written anew, by the heads that were anchored", function()
    local log = {}
    local store = journaled(function(line) log[#log + 1] = "Nov 21 02:21:42 jump neap[411]: " .. line end)
    equal(#log, 6) -- two steps and a close, twice
    local text = table.concat(log, "\n")
    local anchors = audit.anchors(text, "test/lab")
    equal({ #anchors, audit.anchors(text, "test/other") }, { 6, {} })
    equal({ problems(store, anchors), audit.all(store, anchors)[1].anchors }, { {}, 3 })
    matches(problems(journaled(), anchors)[1], "another than the anchored one")
    local shorter = world.new(TEXT, { a = 1 })
    shorter:start()
    matches(problems(shorter.store, anchors)[2], "run 2 is anchored, and not in the journal")
  end)

  it("exports every record with its contents in place, and with its hash", function()
    local store = journaled()
    local records = {}
    audit.export(store, 1, function(record) records[#records + 1] = record end)
    equal({ records[1].type, records[#records].type, #records }, { "run", "close", #store.by_run[1] })
    equal(records[1].files["procedures/test/it.lua"], TEXT)
    equal(records[2].hash, store.by_run[1][2].hash)
    local long
    for _, record in ipairs(records) do long = long or record.after end
    equal(long, ("x"):rep(5000))
  end)

  it("exports secrets as the references they are, and seals unopened", function()
    local digest = require "native.crypto".sha256 "sealed bytes"
    local store = {
      records = function()
        local crypto = require "native.crypto"
        local line = '{"a":{"$secret":"env:X","fingerprint":"f"},"b":{"$sealed":"' .. digest
          .. '","fingerprint":"g"},"run":1,"seq":1,"type":"close"}'
        local entries = { { seq = 1, hash = crypto.sha256(line), line = line } }
        return function() return table.remove(entries) end
      end,
      blob = function() return "sealed bytes" end,
    }
    audit.export(store, 1, function(record)
      equal(record.a, { ["$secret"] = "env:X", fingerprint = "f" })
      equal(record.b, { ["$sealed"] = digest, fingerprint = "g" })
    end)
  end)
end)
