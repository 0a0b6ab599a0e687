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

--- Subjects of the mails that the lab's server has taken, oldest first.
function console.mails()
  local list = {}
  for line in console.shell("cat ~/mail/* 2>/dev/null | grep -i ^subject:"):gmatch "[^\n]+" do
    list[#list + 1] = line:gsub("\r", ""):match ": (.*)$"
  end
  return list
end

--- What a person says to what a run waits for: of a mail in doubt whether it has arrived, of all else that it is done.
--- @param said string  what neap has said
--- @return string  for --answer
function console.answer_to(said)
  local question = said:gsub("%s+", " "):match ".*WAITS FOR A PERSON(.-) WHAT IS CHANGED NOW"
  local subject = question and question:match "it is not known whether mail to [^:]+: (.-) happened: "
  if not subject then return "done" end
  for _, mail in ipairs(console.mails()) do
    if mail == subject then return "applied" end
  end
  return "not-applied"
end

return console
