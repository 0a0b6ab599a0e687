--- A stage for the command line: a repository and a state folder of its own, targets that are variables, a console that
--- keeps what it is told, and a virtual clock, so that the texts are the same each time.
local attend  = require "neap.cli.attend"
local clock   = require "native.clock"
local console = require "neap.cli.view.console"
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local fs      = require "native.fs"
local json    = require "native.json"
local page    = require "neap.cli.view.page"
local task    = require "native.task"
local words   = require "neap.words"

local stage = {}
stage.__index = stage

local current

effect.resource "shop.file" {
  late = false,
  get = function(target) return current.values[target.path] end,
  put = function(target, value)
    task.sleep(0.4)
    if current.failing[target.path] then
      fault.raise { kind = "denied", message = "nobody may write there", host = target.host,
        output = "sh: cannot create: \27[31mPermission denied", hint = "sudo for " .. target.path }
    end
    current.values[target.path] = value
  end,
}

effect.action "shop.mail" {
  late = false,
  run = function(target) current.mails[#current.mails + 1] = target end,
  says = function(text) return ("mail %q"):format(text) end,
}

local function edit(host, path, fn) return effect.change("shop.file", { host = host, path = path }, fn) end

words.fakes.shop = {
  edit = edit,
  write = function(host, path, text, options)
    return effect.change("shop.file", { host = host, path = path }, function() return text end, options)
  end,
  point = function(release)
    for _, host in ipairs { "web1", "web2" } do
      edit(host, "/etc/" .. host .. ".conf", function(text) return (text:gsub("v%d+", "v" .. release)) end)
    end
  end,
  empty = effect.read("shop.empty", function()
    current.polls = (current.polls or 0) - 1
    return current.polls < 0
  end),
  mail = function(whom, text, options) return effect.perform("shop.mail", whom, text, options) end,
}

local getenv, new_console, actor = os.getenv, console.new, attend.actor

local function write(root, path, text)
  fs.mkdir(root .. "/" .. path:match "^(.*)/[^/]*$", "0755")
  fs.write(root .. "/" .. path, text, { mode = "0644" })
end

--- @param root string  a scratch folder
--- @param files table<string, string>  of the repository, by path
--- @return table stage
function stage.new(root, files)
  local self = setmetatable({ root = fs.realpath(root), values = {}, failing = {}, mails = {}, answers = {} }, stage)
  for path, text in pairs(files) do write(self.root, path, text) end
  self.set = { NEAP_PATH = self.root, XDG_STATE_HOME = self.root .. "/state" }
  rawset(os, "getenv", function(name)
    local of_machine = name ~= "EDITOR" and name ~= "VISUAL" and getenv(name) or nil
    return self.set[name] or of_machine
  end)
  console.new = function(options) return self:console(options) end
  attend.actor = function() return "alice@jump1" end
  current = self
  clock.virtual(true)
  return self
end

--- To be called after each test.
function stage.leave()
  rawset(os, "getenv", getenv)
  console.new, attend.actor, current = new_console, actor, nil
end

function stage:console(options)
  local set = page.new { width = 80, utf8 = true }
  local function keep(where)
    return function(_, text)
      self[where] = self[where] .. (text:gsub("\n*$", "\n"))
      self.shown = self.shown .. (text:gsub("\n*$", "\n"))
      return true
    end
  end
  return {
    out = set, err = set, json = options.json or false, live = false,
    may_ask = #self.answers > 0 and not options.no_input,
    has_gone = function() return false end, measure = function() return 80, 24 end, drop_input = function() end,
    answer = keep "output", show = keep "output", tell = keep "told", draw = keep "told",
    answer_json = function(_, value) return keep "output"(nil, json.encode(value)) end,
    ask = function(_, prompt)
      local answer = table.remove(self.answers, 1)
      if type(answer) == "function" then answer = answer() end
      keep "told"(nil, prompt .. tostring(answer))
      return answer
    end,
  }
end

--- The fakes are in this process, so a run stays in it too.
local STAYS = { run = true, rehearse = true, resume = true, rollback = true }

--- Runs a command line. Returns the exit status; what was printed is in self.output (stdout) and self.told (stderr).
--- @param line string
--- @return integer status
function stage:neap(line)
  local argv = {}
  for word in line:gmatch "%S+" do argv[#argv + 1] = word end
  if STAYS[argv[1]] and not line:find "--help" then argv[#argv + 1] = "--foreground" end
  self.output, self.told, self.shown = "", "", ""
  return require "neap.cli"(argv)
end

--- Makes somebody's key, and the file of who may sign by it. From then on time is real: ssh-keygen takes its own.
--- @param name string
--- @return string key  its path
--- @return string allowed  the file's
function stage:signer(name)
  clock.virtual(false)
  local key, allowed = self.root .. "/" .. name, self.root .. "/allowed"
  local argv = { "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key }
  local made = require "native.process".run(argv, { reads = true })
  if made.status ~= 0 then error(made.err, 2) end
  fs.write(allowed, ("%s@example.org %s"):format(name, fs.read(key .. ".pub")), { mode = "0644" })
  return key, allowed
end

--- All that a command prints, as a person sees it, the scratch folder's name aside.
--- @param line string
--- @param in_order? boolean  the answer where it was printed, not at the end
--- @return string
function stage:screen(line, in_order)
  local status = self:neap(line)
  local shown = in_order and self.shown or self.told .. self.output
  local text = ("$ neap %s\n%s(exit status %d)\n"):format(line, shown, status)
  return (text:gsub(self.root:gsub("%p", "%%%0"), "/runbooks"))
end

return stage
