--- Commands in containers, by the API server's exec: one WebSocket each, whose messages begin with the number of a channel.
local client = require "neap.targets.k8s.client"
local fault  = require "native.error"
local hosts  = require "neap.targets.connection"
local json   = require "native.json"
local output = require "neap.targets.output"
local secret = require "native.secret"
local shell  = require "neap.targets.shell"
local task   = require "native.task"

local exec = {}

local PROTOCOLS = { "v5.channel.k8s.io", "v4.channel.k8s.io" }
local INPUT, OUT, ERR, STATUS, CLOSE = 0, 1, 2, 3, 255
local PIECE = 32768   -- bytes of input in a message
local TIMEOUT = 3600  -- seconds
local PARTING = 2     -- seconds for a status that came before the input broke off
local QUIET = 86400   -- seconds without a byte: the deadline is that of the whole

local POD = { api = "v1", kind = "Pod", resource = "pods", namespaced = true }

--- @class neap.k8s.container
--- @field cluster string
--- @field namespace string
--- @field pod string
--- @field container? string

local function query_of(place, argv, has_input)
  local parts = { "stdout=true", "stderr=true" }
  if has_input then parts[#parts + 1] = "stdin=true" end
  if place.container then parts[#parts + 1] = "container=" .. secret.percent(place.container) end
  for _, word in ipairs(argv) do parts[#parts + 1] = "command=" .. secret.percent(tostring(word)) end
  return "?" .. table.concat(parts, "&")
end

--- @param place neap.k8s.container
--- @return string
function exec.show(place)
  return ("%s pod/%s%s"):format(place.cluster, place.pod, place.container and " " .. place.container or "")
end

-- ---- one command ----

local Stream = {}
Stream.__index = Stream

--- Begins a command. has_input: it will be given some; only a server that knows v5 can say where that ends.
--- @param place neap.k8s.container
--- @param argv (string|number)[]
--- @param has_input boolean
--- @param reads boolean
function exec.open(place, argv, has_input, reads)
  local path = client.path(POD, place.namespace, place.pod) .. "/exec"
  local socket = client.socket(place.cluster, path, query_of(place, argv, has_input), PROTOCOLS, reads)
  return setmetatable({ socket = socket, place = place, has_input = has_input }, Stream)
end

--- What the server says at the end: an exit status, or why there is none.
local function status_of(place, text)
  local ok, said = pcall(json.decode, text)
  said = ok and type(said) == "table" and said or {}
  if said.status == "Success" then return 0 end
  for _, cause in ipairs(said.reason == "NonZeroExitCode" and said.details and said.details.causes or {}) do
    if cause.reason == "ExitCode" and tonumber(cause.message) then return math.tointeger(tonumber(cause.message)) end
  end
  return fault.raise { kind = "lost", code = said.reason, host = place.cluster, output = text:sub(1, 2000),
    message = ("the command in %s: %s"):format(exec.show(place), tostring(said.message or "ended without a status")) }
end

local function feed(self, input)
  local size = secret.size(input)
  for first = 1, size, PIECE do
    self.socket:send(string.char(INPUT), input, { timeout = QUIET, first = first,
      last = math.min(size, first + PIECE - 1) })
  end
  if self.socket.protocol == PROTOCOLS[1] then self.socket:send(string.char(CLOSE, INPUT), "") end
end

--- A command that ended has no need of its input; one whose input broke off would wait for the rest of it.
local function feed_or_end(self, input)
  local ok, failure = pcall(feed, self, input)
  if ok then return end
  task.sleep(PARTING)
  self.failure = failure
  self.socket:close()
end

local function listen(self, on_bytes)
  while true do
    local message, code, reason = self.socket:receive { timeout = QUIET }
    if not message then
      fault.raise { kind = "lost", host = self.place.cluster, code = code,
        message = ("the connection to %s ended before the command did"):format(exec.show(self.place))
          .. (reason and reason ~= "" and ": " .. secret.redact(reason:sub(1, 200)) or "") }
    end
    local channel = message:byte(1)
    if channel == STATUS then return status_of(self.place, message:sub(2)) end
    if channel == OUT or channel == ERR then on_bytes(message:sub(2), channel == OUT and "out" or "err") end
  end
end

local function converse(self, options)
  local sides = { out = output.new(), err = output.new() }
  local feeding = options.input and self.has_input and task.spawn(feed_or_end, self, options.input)
  local ok, status = pcall(listen, self, function(bytes, side)
    local text = sides[side]:add(bytes)
    if options.on_output and text ~= "" then options.on_output(text, side) end
  end)
  if feeding then
    feeding:cancel() -- who has ended reads no more
    task.shield(feeding.wait, feeding)
  end
  for side, kept in pairs(sides) do
    local text = kept:finish()
    if options.on_output and text ~= "" then options.on_output(text, side) end
  end
  if not ok then error(self.failure or status, 0) end
  return { out = sides.out:text(), err = sides.err:text(), status = status }
end

--- Gives the command its input and waits for its end. Raises `lost` where its exit status does not come.
--- @param options { input?: string|native.secret.value, on_output?: function, timeout?: number }
--- @return { out: string, err: string, status: integer }
function Stream:collect(options) return task.deadline(options.timeout or TIMEOUT, converse, self, options) end

function Stream:close() self.socket:close() end

Stream.__close = Stream.close

--- Runs a command and waits for its end; it may outlive a connection that breaks. A text is for a shell.
--- @param place neap.k8s.container
--- @param command (string|number)[]|string
--- @param options { input?: string|native.secret.value, on_output?: function, timeout?: number, reads?: boolean, ok?: any }
--- @return { out: string, err: string, status: integer }
function exec.run(place, command, options)
  shell.text(command) -- refuses secrets, and what is no command
  local argv = type(command) == "string" and { "sh", "-c", command } or command
  local stream <close> = exec.open(place, argv, options.input ~= nil, options.reads == true)
  if options.input and stream.socket.protocol ~= PROTOCOLS[1] then
    fault.raise { kind = "denied", host = place.cluster,
      message = ("cluster %s cannot say where a command's input ends (it knows no %s)"):format(place.cluster,
        PROTOCOLS[1]) }
  end
  local result = stream:collect(options)
  hosts.check(exec.host(place), command, result, { ok = options.ok })
  return result
end

-- ---- a container as a host ----

--- The name by which a container is a place of commands.
--- @param place neap.k8s.container
--- @return string
function exec.host(place)
  return ("pod:%s/%s/%s/%s"):format(place.cluster, place.namespace, place.pod, place.container or "")
end

local function place_of(name)
  local cluster, namespace, pod, container = name:match "^pod:(.*)/([^/]+)/([^/]+)/([^/]*)$"
  return { cluster = cluster, namespace = namespace, pod = pod, container = container ~= "" and container or nil }
end

--- The text comes as the first line of the input: in the address it would stand in the server's logs.
local READ_TEXT = [[IFS= read -r text && eval "$(printf %s "$text" | base64 -d)"]]

--- Where the home is none that can be written to, as in many images.
local FIND_HOME = [=[if [ ! -w "${HOME:-/-}" ]; then NEAP_HOME=/tmp; export NEAP_HOME; fi
]=]

local Shell = {}
Shell.__index = Shell

--- The input is counted, for not every server can say where it ends.
function Shell:collect(options)
  local input = options.input or ""
  local text = FIND_HOME .. ("head -c %d | {\n%s\n}"):format(secret.size(input), self.text)
  return self.stream:collect { on_output = options.on_output, timeout = options.timeout,
    input = secret.base64(text) .. "\n" .. input }
end

function Shell:close() self.stream:close() end

Shell.__close = Shell.close

hosts.ways.pod = function(name, text, reads)
  local stream = exec.open(place_of(name), { "sh", "-c", READ_TEXT }, true, reads)
  return setmetatable({ text = text, stream = stream }, Shell)
end

return exec
