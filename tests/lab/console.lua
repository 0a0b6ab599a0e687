-- The lab's hosts asked by their consoles, past ssh and past neap; and the lab's own verbs.
local console = {}

--- Output of a shell text on this machine, both streams, and its exit status.
--- @param text string
--- @return string output
--- @return integer status
function console.shell(text)
  local pipe = io.popen("{ " .. text .. "\n} 2>&1")
  local output = pipe:read("a")
  local _, _, status = pipe:close()
  return output, status
end

local function quoted(text) return "'" .. text:gsub("'", [['\'']]) .. "'" end

--- A verb of tests/lab/lab: console.lab("reset"). Raises where it fails.
function console.lab(...)
  local words = {}
  for i, word in ipairs { ... } do words[i] = quoted(word) end
  local output, status = console.shell("tests/lab/lab " .. table.concat(words, " "))
  if status ~= 0 then error(("lab %s: %s"):format(table.concat(words, " "), output), 2) end
  return output
end

--- Output of a shell text that root runs on a host, without its last line end.
function console.on(host, text) return (console.lab("sh", host, "sh", "-c", text):gsub("\n$", "")) end

--- One answer of a host's database server.
function console.sql(host, query)
  local text = "cd /; runuser -u postgres -- psql -XAtqc %s"
  return console.on(host, text:format(quoted(query)))
end

--- @return boolean
function console.in_recovery(host) return console.sql(host, "select pg_is_in_recovery()") == "t" end

--- The page of the production site as this proxy gives it.
function console.page(proxy)
  local text = "curl --silent --show-error --max-time 5 --header 'Host: www.encode.lab' http://%s/"
  return (console.shell(text:format(proxy)):gsub("\n$", ""))
end

--- Digest, mode and owner of a file, or that it is not there.
function console.file(host, path)
  return console.on(host, ("test -e %s || { echo absent; exit; }; sha256sum %s; stat -c '%%a %%U:%%G' %s"):format(
    path, path, path))
end

return console
