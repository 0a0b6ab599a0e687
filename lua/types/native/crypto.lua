--- @meta native.crypto

--- Digests, random bytes and text forms of bytes.
--- @class native.crypto
local crypto = {}

--- A SHA-256 over what comes in pieces.
--- @class native.crypto.hasher
local hasher = {}

--- SHA-256 as 64 hexadecimal digits. That of a secret says nothing of it where it is long and random, or part of a text
--- that is.
--- @param bytes string|native.secret.value
--- @return string
function crypto.sha256(bytes) end

--- SHA-1 as 40 hexadecimal digits, for formats that ask for it.
--- @param bytes string
--- @return string
function crypto.sha1(bytes) end

--- Whether digest is sha256(head .. bytes): one link of a chain of records.
--- @param head string
--- @param bytes string
--- @param digest string
--- @return boolean
function crypto.follows(head, bytes, digest) end

--- @return native.crypto.hasher
function crypto.hasher() end

--- @param bytes string
--- @return native.crypto.hasher hasher  the same
function hasher:update(bytes) end

--- Takes a piece of a file, read in a thread while other tasks go on. Raises "missing", "denied"; "conflict" where the
--- file has fewer bytes.
--- @param path string
--- @param offset integer
--- @param length integer
--- @param options? { timeout?: number }  seconds; 3600
--- @return native.crypto.hasher hasher  the same
function hasher:update_file(path, offset, length, options) end

--- The digest of all bytes so far, as 64 hexadecimal digits; more may follow.
--- @return string
function hasher:hex() end

--- HMAC with SHA-256 as 64 hexadecimal digits.
--- @param key string
--- @param bytes string
--- @return string
function crypto.hmac_sha256(key, bytes) end

--- HMAC with SHA-1 as 20 bytes, for formats that ask for it.
--- @param key string
--- @param bytes string
--- @return string
function crypto.hmac_sha1(key, bytes) end

--- Unpredictable bytes.
--- @param count integer  0 to 65536
--- @return string
function crypto.random(count) end

--- One line, padded.
--- @param bytes string
--- @return string
function crypto.base64(bytes) end

--- Raises `protocol` on what `base64` would not have written: spaces, line breaks, missing padding.
--- @param text string
--- @return string
function crypto.unbase64(text) end

--- Two lower-case hexadecimal digits a byte.
--- @param bytes string
--- @return string
function crypto.hex(bytes) end

--- Compares in a time that tells nothing of where the two differ.
--- @param a string
--- @param b string
--- @return boolean
function crypto.equal(a, b) end

return crypto
