-- One command on one host
step "Ask the host" { run = function() env.hosts.h1:read { "true" } end }
