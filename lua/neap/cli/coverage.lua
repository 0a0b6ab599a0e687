--- `neap coverage`: the lines of a guide that a procedure has no step for.
local choice  = require "neap.cli.choice"
local failure = require "neap.cli.failure"
local fs      = require "native.fs"
local guide   = require "neap.engine.guide"
local view    = require "neap.cli.view.coverage"

local coverage = {
  summary = "say which lines of its guide a procedure has no step for",
  examples = {
    "neap coverage encode/release --guide encode-release.md",
    "NEAP_GUIDES=~/guides neap coverage encode/release",
  },
}

local FOUND_PROBLEMS = 9

function coverage.arguments(parser)
  parser:argument("procedure", "<group>/<name>, or the path of its file")
  parser:option("--guide", "the guide; without it, it is looked for in the folder NEAP_GUIDES"):argname "FILE"
end

local function load_procedure(options)
  local found = choice.procedure(options)
  return require "neap.engine.procedure".load {
    files = found.files, path = found.path, arguments = {}, showing = true,
  }
end

--- The file of a folder that is one of the procedure's guides, by digest or else by name.
local function find_in(folder, loaded)
  local by_name
  for _, name in ipairs(fs.list(folder)) do
    local path = folder .. "/" .. name
    if name:find "%.md$" then
      for _, one in ipairs(loaded.guides) do
        if guide.is_text_of(one, fs.read(path)) then return path end
        if one.file == name then by_name = path end
      end
    end
  end
  return by_name
end

--- Finds the guide where the command line does not say which.
local function find(loaded)
  local folder = os.getenv "NEAP_GUIDES"
  local example = ("neap coverage %s --guide FILE"):format(loaded.name)
  if not folder or folder == "" then failure.wrong_use("coverage needs --guide, or the folder NEAP_GUIDES", example) end
  if not fs.exists(folder) then failure.wrong_use("NEAP_GUIDES names no folder: " .. folder, example) end
  local path = find_in(folder, loaded)
  if path then return path end
  return failure.wrong_use(("none of the files in %s is the guide of %s"):format(folder, loaded.name), example)
end

--- @param loaded neap.procedure
--- @param path? string  the guide; without it, it is looked for in NEAP_GUIDES
--- @return neap.coverage  with procedure, file and good
function coverage.model(loaded, path)
  if #loaded.guides == 0 then
    failure.wrong_use(loaded.name .. " names no guide", 'a line like  guide "TITLE" { sha256 = "DIGEST" }')
  end
  path = path or find(loaded)
  local text = choice.text(path, "coverage")
  local found = guide.coverage(loaded, guide.of(loaded, text, path), text)
  found.procedure, found.file = loaded.name, path
  found.good = found.same and found.missing == 0 and #found.beyond == 0
  return found
end

function coverage.run(options)
  local console = options.console
  local found = coverage.model(load_procedure(options), options.guide)
  if console.json then console:answer_json(found) else console:answer(view.text(found, console.out)) end
  return found.good and 0 or FOUND_PROBLEMS
end

return coverage
