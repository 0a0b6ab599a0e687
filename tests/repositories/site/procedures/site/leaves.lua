-- Says that it takes something back, and does not.
step "Write" {
  run  = function() file.write(env.hosts.web, "/etc/motd", "new\n") end,
  undo = function() end,
}
step "Call" { run = function() env.hosts.web:run({ "true" }, { keep = "it does nothing" }) end }
