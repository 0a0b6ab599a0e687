-- Releases the shop.
parameters {
  release = "number of the release",
  colour  = { "of the sign", one_of = { "blue", "red" }, default = "red" },
}

manual "Look at the shop" {}
