local step_path = require "neap.engine.step_path"

local function parts(path) return { step_path.root(path), step_path.split(path) } end

describe("the path of a record", function()
  it("says its step and its branch", function()
    equal(parts "Switch the proxies", { "Switch the proxies", "Switch the proxies" })
    equal(parts "Switch the proxies/proxy1", { "Switch the proxies", "Switch the proxies", "proxy1" })
  end)

  it("says whether it lies in the own undo of a step, and of which", function()
    local path = step_path.undo "Switch the proxies" .. "/proxy1"
    equal(parts(path), { "undo of Switch the proxies", "Switch the proxies", "proxy1" })
    equal(step_path.is_undo(path), true)
    equal(step_path.is_undo "Switch the proxies", false)
  end)

  it("says which of the typed lines it is: each is a step of its own", function()
    equal(parts(step_path.line(12)), { "repl/12", "repl/12" })
    equal(parts "repl/12/web1", { "repl/12", "repl/12", "web1" })
    equal(step_path.line_number "repl/12/web1", 12)
    equal(step_path.line_number "repl/x", nil)
    equal(step_path.line_number "Switch the repl/12", nil)
  end)
end)
