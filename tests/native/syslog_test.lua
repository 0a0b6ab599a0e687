local syslog = require "native.syslog"

describe("native.syslog", function()
  it("writes a line, whether or not somebody keeps it", function()
    equal(syslog.write "test/lab run 1 seq 2 head abc %s %n", nil)
  end)

  it("takes a text", function() raises(syslog.write, {}) end)
end)
