local glob = require "neap.targets.glob"

describe("a pattern of names", function()
  it("has * for any letters and ? for one, and every other letter is itself", function()
    for _, case in ipairs {
      { "", "", true }, { "", "a", false }, { "*", "", true }, { "**", "ab", true }, { "?", "", false },
      { "?", "*", true },
      { "web*", "web", true }, { "web*", "web12", true }, { "web*", "we", false }, { "*.b", "a.b", true },
      { "*.b", "a.b.b", true }, { "*.b", "a.bc", false }, { "a?c*e", "abcde", true }, { "a*b*c", "aXbXbXc", true },
      { "a*b*c", "acb", false }, { "%w+[a]^$.", "%w+[a]^$.", true }, { "a.c", "abc", false }, { "*a", "*a", true },
    } do equal({ case[1], case[2], glob.matches(case[1], case[2]) }, case) end
  end)

  it("takes no longer for many stars", function()
    truthy(not glob.matches(("*a"):rep(200) .. "b", ("a"):rep(2000)))
  end)
end)
