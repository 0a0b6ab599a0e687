--- Runs of RDW's procedures on the lab by the command line, and what the lab's opus says itself: databases, repositories,
--- cluster, AWS and SBAC's other services, each asked past neap.
local console = require "tests.lab.console"
local crypto  = require "native.crypto"
local json    = require "native.json"

local opus = {}

opus.NEAP, opus.FAULTY = "build/neap", "build/fault/neap"

local MOST = 40 -- questions of a run
local ANSWER = "resume %d --env rdw/lab --foreground --yes --answer done --reason 'the test says so'"

-- ---- runs ----

--- Output and exit status of neap. `setting` is put before the command, as NAME=value.
function opus.neap(words, setting)
  local program = (setting or ""):find "NEAP_FAULT" and opus.FAULTY or opus.NEAP
  return console.shell(("%s timeout 600 %s %s --no-input </dev/null"):format(setting or "", program, words))
end

--- Raises unless the exit status is that one. Returns the output.
function opus.check(output, status, expected)
  if status == expected then return output end
  error(("expected exit status %d, got %s\n%s"):format(expected, tostring(status), output), 2)
end

local Run = {}
Run.__index = Run

--- Begins a run; it goes on by :go_on.
--- @param procedure string
--- @param more? string  further words of the command line
--- @return table run  output, status, number
function opus.run(procedure, more)
  local words = ("run rdw/%s --env lab --foreground --yes %s"):format(procedure, more or "")
  local self = setmetatable({ answers = 0 }, Run)
  self.output, self.status = opus.neap(words)
  self.number = tonumber(self.output:match "run (%d+)") or 1
  return self
end

--- Whether it stands at that question.
function Run:is_at(question) return self.status == 8 and self.output:find(question, 1, true) ~= nil end

--- How many records the journal has.
function Run:records()
  local _, count = console.shell(("%s log %d --env rdw/lab --json"):format(opus.NEAP, self.number)):gsub("\n", "")
  return count
end

--- Answers what it waits for, until it ends or, where that is given, stands at a question.
function Run:go_on(question)
  for _ = 1, MOST do
    if self.status ~= 8 or (question and self:is_at(question)) then break end
    self:answer()
  end
  return self
end

--- Answers one question.
function Run:answer(setting)
  self.answers = self.answers + 1
  self.output, self.status = opus.neap(ANSWER:format(self.number), setting)
  return self
end

--- Takes it up again.
function Run:resume(more)
  local words = "resume %d --env rdw/lab --foreground --yes %s"
  self.output, self.status = opus.neap(words:format(self.number, more or ""))
  return self
end

function Run:roll_back()
  self.output, self.status = opus.neap(("rollback %d --env rdw/lab --foreground --yes"):format(self.number))
  return self
end

--- Raises unless it ended with that status.
function Run:expect(status)
  opus.check(self.output, self.status, status)
  return self
end

-- ---- databases ----

local CLIENT = [[printf '[client]\nhost=%s.rdw.lab\nuser=root\npassword=%%s\nssl-ca=%%s\nssl-verify-server-cert\n' \
  "$(cat ~/root.password)" ~/ca.pem >~/lab/%s.cnf; ]]
local DUMP_MARIADB = [[mariadb-dump --defaults-file=$HOME/lab/%s.cnf %s --all-databases --ignore-database=neap \
  --routines --skip-dump-date --skip-comments --skip-extended-insert |
  grep -v neap | sed 's/ AUTO_INCREMENT=[0-9]*//' | sha256sum]]
local DUMP_POSTGRES = [[PGPASSWORD=$(cat ~/root.password) pg_dump %s --no-comments --exclude-schema=neap \
  -d "host=redshift.rdw.lab port=5439 user=root dbname=%s sslmode=verify-full sslrootcert=$HOME/ca.pem" \
  | grep -v -e '^--' -e restrict | sha256sum]]
local ROLES = "select string_agg(rolname || rolconfig::text, ',' order by rolname) from pg_roles " ..
  "where rolname like 'rdw%'"

--- One answer of PostgreSQL, which stands in for Redshift.
function opus.psql(database, query)
  local text = 'cd /; runuser -u postgres -- psql -XAtq -p 5438 -d %s -c "%s"'
  return console.on("redshift", text:format(database, query))
end

--- One answer of MariaDB, which stands in for Aurora.
function opus.mariadb(host, query) return console.on(host, ('mariadb -Ne "%s"'):format(query)) end

--- Digests of the servers' own dumps; of their structure alone where times stand in the rows.
local function databases(structure)
  local found = {}
  for i, host in ipairs { "warehouse", "reporting" } do
    found[i] = console.shell(CLIENT:format(host, host) .. DUMP_MARIADB:format(host, structure and "--no-data" or ""))
  end
  found[3] = opus.psql("dev", "select string_agg(datname, ',' order by datname) from pg_database")
  found[4] = opus.psql("dev", ROLES)
  local names = { "dev", "reporting_pa", "reporting_ca" }
  if found[3]:find("opus", 1, true) then names[4] = "opus" end
  for _, name in ipairs(names) do
    found[#found + 1] = console.shell(DUMP_POSTGRES:format(structure and "--schema-only" or "", name))
  end
  return table.concat(found, "\n")
end

local COUNTS = [[select (select count(*) from warehouse.import), (select group_concat(label) from warehouse.asmt),
  (select count(*) from warehouse.schema_version)]]

local function counts()
  local found = { opus.mariadb("warehouse", COUNTS) }
  found[2] = console.on("reporting", "mariadb -Ne 'select count(*) from reporting.instructional_resource' 2>&1 || true")
  for _, tenant in ipairs { "pa", "ca" } do
    found[#found + 1] = opus.psql("reporting_" .. tenant, "select count(*), sum(exam_id) from exam_alt_score")
  end
  return table.concat(found, "\n")
end

-- ---- repositories and files ----

--- What each branch of the remotes holds, what is checked out here, with how many files changed; the login's own files.
local function repositories()
  return console.shell [[for r in RDW RDW_Deploy_Opus RDW_Config_Opus RDW_Schema; do
    git -C /srv/git/$r.git for-each-ref --format='%(refname)' | while read ref; do
      echo "$r $ref $(git -C /srv/git/$r.git rev-parse "$ref^{tree}")"
    done
    [ -d ~/git/$r ] || continue
    echo "$r $(git -C ~/git/$r rev-parse HEAD^{tree}) $(git -C ~/git/$r status --porcelain | wc -l)"
  done
  cat ~/.bashrc ~/.pg_service.conf 2>/dev/null | sha256sum
  stat -c '%n %a' ~/.bashrc ~/.pg_service.conf 2>/dev/null]]
end

--- A file of the branch master of a remote.
function opus.of_master(repo, path)
  return console.shell(("git -C /srv/git/%s.git show master:%s"):format(repo, path))
end

-- ---- the cluster ----

local function kubectl(words)
  local program = "$(dirname $HOME)/jump/neap-kube-$(id -u)-lab/bin/kubectl"
  return console.shell(("KUBECONFIG=$HOME/.kube/config %s --context lab %s"):format(program, words))
end

opus.kubectl = kubectl

--- Deployments and services as people have described them, and how many pods run.
function opus.cluster()
  local found = {}
  for _, one in ipairs(json.decode(kubectl "get deployments,services -o json").items) do
    local ports, template = one.spec.ports, one.spec.template
    for _, port in ipairs(ports or {}) do port.nodePort = nil end
    local digest = crypto.sha256(json.encode(template or ports)):sub(1, 8)
    found[#found + 1] = ("%s %s %s %s"):format(one.kind, one.metadata.name, digest, json.encode {
      one.spec.replicas or false, one.spec.type or false, one.status.readyReplicas or 0,
      one.status.loadBalancer and one.status.loadBalancer.ingress or false })
  end
  table.sort(found)
  return table.concat(found, "\n")
end

--- How many pods deployments are to have, by name.
function opus.pods()
  local found = {}
  for _, one in ipairs(json.decode(kubectl "get deployments -o json").items) do
    found[one.metadata.name:gsub("%-deployment$", "")] = one.spec.replicas
  end
  return found
end

-- ---- AWS, and SBAC's other services ----

--- All that a procedure may change in AWS. A snapshot's name has the time in it.
function opus.cloud()
  local text = console.shell "curl -sS --noproxy '*' http://127.0.0.1:5000/lab/state"
  return (text:gsub("%-v1%-0%-%d+", "-v1-0"):gsub("sg%-%x+", "sg"))
end

function opus.services() return console.shell "curl -sS --noproxy '*' http://127.0.0.1:8081/state" end

--- Everything, to be compared within one reset of the lab.
function opus.state()
  return table.concat({ databases(), repositories(), opus.cluster(), opus.cloud(), opus.services() }, "\n")
end

--- The same for runs at different times.
function opus.outcome()
  local parts = { databases(true), counts(), repositories(), opus.cluster(), opus.cloud(), opus.services() }
  return table.concat(parts, "\n")
end

-- ---- what was asked of the targets ----

local READS = { "^%w+ Describe", "^%w+ List", "^%w+ Get", "^%w+ GET ", "^%w+ HEAD " }

local function is_read(line)
  for _, pattern in ipairs(READS) do
    if line:find(pattern) then return true end
  end
  return false
end

local function changes_of_cluster()
  local list = {}
  local namespace = console.shell "sed -n 's/.*namespace: *//p' ~/.kube/config":match "%S+"
  for line in console.shell "grep -h '\"userAgent\":\"neap' ~/lab/audit.log":gmatch "[^\n]+" do
    local event = json.decode(line)
    local reads = event.verb == "get" or event.verb == "list" or event.verb == "watch"
    local is_here = event.objectRef and event.objectRef.namespace == namespace
    local is_change = not reads and not event.requestURI:find("dryRun=All", 1, true)
    if is_here and is_change then list[#list + 1] = event.requestURI end
  end
  return list
end

--- How many requests that change nothing AWS was asked since the last reset, and which ones, of AWS, of SBAC's services
--- and of the cluster, do change something.
--- @return integer reads
--- @return string[] changes
function opus.requests()
  local reads, changes = 0, changes_of_cluster()
  for line in console.shell "cat ~/lab/aws.log":gmatch "[^\n]+" do
    if is_read(line) then reads = reads + 1 else changes[#changes + 1] = line end
  end
  for line in console.shell "cat ~/lab/sbac.log 2>/dev/null":gmatch "[^\n]+" do changes[#changes + 1] = line end
  return reads, changes
end

-- ---- the lab ----

opus.NO_CLUSTER = "there is no Kubernetes control plane: it is not built, and no Go 1.26 is there to build it"

--- The lab in its first state. False where it has no cluster.
--- @return boolean
function opus.reset()
  console.lab "reset"
  return not console.shell "ls ~/lab":find("no-cluster", 1, true)
end

--- The same, as it is before a back-fill: Redshift has its cluster, with the role, and the OLAP migration runs.
--- @return boolean
function opus.reset_for_backfill()
  if not opus.reset() then return false end
  local call = [[curl -sSf -o /dev/null --noproxy '*' http://127.0.0.1:5000/ -d 'Action=CreateCluster]] ..
    [[&Version=2012-12-01&ClusterIdentifier=rdw-opus&NodeType=dc2.large&MasterUsername=root]] ..
    [[&MasterUserPassword=Password1]] ..
    [[&IamRoles.IamRoleArn.1=arn:aws:iam::478575410002:role/redshiftRdwOpusArchiveAccess' -H 'Authorization: ]] ..
    [[AWS4-HMAC-SHA256 Credential=lab/20180101/us-west-2/redshift/aws4_request, SignedHeaders=host, Signature=0']]
  local output, status = console.shell(call)
  opus.check(output, status, 0)
  kubectl "apply -f tests/lab/files/rdw/samples/deploy/migrate-olap-service.yml"
  kubectl "wait --for=condition=Available deployment/migrate-olap-deployment --timeout=60s"
  return true
end

-- ---- kills ----

local KILLS = tonumber(os.getenv "NEAP_KILLS" or os.getenv "NEAP_SOAK" and 40 or 3)

opus.KILLS = KILLS

--- Runs a procedure undisturbed; how many records each of its processes but the first writes, and how it all is then.
--- @return integer[] records  by answer
--- @return string outcome
local function undisturbed(reset, procedure)
  reset()
  local run = opus.run(procedure)
  local sizes, before = {}, run:records()
  while run.status == 8 do
    run:answer()
    local now = run:records()
    sizes[run.answers], before = now - before, now
  end
  run:expect(0)
  return sizes, opus.outcome()
end

--- One of the processes, by the share that it has of all records, and one of its records.
local function some_record(sizes)
  local all = 0
  for _, size in ipairs(sizes) do all = all + size end
  local at = math.random(all)
  for i, size in ipairs(sizes) do
    if at <= size then return i, at end
    at = at - size
  end
end

--- Kills neap at a record of the journal of one of its processes, and resumes it to its end.
local function killed(reset, procedure, sizes)
  local process, record = some_record(sizes)
  local point = ("journal:%d:%s=kill"):format(record, math.random() < 0.5 and "before" or "after")
  reset()
  local run = opus.run(procedure)
  for _ = 2, process do run:expect(8):answer() end
  run:expect(8):answer("NEAP_FAULT=" .. point)
  if run.status == 137 then run:resume() end
  run:go_on()
  return ("answer %d, %s"):format(process, point), run
end

--- Raises unless each of opus.KILLS seeded kills, resumed, leads to where an undisturbed run does.
function opus.check_kills(reset, procedure, seed)
  local sizes, wanted = undisturbed(reset, procedure)
  math.randomseed(seed)
  for _ = 1, KILLS do
    local point, run = killed(reset, procedure, sizes)
    opus.check(point .. "\n" .. run.output, run.status, 0)
    local found = opus.outcome()
    if found ~= wanted then error(("%s: it is\n%s\n\nand not\n%s"):format(point, found, wanted), 2) end
  end
end

return opus
