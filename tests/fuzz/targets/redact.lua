--- Redaction: no secret, plain or encoded, is left in what goes out, and pieces give the same text as the whole. In: two
--- secrets, NUL between them, how the text is cut, the text; where it has \1 and \2 these stand, encoded by what follows.
local crypto = require "native.crypto"
local secret = require "native.secret"

local keys = secret.keyring()

local ENCODINGS = {
  function(text) return text end, crypto.hex, crypto.base64,
  function(text) return (secret.percent(text)) end, function(text) return (secret.json(text)) end,
  function(text) return (secret.quote(text, "sh"):sub(2, -2)) end,
}

local function filled(text, values)
  return (text:gsub("([\1\2])(.?)", function(which, how)
    local encode = ENCODINGS[(how:byte() or 0) % #ENCODINGS + 1]
    local took, encoded = attempt(encode, values[which])
    return took and encoded or ""
  end))
end

local function in_pieces(text, cuts)
  local redactor, roll, out, at = secret.redactor(), dice(cuts), {}, 1
  while at <= #text do
    local size = roll(20)
    out[#out + 1] = redactor:add(text:sub(at, at + size - 1))
    at = at + size
  end
  out[#out + 1] = redactor:finish()
  return table.concat(out)
end

--- A secret that is part of a mark is found in every mark.
local function is_in_mark(value) return ("(secret 0123456789abcdef)"):find(value, 1, true) ~= nil or #value < 8 end

return {
  run = function(data)
    local one, two, cuts, text = parts(data, 4)
    one, two = one:sub(1, 64), two:sub(1, 64)
    text = filled(text, { ["\1"] = one, ["\2"] = two })
    local held = { secret.literal(one, keys), secret.literal(two, keys) }
    local whole = secret.redact(text)
    equal(in_pieces(text, cuts), whole, "in pieces")
    for _, value in ipairs { one, two } do
      local plain = not is_in_mark(value) and whole:gsub("%(secret %x%x%x%x%)", "\0") or ""
      truthy(not plain:find(value, 1, true) or value == "", "a secret is left")
    end
    truthy(#held == 2)
    forget_secrets()
  end,
}
