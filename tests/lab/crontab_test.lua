-- Crontabs on a real host, by Debian's crontab.
local console = require "tests.lab.console"
local steps   = require "tests.lab.steps"

local FIRST, LINE = "5 4 * * sun /bin/true", "00 7 * * * echo \"$(date)\""

local function crontab(user) return console.on("old", ("crontab -u %s -l 2>/dev/null || echo none"):format(user)) end

describe("crontab", function()
  before_each(function() console.lab("reset", "old") end)

  it("gets a line once, and a rollback puts back what was there, also nothing", function()
    console.on("old", ("echo '%s' | crontab -u ops -"):format(FIRST))
    local body = ([[
      crontab.line("old", "ops", %q)
      crontab.line("old", "ops", %q)
      crontab.line("old", "root", %q)
      return crontab.read("old", "root")]]):format(LINE, LINE, LINE)
    local outcome = steps.run(body)
    equal(outcome.result, LINE .. "\n")
    equal({ crontab "ops", crontab "root" }, { FIRST .. "\n" .. LINE, LINE })
    console.lab("reset", "old")
    console.on("old", ("echo '%s' | crontab -u ops -"):format(FIRST))
    steps.back(steps.run_and_stop(body))
    equal({ crontab "ops", crontab "root" }, { FIRST, "none" })
  end)

  it("loses a line, and only that", function()
    console.on("old", ("printf '%%s\\n' '%s' '# a remark' '%s' | crontab -u ops -"):format(LINE, FIRST))
    steps.run(("crontab.absent_line('old', 'ops', %q)"):format(LINE))
    equal(crontab "ops", "# a remark\n" .. FIRST)
  end)

  it("stays as it is where cron could not read the new one, and says what crontab says", function()
    console.on("old", ("echo '%s' | crontab -u ops -"):format(FIRST))
    local outcome = steps.run 'crontab.line("old", "ops", "99 7 * * * /bin/true")'
    matches(outcome.failure.output, "bad minute")
    equal(crontab "ops", FIRST)
  end)

  it("of nobody is no empty one, and a user that is not there is an error", function()
    equal(steps.run('return { crontab.read("old", "ops") == nil }').result, { true })
    truthy(steps.run('crontab.read("old", "nobody-here")').failure)
  end)
end)
