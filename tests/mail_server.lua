--- Servers of mail for tests (tests/mail_server.py), on loopback.
local fs      = require "native.fs"
local json    = require "native.json"
local process = require "native.process"

local server = {}

--- Starts one that does what its arguments say; ends with :close(). What it took is `taken()`, oldest first.
--- @param folder string  for the messages
--- @param ... string  arguments of tests/mail_server.py
--- @return { url: string, port: integer, close: fun(self), taken: fun(): { envelope: table, text: string }[] }
function server.start(folder, ...)
  local kept = fs.mkdtemp(folder .. "/mail-")
  local stream = process.spawn({ "python3", "tests/mail_server.py", kept, ... }, { reads = true, input = false })
  local port = math.tointeger(tonumber(stream:read():match "%d+"))
  local smtps = table.concat({ ... }, " "):find("--smtps", 1, true)
  local one = { port = port, url = ("%s://localhost:%d"):format(smtps and "smtps" or "smtp", port) }

  function one.close() stream:close() end

  function one.taken()
    local list = {}
    for i = 1, #fs.list(kept) do
      local envelope, text = fs.read(("%s/%d"):format(kept, i)):match "^([^\n]*)\n(.*)$"
      list[i] = { envelope = json.decode(envelope), text = text }
    end
    return list
  end

  return one
end

return server
