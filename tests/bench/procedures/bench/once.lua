-- One command on one host that changes something: exactly once, also through a broken connection
step "Tell the host" { run = function() env.hosts.h1:run({ "true" }, { keep = "it changes nothing" }) end }
