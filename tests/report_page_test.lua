--- The HTML report in a real browser: what a person with a desk, a phone, a dark room or a printer is shown.
local browser      = require "tests.browser"
local clock        = require "native.clock"
local fs           = require "native.fs"
local report_stage = require "tests.cli.report_stage"
local stage        = require "tests.cli.stage"

local WIDE, NARROW = browser.WIDE, browser.NARROW
local DARK, LIGHT = "--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"

--- Looks at each text as it is set: its colour against what lies below it, its box against those of the other labels.
local LOOK = [[
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number)
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05)
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor
      if (channels(colour)[3] !== 0) return colour
    }
    return "rgb(255, 255, 255)"
  }
  document.querySelectorAll("details").forEach((one) => one.open = true)
  const inside = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
  const found = { least: 99, texts: 0, overlaps: [], scripts: document.scripts.length - 1 }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (!walker.currentNode.data.trim() || element.closest("title,script,style")) continue
    const style = getComputedStyle(element)
    const bars = [...document.querySelectorAll("rect")].filter((bar) =>
      element.tagName === "text" && inside(bar.getBoundingClientRect(), element.getBoundingClientRect()))
    const below = bars.length ? getComputedStyle(bars[0]).fill : ground(element)
    const ratio = contrast(element.tagName === "text" ? style.fill : style.color, below)
    found.texts++
    if (ratio < found.least) [found.least, found.worst] = [ratio, element.textContent.slice(0, 40)]
  }
  const labels = [...document.querySelectorAll("svg text")]
  labels.forEach((a, i) => labels.slice(i + 1).forEach((b) => {
    if (inside(a.getBoundingClientRect(), b.getBoundingClientRect()))
      found.overlaps.push([a.textContent, b.textContent])
  }))
  const svg = document.querySelector("svg").getBoundingClientRect()
  found.outside = labels.filter((a) => a.getBoundingClientRect().right > svg.right + 1).map((a) => a.textContent)
  found.sideways = document.documentElement.scrollWidth - document.documentElement.clientWidth
  found.dark = matchMedia("(prefers-color-scheme: dark)").matches
  return found]]

describe("the HTML report in a browser", function()
  local path

  before_each(function()
    browser.needed()
    local on = report_stage(scratch())
    equal(on:neap "report 1", 0)
    stage.leave()
    clock.virtual(false)
    path = on.root .. "/report.html"
    fs.write(path, browser.with(on.output, LOOK), { mode = "0644" })
  end)
  for name, one in pairs {
    ["on a desk"] = { WIDE, LIGHT }, ["on a phone"] = { NARROW, LIGHT }, ["in the dark"] = { WIDE, DARK },
    ["on a phone in the dark"] = { NARROW, DARK },
  } do
    it("can be read " .. name .. ": contrast, no label over another, nothing cut off, no complaint", function()
      local found, complaints = browser.look(scratch(), path, one[1], one[2])
      equal({ complaints, found.overlaps, found.outside, found.sideways, found.scripts, found.dark },
        { {}, {}, {}, 0, 0, one[2] == DARK })
      truthy(found.texts > 60)
      if found.least < 4.5 then error(("contrast %.2f: %s"):format(found.least, found.worst), 0) end
    end)
  end
end)
