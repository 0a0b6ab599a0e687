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

local TIME = "20150830T123600Z"

local function credentials_of(token)
  return { key = "AKIDEXAMPLE", secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token = token }
end

local function sorted(query)
  local list = {}
  for part in query:gmatch "[^&]+" do list[#list + 1] = part end
  table.sort(list)
  return list
end

local function check_presigned(request, token, theirs)
  local bare = { method = request.method, host = request.host, path = request.path, query = request.query,
    headers = {} }
  equal(sorted(sigv4.presigned(bare, credentials_of(token), "us-east-1", TIME, 60)), theirs, "a URL")
end

return {
  parsers = { "neap/targets/aws/sigv4.lua" },
  run = function(data)
    local kind, path, query, headers, body = parts(data, 5)
    if not (utf8.len(path) and utf8.len(query) and utf8.len(body)) then return end
    local service, token = #kind % 2 == 0 and "sts" or "s3", #kind % 3 == 1 and "to+ken/=" or nil
    local request = { method = (kind:byte() or 0) % 2 == 1 and "POST" or "GET", host = "h.example.com",
      path = sigv4.path("/" .. path), query = pairs_of(query), headers = headers_of(headers), body = body }
    local theirs = asked { method = request.method, path = request.path, query = request.query,
      headers = request.headers, body = body, service = service, token = token }
    if service == "s3" then check_presigned(request, token, theirs.presigned) end
    sigv4.sign(request, credentials_of(token), "us-east-1", service, TIME)
    equal(request.headers.Authorization, theirs.authorization, "a signature")
  end,
}
