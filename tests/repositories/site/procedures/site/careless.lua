-- Does what nobody can be asked about, and what cannot be taken back.
effect.action "site.call" { run = function(target) host.exec(target, { "site-call" }) end }
effect.action "site.mark" {
  run  = function(target) host.exec(target, { "site-mark" }) end,
  done = function(target) return host.exec(target, { "site-marked" }, { reads = true }).out == "yes" end,
  undo = function(target) host.exec(target, { "site-unmark" }) end,
}

step "Mark" { run = function() effect.perform("site.mark", "web", 1) end }
step "Call" { run = function() effect.perform("site.call", "web", 1, { keep = "it is only a call" }) end }
