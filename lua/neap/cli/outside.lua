--- Changing an environment outside its policy's window: with a reason, which is typed or given.
local clock   = require "native.clock"
local failure = require "neap.cli.failure"
local window  = require "neap.engine.window"

local outside = {}

--- @param parser table
--- @param with_reason? boolean  the verb has a --reason already
function outside.add_options(parser, with_reason)
  parser:flag("--outside-window", "also outside the hours that the policy names, with a reason")
  if not with_reason then parser:option("--reason", "why outside the window"):argname "TEXT" end
end

--- How the policy's window stands now; nil: there is none.
--- @param policy table
--- @return { left?: number, why?: string }?  seconds until it closes, or why it is closed
function outside.standing(policy)
  local found = window.of(policy)
  if not found then return nil end
  local now = clock.now()
  local ends, why = window.ends(found, now)
  return { left = ends and ends - now, why = why }
end

--- The reason, or nil where nobody wants that.
--- @param options { outside_window?: boolean, reason?: string, console: neap.console }
--- @return string?
function outside.reason(options)
  if not options.outside_window then return nil end
  local reason = options.reason
  if not reason and options.console.may_ask then reason = options.console:ask "Outside the window, because: " end
  if reason and reason:find "%S" then return reason end
  failure.wrong_use("--outside-window needs --reason", "add --reason WHY")
end

return outside
