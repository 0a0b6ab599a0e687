--- What `neap test` prints: for people, as TAP, or as JUnit's XML.
local cases = {}

-- ---- for people ----

local text = {}

function text.case(result, name, detail)
  if result ~= "ok" then print(("%-4s  %s\n      %s"):format(result, name, (detail:gsub("\n", "\n      ")))) end
end

function text.file(path, passed, seconds) print(("%-50s %3d ok  %6.2f s"):format(path, passed, seconds)) end

function text.over(counts)
  print(("%d passed, %d failed"):format(counts.ok, counts.FAIL) ..
    (counts.skip > 0 and (", %d skipped"):format(counts.skip) or ""))
end

-- ---- TAP, version 13 ----

local function new_tap()
  local tap, number = {}, 0
  print "TAP version 13"
  function tap.case(result, name, detail)
    number = number + 1
    local skipped = result == "skip" and " # SKIP " .. detail:gsub("\n.*", "") or ""
    print(("%s %d - %s%s"):format(result == "FAIL" and "not ok" or "ok", number, (name:gsub("#", "\\#")), skipped))
    if result == "FAIL" then print("  # " .. detail:gsub("\n", "\n  # ")) end
  end
  function tap.file() end
  function tap.over() print(("1..%d"):format(number)) end
  return tap
end

-- ---- JUnit ----

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

--- XML 1.0 has no control characters but tab and line ends.
local function xml(value) return (value:gsub("[%z\1-\8\11\12\14-\31]", "?"):gsub('[&<>"]', ENTITIES)) end

local function new_junit()
  local junit, suites, open = {}, {}, {}
  function junit.case(result, name, detail)
    local body = ""
    if result == "skip" then body = ('<skipped message="%s"/>'):format(xml(detail)) end
    if result == "FAIL" then
      body = ('<failure message="%s">%s</failure>'):format(xml(detail:match "^[^\n]*"), xml(detail))
    end
    open[#open + 1] = { result = result, text = ('    <testcase name="%s">%s</testcase>'):format(xml(name), body) }
  end
  function junit.file(path, _, seconds)
    local count, lines = { FAIL = 0, skip = 0 }, {}
    for i, one in ipairs(open) do
      count[one.result], lines[i] = (count[one.result] or 0) + 1, one.text
    end
    local suite = '  <testsuite name="%s" tests="%d" failures="%d" skipped="%d" time="%.3f">\n%s\n  </testsuite>'
    suites[#suites + 1] = suite:format(xml(path), #open, count.FAIL, count.skip, seconds, table.concat(lines, "\n"))
    open = {}
  end
  function junit.over()
    print('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n' .. table.concat(suites, "\n") .. "\n</testsuites>")
  end
  return junit
end

--- The forms: what makes one that prints.
cases.forms = { text = function() return text end, tap = new_tap, junit = new_junit }

return cases
