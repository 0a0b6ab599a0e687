--- The texts of `neap env`.
local ordered = require "neap.ordered"

local view = {}

local SECTIONS = { "hosts", "databases", "clusters", "aws", "repositories", "values", "secrets", "policy", "notify" }

local function nothing(model, page)
  return ("No environments in %s.\nThey lie in procedures/<group>/environments/<name>.yml."):format(
    page:clean(model.looked_in))
end

--- @param model { environments: table[], looked_in: string }
--- @param page neap.page
--- @return string
function view.list(model, page)
  if #model.environments == 0 then return nothing(model, page) end
  local rows = {}
  for i, entry in ipairs(model.environments) do
    local hosts = entry.problem and "-" or tostring(entry.hosts)
    local guard = entry.problem and page:paint("red", "cannot be read: neap env check " .. page:clean(entry.name))
      or page:clean(entry.guard)
    rows[i] = { page:clean(entry.name), hosts, guard }
  end
  return table.concat(page:table({ "ENVIRONMENT", ">HOSTS", "GUARD" }, rows), "\n")
end

local function add_secret(lines, tried, page)
  local text = tried.problem and page:paint("red", page:clean(tried.problem.message)) or tried.shown or tried.skipped
  if not tried.problem then text = (tried.shown and "ok " or "") .. page:clean(text) end
  lines[#lines + 1] = ("    secret %s  %s  %s"):format(page:clean(tried.name),
    page:paint("dim", page:clean(tried.source)), text)
  if tried.short then
    lines[#lines + 1] = "      it is shorter than six bytes: output is not searched for it"
  end
  for _, more in ipairs { tried.problem and tried.problem.output or "", tried.problem and tried.problem.hint or "" } do
    for _, line in ipairs(more ~= "" and page:lines(more) or {}) do lines[#lines + 1] = "      " .. line end
  end
end

--- @param model { environment: string, direction: string, file: string, key: string }
--- @param page neap.page
--- @return string
function view.key(model, page)
  if model.direction == "import" then
    return ("%s is the key of %s now."):format(page:clean(model.file), page:clean(model.environment))
  end
  return ("The key of %s is in %s. Who has it and the journal can read the secrets in it."):format(
    page:clean(model.environment), page:clean(model.file))
end

--- @param model { environments: table[], looked_in: string }
--- @param page neap.page
--- @return string
function view.check(model, page)
  if #model.environments == 0 then return nothing(model, page) end
  local lines, wrong = {}, 0
  for _, entry in ipairs(model.environments) do
    if entry.problem then
      wrong = wrong + 1
      local place = page:clean(entry.problem.where or "")
      lines[#lines + 1] = page:paint("red", ("%serror: %s"):format(place, page:clean(entry.problem.message)))
      if entry.problem.hint then lines[#lines + 1] = "    " .. page:clean(entry.problem.hint) end
    else
      lines[#lines + 1] = ("%s: ok, %s"):format(page:clean(entry.name), page.count(entry.hosts, "host"))
      for _, one in ipairs(entry.missing or {}) do
        lines[#lines + 1] = ("    missing here: %s%s"):format(page:clean(one.text),
          one.hint and "  (" .. page:clean(one.hint) .. ")" or "")
      end
      local lacks = false
      for _, tried in ipairs(entry.secrets or {}) do
        add_secret(lines, tried, page)
        lacks = lacks or tried.problem ~= nil
      end
      wrong = wrong + (lacks and 1 or 0)
    end
  end
  lines[#lines + 1] = ("%s, %d wrong"):format(page.count(#model.environments, "environment"), wrong)
  return table.concat(lines, "\n")
end

local function inline(value, page)
  if type(value) ~= "table" then return page:clean(value) end
  local parts = {}
  for _, item in ipairs(value) do parts[#parts + 1] = inline(item, page) end
  if #parts > 0 then return "[" .. table.concat(parts, ", ") .. "]" end
  for _, key in ipairs(ordered.keys(value)) do
    parts[#parts + 1] = ("%s: %s"):format(page:clean(key), inline(value[key], page))
  end
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
end

local function origin_of(model, path)
  local origin = model.origins[path]
  return origin and ("%s:%d"):format(origin.file:match "[^/]*$", origin.line) or ""
end

--- A value on a line of its own, or, where it is a map or too wide, its parts below it.
local function add_value(lines, page, model, path, key, value, depth)
  local margin = (" "):rep(depth * 2)
  local text = inline(value, page)
  local origin = page:paint("dim", origin_of(model, path))
  local head = margin .. page:clean(key) .. ":"
  if type(value) ~= "table" or page:columns(head .. " " .. text .. "  " .. origin) <= page.width then
    lines[#lines + 1] = page:edges(head .. " " .. text, origin)
    return
  end
  lines[#lines + 1] = page:edges(head, origin)
  for _, name in ipairs(#value > 0 and value or {}) do
    lines[#lines + 1] = ("%s  - %s"):format(margin, inline(name, page))
  end
  if #value > 0 then return end
  for _, name in ipairs(ordered.keys(value)) do
    add_value(lines, page, model, path .. "." .. name, name, value[name], depth + 1)
  end
end

--- The merged environment, each value with the file and line that gave it. References to arguments of a run stand as
--- they are written; secrets are references anyway.
--- @param model neap.environment
--- @param page neap.page
--- @return string
function view.show(model, page)
  local files = ordered.keys(model.files)
  local lines = { page:paint("bold", page:clean(model.name)) .. page:paint("dim", "   from " ..
    page:clean(table.concat(files, ", "))) }
  for _, section in ipairs(SECTIONS) do
    local content = model.sections[section]
    if content and next(content) ~= nil then
      lines[#lines + 1] = page:paint("bold", section .. ":")
      for i, item in ipairs(content) do
        add_value(lines, page, model, section .. "." .. i, "- " .. i, item, 1)
      end
      for _, key in ipairs(#content == 0 and ordered.keys(content) or {}) do
        add_value(lines, page, model, section .. "." .. key, key, content[key], 1)
      end
    end
  end
  return table.concat(lines, "\n")
end

--- @param model { key: string, origin: neap.origin, value: any }
--- @param page neap.page
--- @return string
function view.explain(model, page)
  local origin = model.origin
  local written, value = inline(origin.value, page), inline(model.value, page)
  local as = written ~= value and "   written as " .. written or ""
  local lines = { ("%s = %s"):format(page:clean(model.key), value),
                  ("  %s:%d%s"):format(page:clean(origin.file), origin.line, as) }
  local before = origin.overrode
  while before do
    lines[#lines + 1] = ("  instead of %s   %s:%d"):format(inline(before.value, page), page:clean(before.file),
      before.line)
    before = before.overrode
  end
  return table.concat(lines, "\n")
end

return view
