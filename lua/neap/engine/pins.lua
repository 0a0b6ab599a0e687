--- Who the targets of a run are: host keys, identifiers of database systems. What a plan has seen, or a run at its first
--- contact, is what it goes on with; another that stands in the same place is refused.
local fault = require "native.error"

local pins = {}

local function refuse(name, identity, known)
  fault.raise { kind = "denied", code = "identity",
    message = ("%s is not the one this run was made for: it is %s, known is %s"):format(name, identity, known),
    hint = "if it was set up anew on purpose, plan again; a run that is open can only be rolled back or abandoned" }
end

local function note(run, name, identity, trusted)
  run.pins[name] = identity
  if run.planning or not run.writer then return end
  run.writer:append { type = "note", kind = "pin", name = name, identity = identity, trusted = trusted,
    text = ("%s is %s"):format(name, identity) }
end

--- Takes down who was met under a name, or raises `denied` with the code "identity" when it was another before.
--- @param run table
--- @param name string      a host's, or what else the target is called
--- @param identity string  what only it can show
function pins.meet(run, name, identity)
  local known = run.pins[name]
  if known == nil then return note(run, name, identity) end
  local same = known == identity or identity:match "%S+$" == known -- a fingerprint alone is known without the key's type
  if not same then refuse(name, identity, known) end
end

--- Takes down whom a procedure or a person vouches for, before it is met.
--- @param run table
--- @param name string
--- @param identity string
function pins.vouch(run, name, identity)
  local known = run.pins[name]
  if known and known:match "%S+$" ~= identity then refuse(name, identity, known) end
  if run.trusted[name] then return end
  run.trusted[name] = identity
  note(run, name, known or identity, true)
end

return pins
