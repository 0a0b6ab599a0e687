--- Patterns of OpenSSH: `*` is any letters, `?` is one.
local glob = {}

local STAR, ANY = ("*?"):byte(1, 2)

--- Whether a name fits, in time that grows with the length of both and not with the number of stars.
--- @param pattern string
--- @param name string
--- @return boolean
function glob.matches(pattern, name)
  local at, letter, star, from = 1, 1, nil, nil
  while letter <= #name do
    local byte = pattern:byte(at)
    if byte == STAR then
      star, from, at = at, letter, at + 1
    elseif byte == ANY or byte == name:byte(letter) then
      at, letter = at + 1, letter + 1
    elseif star then -- the last star takes one letter more
      from = from + 1
      at, letter = star + 1, from
    else
      return false
    end
  end
  return pattern:find("^%**$", at) ~= nil
end

return glob
