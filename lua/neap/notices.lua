--- The ways in which the world is told of a run: webhooks, PagerDuty, mail. Where a way leads is a reference to a secret.
local fault   = require "native.error"
local json    = require "native.json"
local near    = require "neap.near"
local secret  = require "native.secret"
local secrets = require "neap.secrets"
local task    = require "native.task"

local notices = {}

local TIMEOUT = 30 -- seconds
local ANSWER = 200 -- bytes of a refusal that are noted
local PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"

-- ---- what is said ----

local function run_of(event) return ("%s/%s"):format(event.environment, tostring(event.run)) end

local SAYS = {
  start  = function(event)
    return "has begun: " .. event.procedure .. (event.actor and ", by " .. event.actor or "")
  end,
  human  = function(event) return "waits for a person: " .. tostring(event.question) end,
  failed = function(event) return ("failed at %q: %s"):format(event.path, tostring(event.message)) end,
  done   = function(event) return "is closed: " .. tostring(event.outcome) end,
}

--- An event as a sentence.
--- @param event table
--- @return string
function notices.sentence(event) return run_of(event) .. " " .. SAYS[event.event](event) end

-- ---- webhooks ----

local SLACK = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }

local FORMS = {
  json  = function(event) return event end,
  slack = function(event) return { text = (notices.sentence(event):gsub("[&<>]", SLACK)) } end,
  teams = function(event)
    return { type = "message", attachments = { { contentType = "application/vnd.microsoft.card.adaptive", content = {
      type = "AdaptiveCard", version = "1.4",
      body = { { type = "TextBlock", text = notices.sentence(event), wrap = true } } } } } }
  end,
}

local function collect(exchange)
  local text = ""
  for bytes in exchange.read, exchange do
    text = #text < ANSWER and text .. bytes or text
  end
  return text:sub(1, ANSWER)
end

local function post(url, body)
  local exchange <close> = require("native.http").open { url = url, method = "POST", reads = true, body = body,
    headers = { ["Content-Type"] = "application/json", ["User-Agent"] = "neap" } }
  local status = exchange:response().status
  if status >= 200 and status < 300 then return end
  fault.raise { kind = "remote", code = status, message = ("it was answered with status %d"):format(status),
    output = collect(exchange) }
end

-- ---- the ways ----

local ways = {}

ways.webhook = {
  keys = { form = true },
  mistake = function(entry)
    if entry.form and not FORMS[entry.form] then
      return ("knows no form '%s'%s"):format(tostring(entry.form), near.hint(tostring(entry.form), FORMS))
    end
  end,
  reference = function(entry) return entry.webhook end,
  name = function(entry) return "a webhook" .. (entry.form and (" (%s)"):format(entry.form) or "") end,
  tell = function(run, entry, event)
    post(secrets.of_run(run, entry.webhook), json.encode(FORMS[entry.form or "json"](event)))
  end,
}

local ACTIONS = { human = "trigger", failed = "trigger", done = "resolve" }

local function pager_event(event)
  return { event_action = ACTIONS[event.event], dedup_key = "neap " .. run_of(event), client = "neap",
    payload = ACTIONS[event.event] == "trigger" and { summary = notices.sentence(event):sub(1, 1024),
      source = event.environment, severity = event.event == "failed" and "critical" or "warning",
      custom_details = event } or nil }
end

ways.pagerduty = {
  keys = { url = true },
  mistake = function(entry)
    if entry.url and not tostring(entry.url):find "^https?://" then return "has a url that is none" end
  end,
  reference = function(entry) return entry.pagerduty end,
  name = function() return "PagerDuty" end,
  wants = function(event) return ACTIONS[event] ~= nil end,
  tell = function(run, entry, event)
    local key = secrets.of_run(run, entry.pagerduty)
    local rest = json.encode(pager_event(event)):sub(2)
    post(entry.url or PAGERDUTY, '{"routing_key":"' .. secret.json(key) .. '",' .. rest)
  end,
}

ways.mail = {
  keys = {},
  mistake = function(entry)
    local message = require "neap.targets.mail.message"
    for _, address in ipairs(type(entry.mail) == "table" and entry.mail or {}) do
      if not message.address(address) then return ("goes to %q, which is no address"):format(tostring(address)) end
    end
    if type(entry.mail) ~= "table" or #entry.mail == 0 then return "lacks addresses: mail is a list of them" end
  end,
  name = function(entry) return "by mail " .. table.concat(entry.mail, ", ") end,
  tell = function(run, entry, event)
    local lines = { notices.sentence(event), "" }
    for _, key in ipairs { "procedure", "actor", "path", "message", "question" } do
      if event[key] then lines[#lines + 1] = ("%s: %s"):format(key, tostring(event[key])) end
    end
    require("neap.targets.mail.way").notice(run, entry.mail,
      notices.sentence(event):gsub("%c.*", ""):sub(1, 200), table.concat(lines, "\n"))
  end,
}

local function way_of(entry)
  for _, name in ipairs { "webhook", "pagerduty", "mail" } do
    if entry[name] ~= nil then return ways[name], name end
  end
end

--- The keys that entries of an environment's list have for the ways that are told here.
--- @return table<string, boolean>
function notices.keys() return { webhook = true, form = true, pagerduty = true, url = true, mail = true } end

local function reference_mistake(name, reference)
  if type(reference) == "string" and reference:find("$(", 1, true) then return nil end -- an argument of the run
  local ok, failure = pcall(secrets.parse, reference)
  if not ok then return ("%s: %s"):format(name, failure.message) end
  if reference:find "^ask:" then return name .. ": nobody can be asked for it while a run goes on" end
end

--- What is wrong with an entry that has one of these ways, or nil.
--- @param entry table
--- @return string? message
function notices.mistake(entry)
  local way, name = way_of(entry)
  if not way then return "says no way: command, webhook, pagerduty or mail" end
  for key in pairs(entry) do
    if key ~= "events" and key ~= name and not way.keys[key] then
      return ("has '%s', which does not go with %s"):format(tostring(key), name)
    end
  end
  return way.reference and reference_mistake(name, way.reference(entry)) or way.mistake(entry)
end

--- Who is told, for a note: never where that is.
--- @param entry table
--- @return string
function notices.name(entry) return way_of(entry).name(entry) end

--- Whether this way has something to say of an event.
--- @param entry table
--- @param event string
--- @return boolean
function notices.wants(entry, event)
  local wants = way_of(entry).wants
  return not wants or wants(event)
end

--- Tells of an event; raises what came of it.
--- @param run table
--- @param entry table
--- @param event table
function notices.tell(run, entry, event)
  task.deadline(TIMEOUT, function() way_of(entry).tell(run, entry, event) end)
end

--- The references that an environment's list holds.
--- @param list table[]?
--- @return string[]
function notices.references(list)
  local found = {}
  for _, entry in ipairs(list or {}) do
    local way = type(entry) == "table" and way_of(entry)
    if way and way.reference then found[#found + 1] = way.reference(entry) end
  end
  return found
end

return notices
