--- Faults put into the engine on purpose: each must be found, or the simulator proves nothing. A replacement whose text is
--- not in the module any more is an error, so that none of them rots.
return {
  { name = "the call is made before its intent is durable", module = "call",
    text = [[writer:append(intent)
  writer:flush()
]],
    replacement = "writer:append(intent)\n" },
  { name = "the end is written before the call", module = "call",
    text = "local ok, result = pcall(act_and_verify, branch, intent, act, verify)",
    replacement = [[call.finish(branch, intent, "done", { how = "reply" })
  local ok, result = pcall(act_and_verify, branch, intent, act, verify)]] },
  { name = "the end is written twice", module = "call",
    text = [[call.finish(branch, intent, "done", { how = "reply", result = result })]],
    replacement = [[call.finish(branch, intent, "done", { how = "reply", result = result })
  call.finish(branch, intent, "done", { how = "reply", result = result })]] },
  { name = "what was put is not verified", module = "call",
    text = "if verify then call.inside(branch, { inside = true }, verify, given) end",
    replacement = "" },
  { name = "an ambiguous error is taken for a failure", module = "call",
    text = "if refused and begun == 0 then",
    replacement = [[if refused and begun == 0 or fault.is(failure, "lost") or fault.is(failure, "timeout") then]] },
  { name = "a refusal is believed after a call was begun", module = "call",
    text = "if refused and begun == 0 then",
    replacement = "if refused then" },
  { name = "nothing is settled at a resume", module = "recover",
    text = "for _, doubtful in ipairs(self.state:in_doubt()) do settle_one(self, doubtful) end",
    replacement = [[for _, doubtful in ipairs(self.state:in_doubt()) do
      write_end(self, doubtful, "void", { how = "settled" })
    end]] },
  { name = "settling looks and does not take the witness", module = "settle",
    text = [[  if kind.take then
    local verdict, detail = kind.take(effect.target, effect.witness, effect)
    if verdict then return verdict, detail end
  else]],
    replacement = [[  if kind.take and not kind.get then
    local verdict, detail = kind.take(effect.target, effect.witness, effect)
    if verdict then return verdict, detail end
  else]] },
  { name = "what only compares is compared at once", module = "settle",
    text = "if kind.late ~= false and left > 0 then task.sleep(left) end",
    replacement = "" },
  { name = "a call's time is counted from its intent", module = "settle",
    text = "local left = began + (effect.timeout or 0) - task.now()",
    replacement = [[local left = require("native.clock").parse(effect.time) + (effect.timeout or 0)
      - require("native.clock").now()]] },
  { name = "a retry takes the same witness", module = "call",
    text = [[intent.witness = branch.run.uid .. "-" .. crypto.hex(crypto.random(6))]],
    replacement = [[intent.witness = branch.run.uid .. "-" .. data.digest(intent.path, kind.name, intent.target)]] },
  { name = "rollback goes forward", module = "rollback",
    text = "table.sort(list, function(a, b) return a.seq > b.seq end)",
    replacement = "table.sort(list, function(a, b) return a.seq < b.seq end)" },
  { name = "rollback overwrites what somebody else changed", module = "undo",
    text = [[local choice = on_conflict(done, now)]],
    replacement = [[local choice = "overwrite"]] },
  { name = "the point of no return is passed backwards", module = "rollback",
    text = "if not passed or (down_to and down_to > passed.seq) then return end",
    replacement = "if true then return end" },
  { name = "recorded reads are not answered", module = "effect",
    text = [[local item = branch:answer("saw", digest, name)]],
    replacement = [[branch:answer("saw", digest, name)
  local item = nil]] },
  { name = "what a change's function reads is recorded beside the change", module = "effect",
    text = [[after = branch:within({ inside = true }, new_state, before)]],
    replacement = [[after = new_state(before)]] },
  { name = "actions of a failed attempt are made again", module = "branch",
    text = [[local list = self.cursor.carried and self.cursor.carried.actions[digest]
]],
    replacement = [[local list = nil
]] },
  { name = "a bracket that a failed attempt opened is not closed", module = "branch",
    text = [[local item = self.cursor.carried and self.cursor.carried.opened[digest]
]],
    replacement = [[local item = nil
]] },
  { name = "what a test has refused is forgotten by a crash", module = "effect",
    text = [[if not branch.run.state:has_undone(branch.path, bracket.seq) then return pcall(test) end]],
    replacement = [[if true then return pcall(test) end]] },
  { name = "backwards a bracket's run is left out", module = "undo",
    text = [[if done.bracket == "close" then]],
    replacement = [[if done.bracket then]] },
  { name = "who was taken over may still write", module = "fakes/store",
    text = [[  refuse(self, batch)
]],
    replacement = "" },
  { name = "a dirty environment is free for a new run", module = "fakes/store",
    text = "if self.run and self.run ~= run then",
    replacement = "if false then" },
  { name = "a closed run can be taken up again", module = "session",
    text = [[if record.type == "close" then]],
    replacement = "if false then" },
  { name = "the journal's failure is no reason to stop", module = "journal",
    text = [[  if batch.failure then error(batch.failure, 0) end
]],
    replacement = [[  self.broken = nil
]] },
  { name = "an interrupted rollback forgets how far it was to go", module = "run",
    text = "down_to = self.state.to, on_conflict",
    replacement = "on_conflict" },
  { name = "a step that was taken back counts as done", module = "fold",
    text = [[if state.taken_back[path] or step.first_seq >= from then step.status = "undone" end]],
    replacement = "" },
  { name = "a finished step that was taken back counts as done", module = "fold",
    text = [[if state.taken_back[path] or records >> 32 >= from then]],
    replacement = "if false then" },
  { name = "what ended half way is tried again on top", module = "attempt",
    text = [[if known and known.status == "failed" then recover.before_again(run, path) end]],
    replacement = "" },
  { name = "a step's own undo is run, and its effects are undone as well", module = "rollback",
    text = [[      own[path] = true
]],
    replacement = "" },
  { name = "a run is closed without saying what was given up", module = "run",
    text = [[remaining[#remaining + 1] =]],
    replacement = [[remaining[1] =]] },
  { name = "a summary stands for a step that begins anew", module = "summary",
    text = [[record.attempt ~= 1 or record.undoes or]],
    replacement = "record.undoes or" },
  { name = "a summary leaves out the effects", module = "summary",
    text = [[  table.insert(self.lines, ("%d %d\n"):format(intent.seq, record.seq))
]],
    replacement = "" },
}
