--- Repositories for the tests of git: a bare one, a clone of it to work in, and one of a colleague; runs over them.
local fixture = require "tests.targets.fixture"
local process = require "native.process"

local stage = {}
stage.__index = stage

--- A script outside neap's doing; its output.
function stage.sh(text, ...)
  local result = process.run({ "sh", "-c", text, "sh", ... }, { reads = true })
  if result.status ~= 0 then error(("%s\n%s%s"):format(text, result.out, result.err), 2) end
  return result.out
end

local function same(got, wanted)
  if got ~= wanted then error(("it is now\n%s\nand not as before\n%s"):format(got, wanted), 3) end
end

local PEOPLE = [[
set -e
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=C GIT_AUTHOR_EMAIL=c@x GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@x
cd "$1"
]]

local SETUP = PEOPLE .. [[
git init -q --bare -b master remote.git
git clone -q "$2" work 2>/dev/null
cd work
git config user.name N; git config user.email n@x
git switch -q -c master
printf 'one\ntwo\nthree\nfour\nfive\n' >a; echo b >"b c"; mkdir d; echo x >d/ü; chmod +x d/ü
git add -A; git commit -q -m first
git push -q -u origin master
git clone -q ../remote.git ../colleague
echo kept >untracked
]]

--- @param folder string  an empty one
--- @param url? string  of the bare repository as the clone knows it; default: by file://
function stage.new(folder, url)
  local self = setmetatable({ folder = folder, hosts = {}, repo = '{ git = "PATH/work" }' }, stage)
  stage.sh(SETUP, folder, url or ("file://%s/remote.git"):format(folder))
  return self
end

--- Lets a person do something in the working repository, as in `work`, or in another folder beside it.
function stage:person(text, place)
  return stage.sh(PEOPLE .. 'cd "$2"\n' .. text, self.folder, place or "work")
end

local PICTURE = [[
cd "$1/work"
git for-each-ref refs/heads refs/tags; git symbolic-ref -q HEAD || git rev-parse HEAD
git status --porcelain; git ls-files -s; cat .git/config
find . -path ./.git -prune -o -type f -exec sha256sum {} +
find . -path ./.git -prune -o -type f -printf '%m %p\n' | sort
ls .git | grep -v -e logs -e FETCH_HEAD -e ORIG_HEAD -e COMMIT_EDITMSG
git -C ../remote.git for-each-ref
ls .. | grep -v log
]]

--- All that a rollback has to restore, here and at the remote. Branches that stand for the remote's follow it.
function stage:picture() return stage.sh(PICTURE, self.folder) end

--- A trial of these steps; R in them is the repository.
function stage:trial(steps, more_hosts)
  local texts = {}
  for i, text in ipairs(steps) do texts[i] = text:gsub("%f[%w_]R%f[^%w_]", (self.repo:gsub("%%", "%%%%"))) end
  local trial = fixture.trial(texts, self.folder, more_hosts)
  self.last = trial
  return trial
end

--- Runs the steps, then rolls back: all must be as before. `check` looks between.
function stage:there_and_back(steps, check, hosts)
  local before = self:picture()
  local all = { table.unpack(steps) }
  all[#all + 1] = 'fail("back")'
  local trial = self:trial(all, hosts and hosts())
  trial:run "stopped"
  same(trial:failure().message, "back")
  if check then check(self, trial) end
  trial:roll_back "rolled back"
  same(self:picture(), before)
end

--- Runs a step that is refused, with nothing changed: the failure.
function stage:refused(step)
  local before = self:picture()
  local trial = self:trial { step }
  local outcome = trial:run()
  same(self:picture(), before)
  return trial:failure() or outcome.failure
end

--- The steps planned: the effects, flat, and what ended each step's plan. Nothing may have changed.
function stage:plan(steps)
  local before, effects, ended = self:picture(), {}, {}
  for _, step in ipairs(self:trial(steps):plan().phases[1].steps) do
    table.move(step.effects, 1, #step.effects, #effects + 1, effects)
    ended[#ended + 1] = step.ended
  end
  same(self:picture(), before)
  return effects, ended
end

return stage
