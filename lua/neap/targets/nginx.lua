--- nginx on a host: its configuration edited, tested and reloaded, and a page of it looked at.
local effect     = require "neap.engine.effect"
local fault      = require "native.error"
local file       = require "neap.targets.file"
local hosts      = require "neap.targets.connection"
local nginx_conf = require "neap.targets.nginx.conf"
local shell      = require "neap.targets.shell"
local task       = require "native.task"
local witness    = require "neap.targets.witness"

local nginx = {}

local DEADLINE = 10  -- seconds for new workers, and for the page
local PAUSE    = 0.2 -- seconds between two looks

local OPTIONS = {
  check = true, become = true, reload = true, main = true, pid = true, keep = true, irreversible = true,
}
local CHECKS = { url = true, address = true, host_header = true, body = true, status = true, timeout = true }

-- Which nginx: its main file where that is not the built-in one, and how it is told to reload.
local function target_of(host, options)
  local become = options.become
  if become == nil then become = "root" end
  return {
    host = hosts.name(host), become = become, reload = options.reload or "signal",
    main = options.main, pid = options.pid or "/run/nginx.pid",
  }
end

local function ask(target, argv, ok)
  return hosts.exec(target.host, argv, { become = target.become, reads = true, ok = ok, timeout = 60 })
end

local function program(target, ...)
  local argv = { "nginx", ... }
  if target.main then
    argv[#argv + 1] = "-c"
    argv[#argv + 1] = target.main
  end
  return argv
end

-- The line that says why, without nginx's own prefix: "nginx: [emerg] ", or time, "[emerg] " and "PID#TID: ".
local function reason(output)
  local line = output:match("%[emerg%] ([^\n]+)") or output:match("%[%a+%] ([^\n]+)") or output:match("[^\n]+")
  return line and line:gsub("^%d+#%d+: ", "") or "no output"
end

--- Has nginx read its configuration as it is on disk. Raises `remote` with nginx's own lines where it refuses it.
--- @param target { host: string, become: string, main: string? }
nginx.test = effect.read("nginx.test", function(target)
  local result = ask(target, program(target, "-t", "-q"), { 0, 1 })
  if result.status == 0 then return end
  local output = result.err .. result.out
  fault.raise {
    kind = "remote", host = target.host, code = result.status, output = output,
    message = ("nginx -t failed on %s: %s"):format(target.host, reason(output)),
  }
end)

-- The workers by pid, true for those that take new connections; nil where nginx does not run.
local function workers(target)
  local master = ask(target, { "cat", target.pid }, { 0, 1 }).out:match("%d+")
  if not master then return nil end
  local found = {}
  for line in ask(target, { "ps", "-ww", "--ppid", master, "-o", "pid=,args=" }, { 0, 1 }).out:gmatch("[^\n]+") do
    local pid, rest = line:match("^%s*(%d+)%s+nginx: worker process(.*)$")
    if pid then found[pid] = not rest:find("shutting down", 1, true) end
  end
  return found
end

local function workers_before(target)
  local before = workers(target)
  if before then return before end
  fault.raise {
    kind = "missing", host = target.host,
    message = ("nginx does not run on %s: no pid in %s"):format(target.host, target.pid),
  }
end

-- Whether workers serve, and all of them are newer than `before`.
local function took_over(before, now)
  local any = false
  for pid, serves in pairs(now or {}) do
    if serves and before[pid] ~= nil then return false end
    any = any or serves
  end
  return any
end

local function await_new_workers(target, before)
  local deadline = task.now() + DEADLINE
  while not took_over(before, workers(target)) do
    if task.now() > deadline then
      fault.raise {
        kind = "remote", host = target.host, hint = "nginx says why in its error log",
        message = ("nginx on %s has no new workers %d s after the reload"):format(target.host, DEADLINE),
      }
    end
    task.sleep(PAUSE)
  end
end

local function reload_command(target)
  return target.reload == "service" and { "service", "nginx", "reload" } or program(target, "-s", "reload")
end

effect.action "nginx.reload" {
  timeout = 60,
  run = function(target, _, call)
    local before = workers_before(target)
    witness.run(target.host, call, reload_command(target), { become = target.become, timeout = call.timeout })
    await_new_workers(target, before)
  end,
  prepare = witness.prepare, take = witness.take, release = witness.release,
  show = function(target) return target.host .. " nginx" end,
  says = function() return "nginx -t, then reload" end,
}

--- One look at a page, by curl on the host itself.
--- @param target { host: string }
--- @param check { url: string, address: string?, host_header: string? }
--- @return { status: integer, body: string }  status 0 where there was no answer; body then says why
nginx.page = effect.read("nginx.page", function(target, check)
  local argv = { "curl", "--silent", "--show-error", "--max-time", "5", "--write-out", "\n%{http_code}" }
  local function add(...) table.move({ ... }, 1, 2, #argv + 1, argv) end
  if check.address then add("--connect-to", "::" .. check.address .. ":") end
  if check.host_header then add("--header", "Host: " .. check.host_header) end
  add("--", check.url)
  local result = hosts.exec(target.host, argv, { reads = true, ok = "any", timeout = 10 })
  local body, status = result.out:match("^(.*)\n(%d+)$")
  if result.status ~= 0 or not body then return { status = 0, body = result.err } end
  return { status = tonumber(status), body = body }
end)

local function is_as_wanted(page, check)
  return page.status == (check.status or 200) and (not check.body or page.body:find(check.body) ~= nil)
end

local function refuse_page(target, page, check)
  local answer = page.status == 0 and "with nothing" or "with status " .. page.status
  if page.status == (check.status or 200) then answer = ("without %q"):format(check.body) end
  fault.raise {
    kind = "verify", host = target.host, code = page.status, output = page.body:sub(-2000),
    message = ("%s answers %s %s"):format(target.host, check.url, answer),
  }
end

--- Waits until a page of a host is as it shall be; raises `verify` with the last answer.
--- Not asked while planning, for it would show the world before the change.
--- @param host string|table
--- @param check { url: string, address?: string, host_header?: string, body?: string, status?: integer, timeout?: number }
---   address: to connect to instead of the url's, so that a site's own name is asked of this host; body: a Lua pattern;
---   status: default 200; timeout: seconds, default 10
function nginx.check_page(host, check)
  shell.check_options(check, CHECKS, 2)
  if effect.planning() then return end
  local target, page = { host = hosts.name(host) }, nil
  local deadline = task.now() + (check.timeout or DEADLINE)
  repeat
    if page then task.sleep(PAUSE) end
    page = nginx.page(target, { url = check.url, address = check.address, host_header = check.host_header })
    if is_as_wanted(page, check) then return end
  until task.now() > deadline
  refuse_page(target, page, check)
end

local function edit_text(path, edit)
  return function(text)
    local conf = nginx_conf.parse(text, path)
    edit(conf)
    return conf:text()
  end
end

--- Changes an nginx configuration file by what `edit` does to its document (nginx/conf.lua). If that changed anything:
--- `nginx -t`, then a reload without a failed request. A file that is refused is put back and nothing is reloaded. Then
--- `check`.
--- @param host string|table
--- @param path string
--- @param edit fun(conf: nginx_conf.document)  pure
--- @param options? { check?: table, become?: string|false, reload?: "signal"|"service", main?: string, pid?: string }
---   check: see nginx.check_page; become: default root; reload: by `nginx -s reload`, or by `service nginx reload`;
---   main: the main file, and pid: its pid file, where they are not Debian's
function nginx.edit(host, path, edit, options)
  options = shell.check_options(options, OPTIONS, 2)
  local target = target_of(host, options)
  effect.bracket("nginx.reload", target, function()
    file.edit(host, path, edit_text(path, edit), {
      become = target.become, keep = options.keep, irreversible = options.irreversible,
    })
  end, { test = function() nginx.test(target) end })
  if options.check then nginx.check_page(host, options.check) end
end

return nginx
