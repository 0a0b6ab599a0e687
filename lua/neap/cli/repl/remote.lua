--- Names that targets have, for Tab: files, tables and columns, objects of clusters. They are asked for within a short
--- time, by reads alone, and kept for a while; what cannot be had so is not offered.
local branches = require "neap.engine.branch"
local task     = require "native.task"

local remote = {}

local PATIENCE, KEPT = 1.5, 30 -- seconds

--- The session as a read of ours sees it: nobody is asked for a passphrase because of Tab.
local function without_questions(session)
  return setmetatable({ prompt = function() return nil end }, { __index = session, __newindex = session })
end

local function ask(session, fn, ...)
  local branch = branches.new(without_questions(session), { title = "repl" }, { path = "repl", attempt = 1 })
  return task.with_context(branch, branch.within, branch, { inside = true }, fn, ...)
end

--- What fn(...) returns, or what it returned a while ago; an empty list where it does not come in time.
local function kept(sits, key, fn, ...)
  sits.known = sits.known or {}
  local known = sits.known[key]
  if known and task.now() - known.at < KEPT then return known.list end
  local ok, list = pcall(task.deadline, PATIENCE, ask, sits.session, fn, ...)
  sits.known[key] = { at = task.now(), list = ok and list or {} }
  return sits.known[key].list
end

local function word(sits, name) return sits.session.procedure.globals[name] end

--- Paths in a directory of a host; those of directories end with a slash.
--- @param sits table  the sitting
--- @param host table
--- @param folder string  with its slash at the end
--- @return string[]
function remote.files(sits, host, folder)
  return kept(sits, "files " .. host.name .. folder, function()
    local paths = {}
    for _, entry in ipairs(word(sits, "file").list(host, folder:match "^(.+)/$" or "/")) do
      paths[#paths + 1] = folder .. entry.name .. (entry.type == "directory" and "/" or "")
    end
    return paths
  end)
end

local COLUMNS = [[select table_schema as s, table_name as t, column_name as c from information_schema.columns
  where table_schema not in ('pg_catalog', 'information_schema', 'mysql', 'performance_schema', 'sys')]]

--- Tables and columns of a database.
--- @param sits table
--- @param database table
--- @return string[]
function remote.columns(sits, database)
  return kept(sits, "columns " .. database.name, function()
    local names, seen = {}, {}
    local function add(name)
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
    for _, row in ipairs(database:query(COLUMNS)) do
      add(row.t)
      add(row.c)
      add(row.s .. "." .. row.t)
    end
    return names
  end)
end

--- Objects of a kind in a cluster, as "deployment/web".
--- @param sits table
--- @param cluster string
--- @param kind string
--- @return string[]
function remote.objects(sits, cluster, kind)
  return kept(sits, "objects " .. cluster .. "/" .. kind, function()
    local refs = {}
    for _, object in ipairs(word(sits, "k8s").list(cluster, kind)) do
      refs[#refs + 1] = kind .. "/" .. object.metadata.name
    end
    return refs
  end)
end

return remote
