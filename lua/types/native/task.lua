--- @meta native.task

--- Lua coroutines on one loop: what waits lets the others run. A function that waits works in a task alone.
--- @class native.task
local task = {}

--- @class native.task.handle
local handle = {}

--- Runs the function side by side; it inherits context, deadline and leave to change.
--- @param fn function
--- @param ... any  its arguments
--- @return native.task.handle
function task.spawn(fn, ...) end

--- @param seconds number
function task.sleep(seconds) end

--- Lets all that are ready run first.
function task.yield() end

--- Waits for handle:wake(); one that came before counts.
function task.park() end

--- The task that calls.
--- @return native.task.handle
function task.current() end

--- Seconds on the clock that sleeps and deadlines follow: they mean something as differences alone.
--- @return number
function task.now() end

--- How many tasks are alive.
--- @return integer
function task.count() end

--- How many calls that change a target this task has begun since it last got the leave.
--- @return integer
function task.changes() end

--- Raises "denied" outside an effect; for what changes a target and is written in Lua, as fakes are.
--- @param what string
function task.may_change(what) end

--- Calls the function; a cancel waits until it has ended, and no deadline round the call reaches into it.
--- @param fn function
--- @param ... any  its arguments
--- @return any ...  its results
function task.shield(fn, ...) end

--- Calls the function; what still waits in it after so many seconds raises `timeout`.
--- @param seconds number
--- @param fn function
--- @param ... any  its arguments
--- @return any ...  its results
function task.deadline(seconds, fn, ...) end

--- The function that calls another with leave to change targets. It is given out once; a second call raises.
--- @return fun(fn: function, ...: any): any
function task.take_change() end

--- The value of the nearest with_context round the call; nil outside any.
--- @return any
function task.context() end

--- Calls the function; context() answers the value inside it and in the tasks spawned there.
--- @param value any
--- @param fn function
--- @param ... any  its arguments
--- @return any ...  its results
function task.with_context(value, fn, ...) end

--- Waits until it has ended.
--- @return boolean ok
--- @return any ...  its results, or what it raised
function handle:wait() end

--- It raises `cancelled` at its next wait, and at each wait after that.
function handle:cancel() end

--- Whether it has ended.
--- @return boolean
function handle:done() end

--- Ends its park().
function handle:wake() end

return task
