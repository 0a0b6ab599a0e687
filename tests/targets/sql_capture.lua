--- What psql and the mysql client send for a script, noted by servers that take everything for well done: the clients
--- themselves say where they cut.
local fs      = require "native.fs"
local process = require "native.process"
local socket  = require "native.socket"
local task    = require "native.task"

local capture = {}

local function reader(connection)
  local buffer = ""
  return function(count)
    while #buffer < count do
      local piece = connection:read()
      if not piece then return nil end
      buffer = buffer .. piece
    end
    local bytes = buffer:sub(1, count)
    buffer = buffer:sub(count + 1)
    return bytes
  end
end

-- ---- PostgreSQL ----

local function message(kind, body) return kind .. (">I4"):pack(#body + 4) .. body end

local READY = message("Z", "I")
local WELCOME = message("R", (">I4"):pack(0)) .. message("S", "server_version\0" .. "15.0\0")
  .. message("S", "client_encoding\0UTF8\0") .. message("S", "standard_conforming_strings\0on\0") .. READY
local ROW = message("T", (">I2zI4I2I4I2I4I2"):pack(1, "v", 0, 0, 25, -1 & 0xFFFF, -1 & 0xFFFFFFFF, 0))
  .. message("D", (">I2s4"):pack(1, "42"))

local function read_data(read)
  local parts = {}
  while true do
    local kind, size = read(1), (">I4"):unpack(read(4))
    local body = read(size - 4)
    if kind ~= "d" then return table.concat(parts) end
    parts[#parts + 1] = body
  end
end

local function answer_postgres(connection, read, text, notes)
  notes[#notes + 1] = text
  local lower = text:lower()
  if lower:gsub("'[^']*'", ""):find "^%s*copy%f[%W].*%f[%w]from%s+stdin" then
    connection:write(message("G", "\0\0\0"))
    notes[#notes + 1] = "data: " .. read_data(read)
  end
  local done = lower:find "^[%s;]*$" and message("I", "")
    or message("C", (lower:match "^%s*(%a+)" or "do"):upper() .. " 0\0")
  connection:write((lower:find "^%s*select" and ROW or "") .. done .. READY)
end

local function serve_postgres(connection, notes)
  local read = reader(connection)
  while true do
    local size, code = (">I4I4"):unpack(read(8))
    read(size - 8)
    if code ~= 80877103 and code ~= 80877104 then break end
    connection:write "N"
  end
  connection:write(WELCOME)
  for kind in read, 1 do
    local size = (">I4"):unpack(read(4))
    local body = read(size - 4)
    if kind == "X" then return end
    if kind == "Q" then answer_postgres(connection, read, body:sub(1, -2), notes) end
  end
end

-- ---- MySQL ----

local CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x8000 | 0x80000

local GREETING = "\10" .. "10.11.0-MariaDB\0" .. ("<I4"):pack(7) .. "saltsalt\0" .. ("<I2"):pack(CAPABILITIES & 0xFFFF)
  .. "\45" .. ("<I2"):pack(2) .. ("<I2"):pack(CAPABILITIES >> 16) .. "\21" .. ("\0"):rep(10) .. "saltsaltsalt\0"
  .. "mysql_native_password\0"

local function packet(number, body) return ("<I3"):pack(#body) .. string.char(number) .. body end

local function read_packet(read)
  local head = read(4)
  if not head then return nil end
  local size, number = ("<I3B"):unpack(head)
  return read(size), number
end

local function serve_mysql(connection, notes)
  local read = reader(connection)
  connection:write(packet(0, GREETING))
  local _, number = read_packet(read)
  while number do
    connection:write(packet(number + 1, "\0\0\0\2\0\0\0"))
    local body
    body, number = read_packet(read)
    local what = body and body:byte()
    if what == 1 then return end
    if what == 2 then notes[#notes + 1] = "use " .. body:sub(2) end
    if what == 3 then notes[#notes + 1] = body:sub(2) end
  end
end

-- ---- clients ----

local function run_client(argv, path, serve, options)
  local server <close> = socket.listen(path)
  local notes = {}
  local serving = task.spawn(function()
    local connection <close> = server:accept()
    serve(connection, notes)
  end)
  options.reads, options.timeout = true, 60
  local outcome = process.run(argv, options)
  serving:wait()
  return notes, outcome.err
end

local function write_scripts(folder, scripts)
  local paths = {}
  for i, script in ipairs(scripts) do
    paths[i] = ("%s/%d.sql"):format(folder, i)
    fs.write(paths[i], script)
  end
  return paths
end

--- The notes of each script.
local function cut_at(notes, mark)
  local lists = { {} }
  for _, note in ipairs(notes) do
    if note == mark then lists[#lists + 1] = {} else table.insert(lists[#lists], note) end
  end
  lists[#lists] = nil
  return lists
end

local MARK = "select 'the next script'"

--- What psql sends for each script: a list of texts, data as "data: …".
--- @param folder string  a scratch folder
--- @param scripts string[]
--- @return string[][]
function capture.postgres(folder, scripts)
  local argv = { "psql", "-X", "-q", "-h", folder, "-p", "5432", "-U", "it", "-d", "it" }
  for _, path in ipairs(write_scripts(folder, scripts)) do
    for _, word in ipairs { "-f", path, "-c", MARK, "-c", "\\unset x", "-c", "\\unset q" } do argv[#argv + 1] = word end
  end
  local notes = run_client(argv, folder .. "/.s.PGSQL.5432", serve_postgres,
    { env = { PGSSLMODE = "disable", PGGSSENCMODE = "disable" } })
  return cut_at(notes, MARK)
end

--- The same of the mysql client.
--- @param folder string
--- @param scripts string[]
--- @return string[][]
function capture.mysql(folder, scripts)
  local lines = {}
  for i, path in ipairs(write_scripts(folder, scripts)) do
    lines[i] = ("source %s\ndelimiter ;\n%s;\n"):format(path, MARK)
  end
  local argv = { "mysql", "--no-defaults", "--comments", "--force", "--no-auto-rehash", "-S", folder .. "/s", "-u",
    "it" }
  return cut_at(run_client(argv, folder .. "/s", serve_mysql, { input = table.concat(lines) }), MARK)
end

return capture
