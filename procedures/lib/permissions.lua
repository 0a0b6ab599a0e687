--- SBAC's permission service: roles, at which levels of organization they are given, permissions, and who has which.
local permissions = {}

local function encoded(text)
  return (text:gsub("[^%w_.-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

--- The address of a thing of the service: address(service, "role", "role", "Embargo Admin").
local function address(service, what, ...)
  local pairs_of, words = {}, { ... }
  for i = 1, #words, 2 do pairs_of[#pairs_of + 1] = words[i] .. "=" .. encoded(words[i + 1]) end
  return ("%s/%s?%s"):format(service.url, what, table.concat(pairs_of, "&"))
end

local function is_so(service, question)
  local reply = http.get(question.url, { bearer = service.bearer, ok = { 200, 404 } })
  return reply.status == 200 and (not question.body or reply.body:find(question.body) ~= nil)
end

--- Makes a thing where the answer to the question says that it is not there.
local function ensure(service, place, question)
  if is_so(service, question) then return end
  http.post(place, { bearer = service.bearer, undo = { method = "DELETE", url = place }, done = question })
end

--- Makes sure that a role is there, and is given at these levels.
--- @param service { url: string, bearer: native.secret.value }
--- @param role string
--- @param levels string[]  "STATE", "DISTRICT", …
function permissions.role(service, role, levels)
  local place = address(service, "role", "role", role)
  ensure(service, place, { url = place, status = { 200 } })
  for _, level in ipairs(levels) do
    ensure(service, address(service, "entity", "role", role, "entity", level),
      { url = place, status = { 200 }, body = '"' .. level .. '"' })
  end
end

--- Makes sure that a permission of a component is there, and that a role has it.
--- @param service { url: string, bearer: native.secret.value }
--- @param component string
--- @param permission string
--- @param role string
function permissions.grant(service, component, permission, role)
  local body = '"' .. permission .. '"'
  ensure(service, address(service, "permission", "component", component, "permission", permission),
    { url = address(service, "permission", "component", component), status = { 200 }, body = body })
  ensure(service, address(service, "mapping", "component", component, "permission", permission, "role", role),
    { url = address(service, "permission", "role", role, "component", component), status = { 200 }, body = body })
end

return permissions
