--- What a word over files is given: its path, mode, owner and group.
local accounts = require "neap.targets.accounts"

local rights = {}

--- The path. Raises a mistake where it is not absolute.
--- @param path string
--- @param level integer  as error counts
--- @return string
function rights.check_path(path, level)
  if type(path) ~= "string" or not path:find("^/[^/]") or path:find("/$") or path:find("\0", 1, true) then
    error(("%q is no absolute path"):format(tostring(path)), level + 1)
  end
  return path
end

--- Raises a mistake where an owner, group or mode is none.
--- @param options { mode?: string, owner?: string, group?: string }
--- @param level integer  as error counts
function rights.check(options, level)
  for _, key in ipairs { "owner", "group" } do
    local name = options[key]
    if name and (type(name) ~= "string" or not name:find("^[%w_][%w_.@$-]*$")) then
      error(("%s: %q is no name"):format(key, tostring(name)), level + 1)
    end
  end
  local mode = options.mode
  if mode and (type(mode) ~= "string" or not mode:find("^[0-7]?[0-7][0-7][0-7]$")) then
    error(("mode: %q is none; write it as \"0644\""):format(tostring(mode)), level + 1)
  end
end

--- A state with the rights that are given; else with those of before, or the default ones of who writes it.
--- @param state table
--- @param target { host: string, become: string|false }
--- @param before table?
--- @param options { mode?: string, owner?: string, group?: string }
--- @param default_mode? string
--- @return table state
function rights.with(state, target, before, options, default_mode)
  local mode = options.mode and ("%04o"):format(tonumber(options.mode, 8))
  state.mode = mode or before and before.mode or default_mode
  state.owner, state.group = options.owner or before and before.owner, options.group or before and before.group
  if not state.owner or not state.group then
    local owner, group = accounts.of(target.host, target.become)
    state.owner, state.group = state.owner or owner, state.group or group
  end
  return state
end

return rights
