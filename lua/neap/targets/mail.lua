--- Mail: messages of text that a run sends, by a server (SMTP) or by this machine's sendmail. What is sent cannot be taken
--- back; a rollback leaves it.
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local message = require "neap.targets.mail.message"
local shell   = require "neap.targets.shell"
local way     = require "neap.targets.mail.way"
local witness = require "neap.targets.witness"

local mail = {}

local TIMEOUT = 300 -- seconds: a server looks at a message before it takes it
local KEEP = "a mail was sent"

-- ---- by a server ----

--- Mails of which it is certain that no server has them, nor will, by the name of their effect.
local function unsent()
  local run = hosts.run()
  run.connections["mails not sent"] = run.connections["mails not sent"] or { close = function() end, of = {} }
  return run.connections["mails not sent"].of
end

--- The mail that the effect's target and data say together.
local function mail_of(target, data)
  local one = { server = target.server, to = target.to, subject = target.subject }
  for key, value in pairs(data) do one[key] = value end
  return one
end

local function to_server(target, data, call)
  local id = message.id(call.witness, data.from)
  local letter <close> = way.letter(hosts.run(), mail_of(target, data), id)
  local ok, result = pcall(letter.result, letter, { timeout = call.timeout })
  if ok then return { id = id, code = result.code, reply = result.reply } end
  letter:close()
  if not letter:handed() or fault.is(result, "denied") then unsent()[call.witness] = true end
  if fault.is(result) then
    result.message = ("%s did not take the mail to %s: %s"):format(target.server, target.to[1], result.message)
  end
  error(result, 0)
end

local function show(target)
  local more = #target.to > 1 and (" and %d more"):format(#target.to - 1) or ""
  return ("mail to %s%s: %s"):format(target.to[1], more, target.subject)
end

local function says(data) return ("from %s, %d bytes of text"):format(data.from, #data.text) end

effect.action "mail.send" {
  timeout = TIMEOUT,
  run = to_server,
  take = function(_, id)
    if unsent()[id] then return "void" end
    return "unknown", "no server can be asked whether it has taken a mail: look whether it arrived"
  end,
  show = show, says = says,
}

-- ---- by sendmail ----

effect.action "mail.sendmail" {
  timeout = TIMEOUT,
  prepare = function() return witness.prepare "local" end,
  run = function(target, data, call)
    local id = message.id(call.witness, data.from)
    local argv, input = way.command(way.program(target.server), mail_of(target, data), id)
    witness.run("local", call, argv, { become = false, input = input, timeout = call.timeout })
    return { id = id }
  end,
  take = function(_, id, intent)
    local verdict, detail = witness.take("local", id, intent)
    if verdict ~= "done" then return verdict, detail end
    return "done", { id = message.id(id, intent.data.from) }
  end,
  release = function(_, place) witness.release("local", place) end,
  show = show, says = says,
}

-- ---- the word ----

--- @class (exact) neap.mail.options
--- @field server? string    "smtps://host", "smtp://host:587" (STARTTLS, but for this machine), "sendmail",
---   "sendmail:/path/to/program"; default: server of values.mail
--- @field from? string      default: from of values.mail
--- @field cc? string|string[]
--- @field bcc? string|string[]
--- @field user? string      default: user of values.mail, for its server
--- @field password? string|native.secret.value  default: the secret mail_password
--- @field ca? string        file of authorities, instead of the system's; default: ca of values.mail
--- @field keep? string      why a rollback leaves it; "a mail was sent"
--- @field irreversible? string
--- @field timeout? number   seconds; 300

local OPTIONS = { server = true, from = true, cc = true, bcc = true, user = true, password = true, ca = true,
  keep = true, irreversible = true, timeout = true }

local function addresses(value, what, level)
  local list = type(value) == "table" and value or { value }
  for _, text in ipairs(list) do
    if not message.address(text) then
      error(("%s: %q is no address, as in ann@example.org or Ann <ann@example.org>"):format(what, tostring(text)),
        level + 1)
    end
  end
  return table.move(list, 1, #list, 1, {})
end

--- A text, also one with what a plan does not know yet.
local function text_of(value, what, level)
  local text = value .. ""
  if type(text) ~= "string" then
    error(("%s holds a secret, and who gets the mail would read it"):format(what), level + 1)
  end
  if not utf8.len(text) then error(("%s is no UTF-8"):format(what), level + 1) end
  return text
end

local function completed(options, level)
  local given, missing = way.complete(hosts.run(), options)
  if missing then
    error(("a mail needs %s: an option, or a value of the environment (values.mail.%s)"):format(missing, missing),
      level + 1)
  end
  if not way.program(given.server) and not way.is_server(given.server) then
    error(("server: %q is none, as in smtps://mail.example.org, smtp://mail.example.org:587, sendmail"):format(
      tostring(given.server)), level + 1)
  end
  return given
end

--- Sends a mail, once: text in UTF-8. Raises `denied` or `auth` where the server does not take it, for one recipient or for
--- all (then nobody gets it), `connect` where it was not sent; `lost` and `timeout` where nobody can tell: a person is asked.
--- @param to string|string[]  "ann@example.org", "Ann Other <ann@example.org>"
--- @param subject string
--- @param text string
--- @param options? neap.mail.options
--- @return { id: string, code?: integer, reply?: string }  id is its Message-ID
function mail.send(to, subject, text, options)
  options = shell.check_options(options, OPTIONS, 2)
  local given = completed(options, 2)
  local target = { server = given.server, to = addresses(to, "to", 2), subject = text_of(subject, "the subject", 2) }
  if not message.is_line(target.subject) then error("the subject is one line", 2) end
  if #target.to == 0 then error("a mail goes to somebody", 2) end
  local data = { from = addresses(given.from, "from", 2)[1], cc = addresses(options.cc, "cc", 2),
    bcc = addresses(options.bcc, "bcc", 2), text = text_of(text, "the text", 2), user = given.user,
    password = given.password, ca = given.ca }
  return effect.perform(way.program(given.server) and "mail.sendmail" or "mail.send", target, data,
    { keep = not options.irreversible and (options.keep or KEEP) or nil, irreversible = options.irreversible,
      timeout = options.timeout })
end

return mail
