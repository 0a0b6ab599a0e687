-- The procedures of RDW by the command line, on the lab's databases and repositories. What is said of a server or of a
-- repository was asked of that one.
local console = require "tests.lab.console"

local NEAP, FAULTY = "build/neap", "build/fault/neap"
local KILLS        = tonumber(os.getenv "NEAP_KILLS" or os.getenv "NEAP_SOAK" and 40 or 3)
local UPGRADE      = "run rdw/upgrade-v1.1 --env lab"
local ALL          = 40 -- manual steps, at most

local function neap(words, setting, program)
  local text = "%s timeout 300 %s %s --no-input </dev/null"
  return console.shell(text:format(setting or "", program or NEAP, words))
end

--- Answers what a run waits for until it ends, or until `until_then` stands in what it says; the last exit status.
local function go_on(output, status, until_then)
  for _ = 1, ALL do
    if status ~= 8 or (until_then and output:find(until_then, 1, true)) then break end
    output, status = neap "resume 1 --env rdw/lab --foreground --yes --answer done --reason 'the test says so'"
  end
  return output, status
end

local function run(until_then, setting, program)
  local output, status = neap(UPGRADE .. " --foreground --yes", setting, program)
  return go_on(output, status, until_then)
end

local function check(output, status, expected)
  if status == expected then return output end
  error(("expected exit status %d, got %s\n%s"):format(expected, tostring(status), output), 2)
end

-- ---- what is there ----

local CLIENT = [[printf '[client]\nhost=%s.rdw.lab\nuser=root\npassword=%%s\nssl-ca=%%s\nssl-verify-server-cert\n' \
  "$(cat ~/root.password)" ~/ca.pem >~/%s.cnf; ]]
local DUMP_MARIADB = [[mariadb-dump --defaults-file=$HOME/%s.cnf %s --all-databases --ignore-database=neap --routines \
  --skip-dump-date --skip-comments | grep -v neap | sed 's/ AUTO_INCREMENT=[0-9]*//' | sha256sum]]
local DUMP_POSTGRES = [[PGPASSWORD=$(cat ~/root.password) pg_dump %s --no-comments --exclude-schema=neap \
  -d "host=redshift.rdw.lab port=5439 user=root dbname=%s sslmode=verify-full sslrootcert=$HOME/ca.pem" \
  | grep -v -e '^--' -e restrict | sha256sum]]
local ROLES = "select string_agg(rolname || rolconfig::text, ',' order by rolname) from pg_roles " ..
  "where rolname like 'rdw%'"

local function psql(database, query)
  local text = 'cd /; runuser -u postgres -- psql -XAtq -p 5438 -d %s -c "%s"'
  return console.on("redshift", text:format(database, query))
end

--- Digests of the servers' own dumps; of their structure alone where times stand in the rows.
local function databases(structure)
  local found = {}
  for i, host in ipairs { "warehouse", "reporting" } do
    found[i] = console.shell(CLIENT:format(host, host) .. DUMP_MARIADB:format(host, structure and "--no-data" or ""))
  end
  found[3] = psql("dev", "select string_agg(datname, ',' order by datname) from pg_database")
  found[4] = psql("dev", ROLES)
  local there = psql("dev", "select count(*) from pg_database where datname = 'opus'") == "1"
  for _, name in ipairs(there and { "dev", "opus", "reporting_pa" } or { "dev", "reporting_pa" }) do
    found[#found + 1] = console.shell(DUMP_POSTGRES:format(structure and "--schema-only" or "", name))
  end
  return found
end

local COUNTS = [[select (select count(*) from warehouse.import), (select group_concat(label) from warehouse.asmt),
  (select count(*) from warehouse.schema_version)]]

--- What each branch of the remotes holds, and what is checked out here, with how many files changed.
local function repositories()
  return console.shell [[for r in RDW RDW_Deploy_Opus RDW_Config_Opus RDW_Schema; do
    git -C /srv/git/$r.git for-each-ref --format='%(refname)' | while read ref; do
      echo "$r $ref $(git -C /srv/git/$r.git rev-parse "$ref^{tree}")"
    done
    [ -d ~/git/$r ] || continue
    echo "$r $(git -C ~/git/$r rev-parse HEAD^{tree}) $(git -C ~/git/$r status --porcelain | wc -l)"
  done]]
end

local function state() return table.concat(databases(), "\n") .. "\n" .. repositories() end

--- The same for runs at different times.
local function outcome()
  return table.concat(databases(true), "\n") .. "\n" .. repositories()
    .. console.on("warehouse", ('mariadb -Ne "%s"'):format(COUNTS))
    .. console.on("reporting", 'mariadb -Ne "select count(*) from reporting.instructional_resource"')
end

local function of_master(repo, path)
  return console.shell(("git -C /srv/git/%s.git show master:%s"):format(repo, path))
end

describe("rdw/upgrade-v1.1", function()
  before_each(function() console.lab "reset" end)

  it("is planned without a change, though the repositories are not there yet", function()
    local before = state()
    local output, status = neap "plan rdw/upgrade-v1.1 --env lab"
    check(output, status, 0)
    equal(state(), before)
    matches(output, "known after")
    matches(output, "UNDO if stopped before 5.6")
  end)

  it("brings databases, deployment and configuration to version 1.1", function()
    local output, status = run()
    check(output, status, 0)
    matches(of_master("RDW_Deploy_Opus", "reporting-webapp.yml"), "name: reporting%-webapp%-deployment\n")
    matches(of_master("RDW_Deploy_Opus", "reporting-service.yml"), "mountPath: /opt/artifacts")
    matches(of_master("RDW_Deploy_Opus", "exam-processor-service.yml"), ":1%.1%.0%-RELEASE\n")
    matches(of_master("RDW_Config_Opus", "application.yml"), "\n  school%-year: 2018  ")
    matches(of_master("RDW_Config_Opus", "rdw-ingest-migrate-olap.yml"), "\n    username: rdwopusingest\n")
    matches(of_master("RDW_Config_Opus", "rdw-admin-webapp.yml"), "does not exist")
    equal(console.shell "git -C /srv/git/RDW_Config_Opus.git branch --list v1_1", "")
    local labels = console.on("warehouse", "mariadb -Ne 'select label from warehouse.asmt order by id'")
    equal(labels, "Grade 3 Math (ICA)\nRead Informational Texts\nGrade 8 Math (Summative)")
    equal(console.on("reporting", "mariadb -Ne 'select count(*) from reporting.instructional_resource'"), "4")
    equal(psql("opus", "select count(*) from pg_tables where schemaname = 'reporting'"), "4")
    local passwords = console.shell "grep -rlE '(Root|Ingest|Reporting)-of-the-lab' ~/.local || true"
    equal(passwords, "")
  end)

  it("is rolled back from its last reversible point: dumps, but for schema neap, and repositories as before", function()
    local before = state()
    local output, status = run "Add a node"
    check(output, status, 8)
    truthy(state() ~= before)
    output, status = neap "rollback 1 --env rdw/lab --foreground --yes"
    check(output, status, 0)
    equal(state(), before)
  end)

  it(("ends after each of %d kills as an undisturbed run does"):format(KILLS), function()
    check("", select(2, run()), 0)
    local wanted = outcome()
    math.randomseed(11)
    for _ = 1, KILLS do
      console.lab "reset"
      local point = ("journal:%d:%s=kill"):format(math.random(20, 330), math.random() < 0.5 and "before" or "after")
      local output, status = neap(UPGRADE .. " --foreground --yes", "NEAP_FAULT=" .. point, FAULTY)
      if status == 137 then output, status = neap "resume 1 --env rdw/lab --foreground --yes" end
      output, status = go_on(output, status)
      check(point .. "\n" .. output, status, 0)
      equal({ point, outcome() }, { point, wanted })
    end
  end)
end)

describe("rdw/backfill-alt-score", function()
  before_each(function() console.lab "reset" end)

  local RUN = "run rdw/backfill-alt-score --env lab -p tenant=PA --foreground --yes"

  local function rows(name) return psql("reporting_pa", "select count(*) from " .. name) end

  it("backs the table up, finds the scores, empties the table; a rollback fills it again", function()
    local output, status = go_on(neap(RUN))
    check(output, status, 0)
    equal({ rows "exam_alt_score", rows "exam_alt_score_before_backfill" }, { "0", "3" })
    matches(console.shell(NEAP .. " log 1 --env rdw/lab --json"), '"result":%[19,20%]')
  end)

  it("is rolled back to the table as it was", function()
    local output, status = neap(RUN)
    output, status = go_on(output, status, "Load the rows")
    check(output, status, 8)
    equal(rows "exam_alt_score", "0")
    output, status = neap "rollback 1 --env rdw/lab --foreground --yes"
    check(output, status, 0)
    equal(rows "exam_alt_score", "3")
  end)
end)
