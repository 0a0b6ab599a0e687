--- A page of HTML in a real browser: what a script in it finds, once it is shown.
local crypto  = require "native.crypto"
local fs      = require "native.fs"
local json    = require "native.json"
local process = require "native.process"

local browser = {}

local PROGRAM = "/usr/bin/chromium"

--- The sizes of a window, as a desk and a phone have it.
browser.WIDE, browser.NARROW = "1100,1600", "390,1600"

local LOOK = [[
<script>
addEventListener("load", () => {
  const found = (() => {
%s
  })()
  document.body.innerHTML = "<output>" + btoa(unescape(encodeURIComponent(JSON.stringify(found)))) + "</output>"
})
</script>
</head>]]

--- Skips the test where there is none.
function browser.needed()
  if not fs.exists(PROGRAM) then error({ skip = "there is no " .. PROGRAM }, 0) end -- as the word skip does
end

--- A page's text with a script that looks at it.
--- @param html string
--- @param script string  the body of a function that returns what it has found
--- @return string
function browser.with(html, script)
  local look = LOOK:format(script)
  return (html:gsub("</head>", function() return look end))
end

--- Shows a page of browser.with.
--- @param folder string  for what it keeps
--- @param path string
--- @param size string
--- @param ... string  further options
--- @return any found
--- @return string[] complaints  lines of its console
function browser.look(folder, path, size, ...)
  local argv = { PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" .. folder,
    "--enable-logging=stderr", "--window-size=" .. size, "--dump-dom", ... }
  argv[#argv + 1] = "file://" .. path
  local result = process.run(argv, { reads = true, timeout = 120 })
  local answer = result.out:match "<output>([%w+/=]+)</output>" or error(result.out:sub(1, 400) .. result.err, 2)
  local complaints = {}
  for line in result.err:gmatch "[^\n]*CONSOLE[^\n]*" do complaints[#complaints + 1] = line end
  return json.decode(crypto.unbase64(answer)), complaints
end

return browser
