--- MITx on the lab's hosts: its procedures by the command line, a person's answers, and what there is of it.
local console = require "tests.lab.console"
local dns     = require "native.dns"
local fs      = require "native.fs"
local json    = require "native.json"

local stage = {}

stage.NEAP, stage.FAULTY = "build/neap", "build/fault/neap"
local PICTURE = "build/vendor/moto/bin/python tests/lab/mitx/picture.py ~"
local ANSWERS = 12 -- at most

local repository -- of procedures, where it is another than the project's

--- Puts the lab back to its first state.
--- @param folder? string  for procedures with an environment `asking`, which is the lab's but for its policy
--- @param policy? string
function stage.begin(folder, policy)
  repository = folder
  console.lab "reset"
  if not folder then return end
  console.shell("cp -r procedures " .. repository)
  fs.write(repository .. "/procedures/mitx/environments/asking.yml", ("extends: lab.yml\npolicy: %s\n"):format(policy),
    { mode = "0644" })
end

--- neap("plan …"): what it says, and its exit status.
--- @param words string
--- @param setting? string  variables before it
--- @param program? string
function stage.neap(words, setting, program)
  local text = "%s timeout 900 %s %s --no-input </dev/null"
  local path = repository and "NEAP_PATH=" .. repository or ""
  return console.shell(text:format(path .. " " .. (setting or ""), program or stage.NEAP, words))
end

--- The same, which has to end with that status: what it says.
function stage.expect(status, words, setting, program)
  local output, got = stage.neap(words, setting, program)
  if got == status then return output end
  error(("neap %s: expected exit status %d, got %s\n%s"):format(words, status, tostring(got), output), 2)
end

--- The command that starts an upgrade.
--- @param more? string  further arguments
--- @param environment? string
function stage.upgrade(more, environment)
  return ("run mitx/residential-upgrade --env %s -p codename=koa -p hours=6 -p 'starts=28 December, 8:00' %s "):format(
    environment or "lab", more or "") .. "--foreground --yes"
end

--- The same upgrade, planned.
function stage.plan() return (stage.upgrade():gsub("^run", "plan"):gsub(" %-%-foreground %-%-yes", "")) end

--- The command that takes the upgrade up.
function stage.resume(more, environment)
  return ("resume 1 --env mitx/%s --foreground --yes %s"):format(environment or "lab", more or "")
end

--- The same with a person's answer.
--- @param said? string  what neap has said; nil: it waits for something to be done
function stage.answer(environment, said)
  return stage.resume(("--answer %s --reason seen"):format(console.answer_to(said or "")), environment)
end

--- Answers each question until the run ends, or until `until_then` stands in what it says.
--- @return string output
--- @return integer status
function stage.go_on(output, status, until_then, environment)
  for _ = 1, ANSWERS do
    if status ~= 8 or until_then and output:find(until_then, 1, true) then break end
    output, status = stage.neap(stage.answer(environment, output))
  end
  return output, status
end

--- Raises where a run has not stopped with that status, or has not said all of these; white space is one space.
function stage.stopped(output, status, wanted, ...)
  local said, is_there = output:gsub("%s+", " "), status == wanted
  for _, text in ipairs { ... } do is_there = is_there and said:find(text, 1, true) end
  if is_there then return end
  local message = "expected status %d and %q, got %s\n%s"
  error(message:format(wanted, table.concat({ ... }, "; "), tostring(status), output), 2)
end

--- What there is, as boto3, git and the hosts say it.
--- @return table
function stage.picture()
  local text = console.shell(PICTURE)
  local ok, found = pcall(json.decode, text)
  if not ok then error(text, 2) end
  return found
end

--- What a visitor gets of that name: asked of the name server, and fetched from where that leads.
function stage.visit(name)
  local found = dns.query(name, "A", { servers = { "127.0.0.1:5353" } })
  local address = found[#found].value
  return (console.shell(("curl --silent --max-time 10 --connect-to ::%s: http://%s/"):format(address, name)))
end

--- Requests of neap to AWS that are no reads, one a line.
function stage.changing_requests()
  return (console.shell [[grep -vE '^(GET|HEAD) | ([A-Za-z0-9_]+\.)?(Describe|Get|List)[A-Za-z]*$' ~/aws.log || true]])
end

--- Has AWS check signatures, so that the lab's credentials are refused, or take all again.
function stage.refuse_credentials(refused)
  local tell = "curl --silent -H Content-Type:text/plain --data %d http://127.0.0.1:5000/moto-api/reset-auth"
  console.shell(tell:format(refused and 0 or 1000000000))
end

--- Waits until a minion answers its master.
function stage.await_minion(id)
  local ask = "/opt/salt/bin/salt --out=txt -t 3 -L %s test.ping | grep -q True"
  console.on("salt", ("for i in $(seq 40); do %s && exit; done; exit 1"):format(ask:format(id)))
end

return stage
