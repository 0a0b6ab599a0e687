--- Reads a person's answer to a question: the choice, and what belongs to it.
local failure = require "neap.cli.failure"
local stand   = require "neap.cli.view.stand"

local answer = {}

--- @class neap.asker
--- @field console neap.console
--- @field environment string  its full name, of which the last part is typed at a point of no return
--- @field model fun(): table  the run as cli/standing gives it, for what can be looked at
--- @field shell? neap.shell  what stays from one typed line to the next

local read = {}

read["point of no return"] = function(asker, question)
  local name = asker.environment:match "[^/]*$"
  local otherwise = question.shown and question.shown.rehearsal and "takes all back" or "pauses"
  local prompt = ("Type the environment's name to pass it (%s), anything else %s: "):format(name, otherwise)
  local typed = asker.console:ask(prompt)
  return typed and { choice = typed == name and "pass" or "stop" }
end

local function chosen(typed, options)
  local matching
  for _, option in ipairs(options) do
    if option == typed then return option end
    if typed ~= "" and option:sub(1, #typed) == typed then
      if matching then return nil end
      matching = option
    end
  end
  return matching
end

--- One of the options, by its unique beginning; nil at the end of input.
local function read_option(asker, question)
  while true do
    local typed = asker.console:ask(("%s? "):format(table.concat(question.options, " / ")))
    if not typed then return nil end
    local choice = chosen(typed, question.options)
    if choice then return choice end
    asker.console:tell(("Type one of: %s"):format(table.concat(question.options, ", ")))
  end
end

-- ---- at a failure ----

--- What more is to be said with a choice; nil where it was not said, and the choice is dropped.
local complete = {}

local function said(asker, prompt)
  local typed = asker.console:ask(prompt)
  return typed and typed:match "^%s*(.-)%s*$" or ""
end

local function with_reason(asker, choice, prompt)
  local reason = said(asker, prompt)
  return reason ~= "" and { choice = choice, reason = reason } or nil
end

function complete.skip(asker) return with_reason(asker, "skip", "Skip it, because: ") end

complete["by hand"] = function(asker, question)
  if question.shown.has_check then return { choice = "by hand" } end
  return with_reason(asker, "by hand", "It has no check. What was done, and what shows it: ")
end

function complete.back(asker)
  local to = said(asker, "Back to which step (its number or title; all: everything): ")
  if to == "" then return nil end
  return { choice = "back", to = to ~= "all" and to or nil }
end

complete["hand over"] = function(asker)
  local whom = said(asker, "To whom: ")
  if whom == "" then return nil end
  local reason = said(asker, "What they should know: ")
  return { choice = "hand over", whom = whom, reason = reason ~= "" and reason or nil }
end

function complete.edit(asker, question) return require "neap.cli.edit".ask(asker, question) end

local look = {}

function look.diff(asker, question) return stand.diff(asker.model(), question, asker.console.err) end

function look.output(asker, question) return stand.output(asker.model(), question, asker.console.err) end

function read.failure(asker, question)
  local console = asker.console
  while true do
    local typed = console:ask(stand.prompt(question, asker.environment))
    if not typed then return nil end
    local choice = stand.choice(typed, question.options)
    if not choice then
      console:tell(stand.keys(question, console.err))
    elseif look[choice] then
      console:tell(look[choice](asker, question))
    else
      local whole = complete[choice]
      local found = not whole and { choice = choice } or whole and whole(asker, question)
      if found then return found end
    end
  end
end

-- ---- lines ----

function read.shell(asker, question) return require "neap.cli.repl.shell".read(asker, question) end

local AGREED = { y = "yes", yes = "yes", a = "all", all = "all" }

read["shell change"] = function(asker)
  local typed = asker.console:ask(("apply on %s? [y/N/all] "):format(asker.environment:match "[^/]*$"))
  return { choice = typed and AGREED[typed:lower():match "^%s*(.-)%s*$"] or "no" }
end

-- ---- all others ----

function read.manual(asker, question)
  local choice = read_option(asker, question)
  if choice ~= "done" or not question.evidence then return choice and { choice = choice } end
  return { choice = choice, evidence = said(asker, ("What shows it (%s): "):format(question.evidence)) }
end

function read.window(asker, question)
  local choice = read_option(asker, question)
  if choice ~= "go on" then return choice and { choice = choice } end
  return with_reason(asker, choice, "Go on outside the window, because: ") or { choice = "stop" }
end

--- The answer to a question; nil where input has ended.
--- @param asker neap.asker
--- @param question neap.question
--- @return { choice: string, reason?: string, to?: string, whom?: string, evidence?: string, line?: string,
---   arguments?: table<string, string>, files?: table<string, string> }?
function answer.read(asker, question)
  if read[question.kind] then return read[question.kind](asker, question) end
  local choice = read_option(asker, question)
  return choice and { choice = choice }
end

-- ---- without a terminal ----

--- Choices that need no terminal.
--- @param options string[]
--- @return string[]
function answer.without_terminal(options)
  local at_terminal, list = require "neap.engine.decide".AT_TERMINAL, {}
  for _, option in ipairs(options) do
    if not at_terminal[option] then list[#list + 1] = option end
  end
  return list
end

local NEEDS_REASON = { skip = true, ["go on"] = true }

--- What the run waits for, by its journal: kind and options.
local function open_question(model, named)
  if model.question then return model.question end
  if model.failure and not model.back then
    return { kind = "failure", options = require "neap.engine.decide".OPTIONS }
  end
  failure.wrong_use(("run %d waits for no answer"):format(model.run.run), "neap resume " .. named)
end

--- The answer that `resume --answer` gives to what the run had stopped at.
--- @param options { answer?: string, reason?: string, to?: string, whom?: string }
--- @param model table  as cli/standing gives it
--- @return table? answer  as neap.resume_request takes it
function answer.given(options, model)
  if not options.answer then return nil end
  local run = model.run
  local named, environment = ("%d --env %s"):format(run.run, run.environment), run.environment:match "[^/]*$"
  local question = open_question(model, named)
  local typed = options.answer:gsub("-", " ")
  if question.kind == "point of no return" then
    if options.answer == environment then return { choice = "pass" } end
    failure.wrong_use("a point of no return is passed by the environment's name",
      ("neap resume %s --answer %s"):format(named, environment))
  end
  local allowed = answer.without_terminal(question.options)
  local choice = chosen(typed, allowed)
  if not choice then
    failure.wrong_use(("--answer takes one of: %s"):format(table.concat(allowed, ", ")),
      "neap log " .. named)
  end
  if NEEDS_REASON[choice] and not options.reason then
    failure.wrong_use(("--answer %s needs --reason"):format(options.answer),
      ("neap resume %s --answer %s --reason WHY"):format(named, options.answer))
  end
  return { choice = choice, reason = options.reason, to = options.to, whom = options.whom,
           evidence = question.evidence and options.reason or nil }
end

return answer
