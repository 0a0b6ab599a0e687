--- @meta native.ssh

--- ssh sessions over libssh2: connecting, the host's key, authentication, commands, ports. Whom to trust is not decided here.
--- @class native.ssh
local ssh = {}

--- @class native.ssh.session
local session = {}

--- A stream whose process id, which is its process group's too, is known: see stream's methods.
--- @class native.ssh.channel: stream
local channel = {}

--- A port of 127.0.0.1 that leads to an address as the session's host sees it. Only sockets of this process are let in.
--- @class native.ssh.tunnel
local tunnel = {}

--- @class native.ssh.agent
local agent = {}

--- @class native.ssh.connection
--- @field host string
--- @field port? integer  22
--- @field through? native.ssh.session  a session to the host that connects onward
--- @field command? string  for sh: a program whose input and output are the connection
--- @field host_keys? string  algorithms in order of preference, "ssh-ed25519,rsa-sha2-512"
--- @field kex? string
--- @field ciphers? string
--- @field macs? string
--- @field keepalive? number  seconds, at least 2; 15
--- @field keepalive_count? integer  how many may stay unanswered; 3
--- @field timeout? number  seconds; 30

--- Connects and exchanges keys; nobody has looked at the host's key yet. Raises `connect`, `timeout`.
--- @param connection native.ssh.connection
--- @return native.ssh.session
function ssh.connect(connection) end

--- Raises `missing` if nobody listens at that socket.
--- @param path string
--- @return native.ssh.agent
function ssh.agent(path) end

--- Text for sh that ends a process group, by TERM and after five seconds KILL, and returns when it is gone.
--- @param pid integer
--- @return string
function ssh.ending(pid) end

--- As known_hosts has it.
--- @return { type: string, blob: string }
function session:host_key() end

--- @return { host: string, address?: string, port: integer, banner: string, kex: string, cipher: string, mac: string }
function session:facts() end

--- false, and why, once the connection has broken.
--- @return boolean, string?
function session:alive() end

--- "publickey,password"; nil: the user is let in without any.
--- @param user string
--- @return string?
function session:auth_methods(user) end

--- Whether the server would take the public key.
--- @param user string
--- @param blob string
--- @return boolean
function session:offer(user, blob) end

--- true; or false and libssh2's reason.
--- @param user string
--- @param private_file string
--- @param certificate_file? string
--- @param passphrase? string
--- @return boolean, string?
function session:auth_key(user, private_file, certificate_file, passphrase) end

--- @param user string
--- @param holder native.ssh.agent
--- @param blob string  one of its keys, or certificates
--- @return boolean, string?
function session:auth_agent(user, holder, blob) end

--- Starts a command. Changes its host, unless `reads`. `pid` (default, but not with `pty`): it runs under sh, so that it can
--- be ended. Raises `connect` if it certainly did not start, `lost` if that is unknown, `denied` if the server refused.
--- @param text string
--- @param options? { reads: boolean, pty: boolean, pid: boolean, timeout: number }
--- @return native.ssh.channel
function session:exec(text, options) end

--- @param name string  "sftp"
--- @param options? { timeout: number }
--- @return native.ssh.channel
function session:subsystem(name, options) end

--- Listens at a port that the kernel chooses. Whether anybody answers there shows when somebody connects: where nobody does,
--- that connection breaks, and failure() says why. Raises `connect` where the session has broken.
--- @param host string
--- @param port integer
--- @return native.ssh.tunnel
function session:tunnel(host, port) end

--- Its streams are lost then; what runs is ended. May be called twice.
function session:close() end

--- nil: it never told.
--- @return integer?
function channel:pid() end

--- @return integer
function tunnel:port() end

--- How many connections it holds.
--- @return integer
function tunnel:count() end

--- Why the last connection that broke did; nil: none has.
--- @return string?
function tunnel:failure() end

--- Its connections break. It goes with its session, too. May be called twice.
function tunnel:close() end

--- In the agent's order.
--- @return { blob: string, comment: string }[]
function agent:keys() end

function agent:close() end

return ssh
