--- The ways of a mail: a server (SMTP), or this machine's sendmail; and what an environment says of its own.
local clock   = require "native.clock"
local fault   = require "native.error"
local message = require "neap.targets.mail.message"
local process = require "native.process"
local native  = { open = function(options) return require("native.http").mail(options) end } -- at its first use

local way = {}

local SENDMAIL = "/usr/sbin/sendmail"

--- What is given, completed with what the environment has under values.mail. User and authorities are those of its own
--- server alone. Returns the name of what is missing, too.
--- @param run table
--- @param options { server?: string, from?: string, user?: string, ca?: string, password?: any }
--- @return table
--- @return string? missing
function way.complete(run, options)
  local own = (run.environment.values or {}).mail
  own = type(own) == "table" and own or {}
  local given = { server = options.server or own.server, from = options.from or own.from, user = options.user,
    ca = options.ca, password = options.password }
  if given.server == own.server then
    given.user, given.ca = given.user or own.user, given.ca or own.ca
  end
  return given, not given.server and "server" or not given.from and "from" or nil
end

--- The program where the server is "sendmail".
--- @param server any
--- @return string?
function way.program(server)
  if server == "sendmail" then return SENDMAIL end
  return type(server) == "string" and server:match "^sendmail:(/%S+)$" or nil
end

--- Whether that is the address of a server.
--- @param server any
--- @return boolean
function way.is_server(server)
  local rest = type(server) == "string" and server:match "^smtps?://(.*)$"
  local port = rest and (rest:match "^%[[%x:]+%](.*)$" or rest:match "^[%w.-]+(.*)$")
  return port ~= nil and port ~= false and (port == "" or port:find "^:%d+$" ~= nil)
end

local function is_loopback(url)
  local host = url:match "^smtps?://(%[[%x:]+%])" or url:match "^smtps?://([^:/]+)"
  return host == "localhost" or host == "[::1]" or host:find "^127%.%d+%.%d+%.%d+$" ~= nil
end

local function password_of(run, mail)
  if mail.password or not mail.user then return mail.password end
  local reference = (run.environment.secrets or {}).mail_password
  if reference then return run:secret(reference) end
  fault.raise { kind = "auth", message = ("there is no password of %s for mail"):format(mail.user),
    hint = "the environment has none under secrets.mail_password" }
end

--- @class neap.mail
--- @field server string
--- @field from string
--- @field to string[]
--- @field cc string[]
--- @field bcc string[]
--- @field subject string
--- @field text string
--- @field user? string
--- @field password? string|native.secret.value
--- @field ca? string

local function recipients(mail) return message.recipients(mail.to, mail.cc, mail.bcc) end

--- A letter of native.http to the mail's server, begun.
--- @param run table
--- @param mail neap.mail
--- @param id string  its Message-ID
--- @param reads? boolean  it belongs to no effect
--- @return native.http.letter
function way.letter(run, mail, id, reads)
  return native.open { url = mail.server, from = message.address(mail.from).address, to = recipients(mail),
    user = mail.user, password = password_of(run, mail), ca = mail.ca, require_tls = not is_loopback(mail.server),
    body = message.text(mail, id, clock.now()), reads = reads }
end

--- The command that takes the mail on its input, and the input.
--- @param program string
--- @param mail neap.mail
--- @param id string  its Message-ID
--- @return string[] argv
--- @return string input
function way.command(program, mail, id)
  local argv, to = { program, "-i", "-f", message.address(mail.from).address, "--" }, recipients(mail)
  return table.move(to, 1, #to, #argv + 1, argv), (message.text(mail, id, clock.now()):gsub("\r\n", "\n"))
end

local function by_program(program, mail, id)
  local argv, input = way.command(program, mail, id)
  local result = process.run(argv, { reads = true, input = input })
  if result.status == 0 then return end
  fault.raise { kind = "remote", code = result.status, message = "sendmail did not take the mail", output = result.err }
end

--- Sends what is told of a run, which is no effect of it, by what the environment says.
--- @param run table
--- @param to string[]
--- @param subject string
--- @param text string
function way.notice(run, to, subject, text)
  local mail, missing = way.complete(run, {})
  if missing then
    fault.raise { kind = "missing", message = ("the environment says no %s (values.mail.%s)"):format(missing, missing) }
  end
  mail.to, mail.cc, mail.bcc, mail.subject, mail.text = to, {}, {}, subject, text
  local crypto = require "native.crypto"
  local id, program = message.id(crypto.hex(crypto.random(8)), mail.from), way.program(mail.server)
  if program then return by_program(program, mail, id) end
  local letter <close> = way.letter(run, mail, id, true)
  letter:result()
end

return way
