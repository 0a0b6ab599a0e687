--- What a rehearsal has shown: whether it passed, and of each effect's way back what is known.
local proof     = require "neap.engine.proof"
local step_path = require "neap.engine.step_path"

local view = {}

local HEADS = { passed = { "green", "REHEARSAL PASSED" }, failed = { "alarm", "REHEARSAL FAILED" },
                open = { "yellow", "THE REHEARSAL IS NOT AT ITS END" } }

local MEANINGS = {
  proven       = "taken back, and read as it was before",
  undone       = "taken back; no state tells",
  astray       = "taken back, and it is not as it was before",
  declared     = "has an undo, which was not tried",
  none         = "has no undo",
  kept         = "a rollback leaves it",
  irreversible = "a rollback cannot go behind it",
}

local STAGES = { "turned", "returned", "compared", "not crossed" }

local function add_stages(lines, found, page)
  for _, stage in ipairs(STAGES) do
    local note = found.stages[stage]
    if note then lines[#lines + 1] = "  " .. page:clean((note.text:gsub("^rehearsal: ", ""))) end
  end
end

--- States that were not the same, each with what was found of it.
local function add_differences(lines, found, page)
  for _, one in ipairs(found.stages.compared and found.stages.compared.differ or {}) do
    local step = page:paint("dim", page:clean(step_path.root(one.path)))
    lines[#lines + 1] = ("    %s  %s  %s"):format(page:clean(one.show), step, page:paint("red", page:clean(one.what)))
  end
end

local function add_counts(lines, found, page)
  local rows = {}
  for _, coverage in ipairs(proof.COVERAGE) do
    local count = found.counts[coverage]
    if count > 0 then rows[#rows + 1] = { "  " .. coverage, tostring(count), MEANINGS[coverage] } end
  end
  if #rows == 0 then return end
  table.move(page:table({ "UNDO COVERAGE", ">", "" }, rows), 1, #rows + 1, #lines + 1, lines)
end

--- Each effect but those that are proven, with why.
local function add_effects(lines, found, page)
  for _, one in ipairs(found.effects) do
    if one.coverage ~= "proven" then
      local why = one.why and (" (%s)"):format(page:clean(one.why)) or ""
      lines[#lines + 1] = page:edges(("    %s  %s"):format(page:clean(one.show),
        page:paint("dim", page:clean(step_path.root(one.path)) .. why)), one.coverage)
    end
  end
end

--- @param found neap.proof
--- @param page neap.page
--- @return string[] lines
function view.lines(found, page)
  local head, lines = HEADS[found.verdict], {}
  lines[1] = page:paint(head[1], head[2])
  add_stages(lines, found, page)
  add_differences(lines, found, page)
  add_counts(lines, found, page)
  add_effects(lines, found, page)
  return lines
end

--- How it stands with the rehearsal that an environment's policy asks for.
--- @param standing { within: string, places: string[], found?: neap.rehearsed, flaws: string[] }
--- @param procedure string
--- @param page neap.page
--- @return string[] lines
function view.standing(standing, procedure, page)
  local found = standing.found
  if found then
    return { page:clean(("Rehearsed: %s, run %d, %s (wanted within %s)"):format(found.environment, found.run,
      found.ended:sub(1, 10), standing.within)) }
  end
  local lines = { page:paint("yellow", page:clean(("Not rehearsed: the policy wants this code rehearsed within %s")
    :format(standing.within))) }
  for _, flaw in ipairs(standing.flaws) do lines[#lines + 1] = "  " .. page:clean(flaw) end
  local place = standing.places[1]
  local first = place and ("  first: neap rehearse %s --env %s"):format(procedure, place)
  lines[#lines + 1] = page:paint("dim", page:clean(first or "  there is no environment in which it could be"))
  return lines
end

return view
