--- @meta native.stream

--- A running program, wherever it runs: a child of native.process or a command of native.ssh. Each call waits at most
--- an hour; a shorter limit is native.task's deadline.
--- @class stream
local stream = {}

--- @class stream.collected
--- @field out string  the first 64 KiB and the last 1 MiB; where more came, a line between them says how much
--- @field err string  the same of the error output
--- @field out_bytes integer  all that came
--- @field err_bytes integer
--- @field status? integer  exit status
--- @field signal? string  "TERM": what ended it instead

--- @class stream.collect_options
--- @field input? string  written and closed; without it the input is closed at once
--- @field limit? integer  bytes kept of each side
--- @field on_output? fun(bytes: string, side: "out"|"err")  gets each piece as it comes; may wait
--- @field timeout? number  seconds; an hour

--- What is there of the output, at least one byte; nil at its end.
--- @param max? integer  64 KiB
--- @return string?
function stream:read(max) end

--- The same of the error output.
--- @param max? integer  64 KiB
--- @return string?
function stream:read_error(max) end

--- Writes all of it. Raises `lost` if the program has closed its input and runs on; one that has ended takes anything.
--- @param bytes string
function stream:write(bytes) end

--- The program reads its end of input.
function stream:close_input() end

--- Waits for the exit. Reads nothing: a program whose output nobody takes does not end.
--- @return { status?: integer, signal?: string }
function stream:wait() end

--- Writes input and reads both sides meanwhile, until the program has ended; for what others still write to its output
--- it waits half a second. A timeout, cancel or error of the callback ends the program; the error's `output` has its
--- last lines.
--- @param options? stream.collect_options
--- @return stream.collected
function stream:collect(options) end

--- Ends the program if it still runs, without waiting for it. May be called twice.
function stream:close() end

return stream
