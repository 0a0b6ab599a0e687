--- INI files with keys of AWS in them: what is said stands in the file, and the hidden values are secrets.
local secret = require "native.secret"

local HIDDEN = { key = true, aws_secret_access_key = true }
local keys = secret.keyring()

local function check(section, text, depth)
  for key, value in pairs(section) do
    truthy(text:find(key, 1, true), "a key that is nowhere")
    truthy(type(value) ~= "table" or depth == 1, "sections below keys below keys")
    if secret.is(value) then
      truthy(HIDDEN[key] and text:find(secret.reveal(value), 1, true), "a secret that is nowhere")
    elseif type(value) == "string" then
      truthy(not HIDDEN[key], "a hidden value that is none")
      truthy(text:find(value, 1, true) and not value:find "\n", "a value that is nowhere")
    else
      check(value, text, 2)
    end
  end
end

return {
  run = function(data)
    for name, section in pairs(must(secret.ini, secret.literal(data, keys), HIDDEN)) do
      truthy(data:find(name, 1, true) and not name:find "\n", "a section that is nowhere")
      check(section, data, 1)
    end
    forget_secrets()
  end,
}
