--- `neap report`: what a run did, for people who were not there.
local account = require "neap.cli.account"
local choice  = require "neap.cli.choice"
local failure = require "neap.cli.failure"
local fs      = require "native.fs"

local report = {
  summary = "report on a run: HTML, Markdown, JSON, JUnit",
  examples = {
    "neap report 142 -o run-142.html", "neap report 142 --format markdown",
    "neap report encode/production/142 -o report.xml",
  },
}

local FORMS = { "html", "markdown", "json", "junit" }
local ENDINGS = { html = "html", htm = "html", md = "markdown", json = "json", xml = "junit" }

function report.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>")
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:option("--format", "html, markdown, json, junit; else as the file's ending says, else html"):choices(FORMS)
    :argname "FORM"
  parser:option("-o --output", "write it to this file"):argname "FILE"
end

local function form_of(options)
  if options.format then return options.format end
  if options.json then return "json" end
  return options.output and ENDINGS[options.output:match "%.(%w+)$"] or "html"
end

local function text_of(form, found)
  if form == "json" then
    return require "native.json".encode_pretty(require "neap.cli.view.json".safe(found)) .. "\n"
  end
  return require("neap.cli.view.report." .. form).text(found)
end

--- Readable for its owner alone: it tells what stands in files of servers.
local function write(path, text)
  if path:find "^~" or path == "" then failure.wrong_use("-o takes a file's path", "neap report --help") end
  fs.write(path, text, { mode = "0600" })
end

function report.run(options)
  local found = account.of(choice.run(options.run, options))
  local form = form_of(options)
  local text = text_of(form, found)
  if not options.output then return options.console:answer(text) and 0 end
  write(options.output, text)
  options.console:tell(("%s: %s of run %d"):format(options.console.err:clean(options.output), form, found.run))
end

return report
