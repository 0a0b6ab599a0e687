--- `neap rehearse`: forward, back, and forward again, where nobody is hurt by it.
local begin   = require "neap.cli.begin"
local choice  = require "neap.cli.choice"
local failure = require "neap.cli.failure"

local rehearse = {
  summary = "run a procedure forward, back, and forward again, and compare",
  examples = {
    "neap rehearse encode/release --env lab -p version=64 -p old=63",
    "neap rehearse encode/release --env test -p version=64 -p old=63 --no-input",
  },
}

rehearse.arguments = begin.add_options

--- A guarded environment is what rehearsals are made for, not where.
local function refuse_guarded(env, request)
  if env.policy.guard ~= "production" then return end
  for _, name in ipairs(choice.environment_names(env.group)) do
    if name ~= env.name:match "[^/]*$" then
      failure.wrong_use(env.name .. " is guarded: there nothing is rehearsed",
        ("neap rehearse %s --env %s"):format(request.name, name))
    end
  end
  failure.wrong_use(env.name .. " is guarded: there nothing is rehearsed", "neap env list")
end

function rehearse.run(options)
  local request = choice.request(options, "rehearse")
  refuse_guarded(request.environment, request)
  request.rehearsal = true
  return begin.start("rehearse", options, request)
end

return rehearse
