--- @meta native.syslog

--- Lines in the machine's log of authorizations, which the runs' own group cannot rewrite.
--- @class native.syslog
local syslog = {}

--- A line of the facility authpriv under the name neap. It waits for nobody and tells no failure.
--- @param text string
function syslog.write(text) end

return syslog
