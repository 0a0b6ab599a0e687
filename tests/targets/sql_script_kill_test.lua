--- neap is killed, as a process, at random moments while it carries a script out; then it is resumed.
local fs      = require "native.fs"
local process = require "native.process"
local task    = require "native.task"
local world   = require "tests.targets.sql_world"

local STATEMENTS, KILLS = 2000, 4

local function write(path, text, mode)
  fs.mkdir(path:match "^(.*)/", "0755")
  fs.write(path, text, { mode = mode or "0644" })
end

--- Each twentieth statement takes its time.
local function script(engine)
  local lines, sleep = {}, engine == "postgres" and "pg_sleep" or "sleep"
  for i = 1, STATEMENTS do
    lines[i] = i % 20 == 0 and ("insert into killed select %d from (select %s(0.03)) as slow;"):format(i, sleep)
      or ("insert into killed values (%d)%s;"):format(i, i % 50 == 1 and ", (0), (0)" or "")
  end
  return table.concat(lines, "\n")
end

local function repository(engine, folder)
  local entry, server = world.entry(engine, folder)
  local place = engine == "postgres" and server.folder or server.socket
  write(folder .. "/procedures/it/environments/lab.yml",
    ("databases:\n  main: { %s: %s, port: %d, user: %s, database: %s, password: %q }\n"
      .. "policy: { point_of_no_return: pass }\n")
      :format(engine, place, server.port, server.user, entry.database, entry.password))
  write(folder .. "/procedures/it/load.sql", script(engine))
  write(folder .. "/procedures/it/load.lua",
    '-- Loads.\nphase "Load"\nstep "Load" { run = function() sql.script(env.databases.main, "load.sql") end }\n')
end

--- neap in one process, and its number.
local function start(folder, ...)
  local child = process.spawn({ "sh", "-c", 'echo $$; exec "$0" "$@" --env it/lab --foreground --yes --no-input',
    process.executable(), ... }, { reads = true, cwd = folder,
    env = { NEAP_PATH = folder, XDG_STATE_HOME = folder .. "/state", HOME = folder } })
  return child, tonumber(child:read(64):match "^%d+")
end

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    it("is exact about a script of 2,000 statements whose neap is killed again and again", function()
      local folder = scratch()
      repository(engine, folder)
      world.clean(engine)
      world.sql(engine, "drop table if exists killed; create table killed (n int)")
      local kills, child, pid = 0, start(folder, "run", "it/load")
      while kills < KILLS do
        local wanted = STATEMENTS * (kills + 1) // (KILLS + 2)
        repeat
          task.sleep(0.01)
          local done = tonumber(world.sql(engine, "select count(*) from killed where n > 0"))
        until done >= wanted or not process.alive(pid)
        if not process.alive(pid) then break end
        process.kill(pid, process.start_time(pid))
        child:close()
        kills = kills + 1
        child, pid = start(folder, "resume", "1")
      end
      local outcome = child:collect { timeout = 300 }
      child:close()
      equal({ outcome.status, kills }, { 0, KILLS })
      equal(world.sql(engine, "select count(*), count(distinct n), sum(n) from killed"):gsub("\t", "|"),
        ("%d|%d|%d\n"):format(STATEMENTS + 80, STATEMENTS + 1, STATEMENTS * (STATEMENTS + 1) // 2))
      matches(outcome.out .. outcome.err, "%d+ of 2000 statements are done, up to line %d+")
    end)
  end)
end
