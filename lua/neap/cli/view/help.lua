--- The overview that `neap --help` prints.
local view = {}

local EXAMPLES = {
  { "neap list", "what can be run" },
  { "neap plan encode/release --env prod", "what it would change" },
  { "neap run encode/release --env prod", "run it, stop at a failure" },
  { "neap resume 142", "go on after a failure or crash" },
  { "neap rollback 142", "put everything back" },
}

local ENDING = [[
Procedures lie in procedures/<group>/<name>.lua of the current folder, or of the
folders in NEAP_PATH. `neap VERB --help` says more.
Exit status: 0 done, 1 failed before any change, 2 wrong use, 3 plan found
changes, 4 ended rolled back, 5 stopped with changes in place, 6 rollback
incomplete, 7 leased by another run, 8 needs a person, 9 found problems,
10 left: the run goes on.]]

--- @param summaries string[][]  {verb, summary}
--- @param page neap.page
--- @return string text
function view.overview(summaries, page)
  local lines = { "neap runs production upgrades: planned, journaled, resumable, undone in reverse.", "",
                  page:paint("bold", "Examples") }
  for _, example in ipairs(EXAMPLES) do
    lines[#lines + 1] = ("  %s  %s"):format(page:left(example[1], 38), page:paint("dim", example[2]))
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = page:paint("bold", "Verbs")
  local widest = 0
  for _, entry in ipairs(summaries) do widest = math.max(widest, #entry[1]) end
  for _, entry in ipairs(summaries) do
    lines[#lines + 1] = ("  %s  %s"):format(page:left(entry[1], widest), entry[2])
  end
  lines[#lines + 1] = ""
  for line in ENDING:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return table.concat(lines, "\n")
end

return view
