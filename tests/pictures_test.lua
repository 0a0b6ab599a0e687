--- The manual's pictures: shown on the site at every width, and told in words where there are no pictures.
local browser = require "tests.browser"
local fs      = require "native.fs"
local manual  = require "tests.manual"
local process = require "native.process"

local FOLDER = "vendor/dist/pictures/"

--- Pictures that a text shows, as { alt, path }.
local function pictures_of(text)
  local found = {}
  for alt, path in text:gmatch "!%[([^%]]*)%]%(([^)]*)%)" do found[#found + 1] = { alt = alt, path = path } end
  return found
end

local LOOK = [[
  return [...document.images].map((one) => {
    const box = one.getBoundingClientRect()
    return { source: one.getAttribute("src"), loaded: one.complete && one.naturalWidth > 0, alt: one.alt !== "",
             wide: box.right > document.documentElement.clientWidth, flat: box.height < box.width / 3 }
  })]]

describe("a picture of the manual", function()
  it("is there, has words for who does not see it, and is shown somewhere", function()
    local shown = {}
    for _, path in ipairs(manual.paths()) do
      for _, one in ipairs(pictures_of(fs.read(path))) do
        local name = one.path:match "vendor/dist/pictures/([%w-]+%.svg)$" or error(path .. " shows " .. one.path)
        truthy(fs.exists(fs.realpath(path):match "^(.*)/" .. "/" .. one.path) and #one.alt > 20)
        shown[name] = true
      end
    end
    for _, name in ipairs(fs.list(FOLDER)) do
      if not shown[name] then error(name .. " is shown nowhere") end
    end
  end)

  it("is text, in well-formed XML with a title, and asks for nothing from elsewhere", function()
    for _, name in ipairs(fs.list(FOLDER)) do
      local text = fs.read(FOLDER .. name)
      require "native.xml".parse(text)
      truthy(text:find "<title>%u" and text:find "<tspan" and not text:find "href")
    end
  end)

  it("is told in words in a terminal", function()
    local shown = process.run({ process.executable(), "doc", "people" }, { reads = true }).out
    truthy(not shown:find "%.svg")
    matches(shown, "%(picture: The question what now")
  end)

  it("is loaded by the site's pages, and no wider than a phone; man pages leave it out", function()
    browser.needed()
    local out = scratch()
    process.run({ "vendor/dist/manual.sh", process.executable(), out }, { reads = true, timeout = 120 })
    truthy(not fs.read(out .. "/man/neap.1"):find "svg")
    for page, count in pairs { people = 1, running = 3, repl = 1, index = 1 } do
      local path = ("%s/site/%s.html"):format(out, page)
      fs.write(path, browser.with(fs.read(path), LOOK), { mode = "0644" })
      for _, size in ipairs { browser.NARROW, page == "running" and browser.WIDE or nil } do
        local found, complaints = browser.look(scratch(), path, size)
        equal({ complaints, #found }, { {}, count })
        for _, one in ipairs(found) do
          equal({ one.loaded, one.alt, one.wide, one.flat }, { true, true, false, false })
        end
      end
    end
  end)
end)
