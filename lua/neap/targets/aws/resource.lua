--- What the states of AWS's services have in common: how they are declared, put so that others see them, and settled.
local account = require "neap.targets.aws.account"
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local json    = require "native.json"
local task    = require "native.task"

local resource = {}

local SEEN_WITHIN, EVERY = 60, 2 -- seconds in which a change has to show where it was made, and between two looks
local FIRST = 0.25 -- seconds before the second look; longer each time

local OPTIONS = { "keep", "irreversible", "timeout" }

--- Waits before another look at what takes its time.
--- @param count integer   looks so far
--- @param longest number  seconds
function resource.pause(count, longest) task.sleep(math.min(longest, FIRST * 2 ^ (count - 1))) end

--- A state may be seen later than it is made; what is not seen in time is for the verification to say.
local function wait_until_seen(get, target, state)
  local ends, count = task.now() + SEEN_WITHIN, 0
  while not effect.same(get(target), state) and task.now() < ends do
    count = count + 1
    resource.pause(count, EVERY)
  end
end

--- Declares a kind of state: get(target), put(target, state, call), show(target); text, timeout, key and take as of any
--- resource.
--- @param name string
--- @param kind table
function resource.declare(name, kind)
  local get, put = kind.get, kind.put
  effect.resource(name) {
    get = get, show = kind.show, text = kind.text or json.encode_pretty, timeout = kind.timeout or 120, key = kind.key,
    put = function(target, state, call)
      put(target, state, call)
      wait_until_seen(get, target, state)
    end,
    take = kind.take or account.taken_by(get),
    meet = account.meet,
  }
end

--- Whether each part is as before or as after.
local function is_between(now, before, after)
  for _, map in ipairs { now, before, after } do
    for name in pairs(map) do
      if not effect.same(now[name], before[name]) and not effect.same(now[name], after[name]) then return false end
    end
  end
  return true
end

--- A resource's take where a change takes several calls and may have been stopped between two: then it is put back to
--- what it was, and made anew.
--- @param get fun(target: table): any
--- @param parts fun(state: table): table<string, any>  what of a state is changed by itself
--- @return fun(target: table, id: string, intent: table): string?, string?
function resource.taken_in_parts(get, parts)
  local function of(state) return state and parts(state) or {} end
  local wait = account.taken_by(get)
  return function(target, id, intent)
    wait(target, id, intent)
    local now = get(target)
    if effect.same(now, intent.after) or effect.same(now, intent.before) then return nil end
    if is_between(of(now), of(intent.before), of(intent.after)) then return "partial", "some of it was changed" end
    return nil
  end
end

--- The options that a word hands on to the engine.
--- @param options table
--- @return table
function resource.of_change(options)
  local given = {}
  for _, name in ipairs(OPTIONS) do given[name] = options[name] end
  return given
end

--- The checked options of a word that changes something.
--- @param options table?
--- @param more table<string, true>
--- @param level integer
--- @return table
function resource.options(options, more, level)
  local known = { keep = true, irreversible = true, timeout = true }
  for name in pairs(more) do known[name] = true end
  local checked = account.check_options(options, known, level + 1) -- no tail call: the level counts this function too
  return checked
end

--- A target: the account and what lies in it.
--- @param service string
--- @param options table
--- @param fields table
--- @return table
function resource.target(service, options, fields)
  local target = account.target(service, options)
  for key, value in pairs(fields) do target[key] = value end
  return target
end

--- The target for a read whose answer no change of this run makes another: a plan asks it after planned changes, too.
--- @param target table
--- @return table
function resource.apart(target)
  local copy = {}
  for key, value in pairs(target) do copy[key] = value end
  copy.account = nil
  return copy
end

--- Makes something that has a name of its own. The request is sent again where it got no answer: that the name is taken
--- then is our own first one.
--- @param target table
--- @param operation string
--- @param parameters table
function resource.make(target, operation, parameters)
  local ok, failure = pcall(account.change, target, operation, parameters, { repeatable = true })
  if not ok and not (fault.is(failure, "conflict") and failure.unclear) then error(failure, 0) end
end

--- Takes away something that has a name of its own, if it is there.
--- @param target table
--- @param operation string
--- @param parameters table
function resource.remove(target, operation, parameters)
  local ok, failure = pcall(account.change, target, operation, parameters, { repeatable = true })
  if not ok and not fault.is(failure, "missing") then error(failure, 0) end
end

--- The tag under which what neap makes bears its effect's name.
resource.MARK = "neap-effect"

--- The mark among tags; nil where neap has not made what bears them.
--- @param tags { Key: string, Value: string }[]?
--- @return string?
function resource.mark_in(tags)
  for _, tag in ipairs(tags or {}) do
    if tag.Key == resource.MARK then return tag.Value end
  end
end

--- Raises kind `conflict`: something has the name already that neap was to give, and is not its own.
--- @param what string  "an image base 7"
--- @param more string  which it is, and when it was made
function resource.refuse_taken(what, more)
  fault.raise { kind = "conflict", code = "taken", message = ("there is %s already, %s"):format(what, more),
    hint = "neap neither takes it for its own nor deletes it: give the new one another name" }
end

--- Whether a mark is of the run that an effect belongs to.
--- @param mark string?    as something bears it
--- @param witness string  the effect's name
--- @return boolean
function resource.is_of_run(mark, witness)
  return mark ~= nil and mark:match "^(.-)%-" == witness:match "^(.-)%-"
end

--- A document of JSON in one form, whatever its spaces and order.
--- @param document string|table
--- @return string
function resource.document(document)
  local value = type(document) == "string" and json.decode(document) or document
  return json.encode(value)
end

--- The same for people.
--- @param document string
--- @return string
function resource.pretty(document) return json.encode_pretty(json.decode(document)) end

--- All pages of an operation that has a Marker, or a NextToken.
--- @param target table
--- @param name string
--- @param parameters table
--- @param list string  the member that holds the items
--- @return any[]
function resource.all(target, name, parameters, list)
  local items, given = {}, {}
  for key, value in pairs(parameters) do given[key] = value end
  repeat
    local page = account.read(target, name, given)
    for _, item in ipairs(page[list] or {}) do items[#items + 1] = item end
    given.Marker, given.NextToken = page.Marker or page.NextMarker, page.NextToken
  until not given.Marker and not given.NextToken
  return items
end

return resource
