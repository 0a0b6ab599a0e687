--- The verbs of the command line, in the order in which a person meets them; each is a module of its name.
local verbs = {
  "list", "show", "check", "coverage", "plan", "approve", "rehearse", "run", "resume", "stop", "rollback", "abandon",
  "repl", "runs", "log", "report", "env", "doctor", "host", "doc", "types", "completion", "new", "import", "test",
}

--- @param name any
--- @return boolean
function verbs.is(name)
  for _, verb in ipairs(verbs) do
    if verb == name then return true end
  end
  return false
end

return verbs
