local memory   = require "native.memory"
local pg       = require "native.pg"
local postgres = require "tests.postgres"
local process  = require "native.process"
local task     = require "native.task"

local server, connection

before_each(function()
  server = postgres.start()
  server.sql "drop table if exists copied; create table copied (n int primary key, body text)"
  connection = pg.connect { host = server.socket, port = server.port, user = "postgres", dbname = "postgres" }
end)

after_each(function()
  connection:close()
  server.sql "drop table if exists copied"
end)

local function copy_in(next_chunk, ...)
  return changing(connection.copy_in, connection, "copy copied from stdin", next_chunk, ...)
end

local function count() return connection:query "select count(*) from copied".rows[1][1] end

-- A next_chunk that gives these.
local function chunks(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

-- KiB of this process that are in memory, of Lua and of libpq.
local function resident()
  local file <close> = io.open "/proc/self/statm"
  return file:read("a"):match "^%d+ (%d+)" * 4
end

describe("pg copy_in", function()
  it("takes rows in pieces that are cut anywhere, and says how many", function()
    equal(copy_in(chunks { "1\ta\n2\t", "b\\tb\n", "", "3", "\t\\N\n" }), 3)
    equal(connection:query "select * from copied order by n".rows[2], { 2, "b\tb" })
    equal(copy_in(chunks {}), 0)
    equal(count(), 3)
  end)

  it("takes a piece of any size", function()
    local body = ("x"):rep(5 << 20)
    equal(copy_in(chunks { "1\t" .. body .. "\n" }), 1)
    equal(connection:query "select length(body) from copied".rows, { { 5 << 20 } })
  end)

  it("lets next_chunk wait, and others run", function()
    local steps, others = 0, 0
    local other = task.spawn(function() while steps < 5 do others = others + 1 task.sleep(0.01) end end)
    equal(copy_in(function()
      steps = steps + 1
      task.sleep(0.02)
      return steps <= 5 and ("%d\tx\n"):format(steps) or nil
    end), 5)
    other:wait()
    truthy(others > 5)
  end)

  it("leaves nothing of what next_chunk broke off, and raises its error", function()
    local object = { kind = "mine" }
    local rest = chunks { "1\ta\n", "2\tb\n" }
    local failure = raises(copy_in, function() return rest() or error(object) end)
    truthy(failure == object)
    equal(count(), 0)
    matches(raises(copy_in, function() return 7 end), "a chunk to copy is a text or nil, not a number")
    matches(raises(copy_in, function() error "broken" end), "broken")
    equal(count(), 0)
    equal(copy_in(chunks { "1\ta\n" }), 1)
  end)

  it("leaves nothing when its task is cancelled or its time is over", function()
    local waiting = task.spawn(function() copy_in(function() task.sleep(0.01) return "" end) end)
    task.sleep(0.1)
    waiting:cancel()
    equal(select(2, waiting:wait()).kind, "cancelled")
    -- given up while it waited for the server, or at rest again where the rows were what it waited for
    local ok, failure = pcall(connection.query, connection, "select 1")
    if not ok then matches(failure, "the connection is closed") end
    server.sql "begin; lock table copied in access exclusive mode; commit" -- waits for what would still copy
    equal(server.sql "select count(*) from copied", "0\n")
  end)

  it("gives the connection up when it is cancelled while the server is waited for", function()
    local other <close> = pg.connect { host = server.socket, port = server.port, user = "postgres",
      dbname = "postgres" }
    changing(other.execute, other, "begin")
    changing(other.execute, other, "lock table copied in access exclusive mode") -- so that the copy cannot begin
    local waiting = task.spawn(function() copy_in(chunks { "1\ta\n" }) end)
    task.sleep(0.1)
    waiting:cancel()
    equal(select(2, waiting:wait()).kind, "cancelled")
    matches(raises(connection.query, connection, "select 1"), "the connection is closed")
    changing(other.execute, other, "rollback")
    server.sql "begin; lock table copied in access exclusive mode; commit" -- waits for what would still copy
    equal(server.sql "select count(*) from copied", "0\n")
  end)

  it("leaves nothing when the server is lost in the middle", function()
    local sent = 0
    local failure = raises(copy_in, function()
      sent = sent + 1
      if sent == 3 then server.sql(("select pg_terminate_backend(%d)"):format(connection:facts().backend)) end
      return ("%d\tx\n"):format(sent)
    end)
    equal(failure.kind, "lost")
    equal(server.sql "select count(*) from copied", "0\n")
  end)

  it("tells what the server refuses, and with it all goes", function()
    local failure = raises(copy_in, chunks { "1\ta\n2\tb\n", "1\tc\n" })
    equal({ failure.kind, failure.code }, { "remote", "23505" })
    matches(failure.output, "COPY copied, line 3")
    equal(raises(copy_in, chunks { "x\ta\n" }).code, "22P02")
    equal(count(), 0)
    equal(raises(changing, connection.copy_in, connection, "copy nothing from stdin", chunks {}).code, "42P01")
    equal(count(), 0)
  end)

  it("belongs to the transaction that is open", function()
    changing(connection.execute, connection, "begin")
    equal(copy_in(chunks { "1\ta\n" }), 1)
    changing(connection.execute, connection, "rollback")
    equal(count(), 0)
  end)

  it("refuses what does not copy in", function()
    matches(raises(changing, connection.copy_in, connection, "select 1", chunks {}), "no copy of the kind")
    equal(count(), 0)
    matches(raises(changing, connection.copy_in, connection, "copy copied to stdout", chunks {}), "the other way")
    matches(raises(connection.query, connection, "select 1"), "the connection is closed")
  end)
end)

describe("pg copy_out", function()
  local function copy_out(sql, on_bytes, ...) return connection:copy_out(sql, on_bytes, ...) end

  local function collect(sql)
    local parts = {}
    local rows = copy_out(sql, function(piece) parts[#parts + 1] = piece end)
    return table.concat(parts), rows
  end

  it("gives all bytes, and says how many rows", function()
    copy_in(chunks { "1\ta\n2\té\n" })
    equal({ collect "copy copied to stdout" }, { "1\ta\n2\té\n", 2 })
    equal({ collect "copy (select n from copied order by 1 desc) to stdout csv header" }, { "n\n2\n1\n", 2 })
    equal({ collect "copy (select 1 where false) to stdout" }, { "", 0 })
    local binary, rows = collect "copy copied to stdout with (format binary)"
    equal({ binary:sub(1, 11), rows }, { "PGCOPY\n\xFF\r\n\0", 2 })
  end)

  it("lets on_bytes wait, and cannot write", function()
    local seen = 0
    copy_out("copy (select generate_series(1, 1000)) to stdout", function(piece)
      task.sleep(0.001)
      seen = seen + #piece
    end)
    equal(seen, 3893)
    equal(raises(copy_out, "copy (delete from copied returning n) to stdout", print).code, "25006")
    equal(count(), 0)
  end)

  it("gives the connection up when on_bytes raises", function()
    local object = {}
    local long = "copy (select generate_series(1, 100000000)) to stdout"
    local failure = raises(copy_out, long, function() error(object) end)
    truthy(failure == object)
    matches(raises(connection.query, connection, "select 1"), "the connection is closed")
    for _ = 1, 500 do
      local active = server.sql "select query from pg_stat_activity where query like 'copy%' and state = 'active'"
      if active == "" then return end
      task.sleep(0.01)
    end
    error "the server still copies"
  end)

  it("tells what goes wrong in the middle", function()
    local seen = ""
    local failure = raises(copy_out, "copy (select 1 / (3 - n) from generate_series(1, 5) n) to stdout",
      function(piece) seen = seen .. piece end)
    equal({ failure.code, seen }, { "22012", "0\n1\n" })
    equal(count(), 0)
    failure = raises(copy_out, "copy (select generate_series(1, 10000000)) to stdout", function()
      if seen ~= "" then server.sql(("select pg_terminate_backend(%d)"):format(connection:facts().backend)) end
      seen = ""
    end)
    equal(failure.kind, "lost")
  end)

  it("refuses what does not copy out", function()
    matches(raises(copy_out, "select 1", print), "no copy of the kind")
    matches(raises(copy_out, "copy copied from stdin", print).code or "", "25006")
    matches(raises(copy_out, "select 1"), "function expected")
    equal(count(), 0)
  end)
end)

describe("pg copies of any length", function()
  it("stay in the same memory, both ways", function()
    local line = ("x"):rep(990) .. "\n"
    local piece, number = {}, 0
    local function next_chunk()
      if number == 64 then return nil end
      for i = 1, 1000 do piece[i] = ("%d\t%s"):format(number * 1000 + i, line) end
      number = number + 1
      return table.concat(piece, "", 1, 1000)
    end
    collectgarbage()
    local used, held = memory.used(), resident()
    equal(copy_in(next_chunk), 64000)
    local bytes = 0
    equal(connection:copy_out("copy copied to stdout", function(text) bytes = bytes + #text end), 64000)
    truthy(bytes > 60 << 20)
    collectgarbage()
    truthy(memory.used() - used < 4 << 20 or error(memory.used() - used))
    -- the sanitizer keeps what is freed
    local most = process.executable():find("/san/", 1, true) and 320 << 10 or 24 << 10
    truthy(resident() - held < most or error(("%d KiB more"):format(resident() - held)))
  end)
end)
