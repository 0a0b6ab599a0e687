--- The report as Markdown: the procedure as a ticked checklist.
local markup = require "neap.cli.view.report.markup"
local page   = require "neap.cli.view.page"
local steps  = require "neap.cli.view.report.steps"
local time   = require "neap.cli.view.time"

local markdown = {}

local text, code = markup.markdown, markup.code

local TICKED = { done = true, ["by hand"] = true, ["not wanted"] = true }

local function step_line(step)
  local said = {}
  if not (step.status == "done" or step.status == "not begun") then said[1] = step.status end
  if step.ended and step.status ~= "not begun" then said[#said + 1] = step.ended:sub(12, 19) end
  if step.who then said[#said + 1] = text(step.who) end
  if step.reason then said[#said + 1] = text(step.reason) end
  if step.failure then said[#said + 1] = text(step.failure.message) end
  local from = step.from and (" (%s)"):format(text(step.from)) or ""
  return ("- [%s] %s %s%s%s"):format(TICKED[step.status] and "x" or " ", step.number, text(step.title), from,
    #said > 0 and ": " .. table.concat(said, ", ") or "")
end

local function effect_line(one)
  local seconds = time.between(one.started, one.ended)
  return ("  - %s %s: %s%s; %s"):format(code(one.sign .. " " .. one.kind), text(one.show), one.status,
    seconds and ", " .. page.duration(seconds) or "", text(one.undo))
end

local function add_list(out, title, list, line)
  if #list == 0 then return end
  out ""
  out("## " .. title)
  out ""
  for _, one in ipairs(list) do out("- " .. line(one)) end
end

local function add_steps(out, account)
  local effects, others = steps.effects(account)
  for _, phase in ipairs(account.phases) do
    out ""
    out(("## %d %s"):format(phase.number, text(phase.title)))
    out ""
    for _, step in ipairs(phase.steps) do
      out(step_line(step))
      for _, one in ipairs(effects[step.title]) do out(effect_line(one)) end
    end
  end
  add_list(out, "Typed by a person", others, function(one) return effect_line(one):sub(5) end)
end

--- @param account neap.account
--- @return string
function markdown.text(account)
  local lines, chain = {}, account.chain
  local function out(line) lines[#lines + 1] = line end
  out(("# Run %d: %s on %s: %s"):format(account.run, text(account.procedure), text(account.environment),
    text(account.summary)))
  out ""
  out(("%s, %s to %s UTC (%s)"):format(text(account.actor), account.started:sub(1, 16):gsub("T", " "),
    account.ended:sub(12, 19), page.duration(account.seconds)))
  for _, guide in ipairs(account.guides) do
    out(("\nGuide: %s, sha256 %s"):format(text(guide.title), code(guide.sha256)))
  end
  if account.verdict.failure then out(("\n**%s**"):format(text(account.verdict.failure.message or "?"))) end
  out(("\nNext: %s"):format(code(account.verdict.next[1])))
  add_steps(out, account)
  add_list(out, "Deviations", account.deviations, function(one)
    return ("%s %s"):format(one.time:sub(12, 19), text(one.text))
  end)
  add_list(out, "People and evidence", account.people, function(one)
    return ("%s %s %s: %s"):format(one.time:sub(12, 19), text(one.who), text(one.what), text(one.text))
  end)
  out ""
  out(chain.whole and ("Journal: %s, whole, head %s"):format(page.count(chain.records, "record"), code(chain.head))
    or "Journal: " .. text(chain.problem))
  return table.concat(lines, "\n") .. "\n"
end

return markdown
