--- Edits of the file that BENCH_YAML names, as yaml.edit makes them; the new text goes beside it.
local fs        = require "native.fs"
local yaml_edit = require "neap.targets.yaml.edit"

it("edits", function()
  local path = os.getenv "BENCH_YAML"
  local document = yaml_edit.parse(fs.read(path), path)
  for i = 0, tonumber(os.getenv "BENCH_EDITS") - 1 do
    document:set(("services.svc%d.replicas"):format(i * 5), 90 + i)
  end
  fs.write(path .. ".new", document:text())
end)
