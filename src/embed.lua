--- Writes all of neap's Lua as an assembler file: the table lua_files of { path, text, length, code, code length }, ended
--- by a path that is NULL. Code is what the compiler makes of the text, so that a start need not; NULL for what is no
--- module. `lua5.4 src/embed.lua OUT.S FILE…`; what lies below lua/ is called as it is there, else by its name.
local target = table.remove(arg, 1)
local code_file = target:gsub("%.S$", ".luac")

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function is_module(path) return path:find "%.lua$" and not path:find "^types/" end

local lines, entries, codes, at = { ".section .rodata" }, {}, {}, 0

local function say(...) lines[#lines + 1] = string.format(...) end

--- The assembler's names for a file's code, which it puts behind the others.
local function add_code(number, path, text)
  if not is_module(path) then return "0, 0" end
  local code = string.dump(assert(load(text, "=" .. path, "t")))
  say("c%d: .incbin %q, %d, %d", number, code_file, at, #code)
  codes[number], at = code, at + #code
  return ("c%d, %d"):format(number, #code)
end

for number, file in ipairs(arg) do
  local path, text = file:match "^lua/(.*)$" or file:match "[^/]*$", read(file)
  say("n%d: .asciz %q", number, path)
  say("t%d: .incbin %q", number, file)
  local code = add_code(number, path, text)
  entries[number] = (".quad n%d, t%d, %d, %s"):format(number, number, #text, code)
  codes[number] = codes[number] or ""
end
say '.section .data.rel.ro,"aw"\n.balign 8\n.global lua_files\nlua_files:'
table.move(entries, 1, #entries, #lines + 1, lines)
lines[#lines + 1] = ".quad 0, 0, 0, 0, 0"
lines[#lines + 1] = '.section .note.GNU-stack,"",@progbits\n'

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

write(code_file, table.concat(codes))
write(target, table.concat(lines, "\n"))
