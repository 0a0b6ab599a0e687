--- A name server for tests (tests/dns_server.py), on loopback.
local process = require "native.process"

local server = {}

--- Starts one; ends with :close(). `address` is how a question names it.
--- @return { address: string, close: fun(self) }
function server.start()
  local stream = process.spawn({ "python3", "tests/dns_server.py" }, { reads = true, input = false })
  local one = { address = "127.0.0.1:" .. stream:read():match "%d+" }
  function one.close() stream:close() end
  return one
end

return server
