--- A server that stands in for AWS, or for S3 alone, with a run's environment for it, and what boto3 sees of it: a
--- witness that shares no code with neap.
local clients = require "neap.targets.aws.client"
local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local json    = require "native.json"
local mortal  = require "tests.targets.mortal"
local moto    = require "tests.moto"
local process = require "native.process"
local world   = require "tests.targets.aws.world"

local stage = {}
stage.__index = stage

local PYTHON = "build/vendor/moto/bin/python"
local EVERY = process.environ "NEAP_EVERY_CRASH"
local KEYS = "[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = the/secret+of=a%test\n"

local moto_server, boto -- one for all: they take seconds to start

--- A stage over moto; every call empties it.
--- @param folder string  an empty one
function stage.moto(folder)
  if not moto.is_there() then error({ skip = "moto is not installed (make deps)" }, 0) end -- as the word skip does
  moto_server = moto_server or moto.start()
  moto_server:reset()
  return stage.over(folder, moto_server.url)
end

--- A stage over moto with what this Python makes in it, and what that shows.
--- @param folder string  an empty one
--- @param make string
function stage.with(folder, make)
  local self = stage.moto(folder)
  self.make = make
  return self, self:boto(make)
end

--- Empties it, and makes that anew.
function stage:anew()
  moto_server:reset()
  return self:boto(self.make)
end

--- A stage over any server.
--- @param folder string
--- @param url string
function stage.over(folder, url)
  clients.signature_life = { s3 = 0.2, other = 0.2 }
  fs.mkdir(folder .. "/home")
  world.home(folder .. "/home", { credentials = KEYS })
  return setmetatable({ folder = folder, url = url, section = { region = "us-west-2", endpoint = url } }, stage)
end

--- What has to be called after each test.
stage.leave = world.restore

--- What has to be called after the last test of a file.
function stage.finish()
  if moto_server then moto_server:close() end
  if boto then boto:close() end
  moto_server, boto = nil, nil
  clients.signature_life = { s3 = 900, other = 300 }
end

--- Python that runs what it is told, line by line: starting it for each question would take a second.
local BOTO = [[
import boto3, contextlib, io, json, sys, traceback
from botocore.config import Config
known = {}
def run(url, folder, text):
    def client(name):
        key = (url, name)
        if key not in known:
            known[key] = boto3.client(name, endpoint_url=url, region_name='us-west-2', aws_access_key_id='AKIATEST',
                aws_secret_access_key='the/secret+of=a%test', config=Config(retries={'max_attempts': 1}))
        return known[key]
    shown = []
    exec(text, {'client': client, 'show': shown.append, 'url': url, 'folder': folder, 'json': json})
    return shown[-1] if shown else None
for line in sys.stdin:
    try: answer = {'value': run(*json.loads(line))}
    except Exception: answer = {'problem': traceback.format_exc()}
    print(json.dumps(answer, sort_keys=True,
        default=lambda v: v.decode('latin-1') if isinstance(v, bytes) else str(v)), flush=True)
]]

local function next_line(stream)
  local parts = {}
  repeat
    local bytes = stream:read()
    if not bytes then error("Python with boto3 ended: " .. (stream:read_error() or ""), 0) end
    parts[#parts + 1] = bytes
  until bytes:sub(-1) == "\n"
  return table.concat(parts)
end

--- Runs Python with boto3; `client(service)` and `show(value)` are there. Returns what it shows.
--- @param text string
function stage:boto(text)
  boto = boto or process.spawn({ PYTHON, "-c", BOTO }, { reads = true })
  boto:write(json.encode(json.array { self.url, self.folder, text }) .. "\n")
  local answer = json.decode(next_line(boto))
  if answer.problem then error(answer.problem, 2) end
  return answer.value ~= json.null and answer.value or nil
end

--- A trial of these steps, with the stage's own section, policy and secrets.
function stage:trial(steps)
  local trial = fixture.trial(steps, self.folder)
  trial.environment.aws = self.section
  trial.environment.policy, trial.environment.secrets = self.policy or {}, self.secrets
  self.last = trial
  return trial
end

local function same(got, wanted, level)
  got, wanted = json.encode_pretty(got), json.encode_pretty(wanted)
  if got ~= wanted then error(("it is now\n%s\nand not as before\n%s"):format(got, wanted), level + 1) end
end

--- Plans, runs, looks, and rolls back: planning changes nothing, and in the end all is as before. picture: Python that
--- shows all that counts.
function stage:there_and_back(picture, steps, check)
  local before = self:boto(picture)
  local plan = self:trial(steps):plan()
  same(self:boto(picture), before, 2)
  local all = { table.unpack(steps) }
  all[#all + 1] = 'fail("back")'
  local trial = self:trial(all)
  local outcome = trial:run()
  local failure = trial:failure() or outcome.failure or outcome
  if failure.message ~= "back" then error(json.encode_pretty(failure), 2) end
  if check then check(self:boto(picture), plan) end
  trial:roll_back "rolled back"
  same(self:boto(picture), before, 2)
end

--- Runs a step that is refused, with nothing changed: the failure.
function stage:refused(picture, step)
  local before = self:boto(picture)
  local trial = self:trial { step }
  local outcome = trial:run()
  same(self:boto(picture), before, 2)
  return trial:failure() or outcome.failure
end

--- What a plan of a step says where the step itself is a mistake.
function stage:mistake(step)
  local trial = self:trial { step }
  local ok, message = pcall(trial.plan, trial)
  if ok then error("a plan took " .. step, 2) end
  return tostring(message)
end

--- Crashes at each point in turn, with everything made anew by prepare(self); after each, once resumed and once rolled
--- back. Each takes some time: all of them where that is asked for, else some, in turn resumed and rolled back.
--- @param given? { run?: fun(trial: table, at: integer), stride?: integer, after?: fun(picture: any) }  run: as mortal.run,
---   which does without; stride: from one to the next, 5; after: is shown what an undisturbed run leaves
--- @return integer points
function stage:each_crash(prepare, picture, steps, given)
  given = given or {}
  local run, stride = given.run or mortal.run, EVERY and 1 or given.stride or 5
  prepare(self)
  local before = self:boto(picture)
  local _, state = run(self:trial(steps), 0)
  local after = self:boto(picture)
  if given.after then given.after(after) end
  for at = 2, state.points, stride do
    for _, way in ipairs(EVERY and { "resume", "roll_back" } or { at % 2 == 0 and "resume" or "roll_back" }) do
      prepare(self)
      local trial, crash = run(self:trial(steps), at)
      if not crash.dead then error("no crash at point " .. at, 2) end
      if select(2, trial.store:lease()) then
        local status = way == "resume" and "done" or "rolled back"
        local ok, failure = pcall(trial[way], trial, status)
        if not ok then error(("%s at point %d of %d: %s"):format(way, at, state.points, tostring(failure)), 2) end
        same(self:boto(picture), way == "resume" and after or before, 2)
      end
    end
  end
  return state.points
end

return stage
