--- @meta native.sftp

--- Files of another machine, by the file protocol (version 3) over any stream.
--- @class native.sftp
local sftp = {}

--- One connection. Several tasks may use it side by side; a task that is cancelled leaves it usable. Errors: `missing`,
--- `denied` and `remote` with the server's status as `code`; `protocol` when it breaks the protocol; `lost` when the
--- connection broke, and from then on; `output` is what the server last wrote to its error output.
--- @class native.sftp.files
local files = {}

--- @class native.sftp.status
--- @field type "file"|"directory"|"link"|"other"
--- @field size integer
--- @field mode string  "0644"
--- @field uid integer
--- @field gid integer
--- @field mtime integer  seconds since the epoch

--- @class native.sftp.entry: native.sftp.status
--- @field name string

--- @class native.sftp.write_options
--- @field temporary string  name, in the folder of path, of the file that is written and then takes its place
--- @field mode? string  as before; else "0644"
--- @field uid? integer  as before; else whoever logs in
--- @field gid? integer
--- @field fsync? boolean  true, where the server can
--- @field follow? boolean  a link's target is replaced, and temporary lies beside it; else a link raises `denied`
--- @field timeout? number  seconds; an hour

--- @class native.sftp.upload_options: native.sftp.write_options
--- @field on_progress? fun(done: integer, size: integer)  some times a second; may wait

--- @class native.sftp.tree_options
--- @field temporary? string  what the names of temporary files begin with
--- @field links? "skip"
--- @field fsync? boolean  true, where the server can
--- @field on_progress? fun(done: integer)
--- @field timeout? number  seconds; an hour

--- Takes over the stream. What is no file server raises `denied`, `missing`, `protocol` or `connect`, with its own
--- words as output.
--- @param stream stream
--- @return native.sftp.files
function sftp.open(stream) end

--- Of what a link leads to; nil: nothing is there.
--- @param path string
--- @return native.sftp.status?
function files:stat(path) end

--- Of a link itself.
--- @param path string
--- @return native.sftp.status?
function files:lstat(path) end

--- @param path string
--- @return string
function files:readlink(path) end

--- Without links, from the root; relative paths begin in the login's home.
--- @param path string
--- @return string
function files:realpath(path) end

--- By name; links are not followed. Names with '/' or control characters raise `protocol`.
--- @param path string
--- @param options? { timeout?: number }
--- @return native.sftp.entry[]
function files:list(path, options) end

--- More than max (64 MiB) raises `remote`, what is no file `conflict`.
--- @param path string
--- @param options? { max?: integer, timeout?: number }
--- @return string
function files:read(path, options) end

--- The local file appears when it is complete, with the remote mode without setuid bits; a link there is replaced.
--- @param remote string
--- @param path string
--- @param options? { on_progress?: fun(done: integer, size: integer), timeout?: number }
--- @return integer bytes
function files:download(remote, path, options) end

--- Copies what lies in one folder into another, which is made; others' files there are left, links there not followed.
--- Links and devices raise `denied` unless they are skipped; names that differ in case alone raise `conflict`.
--- @param remote string
--- @param path string
--- @param options? { links?: "skip", on_progress?: fun(done: integer), timeout?: number }
--- @return { files: integer, bytes: integer, skipped: integer }
function files:download_tree(remote, path, options) end

--- Writes all or nothing. Raises `conflict` if the temporary file is there already. On failure that is removed; after
--- `lost`, `timeout` or `cancelled` it may still be there.
--- @param path string
--- @param bytes string
--- @param options native.sftp.write_options
function files:write(path, bytes, options) end

--- The same, from a local file.
--- @param path string
--- @param remote string
--- @param options native.sftp.upload_options
function files:upload(path, remote, options) end

--- download_tree the other way, each file as by write.
--- @param path string
--- @param remote string
--- @param options? native.sftp.tree_options
--- @return { files: integer, bytes: integer, skipped: integer }
function files:upload_tree(path, remote, options) end

--- The server's umask still applies.
--- @param path string
--- @param mode? string  "0755"
function files:mkdir(path, mode) end

--- A file or a link.
--- @param path string
function files:remove(path) end

--- An empty folder.
--- @param path string
function files:rmdir(path) end

--- Replaces what is there, in one act, where the server can; else refuses.
--- @param from string
--- @param to string
function files:rename(from, to) end

--- Follows links. uid and gid go together.
--- @param path string
--- @param options { mode?: string, uid?: integer, gid?: integer }
function files:setstat(path, options) end

--- Makes path a link to target.
--- @param path string
--- @param target string
function files:symlink(path, target) end

--- Closes the stream too; who still waits gets `lost`.
function files:close() end

return sftp
