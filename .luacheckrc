-- luacheck: what the linter must know of the project's Lua.
std = "lua54"
max_line_length = 120
max_comment_line_length = false
exclude_files = { "build" }
ignore = { "212" } -- an argument that a callback's shape asks for
files["lua/types"].ignore = { "241" } -- declarations for editors
files["lua/types/procedure.lua"].ignore = { "111", "131" } -- its globals are what it is about
files["tests"].ignore = { "211", "512" } -- a lock that is held, a loop that is left at once
files["tests"].globals = { "os.getenv" } -- a test says what the environment holds
files["tests"].read_globals = {
  "after_each", "before_each", "changing", "describe", "equal", "it", "matches", "raises", "scratch", "skip", "trial",
  "truthy",
}
local words = {
  "await", "aws", "cloudformation", "crontab", "dns", "dynamodb", "each", "ec2", "effect", "elb", "env", "events",
  "fail", "file", "git", "guide", "host", "http", "iam", "include", "json", "k8s", "mail", "manual", "needs", "nginx",
  "now", "parallel", "parameters", "phase", "postgres", "random", "rds", "redshift", "remark", "route53", "s3", "service",
  "sns", "sql", "step", "template",
  "with_reload", "with_restart", "witness", "yaml",
}
files["tests/fuzz"].read_globals = {
  "attempt", "dice", "equal", "forget_secrets", "must", "parts", "pieces", "scratch", "truthy",
}
files["tests/fuzz"].ignore = { "122", "142" } -- a target takes the place of what the parser would ask
files["procedures"].read_globals = words
files["tests/bench/procedures"].read_globals = words
files["tests/cli/completion"].read_globals = words
files["tests/repositories"].read_globals = words
