--- A message as RFC 5322 has it: addresses, headers in ASCII (RFC 2047), a body of text in UTF-8.
local crypto = require "native.crypto"

local message = {}

local WORD = 39   -- bytes of an encoded word's text: with base64, its marks and a header's name it stays below 76
local LINE = 76   -- characters of a line of base64
local LONGEST = 900 -- bytes of a line that may go as it is; 998 is the standard's limit
local PLAIN_SUBJECT = 60

local function has_control(text) return text:find "[%z\1-\31\127]" ~= nil end

--- Whether a text can be one header's value: valid UTF-8 without line ends and other control characters.
--- @param text any
--- @return boolean
function message.is_line(text) return type(text) == "string" and utf8.len(text) ~= nil and not has_control(text) end

-- ---- addresses ----

local LOCAL = "[%w!#$&'*+/=?^_`{|}~.%%-]+"

local function is_address(text)
  return #text <= 254 and text:find("^" .. LOCAL .. "@[%w.-]+$") ~= nil and not text:find "^%-" and not text:find "@%-"
end

--- The parts of "ann@example.org" or "Ann Other <ann@example.org>"; nil where it is neither.
--- @param text any
--- @return { name?: string, address: string }?
function message.address(text)
  if not message.is_line(text) then return nil end
  local name, address = text:match "^%s*(.-)%s*<([^<>]*)>%s*$"
  address = address or text
  if not is_address(address) or name and name:find '[<>"\\]' then return nil end
  return { name = name ~= "" and name or nil, address = address }
end

-- ---- headers ----

--- The end of the longest part from `from` on that has at most WORD bytes and parts no character.
local function end_of_word(text, from)
  local last = math.min(#text, from + WORD - 1)
  while last < #text and text:byte(last + 1) & 0xC0 == 0x80 do last = last - 1 end
  return last
end

local function encoded_words(text)
  local words, from = {}, 1
  while from <= #text do
    local last = end_of_word(text, from)
    words[#words + 1] = "=?utf-8?B?" .. crypto.base64(text:sub(from, last)) .. "?="
    from = last + 1
  end
  return table.concat(words, "\r\n ")
end

local function is_plain(text) return not text:find "[\128-\255]" and not text:find("=?", 1, true) end

--- A header's free text, in ASCII.
--- @param text string
--- @return string
function message.words(text)
  return is_plain(text) and #text <= PLAIN_SUBJECT and text or encoded_words(text)
end

local function written(address)
  local name = address.name
  if not name then return address.address end
  if not is_plain(name) or #name > PLAIN_SUBJECT then
    return ("%s\r\n <%s>"):format(encoded_words(name), address.address)
  end
  return (name:find "[^%w ]" and '"%s" <%s>' or "%s <%s>"):format(name, address.address)
end

local function written_list(texts)
  local list = {}
  for i, text in ipairs(texts) do list[i] = written(message.address(text)) end
  return table.concat(list, ",\r\n ")
end

-- ---- the body ----

local function goes_as_it_is(text)
  if text:find "[\128-\255]" or text:find "[%z\1-\8\11-\31\127]" then return false end
  for line in text:gmatch "[^\n]+" do
    if #line > LONGEST then return false end
  end
  return true
end

local function base64_lines(text)
  return (crypto.base64(text):gsub(("."):rep(LINE), "%0\r\n"):gsub("\r\n$", ""))
end

--- How the body is encoded, and the body so encoded, with a line end at its end.
local function encode_body(text)
  if text:sub(-1) ~= "\n" then text = text .. "\n" end
  local lines = text:gsub("\r\n", "\n")
  if goes_as_it_is(lines) then return "7bit", (lines:gsub("\n", "\r\n")) end
  return "base64", base64_lines(lines:gsub("\n", "\r\n")) .. "\r\n"
end

-- ---- the whole ----

--- The date as a header has it.
--- @param seconds number  since 1970
--- @return string
function message.date(seconds) return os.date("!%a, %d %b %Y %H:%M:%S +0000", math.floor(seconds)) --[[@as string]] end

--- The Message-ID by which a mail is known.
--- @param id string
--- @param from string  who sends it
--- @return string
function message.id(id, from) return ("<%s@%s>"):format(id, message.address(from).address:match "@(.*)$") end

--- The message, with CRLF.
--- @param mail { from: string, to: string[], cc: string[], subject: string, text: string }
--- @param id string     its Message-ID
--- @param seconds number  when it is sent
--- @return string
function message.text(mail, id, seconds)
  local encoding, body = encode_body(mail.text)
  local headers = { "Date: " .. message.date(seconds), "From: " .. written_list { mail.from },
    "To: " .. written_list(mail.to) }
  if #mail.cc > 0 then headers[#headers + 1] = "Cc: " .. written_list(mail.cc) end
  for _, line in ipairs { "Subject: " .. message.words(mail.subject), "Message-ID: " .. id, "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: " .. encoding,
    "Auto-Submitted: auto-generated" } do
    headers[#headers + 1] = line
  end
  return table.concat(headers, "\r\n") .. "\r\n\r\n" .. body
end

--- The addresses alone, to whom it goes.
--- @param ... string[]
--- @return string[]
function message.recipients(...)
  local list, seen = {}, {}
  for _, texts in ipairs { ... } do
    for _, text in ipairs(texts) do
      local address = message.address(text).address
      if not seen[address] then list[#list + 1] = address end
      seen[address] = true
    end
  end
  return list
end

return message
