--- `neap import`: a procedure of manual steps out of a guide, and a newer guide merged into an edited procedure.
local choice     = require "neap.cli.choice"
local crypto     = require "native.crypto"
local failure    = require "neap.cli.failure"
local fs         = require "native.fs"
local guide      = require "neap.engine.guide"
local outline    = require "neap.import.outline"
local procedure  = require "neap.engine.procedure"
local recognise  = require "neap.import.recognise"
local repository = require "neap.repository"
local update     = require "neap.import.update"
local view       = require "neap.cli.view.import"
local write      = require "neap.import.write"

local import = {
  summary = "make a procedure of manual steps out of a guide",
  examples = {
    "neap import shop-release.md", "neap import release.md shop/release",
    "neap import release.md shop/release --update",
  },
}

function import.arguments(parser)
  parser:argument("guide", "the guide, in Markdown")
  parser:argument("procedure", "<group>/<name>; without it shop-release.md is shop/release"):args "?"
  parser:flag("--update", "merge a newer text of the guide into the procedure, which stays as its author has it")
  parser:option("--old", "with --update: the text that the procedure was written from, where it was not imported")
    :argname "FILE"
end

local function name_of(options)
  if options.procedure then
    local group, name = options.procedure:match "^([%w_-]+)/([%w_-]+)$"
    if group and repository.is_procedure(group, name .. ".lua") then return group, name end
    failure.wrong_use(("'%s' is no <group>/<name> of a procedure"):format(options.procedure),
      "neap import GUIDE GROUP/NAME")
  end
  local group, name = options.guide:match "([%w_]+)%-([%w_.-]+)%.%w+$"
  if not group then
    failure.wrong_use("the guide's file does not say which procedure it is", "neap import GUIDE GROUP/NAME")
  end
  return group, (name:gsub("[^%w_-]", "-"))
end

local function title_of(entries, file)
  for _, entry in ipairs(entries) do
    if entry.kind == "phase" or entry.names_guide then return entry.title end
  end
  return file
end

--- What the procedure leaves of the guide, which is nothing.
local function coverage_of(text, path, guide_text)
  local loaded = procedure.load { files = { [path] = text }, path = path, arguments = {}, showing = true }
  return guide.coverage(loaded, guide.of(loaded, guide_text, ""), guide_text)
end

local function figures(entries)
  local found = { phases = 0, steps = 0, remarks = 0, forms = 0 }
  for _, entry in ipairs(entries) do
    local kind = entry.kind .. "s"
    found[kind] = found[kind] + 1
    found.forms = found.forms + #recognise.forms(entry)
  end
  return found
end

local function has_environment(group)
  for _, entry in ipairs(repository.environments()) do
    if entry.group == group then return true end
  end
  return false
end

--- A checklist needs no hosts, but somewhere to keep its journal.
local function write_environment(root, group)
  if has_environment(group) then return nil end
  local path = ("%s/procedures/%s/environments/local.yml"):format(root, group)
  fs.mkdir(path:match "^(.*)/[^/]*$", "0755")
  fs.write(path, "# Where its checklists are run: they need no hosts.\nvalues: {}\n", { mode = "0644" })
  return path
end

local function root_of()
  local root = repository.roots()[1]
  if root then return root end
  return failure.wrong_use("there is no folder procedures in " .. repository.search_path(), "mkdir procedures")
end

local function import_new(options, root, group, name)
  local path = ("procedures/%s/%s.lua"):format(group, name)
  if fs.exists(root .. "/" .. path) then
    failure.wrong_use(path .. " is there already", ("neap import %s %s/%s --update"):format(options.guide, group, name))
  end
  local text = choice.text(options.guide, "import")
  local entries, lines, file = outline.of(text), outline.lines(text), options.guide:match "[^/]*$"
  if #entries == 0 then failure.wrong_use(options.guide .. " says nothing", "neap import --help") end
  local found = figures(entries)
  local code = write.procedure(entries, lines, { title = title_of(entries, file), file = file,
    sha256 = crypto.sha256(text) })
  local covered = coverage_of(code, path, text)
  fs.mkdir(("%s/procedures/%s"):format(root, group), "0755")
  fs.write(root .. "/" .. path, code, { mode = "0644" })
  found.environment = write_environment(root, group)
  found.path, found.name, found.lines, found.missing = path, group .. "/" .. name, covered.lines, covered.missing
  return found
end

local function merge(options, root, group, name)
  local path = ("procedures/%s/%s.lua"):format(group, name)
  if not fs.exists(root .. "/" .. path) then
    failure.wrong_use("there is no " .. path, ("neap import %s %s/%s"):format(options.guide, group, name))
  end
  local text = choice.text(options.guide, "import")
  local old = options.old and choice.text(options.old, "import") or nil
  local merged = update.merge(fs.read(root .. "/" .. path), text, old)
  if not merged then
    failure.wrong_use(path .. " does not hold the lines of its guide", "add --old FILE, the text it was written from")
  end
  local covered = coverage_of(merged.text, path, text)
  fs.write(root .. "/" .. path, merged.text, { mode = "0644" })
  return { path = path, name = group .. "/" .. name, lines = covered.lines, missing = covered.missing,
    changed = merged.changed, gone = merged.gone, added = merged.added, moved = merged.moved, updated = true }
end

function import.run(options)
  local root, group, name = root_of(), name_of(options)
  local found = (options.update and merge or import_new)(options, root, group, name)
  local console = options.console
  if console.json then console:answer_json(found) else console:answer(view.text(found, console.out)) end
end

return import
