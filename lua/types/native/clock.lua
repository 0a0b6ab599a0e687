--- @meta native.clock

--- What time it is, for people and for the journal.
--- @class native.clock
local clock = {}

--- Seconds since 1970, with fraction.
--- @return number
function clock.now() end

--- "2026-11-21T02:21:42.123Z"
--- @param seconds? number  since 1970; now
--- @return string
function clock.utc(seconds) end

--- By strftime, in the machine's time zone.
--- @param seconds number  since 1970
--- @param format? string  "%Y-%m-%d %H:%M:%S"
--- @return string
function clock.local_time(seconds, format) end

--- Seconds since 1970 of a text as `utc` writes it; nil when it has another form.
--- @param text string
--- @return number?
function clock.parse(text) end

--- From now on time is virtual, or real again: in virtual time sleeps and deadlines pass at once, and time stands still
--- between them. For tests.
--- @param on boolean
function clock.virtual(on) end

--- Moves the virtual clock.
--- @param seconds number
function clock.advance(seconds) end

return clock
