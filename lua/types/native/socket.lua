--- @meta native.socket

--- Unix sockets of this machine, and its ports.
--- @class native.socket
local socket = {}

--- @class native.socket.connection: stream
local connection = {}

--- Who is at the other end of a Unix socket, as the kernel knows.
--- @return integer uid
--- @return integer pid
function connection:peer() end

--- @class native.socket.server
local server = {}

--- Waits for the next connection.
--- @return native.socket.connection
function server:accept() end

--- Takes the socket away. May be called twice.
function server:close() end

--- A socket for this login alone (0600). What stood there is replaced: the caller holds a lock.
--- @param path string
--- @return native.socket.server
function socket.listen(path) end

--- Raises `missing` where there is no socket, `connect` where nobody listens.
--- @param path string
--- @return native.socket.connection
function socket.connect(path) end

--- To a port of 127.0.0.1, such as a tunnel's. Raises `connect` where nobody listens.
--- @param port integer
--- @return native.socket.connection
function socket.connect_port(port) end

--- Sends a datagram to a Unix socket, as sd_notify(3) does; nothing is waited for.
--- @param path string  "@NAME": one that is in no folder
--- @param text string
--- @return boolean taken  by somebody
function socket.tell(path, text) end

return socket
