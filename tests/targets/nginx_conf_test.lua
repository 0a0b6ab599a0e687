local nginx_conf = require "neap.targets.nginx.conf"

local site = [[
user www-data;  # v87.example.org stays here
http {
  upstream encoded {
    server v87.example.org:8000 weight=5;
    server 10.0.0.9:8000 backup;
    server unix:/run/encoded.sock;
    server [2001:db8::7]:8000;
  }
  map $host $kind { v87.example.org old; default http://v87.example.org/; }
  server {
    listen 80;
    server_name v87.example.org;
    location / { proxy_pass http://encoded; proxy_set_header Host v87.example.org; }
    location /a { proxy_pass "https://v87.example.org:8443/path?q=v87.example.org"; }
    location /b { proxy_pass http://$backend/v87.example.org; }
    location /c { return 301 https://V87.Example.org$request_uri; }
    location /d { return 301 https://v87.example.org$suffix; }
    location /e { fastcgi_pass v87.example.org:9000; }
    location /f { proxy_pass http://v87.example.org.backup/; }
    location /g { rewrite ^/(.*)$ http://v87.example.org/$1 permanent; }
    location /h { proxy_pass http://v87.example.org:$port; }
    location /i { proxy_pass http://unix:/run/v87.example.org:/; }
  }
}
]]

local function parse(text) return nginx_conf.parse(text, "/etc/nginx/nginx.conf") end

local function replaced(text, old, new)
  local conf = parse(text)
  local count = conf:replace_host(old, new)
  return conf:text(), count
end

describe("an nginx configuration", function()
  it("comes back byte for byte", function()
    for _, text in ipairs {
      "", "\n", "user a;", "\xEF\xBB\xBFuser a;\r\n# end\r\n", "a 'it\\'s' \"b\\\"c\" d\\;e ${f}g $h{}",
      "# no newline", site, "if ($a = \"x\") { return 1; }", "a b}c#d;", "a \\{ { } b;",
    } do
      equal(parse(text):text(), text)
    end
  end)

  it("keeps Lua blocks whole, with braces in strings, comments and long brackets", function()
    local block = "content_by_lua_block {\n local t = { '}', \"}\\\"}\", [[}]], [==[ ]] } ]==] } -- }\n" ..
      " --[[ } ]] ngx.say(t[1])\n}\n"
    local text = block .. "set_by_lua_block $x { return '{' }\nproxy_pass http://old;"
    equal(replaced(text, "old", "new"), (text:gsub("//old", "//new")))
  end)

  it("names file, line and column of what it cannot read", function()
    local at = "/etc/nginx/nginx.conf:"
    for text, message in pairs {
      ["a;\n  }"] = at .. '2:3: unexpected "}"',
      ["a {\n b c }"] = at .. '2:6: unexpected "}"',
      ["a;\nb c"] = at .. '2:4: unexpected end of file, expecting ";" or "}"',
      ["a { b; } }"] = at .. '1:10: unexpected "}"',
      [";"] = at .. '1:1: unexpected ";"',
      ["{"] = at .. '1:1: unexpected "{"',
      ["a 'b\nc"] = at .. "1:3: the quote opened here is not closed",
      ['a\n "b\\"'] = at .. "2:2: the quote opened here is not closed",
      ['a "b"c;'] = at .. '1:6: unexpected "c"',
      ["x;\na {\n b {} "] = at .. '2:3: the block opened here is not closed, expecting "}"',
      ["x_by_lua_block { if '}' "] = at .. "1:17: the Lua block opened here is not closed",
    } do
      local failure = raises(parse, text)
      equal(failure.kind, "protocol")
      equal(failure.message, message)
    end
  end)

  it("reads a hundred thousand nested blocks", function()
    local text = ("a {"):rep(100000) .. ("}"):rep(100000)
    equal(#parse(text):text(), #text)
    equal(raises(parse, ("a {"):rep(100000)).kind, "protocol")
  end)

  it("takes or refuses 10,000 random texts, and gives back what it takes", function()
    local pieces = {
      "a", "server", "http", " ", "\n", "\r\n", "\t", ";", ";", "{", "}", "#", '"', "'", "\\", "$", "${",
      "x_by_lua_block", "\0", "\xFF", "[[", "]]", "--", "=", "proxy_pass http://a", "upstream u {server a;}", "unix:",
      "(", ")",
    }
    math.randomseed(88)
    local taken = 0
    for _ = 1, 10000 do
      local parts = {}
      for i = 1, math.random(0, 12) do parts[i] = pieces[math.random(#pieces)] end
      local text = table.concat(parts)
      local ok, conf = pcall(parse, text)
      if ok then
        taken = taken + 1
        equal(conf:text(), text)
        conf:hosts()
      else
        matches(conf.message, "^/etc/nginx/nginx.conf:%d+:%d+: ")
      end
    end
    truthy(taken > 500)
  end)
end)

describe("replace_host", function()
  it("changes what points at the host and nothing else", function()
    local expected = site
    for _, place in ipairs {
      "server %s:8000", "https://%s:8443", "fastcgi_pass %s:9000", "http://%s/$1", "http://%s:$port",
    } do
      local from, to = place:format("v87.example.org"), place:format("v88.example.org")
      local first, last = expected:find(from, 1, true)
      expected = expected:sub(1, first - 1) .. to .. expected:sub(last + 1)
    end
    expected = expected:gsub("V87.Example.org", "v88.example.org")
    local text, count = replaced(site, "v87.example.org", "v88.example.org")
    equal(text, expected)
    equal(count, 6)
  end)

  it("puts IPv6 addresses into brackets and finds them there", function()
    equal(replaced("proxy_pass http://[::1]:80;", "::1", "10.0.0.1"), "proxy_pass http://10.0.0.1:80;")
    equal(replaced("proxy_pass http://a:80;", "a", "2001:db8::1"), "proxy_pass http://[2001:db8::1]:80;")
  end)

  it("leaves alone the name of an upstream, whatever it is", function()
    local text = "upstream old { server old:80; } server { location / { proxy_pass http://old; } }"
    equal(replaced(text, "old", "new"), (text:gsub("server old", "server new")))
  end)

  it("points at an upstream, and has nothing to do the second time", function()
    local text = "upstream new { server a:80; } server { location / { proxy_pass http://old; } }"
    local changed = replaced(text, "old", "new")
    equal(changed, (text:gsub("http://old", "http://new")))
    equal({ replaced(changed, "old", "new") }, { changed, 0 })
  end)

  it("finds a stream's address, without a scheme", function()
    equal(replaced("stream { server { proxy_pass old:5432; } }", "old", "new"),
      "stream { server { proxy_pass new:5432; } }")
  end)

  it("changes nothing where the new host stands already", function()
    local text, count = replaced("proxy_pass http://new:80;", "old", "new")
    equal(text, "proxy_pass http://new:80;")
    equal(count, 0)
  end)

  it("says what was looked for and which hosts are near", function()
    local text = "proxy_pass http://v86.a; proxy_pass http://v8.a; proxy_pass http://x;"
    local failure = raises(replaced, text, "v87.a", "v88.a")
    equal(failure.kind, "missing")
    equal(failure.message, "nothing in /etc/nginx/nginx.conf points at v87.a; it points at v8.a, v86.a, x")
  end)

  it("says where a name stands that is left alone", function()
    local failure = raises(replaced, "listen 80;\nserver_name old;", "old", "new")
    equal(failure.message, "nothing in /etc/nginx/nginx.conf points at old; it points at no host")
    equal(failure.hint, "it is named, and left alone, by server_name in line 2")
    failure = raises(replaced, "include conf.d/*.conf;", "old", "new")
    equal(failure.hint, "/etc/nginx/nginx.conf also includes conf.d/*.conf, which was not searched")
  end)

  it("refuses what is no host", function()
    for _, text in ipairs { "", "a;b", "a:80", "http://a", "a b", "$a", "a}" } do
      matches(tostring(raises(replaced, "proxy_pass http://a;", "a", text)), "a host name or address is wanted")
    end
  end)

  it("changes no other byte of a thousand random files", function()
    math.randomseed(1959)
    local function pick(list) return list[math.random(#list)] end
    local places = {
      "proxy_pass http://@;", "proxy_pass 'http://@/x y';", "proxy_pass\n  https://@:8443/$uri;",
      "grpc_pass grpc://@:1;",
      "upstream u { server @; server b:1 max_fails=3; }", 'return 302 "http://@/?a={@"', "set $b http://@$request_uri;",
      "proxy_redirect http://@/ /;",
    }
    local others = {
      "server_name @;", "# @ http://@\n", "proxy_pass http://x@.y;", "proxy_pass http://$@;",
      "map $a $b { @ http://@; }",
      "\r\n", "\t", "location ~ \"^/a{2}$\" { }", "add_header x '@; http://@ }';", "log_format m '$a \"$b\" {@}';",
      "a ${@} \\; b}@;", "proxy_pass http://${@}@;", "x_by_lua_block { local a = '}@' -- }@\n }",
      "if ($a = \"@\") { return 301 https://@$b; }",
    }
    for _ = 1, 1000 do
      local before, after, count = {}, {}, 0
      for i = 1, math.random(1, 12) do
        local hit = math.random(3) == 1
        local piece = pick(hit and places or others)
        if piece:sub(-1) == '"' then piece = piece .. ";" end
        before[i] = piece:gsub("@", "old.host")
        -- only the first name of a hit is a host
        after[i] = (hit and piece:gsub("@", "new.host", 1) or piece):gsub("@", "old.host")
        count = count + (hit and 1 or 0)
      end
      before[#before + 1], after[#after + 1] = "proxy_pass http://OLD.host;", "proxy_pass http://new.host;"
      local text, changed = replaced(table.concat(before), "old.host", "new.host")
      equal(text, table.concat(after))
      equal(changed, count + 1)
    end
  end)
end)

describe("replace_upstream", function()
  local text = "upstream a { server old:80 weight=2; server 'old:81'; } upstream b { server old:80; }"

  it("changes one server of one upstream", function()
    local conf = parse(text)
    equal(conf:replace_upstream("a", "old:80", "new:8080"), 1)
    equal(conf:text(), (text:gsub("old:80", "new:8080", 1)))
    equal(conf:replace_upstream("a", "old:81", "unix:/run/a.sock"), 1)
    matches(conf:text(), "'unix:/run/a.sock'")
    equal(conf:replace_upstream("a", "gone:1", "new:8080"), 0)
  end)

  it("says which upstreams and servers there are", function()
    local conf = parse(text)
    equal(raises(conf.replace_upstream, conf, "c", "x", "y").message,
      "no upstream c in /etc/nginx/nginx.conf; there is a, b")
    equal(raises(conf.replace_upstream, conf, "b", "old:81", "y").message,
      "upstream b in /etc/nginx/nginx.conf has no server old:81; it has old:80")
    matches(tostring(raises(conf.replace_upstream, conf, "a", "old:80", "x; evil")), "upstream's server is wanted")
  end)
end)

describe("hosts", function()
  it("are listed with port, directive, upstream and line", function()
    local hosts = parse(site):hosts()
    equal(hosts[1], { host = "v87.example.org", port = "8000", directive = "server", upstream = "encoded", line = 4 })
    equal(hosts[3], { host = "[2001:db8::7]", port = "8000", directive = "server", upstream = "encoded", line = 7 })
    equal(hosts[4].directive, "proxy_pass")
    equal(#hosts, 9)
  end)
end)

local function output_of(command)
  local pipe = io.popen(command .. " 2>&1")
  local text = pipe:read("a")
  return text, pipe:close()
end

-- Writes each text to a file, calls fn with the paths, and removes the files.
local function with_files(texts, fn)
  local paths = {}
  for i, text in ipairs(texts) do
    paths[i] = os.tmpname()
    local file <close> = io.open(paths[i], "wb")
    file:write(text)
  end
  local results = table.pack(pcall(fn, paths))
  for _, path in ipairs(paths) do os.remove(path) end
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

describe("nginx itself", function()
  local frame = "pid %s.pid; error_log stderr; daemon off;\nevents {}\nhttp {\n  access_log off;\n%s\n}\n"
  local servers = [[
  upstream encoded { server 127.0.0.1:8000 weight=5; server "127.0.0.1:8001" backup; server unix:/tmp/x.sock; }
  map $uri $kind { default http://127.0.0.1/; "~^/a{2}" 'b;{'; }
  server {
    listen 127.0.0.1:18080; server_name 127.0.0.1 ${host}x;   # 127.0.0.1 }
    location ~ "^/a{2}$" { proxy_pass 'http://127.0.0.1:8443'; }
    location /b { return 301 https://127.0.0.1$request_uri; }
    location /c { set $b "x\"}"; if ($b = "y") { return 403 "a\;b"; } proxy_pass http://$b:80; }
  }]]

  local function nginx_test(text)
    return with_files({ text }, function(paths)
      local output, ok = output_of(("PATH=$PATH:/usr/sbin nginx -T -c '%s'"):format(paths[1]))
      return ok, output
    end)
  end

  local function need_nginx()
    if not select(2, output_of("PATH=$PATH:/usr/sbin command -v nginx")) then skip("nginx is not installed") end
  end

  it("takes an edited file and reads it as these bytes", function()
    need_nginx()
    local conf = parse(frame:format(os.tmpname(), servers))
    equal(conf:replace_host("127.0.0.1", "127.0.0.99"), 4)
    local ok, output = nginx_test(conf:text())
    truthy(ok)
    truthy(output:find(conf:text(), 1, true))
  end)

  it("refuses the same syntax", function()
    need_nginx()
    for _, broken in ipairs {
      "server { listen 127.0.0.1:18080; } }", "server { listen 127.0.0.1:18080 }", "server {", ";", "{ }",
      "server { listen 127.0.0.1:18080; set $a 'b; }", "server { listen 127.0.0.1:18080; set $a 'b'c; }",
    } do
      local text = frame:format(os.tmpname(), broken)
      equal(nginx_test(text), nil)
      equal(raises(parse, text).kind, "protocol")
    end
  end)

  it("ends words, quotes and lines in the same places", function()
    need_nginx()
    math.randomseed(41)
    -- inside types every word is a name and only the tokenizer can refuse
    local pieces = {
      "a", " b", "\n", ";", ";", ";\n", " 'c d'", '"e"', "\\;", "\\ ", "${", "}", " # f ;\n", "\r\n", " g}",
      "'", "\t)",
    }
    for _ = 1, 150 do
      local parts = {}
      for i = 1, math.random(1, 7) do parts[i] = pieces[math.random(#pieces)] end
      local text = frame:format(os.tmpname(), "types { " .. table.concat(parts) .. " ;}")
      local taken, output = nginx_test(text)
      local ok, failure = pcall(parse, text)
      equal({ ok or false, text }, { taken or false, text })
      local what, line = output:match('(unexpected "[^\n]*") in [^\n:]*:(%d+)')
      if what then matches(failure.message, ":" .. line .. ":%d+: " .. what:gsub("%p", "%%%0") .. "$") end
    end
  end)
end)

describe("crossplane", function()
  local python = "build/vendor/python/bin/python3"
  local lex = [[import crossplane, sys
for path in sys.argv[1:]:
    try:
        tokens = [t[:2] for t in crossplane.lexer.lex(path)]
        print("taken", " ".join("%d:%s" % (line, text.encode().hex()) for text, line in tokens))
    except crossplane.errors.NgxParserBaseException:
        print("refused")]]

  -- As crossplane gives them: without quotes, and only the quote itself unescaped.
  local function tokens_of(conf)
    local parts = {}
    for _, token in ipairs(conf.tokens) do
      local text = token.text
      if token.kind == "quoted" then text = text:sub(2, -2):gsub("\\" .. text:sub(1, 1), text:sub(1, 1)) end
      if token.kind ~= "space" then
        parts[#parts + 1] = token.line .. ":" .. text:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
      end
    end
    return "taken " .. table.concat(parts, " ")
  end

  -- No } within a word: crossplane ends the word there, nginx does not.
  local function random_text()
    local pieces = {
      "a", "server", " ", "\n", "\t", ";", "; ", " {", " }", "# c\n", "'it'", '"b c"', '"d\\"e"', " $f", " ${g}h",
      "\\;", "proxy_pass http://a:80;\n", " upstream u {\n server a; }", "if ($a = \"x\") { b c; }\n",
    }
    local parts = {}
    for i = 1, math.random(1, 15) do parts[i] = pieces[math.random(#pieces)] end
    return table.concat(parts)
  end

  it("reads the same tokens in the same lines", function()
    if not io.open(python) then skip("crossplane is not installed: make deps") end
    math.randomseed(7)
    local texts = { site }
    for i = 2, 400 do texts[i] = random_text() end
    local output = with_files(texts, function(paths)
      return (output_of(("%s -c '%s' %s"):format(python, lex, table.concat(paths, " "))))
    end)
    local taken, i = 0, 0
    for line in output:gmatch("[^\n]*\n") do
      i = i + 1
      local ok, conf = pcall(parse, texts[i])
      taken = taken + (ok and 1 or 0)
      if ok then equal(tokens_of(conf), line:sub(1, -2)) end
    end
    equal(i, #texts)
    truthy(taken > 20)
  end)
end)
