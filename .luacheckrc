-- luacheck: what the linter must know of the project's Lua.
std = "lua54"
max_line_length = 120
exclude_files = { "build" }
files["tests"].read_globals = {
  "after_each", "before_each", "changing", "describe", "equal", "it", "matches", "raises", "scratch", "skip", "truthy",
}
