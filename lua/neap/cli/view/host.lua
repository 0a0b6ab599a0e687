--- The texts of `neap host add`.
local view = {}

--- What is found, before anybody is asked.
--- @param found table  as ssh.look gives it
--- @param page neap.page
--- @return string
function view.found(found, page)
  local lines = {
    ("%s  (%s port %s)"):format(page:paint("bold", page:clean(found.name)), page:clean(found.address),
      page:clean(found.port)),
    ("  shows  %s"):format(page:clean(found.host_key)),
    ("  known  %s"):format(found.verdict == "unknown" and "nothing yet" or page:clean(found.verdict)),
    page:paint("dim", "  compare with, on the host's own console:  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
  }
  return table.concat(lines, "\n")
end

--- @param found table
--- @param added boolean
--- @param page neap.page
--- @return string
function view.result(found, added, page)
  local name, key = page:clean(found.name), page:clean(found.host_key)
  if added then return ("%s added to %s: %s"):format(name, page:clean(found.file), key) end
  if found.verdict == "trusted" then return ("%s is known already: %s"):format(name, key) end
  return page:paint("alarm", ("%s is not added: it shows %s"):format(name, key))
end

return view
