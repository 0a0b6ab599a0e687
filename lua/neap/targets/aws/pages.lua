--- Results that come page by page, and states that are waited for, as the models of AWS describe them.
local fault = require "native.error"
local json  = require "native.json"
local path  = require "neap.targets.aws.path"
local task  = require "native.task"

local pages = {}

local MOST = 100000 -- items of a list that is put together

local function as_list(value) return type(value) == "table" and value or { value } end

--- The parameters of the next page; nil after the last one.
local function next_parameters(paginator, parameters, result)
  if paginator.more_results and not path.find(result, paginator.more_results) then return nil end
  local copy, found = {}, false
  for key, value in pairs(parameters) do copy[key] = value end
  local outputs = as_list(paginator.output_token)
  for i, input in ipairs(as_list(paginator.input_token)) do
    local token = path.find(result, outputs[i])
    found = found or (token ~= nil and token ~= "" and token ~= parameters[input])
    copy[input] = token
  end
  return found and copy or nil
end

--- Calls an operation until it has no more pages; calls see(result) for each.
--- @param service aws.service
--- @param name string
--- @param parameters table
--- @param call fun(parameters: table): table
--- @param see fun(result: table)
function pages.each(service, name, parameters, call, see)
  local paginator = service:paginator(name)
  while parameters do
    local result = call(parameters)
    see(result)
    parameters = paginator and next_parameters(paginator, parameters, result) or nil
  end
end

--- Raises a mistake where an operation does not come page by page.
--- @param service aws.service
--- @param name string
--- @param level integer
function pages.check_list(service, name, level)
  if service:paginator(name) then return end
  error(("%s of %s does not come page by page"):format(name, service.name), level + 1)
end

--- The items of all pages, of the list that the operation is about, which comes page by page.
--- @param service aws.service
--- @param name string
--- @param parameters table
--- @param call fun(parameters: table): table
--- @return any[]
function pages.all(service, name, parameters, call)
  local paginator = service:paginator(name)
  local key, items = as_list(paginator.result_key)[1], json.array {}
  pages.each(service, name, parameters, call, function(result)
    local list = path.find(result, key) or {}
    if #items + #list > MOST then
      fault.raise { kind = "protocol",
        message = ("%s of %s gives more than %d items"):format(name, service.name, MOST) }
    end
    table.move(list, 1, #list, #items + 1, items)
  end)
  return items
end

-- ---- waiters ----

local matchers = {}

function matchers.path(acceptor, result) return result and path.find(result, acceptor.argument) == acceptor.expected end

function matchers.pathAll(acceptor, result)
  local list = result and path.find(result, acceptor.argument)
  if type(list) ~= "table" or #list == 0 then return false end
  for _, item in ipairs(list) do
    if item ~= acceptor.expected then return false end
  end
  return true
end

function matchers.pathAny(acceptor, result)
  for _, item in ipairs(result and path.find(result, acceptor.argument) or {}) do
    if item == acceptor.expected then return true end
  end
  return false
end

function matchers.error(acceptor, _, failure)
  if type(acceptor.expected) == "boolean" then return acceptor.expected == (failure ~= nil) end
  return failure ~= nil and failure.code == acceptor.expected
end

function matchers.status(acceptor, result, failure)
  return acceptor.expected == (failure and failure.status or result and 200)
end

--- What a look means: "success", "failure", "retry"; nil where it matches nothing.
local function state_of(waiter, result, failure)
  for _, acceptor in ipairs(waiter.acceptors) do
    if matchers[acceptor.matcher](acceptor, result, failure) then return acceptor.state end
  end
  if failure then error(failure, 0) end
end

--- Raises a mistake where there is no such waiter, or one that looks at its results in a way that neap does not know.
--- @param service aws.service
--- @param name string
--- @param level integer
function pages.check(service, name, level)
  for _, acceptor in ipairs(service:waiter(name, level + 1).acceptors) do
    if acceptor.argument then path.check(acceptor.argument, level + 1) end
  end
end

--- Waits until something is as a waiter of the model wants it. Raises kind `remote` where it cannot become so any more,
--- `timeout` where it takes longer than the waiter, or `timeout`, allows.
--- @param service aws.service
--- @param name string  "StackCreateComplete"
--- @param parameters table
--- @param call fun(operation: string, parameters: table): table
--- @param options { timeout?: number, every?: number }
--- @return table? result  of the last look
function pages.wait(service, name, parameters, call, options)
  local waiter = service:waiter(name)
  local every = options.every or waiter.delay
  local ends = task.now() + (options.timeout or waiter.delay * waiter.maxAttempts)
  while true do
    local ok, result = pcall(call, waiter.operation, parameters)
    if not ok and not fault.is(result) then error(result, 0) end
    local state = state_of(waiter, ok and result or nil, not ok and result or nil)
    if state == "success" then return ok and result or nil end
    if state == "failure" then
      fault.raise { kind = "remote", code = not ok and result.code or nil,
        message = ("%s of %s will not come about"):format(name, service.name),
        output = ok and json.encode_pretty(result):sub(1, 2000) or result.message }
    end
    if task.now() + every > ends then
      fault.raise { kind = "timeout", message = ("%s of %s has not come about in time"):format(name, service.name) }
    end
    task.sleep(every)
  end
end

return pages
