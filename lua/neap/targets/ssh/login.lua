--- Who we are to a host: the keys of the agent and of files, tried in OpenSSH's order.
local configured  = require "neap.targets.ssh.settings"
local crypto      = require "native.crypto"
local fault       = require "native.error"
local known_hosts = require "neap.targets.known_hosts"
local native      = require "native.ssh"
local process     = require "native.process"

local login = {}

local function counted(bytes, at) return string.unpack(">s4", bytes, at) end

local function type_of(blob)
  local ok, kind = pcall(counted, blob, 1)
  return ok and kind or "unknown"
end

--- What can be read of a private key without its passphrase: whether it needs one, and in OpenSSH's format the public half.
local function private_key(text)
  local body = text:match("BEGIN OPENSSH PRIVATE KEY%-+%s+(.-)%s+%-+END")
  if not body then
    return { encrypted = text:find("ENCRYPTED", 1, true) ~= nil }
  end
  local ok, cipher, blob = pcall(function()
    local bytes = crypto.unbase64((body:gsub("%s", "")))
    local cipher, at = counted(bytes, #"openssh-key-v1\0" + 1)
    for _ = 1, 2 do
      local _, past = counted(bytes, at)
      at = past
    end
    return cipher, (counted(bytes, at + 4))
  end)
  if not ok then return { encrypted = false } end
  return { encrypted = cipher ~= "none", blob = blob }
end

local function public_blob(path)
  local text = configured.read_file(path)
  local base64 = text and text:match("^%S+%s+(%S+)")
  local ok, blob = pcall(crypto.unbase64, base64 or "-")
  return ok and base64 and blob or nil
end

local function agent_path(settings)
  local path = settings.identityagent or "SSH_AUTH_SOCK"
  if path == "none" then return end
  if path == "SSH_AUTH_SOCK" then return process.environ("SSH_AUTH_SOCK") end
  if path:sub(1, 1) == "$" then return process.environ((path:gsub("[${}]", ""))) end
  return configured.expanded(path, settings, settings.alias)
end

local function agent_keys(settings)
  local path = agent_path(settings)
  if not path or path == "" then return nil, {} end
  local ok, agent = pcall(native.agent, path)
  if not ok then return nil, {} end
  return agent, agent:keys()
end

--- Files in the configured order, with what is known of each.
local function file_keys(settings)
  local keys = {}
  for _, path in ipairs(settings.identityfile) do
    local text = configured.read_file(path)
    local key = text and private_key(text) or { absent = true }
    key.path = path
    key.blob = key.blob or public_blob(path .. ".pub")
    key.certificate = configured.read_file(path .. "-cert.pub") and path .. "-cert.pub" or nil
    if not key.absent or key.blob then keys[#keys + 1] = key end
  end
  return keys
end

--- The keys to be tried, in OpenSSH's order: configured ones that the agent holds, its others, then files.
local function candidates(settings, held, files)
  local by_blob, list = {}, {}
  for _, key in ipairs(files) do
    if key.blob then by_blob[key.blob] = key end
  end
  for _, key in ipairs(held) do
    if by_blob[key.blob] then
      list[#list + 1] = { agent = true, blob = key.blob, name = by_blob[key.blob].path }
      by_blob[key.blob].held = true
    end
  end
  for _, key in ipairs(held) do
    if not by_blob[key.blob] and settings.identitiesonly ~= "yes" then
      list[#list + 1] = { agent = true, blob = key.blob, name = key.comment .. ", agent" }
    end
  end
  for _, key in ipairs(files) do
    if not key.held and not key.absent then list[#list + 1] = key end
  end
  return list
end

local function passphrase_of(key, options)
  local kept = options.shared.passphrases
  if kept[key.path] then return kept[key.path] end
  local text = options.ask and options.ask(("Passphrase of %s: "):format(key.path), { secret = true })
  kept[key.path] = text
  return text
end

--- true, or false and why not
local function try_file(session, user, key, options)
  local passphrase
  if key.encrypted then
    if key.blob and not session:offer(user, key.blob) then return false, "not accepted" end
    passphrase = passphrase_of(key, options)
    if not passphrase then return false, "encrypted, and no passphrase was given" end
  end
  if key.certificate and session:auth_key(user, key.path, key.certificate, passphrase) then return true end
  local accepted, why = session:auth_key(user, key.path, nil, passphrase)
  if accepted then return true end
  if not key.encrypted then return false, why end
  options.shared.passphrases[key.path] = nil
  return false, "the passphrase is wrong, or the key is not accepted"
end

local function key_text(key)
  local blob = key.blob
  local text = blob and type_of(blob) .. " " .. known_hosts.fingerprint(blob) or "key"
  return ("%s (%s)"):format(text, key.path or key.name)
end

local function refuse(settings, methods, tried)
  local who = ("%s@%s"):format(settings.user, settings.alias)
  fault.raise {
    kind = "auth", host = settings.alias,
    message = #tried == 0 and ("%s: no key to log in with"):format(who)
      or ("%s accepts none of the %d keys tried"):format(who, #tried),
    output = table.concat(tried, "\n"),
    hint = ("the server takes: %s; keys come from the agent and from IdentityFile of: ssh -G %s"):format(methods,
      settings.alias),
  }
end

--- Logs in to a session; returns what says with which key, or nil where the server wants none. Raises "auth".
--- @param session table  of native.ssh
--- @param settings table
--- @param options ssh.options
--- @return string?
function login.authenticate(session, settings, options)
  local user = settings.user
  local methods = session:auth_methods(user)
  if not methods then return end
  local tried = {}
  if (","..methods..","):find(",publickey,", 1, true) then
    local agent <close>, held = agent_keys(settings)
    for _, key in ipairs(candidates(settings, held, file_keys(settings))) do
      local accepted, why
      if key.agent then
        accepted, why = session:auth_agent(user, agent, key.blob)
      else
        accepted, why = try_file(session, user, key, options)
      end
      if accepted then return key_text(key) end
      tried[#tried + 1] = ("%s: %s"):format(key_text(key), why)
    end
  end
  refuse(settings, methods, tried)
end

--- Whether there is anything to log in with: a key file, or an agent.
--- @param settings table
--- @return boolean
function login.has_key(settings)
  return #file_keys(settings) > 0 or (agent_path(settings) or "") ~= ""
end

return login
