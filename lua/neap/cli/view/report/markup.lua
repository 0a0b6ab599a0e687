--- Foreign texts within HTML, XML and Markdown: what a server sent says nothing there but itself.
local terminal = require "native.terminal"

local markup = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- One line, for HTML and XML, also within quotes.
--- @param foreign any
--- @return string
function markup.text(foreign) return (terminal.clean(tostring(foreign)):gsub("[&<>\"']", ENTITIES)) end

--- Lines, for HTML and XML.
--- @param foreign any
--- @return string
function markup.lines(foreign)
  return (terminal.clean(tostring(foreign), { newline = true }):gsub("[&<>\"']", ENTITIES))
end

--- One line of Markdown, in which nothing is marked up.
--- @param foreign any
--- @return string
function markup.markdown(foreign)
  return (terminal.clean(tostring(foreign)):gsub("[\\`*_%[%]<>#|~!&]", "\\%0"))
end

--- One line of Markdown as code, whatever backticks are in it.
--- @param foreign any
--- @return string
function markup.code(foreign)
  local clean, longest = terminal.clean(tostring(foreign)), 0
  for ticks in clean:gmatch "`+" do longest = math.max(longest, #ticks) end
  local fence = ("`"):rep(longest + 1)
  local room = (clean:find "^`" or clean:find "`$") and " " or ""
  return fence .. room .. clean .. room .. fence
end

return markup
