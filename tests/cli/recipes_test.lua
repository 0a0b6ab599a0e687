--- The recipes of the manual, each run as it stands there, on a run that was made; what they call beside neap and jq is
--- noted instead of done.
local console = require "tests.lab.console"
local embedded = require "native.embedded"
local fs      = require "native.fs"
local json    = require "native.json"

local NEAP = fs.realpath "build"

--- The commands under a heading.
local function recipe(title)
  local text = embedded.text "neap/manual/recipes.md"
  local from = select(2, assert(text:find("\n## " .. title .. "\n", 1, true)))
  return text:match("```sh\n(.-)\n```", from)
end

describe("a recipe", function()
  local folder

  local function run(text)
    local path = folder .. "/recipe.sh"
    fs.write(path, "set -eu\n" .. text .. "\n")
    local setting = "cd %s && PATH=%s/bin:%s:$PATH HOME=%s XDG_STATE_HOME=%s/state "
      .. "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel bash -o pipefail recipe.sh </dev/null"
    local output, status = console.shell(setting:format(folder, folder, NEAP, folder, folder))
    if status ~= 0 then error(output, 2) end
    return output
  end

  --- A program that notes its arguments and its input.
  local function stand_in(name)
    fs.mkdir(folder .. "/bin", "0755")
    local text = ("#!/bin/sh\necho \"$*\" >DIR/%s.said\ncat >DIR/%s.read\n"):format(name, name):gsub("DIR", folder)
    fs.write(("%s/bin/%s"):format(folder, name), text, { mode = "0755" })
  end

  local function read(name) return fs.read(folder .. "/" .. name) end

  before_each(function()
    folder = scratch()
    run(("neap new shop/release --repo .\nsed -i 's,/tmp/neap-shop,%s/out,' procedures/shop/environments/lab.yml\n"
      .. "neap run shop/release --env lab --yes --foreground"):format(folder))
  end)

  it("gives CI its files", function()
    run(recipe "Continuous integration")
    matches(read "tests.xml", "<testsuite .-failures=\"0\"")
    matches(read "plan.md", "## Plan %x+: shop/release on shop/lab")
  end)

  it("gives metrics that Prometheus reads", function()
    run(recipe "Metrics")
    local labels = '{environment="shop/lab",procedure="shop/release"}'
    local text = read "neap.prom"
    truthy(text:find("neap_run_open" .. labels .. " 0\n", 1, true))
    truthy(text:find("neap_run_failed" .. labels .. " 0\n", 1, true))
    matches(text, "neap_run_duration_seconds{[^}]*} %d+\n")
  end)

  it("gives a calendar", function()
    run(recipe "Calendar")
    local text = read "neap.ics"
    matches(text, "^BEGIN:VCALENDAR\r\n")
    matches(text, "DTSTART:%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ\r\n")
    matches(text, "SUMMARY:shop/release on shop/lab: done\r\n")
  end)

  it("gives the system's log a line for each effect", function()
    stand_in "logger"
    fs.remove_tree(folder .. "/out")
    run(recipe "Logs")
    matches(read "logger.read", "run 2: Write the greeting: file.content of local .-/out/greeting\n")
    matches(read "logger.read", "run 2: ended, done\n$")
  end)

  it("gives a trace with a span for each step", function()
    stand_in "curl"
    run(recipe "Traces")
    matches(read "curl.said", "http://otel/v1/traces")
    local spans = json.decode(read "curl.read").resourceSpans[1].scopeSpans[1].spans
    equal({ #spans, spans[1].name, spans[2].name, spans[2].parentSpanId }, { 4, "shop/release on shop/lab",
      "Have a folder", spans[1].spanId })
    equal({ #spans[1].traceId, #spans[1].spanId }, { 32, 16 })
    truthy(tonumber(spans[1].endTimeUnixNano) >= tonumber(spans[4].endTimeUnixNano))
  end)

  it("has at start it at its time", function()
    stand_in "at"
    run(recipe "Scheduling")
    equal(read "at.said", "-t 203012010200\n")
    fs.remove_tree(folder .. "/out")
    run(read "at.read")
    equal(fs.read(folder .. "/out/greeting"), "hello\n")
  end)

  --- What stands behind NAME= in a unit, or in a file of variables.
  local function setting(text, name) return text:match("%f[^\n%z]" .. name .. "=([^\n]*)") end

  it("has systemd begin it again and again", function()
    fs.mkdir(folder .. "/etc/systemd/system", "0755")
    run((recipe "Again and again":gsub("/etc/", folder .. "/etc/")))
    local unit = fs.read("vendor/dist/neap@.service"):gsub("/etc/", folder .. "/etc/")
      :gsub("ExecStart=neap", "ExecStart=" .. NEAP .. "/neap")
    fs.write(folder .. "/etc/systemd/system/neap@.service", unit)
    local verify = "cd %s/etc/systemd/system && systemd-analyze verify ./neap@.service ./neap@shop.timer"
    local said, status = console.shell(verify:format(folder))
    equal({ said:match "neap@[^\n]*", status }, { nil, 0 })
    local variables = fs.read((setting(unit, "EnvironmentFile"):gsub("%%i", "shop")))
    equal(setting(variables, "NEAP_PATH"), "/srv/procedures")
    fs.remove_tree(folder .. "/out")
    stand_in "systemd-inhibit"
    run((setting(unit, "ExecStart"):gsub("%$NEAP_RUN", setting(variables, "NEAP_RUN"))))
    equal(fs.read(folder .. "/out/greeting"), "hello\n")
  end)
end)
