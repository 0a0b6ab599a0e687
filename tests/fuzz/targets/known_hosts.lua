--- known_hosts: whatever a file says, the line that is added for a key is found under its name and trusted, unless the file
--- revokes it. In: a name, the file.
local known_hosts = require "neap.targets.known_hosts"

local KEY = { type = "ssh-ed25519", blob = "\0\0\0\11ssh-ed25519\0\0\0\4abcd" }

return {
  parsers = { "neap/targets/known_hosts.lua" },
  run = function(data)
    local name, text = parts(data, 2)
    name = known_hosts.name(name:sub(1, 255), 22)
    local found = known_hosts.entries(text, name, "f")
    local before = known_hosts.verdict(found, KEY)
    known_hosts.preference(found, { "ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256" })
    if not name:find "^[%w.-]+$" then return end
    local excluded = known_hosts.entries(("*,!%s ssh-rsa AAAA\n"):format(name), name, "f")
    equal(#excluded, 0, "a name that is excluded")
    local gap = text ~= "" and text:sub(-1) ~= "\n" and "\n" or ""
    for _, hashed in ipairs { false, true } do
      local after = known_hosts.entries(text .. gap .. known_hosts.line(name, KEY, hashed), name, "f")
      local verdict = known_hosts.verdict(after, KEY)
      equal(#after, #found + 1, "entries")
      equal(verdict, before == "revoked" and "revoked" or "trusted", "verdict")
    end
  end,
}
