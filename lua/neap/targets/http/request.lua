--- One request over HTTP as a target makes it: address, headers and body of its options; the reply, or an error that says
--- what is known; repeats of what is safe to repeat; tokens.
local crypto  = require "native.crypto"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local json    = require "native.json"
local native  = require "native.http"
local ordered = require "neap.ordered"
local process = require "native.process"
local secret  = require "native.secret"
local shell   = require "neap.targets.shell"
local task    = require "native.task"

local requests = {}

local MAX_BYTES      = 16 << 20
local MAX_FILE       = 64 << 30 -- bytes of one that is downloaded
local SHOWN          = 2000 -- bytes of a refusal's body in an error
local REPEATS        = 5
local FIRST_PAUSE    = 0.5  -- seconds, doubled each time
local LONGEST_PAUSE  = 30
local TOKEN_MARGIN   = 30   -- seconds before its end at which a token is not used any more
local TOKEN_LIFE     = 60   -- of one that does not say
local REDIRECTS      = 5

-- ---- options ----

--- The options, or none; raises a mistake for a key that is not in the lists.
--- @param options table?
--- @param known string[]
--- @param more string[]
--- @param level integer
--- @return table
function requests.check_options(options, known, more, level)
  local names = {}
  for _, list in ipairs { known, more } do
    for _, name in ipairs(list) do names[name] = true end
  end
  shell.check_options(options, names, level + 1) -- no tail call: the level counts this function too
  return options or {}
end

--- "a=1&b=2", in order of the names; a secret where one of the values is one.
local function encode_fields(fields)
  local text = ""
  for i, name in ipairs(ordered.keys(fields)) do
    local value = fields[name]
    value = secret.percent(secret.is(value) and value or tostring(value))
    text = text .. (i > 1 and "&" or "") .. secret.percent(name) .. "=" .. value
  end
  return text
end

local PLAIN_HOSTS = { "^localhost$", "^127%.%d+%.%d+%.%d+$", "^%[::1%]$", "^169%.254%.169%.254$", "^169%.254%.170%.2$" }

local function may_be_plain(host)
  for _, pattern in ipairs(PLAIN_HOSTS) do
    if host:find(pattern) then return true end
  end
  return false
end

--- Scheme, host and port of a URL.
local function parts_of(url, level)
  local scheme, authority = url:match "^(https?)://([^/?#]+)"
  if not scheme then error(("%q is no URL, as in https://host/path"):format(url), level + 1) end
  if authority:find "@" then
    error("a URL holds no user and password; use basic = { user =, password = }", level + 1)
  end
  local host, port = authority:match "^(%[[%x:]+%])()"
  if not host then host, port = authority:match "^([^:]+)()" end
  local number = authority:sub(port):match "^:(%d+)$"
  return scheme, host, tonumber(number or (scheme == "https" and 443 or 80))
end

--- The URL with its query. Raises kind `denied` where what is sent could be read on the way.
--- @param url string
--- @param options { query?: table, via?: any }
--- @param level integer
--- @return string
function requests.address(url, options, level)
  if type(url) ~= "string" then error("the URL is a text", level + 1) end
  local scheme, host = parts_of(url, level + 1)
  if scheme == "http" and not options.via and not may_be_plain(host) then
    fault.raise { kind = "denied",
      message = ("%s is not https, and neither this machine's nor asked of a host (via)"):format(url) }
  end
  if not options.query or not next(options.query) then return url end
  local path, fragment = url:match "^([^#]*)(.*)$"
  return path .. (path:find "%?" and "&" or "?") .. encode_fields(options.query) .. fragment
end

--- The options as the journal keeps them: the body made, nothing left to compute.
--- @param options table
--- @return table
function requests.plain(options)
  local data = { headers = options.headers, body = options.body, form = options.form, bearer = options.bearer,
    basic = options.basic, ca = options.ca, ok = options.ok, max_bytes = options.max_bytes, done = options.done,
    redirects = options.redirects, repeatable = options.repeatable }
  if options.json ~= nil then
    data.body, data.type = json.encode(options.json), "application/json"
  elseif options.fields then
    data.body, data.type = encode_fields(options.fields), "application/x-www-form-urlencoded"
  end
  return data
end

-- ---- one exchange ----

local function headers_of(data)
  local headers, given = {}, {}
  for _, name in ipairs(ordered.keys(data.headers)) do
    given[name:lower()] = true
    headers[#headers + 1] = { name, data.headers[name] }
  end
  local function add(name, value)
    if value ~= nil and not given[name:lower()] then headers[#headers + 1] = { name, value } end
  end
  add("Content-Type", data.type)
  add("User-Agent", "neap")
  if data.bearer then add("Authorization", "Bearer " .. data.bearer) end
  if data.basic then add("Authorization", "Basic " .. secret.base64(data.basic.user .. ":" .. data.basic.password)) end
  return headers
end

--- Where this machine has to connect to for a request that a host is to make.
local function way_of(target)
  if not target.host then return nil end
  local _, host, port = parts_of(target.url, 1)
  return ("127.0.0.1:%d"):format(hosts.tunnel(target.host, host, port).port)
end

--- Loopback, cloud metadata and what a tunnel leads to are never asked by way of a proxy.
local function proxy_of(target)
  local _, host = parts_of(target.url, 1)
  return (target.host or may_be_plain(host)) and "" or nil
end

local function no_proxy()
  return process.environ "NO_PROXY" or process.environ "no_proxy"
end

local function of_home(path)
  return path and path:sub(1, 2) == "~/" and process.user().home .. path:sub(2) or path
end

local function open(target, data, to_file)
  return native.open { url = target.url, method = target.method, reads = target.reads, headers = headers_of(data),
    body = data.body, form = data.form, ca = of_home(data.ca), connect_to = way_of(target), proxy = proxy_of(target),
    no_proxy = no_proxy(), to_file = to_file, max_bytes = to_file and (data.max_bytes or MAX_FILE) }
end

local function collect(exchange, url, most)
  local parts, size = {}, 0
  for bytes in exchange.read, exchange do
    size = size + #bytes
    if size > most then
      fault.raise { kind = "protocol", message = ("%s answers with more than %d bytes"):format(url, most),
        hint = "max_bytes allows more" }
    end
    parts[#parts + 1] = bytes
  end
  return table.concat(parts)
end

local function joined(headers)
  local map = {}
  for _, one in ipairs(headers) do
    map[one[1]] = map[one[1]] and map[one[1]] .. ", " .. one[2] or one[2]
  end
  return map
end

--- Whether a status is among those: a list, "any", or nil for 200 to 299.
--- @param status integer
--- @param ok? integer[]|"any"
--- @return boolean
function requests.accepts(status, ok)
  if ok == "any" then return true end
  if not ok then return status >= 200 and status < 300 end
  for _, good in ipairs(ok) do
    if status == good then return true end
  end
  return false
end

local KINDS = { [401] = "auth", [403] = "denied", [404] = "missing", [407] = "auth", [409] = "conflict",
                [410] = "missing", [412] = "conflict", [423] = "conflict" }

--- Statuses that say nothing about whether the request was carried out.
local function is_unclear(status) return status >= 500 or status == 408 end

local function kind_of(target, status)
  if KINDS[status] then return KINDS[status] end
  local reads = target.reads or target.method == "GET" or target.method == "HEAD"
  if is_unclear(status) then return reads and "remote" or "lost" end
  return reads and "remote" or "denied"
end

local function check(target, data, reply)
  if requests.accepts(reply.status, data.ok) then return reply end
  local location = reply.status < 400 and reply.headers.location
  fault.raise { kind = kind_of(target, reply.status), code = reply.status, host = target.host,
    retry_after = reply.headers["retry-after"],
    message = ("%s %s was answered with status %d%s"):format(target.method, target.url, reply.status,
      location and ", a redirection to " .. location or ""),
    output = reply.body ~= "" and reply.body:sub(1, SHOWN) or nil }
end

--- Whether an error is a clear no: the request was not carried out, and will not be.
--- @param failure table
--- @return boolean
function requests.is_refusal(failure)
  return math.type(failure.code) == "integer" and failure.code >= 300 and not is_unclear(failure.code)
end

local function exchange_once(target, data)
  local exchange <close> = open(target, data)
  local head = exchange:response { timeout = 86400 } -- the deadline is that of the whole
  local body = collect(exchange, target.url, data.max_bytes or MAX_BYTES)
  return { status = head.status, headers = joined(head.headers), body = body, seconds = exchange:timings().total }
end

--- Sends a request, once. Raises kind `connect` where it was certainly not sent, `auth`, `denied`, `missing`, `conflict`
--- where the server says no, `lost` and `timeout` where nobody can tell; code is the status.
--- @param target { method: string, url: string, host?: string, reads?: boolean }
--- @param data table  of requests.plain
--- @param timeout number  seconds
--- @return neap.http.reply
function requests.once(target, data, timeout)
  return task.deadline(timeout, function() return check(target, data, exchange_once(target, data)) end)
end

-- ---- redirections and repeats, of what reads ----

local function has_credentials(data)
  if data.bearer or data.basic then return true end
  for name in pairs(data.headers or {}) do
    if name:lower() == "authorization" or name:lower() == "cookie" then return true end
  end
  return false
end

--- Where a redirection leads; nil where it is not followed.
local function next_url(target, data, reply)
  local location = reply.headers.location
  local redirects = reply.status >= 301 and reply.status <= 308 and reply.status ~= 304 and location
  if not redirects or requests.accepts(reply.status, data.ok) or has_credentials(data) then return nil end
  if target.method ~= "GET" and target.method ~= "HEAD" then return nil end
  if location:find "^//" then return target.url:match "^https?:" .. location end
  if location:find "^/" then return target.url:match "^https?://[^/?#]+" .. location end
  local scheme = location:match "^(https?)://"
  return scheme and (scheme == "https" or target.url:find "^http:") and location or nil
end

local function followed(target, data, most)
  local reply = exchange_once(target, data)
  local url = most > 0 and next_url(target, data, reply)
  if not url then return check(target, data, reply) end
  local address = requests.address(url, { via = target.host }, 1)
  return followed({ method = target.method, host = target.host, url = address }, data, most - 1)
end

--- Brings the body of a reply to a file that is made for it; redirections leave others beside it. Raises as requests.once.
--- @param target { url: string, host?: string }
--- @param data table    of requests.plain
--- @param path string   on this machine; of the file that is there at the end this is the beginning
--- @param most? integer redirections
--- @return string path
function requests.to_file(target, data, path, most)
  most = most or data.redirects or REDIRECTS
  local asked = { method = "GET", url = target.url, host = target.host }
  local file = ("%s.%d"):format(path, most)
  local exchange <close> = open(asked, data, file)
  local head = exchange:response { timeout = 86400 } -- the deadline is that of the whole
  local reply = { status = head.status, headers = joined(head.headers), body = "" }
  local url = most > 0 and next_url(asked, data, reply)
  if url then
    exchange:close()
    return requests.to_file({ url = requests.address(url, { via = target.host }, 1), host = target.host }, data, path,
      most - 1)
  end
  check(asked, data, reply)
  exchange:read { timeout = 86400 }
  return file
end

local AGAIN = { [408] = true, [429] = true, [500] = true, [502] = true, [503] = true, [504] = true }
local BROKEN = { connect = true, lost = true }

local function is_worth_repeating(failure)
  if not fault.is(failure) then return false end
  if math.type(failure.code) == "integer" then return AGAIN[failure.code] == true end
  return BROKEN[failure.kind] == true
end

--- Seconds until the next time: what the server asks for, if it is a number, else longer each time.
local function pause_before(failure, count)
  local asked = tonumber(failure.retry_after)
  return math.min(LONGEST_PAUSE, asked and asked >= 0 and asked or FIRST_PAUSE * 2 ^ (count - 1))
end

--- Sends a request that changes nothing until it has an answer, follows redirections where no credentials are sent along,
--- and obeys Retry-After. Raises as requests.once.
--- @param target table
--- @param options table   of http.get
--- @param timeout number  seconds where the options say nothing
--- @return neap.http.reply
function requests.repeated(target, options, timeout)
  local data = requests.plain(options)
  return task.deadline(options.timeout or timeout, function()
    for count = 1, REPEATS do
      local ok, reply = pcall(followed, target, data, options.redirects or REDIRECTS)
      if ok then return reply end
      if count == REPEATS or not is_worth_repeating(reply) then error(reply, 0) end
      task.sleep(pause_before(reply, count))
    end
  end)
end

-- ---- tokens ----

local function ask_for_token(run, url, options)
  local fields = { grant_type = options.grant, username = options.user, password = options.password,
    client_id = options.client, client_secret = options.client_secret, scope = options.scope }
  for name, value in pairs(options.fields or {}) do fields[name] = value end
  local reply = requests.repeated({ method = "POST", url = requests.address(url, options, 3), reads = true,
    host = options.via and hosts.name(options.via) }, { fields = fields, ca = options.ca }, options.timeout or 60)
  local ok, answer = pcall(json.decode, reply.body)
  if not ok or type(answer) ~= "table" or type(answer.access_token) ~= "string" then
    fault.raise { kind = "auth", message = ("%s gives no access token"):format(url) }
  end
  return { token = secret.literal(answer.access_token, run.keys),
    ends = task.now() + (tonumber(answer.expires_in) or TOKEN_LIFE) - TOKEN_MARGIN }
end

--- The access token of that endpoint for those options, from an earlier time as long as it is good.
--- @param url string
--- @param options table  of http.token
--- @return native.secret.value
function requests.token(url, options)
  local run = hosts.run()
  run.connections["http tokens"] = run.connections["http tokens"] or { close = function() end, known = {} }
  local known = run.connections["http tokens"].known
  local key = crypto.sha256(json.encode { url, options.grant, options.user or "", options.client or "",
    options.scope or "", encode_fields(options.fields or {}) })
  if not known[key] or known[key].ends <= task.now() then known[key] = ask_for_token(run, url, options) end
  return known[key].token
end

return requests
