--- @meta native.process

--- Programs of this machine, started without a shell, each in a session of its own; and what is known of this process.
--- @class native.process
local process = {}

--- @class native.process.spawn_options
--- @field env? table<string, string|false>  added to what neap has itself; false takes a variable away
--- @field clear_env? boolean  only `env`
--- @field cwd? string
--- @field reads? boolean  it changes nothing: no leave is needed

--- A program of this machine.
--- @class native.process.child: stream
local child = {}

--- Lets the program go on by itself: the stream is closed, and nothing is ended.
function child:leave() end

--- @class native.process.piped_options: native.process.spawn_options
--- @field input? false  the program reads /dev/null

--- @class native.process.run_options: native.process.spawn_options, stream.collect_options

--- Starts a program: a path, or a name looked up on the PATH it will have. It gets its three descriptors and no other;
--- closing the stream ends it and its group: TERM, after 2 s KILL. Raises `missing`, `denied`, or `connect` (too many
--- processes, too long arguments); `denied` also without leave to change.
--- @param argv string[]
--- @param options? native.process.piped_options
--- @return native.process.child
function process.spawn(argv, options) end

--- Starts, collects, closes. Any exit status is a result. Without input the program reads /dev/null. Waits an hour, or
--- 60 s if it `reads`.
--- @param argv string[]
--- @param options? native.process.run_options
--- @return stream.collected
function process.run(argv, options) end

--- @return integer
function process.pid() end

--- @param name string
--- @return string?
function process.environ(name) end

--- Who runs this; the name is the number where the system knows none.
--- @return { name: string, uid: integer, home: string }
function process.user() end

--- @return string
function process.hostname() end

--- Another one after each start of the machine.
--- @return string
function process.boot_id() end

--- Ticks since boot; with the boot id it tells a process from a later one of the same number. nil: no such process.
--- @param pid integer
--- @return integer?
function process.start_time(pid) end

--- A zombie is not.
--- @param pid integer
--- @return boolean
function process.alive(pid) end

--- The path of the program that this process runs.
--- @return string
function process.executable() end

--- Ends that process and no other, by SIGKILL.
--- @param pid integer
--- @param start_time integer  as process.start_time told it
--- @return boolean killed  false where it is gone
function process.kill(pid, start_time) end

return process
