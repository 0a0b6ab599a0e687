--- Completion in the shells themselves: what they offer after a beginning of a command.
local console = require "tests.lab.console"
local fs      = require "native.fs"

local FOLDER = fs.realpath "tests/cli/completion"
local NEAP   = fs.realpath "build"

local function there(program)
  if console.shell("command -v " .. program .. " || true") == "" then skip(program .. " is not installed") end
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

--- What neap itself offers for the last of the words.
local function offered(words)
  local found = {}
  for i, line in ipairs(lines(console.shell(("cd %s && %s/neap complete -- %s"):format(FOLDER, NEAP, words)))) do
    found[i] = line:match "^[^\t]*"
  end
  return found
end

describe("what could stand in a word's place", function()
  it("is a verb, a procedure, an environment of its group, a parameter, and its values", function()
    equal(offered "pl", { "plan" })
    equal(offered "plan sh", { "shop/release" })
    equal(offered "plan shop/release --env ''", { "lab", "prod" })
    equal(offered "env show ''", { "shop/lab", "shop/prod" })
    equal(offered "plan shop/release -p ''", { "colour=", "release=" })
    equal(offered "plan shop/release -p colour=b", { "colour=blue" })
  end)

  it("is an option, or what may be its value", function()
    equal(offered "plan --ful", { "--full" })
    equal(offered "plan --color=n", { "--color=never" })
    equal(offered "approve x --key ''", { ":file" })
    equal(offered "env k", { "key" })
    equal(offered "env key ''", { "export", "import" })
    equal(offered "doc sql.scr", { "sql.script" })
  end)

  it("is nothing where nothing is known", function()
    equal(offered "nix ''", {})
    equal(offered "plan no/such -p ''", {})
  end)
end)

describe("completion", function()
  it("works in bash", function()
    local script = [[cd %s; PATH=%s:$PATH; eval "$(neap completion bash)"; compopt() { :; }
      t() { COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=(neap); _neap; echo "${COMPREPLY[*]}"; }
      t "neap pl"; t "neap plan shop/release -p colour="; t "neap plan shop/release --env l"; t "neap doc host:run"]]
    local out = console.shell("bash --norc -c '" .. script:format(FOLDER, NEAP) .. "'")
    equal(lines(out), { "plan", "blue red", "lab", "run" })
  end)

  it("works in fish", function()
    there "fish"
    local script = [[cd %s; set PATH %s $PATH; neap completion fish | source
      complete -C "neap plan shop/release --env "; complete -C "neap plan shop/release -p colour="]]
    equal(lines(console.shell("HOME=$(mktemp -d) fish -c '" .. script:format(FOLDER, NEAP) .. "'")),
      { "lab", "prod", "colour=blue", "colour=red" })
  end)

  it("works in zsh", function()
    there "zsh"
    local out = console.shell(("cd %s; HOME=$(mktemp -d) zsh -f typed.zsh %s"):format(FOLDER, NEAP))
    equal(lines(out), { "ready", "shop/release", "lab", "colour=blue" })
  end)
end)
