--- kubeconfig: what a file says of a cluster is taken or refused; the server is always one of TLS, and what is secret is one.
--- In: the environment's name of the context, the file.
local config = require "neap.targets.k8s.config"
local fs     = require "native.fs"
local secret = require "native.secret"
local task   = require "native.task"

local folder = scratch()
local path, keys = folder .. "/config", secret.keyring()

return {
  parsers = { "neap/targets/k8s/config.lua" },
  run = function(data)
    local context, text = parts(data, 2)
    fs.write(path, text)
    local run = { keys = keys, environment = { policy = {}, clusters = { c = { context = context, kubeconfig = path } } } }
    local took, settings = attempt(task.with_context, { run = run }, config.of, "c")
    if took then
      truthy(settings.server:find "^https://[^/]", "a server without TLS")
      for _, name in ipairs { "key_data", "password", "token" } do
        truthy(settings[name] == nil or secret.is(settings[name]), name .. " is no secret")
      end
      if settings.again then attempt(settings.again) end
    end
    forget_secrets()
  end,
}
