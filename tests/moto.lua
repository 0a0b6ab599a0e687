--- moto, a stand-in for AWS, on loopback: for tests of the AWS client (vendor/moto.sh).
local fs      = require "native.fs"
local native  = require "native.http"
local process = require "native.process"

local moto = {}

local PYTHON = "build/vendor/moto/bin/python"
local SERVER = [[
import os, sys
from werkzeug.serving import make_server
import logging
from moto.server import DomainDispatcherApplication, create_backend_app
logging.getLogger("werkzeug").disabled = True
from moto.route53.models import ChangeList
ChangeList.__contains__ = lambda self, item: False
sys.path.insert(0, "tests/targets/aws")
import moto_cloudformation, moto_dynamodb, moto_redshift, moto_s3
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
server.serve_forever()
]]

--- Whether it is installed.
function moto.is_there() return fs.exists "build/vendor/moto/complete" end

local Moto = {}
Moto.__index = Moto

--- Starts a server; ends with :close(). `url` is its address.
--- @return table
function moto.start()
  local stream = process.spawn({ PYTHON, "-c", SERVER }, { reads = true, input = false,
    env = { MOTO_ACCOUNT_ID = "123456789012" } })
  local said = ""
  while not said:find "\n" do said = said .. assert(stream:read(), "moto did not start") end
  return setmetatable({ stream = stream, url = "http://127.0.0.1:" .. said:match "%d+" }, Moto)
end

local function tell(self, path, body)
  local exchange <close> = native.open { url = self.url .. path, method = "POST", reads = true, proxy = "", body = body,
    headers = { ["Content-Type"] = "text/plain" } }
  exchange:response()
end

--- Empties it.
function Moto:reset() tell(self, "/moto-api/reset", "") end

--- From now on it takes so many requests as they come, and checks the signatures and rights of all others.
--- @param free integer
function Moto:check_signatures(free) tell(self, "/moto-api/reset-auth", tostring(free)) end

function Moto:close() self.stream:close() end

return moto
