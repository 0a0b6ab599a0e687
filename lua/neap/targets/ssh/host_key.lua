--- The key that a host shows: whether known_hosts, its revoked keys and the pins of a run let it pass. Nobody unknown is
--- ever trusted here.
local configured  = require "neap.targets.ssh.settings"
local crypto      = require "native.crypto"
local fault       = require "native.error"
local known_hosts = require "neap.targets.known_hosts"

local host_key = {}

local HOST_KEYS = {
  "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
}

--- The name under which a host stands in known_hosts.
--- @param settings table
--- @return string
function host_key.name(settings)
  if settings.hostkeyalias and settings.hostkeyalias ~= "none" then return settings.hostkeyalias:lower() end
  return known_hosts.name(settings.hostname, settings.port)
end

--- What the known_hosts files have under a name.
--- @param settings table
--- @param name string
--- @return table[]
function host_key.entries(settings, name)
  local entries = {}
  for _, file in ipairs(settings.known_hosts) do
    local found = known_hosts.entries(configured.read_file(file) or "", name, file)
    table.move(found, 1, #found, #entries + 1, entries)
  end
  return entries
end

--- The types of key to ask a host for, those that are known of it first.
--- @param settings table
--- @param entries table[]
--- @return string[]
function host_key.algorithms(settings, entries)
  local usable, allowed = {}, {}
  for name in (settings.hostkeyalgorithms or ""):gmatch("[^,]+") do allowed[name] = true end
  for _, name in ipairs(HOST_KEYS) do
    if allowed[name] or not next(allowed) then usable[#usable + 1] = name end
  end
  return known_hosts.preference(entries, #usable > 0 and usable or HOST_KEYS)
end

--- The type of a key and its fingerprint.
--- @param key { type: string, blob: string }
--- @return string
function host_key.described(key) return key.type .. " " .. known_hosts.fingerprint(key.blob) end

local described = host_key.described

local SAYS = {
  revoked = function(name, key, entry)
    return ("the key of %s is revoked (%s): %s"):format(name, entry.place, described(key)),
      "this host must get a new key"
  end,
  changed = function(name, key, entry, alias)
    return ("the key of %s is not the known one: it shows %s, known is %s (%s)"):format(name, described(key),
        described(entry), entry.place),
      ("somebody may stand between; if the host was set up anew, delete %s and run: neap host add %s"):format(
        entry.place, alias)
  end,
  other = function(name, key, entry, alias)
    return ("%s shows a key of a type that is not known of it: %s, known is %s (%s)"):format(name, described(key),
        described(entry), entry.place),
      ("compare the fingerprint with the host's own, then run: neap host add %s"):format(alias)
  end,
  authority = function(name, key, entry, alias)
    return ("%s is known by a certificate authority (%s), which is not supported; it shows %s"):format(name,
      entry.place, described(key)),
      ("compare the fingerprint with the host's own, then run: neap host add %s"):format(alias)
  end,
  unknown = function(name, key, _, alias)
    return ("the key of %s is not known: %s"):format(name, described(key)),
      ("compare the fingerprint with the host's own, then run: neap host add %s"):format(alias)
  end,
}

--- RevokedHostKeys, as a list of public keys. Its binary form is refused rather than passed over.
local function check_revoked_file(settings, key)
  local path = settings.revokedhostkeys
  if not path or path == "none" then return end
  path = configured.expanded(path, settings, settings.alias)
  local text = configured.read_file(path)
  local listed = text and text:find(crypto.base64(key.blob), 1, true)
  if text and not listed and not text:find("^SSHKRL\n") then return end
  fault.raise { kind = "denied", host = settings.alias,
    message = listed and ("the key of %s is revoked (%s): %s"):format(settings.alias, path, described(key))
      or ("RevokedHostKeys %s cannot be read as a list of public keys"):format(path) }
end

--- Raises "denied" unless known_hosts trusts the key, or has none of the host and the caller trusts it. A key that stands
--- there without the host's port counts too, if it is the same.
--- @param settings table
--- @param entries table[]
--- @param key { type: string, blob: string }
--- @param trusted? string  a fingerprint
function host_key.check(settings, entries, key, trusted)
  local name = host_key.name(settings)
  check_revoked_file(settings, key)
  local verdict, entry = known_hosts.verdict(entries, key)
  if verdict == "unknown" and name:find("^%[") then
    local plain, where = known_hosts.verdict(host_key.entries(settings, settings.hostname:lower()), key)
    if plain == "trusted" or plain == "revoked" then verdict, entry = plain, where end
  end
  if verdict == "trusted" then return end
  if verdict == "unknown" and trusted == known_hosts.fingerprint(key.blob) then return end
  local message, hint = SAYS[verdict](name, key, entry, settings.alias)
  fault.raise { kind = "denied", host = settings.alias, message = message, hint = hint }
end

--- Raises "denied" where the key is not the one that a run was made for.
--- @param settings table
--- @param pins? string|{ host_key: string }
--- @param key { type: string, blob: string }
function host_key.check_pins(settings, pins, key)
  local pinned = pins
  if type(pins) == "table" then pinned = pins.host_key end
  if pinned and pinned ~= described(key) and pinned ~= known_hosts.fingerprint(key.blob) then
    fault.raise { kind = "denied", code = "identity", host = settings.alias,
      message = ("%s shows another host key than the one this run was made for: %s, known is %s"):format(settings.alias,
        described(key), pinned),
      hint = "if it was set up anew on purpose, plan again; a run that is open can only be rolled back or abandoned" }
  end
end

return host_key
