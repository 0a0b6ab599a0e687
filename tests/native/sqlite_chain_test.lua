local chain  = require "native.sqlite_chain"
local crypto = require "native.crypto"
local sqlite = require "native.sqlite"

local ROWS = "select seq, hash, line from record where run = ? order by seq"

--- A file with a run of so many records; the path and their head.
local function file_of(count, damage)
  local path, head = scratch() .. "/some.db", ""
  local db <close> = sqlite.open(path)
  db:rows "pragma journal_mode = wal"
  db:script "create table record (run, seq, hash, line)"
  db:exec "begin"
  for seq = 1, count do
    local line = ("a line, %d"):format(seq)
    head = crypto.sha256(head .. line)
    db:exec("insert into record values (7, ?, ?, ?)", seq, head, line)
  end
  db:exec "commit"
  if damage then db:exec(damage) end
  return path, head
end

local function result_of(path, run)
  local check <close> = chain.begin(path, ROWS, run or 7)
  return check:result()
end

describe("a chain of records", function()
  it("is followed to its head", function()
    local path, head = file_of(1000)
    equal({ result_of(path) }, { 1000, head, false })
    equal({ result_of(path, 8) }, { 0, "", false })
  end)

  it("breaks at the first record that is altered, missing, out of order, or without a hash", function()
    for damage, at in pairs {
      ["update record set line = 'another' where seq = 5"] = 5,
      ["update record set line = null where seq = 6"] = 6,
      ["update record set line = cast(line || x'00' as blob) where seq = 6"] = 6,
      ["delete from record where seq = 1"] = 1,
      ["update record set seq = case seq when 4 then 3 when 3 then 4 else seq end"] = 3,
      ["update record set hash = null where seq = 9"] = 9,
      ["update record set hash = upper(hash) where seq = 2"] = 2,
      ["update record set hash = hash || '0' where seq = 10"] = 10,
    } do
      local count, _, broken = result_of((file_of(10, damage)))
      equal({ damage, count, broken }, { damage, at, true })
    end
  end)

  it("is followed while the file is read and written by others", function()
    local path, head = file_of(20000)
    local check <close> = chain.begin(path, ROWS, 7)
    local db <close> = sqlite.open(path, { mode = "write" })
    for seq = 1, 50 do db:exec("insert into record values (8, ?, '', '')", seq) end
    equal({ check:result() }, { 20000, head, false })
    equal({ check:result() }, { 20000, head, false })
  end)

  it("is put into tables where it is summed up", function()
    local order, finished, standing = { "a" }, {}, { [1] = 2 }
    chain.add("3 6 b\n4 5\n7 9 c 1/d 2\n", order, finished, standing)
    equal({ order, finished, standing },
      { { "a", "b", "c 1/d 2" }, { b = 3 << 32 | 6, ["c 1/d 2"] = 7 << 32 | 9 }, { 2, [4] = 5 } })
    for _, text in ipairs { "1", "1 2", "\n", "2 1\n", "0 1\n", "1 x\n", "1 2x\n", "1 4294967296 a\n", "a 2 b\n" } do
      equal({ text, raises(chain.add, text, {}, {}, {}).kind }, { text, "protocol" })
    end
  end)

  it("can be left before its end", function()
    local path = file_of(20000)
    local check = chain.begin(path, ROWS, 7)
    check:close()
    check:close()
    matches(raises(check.result, check), "closed")
  end)

  it("says what of the file cannot be read", function()
    local failure = raises(result_of, scratch() .. "/none.db")
    equal({ failure.kind, failure.code }, { "journal", "SQLITE_CANTOPEN" })
    local check <close> = chain.begin((file_of(1)), "select 1 from nowhere", 7)
    matches(raises(check.result, check).message, "no such table: nowhere")
  end)
end)
