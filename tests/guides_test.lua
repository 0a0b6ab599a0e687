--- Procedures against the guides they were written from, which lie in the folder NEAP_GUIDES and are nobody's but their
--- owners'. Where it is not set these tests are left out, and said to be.
local crypto    = require "native.crypto"
local fs        = require "native.fs"
local procedure = require "neap.engine.procedure"

local GUIDES = {
  ["encode/release"] = { file = "encode-release.md", first = 234 },
  ["rdw/upgrade-v1.1"] = { file = "rdw-upgrade-v1.1.md", first = 1 },
  ["rdw/backfill-alt-score"] = { file = "rdw-backfill-alt-score.md", first = 1 },
}

local function guide(name)
  local folder = os.getenv "NEAP_GUIDES"
  if not folder then skip "NEAP_GUIDES does not name the folder of the guides" end
  return fs.read(folder .. "/" .. GUIDES[name].file)
end

local function load_procedure(name)
  local group = name:match "^[^/]+"
  local files = {}
  for _, file in ipairs(fs.list("procedures/" .. group)) do
    local below = ("procedures/%s/%s"):format(group, file)
    if file:find "%.lua$" then files[below] = fs.read(below) end
  end
  local path = "procedures/" .. name .. ".lua"
  return procedure.load { files = files, path = path, showing = true,
    environment = require("neap.environment").load(("procedures/%s/environments/lab.yml"):format(group)) }, files[path]
end

local function covered(found)
  local lines = {}
  for _, list in ipairs { found.steps, found.remarks } do
    for _, one in ipairs(list) do
      local first, last = (one.from or ""):match "^L(%d+)%-?L?(%d*)$"
      if not first then error(("%s says from = %q"):format(one.title or one.text, tostring(one.from)), 0) end
      for line = tonumber(first), tonumber(last ~= "" and last or first) do
        lines[line] = one.title or one.text
      end
    end
  end
  return lines
end

for name, known in pairs(GUIDES) do
  describe(name, function()
    it("names the guide by its digest", function()
      local text = guide(name)
      local _, source = load_procedure(name)
      truthy(source:find(crypto.sha256(text), 1, true))
    end)

    it("has a step or a remark for each line from where it begins", function()
      local lines, number, missing = covered((load_procedure(name))), 0, {}
      for line in (guide(name) .. "\n"):gmatch "([^\n]*)\n" do
        number = number + 1
        if number >= known.first and line:find "%S" and not lines[number] then missing[#missing + 1] = number end
      end
      equal(missing, {})
      for line in pairs(lines) do truthy(line <= number) end
    end)
  end)
end
