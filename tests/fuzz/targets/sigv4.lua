--- Signatures of AWS requests, beside those of botocore, which runs beside in Python. In: the service's kind and the method,
--- the path, the query as name=value&…, headers, body; each NUL-terminated.
local json    = require "native.json"
local process = require "native.process"
local sigv4   = require "neap.targets.aws.sigv4"

local oracle = process.spawn({ "/usr/bin/python3", "-I", "tests/fuzz/sigv4.py" }, { reads = true })

local function asked(request)
  oracle:write(json.encode(request) .. "\n")
  local answer = ""
  repeat
    answer = answer .. (oracle:read() or error "botocore is gone")
  until answer:sub(-1) == "\n"
  return json.decode(answer)
end

local function pairs_of(text)
  local list, seen = json.array {}, {}
  for piece in text:gmatch "[^&]+" do
    local name, value = piece:match "^([^=]*)=?(.*)$"
    if not seen[name] then list[#list + 1] = json.array { name, value } end
    seen[name] = true
  end
  return list
end

--- Names and values that HTTP can carry; those that signers set themselves are left to them.
local function headers_of(text)
  local headers = {}
  for name, value in text:gmatch "([%w-]+):([\33-\126][ -~]*)\n?" do
    local lower = name:lower()
    local own = lower == "host" or lower == "authorization" or lower:find "^x%-amz%-" or lower == "content-length"
    if not own and not headers[lower] then headers[lower] = value end
  end
  return headers
end

local CREDENTIALS = { key = "AKIDEXAMPLE", secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" }

return {
  parsers = { "neap/targets/aws/sigv4.lua" },
  run = function(data)
    local kind, path, query, headers, body = parts(data, 5)
    if not (utf8.len(path) and utf8.len(query) and utf8.len(body)) then return end
    local request = { method = kind:byte() and kind:byte() % 2 == 1 and "POST" or "GET", host = "h.example.com",
      path = sigv4.path("/" .. path), query = pairs_of(query), headers = headers_of(headers), body = body }
    local service = #kind % 2 == 0 and "sts" or "s3"
    local theirs = asked { method = request.method, path = request.path, query = request.query,
      headers = request.headers, body = body, service = service, time = "20150830T123600Z" }
    sigv4.sign(request, CREDENTIALS, "us-east-1", service, "20150830T123600Z")
    equal(request.headers.Authorization, theirs.authorization, "signature: " .. json.encode(theirs))
  end,
}
