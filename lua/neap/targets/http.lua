--- HTTP: requests that read, and requests that change something. Certificates are always verified; what is not https is
--- asked of this machine, of a host's own addresses (via) and of cloud metadata alone.
local download = require "neap.targets.file.download"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local hosts    = require "neap.targets.connection"
local json     = require "native.json"
local requests = require "neap.targets.http.request"
local rights   = require "neap.targets.file.rights"
local secret   = require "native.secret"
local task     = require "native.task"

local http = {}

local READ_TIMEOUT, CHANGE_TIMEOUT = 60, 60 -- seconds

--- @class (exact) neap.http.options
--- @field headers? table<string, string|native.secret.value>
--- @field query? table<string, string|number|boolean>  added to the URL, encoded
--- @field json? any            the body, as JSON
--- @field fields? table<string, string|native.secret.value>  the body, as a web form sends it
--- @field form? table[]        the body, as multipart/form-data: see native.http
--- @field body? string|native.secret.value
--- @field bearer? string|native.secret.value
--- @field basic? { user: string, password: string|native.secret.value }
--- @field via? string|table    a host that asks instead of this machine
--- @field ca? string           file of authorities, instead of the system's
--- @field ok? integer[]|"any"  statuses that are no failure; default: 200 to 299
--- @field timeout? number      seconds for all of it
--- @field max_bytes? integer   of the reply's body; default 16 MiB
--- @field redirects? integer   how many a GET without credentials follows; default 5

--- @class neap.http.reply
--- @field status integer
--- @field headers table<string, string>  by names in lower case; what came several times is joined by ", "
--- @field body string
--- @field seconds number

local KNOWN = { "headers", "query", "json", "fields", "form", "body", "bearer", "basic", "via", "ca", "ok", "timeout",
                "max_bytes", "redirects" }

local OWN = 1 -- the level of a word that ends in a tail call, and so has no frame of its own

local function options_of(options, more, level)
  local checked = requests.check_options(options, KNOWN, more, level + 1) -- no tail call: the level counts this frame
  return checked
end

local function target_of(method, url, options, level)
  return { method = method, url = requests.address(url, options, level + 1),
    host = options.via and hosts.name(options.via) }
end

-- ---- reads ----

local read = effect.read("http.read", function(target, options)
  return requests.repeated(target, options, READ_TIMEOUT)
end)

local function ask(method, url, options, level)
  options = options_of(options, {}, level + 1)
  return read(target_of(method, url, options, level + 1), options)
end

--- Asks for a page. A request that got no answer, or one that says "later", is sent again within its time.
--- @param url string
--- @param options? neap.http.options
--- @return neap.http.reply
function http.get(url, options) return ask("GET", url, options, OWN) end

--- Asks for a page's headers alone.
--- @param url string
--- @param options? neap.http.options
--- @return neap.http.reply
function http.head(url, options) return ask("HEAD", url, options, OWN) end

--- The body of a reply that is JSON. Raises kind `protocol` where it is none.
--- @param url string
--- @param options? neap.http.options
--- @return any
function http.json(url, options)
  local reply = ask("GET", url, options, 2)
  local ok, value = pcall(json.decode, reply.body)
  if ok then return value end
  fault.raise { kind = "protocol", message = ("%s does not answer with JSON: %s"):format(url,
    fault.is(value) and value.message or tostring(value)), output = reply.body:sub(1, 2000) }
end

--- A request of another method that changes nothing, though its method does not say so: a search by POST.
--- @param method string
--- @param url string
--- @param options? neap.http.options
--- @return neap.http.reply
function http.query(method, url, options)
  options = options_of(options, {}, 2)
  local target = target_of(method, url, options, 2)
  target.reads = true
  return read(target, options)
end

-- ---- changes ----

--- A clear no of the server, by the name of the effect that was refused: nothing has happened, and nothing will.
local function refusals()
  local run = hosts.run()
  run.connections["http refusals"] = run.connections["http refusals"] or { close = function() end, of = {} }
  return run.connections["http refusals"].of
end

--- A gateway may say "too many requests" of one that was carried out behind it: where there is a question, that is asked.
local function is_clear(failure, data)
  return requests.is_refusal(failure) and not (failure.code == 429 and data.done)
end

local function carry_out(target, data, call)
  local ok, reply = pcall(requests.once, target, data, call.timeout)
  if ok then return { status = reply.status, headers = reply.headers, body = reply.body:sub(1, 65536) } end
  if fault.is(reply) and is_clear(reply, data) then refusals()[call.witness] = reply end
  error(reply, 0)
end

--- Asks whether it happened, where the request came with a question for that.
local function probe(target, data)
  local question = data.done
  local reply = requests.repeated({ method = "GET", url = question.url, host = target.host },
    { ok = "any", headers = data.headers, bearer = data.bearer, basic = data.basic, ca = data.ca }, READ_TIMEOUT)
  local accepted = requests.accepts(reply.status, question.status)
  return accepted and (not question.body or reply.body:find(question.body) ~= nil)
end

effect.action "http.request" {
  timeout = CHANGE_TIMEOUT,
  run = carry_out,
  undo = function(_, undo, call) return carry_out(undo.target, undo.options, call) end,
  undo_needs_data = true,
  take = function(target, id, intent)
    if refusals()[id] then return "void" end
    if intent.data.repeatable and not intent.undoes then return "void" end
    if intent.undoes or not intent.data.done then
      return "unknown", "the request may have been carried out, and there is no question that tells (done)"
    end
    if probe(target, intent.data) then return "done" end
    task.sleep(intent.timeout or CHANGE_TIMEOUT) -- until then it may still be carried out
    return probe(target, intent.data) and "done" or "void"
  end,
  show = function(target)
    return ("%s %s%s"):format(target.method, target.url, target.host and " from " .. target.host or "")
  end,
  says = function(data)
    local size = data.body and secret.size(data.body)
    return size and ("sends %d bytes"):format(size) or data.form and "sends a form" or "is sent once"
  end,
}

local CHANGE_OPTIONS = { "undo", "keep", "irreversible", "done", "repeatable" }

--- The request that takes another back, as data.
local function undo_of(undo, options, level)
  if not undo then return nil end
  if type(undo) ~= "table" or type(undo.method) ~= "string" or type(undo.url) ~= "string" then
    error('undo is a request, as in { method = "DELETE", url = … }', level + 1)
  end
  local given = { via = options.via, ca = options.ca, bearer = options.bearer, basic = options.basic }
  for key, value in pairs(undo) do
    if key ~= "method" and key ~= "url" then given[key] = value end
  end
  given = options_of(given, {}, level + 1)
  return { options = requests.plain(given), target = target_of(undo.method, undo.url, given, level + 1) }
end

local function change(method, url, options, level)
  options = options_of(options, CHANGE_OPTIONS, level + 1)
  if options.repeatable and not options.keep then
    error("repeatable needs keep: what may have happened twice cannot be taken back", level + 1)
  end
  return effect.perform("http.request", target_of(method, url, options, level + 1), requests.plain(options),
    { undo = undo_of(options.undo, options, level + 1), keep = options.keep, irreversible = options.irreversible,
      timeout = options.timeout })
end

--- Sends a request that changes something, once. A refusal (status 400 to 499) raises kind `denied`, `missing` or
--- `conflict`, and nothing has happened; what gives no clear answer is in doubt, and `done = { url =, status =, body = }`
--- is the question by which it is settled: a GET, with the statuses and a pattern of the body that say that it happened.
--- `repeatable = true`, which needs `keep`, says that the server takes the same request twice as once: then the step's next
--- attempt sends it again.
--- `undo = { method =, url =, … }` is the request that takes it back.
--- @param method string
--- @param url string
--- @param options? neap.http.options  and undo, keep, irreversible, done, repeatable
--- @return { status: integer, headers: table<string, string>, body: string }
function http.request(method, url, options) return change(method, url, options, OWN) end

--- http.request by POST.
--- @param url string
--- @param options? table  as of http.request
--- @return { status: integer, headers: table<string, string>, body: string }
function http.post(url, options) return change("POST", url, options, OWN) end

--- http.request by PUT.
--- @param url string
--- @param options? table  as of http.request
--- @return { status: integer, headers: table<string, string>, body: string }
function http.put(url, options) return change("PUT", url, options, OWN) end

--- http.request by PATCH.
--- @param url string
--- @param options? table  as of http.request
--- @return { status: integer, headers: table<string, string>, body: string }
function http.patch(url, options) return change("PATCH", url, options, OWN) end

--- http.request by DELETE.
--- @param url string
--- @param options? table  as of http.request
--- @return { status: integer, headers: table<string, string>, body: string }
function http.delete(url, options) return change("DELETE", url, options, OWN) end

-- ---- files ----

local DOWNLOAD = { "sha256", "mode", "owner", "group", "become", "keep", "irreversible" }

local function check_download(path, options, level)
  local sum = options.sha256
  if type(sum) ~= "string" or not sum:find("^%x+$") or #sum ~= 64 then
    error("sha256 says what the file holds: 64 hexadecimal digits", level + 1)
  end
  rights.check_path(path, level + 1)
  rights.check(options, level + 1)
end

--- Makes sure that a file of that content is on a host: this machine brings it, compares it, and puts it there whole. A
--- rollback takes it away. Raises kind `conflict` where another file is there, or the server gives another.
--- @param url string
--- @param host string|table
--- @param path string
--- @param options table  sha256 (required), mode ("0644"), owner, group, become, keep, irreversible; headers, query, bearer,
---   basic, via, ca, redirects of http.get; timeout in seconds (3600)
--- @return { sha256: string, mode: string, owner: string, group: string }
function http.download(url, host, path, options)
  options = options_of(options, DOWNLOAD, 2)
  check_download(path, options, 2)
  local asked = target_of("GET", url, options, 2)
  return download.file({ host = hosts.name(host), path = path,
    become = hosts.become(host, options.become), url = asked.url, via = asked.host, request = requests.plain(options) },
    { sha256 = options.sha256:lower(), mode = options.mode, owner = options.owner, group = options.group },
    { keep = options.keep, irreversible = options.irreversible, timeout = options.timeout })
end

-- ---- tokens ----

local TOKEN = { "grant", "user", "password", "client", "client_secret", "scope", "fields", "via", "ca", "timeout" }
local GRANTS = { password = true, client_credentials = true }

--- @class (exact) neap.http.token_options
--- @field grant "password"|"client_credentials"
--- @field user? string
--- @field password? string|native.secret.value
--- @field client? string
--- @field client_secret? string|native.secret.value
--- @field scope? string
--- @field fields? table<string, string>  further ones
--- @field via? string|table
--- @field ca? string
--- @field timeout? number

--- An OAuth2 access token, a secret. It is asked for once and kept by this process until shortly before it expires.
--- @param url string  of the token endpoint
--- @param options neap.http.token_options
--- @return native.secret.value
function http.token(url, options)
  requests.check_options(options, TOKEN, {}, 2)
  if not GRANTS[options.grant] then error('grant is "password" or "client_credentials"', 2) end
  return requests.token(url, options)
end

return http
