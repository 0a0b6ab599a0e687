--- `neap list`: the procedures there are, where they can run, and when they last did.
local fs         = require "native.fs"
local repository = require "neap.repository"
local view       = require "neap.cli.view.list"

local list = {
  summary = "list the procedures",
  examples = { "neap list", "neap list encode", "NEAP_PATH=~/runbooks neap list" },
}

function list.arguments(parser)
  parser:argument("group", "only this group"):args "?"
end

local function environments_by_group()
  local by_group = {}
  for _, entry in ipairs(repository.environments()) do
    local names = by_group[entry.group] or {}
    by_group[entry.group] = names
    names[#names + 1] = entry.name:match "[^/]*$"
  end
  return by_group
end

--- The newest run of each procedure, and the runs that are open.
local function history()
  local newest, open = {}, {}
  for _, run in ipairs(require "neap.cli.history".all()) do
    local before = newest[run.procedure]
    if not before or before.started < run.started then newest[run.procedure] = run end
    if not run.outcome then open[#open + 1] = run end
  end
  return newest, open
end

local function model(group)
  local environments, newest, open = environments_by_group(), history()
  local procedures = {}
  for _, entry in ipairs(repository.procedures()) do
    if group == nil or entry.group == group then
      procedures[#procedures + 1] = {
        name = entry.name, summary = repository.summary(fs.read(entry.file)), last = newest[entry.name],
        environments = environments[entry.group] or {},
      }
    end
  end
  return { procedures = procedures, open = open, folders = repository.roots(), looked_in = repository.search_path() }
end

local function check_group(group)
  local near, failure = require "neap.near", require "neap.cli.failure"
  local groups, seen = {}, {}
  for _, entry in ipairs(repository.procedures()) do
    if entry.group == group then return end
    if not seen[entry.group] then groups[#groups + 1] = entry.group end
    seen[entry.group] = true
  end
  failure.wrong_use(("no group '%s'.%s"):format(group, near.question(group, groups)), "neap list")
end

function list.run(options)
  local console = options.console
  if options.group then check_group(options.group) end
  local found = model(options.group)
  if console.json then return console:answer_json(found) and 0 end
  console:answer(view.text(found, console.out))
end

return list
