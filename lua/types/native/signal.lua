--- @meta native.signal

--- Signals that a person or the system sends to neap.
--- @class native.signal
local signal = {}

--- Waits for one of the signals; what came since the last wait is told first. One task at a time may wait.
--- @param names ("INT"|"TERM"|"HUP"|"WINCH")[]
--- @return string name
function signal.wait(names) end

return signal
