--- A question to a person: what is asked, what there is to see, and what may be answered.
local change = require "neap.cli.view.change"
local change_text = require "neap.cli.view.change_text"

local view = {}

local function add_difference(lines, page, title, before, after)
  lines[#lines + 1] = page:paint("dim", title)
  if before == nil or after == nil then
    local function presence(state) return state == nil and "absent" or "there" end
    lines[#lines + 1] = ("    %s -> %s"):format(presence(before), presence(after))
  end
  for _, line in ipairs(change.diff_lines(change_text.text(before), change_text.text(after), page)) do
    lines[#lines + 1] = "    " .. line
  end
end

local function add_shown(lines, shown, page, kind)
  if kind == "code" then
    for _, line in ipairs(require "neap.cli.view.line".code(shown, page)) do lines[#lines + 1] = "  " .. line end
    return
  end
  if type(shown) == "string" then
    for _, line in ipairs(page:lines(shown)) do lines[#lines + 1] = "  | " .. line end
    return
  end
  if shown.why then lines[#lines + 1] = "  why: " .. page:clean(shown.why) end
  if shown.now ~= nil or shown.before ~= nil or shown.after ~= nil then
    add_difference(lines, page, "  what this run did:", shown.before, shown.after)
    add_difference(lines, page, "  what is there now:", shown.after, shown.now)
  end
end

--- What an option means, where the word alone could be misread at night.
local MEANINGS = {
  conflict = { keep = "leave what is there now", overwrite = "put back what was there before this run",
               stop = "decide later" },
  ["in doubt"] = { applied = "it happened", ["not applied"] = "it did not happen, and cannot any more",
                   stop = "look first, answer later" },
  partial = { again = "do it again", done = "take it for done", stop = "look first, answer later" },
  manual = { done = "it is done", stop = "pause the run here" },
  code = { take = "go on with the new code", leave = "keep the run's own" },
  ["point of no return"] = { stop = "pause the run here" },
  ["point in a rehearsal"] = { stop = "end the rehearsal here, and take all back" },
  window = { ["go on"] = "outside the window, with a reason", stop = "pause the run here" },
}

--- Why the last answer would not do.
local function add_notice(lines, question, page)
  if not question.notice then return end
  for _, line in ipairs(page:wrap("Not yet: " .. page:clean(question.notice), page.width - 2, 2)) do
    lines[#lines + 1] = page:paint("yellow", line)
  end
  if question.kind == "failure" then lines[#lines + 1] = "" end
end

--- @param question { kind: string, text: string, options: string[], shown?: any, path?: string }
--- @param page neap.page
--- @param rows? integer  of the terminal
--- @return string?  nil: there is only a prompt
function view.text(question, page, rows)
  local lines = { "" }
  add_notice(lines, question, page)
  if question.kind == "shell" then return nil end
  if question.kind == "shell change" then return require "neap.cli.view.line".change(question.shown, page) end
  if question.kind == "failure" then
    lines[#lines + 1] = require "neap.cli.view.stand".text(question, page, rows and rows - #lines - 1)
    return table.concat(lines, "\n")
  end
  for _, line in ipairs(page:lines(question.text)) do
    for _, piece in ipairs(page:wrap(line, page.width - 2, 2)) do lines[#lines + 1] = page:paint("bold", piece) end
  end
  if question.shown ~= nil then add_shown(lines, question.shown, page, question.kind) end
  if question.timeout then lines[#lines + 1] = "  within " .. page.duration(question.timeout) end
  local in_rehearsal = type(question.shown) == "table" and question.shown.rehearsal
  local meanings = MEANINGS[in_rehearsal and "point in a rehearsal" or question.kind] or {}
  for _, option in ipairs(question.options or {}) do
    if meanings[option] then
      lines[#lines + 1] = ("  %s  %s"):format(page:left(page:clean(option), 12), page:paint("dim", meanings[option]))
    end
  end
  return table.concat(lines, "\n")
end

return view
