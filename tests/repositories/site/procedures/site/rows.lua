-- Has the shop's rows in a file.
step "Copy the rows out" {
  run = function() sql.copy_out("shop", "copy items to stdout", { file = "/srv/rows" }) end,
}
