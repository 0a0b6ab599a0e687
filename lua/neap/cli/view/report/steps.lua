--- The effects of an account by the steps that made them.
local steps = {}

--- @param account neap.account
--- @return table<string, neap.account_effect[]> by_title
--- @return neap.account_effect[] others  of lines that a person typed
function steps.effects(account)
  local found, others = {}, {}
  for _, phase in ipairs(account.phases) do
    for _, step in ipairs(phase.steps) do found[step.title] = {} end
  end
  for _, one in ipairs(account.effects) do table.insert(found[one.step] or others, one) end
  return found, others
end

return steps
