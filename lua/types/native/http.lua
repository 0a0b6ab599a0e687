--- @meta native.http

--- Exchanges over HTTP and HTTPS, by libcurl. Certificates are always verified; no redirect is followed; connections are
--- kept and used again, over HTTP/2 by several exchanges at a time.
--- @class native.http
local http = {}

--- @class native.http.options
--- @field url string|native.secret.value  a secret one is https, or of this machine
--- @field method? string  "GET"
--- @field headers? table<string, string|native.secret.value>|{ [1]: string, [2]: string }[]  a list where order counts
--- @field body? string|native.secret.value
--- @field body_file? { path: string, offset?: integer, length?: integer }  instead of body
--- @field form? { name: string, value?: string|native.secret.value, file?: string, filename?: string, type?: string }[]
---   sent as multipart/form-data, files as they are read
--- @field to_file? string  the reply's body is added to this file (made with mode 0600) and not read
--- @field only_good? boolean  to_file takes the body of a reply of 200 to 299 alone; that of others is read
--- @field max_bytes? integer  of what goes to to_file; more raises `protocol`
--- @field reads? boolean  a request of another method than GET, HEAD and OPTIONS that changes nothing
--- @field connect_to? string  "127.0.0.1:8080", whatever the URL says; its name is still the one that is verified
--- @field socket? string  path of a Unix socket
--- @field ca? string  file of authorities instead of the system's
--- @field certificate? string  file of a client's certificate, and `key`
--- @field key? string
--- @field ca_data? string  the authorities themselves instead of their file: PEM, or base64 of it
--- @field certificate_data? string|native.secret.value  likewise
--- @field key_data? string|native.secret.value
--- @field proxy? string  "": none; else as the environment says, but none for this machine
--- @field no_proxy? string
--- @field connect_timeout? number  seconds; 15
--- @field raw? boolean  only the connection is made, with TLS and by way of proxies: then connected, send and receive

--- @class native.http.exchange
local exchange = {}

--- @class native.http.mail_options
--- @field url string  "smtp://host:port", "smtps://host"; a path is the name it gives itself
--- @field from string  an address alone; this and `to` are the envelope
--- @field to string[]  where one is refused, the message goes to nobody
--- @field body string  the whole message, with CRLF
--- @field user? string
--- @field password? string|native.secret.value
--- @field ca? string  file of authorities instead of the system's
--- @field require_tls? boolean  true: STARTTLS, or nothing is sent; false: none
--- @field reads? boolean  true: of no effect, as what is told of a run

--- @class native.http.letter
local letter = {}

--- Begins an exchange. Changes its target, unless the method or `reads` says that it reads.
--- @param options native.http.options
--- @return native.http.exchange
function http.open(options) end

--- Begins to send a message by SMTP, on a connection of its own. Changes its target, unless `reads` says otherwise.
--- @param options native.http.mail_options
--- @return native.http.letter
function http.mail(options) end

--- Waits for the head of the reply. Names of headers are in lower case. Raises `connect` where the request was certainly
--- not read (name, connection, handshake), `auth` for a certificate that is not accepted, `lost` where it may have been.
--- @param options? { timeout?: number }  60 seconds
--- @return { status: integer, version: string, address: string, headers: { [1]: string, [2]: string }[] }
function exchange:response(options) end

--- Some bytes of the reply's body, nil at its end. What is not read holds the server back.
--- @param options? { timeout?: number }  60 seconds
--- @return string?
function exchange:read(options) end

--- Seconds since it began at which each was there, and bytes of the body that were received.
--- @return { name: number, connect: number, tls: number, sent: number, first_byte: number, total: number, received: integer }
function exchange:timings() end

--- Waits until a raw exchange has its connection. Raises `connect`, `auth`.
--- @param options? { timeout?: number }  60 seconds
function exchange:connected(options) end

--- Sends all of it over a raw exchange. Raises `lost` where the connection breaks.
--- @param bytes string|native.secret.value
--- @param options? { timeout?: number }  60 seconds
function exchange:send(bytes, options) end

--- Sends one WebSocket frame of begin .. bytes, masked as a client has to. Frames of several tasks must not mix.
--- @param opcode integer  1 text, 2 binary, 8 close, 9 ping, 10 pong
--- @param begin string
--- @param bytes string|native.secret.value
--- @param options? { timeout?: number, first?: integer, last?: integer }  60 seconds; first and last cut the bytes
function exchange:send_frame(opcode, begin, bytes, options) end

--- Bytes of a raw exchange as they come, nil at its end.
--- @param options? { timeout?: number }  60 seconds
--- @return string?
function exchange:receive(options) end

--- Ends it, whatever it is at. May be called twice.
function exchange:close() end

--- Waits for what the server says to the whole message. Raises `auth`, `denied` (code is the server's, output its reply) and
--- `connect` where it has not taken the message and never will, `lost` where it may have.
--- @param options? { timeout?: number }  300 seconds
--- @return { code: integer, reply: string }
function letter:result(options) end

--- Whether all of the message went out: from then on the server may take it, whatever else happens. Once the letter is
--- closed this does not change any more.
--- @return boolean
function letter:handed() end

--- Ends it, whatever it is at: nothing of it is sent any more. May be called twice.
function letter:close() end

return http
