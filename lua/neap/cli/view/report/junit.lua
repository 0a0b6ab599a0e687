--- The report as JUnit's XML, as CI reads it: a suite for each phase, a case for each step.
local markup = require "neap.cli.view.report.markup"
local time   = require "neap.cli.view.time"

local junit = {}

local text, lines_of = markup.text, markup.lines

local SKIPPED = { skipped = true, ["not begun"] = true, ["not wanted"] = true, undone = true }

local function seconds_of(step) return time.between(step.started, step.ended) or 0 end

local function tally(phase)
  local counts = { failed = 0, skipped = 0, seconds = 0 }
  for _, step in ipairs(phase.steps) do
    if step.status == "failed" or step.status == "open" then counts.failed = counts.failed + 1 end
    if SKIPPED[step.status] then counts.skipped = counts.skipped + 1 end
    counts.seconds = counts.seconds + seconds_of(step)
  end
  return counts
end

local function add_step(out, step, suite)
  out(('  <testcase classname="%s" name="%s" time="%.1f">'):format(text(suite),
    text(step.number .. " " .. step.title), seconds_of(step)))
  if step.status == "failed" or step.status == "open" then
    local failure = step.failure or { message = "it was begun, and is not at its end" }
    out(('    <failure message="%s">%s</failure>'):format(text(failure.message or "?"), lines_of(failure.output or "")))
  elseif SKIPPED[step.status] then
    out(('    <skipped message="%s"/>'):format(text(step.reason and step.status .. ": " .. step.reason or step.status)))
  end
  out "  </testcase>"
end

--- @param account neap.account
--- @return string
function junit.text(account)
  local lines = {}
  local function out(line) lines[#lines + 1] = line end
  out '<?xml version="1.0" encoding="UTF-8"?>'
  out(('<testsuites name="%s" time="%.1f">'):format(text(("run %d %s on %s"):format(account.run, account.procedure,
    account.environment)), account.seconds))
  for _, phase in ipairs(account.phases) do
    local counts, name = tally(phase), ("%d %s"):format(phase.number, phase.title)
    out((' <testsuite name="%s" tests="%d" failures="%d" errors="0" skipped="%d" time="%.1f" timestamp="%s">'):format(
      text(name), #phase.steps, counts.failed, counts.skipped, counts.seconds, account.started:sub(1, 19)))
    for _, step in ipairs(phase.steps) do add_step(out, step, account.procedure .. "." .. name) end
    out " </testsuite>"
  end
  out "</testsuites>"
  return table.concat(lines, "\n") .. "\n"
end

return junit
