--- nginx: every byte of a configuration is in one token; a host that is replaced is, and nothing else is changed.
local conf = require "neap.targets.nginx.conf"

local function check_replacing(document, place)
  local before = document:text()
  local count = must(document.replace_host, document, place.host, "fuzzed.example.org")
  truthy(count > 0, "a host that is there is not replaced")
  for _, other in ipairs(document:hosts()) do truthy(other.host ~= place.host, "a host is left over") end
  local again = must(conf.parse, document:text())
  equal(#again.tokens, #document.tokens, "tokens after the change")
  equal(again:text(), document:text(), "the new text")
  if before:lower():find("fuzzed.example.org", 1, true) then return end -- then it is not this host alone that goes back
  must(document.replace_host, document, "fuzzed.example.org", place.host)
  equal(document:text():lower(), before:lower(), "the text once the host is put back")
end

return {
  parsers = { "neap/targets/nginx/tokens.lua", "neap/targets/nginx/conf.lua" },
  run = function(data)
    local document = conf.parse(data)
    equal(document:text(), data, "the text")
    local hosts = document:hosts()
    for _, place in ipairs(hosts) do
      truthy(data:find(place.host, 1, true), "a host that is nowhere in the text")
    end
    if hosts[1] then check_replacing(document, hosts[1]) end
    for _, name in ipairs(document:upstreams()) do
      attempt(document.replace_upstream, document, name, "a.example.org:80", "b.example.org:80")
    end
    attempt(document.replace_host, document, "nowhere.example.org", "new.example.org")
  end,
}
