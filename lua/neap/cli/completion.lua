--- `neap completion`: what a shell reads so that it completes neap's words.
local embedded = require "native.embedded"

local completion = {
  summary = "print what a shell needs to complete words: bash, zsh, fish",
  examples = {
    'eval "$(neap completion bash)"', "neap completion zsh >~/.zfunc/_neap",
    "neap completion fish >~/.config/fish/completions/neap.fish",
  },
}

function completion.arguments(parser)
  parser:argument("shell", "bash, zsh or fish"):choices { "bash", "zsh", "fish" }
end

function completion.run(options)
  local text = embedded.text(("neap/cli/completion/neap.%s"):format(options.shell))
  options.console:answer(text)
end

return completion
