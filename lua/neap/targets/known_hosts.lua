--- The known_hosts files of OpenSSH: who is expected behind a name.
local crypto = require "native.crypto"
local glob   = require "neap.targets.glob"

local known_hosts = {}

local function raw(hex)
  return (hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end))
end

--- "SHA256:…" of a public key's bytes, as OpenSSH prints it.
--- @param blob string
--- @return string
function known_hosts.fingerprint(blob)
  return "SHA256:" .. (crypto.base64(raw(crypto.sha256(blob))):gsub("=+$", ""))
end

--- The name under which a host stands in known_hosts.
--- @param host string
--- @param port integer
--- @return string
function known_hosts.name(host, port)
  host = host:lower()
  if port == 22 then return host end
  return ("[%s]:%d"):format(host, port)
end

local function hash_matches(salt, digest, name)
  local key = crypto.unbase64(salt)
  return crypto.hmac_sha1(key, name) == crypto.unbase64(digest)
end

--- A pattern list: any that matches, none of those with "!".
local function names_match(patterns, name)
  local salt, digest = patterns:match("^|1|([^|]+)|([^|]+)$")
  if salt then return hash_matches(salt, digest, name) end
  local found = false
  for pattern in patterns:gmatch("[^,]+") do
    local negated, plain = pattern:match("^(!?)(.*)$")
    if glob.matches(plain:lower(), name) then
      if negated == "!" then return false end
      found = true
    end
  end
  return found
end

--- @class known_hosts.entry
--- @field marker? string  "revoked" or "cert-authority"
--- @field type string  "ssh-ed25519" …
--- @field blob string  the key's bytes
--- @field place string  "file:line"

local function parse_line(line, place)
  local marker, rest = line:match("^%s*@(%S+)%s+(.*)$")
  local patterns, kind, base64 = (rest or line):match("^%s*(%S+)%s+(%S+)%s+(%S+)")
  if not base64 or patterns:sub(1, 1) == "#" then return end
  local ok, blob = pcall(crypto.unbase64, base64)
  if not ok then return end
  return { marker = marker, patterns = patterns, type = kind, blob = blob, place = place }
end

--- The entries of one file's text that are about a name.
--- @param text string
--- @param name string  as known_hosts.name gives it
--- @param file string  for the entries' place
--- @return known_hosts.entry[]
function known_hosts.entries(text, name, file)
  local found, number = {}, 0
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    local entry = parse_line(line, ("%s:%d"):format(file, number))
    if entry and names_match(entry.patterns, name) then found[#found + 1] = entry end
  end
  return found
end

--- What the entries say of a key: "trusted", "revoked", "changed" (another key of its type is known), "other" (only keys of
--- other types are), "authority" (only a certificate authority is) or "unknown"; and the entry that says so.
--- @param entries known_hosts.entry[]
--- @param key { type: string, blob: string }
--- @return string, known_hosts.entry?
function known_hosts.verdict(entries, key)
  local rank = { unknown = 0, authority = 1, other = 2, changed = 3, trusted = 4, revoked = 5 }
  local verdict, witness = "unknown", nil
  for _, entry in ipairs(entries) do
    local same = entry.blob == key.blob
    local says = not entry.marker and (same and "trusted" or entry.type == key.type and "changed" or "other")
      or entry.marker == "revoked" and same and "revoked"
      or entry.marker == "cert-authority" and "authority"
      or "unknown"
    if rank[says] > rank[verdict] then verdict, witness = says, entry end
  end
  return verdict, witness
end

local algorithms_of = { ["ssh-rsa"] = { "rsa-sha2-512", "rsa-sha2-256" } }

--- The host key algorithms in order, those first whose keys are known: a server shows only one key, and another type than
--- the known one would look like a stranger.
--- @param entries known_hosts.entry[]
--- @param algorithms string[]
--- @return string[]
function known_hosts.preference(entries, algorithms)
  local first, later, known = {}, {}, {}
  for _, entry in ipairs(entries) do
    for _, algorithm in ipairs(not entry.marker and (algorithms_of[entry.type] or { entry.type }) or {}) do
      known[algorithm] = true
    end
  end
  for _, algorithm in ipairs(algorithms) do
    table.insert(known[algorithm] and first or later, algorithm)
  end
  return table.move(later, 1, #later, #first + 1, first)
end

--- The line to be added for a key. hashed: as HashKnownHosts wants it.
--- @param name string
--- @param key { type: string, blob: string }
--- @param hashed boolean
--- @return string
function known_hosts.line(name, key, hashed)
  if hashed then
    local salt = crypto.random(20)
    name = ("|1|%s|%s"):format(crypto.base64(salt), crypto.base64(crypto.hmac_sha1(salt, name)))
  end
  return ("%s %s %s\n"):format(name, key.type, crypto.base64(key.blob))
end

return known_hosts
