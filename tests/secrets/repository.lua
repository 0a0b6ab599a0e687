--- A repository whose procedure puts secrets from every source into files, inputs, variables and failures, all on this
--- machine; and what is searched for them afterwards.
local crypto  = require "native.crypto"
local fs      = require "native.fs"
local json    = require "native.json"
local process = require "native.process"
local sqlite  = require "native.sqlite"
local task    = require "native.task"
local zstd    = require "native.zstd"

local repository = {}
repository.__index = repository

local NEAP = "build/fault/neap"

--- What must be found nowhere. `old` is what stood in the file before: nobody has told neap that it is secret.
repository.CANARIES = {
  file = "canary-file/+\"quoted\" 'tick' 8f31", command = "canary-command <&> 5c02=",
  variable = "canary-variable?x=1&y\\9d77",
  typed = "canary-typed %41 e6b0", old = "canary-old-3b95", picked = "canary-picked\\{7a1e}",
  beside = "canary-beside-c4d2",
}

local PROCEDURE = [[
-- Secrets everywhere.
local here, folder = env.hosts["local"], env.folder
phase "Use"
step "File" { run = function()
  file.write(here, folder .. "/conf", "user = me\ntoken = " .. env.secrets.file .. "\nport = 1\n", { mode = "0600" })
  file.write(here, folder .. "/whole", env.secrets.variable, { mode = "0600" })
end }
step "Input" { run = function()
  local print = 'tee "$1"; base64 "$1" >&2; od -An -tx1 "$1" | tr -d " \n"; rm "$1"'
  return here:run({ "sh", "-c", print, "sh", folder .. "/input" },
    { input = env.secrets.command, undo = { "true" } })
end }
step "Variable" { run = function()
  local said = here:run({ "sh", "-c", 'printf "%s\n" "x$X" "$Y" | tee "$1"', "sh", folder .. "/variables" },
    { env = { X = env.secrets.file, Y = "plain" }, undo = { "rm", folder .. "/variables" } })
  local found = here:read_shell("tr '\\0' '\\n' </proc/$$/environ | grep -c '^CANARY' ; true")
  return { said = said, found = found }
end }
step "Picked" { run = function()
  file.write(here, folder .. "/picked", env.secrets.picked .. " " .. env.secrets.listed, { mode = "0600" })
end }
step "Read" { run = function() return { conf = file.read(here, folder .. "/conf") } end }
step "Edit" { run = function()
  file.edit(here, folder .. "/conf", function(text) return (text:gsub("port = 1", "port = 2")) end)
end }
if env.typed == "yes" then
  step "Typed" { run = function() file.write(here, folder .. "/typed", env.secrets.typed .. "\n") end }
end
step "Wait" { run = function() here:run({ "sleep", env.wait }, { undo = { "true" } }) end }
step "Fail" { run = function()
  if env.fails == "command" then
    here:run({ "sh", "-c", "read -r line; echo $line; echo failed with \"$line\" >&2; exit 3" },
      { input = env.secrets.file .. "\n", undo = { "true" } })
  elseif env.fails == "message" then
    fail("no luck with " .. file.read(here, folder .. "/conf"))
  elseif env.fails == "mistake" then
    error("mistaken: " .. file.read(here, folder .. "/whole"))
  end
end }
]]

local ENVIRONMENT = [[
values: { folder: %s, fails: "%s", typed: "%s", wait: "%s" }
secrets:
  file: file:%s
  command: "cmd:cat %s"
  variable: env:CANARY
  picked: file:%s#database.password
  listed: "cmd:cat %s#keys.2"
  typed: "ask:The typed one"
policy: { allow_exec: [cat] }
]]

--- @param folder string
--- @param options? { fails?: string, typed?: boolean, wait?: string }
function repository.new(folder, options)
  options = options or {}
  local self = setmetatable({ folder = folder, data = folder .. "/data", terminal = {} }, repository)
  for path, text in pairs {
    ["procedures/demo/it.lua"] = PROCEDURE, ["data/conf"] = self:before(),
    ["kept/document"] = json.encode { database = { password = self.CANARIES.picked, user = self.CANARIES.beside } },
    ["kept/list"] = ("keys: [one, '%s']\n"):format(self.CANARIES.command),
    ["kept/file"] = self.CANARIES.file .. "\n", ["kept/command"] = self.CANARIES.command .. "\n",
    ["procedures/demo/environments/lab.yml"] = ENVIRONMENT:format(self.data, options.fails or "",
      options.typed and "yes" or "", options.wait or "0", folder .. "/kept/file", folder .. "/kept/command",
      folder .. "/kept/document", folder .. "/kept/list"),
  } do
    fs.mkdir(folder .. "/" .. path:match "^(.*)/", "0700")
    fs.write(folder .. "/" .. path, text, { mode = "0600" })
  end
  fs.mkdir(folder .. "/home", "0700")
  return self
end

--- What the file holds before the run.
function repository:before() return "user = me\ntoken = " .. self.CANARIES.old .. "\nport = 1\n" end

function repository:environment(fault)
  return { HOME = self.folder .. "/home", XDG_STATE_HOME = self.folder .. "/state", NEAP_PATH = self.folder,
    PATH = process.environ "PATH", NEAP_FAULT = fault, LC_ALL = "C.UTF-8", CANARY = self.CANARIES.variable,
    NEAP_LUA = process.environ "NEAP_LUA" }
end

--- Runs neap; what it prints is kept for the search.
--- @return table result  of process.run
function repository:neap(fault, ...)
  local env = self:environment(fault)
  local result = process.run({ NEAP, ... }, { env = env, clear_env = true, reads = true, timeout = 120 })
  table.insert(self.terminal, result.out)
  table.insert(self.terminal, result.err)
  return result
end

local function each_file(folder, visit)
  for _, name in ipairs(fs.list(folder)) do
    local path = folder .. "/" .. name
    local found = fs.lstat(path) -- nil: it is gone by now
    local kind = found and found.type
    if kind == "directory" then each_file(path, visit) end
    if kind == "file" then visit(path) end
  end
end

--- The state folder's files as they are while a run goes on: the journal, its log, the socket aside.
function repository:search_state()
  if not fs.exists(self.folder .. "/state") then return end
  each_file(self.folder .. "/state", function(path)
    if path:find "/ballast$" then return end -- 8 MiB of nothing
    local file = io.open(path, "rb") -- one may be gone by now
    if file then self:search(file:read "a" or "", path) end
    if file then file:close() end
  end)
end

--- The same at a terminal of its own, where `typed` is typed when the prompt has come.
function repository:at_terminal(typed, ...)
  local command = NEAP .. " " .. table.concat({ ... }, " ")
  local stream <close> = process.spawn({ "script", "-qec", command, "/dev/null" },
    { env = self:environment(), clear_env = true, reads = true })
  local shown = ""
  while not shown:find "The typed one" do
    local piece = stream:read()
    if not piece then break end
    shown = shown .. piece
  end
  task.sleep(0.3) -- until the echo is off
  pcall(stream.write, stream, typed .. "\n")
  for piece in function() return stream:read() end do shown = shown .. piece end
  table.insert(self.terminal, shown)
  return shown
end

-- ---- searching ----

local function url(text)
  return (text:gsub("[^%w._~-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

--- Six encodings of a value, base64 in three alignments.
function repository.encodings(value)
  local list = { value, url(value), json.encode(value):sub(2, -2), (value:gsub("'", "'\\''")), crypto.hex(value) }
  for before = 0, 2 do
    local first, last = (before * 8 + 5) // 6, (before + #value) * 8 // 6
    list[#list + 1] = crypto.base64(("\0"):rep(before) .. value):sub(first + 1, last)
  end
  return list
end

local NEEDLES = {} -- of each canary, for they are looked for again and again
for name, value in pairs(repository.CANARIES) do NEEDLES[name] = repository.encodings(value) end

--- Raises where a canary stands in the text. only: these, by name.
function repository:search(text, where, only)
  for name, needles in pairs(NEEDLES) do
    if not only or only[name] then
      for _, needle in ipairs(needles) do
        local at = text:find(needle, 1, true)
        if at then
          error(("%s holds %s: %q"):format(where, name, text:sub(math.max(1, at - 60), at + #needle + 20)), 0)
        end
      end
    end
  end
end

local function search_journal(self, path)
  local db = sqlite.open(path, { mode = "read", busy_timeout = 5 })
  for _, row in ipairs(db:rows "select run, seq, line from record") do
    self:search(row.line, ("record %d"):format(row.seq))
  end
  for _, row in ipairs(db:rows "select sha256, zstd from blob") do
    self:search(zstd.decompress(row.zstd, 1 << 30), "blob " .. row.sha256)
  end
  for _, row in ipairs(db:rows "select id, line from plan") do self:search(row.line, "plan " .. row.id) end
  db:close()
end

--- The state folder with the journal's records and contents, and all that was printed.
function repository:search_all()
  each_file(self.folder .. "/state", function(path) self:search(fs.read(path), path) end)
  local journal = self.folder .. "/state/neap/demo/lab/journal.db"
  if fs.exists(journal) then search_journal(self, journal) end
  for _, text in ipairs(self.terminal) do self:search(text, "what was printed") end
  for _, log in ipairs { "/var/log/syslog", "/var/log/auth.log", "/var/log/messages" } do
    if fs.exists(log) then self:search(fs.read(log), log) end
  end
end

return repository
