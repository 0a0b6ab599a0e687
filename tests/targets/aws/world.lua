--- A home of its own for the AWS client, and servers on loopback: what its tests stand on.
local fs      = require "native.fs"
local json    = require "native.json"
local native  = require "native.http"
local process = require "native.process"
local sshd    = require "tests.sshd"

local world = {}

local environ = process.environ

--- From now on the client sees these variables alone; "" takes none away.
--- @param variables table<string, string>
function world.variables(variables)
  process.environ = function(name) return variables[name] end
end

--- The variables are the process's own again.
function world.restore() process.environ = environ end

--- A home with these files in ~/.aws, which alone the client sees, and what is to stand in the environment beside.
--- @param folder string
--- @param files table<string, string>
--- @param more? table<string, string>
function world.home(folder, files, more)
  fs.mkdir(folder .. "/.aws", "0700")
  for name, text in pairs(files) do
    sshd.write(("%s/.aws/%s"):format(folder, name), text)
    sshd.run { "chmod", "600", ("%s/.aws/%s"):format(folder, name) }
  end
  local variables = { HOME = folder }
  for name, value in pairs(more or {}) do variables[name] = value end
  world.variables(variables)
end

--- Starts a server that prints its port.
--- @param argv string[]
--- @return { url: string, close: fun(self) }
function world.server(argv)
  local stream, said = process.spawn(argv, { reads = true, input = false }), ""
  while not said:find "\n" do said = said .. assert(stream:read(), argv[2] .. " did not start") end
  local one = { url = "http://127.0.0.1:" .. said:match "%d+" }
  function one.close() stream:close() end
  return one
end

--- Asks or tells a server something past the client.
--- @param url string
--- @param body? any  as JSON
--- @return string
function world.ask(url, body)
  local exchange <close> = native.open { url = url, method = body and "POST" or "GET", reads = true, proxy = "",
    body = body and json.encode(body) or nil }
  local text = ""
  exchange:response()
  for bytes in exchange.read, exchange do text = text .. bytes end
  return text
end

return world
