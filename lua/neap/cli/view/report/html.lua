--- The report of a run as one HTML file: no script, and nothing is fetched.
local markup   = require "neap.cli.view.report.markup"
local page     = require "neap.cli.view.page"
local proof    = require "neap.engine.proof"
local steps    = require "neap.cli.view.report.steps"
local style    = require "neap.cli.view.report.style"
local timeline = require "neap.cli.view.report.timeline"
local time     = require "neap.cli.view.time"

local html = {}

local text, lines_of = markup.text, markup.lines

local MOST_LINES = 400 -- of a difference; the journal has the rest

local function clock(utc) return utc and utc:sub(12, 19) or "" end
local function minute(utc) return utc and (utc:sub(1, 16):gsub("T", " ")) or "" end

local function took(from, to)
  local seconds = time.between(from, to)
  return seconds and page.duration(seconds) or ""
end

-- ---- the head ----

local function arguments_of(account)
  local parts = page.arguments(account.arguments)
  for i, one in ipairs(parts) do parts[i] = ("<code>%s</code>"):format(text(one)) end
  return table.concat(parts, " ")
end

local function add_facts(out, account)
  local function fact(name, value)
    if value and value ~= "" then out(("<dt>%s</dt><dd>%s</dd>"):format(name, value)) end
  end
  out '<dl class="facts">'
  fact("Arguments", arguments_of(account))
  fact("By", text(account.actor))
  fact("When", ("%s to %s UTC, %s"):format(minute(account.started), clock(account.ended),
    page.duration(account.seconds)))
  fact("Plan", account.plan and text(account.plan))
  fact("Code", account.snapshot and ("<code>%s</code>"):format(text(account.snapshot:sub(1, 12))))
  for _, guide in ipairs(account.guides) do fact("Guide", text(guide.title)) end
  out "</dl>"
end

local function add_head(out, account)
  local prod = account.guard == "production" and ' <span class="prod">PROD</span>' or ""
  out(("<h1>Run %d: %s on %s%s</h1>"):format(account.run, text(account.procedure), text(account.environment), prod))
  if account.title ~= "" then out(("<p>%s</p>"):format(text(account.title))) end
  add_facts(out, account)
end

-- ---- the verdict ----

local function stands(account)
  local counts = account.counts
  if counts.in_place == 0 then return "Nothing is changed by this run." end
  local sentence = ("%s in place: %d with an undo, %d kept, %d without."):format(page.count(counts.in_place, "effect"),
    counts.undo, counts.kept, counts.no_undo)
  if counts.seconds_to_undo >= 1 then
    sentence = ("%s The way back takes about %s."):format(sentence, page.about(counts.seconds_to_undo))
  end
  return sentence
end

local function add_failure(out, failure)
  out(("<p class=\"bad\">%s</p>"):format(text(failure.message or "?")))
  local where = {}
  if (failure.where or "") ~= "" then where[#where + 1] = text((failure.where:gsub(":%s*$", ""))) end
  if failure.host then where[#where + 1] = "host " .. text(failure.host) end
  if #where > 0 then out(("<p class=\"dim\">%s</p>"):format(table.concat(where, ", "))) end
  if (failure.output or "") ~= "" then out(("<pre>%s</pre>"):format(lines_of(failure.output))) end
  if failure.hint then out(("<p>%s</p>"):format(text(failure.hint))) end
end

local function add_verdict(out, account)
  local verdict = account.verdict
  local at = verdict.number and " " .. verdict.step or "" -- the head ends with the number
  out(('<section class="verdict is-%s"><h2>%s</h2>'):format(verdict.state,
    text((verdict.head:gsub("^%l", string.upper)) .. at)))
  if verdict.failure then add_failure(out, verdict.failure) end
  if verdict.question then out(("<p>It waits for an answer: %s</p>"):format(text(verdict.question))) end
  local point = account.point and ("The point of no return is passed: %s."):format(text(account.point.path))
  out(("<p>%s %s</p>"):format(stands(account), point or "No point of no return is passed."))
  local commands = {}
  for i, command in ipairs(verdict.next) do commands[i] = ("<code>%s</code>"):format(text(command)) end
  out(('<p class="next">Next: %s</p></section>'):format(table.concat(commands, " ")))
end

-- ---- steps and effects ----

local LINE_CLASSES = { ["+"] = "add", ["-"] = "del" }

local function add_diff(out, hunks)
  local count = 0
  out "<pre>"
  for _, hunk in ipairs(hunks) do
    out(('<span class="at">@@ -%d,%d +%d,%d @@</span>'):format(hunk.a_start, hunk.a_count, hunk.b_start, hunk.b_count))
    for _, line in ipairs(hunk.lines) do
      count = count + 1
      if count <= MOST_LINES then
        local class, shown = LINE_CLASSES[line.sign], line.sign .. text(line.text)
        out(class and ('<span class="%s">%s</span>'):format(class, shown) or shown)
      end
    end
  end
  if count > MOST_LINES then out(("... %d more lines: neap log -p"):format(count - MOST_LINES)) end
  out "</pre>"
end

local BAD = { failed = true, ["in doubt"] = true, ["partly done"] = true }

local function add_effect(out, one)
  local failed = BAD[one.status]
  out(('<tr><td data-l="What"><code>%s %s</code></td><td data-l="Where">%s'):format(text(one.sign), text(one.kind),
    text(one.show)))
  local has_more = #one.diff > 0 or failed and one.failure
  if has_more then
    out(("<details%s><summary>%s</summary>"):format(failed and " open" or "", #one.diff > 0 and "difference" or "why"))
    if failed and one.failure then add_failure(out, one.failure) end
    if #one.diff > 0 then add_diff(out, one.diff) end
    out "</details>"
  end
  out(('</td><td data-l="Result" class="n%s">%s%s</td>'):format(failed and " bad" or "", text(one.status),
    one.settled and ", settled" or ""))
  out(('<td data-l="Took" class="n">%s</td><td data-l="Undo">%s</td></tr>'):format(took(one.started, one.ended),
    text(one.undo)))
end

local STEP_CLASSES = { failed = "bad", skipped = "warn", ["by hand"] = "warn", undone = "warn", open = "warn",
                       ["not begun"] = "dim", ["not wanted"] = "dim", done = "good" }

local function step_line(step, effects)
  local parts = { ('<span class="%s">%s</span>'):format(STEP_CLASSES[step.status] or "dim", text(step.status)) }
  if step.status ~= "not begun" then parts[#parts + 1] = took(step.started, step.ended) end
  if #effects > 0 then parts[#parts + 1] = page.count(#effects, "effect") end
  if step.as_wanted > 0 then parts[#parts + 1] = ("%d as wanted"):format(step.as_wanted) end
  if step.attempts > 1 then parts[#parts + 1] = ("%d attempts"):format(step.attempts) end
  if step.from then parts[#parts + 1] = "guide " .. text(step.from) end
  return ("<b>%s %s</b> %s"):format(text(step.number), text(step.title), table.concat(parts, ", "))
end

local function has_failed(step, effects)
  for _, one in ipairs(effects) do
    if BAD[one.status] then return true end
  end
  return step.status == "failed"
end

local function is_of_effect(failure, effects)
  for _, one in ipairs(effects) do
    if one.failure and one.failure.message == failure.message then return true end
  end
  return false
end

local function add_effects(out, effects)
  if #effects == 0 then return end
  out "<table><thead><tr><th>What</th><th>Where</th><th>Result</th><th>Took</th><th>Undo</th></tr></thead><tbody>"
  for _, one in ipairs(effects) do add_effect(out, one) end
  out "</tbody></table>"
end

local function add_step(out, step, effects)
  local more = #effects > 0 or step.failure or step.reason
  if not more then return out(("<p>%s</p>"):format(step_line(step, effects))) end
  local open = has_failed(step, effects) and " open" or ""
  out(("<details%s><summary>%s</summary>"):format(open, step_line(step, effects)))
  if step.failure and not is_of_effect(step.failure, effects) then add_failure(out, step.failure) end
  if step.reason then out(("<p>%s: %s</p>"):format(text(step.who or "?"), text(step.reason))) end
  add_effects(out, effects)
  out "</details>"
end

local function add_steps(out, account)
  local effects, others = steps.effects(account)
  out '<section><h2 id="steps">Steps and effects</h2>'
  for _, phase in ipairs(account.phases) do
    out(("<h3>%d %s</h3>"):format(phase.number, text(phase.title)))
    for _, step in ipairs(phase.steps) do add_step(out, step, effects[step.title]) end
  end
  if #others > 0 then
    out "<h3>Typed by a person</h3>"
    add_effects(out, others)
  end
  out "</section>"
end

-- ---- the rest ----

local function add_people(out, account)
  out '<section><h2 id="people">People and evidence</h2><table><tbody>'
  for _, one in ipairs(account.people) do
    out(("<tr><td class=\"n\">%s</td><td>%s</td><td>%s</td><td>%s</td></tr>"):format(clock(one.time), text(one.who),
      text(one.what), text(one.text)))
  end
  out "</tbody></table></section>"
end

local function add_deviations(out, account)
  out '<section><h2 id="deviations">Deviations</h2>'
  if #account.deviations == 0 then out "<p>None: every step was done by neap or as the procedure says.</p>" end
  if #account.deviations > 0 then out "<table><tbody>" end
  for _, one in ipairs(account.deviations) do
    out(("<tr><td class=\"n\">%s</td><td>%s</td></tr>"):format(clock(one.time), text(one.text)))
  end
  if #account.deviations > 0 then out "</tbody></table>" end
  out "</section>"
end

local function add_rehearsal(out, account)
  local found = account.rehearsal
  if not found then return end
  out(('<section><h2 id="rehearsal">Rehearsal: %s</h2>'):format(text(found.verdict)))
  for _, stage in ipairs { "turned", "returned", "compared", "not crossed" } do
    local note = found.stages[stage]
    if note then out(("<p>%s</p>"):format(text((note.text:gsub("^rehearsal: ", ""))))) end
  end
  out "<table><thead><tr><th>Undo</th><th>Effects</th></tr></thead><tbody>"
  for _, coverage in ipairs(proof.COVERAGE) do
    if found.counts[coverage] > 0 then
      out(("<tr><td>%s</td><td>%d</td></tr>"):format(coverage, found.counts[coverage]))
    end
  end
  out "</tbody></table></section>"
end

local function add_journal(out, account)
  local chain, named = account.chain, ("%d --env %s"):format(account.run, account.environment)
  out '<section><h2 id="journal">Journal</h2>'
  if chain.whole then
    out(("<p>%s, chain of hashes whole, head <code>%s</code>.</p>"):format(page.count(chain.records, "record"),
      text(chain.head)))
  else
    out(('<p class="bad">%s</p>'):format(text(chain.problem)))
  end
  out(("<p class=\"dim\">Checked when this report was made. Again: <code>neap log --verify %s</code></p></section>")
    :format(text(named)))
end

--- @param account neap.account
--- @return string
function html.text(account)
  local lines = {}
  local function out(line) lines[#lines + 1] = line end
  out '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
  out(("<title>run %d %s on %s: %s</title>"):format(account.run, text(account.procedure), text(account.environment),
    text(account.summary)))
  out '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">'
  out(("<style>\n%s</style>\n</head>\n<body>\n<main>"):format(style))
  add_head(out, account)
  add_verdict(out, account)
  out '<section><h2 id="timeline">Timeline</h2><div class="timeline" tabindex="0" role="region" aria-label="timeline">'
  out(timeline.svg(account))
  out "</div></section>"
  add_deviations(out, account)
  add_steps(out, account)
  add_rehearsal(out, account)
  add_people(out, account)
  add_journal(out, account)
  out "</main>\n</body>\n</html>"
  return table.concat(lines, "\n") .. "\n"
end

return html
