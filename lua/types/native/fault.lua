--- @meta native.fault

--- Fail points: `make fault` builds a neap in which NEAP_FAULT=SITE:ORDINAL:before|after=kill|stop|error picks one. In a
--- release both functions do nothing.
--- @class native.fault
local points = {}

--- @param site "journal"|"call"
function points.before(site) end

--- @param site "journal"|"call"
function points.after(site) end

return points
