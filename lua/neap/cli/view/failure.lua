--- Errors in their four parts: what happened, where, in which state the targets are, and what to type next.
local view = {}

local LABEL = 8 -- columns of the labels at the left

--- One line: a command that was given wrongly needs no more.
local function one_line(problem, page)
  local text = ("neap: %s"):format(page:clean(problem.message))
  return text .. ("  (%s)"):format(problem.next[1])
end

local function where_of(problem, page)
  local parts = {}
  local place = (problem.where or ""):gsub(":%s*$", "")
  if place ~= "" then parts[#parts + 1] = page:clean(place) end
  if problem.step then parts[#parts + 1] = ("step %s"):format(page:clean(problem.step)) end
  if problem.host then parts[#parts + 1] = ("host %s"):format(page:clean(problem.host)) end
  return table.concat(parts, ", ")
end

--- A part under its label: its first line beside it, the others below.
local function add_part(lines, page, label, texts)
  for i, text in ipairs(texts) do
    local head = i == 1 and page:paint("dim", page:left(label, LABEL)) or (" "):rep(LABEL)
    lines[#lines + 1] = ("  %s%s"):format(head, text)
  end
end

local function wrapped(page, text)
  local lines = {}
  for _, line in ipairs(page:lines(text)) do
    for _, piece in ipairs(page:wrap(line, page.width - LABEL - 2)) do lines[#lines + 1] = piece end
  end
  return lines
end

--- @class neap.problem
--- @field message string  what happened to what
--- @field where? string  file:line
--- @field step? string  number and title
--- @field host? string
--- @field output? string  the target's own last words
--- @field hint? string
--- @field state? string  what is changed now
--- @field next? string[]  commands
--- @field exit? integer

--- @param problem neap.problem
--- @param page neap.page
--- @return string text
function view.problem(problem, page)
  if problem.exit == 2 and problem.next and #problem.next > 0 then return one_line(problem, page) end
  local lines = {}
  for i, line in ipairs(page:wrap("neap: " .. table.concat(page:lines(problem.message), " "), page.width, 2)) do
    lines[i] = page:paint("alarm", line)
  end
  local where = where_of(problem, page)
  if where ~= "" then add_part(lines, page, "where", { where }) end
  if problem.output and problem.output ~= "" then
    local said = page:lines(problem.output)
    for i, line in ipairs(said) do said[i] = "| " .. line end
    add_part(lines, page, "output", said)
  end
  if problem.state then add_part(lines, page, "state", wrapped(page, problem.state)) end
  if problem.hint then add_part(lines, page, "hint", wrapped(page, problem.hint)) end
  if problem.next and #problem.next > 0 then add_part(lines, page, "next", problem.next) end
  return table.concat(lines, "\n")
end

return view
