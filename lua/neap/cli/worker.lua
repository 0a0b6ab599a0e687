--- The worker's side of the command line: not for people. Reads from its input what it is to do, as cli/client wrote it.
local crypto = require "native.crypto"
local json   = require "native.json"

local STARTS = { run = { "neap.engine.run", "start" }, resume = { "neap.engine.run", "resume" },
                 rollback = { "neap.engine.rollback", "start" } }

local worker = { summary = "own a run; started by run, resume and rollback", hidden = true }

--- What a verb calls of the engine, in a worker or, with --foreground, in the terminal's own process.
--- @param verb "run"|"resume"|"rollback"
--- @return fun(given: table): table
function worker.start_of(verb)
  local place = STARTS[verb]
  return require(place[1])[place[2]]
end

local function announce(message)
  require("neap.cli.view.console").new({}):answer(json.encode(message))
end

--- @return integer status
function worker.main()
  local given = json.decode(io.read "a")
  for _, files in ipairs { given.files or {}, given.amendment and given.amendment.files or {} } do
    for path, text in pairs(files) do files[path] = crypto.unbase64(text) end
  end
  return require("neap.engine.worker").serve(worker.start_of(given.verb), given, announce)
end

return worker
