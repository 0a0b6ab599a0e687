--- The leave to change: calls that can change something are refused by C outside a kind's put, run, undo and take.
local effect  = require "neap.engine.effect"
local process = require "native.process"
local words   = require "neap.words"
local world   = require "tests.engine.world"

local ran -- how often the program was run

local function touch()
  process.run { "true" }
  ran = ran + 1
end

effect.resource "leave.in_get" { late = false, get = function() touch() return 1 end, put = function() end }
effect.resource "leave.in_put" { late = false, get = function() return ran end, put = touch }
effect.action "leave.in_done" { late = false, run = function() end, done = function() touch() return true end }

before_each(function()
  ran = 0
  words.fakes.touch = touch
  words.fakes.touching_read = effect.read("leave.read", touch)
end)

after_each(function() words.fakes.touch, words.fakes.touching_read = nil, nil end)

local function started(text) return world.new(('step "A" { run = function() %s end }'):format(text)):start() end

local function refused(text)
  local outcome = started(text)
  return outcome.failure and outcome.failure.kind == "denied" and ran == 0
end

describe("the leave to change", function()
  it("is not a step's own, nor a read's, nor a get's, whatever they call", function()
    truthy(refused "touch()")
    truthy(refused "touching_read()")
    truthy(refused 'effect.change("leave.in_get", "t", function() return 2 end)')
    truthy(refused 'parallel { a = touch }')
    truthy(refused 'effect.change("leave.in_put", "t", function() touch() return 2 end)')
  end)

  it("is a put's", function()
    equal(started('effect.change("leave.in_put", "t", function() return 1 end)').status, "done")
    equal(ran, 1)
  end)

  it("is nobody's while planning", function()
    local texts = { "touch()", "touching_read()", 'effect.change("leave.in_get", "t", function() return 2 end)' }
    for _, text in ipairs(texts) do
      raises(world.plan, world.new(('step "A" { run = function() %s end }'):format(text)))
    end
    local model = world.new([[step "A" { run = function()
      effect.change("leave.in_put", "t", function() return 1 end) end }]]):plan()
    equal({ model.counts.effects, ran }, { 1, 0 })
  end)
end)
