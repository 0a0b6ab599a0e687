--- Mail: messages of text that a run sends, by a server (SMTP) or by this machine's sendmail. What is sent cannot be taken
--- back; a rollback leaves it.
local clock   = require "native.clock"
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local message = require "neap.targets.mail_message"
local native  = require "native.http"
local shell   = require "neap.targets.shell"
local witness = require "neap.targets.witness"

local mail = {}

local TIMEOUT = 300 -- seconds: a server looks at a message before it takes it
local SENDMAIL = "/usr/sbin/sendmail"
local KEEP = "a mail was sent"

-- ---- by a server ----

--- Mails of which it is certain that no server has them, nor will, by the name of their effect.
local function unsent()
  local run = hosts.run()
  run.connections["mails not sent"] = run.connections["mails not sent"] or { close = function() end, of = {} }
  return run.connections["mails not sent"].of
end

local function password_of(data)
  if data.password or not data.user then return data.password end
  local run = hosts.run()
  local reference = (run.environment.secrets or {}).mail_password
  if reference then return run:secret(reference) end
  fault.raise { kind = "auth", message = ("there is no password of %s for mail"):format(data.user),
    hint = "the environment has none under secrets.mail_password" }
end

local function is_loopback(url)
  local host = url:match "^smtps?://(%[[%x:]+%])" or url:match "^smtps?://([^:/]+)"
  return host == "localhost" or host == "[::1]" or host:find "^127%.%d+%.%d+%.%d+$" ~= nil
end

local function letter_of(target, data, id)
  local mails = { from = data.from, to = target.to, cc = data.cc, subject = target.subject, text = data.text }
  return { url = target.server, from = message.address(data.from).address,
    to = message.recipients(target.to, data.cc, data.bcc), user = data.user, password = password_of(data),
    ca = data.ca, require_tls = not is_loopback(target.server), body = message.text(mails, id, clock.now()) }
end

local function to_server(target, data, call)
  local id = message.id(call.witness, data.from)
  local options = letter_of(target, data, id)
  local letter <close> = native.mail(options)
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

local function says(data)
  return ("from %s, %d bytes of text"):format(data.from, #data.text)
end

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
  prepare = function() return witness.prepare("local") end,
  run = function(target, data, call)
    local id = message.id(call.witness, data.from)
    local argv = { data.program, "-i", "-f", message.address(data.from).address, "--" }
    table.move(message.recipients(target.to, data.cc, data.bcc), 1, 1000, #argv + 1, argv)
    local mails = { from = data.from, to = target.to, cc = data.cc, subject = target.subject, text = data.text }
    local text = message.text(mails, id, clock.now()):gsub("\r\n", "\n")
    witness.run("local", call, argv, { input = text, timeout = call.timeout })
    return { id = id }
  end,
  take = function(_, id, intent) return witness.take("local", id, intent) end,
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

local OPTIONS = { server = true, from = true, cc = true, bcc = true, user = true, password = true, ca = true, keep = true,
  irreversible = true, timeout = true }

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
  if type(text) ~= "string" then error(("%s holds a secret, and who gets the mail would read it"):format(what), level + 1) end
  if not utf8.len(text) then error(("%s is no UTF-8"):format(what), level + 1) end
  return text
end

--- What the options leave out, as the environment has it. User and authorities are those of its own server alone.
local function with_defaults(options, level)
  local own = (hosts.run().environment.values or {}).mail
  own = type(own) == "table" and own or {}
  local given = { server = options.server or own.server, from = options.from or own.from, user = options.user,
    ca = options.ca, password = options.password }
  if given.server == own.server then
    given.user, given.ca = given.user or own.user, given.ca or own.ca
  end
  for _, key in ipairs { "server", "from" } do
    if not given[key] then
      error(("a mail needs %s: an option, or a value of the environment (values.mail.%s)"):format(key, key), level + 1)
    end
  end
  return given
end

local function check_server(server, level)
  local program = type(server) == "string" and (server == "sendmail" and SENDMAIL or server:match "^sendmail:(/%S+)$")
  if program then return program end
  local rest = type(server) == "string" and server:match "^smtps?://(.*)$"
  local port = rest and (rest:match "^%[[%x:]+%](.*)$" or rest:match "^[%w.-]+(.*)$")
  if not port or not (port == "" or port:find "^:%d+$") then
    error(("server: %q is none, as in smtps://mail.example.org, smtp://mail.example.org:587, sendmail"):format(
      tostring(server)), level + 1)
  end
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
  local given = with_defaults(options, 2)
  local program = check_server(given.server, 2)
  subject = text_of(subject, "the subject", 2)
  if not message.is_line(subject) then error("the subject is one line", 2) end
  local target = { server = given.server, to = addresses(to, "to", 2), subject = subject }
  if #target.to == 0 then error("a mail goes to somebody", 2) end
  local data = { from = addresses(given.from, "from", 2)[1], cc = addresses(options.cc, "cc", 2),
    bcc = addresses(options.bcc, "bcc", 2), text = text_of(text, "the text", 2), program = program,
    user = given.user, password = given.password, ca = given.ca }
  return effect.perform(program and "mail.sendmail" or "mail.send", target, data,
    { keep = not options.irreversible and (options.keep or KEEP) or nil, irreversible = options.irreversible,
      timeout = options.timeout })
end

return mail
