--- YAML: what was read, written and read again is the same; nodes and plain data agree.
local yaml = require "native.yaml"

return {
  run = function(data)
    local tree = yaml.nodes(data)
    for _, document in ipairs(tree:documents()) do
      if document.root then
        tree:children(document.root)
        truthy(tree:same(document.root, tree, document.root), "a node is not the same as itself")
      end
    end
    local took, value = attempt(yaml.parse, data)
    if not took then return end
    for _, options in ipairs { {}, { flow = true }, { indent = 4, flush = true } } do
      equal(must(yaml.parse, must(yaml.emit, value, options)), value, "written and read again")
    end
  end,
}
