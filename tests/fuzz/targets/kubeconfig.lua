--- kubeconfig: what a file says of a cluster is taken or refused; the server is always one of TLS, and what is secret is one.
--- In: the environment's name of the context, the file.
local config  = require "neap.targets.k8s.config"
local fault   = require "native.error"
local fs      = require "native.fs"
local process = require "native.process"
local secret  = require "native.secret"
local task    = require "native.task"

local folder = scratch()
local path, keys = folder .. "/config", secret.keyring()

function process.spawn(argv, options)
  for _, word in ipairs(argv) do truthy(type(word) == "string", "a word that is no text") end
  for name, value in pairs(options.env) do
    truthy(type(name) == "string" and type(value) == "string", "a variable that is no text")
  end
  fault.raise { kind = "missing", message = "nothing is started here" }
end

return {
  parsers = { "neap/targets/k8s/config.lua" },
  run = function(data)
    local context, text = parts(data, 2)
    fs.write(path, text)
    local run = { keys = keys, environment = { policy = { allow_exec = { "./aws", "aws" } },
      clusters = { c = { context = context, kubeconfig = path } } } }
    local took, settings = attempt(task.with_context, { run = run }, config.of, "c")
    if took then
      truthy(settings.server:find "^https://[^/]", "a server without TLS")
      for _, name in ipairs { "key_data", "password", "token" } do
        truthy(settings[name] == nil or secret.is(settings[name]), name .. " is no secret")
      end
      for name, value in pairs(settings) do
        truthy(type(value) == "string" or secret.is(value) or name == "again", name .. " is no text")
      end
      if settings.again then attempt(settings.again) end
    end
    forget_secrets()
  end,
}
