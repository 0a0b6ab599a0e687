--- `neap host add`: makes a host's key known, once a person or a fingerprint vouches for it. A run never does that itself.
local choice  = require "neap.cli.choice"
local failure = require "neap.cli.failure"
local view    = require "neap.cli.view.host"

local host = {
  summary = "make a host's key known",
  examples = {
    "neap host add proxy1",
    "neap host add proxy1 --env encode/lab",
    "neap host add 10.0.4.87 --fingerprint SHA256:2kq8YlKmlMdPp0JqvKQ0bEnbK1Q3YB3vUfgNrTq0nHk",
  },
}

local REFUSED = 1

function host.arguments(parser)
  parser:command_target "what"
  local add = parser:command("add", "add a host's key to known_hosts if it is the right one"):add_help(false)
  add:argument("host", "an address, an alias of ssh_config, or with --env a host of the environment")
  add:option("--env", "the environment whose host it is"):argname "ENV"
  add:option("--fingerprint", "the host's own fingerprint, from its console: add the key if it has this one")
    :argname "SHA256:..."
end

--- The alias and what the environment says beside it.
local function address_of(options)
  if not options.env then return options.host, {} end
  local env = choice.named_environment(options.env)
  local entry = env.hosts[options.host]
  if not entry or entry[1] or not entry.ssh then
    local near = require "neap.near"
    failure.wrong_use(("%s has no host '%s'%s"):format(env.name, options.host, near.hint(options.host, env.hosts)),
      "neap env show " .. env.name)
  end
  return entry.ssh, { user = entry.user, port = entry.port }
end

local function same_fingerprint(found, given)
  local shown = found.host_key:match "SHA256:%S+"
  return shown == given:gsub("=+$", "")
end

--- Whether this key is the host's: by the fingerprint given, or by a person who compares.
local function is_vouched(options, found)
  if options.fingerprint then return same_fingerprint(found, options.fingerprint) end
  local console = options.console
  if not console.may_ask then
    failure.needs_person(("the key of %s is %s, and nobody can be asked whether that is right"):format(found.name,
      found.host_key), "neap host add " .. options.host .. " --fingerprint SHA256:...")
  end
  return console:ask "Is this what the host's own console shows? Type yes to add it: " == "yes"
end

local function answer(options, found, added)
  local console = options.console
  if console.json then
    return console:answer_json { host = found.name, key = found.host_key, file = found.file, added = added,
                                 verdict = found.verdict }
  end
  return console:answer(view.result(found, added, console.out))
end

function host.run(options)
  local ssh = require "neap.targets.ssh"
  local alias, overrides = address_of(options)
  local found = ssh.look(alias, { overrides = overrides })
  if found.verdict == "trusted" then return answer(options, found, false) and 0 end
  if not options.console.json then options.console:tell(view.found(found, options.console.err)) end
  if found.verdict == "revoked" or found.verdict == "changed" then ssh.trust(found) end -- which refuses, and says why
  if not is_vouched(options, found) then
    answer(options, found, false)
    return REFUSED
  end
  ssh.trust(found)
  answer(options, found, true)
end

return host
