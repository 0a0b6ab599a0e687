--- One side of what a command says: its beginning and its end are kept, with secrets replaced.
local secret = require "native.secret"

local output = {}

local HEAD, TAIL = 64 * 1024, 1024 * 1024 -- bytes kept

local Side = {}
Side.__index = Side

--- @class neap.output
--- @field total integer  bytes that came
--- @field gap integer    bytes that were left out before they came

--- @return neap.output
function output.new()
  return setmetatable({ head = "", tail = "", total = 0, kept = 0, gap = 0, redactor = secret.redactor() }, Side)
end

--- Keeps the bytes, secrets in them replaced, and returns what of them is certain by now.
function Side:add(bytes)
  self.total = self.total + #bytes
  return self:keep(self.redactor:add(bytes))
end

function Side:keep(bytes)
  self.kept = self.kept + #bytes
  local room = math.max(0, HEAD - #self.head)
  self.head, self.tail = self.head .. bytes:sub(1, room), self.tail .. bytes:sub(room + 1)
  if #self.tail > 2 * TAIL then self.tail = self.tail:sub(-TAIL) end
  return bytes
end

--- Nothing comes any more: what may have been the beginning of a secret was none. Returns what was held back for that.
function Side:finish() return self:keep(self.redactor:finish()) end

function Side:text()
  local tail = self.tail:sub(-TAIL)
  local cut = self.kept + self.gap - #self.head - #tail
  return self.head .. (cut > 0 and ("\n[%d bytes left out]\n"):format(cut) or "") .. tail
end

return output
