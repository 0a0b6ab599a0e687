local capture = require "tests.targets.sql_capture"
local fault   = require "native.error"
local split   = require "neap.targets.sql.split"

local POSTGRES = {
  "select 1", "select 1;", "select 1;select 2;", "select 1; ; ;select 2", "", ";", " \n\t;\n", "\239\187\191select 1;",
  "select 'a;b';", "select 'it''s;';", "select '\\';", "select 'a\nb;\nc'; select 2;", "select '';';';",
  "select 'x--y;';",
  "select E'\\';'; select 2;", "select e'a\\\\'; select 2;", "select E'''\\'';'; select 2;",
  "select xE'\\'; select 2; '",
  "select E'a' '\\'; select 2;", "select 1E'\\';",
  "select 'a'\n'b\\'; select 2;", "select U&'\\0061;'; select U&\"d;\\0061\";", "select B'01;', X'1F;', N'n;';",
  'select "a;b";', 'select "a""b;"; select 2;', 'select "a\\"; select 2;', "select '\";'; select \"';\";",
  "select $$a;b$$;", "select $t$ ; $$ ; $t $t$; select 2;", "select $a$ $b$ ; $b$ $a$; select 2;", "select $é$;$é$;",
  "select a$b$ ; select c$b$;", "select $1; select $2;", "select $1$a$;$a$;", "select $a; $a$ ; $a$ $",
  "select $$;'$$;",
  "select 1 /* ; */ ; select 2;", "/* a ; /* b ; */ c ; */ select 1; select 2;", "select 1 /**/ ; /***/ select 2;",
  "select /*/ ; */ 1; select 2;", "select 1 -- ;\n; select 2 --", "--;\nselect 1;",
  "-- a\n-- b;\n\nselect\n1\n;\n-- end",
  "select 4 - -1; select 4--1;\n;", "select 3 */* ; */ 4;", "/*+ hint ; */ select 1; select 2;",
  "select 1 /* ' */; select 2;",
  "select (1;2); select 3;", "select 1); select (2;",
  "create rule r as on insert to t do also (delete from a; delete from b);",
  "create rule r as on insert to t do also (insert into a values (')'); delete from b); select 1;",
  "create function f() returns int language sql begin atomic select 1; select 2; end; select 3;",
  "create or replace function f() returns int begin atomic select case when a then 1 else 2 end; end; select 3;",
  "CREATE OR REPLACE PROCEDURE p(a int default (1)) BEGIN ATOMIC INSERT INTO t VALUES (1); END; SELECT 3;",
  "create function f(\"begin\" int) returns int as 'select 1; select 2' language sql; select 3;",
  "create /* c */ function f() returns int language sql begin atomic begin; end; end; select 3;",
  "create function f() returns text language sql begin atomic select 'end;'; select \"case\"; end; select 3;",
  "create function f() returns text language sql begin atomic select begin$x; end; select 3;",
  "begin; select 1; end; commit;", "do $$ begin perform 1; end $$; select 2;",
  "create table begin_t (a int); select 1;",
  "create function f() returns int language sql return 1; begin; select 1; end;",
  "select 1 \\g\nselect 2;", "select 1\n\\g\n\\echo a;b\nselect 2;", "select 1 \\gset\nselect 2;",
  "select 1 \\gset p_\nselect 2;",
  "\\set x 1\nselect :x, :'x', :\"x\", :y, a::int, a[1:2] := :x;", "\\set x 'it''s'\nselect :'x';",
  "\\set x a\\\\\nselect 1;",
  "\\set x 'a\\\\b'\nselect :'x';", "\\set x 'a\\nb' c :y\nselect :'x';", "\\set q '\"'\nselect :\"q\";",
  "\\set x 1\nselect ':x', \":x\", $$:x$$ /* :x */ -- :x\n;", "\\set x 1\nselect :{?x}, :{?y};",
  "\\set x 'a, b'\nselect :x;",
  "\\set x 1 \\\\ select :x;\nselect 2;", "\\echo a \\echo b\nselect 1;", "\\echo 'a;b' \"c\\\"\nselect 1;",
  "\\timing\nselect 1;",
  "\\pset format unaligned\n\\x\n\\a \\t\nselect 1;", "copy t from stdin;\n1\t;\n'\n\\.\nselect 1;",
  "COPY t (a, \"to stdout\") FROM STDIN WITH (FORMAT csv);\n\\.\nselect 1;",
  "copy t from stdin;\n1\n\\N\n\\\\.\n\\.x\n",
  "copy t from stdin; -- c\n1\r\n\\.\r\nselect 1;", "copy t from stdin;", "copy t from '/x' ; select 'from stdin';",
  "copy (select 'from stdin') to '/x'; select 1;", "select 1;\r\nselect 2;\r\n",
  "insert into t values ('a;b''', 'c'), ('\n;', ';');",
  "insert into t values ('a\\'); select 2;", "insert into t values (E'\\';'); select 2;",
  "insert into t values ('a:b', 'c'); select 2;",
  "INSERT INTO t SELECT 'x', $$;$$; select 2;", "insert into t values ('--;', '/*;'); select 2;", "inserted; select 2;",
  "insert into t values ('\";', '$$'); insert into t values ('\"'); select \";\";", "select 'unclosed; select 2;",
  "select 1; select \"unclosed; select 2;", "select 1; select $$ unclosed; select 2;",
  "select 1; /* unclosed; select 2;",
}

local MYSQL = {
  "select 1", "select 1;", "select 1;select 2;", "select 1; ; ;select 2", "", ";", " \n\t;\n", "\239\187\191select 1;",
  "select 'a;b';", "select 'it''s;';", "select '\\';'; select 2;", "select 'a\\\\'; select 2;",
  "select 'a\nb;\nc'; select 2;",
  'select "a;b";', 'select "a""b;"; select 2;', 'select "a\\";"; select 2;', "select '\";'; select \"';\";",
  "select '`;'; select `';`;",
  "select `a;b`;", "select `a``b;`; select 2;", "select `a\\`; select 2;", "select '';';';", "select 'x--y;#';",
  "select 1 -- ;\n; select 2;", "select 1 --;\n; select 2;", "--a;b\nselect 1;", "select 1\n--a;b'\n; select 2;",
  "select 1\n --a; b;", "select 5--1; select 2;", "select 5 ---1; select 2;", "select 1 --\t;\n;",
  "select 1 --\n; select 2;", "select 5 --- 1;\n; select 2;", "select 1 # ;\n; select 2;", "select 1#;\n; select 2;",
  "# a ;\nselect 1;",
  "-- a ;\n-- b'\n\nselect\n1\n;\n-- end", "select 1 /* ; */ ; select 2;", "/* a ; */ select 1; select 2;",
  "select 1 /**/ ; select 2;",
  "select /*/ ; */ 1; select 2;", "select 1 /* ' */; select 2;", "select 1 /* a /* b */ ; select 2;",
  "select 3 */* ; */ 4;",
  "/*!40101 set names utf8 */;\nselect 1;", "select 1 /*! + 1 */; select 2;", "select /*!99999 'a;' */ 1; select 2;",
  "/*M!100100 set @a = 1 */; select 2;", "select /*+ max_execution_time(1) */ 1; select 2;",
  "/*+ a */ select 1; select 2;",
  "delimiter ;;\nselect 1; select 2;;\ndelimiter ;\nselect 3;",
  "DELIMITER //\nselect 1; //\nselect 2 / 3 //\ndelimiter ;\nselect 4;",
  "delimiter $$\ncreate procedure p() begin select 1; select '$$'; end$$\ndelimiter ;\nselect 4;",
  "  delimiter //\nselect 1//",
  "select 1; delimiter //\nselect 2; select 3//\ndelimiter ;\nselect 4;", "\\d $$\nselect 1; select 2$$\n\\d ;\n",
  "select 1; use b\n; select 2;", "\xEF\xBB\xBFuse b\nselect 1;",
  "delimiter '//'\nselect 1//\ndelimiter ;\n", "delimiter // -- c\nselect 1;//\nselect 2//\n",
  "delimiter go\nselect 1 go\nselect 2 go",
  "delimiter #\nselect 1 # select 2 #", "delimiter --\nselect 1 -- select 2 --",
  "delimiter //\nselect 1 /* // */ // select 2 //",
  "delimiter ;;\n/*!50003 create trigger t begin a; b; end */;;\ndelimiter ;\n",
  "delimiter //\nselect 'x//y' // select \"//\" // select `//` //",
  "delimiter |\nselect 1 | select 2;|\ndelimiter ;\nselect 3;",
  "select 1\\g select 2\\G select 3;", "select 1 \\g\nselect 2;", "select '\\g'; select 2;", "select \\N; select 2;",
  "use a;\nselect 1;", "use a\nselect 1;", "USE `a`;\nselect 1;", "use a; use b;\n", "select 1; use a;",
  "\\u a\nselect 1;",
  "  use a  \nselect 1;", "use\n", "warnings;\nselect 1;", "\\W\nselect 1;", "nowarning\nselect 1;", "exit\nselect 1;",
  "select 1;\nquit;\nselect 2;", "\\q\nselect 2;", "select 1;\r\nselect 2;\r\n", "select 'a\r\n;'; select 2;",
  "insert into t values ('a;b''', 'c'), ('\n;', ';');", "insert into t values ('a\\'', 'b;'); select 2;",
  "\\- select 1; select 2;",
  "/*M!999999\\- enable the sandbox mode */\nselect 1;",
  "insert into t values ('\";', '#', '-- ', '/*'); select \";\";",
  "create trigger t before insert on a for each row set new.a = 1; select 2;", "select 'é;', `ü;`; select 2;",
  "select 1 ;-- ;\nselect 2;",
  "select 1;# ;\nselect 2;", "help_me; select 1;", "system_user; select 1;", "select 'unclosed; select 2;",
  "select 1; select `unclosed; 2;",
  "select 1; /* unclosed; select 2;",
}

local function pieces(text, size)
  local at = 1
  return function()
    if at > #text then return nil end
    at = at + size
    return text:sub(at - size, at - 1)
  end
end

local function set(values, item)
  local words = split.arguments(item.arguments, values)
  values[words[1]] = table.concat(words, "", 2)
end

local function take_statement(items, item, list, values)
  list[#list + 1] = split.substitute(item, values)
  if not item.data then return end
  local data = {}
  for piece in function() return items:data() end do data[#data + 1] = piece end
  list[#list + 1] = "data: " .. table.concat(data)
end

--- What neap would send, up to where it refuses the script; and what it says then.
local function ours(dialect, text, size)
  local list, values = {}, {}
  local ok, failure = pcall(function()
    local items = split.open(pieces(text, size or 65536), dialect, "it.sql")
    for item in function() return items:next() end do
      if item.text then take_statement(items, item, list, values) end
      if item.command == "set" then set(values, item) end
      if item.command == "use" then list[#list + 1] = "use " .. item.arguments end
      if item.command == "quit" then return end
    end
  end)
  if not ok and not fault.is(failure, "protocol") then error(failure, 0) end
  return list, not ok and failure or nil
end

local function past_nested(text)
  local depth, at = 0, 1
  repeat
    local mark, behind = text:match("([/*][/*])()", at)
    if not mark then return #text + 1 end
    depth = depth + (mark == "/*" and 1 or mark == "*/" and -1 or 0)
    at = (mark == "/*" or mark == "*/") and behind or behind - 1
  until depth == 0
  return at
end

--- A text without the comments before it, which the clients send along, and without what ends it.
local function bare_postgres(text)
  text = text:match "^%s*(.*)$"
  while text:find "^%-%-" or (text:find "^/%*" and not text:find "^/%*%+") do
    text = text:find "^%-%-" and (text:match "^[^\n]*\n%s*(.*)$" or "") or text:sub(past_nested(text)):match "^%s*(.*)$"
  end
  return text:match "^(.-)[%s;]*$"
end

local function bare_mysql(text)
  text = text:match "^%s*(.*)$"
  while text:find "^#" or text:find "^%-%-" or text:find "^/%*[^!M+]" do
    text = text:find "^/" and (text:match "^/%*.-%*/%s*(.*)$" or "") or text:match "^[^\n]*\n%s*(.*)$" or ""
  end
  local before
  repeat
    before, text = text, text:gsub("%s+$", ""):gsub("%s*#[^\n'\"`]*$", ""):gsub("%s*%-%-%s[^\n'\"`]*$", "")
      :gsub("%s*%-%-$", ""):gsub("%s*/%*[^*!+'\"`]*%*/$", "")
  until text == before
  return text
end

local BARE = { postgres = bare_postgres, mysql = bare_mysql }

local function is_only_hints(dialect, text)
  while text:find "^/%*%+" do text = BARE[dialect](text:match "^/%*%+.-%*/(.*)$" or "") end
  return text == ""
end

local function bare(dialect, list)
  local texts = {}
  for _, text in ipairs(list) do
    if not text:find "^data: " then text = BARE[dialect](text) end
    if text:find "^data: " then text = text:gsub("\r", ""):gsub("\\%.\n?$", "") end
    text = text:gsub("\n\n+", "\n"):gsub("\\%-", "") -- neither is sent
    if is_only_hints(dialect, text) then text = "" end
    if text ~= "" and text ~= "SELECT DATABASE()" and text ~= "quit" then texts[#texts + 1] = text end
  end
  return texts
end

--- The mysql client sends what stands behind the delimiter in a comment along with the statement before it.
local function without_comment_behind(list, theirs)
  for i, text in ipairs(theirs) do
    local mine = list[i]
    if mine and text:sub(1, #mine) == mine and text:find("^%s*[#/-]", #mine + 1) then theirs[i] = mine end
  end
end

--- Both lists are the same; of a script that neap refuses, as far as it goes.
local function compare(dialect, script, theirs)
  local list, refusal = ours(dialect, script)
  list, theirs = bare(dialect, list), bare(dialect, theirs)
  if refusal then theirs = { table.unpack(theirs, 1, #list) } end
  if dialect == "mysql" then without_comment_behind(list, theirs) end
  local ok, failure = pcall(equal, list, theirs)
  if not ok then error(("%q\n%s%s"):format(script, failure, refusal and "\nrefused: " .. refusal.message or ""), 0) end
end

local function compare_all(dialect, scripts)
  local theirs = capture[dialect](scratch(), scripts)
  equal(#theirs, #scripts)
  for i, script in ipairs(scripts) do compare(dialect, script, theirs[i]) end
end

-- ---- generated scripts ----

local FRAGMENTS = {
  postgres = {
    "select 1", ";", ";", ";\n", "\n", " ", "'a;b'", "'it''s'", "'", "E'\\';'", "e'\\\\'", "U&'\\;'", '"a;b"', '"x""y"',
    '"', "$$;$$",
    "$a$ $$ ; $b$ $a$", "a$b$", "$1", "$", "/* ; */", "/* /* ; */ */", "-- c ;\n", "--;'\n", "(", ")", "(;)", ":x",
    ":'x'", ':"x"',
    "::int", ":=", ":", "create function f() ", "create or replace procedure p() ", "begin atomic ", " begin ", " end ",
    " case ",
    "create ", "function ", "N'x'", "1E'", "é", "$é$;$é$", "\r\n", "\t", "'a'\n'b'",
    ";copy t from stdin;\n1\t'\n\\.\nselect 1;\n", "-", "/", "*/", "/*+ h */", "\\set x 3\n", "\\g\n", ";\n\\echo a\n",
    "xE'\\'", "_", "1", "a",
  },
  inserts = {
    "insert into t values ('a;','b')", "insert into t values ('a''', 'it;''s'), (1, '')",
    "insert into t values ('--', '/*', '\"', '$$')",
    "insert into t values (E'\\';', 'x')", "insert into t values ('a', 'b\\')", ";", ";", ";\n", "\n", " ", "-- ;'\n",
    "/* ;' */",
    "'a'", "\"b;\"", "$$ ; ' $$", "insert into t values (:'x', ':x')", "select 1;", "'a:b'", "\\set x 3\n",
  },
  mysql = {
    heads = { "", "delimiter //\n", "delimiter $$\n" }, "select 1", ";", ";", ";\n", "\n", " ", "'a;b'", "'it''s'", "'",
    "'\\';'", "'\\\\'", '"a;b"', '"\\";"', '"', "`a;b`", "`x``y`", "`",
    "-- c ;\n", "-", "# c ;\n", "#", "/* ; */ ", "/*! x */", "/*!50000 x */", "/*+ a */ ", "/", "\\g", "\\G", "\\N",
    "//", "$$", ";\nuse a\n", ";use b;", "é", "\t", "1", "a",
    "insert into t values ('a', 'it\\'s;')", ";\nuse c;\n",
  },
}

--- Random, but the same each time.
local function random(seed)
  local state = seed
  return function(count)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return ((state >> 33) % count) + 1
  end
end

local function generated(fragments, count, seed)
  local any, scripts = random(seed), {}
  for i = 1, count do
    local parts = { fragments.heads and fragments.heads[any(#fragments.heads)] or "" }
    for j = 1, any(14) do parts[j + 1] = fragments[any(#fragments)] end
    scripts[i] = table.concat(parts)
  end
  return scripts
end

local function past_marks(text)
  for _, mark in ipairs { "[%s;]+", "/%*%+ %w %*/", "//", "%$%$", "\\[gG]" } do text = text:gsub("^" .. mark, "") end
  return text
end

--- An item's bytes stand in the script where it says, and between two items is nothing that would be carried out.
local function check_places(dialect, script)
  local items = split.open(pieces(script, 65536), dialect, "it.sql")
  local at = 0
  for item in function() return items:next() end do
    truthy(item.offset >= at and item.finish > item.offset)
    local between = script:sub(at + 1, item.offset)
    local before
    repeat
      before = between
      between = bare(dialect, { past_marks(between) })[1] or ""
    until between == before
    if not between:lower():find "^delimiter" then equal(between, "") end
    if item.text and not script:find "\r" then
      equal(script:sub(item.offset + 1, item.offset + #item.text), item.text)
    end
    local _, lines = script:sub(1, item.offset):gsub("\n", "")
    equal(item.line, lines + 1)
    at = item.finish
    while items:data() do at = nil end
    at = at or items.scanner.from + items.scanner.at - 1
  end
end

describe("a script's statements", function()
  it("are those that psql sends", function() compare_all("postgres", POSTGRES) end)

  it("are those that the mysql client sends", function() compare_all("mysql", MYSQL) end)

  it("are those that psql sends for pieces put together at random", function()
    compare_all("postgres", generated(FRAGMENTS.postgres, 300, 1))
    compare_all("postgres", generated(FRAGMENTS.inserts, 100, 2))
  end)

  it("are those that the mysql client sends for pieces put together at random", function()
    compare_all("mysql", generated(FRAGMENTS.mysql, 400, 3))
  end)

  it("are the same however the script is cut into pieces", function()
    for dialect, scripts in pairs { postgres = POSTGRES, mysql = MYSQL } do
      for _, script in ipairs(scripts) do
        local list, refusal = ours(dialect, script)
        for _, size in ipairs { 1, 2, 3, 7 } do
          local again, refused = ours(dialect, script, size)
          equal({ again, refused and refused.message }, { list, refusal and refusal.message })
        end
      end
    end
  end)

  it("stand in the script where they say", function()
    for dialect, fragments in pairs { postgres = FRAGMENTS.postgres, mysql = FRAGMENTS.mysql } do
      for _, script in ipairs(generated(fragments, 600, 4)) do
        local ok, failure = pcall(check_places, dialect, script)
        if not ok and not fault.is(failure, "protocol") then error(("%q\n%s"):format(script, failure), 0) end
      end
    end
  end)

  it("are found or refused in any bytes", function()
    local any, alphabet = random(5), ";'\"`$-/*\\:()#E \n\raA1_{?}!M+NgG.\0\200\255"
    for i = 1, 6000 do
      local bytes = {}
      for j = 1, any(40) do
        local at = any(#alphabet)
        bytes[j] = i % 2 == 0 and string.char(any(256) - 1) or alphabet:sub(at, at)
      end
      for _, dialect in ipairs { "postgres", "mysql" } do ours(dialect, table.concat(bytes), any(9)) end
    end
  end)
end)
