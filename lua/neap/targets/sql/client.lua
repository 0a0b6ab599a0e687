--- What psql and the mysql client carry out themselves: variables, conditions, other databases, files that are
--- included. A player walks over a script and those it includes, and tells its caller what to do at the server.
local fault  = require "native.error"
local source = require "neap.targets.sql.script_source"
local split  = require "neap.targets.sql.split"

local client = {}

local DEEPEST = 16 -- includes within includes

--- @class neap.sql_player
--- @field dialect "postgres"|"mysql"
--- @field values table<string, string>  psql's variables
--- @field index integer                 statements met so far, in all files
local Player = {}
Player.__index = Player

--- @param dialect "postgres"|"mysql"
--- @param script neap.sql_source?  nil: the player is to begin with one
--- @param values table<string, string>
--- @param blind? boolean  conditions are not known: both branches are walked
--- @return neap.sql_player
function client.new(dialect, script, values, blind)
  local own = {}
  for name, value in pairs(values) do own[name] = value end
  local self = setmetatable({ dialect = dialect, values = own, blind = blind, index = 0, files = {}, conditions = {} },
    Player)
  if script then self:begin(script) end
  return self
end

function Player:begin(script)
  self.script = script
  self:include(script)
end

--- Goes on with another file, and then where this one is.
function Player:include(script)
  if #self.files >= DEEPEST then
    fault.raise { kind = "protocol", message = ("%s: files include each other more than %d deep"):format(script.name,
      DEEPEST) }
  end
  local read, close = source.open(script)
  local digest = self.on_file and self.on_file(script)
  local file = { source = script, close = close, conditions = #self.conditions }
  self.files[#self.files + 1] = file
  file.items = split.open(digest and function()
    local piece = read()
    if piece then digest:update(piece) end
    return piece
  end or read, self.dialect, script.name)
end

--- Ends the files that are open.
function Player:close()
  for i = #self.files, 1, -1 do
    self.files[i].close()
    self.files[i] = nil
  end
end

function Player:current() return self.files[#self.files] end

--- Whether what stands here is carried out.
function Player:is_active()
  local last = self.conditions[#self.conditions]
  return self.blind or last == nil or last.active
end

-- ---- conditions ----

local TRUE = { ["true"] = true, yes = true, on = true, ["1"] = true }
local FALSE = { ["false"] = true, no = true, off = true, ["0"] = true }

--- As psql takes a beginning of a word for it.
local function truth(self, item)
  local words = split.arguments(item.arguments, self.values)
  local word = (words[1] or ""):lower()
  if #words == 1 and word ~= "o" then
    for _, list in ipairs { TRUE, FALSE } do
      for name in pairs(list) do
        if word ~= "" and name:sub(1, #word) == word then return list == TRUE end
      end
    end
  end
  return self:current().items:refuse(item, "\\%s %s is neither true nor false", item.name, item.arguments)
end

local function innermost(self, item)
  local last = self.conditions[#self.conditions]
  if not last or #self.conditions <= self:current().conditions then
    self:current().items:refuse(item, "\\%s has no \\if before it", item.name)
  end
  if last.other and item.command ~= "endif" then
    self:current().items:refuse(item, "\\%s stands behind \\else", item.name)
  end
  return last
end

local carry_out = {}

carry_out["if"] = function(self, item)
  local outer = self:is_active()
  local holds = not self.blind and outer and truth(self, item)
  table.insert(self.conditions, { outer = outer, active = holds, taken = holds, line = item.line })
end

carry_out["elif"] = function(self, item)
  local last = innermost(self, item)
  local open = last.outer and not last.taken
  last.active = not self.blind and open and truth(self, item)
  last.taken = last.taken or last.active
end

carry_out["else"] = function(self, item)
  local last = innermost(self, item)
  last.active, last.taken, last.other = last.outer and not last.taken, true, true
end

function carry_out.endif(self, item)
  innermost(self, item)
  self.conditions[#self.conditions] = nil
end

-- ---- other commands ----

local function words_of(self, item) return split.arguments(item.arguments, self.values) end

local function check_name(self, item, name)
  if name and name:find "^[%w_\128-\255]+$" then return name end
  return self:current().items:refuse(item, "\\%s %s: that is no variable's name", item.name, name or "")
end

function carry_out.set(self, item)
  local words = words_of(self, item)
  if #words > 0 then self.values[check_name(self, item, words[1])] = table.concat(words, "", 2) end
end

function carry_out.unset(self, item) self.values[check_name(self, item, words_of(self, item)[1])] = nil end

function carry_out.echo(self, item)
  local words = words_of(self, item)
  local ends = words[1] == "-n" and "" or "\n"
  return { echo = table.concat(words, " ", words[1] == "-n" and 2 or 1) .. ends }
end

local function path_of(self, item)
  local path = self.dialect == "mysql" and item.arguments or words_of(self, item)[1] or ""
  path = path:gsub(";+$", "")
  if path == "" then self:current().items:refuse(item, "%s names no file", item.name) end
  if path:find "^:" or path:find "/:" then
    self:current().items:refuse(item, "%s %s: what the file is called is not known beforehand", item.name, path)
  end
  return path
end

local function included(self, item, folder)
  local path = path_of(self, item)
  local ok, script = pcall(source.beside, self:current().source, folder, path)
  if not ok then self:current().items:refuse(item, "%s", script.message) end
  self:include(script)
end

function carry_out.i(self, item) included(self, item, source.folder(self.script)) end
function carry_out.ir(self, item) included(self, item, source.folder(self:current().source)) end
carry_out.source = carry_out.i

function carry_out.connect(self, item)
  local words = words_of(self, item)
  local name = (words[1] or "-"):gsub(";+$", "")
  if #words > 1 or name:find "=" or name:find "://" then
    self:current().items:refuse(item, "\\%s goes to another database of the same server, as the same user: \\c NAME",
      item.name)
  end
  if name == "-" then return nil end
  local quoted = name:match '^"(.*)"$'
  if not quoted and name:find "^:" then
    self:current().items:refuse(item, "\\%s %s: which database that is, is not known beforehand", item.name, name)
  end
  return { connect = quoted and quoted:gsub('""', '"') or name }
end

function carry_out.encoding(self, item)
  local name = words_of(self, item)[1]
  if name and not name:upper():find "^UTF%-?8$" and name:upper() ~= "UNICODE" then
    self:current().items:refuse(item, "\\encoding %s: scripts are UTF-8", name)
  end
end

--- Between the two psql takes no command: what a dump holds cannot make it do anything.
function carry_out.restrict(self, item)
  self.restricted = words_of(self, item)[1] or self:current().items:refuse(item, "\\restrict lacks its key")
end

function carry_out.unrestrict(self, item)
  if words_of(self, item)[1] ~= self.restricted then
    self:current().items:refuse(item, "\\unrestrict has another key than \\restrict")
  end
  self.restricted = nil
end

function carry_out.use(_, item) return { use = item.arguments } end

function carry_out.copy(self, item)
  if not item.copy.file then return { copy = item.copy, data = true } end
  local ok, script = pcall(source.beside, self:current().source, source.folder(self.script), item.copy.file)
  if not ok then self:current().items:refuse(item, "%s", script.message) end
  return { copy = item.copy, file = script }
end

function carry_out.ignored() end

function carry_out.quit(self)
  self.over = not self.blind
end

local ALWAYS = { ["if"] = true, ["elif"] = true, ["else"] = true, endif = true }

local function command(self, item)
  if self.restricted and item.command ~= "unrestrict" then
    self:current().items:refuse(item, "\\%s stands between \\restrict and \\unrestrict", item.name)
  end
  if not ALWAYS[item.command] and not self:is_active() then return nil end
  return carry_out[item.command](self, item)
end

-- ---- the walk ----

local function close_file(self)
  local file = self:current()
  local left = self.conditions[file.conditions + 1]
  if left and not self.over then
    file.items:refuse({ line = left.line }, "the \\if of this line has no \\endif")
  end
  file.close()
  self.files[#self.files] = nil
end

--- What comes next: a statement, with `item`, its `index` among all, and `text` as the server gets it (nil where it
--- stands in a branch that is not taken, or the player is blind); or what a command asks for: `echo`, `connect`, `use`,
--- or `copy` with `data` or `file`, which has an index, too. nil at the end.
--- @return table? step
function Player:next()
  while self.files[1] and not self.over do
    local item = self:current().items:next()
    if not item then
      close_file(self)
    elseif item.text or item.command == "copy" then
      return self:statement(item)
    else
      local step = command(self, item)
      if step then
        step.item, step.file_name = item, self:current().source.name
        return step
      end
    end
  end
  self:close()
  return nil
end

function Player:statement(item)
  self.index = self.index + 1
  local step = item.text and {} or command(self, item) or {}
  step.item, step.index, step.file_name = item, self.index, self:current().source.name
  step.active = self:is_active()
  if item.text and step.active and not self.blind then
    local ok, text = pcall(split.substitute, item, self.values)
    if not ok then self:current().items:refuse(item, "%s", text.message) end
    step.text = text
  end
  return step
end

--- The next lines of the data behind a COPY … FROM stdin.
--- @return string?
function Player:data() return self:current().items:data() end

return client
