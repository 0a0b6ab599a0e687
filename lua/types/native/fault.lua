--- @meta native.fault

--- Fail points: `make fault` builds a neap in which NEAP_FAULT=SITE:ORDINAL:before|after=kill|stop|error picks one. In a
--- release the functions do nothing.
--- @class native.fault
local points = {}

--- @param site "journal"|"call"
function points.before(site) end

--- @param site "journal"|"call"
function points.after(site) end

--- How long to wait: as the variable of that name says, which a release does not ask.
--- @param name string
--- @param seconds number
--- @return number
function points.seconds(name, seconds) end

return points
