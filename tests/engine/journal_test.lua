local audit   = require "neap.engine.audit"
local fs      = require "native.fs"
local journal = require "neap.engine.journal"
local sqlite  = require "native.sqlite"

local function begun(place)
  local j = journal.open(place)
  local told = {}
  local writer = j:take(nil, function() return { { type = "run", uid = "u" }, { type = "own" } } end,
    function(record) told[#told + 1] = record.type end)
  return j, writer, told
end

describe("the journal", function()
  it("numbers and chains its records, and tells of them once they are durable", function()
    local j, writer, told = begun(scratch())
    equal({ writer.run, told }, { 1, { "run", "own" } })
    writer:append { type = "saw", result = 1 }
    equal(#told, 2)
    writer:write { type = "intent", kind = "k" }
    equal(told, { "run", "own", "saw", "intent" })
    equal((j:verify(1)), 4)
    local records = j:records(1)
    equal({ records[3].seq, records[3].result, records[4].kind }, { 3, 1, "k" })
    j:close()
  end)

  it("keeps long and binary strings once, and gives them back", function()
    local j, writer = begun(scratch())
    local long, binary = ("x"):rep(100000), "\0\255\27"
    writer:write { type = "intent", before = { content = long }, after = { content = binary, more = long } }
    local record = j:records(1)[3]
    truthy(record.before.content == long and record.after.content == binary)
    equal(j.store.db:rows("select count(*) as n from blob")[1].n, 2)
    j:close()
  end)

  it("lets one run hold the lease until it is closed", function()
    local folder = scratch()
    local j, writer = begun(folder)
    equal(raises(begun, folder).code, "leased")
    writer:write { type = "close", outcome = "done" }
    local other, second = begun(folder)
    equal({ second.run, second.token }, { 2, 2 })
    j:close()
    other:close()
  end)

  it("shuts out a writer whose run was taken over", function()
    local folder = scratch()
    local j, writer = begun(folder)
    local heir = journal.open(folder)
    heir:take(1, function() return { { type = "own" } } end, function() end)
    equal(raises(writer.write, writer, { type = "intent" }).kind, "fenced")
    equal(raises(writer.write, writer, { type = "intent" }).kind, "fenced")
    j:close()
    heir:close()
  end)

  it("finds any altered, removed or reordered record", function()
    local folder = scratch()
    local j, writer = begun(folder)
    for i = 1, 5 do writer:write { type = "note", text = "note " .. i } end
    j:close()
    local original = fs.read(folder .. "/journal.db")
    local damages = {
      "update record set line = replace(line, 'note 3', 'note 4') where seq = 5",
      "delete from record where seq = 4",
      "update record set seq = case seq when 4 then 1004 when 5 then 4 else seq end",
      "update record set hash = replace(hash, 'a', 'b') where seq = 3",
    }
    for _, damage in ipairs(damages) do
      local copy = scratch()
      fs.write(copy .. "/journal.db", original, { mode = "0600" })
      local db = sqlite.open(copy .. "/journal.db", { mode = "write" })
      db:script "drop trigger record_update; drop trigger record_delete"
      db:exec(damage)
      db:close()
      local damaged = journal.open(copy)
      equal(raises(damaged.verify, damaged, 1).kind, "journal")
      damaged:close()
    end
  end)

  it("is refused where a record is none, or refers to nothing", function()
    for _, line in ipairs { "7", "null", '{"a": {"$blob": 5}}', '{"a": {"$secret": 1, "fingerprint": "ab"}}',
      '{"a": {"$secret": "x", "fingerprint": "ab"}}', '{"a": {"$sealed": [1]}}' } do
      local folder = scratch()
      local j = begun(folder)
      j.store.db:script "drop trigger record_update"
      j.store.db:exec("update record set line = ? where seq = 1", line)
      equal({ line, raises(j.runs, j).kind, raises(j.records, j, 1).kind }, { line, "journal", "journal" })
      j:close()
    end
  end)

  it("is found damaged where a run's number is beyond reason, or the lease is gone", function()
    local j = begun(scratch())
    j.store.db:exec "insert into record values (4611686018427387904, 1, 'h', '{}')"
    local results = audit.all(j.store)
    equal({ #results, results[2].problem }, { 3, "runs 2 to 4611686018427387903 are missing from the journal" })
    j.store.db:exec "delete from lease"
    equal(raises(j.store.lease, j.store).kind, "journal")
    j:close()
  end)

  it("does not let records be altered through SQLite by accident", function()
    local folder = scratch()
    local j = begun(folder)
    matches(raises(j.store.db.exec, j.store.db, "delete from record").message, "not removed")
    j:close()
  end)

  it("lists its runs with how they ended", function()
    local folder = scratch()
    local j, writer = begun(folder)
    writer:write { type = "close", outcome = "done" }
    local run = j:runs()[1]
    equal({ run.run, run.uid, run.outcome }, { 1, "u", "done" })
    j:close()
  end)
end)
