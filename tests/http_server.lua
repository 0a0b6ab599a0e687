--- Servers for the tests of HTTP (tests/http_server.py), on loopback, with or without TLS.
local process = require "native.process"
local sshd    = require "tests.sshd"

local server = {}

--- Starts one; ends with :close(). `url` is its address.
--- @param options? { tls: { certificate: string, key: string } }
--- @return { url: string, port: integer, close: fun(self) }
function server.start(options)
  local argv = { "python3", "tests/http_server.py" }
  local tls = options and options.tls
  if tls then table.move({ "--tls", tls.certificate, tls.key }, 1, 3, 3, argv) end
  local stream = process.spawn(argv, { reads = true, input = false })
  local port = math.tointeger(tonumber(stream:read():match "%d+"))
  local one = { port = port, url = ("%s://localhost:%d"):format(tls and "https" or "http", port) }
  function one.close() stream:close() end
  return one
end

--- An authority in that folder, and a certificate of it for these names: paths.
--- @param folder string
--- @param names string  "DNS:localhost"
--- @return { ca: string, certificate: string, key: string }
function server.certificate(folder, names)
  local made = { ca = folder .. "/ca.pem", certificate = folder .. "/server.pem", key = folder .. "/server.key" }
  local new_key = { "openssl", "req", "-newkey", "rsa:2048", "-nodes", "-days", "2" }
  local function openssl(...)
    sshd.run(table.move({ ... }, 1, select("#", ...), #new_key + 1, { table.unpack(new_key) }))
  end
  openssl("-x509", "-subj", "/CN=authority", "-keyout", folder .. "/ca.key", "-out", made.ca)
  openssl("-subj", "/CN=server", "-keyout", made.key, "-out", folder .. "/server.csr")
  sshd.write(folder .. "/names", "subjectAltName=" .. names .. "\n")
  sshd.run { "openssl", "x509", "-req", "-days", "2", "-in", folder .. "/server.csr", "-CA", made.ca, "-CAkey",
    folder .. "/ca.key", "-CAcreateserial", "-extfile", folder .. "/names", "-out", made.certificate }
  return made
end

return server
