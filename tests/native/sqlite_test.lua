local sqlite = require "native.sqlite"

local function memory()
  local db = sqlite.open(":memory:")
  db:exec "create table log (seq integer primary key, body, note text)"
  return db
end

local function count(db) return db:rows("select count(*) as n from log")[1].n end

describe("sqlite statements", function()
  it("keep every kind of value", function()
    local db <close> = memory()
    local values = { 1, math.mininteger, 1.5, 2.0, "text é", sqlite.blob "\0\xFF", sqlite.blob "", "", true, false }
    for i, value in ipairs(values) do db:exec("insert into log values (?, ?, null)", i, value) end
    local kinds, back = {}, {}
    for row in db:each "select body, typeof(body) as kind, note from log order by seq" do
      kinds[#kinds + 1], back[#back + 1] = row.kind, row.body
      equal(row.note, nil)
    end
    equal(kinds, { "integer", "integer", "real", "real", "text", "blob", "blob", "text", "integer", "integer" })
    equal(back, { 1, math.mininteger, 1.5, 2.0, "text é", "\0\xFF", "", "", 1, 0 })
    equal(math.type(back[4]), "float")
  end)

  it("bind nil as NULL, also at the end", function()
    local db <close> = memory()
    db:exec("insert into log values (?, ?, ?)", 1, nil, nil)
    equal(db:rows "select body is null as empty from log", { { empty = 1 } })
  end)

  it("say how many rows they changed", function()
    local db <close> = memory()
    equal(db:exec "insert into log values (1, 'a', 'x'), (2, 'b', 'x')", 2)
    equal(db:exec("update log set body = 'c' where seq = ?", 2), 1)
    equal(db:exec("update log set body = 'c' where seq = ?", 9), 0)
    equal(db:exec "create table other (a)", 0)
    equal(db:exec "begin", 0)
    equal(db:exec "commit", 0)
    equal(db:exec "pragma user_version", 0)
    equal(db:exec "delete from log", 2)
  end)

  it("are found again by their text, with other values", function()
    local db <close> = memory()
    for i = 1, 300 do db:exec("insert into log values (?, ?, null)", i, "body " .. i) end
    for i = 1, 300 do equal(db:rows(("select body from log where seq = %d"):format(i)), { { body = "body " .. i } }) end
    equal(db:rows("select body from log where seq = ?", 7), { { body = "body 7" } })
  end)

  it("come one a call, in a script as many as are wanted", function()
    local db <close> = memory()
    matches(raises(db.exec, db, "select 1; select 2"), "more than one statement; use script")
    matches(raises(db.rows, db, "select 1; nonsense"), "more than one statement")
    matches(raises(db.exec, db, "  -- nothing"), "no statement in")
    matches(raises(db.exec, db, ""), "no statement in")
    db:exec "select 1; -- a remark"
    db:script "insert into log values (1, 'a', null); insert into log values (2, 'b', null);"
    equal(count(db), 2)
  end)

  it("take exactly the values they name", function()
    local db <close> = memory()
    matches(raises(db.exec, db, "insert into log values (?, ?, ?)", 1, 2), "takes 3 values, got 2")
    matches(raises(db.exec, db, "delete from log", 1), "takes 0 values, got 1")
    matches(raises(db.exec, db, "insert into log values (?, 1, 1)", {}), "takes nil, booleans, numbers, text and blobs")
    matches(raises(db.exec, db, "insert into log values (1, ?, 1)", "a\0b"), "text with a NUL; bind it as a blob")
    matches(raises(db.exec, db, "select 1\0"), "holds a NUL")
    matches(raises(sqlite.blob, {}), "string expected")
    equal(db:exec("insert into log values (?, ?, ?)", 1, 2, 3), 1)
  end)

  it("take no text for a name and no name for text", function()
    local db <close> = memory()
    matches(raises(db.rows, db, 'select "nothing" from log').message, "no such column: nothing")
  end)
end)

describe("sqlite errors", function()
  it("are of the journal, with SQLite's own code and the path", function()
    local db <close> = memory()
    db:exec "insert into log values (1, 'a', 'x')"
    local failure = raises(db.exec, db, "insert into log values (?, 'b', 'x')", 1)
    equal(failure.kind, "journal")
    equal(failure.code, "SQLITE_CONSTRAINT_PRIMARYKEY")
    matches(failure.message, "^:memory:: UNIQUE constraint failed: log.seq %(SQLITE_CONSTRAINT_PRIMARYKEY%)$")
    equal(raises(db.exec, db, "no sql").code, "SQLITE_ERROR")
    failure = raises(db.script, db, "insert into log values (2, 1, 1); insert into nothing values (1)")
    equal(failure.code, "SQLITE_ERROR")
    equal(count(db), 2)
  end)

  it("leave the statement usable and no transaction of its own open", function()
    local db <close> = memory()
    local insert = "insert into log values (?, ?, ?)"
    for _ = 1, 3 do
      db:exec(insert, 1, "a", nil)
      equal(raises(db.exec, db, insert, 1, "a", nil).code, "SQLITE_CONSTRAINT_PRIMARYKEY")
      db:exec "begin"
      db:exec "delete from log"
      db:exec "commit"
    end
  end)

  it("tell of triggers that refuse", function()
    local db <close> = memory()
    db:script [[create trigger keep before delete on log begin select raise(abort, 'append only'); end;
      insert into log values (1, 1, 1)]]
    local failure = raises(db.exec, db, "delete from log")
    equal(failure.code, "SQLITE_CONSTRAINT_TRIGGER")
    matches(failure.message, "append only")
    equal(count(db), 1)
  end)

  it("tell of a full disk, and the rows before it stay", function()
    local db <close> = sqlite.open(scratch() .. "/full.db")
    db:script "pragma page_size = 1024; pragma max_page_count = 20; create table log (body)"
    local rows = 0
    local failure = raises(function()
      while true do
        db:exec("insert into log values (?)", ("x"):rep(900))
        rows = rows + 1
      end
    end)
    equal(failure.code, "SQLITE_FULL")
    equal(count(db), rows)
    equal(db:rows "pragma integrity_check", { { integrity_check = "ok" } })
  end)

  it("tell of a file that is no database", function()
    local path = scratch() .. "/text.db"
    local file = io.open(path, "w")
    file:write(("hello, this is text. "):rep(100))
    file:close()
    local db <close> = sqlite.open(path)
    local failure = raises(db.rows, db, "select * from sqlite_schema")
    equal(failure.code, "SQLITE_NOTADB")
    equal(failure.message, path .. ": file is not a database (SQLITE_NOTADB)")
  end)

  it("tell of a writer elsewhere, after the time that was given", function()
    local path = scratch() .. "/busy.db"
    local first <close> = sqlite.open(path)
    local second <close> = sqlite.open(path, { busy_timeout = 0 })
    first:script "create table log (a); begin immediate; insert into log values (1)"
    equal(raises(second.exec, second, "insert into log values (2)").code, "SQLITE_BUSY")
    first:exec "commit"
    equal(second:exec "insert into log values (2)", 1)
  end)
end)

describe("sqlite.open", function()
  local function mode_of(path) return io.popen(("stat -c %%a '%s'"):format(path)):read("l") end

  it("makes the file for its owner only, or as it is told, with its -wal", function()
    local folder = scratch()
    local private <close> = sqlite.open(folder .. "/private.db")
    local shared <close> = sqlite.open(folder .. "/shared.db", { permissions = "0660" })
    shared:rows "pragma journal_mode = wal"
    shared:exec "create table log (a)"
    equal(mode_of(folder .. "/private.db"), "600")
    equal(mode_of(folder .. "/shared.db"), "660")
    equal(mode_of(folder .. "/shared.db-wal"), "660")
    equal(mode_of(folder .. "/shared.db-shm"), "660")
  end)

  it("leaves the permissions of a file that is there", function()
    local path = scratch() .. "/a.db"
    sqlite.open(path, { permissions = "0640" }):close()
    sqlite.open(path, { permissions = "0600" }):close()
    equal(mode_of(path), "640")
  end)

  it("makes no file for a writer or a reader", function()
    local path = scratch() .. "/none.db"
    for _, mode in ipairs { "write", "read" } do
      local failure = raises(sqlite.open, path, { mode = mode })
      equal(failure.kind, "journal")
      equal(failure.code, "SQLITE_CANTOPEN")
      matches(failure.message, "No such file or directory")
    end
    equal(raises(sqlite.open, scratch() .. "/no/folder.db").code, "SQLITE_CANTOPEN")
    equal(raises(sqlite.open, scratch()).kind, "journal")
  end)

  it("lets a reader change nothing", function()
    local path = scratch() .. "/a.db"
    sqlite.open(path):script "create table log (a)"
    local db <close> = sqlite.open(path, { mode = "read" })
    equal(raises(db.exec, db, "insert into log values (1)").code, "SQLITE_READONLY")
    equal(count(db), 0)
  end)

  it("refuses a link in place of the file, and follows one to its folder", function()
    local folder = scratch()
    sqlite.open(folder .. "/real.db"):script "create table log (a)"
    os.execute(("cd %s; ln -s real.db link.db; ln -s . sub; ln -s gone.db dangling.db"):format(folder))
    equal(raises(sqlite.open, folder .. "/link.db").code, "SQLITE_CANTOPEN_SYMLINK")
    raises(sqlite.open, folder .. "/dangling.db")
    equal(io.open(folder .. "/gone.db"), nil)
    local db <close> = sqlite.open(folder .. "/sub/real.db")
    equal(count(db), 0)
  end)

  it("takes a name that looks like a URI for a name", function()
    local folder = scratch()
    local db <close> = sqlite.open(folder .. "/file:a?mode=memory")
    db:exec "create table log (a)"
    equal(mode_of(folder .. "/file:a?mode=memory"), "600")
  end)

  it("refuses options it does not know", function()
    matches(raises(sqlite.open, ":memory:", { wal = true }), "no option is named 'wal'")
    matches(raises(sqlite.open, ":memory:", { mode = "append" }), "invalid option 'append'")
    matches(raises(sqlite.open, ":memory:", { permissions = "rw" }), "not octal")
    matches(raises(sqlite.open, ":memory:", { permissions = "4755" }), "not octal")
    matches(raises(sqlite.open, ":memory:", { busy_timeout = -1 }), "0 to 3600 seconds")
    matches(raises(sqlite.open, ""), "no path")
    matches(raises(sqlite.open, "a\0b"), "holds a NUL")
    matches(raises(sqlite.open, ("x/"):rep(5000)).message, "SQLITE_CANTOPEN")
  end)

  it("keeps what was committed when it is opened again", function()
    local path = scratch() .. "/journal.db"
    do
      local db <close> = sqlite.open(path)
      equal(db:rows "pragma journal_mode = wal", { { journal_mode = "wal" } })
      db:script "pragma synchronous = full; create table log (seq integer primary key, body text)"
      db:exec "begin"
      for i = 1, 100 do db:exec("insert into log values (?, ?)", i, ("row %d"):format(i)) end
      db:exec "commit"
      db:exec "begin"
      db:exec "delete from log"
    end
    local db <close> = sqlite.open(path)
    equal(count(db), 100)
  end)
end)

describe("sqlite handles", function()
  it("close twice, and refuse all after it", function()
    local db = memory()
    db:exec "insert into log values (1, 1, 1)"
    db:close()
    db:close()
    for _, method in ipairs { "exec", "rows", "each", "script" } do
      matches(raises(db[method], db, "select 1"), "database is closed")
    end
    matches(raises(db.exec, io.stdout, "select 1"), "sqlite.database expected")
  end)

  it("close under a loop that is not over", function()
    local db = memory()
    for i = 1, 10 do db:exec("insert into log values (?, null, null)", i) end
    local failure = raises(function()
      for _ in db:each "select * from log" do db:close() end
    end)
    matches(failure, "database is closed")
  end)

  it("let a writer in when a loop is left early or breaks", function()
    local path = scratch() .. "/a.db"
    local db <close> = sqlite.open(path)
    local other <close> = sqlite.open(path, { busy_timeout = 0 })
    db:script "create table log (a); insert into log values (1), (2)"
    for _ in db:each "select * from log" do break end
    pcall(function()
      for _ in db:each "select * from log" do error "left" end
    end)
    equal(other:exec "insert into log values (3)", 1)
    for _ in db:each "select * from log" do
      equal(raises(other.exec, other, "insert into log values (3)").code, "SQLITE_BUSY")
      break
    end
  end)

  it("may be nested, with the same text", function()
    local db <close> = memory()
    db:script "insert into log values (1, 1, 1), (2, 2, 2)"
    local pairs_seen = 0
    for _ in db:each "select * from log" do
      for _ in db:each "select * from log" do pairs_seen = pairs_seen + 1 end
      equal(#db:rows "select * from log", 2)
    end
    equal(pairs_seen, 4)
  end)

  it("may be forgotten, in any order", function()
    for _ = 1, 20 do
      local db = memory()
      db:exec "insert into log values (1, 1, 1)"
      local following, statement = db:each "select * from log"
      following(statement)
    end
    collectgarbage()
    local following, statement = memory():each "select 1 as one"
    collectgarbage()
    equal(following(statement), { one = 1 })
  end)
end)
