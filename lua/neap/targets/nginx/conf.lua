--- An nginx configuration as a document: finds what its directives point at, and changes that and no other byte.
local fault        = require "native.error"
local near         = require "neap.near"
local nginx_tokens = require "neap.targets.nginx.tokens"

local nginx_conf = {}

local value = nginx_tokens.value

--- One file. Every byte of it is in one of the tokens; a change is a change of a token's text.
--- @class nginx_conf.document
--- @field name string
--- @field tokens table[]
--- @field directives table[]
local document = {}
document.__index = document

-- The argument of these is an address, with or without a scheme.
local passes = {
  proxy_pass = true, fastcgi_pass = true, uwsgi_pass = true, scgi_pass = true, grpc_pass = true, memcached_pass = true,
}
-- Arguments of these may be URLs; only what has a scheme is taken for one.
local bears_url = { proxy_redirect = true, ["return"] = true, rewrite = true, error_page = true, set = true }
-- Lines in these blocks look like directives and are data.
local holds_data = { map = true, geo = true, types = true, split_clients = true, charset_map = true, match = true }
-- Values of these begin with a slash, so a host that stands before them is whole.
local begins_path = { request_uri = true, uri = true, document_uri = true }

--- The document of an nginx configuration file; `parse(text):text() == text` for every text that it takes.
--- Raises `protocol` with `name:line:column:` where nginx's own tokenizer would refuse.
--- @param text string
--- @param name? string  what messages call the file
--- @return nginx_conf.document
function nginx_conf.parse(text, name)
  name = name or "nginx.conf"
  local tokens, directives = nginx_tokens.read(text, name)
  return setmetatable({ name = name, tokens = tokens, directives = directives }, document)
end

--- The file's text with the changes made so far.
--- @return string
function document:text()
  local parts = {}
  for i, token in ipairs(self.tokens) do parts[i] = token.text end
  return table.concat(parts)
end

local function is_whole(after)
  if after == "" or after:find("^[:/?#\"']") then return true end
  return begins_path[after:match("^%${?([%w_]+)}?") or ""] or false
end

-- First and last byte of the host in `text` from `start` on; nil where it is a variable, in part too, or a socket.
local function host_span(text, start)
  local first, last = text:find("^%[[%x:.]+%]", start)
  if not first then first, last = text:find("^[%w_.-]+", start) end
  if not first or text:sub(start, last + 1):lower() == "unix:" then return nil end
  if is_whole(text:sub(last + 1)) then return first, last end
end

local function after_scheme(text, start)
  local _, last = text:find("^%a[%w+.-]*://", start)
  return last and last + 1
end

local function is_upstream_server(directive)
  local inside = directive.inside
  return value(directive.words[1]) == "server" and inside ~= nil
    and value(inside.words[1]) == "upstream"
end

-- Calls see(token, first, last) for each argument of `directive` that names a host.
local function each_host(directive, see)
  local name = value(directive.words[1])
  local inside = directive.inside and value(directive.inside.words[1])
  if directive.block or holds_data[inside] then return end
  local address = passes[name] or is_upstream_server(directive)
  if not address and not bears_url[name] then return end
  for i = 2, address and math.min(2, #directive.words) or #directive.words do
    local token = directive.words[i]
    local start = token.kind == "quoted" and 2 or 1
    local url = after_scheme(token.text, start)
    local first, last
    if url or address then first, last = host_span(token.text, url or start) end
    if first then see(token, first, last) end
  end
end

local function upstream_of(directive)
  if not is_upstream_server(directive) then return nil end
  local name = directive.inside.words[2]
  return name and value(name)
end

function document:upstreams()
  local names = {}
  for _, directive in ipairs(self.directives) do
    local name = directive.words[2]
    if directive.block and name and value(directive.words[1]) == "upstream" then
      names[#names + 1] = value(name)
    end
  end
  return names
end

-- Calls see(directive, token, first, last, upstream) for each place that names a host, or, where `upstream` is true, what
-- this file has for an upstream: to change that would go round the upstream.
function document:each_place(see)
  local is_upstream = {}
  for _, name in ipairs(self:upstreams()) do is_upstream[name:lower()] = true end
  for _, directive in ipairs(self.directives) do
    each_host(directive, function(token, first, last)
      local host = token.text:sub(first, last):lower()
      see(directive, token, first, last, is_upstream[host] and not is_upstream_server(directive))
    end)
  end
end

--- Every host that a directive of this file points at, in the file's order; variables, sockets and names of its upstreams
--- are left out.
--- @return { host: string, port: string?, directive: string, upstream: string?, line: integer }[]
function document:hosts()
  local found = {}
  self:each_place(function(directive, token, first, last, upstream)
    if upstream then return end
    found[#found + 1] = {
      host = token.text:sub(first, last), port = token.text:match("^:(%d+)", last + 1),
      directive = value(directive.words[1]), upstream = upstream_of(directive), line = token.line,
    }
  end)
  return found
end

-- At most three of `names`, the nearest to `wanted` first, each once.
local function nearest(names, wanted)
  local seen, list = {}, {}
  for _, name in ipairs(names) do
    if not seen[name] then list[#list + 1] = name end
    seen[name] = seen[name] or near.distance(name:sub(1, 255):lower(), wanted:sub(1, 255):lower())
  end
  table.sort(list, function(a, b)
    if seen[a] ~= seen[b] then return seen[a] < seen[b] end
    return a < b
  end)
  return table.move(list, 1, math.min(3, #list), 1, {})
end

local function listed(names, wanted, otherwise)
  local list = nearest(names, wanted)
  return #list > 0 and table.concat(list, ", ") or otherwise
end

-- Places that name `text` outside the directives which are searched, for the hint of a failed search.
function document:mentions(text)
  local places = {}
  for _, directive in ipairs(self.directives) do
    for i = 2, #directive.words do
      if value(directive.words[i]):lower():find(text:lower(), 1, true) then
        places[#places + 1] = ("%s in line %d"):format(value(directive.words[1]), directive.words[i].line)
      end
    end
  end
  return places
end

function document:hint_for(text)
  local places = self:mentions(text)
  if #places > 0 then return "it is named, and left alone, by " .. table.concat(places, ", ") end
  for _, directive in ipairs(self.directives) do
    local path = directive.words[2]
    if value(directive.words[1]) == "include" and path then
      return ("%s also includes %s, which was not searched"):format(self.name, value(path))
    end
  end
end

-- As it stands in an address: an IPv6 address in brackets. Anything else than a host would change more than a host.
local function as_host(text)
  if type(text) == "string" then
    local bare = text:match("^%[(.*)%]$") or text
    if bare:find("^[%x:.]+$") and select(2, bare:gsub(":", "")) >= 2 then return "[" .. bare .. "]" end
    if text:find("^[%w_.-]+$") then return text end
  end
  error(("a host name or address is wanted, without port, not %q"):format(tostring(text)), 3)
end

local function put(token, first, last, text)
  token.text = token.text:sub(1, first - 1) .. text .. token.text:sub(last + 1)
end

function document:replace_hosts(old, new)
  local replaced, already = 0, 0
  self:each_place(function(_, token, first, last, upstream)
    local host = token.text:sub(first, last):lower()
    if host == new:lower() then already = already + 1 end
    if host ~= old:lower() or upstream then return end
    put(token, first, last, new)
    replaced = replaced + 1
  end)
  return replaced, already
end

--- Points at `new` what points at the host `old`: proxy_pass and its kin, `server` in an upstream, and URLs of
--- proxy_redirect, return, rewrite, error_page and set. Ports, paths, variables, server_name and comments stay.
--- A file that names `new` already and `old` nowhere is as wanted. Raises `missing` where neither is found.
--- @param old string  name or address, without port; compared without case
--- @param new string
--- @return integer  places changed
function document:replace_host(old, new)
  old, new = as_host(old), as_host(new)
  local replaced, already = self:replace_hosts(old, new)
  if replaced > 0 or already > 0 then return replaced end
  local names = {}
  for i, place in ipairs(self:hosts()) do names[i] = place.host end
  fault.raise {
    kind = "missing", hint = self:hint_for(old),
    message = ("nothing in %s points at %s; it points at %s"):format(self.name, old, listed(names, old, "no host")),
  }
end

local function as_server(text)
  if type(text) == "string" and text:find("^[^%s;{}\"'\\#$]+$") then return text end
  error(("the address of an upstream's server is wanted, not %q"):format(tostring(text)), 3)
end

function document:servers_of(name)
  local servers = {}
  for _, directive in ipairs(self.directives) do
    if directive.words[2] and upstream_of(directive) == name then servers[#servers + 1] = directive.words[2] end
  end
  return servers
end

function document:check_upstream(name)
  local upstreams = self:upstreams()
  for _, upstream in ipairs(upstreams) do
    if upstream == name then return end
  end
  local known = listed(upstreams, name, "none")
  fault.raise { kind = "missing", message = ("no upstream %s in %s; there is %s"):format(name, self.name, known) }
end

local function replace_servers(servers, old, new)
  local replaced, already, names = 0, 0, {}
  for i, token in ipairs(servers) do
    names[i] = value(token)
    if names[i] == new then already = already + 1 end
    if names[i] == old then
      local margin = token.kind == "quoted" and 1 or 0
      put(token, 1 + margin, #token.text - margin, new)
      replaced = replaced + 1
    end
  end
  return replaced, already, names
end

--- Puts the server `new` (address with port, as nginx wants it) in the place of `old` in the upstream `name`.
--- As wanted where `new` stands there already and `old` does not. Raises `missing` without the upstream or the server.
--- @param name string  of the upstream
--- @param old string
--- @param new string
--- @return integer  places changed
function document:replace_upstream(name, old, new)
  old, new = as_server(old), as_server(new)
  self:check_upstream(name)
  local replaced, already, names = replace_servers(self:servers_of(name), old, new)
  if replaced > 0 or already > 0 then return replaced end
  local known = listed(names, old, "no server")
  fault.raise {
    kind = "missing",
    message = ("upstream %s in %s has no server %s; it has %s"):format(name, self.name, old, known),
  }
end

return nginx_conf
