-- Has a cable moved, which somebody has to see.
manual "Move the cable" {
  check    = function() return env.hosts.web:read { "cat", "/sys/class/net/eth7/carrier" } == "1" end,
  evidence = "the ticket's number",
}
