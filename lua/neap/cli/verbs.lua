--- The verbs of the command line, in the order in which a person meets them; each is a module of its name.
return {
  "list", "show", "check", "coverage", "plan", "approve", "rehearse", "run", "resume", "stop", "rollback", "abandon",
  "repl", "runs", "log", "report", "env", "doctor", "host", "doc", "types", "completion", "new", "import", "test",
}
