--- PostgreSQL clusters of a host, as Debian's postgresql-common runs them: recovery, positions, promotion.
--- A cluster is `{ version = "15", cluster = "main" }`; service (default "postgresql") and data (its data folder) where
--- they are not Debian's.
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local file    = require "neap.targets.file"
local hosts   = require "neap.targets.connection"
local shell   = require "neap.targets.shell"
local task    = require "native.task"
local witness = require "neap.targets.witness"

local postgres = {}

local START_TIMEOUT   = 300  -- seconds until a restarted server answers: it may have much to replay
local PROMOTE_TIMEOUT = 600
local PAUSE           = 0.5

local KEYS = { version = true, cluster = true, service = true, data = true }

-- Host and cluster as plain data. Versions and names go into paths and command lines.
local function target_of(host, cluster)
  if type(cluster) ~= "table" then error('a cluster is { version = "15", cluster = "main" }', 3) end
  shell.check_options(cluster, KEYS, 3)
  local version, name = tostring(cluster.version), cluster.cluster or "main"
  if not version:find("^%d+%.?%d*$") then error(("%q is no version of PostgreSQL"):format(version), 3) end
  if not name:find("^[%w_][%w_.-]*$") then error(("%q is no name of a cluster"):format(name), 3) end
  return {
    host = hosts.name(host), version = version, cluster = name, service = cluster.service or "postgresql",
    data = cluster.data or ("/var/lib/postgresql/%s/%s"):format(version, name),
  }
end

local function show(target) return ("%s PostgreSQL %s/%s"):format(target.host, target.version, target.cluster) end

local function at_least(target, version) return tonumber(target.version) >= version end

local function ask(target, sql, ok)
  local argv = { "psql", "--cluster", target.version .. "/" .. target.cluster, "-XAtq", "-c", sql }
  return hosts.exec(target.host, argv, { become = "postgres", reads = true, ok = ok, timeout = 60 })
end

-- pg_controldata reads what the server has last written to its data folder.
local function control_data(target, name)
  local argv = { ("/usr/lib/postgresql/%s/bin/pg_controldata"):format(target.version), target.data }
  local options = { become = "postgres", reads = true, timeout = 60, env = { LC_ALL = "C" } }
  return hosts.exec(target.host, argv, options).out:match(name .. ":%s*(%d+)")
end

local function system_identifier(target)
  if not at_least(target, 9.6) then return control_data(target, "Database system identifier") end
  return ask(target, "select system_identifier from pg_control_system()", "any").out:match "^%d+"
end

-- Which database system this is, asked at the first contact of a run; one that does not answer is asked the next time.
local function meet(target)
  local met = hosts.memory(target.host)
  local key = "system of " .. show(target)
  if met[key] then return end
  local identifier = system_identifier(target)
  if identifier then hosts.met(show(target), "system " .. identifier) end
  met[key] = identifier
end

local function psql(target, sql, ok)
  meet(target)
  return ask(target, sql, ok)
end

local function fields(target, sql)
  local values = {}
  for value in (psql(target, sql).out:match("[^\n]*") .. "|"):gmatch("([^|]*)|") do
    values[#values + 1] = value ~= "" and value or false
  end
  return values
end

local function is_in_recovery(target) return fields(target, "select pg_is_in_recovery()")[1] == "t" end

local read_in_recovery = effect.read("postgres.in_recovery", is_in_recovery)

--- Whether the server follows another one, or replays its log, and so takes no writes.
--- @param host string|table
--- @param cluster table
--- @return boolean
function postgres.in_recovery(host, cluster) return read_in_recovery(target_of(host, cluster)) end

local read_version = effect.read("postgres.version", function(target)
  return fields(target, "show server_version")[1]
end)

--- The version of the server that runs.
--- @param host string|table
--- @param cluster table
--- @return string  as the server tells it: "15.6 (Debian 15.6-0+deb12u1)"
function postgres.version(host, cluster) return read_version(target_of(host, cluster)) end

-- Functions that name a position were renamed with version 10.
local function position_query(target)
  local suffix = at_least(target, 10) and { "wal", "lsn" } or { "xlog", "location" }
  local write, rest = ("pg_current_%s_%s()"):format(table.unpack(suffix)), {}
  for i, what in ipairs { "receive", "replay" } do
    rest[i] = ("pg_last_%s_%s_%s()"):format(suffix[1], what, suffix[2])
  end
  return ([[select r, case when r then null else %s end, case when r then %s end, case when r then %s end, %s
    from (select pg_is_in_recovery() as r) as server]]):format(write, rest[1], rest[2], at_least(target, 9.6) and
    "coalesce((select received_tli from pg_stat_wal_receiver), (select timeline_id from pg_control_checkpoint()))"
    or "null")
end

-- Before 9.6 only the control file tells the timeline, as of the last checkpoint.
local function control_timeline(target) return control_data(target, "Latest checkpoint's TimeLineID") end

local read_position = effect.read("postgres.position", function(target)
  local row = fields(target, position_query(target))
  return {
    in_recovery = row[1] == "t", write = row[2] or nil, receive = row[3] or nil, replay = row[4] or nil,
    timeline = math.tointeger(tonumber(row[5] or control_timeline(target))),
  }
end)

--- Where a server stands in its log.
--- @param host string|table
--- @param cluster table
--- @return { in_recovery: boolean, write: string?, receive: string?, replay: string?, timeline: integer }
---   write: of a server that takes writes; receive (of one that streams) and replay: of one in recovery
function postgres.position(host, cluster) return read_position(target_of(host, cluster)) end

local function byte_of(position)
  local high, low = position:match("^(%x+)/(%x+)$")
  return tonumber(high, 16) << 32 | tonumber(low, 16)
end

--- Whether two servers, both in recovery, have replayed the same log to the same place, with nothing left to replay.
--- @param a table  of postgres.position
--- @param b table
--- @return boolean
function postgres.same_position(a, b)
  local function is_done(position)
    if not position.in_recovery or not position.replay then return false end
    -- a receiver that has just begun tells the beginning of its file
    return not position.receive or byte_of(position.receive) <= byte_of(position.replay)
  end
  return is_done(a) and is_done(b) and a.replay == b.replay and a.timeline == b.timeline
end

local function answers(target) return psql(target, "select 1", "any").status == 0 end

-- Raises remote, not timeout: the command did run, so asking for its witness would only say that again.
local function await(target, timeout, holds, problem)
  local deadline = task.now() + timeout
  while not holds(target) do
    if task.now() > deadline then
      local message = ("%s %s after %d s"):format(show(target), problem, timeout)
      fault.raise { kind = "remote", host = target.host, message = message }
    end
    task.sleep(PAUSE)
  end
end

effect.action "postgres.restart" {
  timeout = 3600,
  run = function(target, _, call)
    local argv = { "service", target.service, "restart" }
    witness.run(target.host, call, argv, { become = "root", timeout = call.timeout })
    await(target, START_TIMEOUT, answers, "does not answer")
  end,
  meet = meet, prepare = witness.prepare, take = witness.take, release = witness.release,
  show = show, says = function() return "restart" end,
}

effect.action "postgres.reload" {
  timeout = 60,
  run = function(target, _, call)
    local argv = { "pg_ctlcluster", target.version, target.cluster, "reload" }
    witness.run(target.host, call, argv, { become = "root", timeout = call.timeout })
  end,
  meet = meet, prepare = witness.prepare, take = witness.take, release = witness.release,
  show = show, says = function() return "reload" end,
}

--- Restarts the server after what `fn` changes on it, and waits until it answers; a rollback does so after that is put
--- back. Nothing is restarted where fn changed nothing.
--- @param host string|table
--- @param cluster table
--- @param fn fun()
function postgres.with_restart(host, cluster, fn)
  return effect.bracket("postgres.restart", target_of(host, cluster), fn)
end

-- Problems of the configuration as it is on disk, one a line; the server would pass over them with a line in its log.
local read_problems = effect.read("postgres.configuration_problems", function(target)
  if not at_least(target, 9.5) then return "" end
  return psql(target, "select format('%s:%s: %s', sourcefile, sourceline, error) from pg_file_settings " ..
    "where error is not null and error <> 'setting could not be applied' order by seqno").out
end)

local function check_configuration(target)
  local problems = read_problems(target)
  if problems == "" then return end
  fault.raise {
    kind = "remote", host = target.host, output = problems,
    message = ("%s refuses its configuration: %s"):format(show(target), problems:match("[^\n]*")),
  }
end

--- The same with a reload; a configuration that the server would refuse is put back and not loaded.
--- @param host string|table
--- @param cluster table
--- @param fn fun()
function postgres.with_reload(host, cluster, fn)
  local target = target_of(host, cluster)
  return effect.bracket("postgres.reload", target, fn, { test = function() check_configuration(target) end })
end

-- After an interruption the restart is known to have been made, not that the server has come up since.
local read_restarted = effect.read("postgres.restarted", function(target)
  await(target, START_TIMEOUT, answers, "does not answer")
  return is_in_recovery(target)
end)

local OF_POSTGRES = { owner = "postgres", group = "postgres", mode = "0600", become = "root" }

--- Makes the server a standby that follows the log and takes no writes: with `standby.signal`, before version 12 with
--- the recovery.conf that its last promotion renamed to recovery.done; then a restart. A rollback makes it a master again.
--- @param host string|table
--- @param cluster table
function postgres.demote(host, cluster)
  local target = target_of(host, cluster)
  postgres.with_restart(host, cluster, function()
    if at_least(target, 12) then
      file.write(host, target.data .. "/standby.signal", "", OF_POSTGRES)
    else
      file.move(host, target.data .. "/recovery.done", target.data .. "/recovery.conf", { become = "root" })
    end
  end)
  if effect.planning() or read_restarted(target) then return end
  fault.raise { kind = "verify", host = target.host, message = show(target) .. " takes writes after its restart" }
end

effect.action "postgres.promote" {
  timeout = PROMOTE_TIMEOUT + 60,
  run = function(target, _, call)
    if not is_in_recovery(target) then return end
    local argv = { "pg_ctlcluster", target.version, target.cluster, "promote" }
    witness.run(target.host, call, argv, { become = "root", timeout = call.timeout })
    await(target, PROMOTE_TIMEOUT, function() return not is_in_recovery(target) end, "is still in recovery")
  end,
  done = function(target) return not is_in_recovery(target) end,
  meet = meet, prepare = witness.prepare, take = witness.take, release = witness.release,
  show = show, says = function() return "promote: in recovery t -> f" end,
}

--- Makes a standby the master, and waits until it takes writes; one that does so already is left as it is.
--- @param host string|table
--- @param cluster table
--- @param options? { irreversible?: string, keep?: string }  without: irreversible, for there is no way back
function postgres.promote(host, cluster, options)
  effect.perform("postgres.promote", target_of(host, cluster), nil, options)
end

--- Has the server's postgresql.conf include a file beside it, with `include 'NAME'` once at the end, and loads it.
--- @param host string|table
--- @param cluster table
--- @param name string  "master.conf"
function postgres.include(host, cluster, name)
  local target = target_of(host, cluster)
  local path = ("/etc/postgresql/%s/%s/postgresql.conf"):format(target.version, target.cluster)
  postgres.with_reload(host, cluster, function()
    file.line(host, path, ("include '%s'"):format((name:gsub("'", "''"))), { become = "root" })
  end)
end

return postgres
