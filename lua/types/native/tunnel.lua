--- @meta native.tunnel

--- Ports over an ssh session: of 127.0.0.1 here, to an address as its host sees it. Only sockets of this process are let in.
--- @class native.tunnel
local tunnel = {}

--- @class native.tunnel.tunnel
local opened = {}

--- Listens at a port that the kernel chooses. Whether anybody answers there shows when somebody connects: where nobody does,
--- that connection breaks, and failure() says why. Raises `connect` where the session has broken.
--- @param session native.ssh.session
--- @param host string
--- @param port integer
--- @return native.tunnel.tunnel
function tunnel.open(session, host, port) end

--- @return integer
function opened:port() end

--- How many connections it holds.
--- @return integer
function opened:count() end

--- Why the last connection that broke did; nil: none has.
--- @return string?
function opened:failure() end

--- Its connections break. It goes with its session, too. May be called twice.
function opened:close() end

return tunnel
