-- Salt: what a master has its minions, and itself, do. What came of it is read from what they answered, since an exit
-- status says neither which minion failed nor which state, and for some ways of asking says nothing at all.
local salt = {}

local JSON = { "--out=json", "--out-indent=-1" } -- a document a line, one for each minion

local function list_of(...)
  local all = {}
  for _, list in ipairs { ... } do table.move(list, 1, #list, #all + 1, all) end
  return all
end

local function argv(program, ...) return list_of({ program }, JSON, ...) end

-- ---- what was answered ----

local add_failures

--- Of a runner that raised, the last line says why.
local function reason_of(state)
  local said = type(state.changes) == "table" and state.changes["return"]
  return type(said) == "string" and said:match "([^\n]+)%s*$" or state.comment
end

local function add_state(list, where, state)
  local found = #list
  add_failures(list, where, state.changes)
  if #list == found then list[#list + 1] = ("%s: %s"):format(where, reason_of(state)) end
end

local ENVELOPES = { ret = true, ["return"] = true, data = true }

local function named(where, name)
  if ENVELOPES[name] or type(name) ~= "string" then return where end
  return where == "" and name or where .. ", " .. name
end

--- The innermost states that failed, each with the minion and the states round it.
function add_failures(list, where, value)
  if type(value) ~= "table" then return end
  for name, one in pairs(value) do
    if type(one) == "table" then
      local inner = named(where, one.__id__ or name)
      if one.result == false and one.__state_ran__ ~= false then
        add_state(list, inner, one)
      elseif one.result == nil then
        add_failures(list, inner, one)
      end
    end
  end
end

local LAST = 800 -- bytes of what a command said

--- What a minion answered where its function failed.
local function of_minion(answer)
  if type(answer) ~= "table" then return tostring(answer):match "^[^\n]*" end
  if answer.retcode then
    local said = tostring(answer.stderr ~= "" and answer.stderr or answer.stdout)
    return ("exit status %s: %s"):format(answer.retcode, said:sub(-LAST))
  end
  return answer[1] and tostring(answer[1]) or json.encode(answer)
end

local SIGNS = { "ERROR", "Minion did not return", "is not available", "Exception", "Passed invalid arguments" }

local function is_failure(answer)
  if type(answer) == "table" then return (answer.retcode or 0) ~= 0 or type(answer[1]) == "string" end
  for _, sign in ipairs(SIGNS) do
    if tostring(answer):find(sign, 1, true) then return true end
  end
end

--- Who failed; everybody where nobody's answer shows it.
local function failed_minions(documents, is_one)
  local list = {}
  for _, document in ipairs(documents) do
    for minion, answer in pairs(type(document) == "table" and document or {}) do
      if is_one(answer) then list[#list + 1] = ("%s: %s"):format(minion, of_minion(answer)) end
    end
  end
  return list
end

local function answers_of(text)
  local documents = {}
  for line in text:gmatch "[^\n]+" do
    local ok, document = pcall(json.parse, line)
    if ok then documents[#documents + 1] = document end
  end
  return documents
end

local function failures_of(documents, done)
  local list = {}
  for _, document in ipairs(documents) do add_failures(list, "", document) end
  if list[1] or done.status == 0 then return list end
  list = failed_minions(documents, is_failure)
  if not list[1] then list = failed_minions(documents, function() return true end) end
  return list[1] and list or { (done.err .. "\n" .. done.out):match "^%s*([^\n]*)" }
end

--- The answers, or the failure with who and which states it was.
local function checked(host, what, done)
  local documents = answers_of(done.out)
  local failures = failures_of(documents, done)
  if failures[1] then
    fail(("%s failed (%s): %s"):format(what, host, table.concat(failures, "; ")),
      "repair it where it failed, then try again: Salt makes only what is not so yet")
  end
  return documents
end

-- ---- changes ----

local function run(target, command, call)
  return checked(target.host, target.what, witness.run(target.host, call, command,
    { become = target.become, env = target.env, ok = "any", timeout = call.timeout }))
end

--- A command of Salt that changes something, once: it runs to its end whatever becomes of the connection, and has happened
--- if no minion and no state of it failed. Its undo, where it has one, is another.
effect.action "salt.call" {
  prepare = witness.prepare,
  run = function(target, _, call) return run(target, target.command, call) end,
  undo = function(target, undo, call) return run(target, undo.command, call) end,
  undo_needs_data = true,
  take = function(target, id, intent)
    local verdict, detail = witness.take(target, id, intent, "any")
    if verdict ~= "done" then return verdict, detail end
    local ok, answers = pcall(checked, target.host, target.what, detail)
    if ok then return "done", answers end
    return "partial", tostring(answers)
  end,
  release = witness.release,
  show = function(target) return ("%s: %s"):format(target.host, target.what) end,
  says = function() return "runs once" end,
}

local function perform(master, what, command, variables, options)
  local target = { host = master.name, become = host.become(master), command = command, env = variables, what = what }
  return effect.perform("salt.call", target, nil, options)
end

local function target_of(minions)
  if type(minions) == "table" then return { "-L", table.concat(minions, ",") } end
  return { minions }
end

--- "supervisord.stop all on web1 and 2 more"
local function what_of(minions, words)
  local whom = type(minions) == "table" and minions[1] or minions
  if type(minions) == "table" and #minions > 1 then whom = ("%s and %d more"):format(whom, #minions - 1) end
  return ("%s on %s"):format(table.concat(words, " "), whom)
end

local function by_minion(documents)
  local answers = {}
  for _, document in ipairs(documents) do
    for minion, answer in pairs(document) do answers[minion] = answer end
  end
  return answers
end

--- Has minions run a function. `undo` is the function, with its arguments, that takes it back on the same minions.
--- @param master table     the host that Salt's master runs on
--- @param minions string[]|string  their ids, or a pattern
--- @param words string[]   function and arguments
--- @param options? { undo?: string[], keep?: string, irreversible?: string, timeout?: number }
--- @return table<string, any>  what each answered
function salt.call(master, minions, words, options)
  options = options or {}
  local target, given = target_of(minions), {}
  for key, value in pairs(options) do given[key] = value end
  given.undo = options.undo and { command = argv("salt", target, options.undo) }
  local answers = perform(master, what_of(minions, words), argv("salt", target, words), nil, given)
  return effect.planning() and answers or by_minion(answers)
end

--- Changes minions by fn, and then has them run a function, a restart say: forward after all that fn changes, backward
--- after it is put back; where fn changes nothing it is not run.
--- @param master table
--- @param minions string[]|string
--- @param words string[]
--- @param fn fun()
function salt.with(master, minions, words, fn)
  local target = target_of(minions)
  effect.bracket("salt.call", { host = master.name, become = host.become(master), command = argv("salt", target, words),
    what = what_of(minions, words) }, fn)
end

--- Runs states of the master over its minions (salt-run state.orchestrate). They read the variables.
--- @param master table
--- @param state string
--- @param variables table<string, string>
--- @param options? table  keep, irreversible, timeout
function salt.orchestrate(master, state, variables, options)
  perform(master, "state.orchestrate " .. state, argv("salt-run", { "state.orchestrate", state }), variables,
    options or {})
end

-- ---- reads ----

--- What it said, with its exit status before it: of a command that failed the word `read` gives no output.
local WITH_STATUS = { "sh", "-c", 'out=$("$@" 2>&1); printf "%s %s" $? "$out"', "sh" }

local function ask(master, what, command)
  local status, out = master:read(list_of(WITH_STATUS, command)):match "^(%d+) (.*)$"
  return checked(master.name, what, { status = tonumber(status), out = out, err = "" })
end

--- What minions answer to a function that changes nothing.
--- @param master table
--- @param minions string[]|string
--- @param words string[]
--- @return table<string, any>
function salt.ask(master, minions, words)
  local target = target_of(minions)
  return by_minion(ask(master, what_of(minions, words), argv("salt", target, words)))
end

--- The minions of a pattern that answer, sorted. Raises where one does not.
--- @param master table
--- @param pattern string
--- @return string[]
function salt.minions(master, pattern)
  local list = {}
  for minion in pairs(salt.ask(master, pattern, { "test.ping" })) do list[#list + 1] = minion end
  return list
end

-- ---- Salt's own store ----

--- A URI that nobody resolves comes back as it is.
local function stored(target)
  local what = ("sdb.get %s on %s"):format(target.uri, target.minion)
  local command = argv("salt", { target.minion, "sdb.get", target.uri })
  -- neap: allow(declared-read) sdb.get asks the store
  local done = host.exec(target.host, command, { become = target.become, ok = "any", reads = true })
  local value = by_minion(checked(target.host, what, done))[target.minion]
  if value == target.uri then fail(("%s knows no store for %s"):format(target.minion, target.uri)) end
  if value ~= json.null then return value end
end

effect.resource "salt.stored" {
  get = stored,
  prepare = witness.prepare,
  put = function(target, value, call)
    -- Salt reads an argument as YAML, so a text goes in quotes
    local words = value == nil and { "sdb.delete", target.uri } or { "sdb.set", target.uri, json.encode(value) }
    witness.run(target.host, call, argv("salt", { target.minion }, words), { become = target.become })
  end,
  take = function(target, id, intent)
    local verdict, why = witness.take(target, id, intent, "any")
    if verdict == "running" then return verdict, why end
  end,
  release = witness.release,
  show = function(target) return ("%s: %s"):format(target.host, target.uri) end,
  text = function(value) return tostring(value) end,
}

local function store_of(master, minion, uri)
  return { host = master.name, become = host.become(master), minion = minion, uri = uri }
end

-- neap: allow(declared-read) as stored
local read_stored = effect.read("salt.stored", stored)

--- A value of Salt's own store (sdb), as a minion reads it; nil where there is none.
--- @param master table
--- @param minion string
--- @param uri string  "sdb://…"
--- @return string|number|boolean|nil
function salt.stored(master, minion, uri) return read_stored(store_of(master, minion, uri)) end

--- Makes Salt's own store hold a value; nil: none.
--- @param master table
--- @param minion string
--- @param uri string
--- @param value string|number|boolean|nil
function salt.store(master, minion, uri, value)
  effect.change("salt.stored", store_of(master, minion, uri), function() return value end)
end

return salt
