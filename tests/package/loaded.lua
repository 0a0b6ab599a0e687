--- Run by an installed neap: what is a library of its own beside the program is found there.
describe("an installed neap", function()
  for _, name in ipairs { "dns", "http", "mysql", "pg" } do
    it("opens native." .. name, function() equal(type(require("native." .. name)), "table") end)
  end
end)
