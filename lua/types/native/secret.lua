--- @meta native.secret

--- Opaque secrets. Their bytes lie in locked memory that no core has, and are wiped; only native modules open them. In
--- Lua a secret is joined with `..`, which gives a secret, compared with `==`, and shown as `(secret a41c)`.
--- @class native.secret
local secret = {}

--- A secret value. Joining it, handing it over, comparing it is all that can be done.
--- @class native.secret.value

--- What fingerprints and seals.
--- @class native.secret.keyring

--- Replaces secrets in bytes that come in pieces.
--- @class native.secret.redactor
local redactor = {}

--- A secret of this text.
--- @param text string
--- @param keyring native.secret.keyring
--- @param source? string
--- @return native.secret.value
function secret.literal(text, keyring, source) end

--- Moves a variable out of the environment of this process: programs that it starts do not inherit it.
--- @param name string
--- @param keyring native.secret.keyring
function secret.take_variable(name, keyring) end

--- A variable of the environment, also one that was taken out of it. Raises `missing`.
--- @param name string
--- @param keyring native.secret.keyring
--- @param source? string
--- @return native.secret.value
function secret.variable(name, keyring, source) end

--- The content of a plain file that only its owner may read, without its last line end. Raises `missing`, `denied`.
--- @param path string
--- @param keyring native.secret.keyring
--- @param source? string
--- @return native.secret.value
function secret.file(path, keyring, source) end

--- What an INI file says, by section and key: texts, the values of the hidden keys as secrets; a key without a value has
--- what is indented below it. Lines that say nothing are passed over.
--- @param document native.secret.value
--- @param hidden table<string, any>  a set
--- @return table<string, table<string, string|native.secret.value|table>>
function secret.ini(document, hidden) end

--- All that a program prints, without its last line end. Waits for its end, at most a minute.
--- @param stream stream
--- @param keyring native.secret.keyring
--- @param source? string
--- @return native.secret.value
--- @return string errors  what its error output said
--- @return integer status  -1: it was killed
function secret.collect(stream, keyring, source) end

--- One that is closed: known by its fingerprint alone.
--- @param source string?
--- @param fingerprint string
--- @param keyring native.secret.keyring
--- @return native.secret.value
function secret.reference(source, fingerprint, keyring) end

--- One that is opened by its key when its bytes are needed. Raises `journal` then, if the key is another.
--- @param bytes string  of `seal`
--- @param fingerprint string
--- @param keyring native.secret.keyring
--- @return native.secret.value
function secret.sealed(bytes, fingerprint, keyring) end

--- Gives one that is closed the bytes of another. Raises `conflict` where that is not the same secret.
--- @param closed native.secret.value
--- @param open native.secret.value
function secret.fill(closed, open) end

--- A secret, or a text with the secrets in it, encrypted by the keyring's key.
--- @param value native.secret.value|string
--- @param keyring native.secret.keyring
--- @return string bytes
function secret.seal(value, keyring) end

--- The text that was sealed; its secrets are looked for from now on. Raises `journal` where the key is another.
--- @param bytes string
--- @param keyring native.secret.keyring
--- @return string
function secret.unseal(bytes, keyring) end

--- @param value any
--- @return boolean
function secret.is(value) end

--- Whether its bytes can be had here.
--- @param value native.secret.value
--- @return boolean
function secret.is_open(value) end

--- So short that output is not searched for it.
--- @param value native.secret.value
--- @return boolean
function secret.is_short(value) end

--- @param value native.secret.value|string
--- @return integer bytes
function secret.size(value) end

--- @param value native.secret.value
--- @return string  64 hexadecimal digits
function secret.fingerprint(value) end

--- Where it comes from; nil where it was put together.
--- @param value native.secret.value
--- @return string?
function secret.source(value) end

--- Whether two are the same; one of them may be a text.
--- @param a native.secret.value|string
--- @param b native.secret.value|string
--- @return boolean
function secret.same(a, b) end

--- How it reads: what is secret in it replaced, the rest as it is.
--- @param value native.secret.value
--- @return string
function secret.text(value) end

--- What a host gives back that was given it. For the overlay of a plan, and for nothing else.
--- @param value native.secret.value
--- @return string
function secret.reveal(value) end

--- @param value native.secret.value|string
--- @return native.secret.value|string
function secret.base64(value) end

--- Encoded as a part of a URL or of a web form: all but letters, digits and -._~ as %XX.
--- @param value native.secret.value|string
--- @return native.secret.value|string
function secret.percent(value) end

--- Encoded as it stands within the quotes of a JSON text.
--- @param value native.secret.value|string
--- @return native.secret.value|string
function secret.json(value) end

--- A value inside a secret that is JSON or YAML: names, and in lists numbers from 1 on, parted by dots. Raises `missing`
--- where there is none, `protocol` where it is neither, or the path names a list or a map.
--- @param document native.secret.value
--- @param path string  "database.password"
--- @param source? string
--- @return native.secret.value
function secret.pick(document, path, source) end

--- The same as text, of a value that is none of the secret: who it is for, when it ends.
--- @param document native.secret.value
--- @param path string  "Expiration"
--- @return string
function secret.plain(document, path) end

--- The value as a literal of a language: quoted for a POSIX shell, SQL, MySQL's SQL (where a backslash escapes), JSON, YAML.
--- Raises `protocol` for a NUL byte in a shell and in SQL, and for what is not UTF-8 in JSON and YAML.
--- @param value native.secret.value|string
--- @param target "sh"|"sql"|"mysql"|"json"|"yaml"
--- @return native.secret.value|string
function secret.quote(value, target) end

--- An earlier text in the light of a later one: what stood where that has a secret is one, too.
--- @param text string
--- @param later native.secret.value
--- @return native.secret.value
function secret.like(text, later) end

--- A key: of a file, which is made when it is first needed, or of this process alone. Its use raises `denied` where the
--- file cannot be read, or everybody can.
--- @param path? string
--- @return native.secret.keyring
function secret.keyring(path) end

--- Puts the key of one file into another, which is made. Raises `missing`, `denied`, and `conflict` where another key is
--- there.
--- @param from string
--- @param to string
function secret.copy_key(from, to) end

--- Every secret opened in this process, plain or encoded, is replaced by `(secret a41c)`.
--- @param bytes string
--- @return string
function secret.redact(bytes) end

--- The mark of the first secret that stands in the bytes, plain or encoded.
--- @param bytes string
--- @return string?
function secret.holds(bytes) end

--- Whether the text has a mark that stands for an opened secret.
--- @param text string
--- @return boolean
function secret.marked(text) end

--- Whether there was ever a secret in this process.
--- @return boolean
function secret.any() end

--- @return native.secret.redactor
function secret.redactor() end

--- What is certain by now; the rest comes with the next piece.
--- @param bytes string
--- @return string
function redactor:add(bytes) end

--- The rest.
--- @return string
function redactor:finish() end

return secret
