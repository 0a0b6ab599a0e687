--- The release of ENCODE by the command line, for its tests: runs of it, and what the servers, AWS, the repository and the
--- mail server say of its state. Nothing is asked of neap that one of these can answer.
local console = require "tests.lab.console"
local fs      = require "native.fs"

local encode = {}

encode.ENV    = fs.exists "/usr/lib/postgresql/15" and "lab" or "lab13"
encode.NEAP, encode.FAULTY = "build/neap", "build/fault/neap"
encode.RUN    = ("run encode/release --env %s -p version=88 -p old=87 --foreground --yes"):format(encode.ENV)
encode.GO_ON  = ("resume 1 --env encode/%s --foreground --yes"):format(encode.ENV)
encode.BACK   = ("rollback 1 --env encode/%s --foreground --yes"):format(encode.ENV)
encode.ANSWER = encode.GO_ON .. " --answer done --reason 'the test says so'"

local MANUALS = 4
local version = console.on("old", "ls /etc/postgresql")

encode.NGINX  = "/etc/nginx/nginx.conf"
encode.APACHE = "/etc/apache2/sites-available/encode.conf"
encode.SIGNAL = ("/var/lib/postgresql/%s/main/standby.signal"):format(version)
encode.CONF   = ("/etc/postgresql/%s/main/postgresql.conf"):format(version)
encode.MASTER = ("/etc/postgresql/%s/main/master.conf"):format(version)
encode.BACKUPS, encode.UPLOADS = "/var/lib/postgresql/.aws/credentials", "/home/encoded/.aws/credentials"

--- Every file that the procedure touches, by host.
local TOUCHED = {
  proxy1 = { encode.NGINX }, proxy2 = { encode.NGINX }, old = { encode.SIGNAL, encode.APACHE },
  new = { encode.CONF, encode.APACHE, encode.BACKUPS, encode.UPLOADS, "/var/spool/cron/crontabs/root" },
}

-- ---- runs ----

--- neap("plan …"): what it says, and its exit status.
function encode.neap(words, setting, program)
  local text = "%s timeout 300 %s %s --no-input </dev/null"
  return console.shell(text:format(setting or "", program or encode.NEAP, words))
end

--- What neap says; raises unless it ends with that exit status.
function encode.expect(status, words, setting, program)
  local output, got = encode.neap(words, setting, program)
  local message = "neap %s: expected exit status %d, got %d\n%s"
  if got ~= status then error(message:format(words, status, got, output), 2) end
  return output
end

--- Says to what a run asks what a person would, until it ends.
function encode.answer(output, status)
  for _ = 1, MANUALS do
    if status ~= 8 then break end
    local more
    more, status = encode.neap((encode.ANSWER:gsub("done", console.answer_to(output), 1)))
    output = output .. more
  end
  return output, status
end

--- A whole run; raises unless it ends with that exit status.
function encode.run(status, more, setting)
  local output, got = encode.answer(encode.neap(encode.RUN .. " " .. (more or ""), setting))
  if got ~= status then error(("expected exit status %d, got %d\n%s"):format(status, got, output), 2) end
  return output
end

-- ---- what is there ----

local FILES = [[for f in %s; do echo $f; [ ! -e $f ] || { sha256sum <$f; stat -c '%%a %%U:%%G' $f; }; done]]

--- Digest, mode and owner of each touched file.
function encode.files()
  local state = {}
  for host, paths in pairs(TOUCHED) do state[host] = console.on(host, FILES:format(table.concat(paths, " "))) end
  return state
end

local SERVER = "cd /; runuser -u postgres -- psql -XAtqc 'select pg_is_in_recovery()'; "
  .. "pgrep -fx cat >/dev/null && echo indexes || true"

--- Who serves, who takes writes, and where the file indexer runs.
function encode.servers()
  local state = {}
  for _, proxy in ipairs { "proxy1", "proxy2" } do state[proxy] = console.page(proxy) end
  for _, host in ipairs { "old", "new" } do
    local said = console.on(host, SERVER)
    state[host] = { recovery = said:find "^t" ~= nil, indexes_files = said:find "indexes" ~= nil }
  end
  return state
end

encode.BEFORE = { proxy1 = "v87.production.lab", proxy2 = "v87.production.lab",
  old = { recovery = false, indexes_files = true }, new = { recovery = true, indexes_files = true } }
encode.AFTER = { proxy1 = "v88.production.lab", proxy2 = "v88.production.lab",
  old = { recovery = true, indexes_files = false }, new = { recovery = false, indexes_files = true } }

local function ask(service, words)
  return (console.shell("tests/lab/stand-ins/encode/ask-aws http://127.0.0.1:5000 " .. service .. " " .. words))
end

--- Keys of a user by their id, with their status.
function encode.keys(user)
  local keys = {}
  for one in ask("iam", "Version=2010-05-08 Action=ListAccessKeys UserName=" .. user):gmatch "<member>(.-)</member>" do
    keys[one:match "<AccessKeyId>(.-)<"] = one:match "<Status>(.-)<"
  end
  return keys
end

--- States of the instances that are not ended, by name; a name may be there twice: "running running".
function encode.instances()
  local found = {}
  local reply = ask("ec2", "Version=2016-11-15 Action=DescribeInstances")
  for one in reply:gmatch "<instancesSet>(.-)</instancesSet>" do
    local name = one:match "<key>Name</key>%s*<value>(.-)</value>" or one:match "Name.-<value>(.-)</value>"
    local state = one:match "<instanceState>.-<name>(.-)</name>"
    if state ~= "terminated" then found[name] = found[name] and found[name] .. " " .. state or state end
  end
  return found
end

--- Keys of the objects of a bucket, sorted.
function encode.objects(bucket)
  local list = {}
  local reply = console.shell(("curl -sSf 'http://127.0.0.1:5000/%s?list-type=2'"):format(bucket))
  for key in reply:gmatch "<Key>(.-)</Key>" do list[#list + 1] = key end
  table.sort(list)
  return list
end

--- Branches and tags, here and at the remote.
function encode.repository()
  return (console.shell [[for folder in ~/git/encoded /srv/git/encoded.git; do
    git -C $folder for-each-ref --format='%(refname) %(objectname)' refs/heads refs/tags; done]])
end

--- How often the data was upgraded.
function encode.upgrades()
  return console.on("new", [[cd /; runuser -u postgres -- psql -XAtqd encoded -c \
    "select string_agg(distinct properties->>'schema_version', ',') from propsheets"]])
end

--- All that a rollback brings back. Inactive keys that were deleted stay so, and those that are made are named by AWS: the
--- statuses of those in use are compared.
function encode.state()
  return { files = encode.files(), servers = encode.servers(), repository = encode.repository(),
    instances = encode.instances(), logs = encode.objects "encoded-logs",
    backups = encode.keys "write-encoded-backups" ["AKIABACKUPSINUSE0087"],
    uploads = encode.keys "upload-encode-files" ["AKIAUPLOADSINUSE0087"] }
end

--- How many keys the two users have.
function encode.key_count()
  local count = 0
  for _, user in ipairs { "write-encoded-backups", "upload-encode-files" } do
    for _ in pairs(encode.keys(user)) do count = count + 1 end
  end
  return count
end

return encode
