local fs           = require "native.fs"
local golden       = require "tests.cli.golden"
local json         = require "native.json"
local report_stage = require "tests.cli.report_stage"
local stage        = require "tests.cli.stage"

describe("neap report", function()
  local on

  before_each(function() on = report_stage(scratch()) end)
  after_each(stage.leave)

  local function report(words)
    equal(on:neap("report 1 " .. words), 0)
    return on.output
  end

  --- The head of the chain is another each time.
  local function masked(text)
    return (text:gsub(json.decode(report "--json").chain.head, ("0"):rep(64)))
  end

  it("is one HTML file, in which what servers sent says nothing but itself", function()
    local text = report "--format html"
    golden("report-html", masked(text))
    equal({ text:find "<script", text:find "\27", text:find "https?://" }, {})
  end)

  it("is the guide as a ticked checklist in Markdown", function()
    golden("report-markdown", masked(report "--format markdown"))
  end)

  it("is cases of JUnit, a step each", function()
    golden("report-junit", report "--format junit")
  end)

  it("is the same model as JSON", function()
    local found = json.decode(report "--json")
    equal({ found.run, found.verdict.state, found.verdict.number, #found.effects }, { 1, "bad", "2.3", 4 })
    local last = found.effects[4]
    equal({ last.show, last.status, last.lane }, { "web2 /etc/web2.conf", "failed", "web2" })
    equal({ found.counts.undo, found.counts.kept, found.chain.whole }, { 2, 1, true })
  end)

  it("tells of a run that was skipped past, rolled back and rehearsed", function()
    on.answers = { "skip", "not today", "quit" }
    on:neap "resume 1 --yes"
    local found = json.decode(report "--json")
    matches(found.deviations[2].text, "2.3 Point the proxies at the new server was skipped by alice@jump1: not today")
    equal(found.phases[2].steps[3].status, "skipped")
    on:neap "rollback 1 --yes"
    found = json.decode(report "--json")
    equal({ found.verdict.state, found.verdict.head }, { "back", "rolled back" })
    equal({ found.effects[1].undo, found.effects[2].undo }, { "undone", "kept: a mail harms nobody" })
    on.failing["/etc/web2.conf"], on.polls, on.answers = nil, 0, { "done", "1", "done", "1", "no" }
    on:neap "rehearse shop/release --env lab -p release=88"
    equal(on:neap "report shop/lab/1 --json", 0)
    found = json.decode(on.output)
    equal({ found.rehearsal.verdict, found.rehearsal.counts.proven, found.verdict.head }, { "passed", 3, "rehearsed" })
    equal(on:neap "report shop/lab/1", 0)
    matches(on.output, '<h2 id="rehearsal">Rehearsal: passed</h2>')
  end)

  it("is written to a file for its owner, in the form that its ending says", function()
    local path = on.root .. "/run.md"
    equal(on:neap("report 1 -o " .. path), 0)
    equal({ on.output, fs.stat(path).mode }, { "", "0600" })
    matches(fs.read(path), "^# Run 1: shop/release")
  end)
end)
