--- @meta native.fs

--- neap's own files; procedures never see this. Modes are octal text. Errors name the system's error number in `code`:
--- "ENOSPC"; their kind is `missing`, `denied`, `conflict` or, for the rest, `remote`.
--- @class native.fs
local fs = {}

--- @class native.fs.status
--- @field type "file"|"directory"|"link"|"other"
--- @field size integer
--- @field mode string  "0644"
--- @field uid integer
--- @field gid integer
--- @field mtime number  seconds since the epoch
--- @field inode integer

--- @class native.fs.lock
local lock = {}

--- The bytes of a regular file. Raises `denied` when it holds more than max, and for a link when follow is false.
--- @param path string
--- @param options? { max?: integer, follow?: boolean }
--- @return string
function fs.read(path, options) end

--- Writes all or nothing, also through a crash. A file that is there keeps its mode, a new one gets "0600"; a link is
--- refused.
--- @param path string
--- @param bytes string
--- @param options? { mode?: string }
function fs.write(path, bytes, options) end

--- Adds at the end, not synced; mode is that of a new file, "0600" by default.
--- @param path string
--- @param bytes string
--- @param options? { mode?: string }
function fs.append(path, bytes, options) end

--- Follows links; nil when there is nothing.
--- @param path string
--- @return native.fs.status?
function fs.stat(path) end

--- The same of the link itself.
--- @param path string
--- @return native.fs.status?
function fs.lstat(path) end

--- Follows links; raises when it cannot be told.
--- @param path string
--- @return boolean
function fs.exists(path) end

--- Names in the folder, sorted by bytes.
--- @param path string
--- @return string[]
function fs.list(path) end

--- Makes a folder and the parents that are missing, all with this mode, "0700" by default.
--- @param path string
--- @param mode? string
--- @return boolean made  false when it was there
function fs.mkdir(path, mode) end

--- Removes a file, a link or an empty folder.
--- @param path string
--- @return boolean removed  false when there was nothing
function fs.remove(path) end

--- Removes a folder and all in it, following no link.
--- @param path string
--- @return boolean removed  false when there was nothing
function fs.remove_tree(path) end

--- Within one file system; what is at `to` is replaced.
--- @param from string
--- @param to string
function fs.rename(from, to) end

--- Makes durable what was written to files, and which entries folders have; in a thread while other tasks go on, and
--- cheaper for many together than for one after the other.
--- @param paths string[]  of files and folders
--- @param options? { timeout?: number }  seconds; 3600
function fs.sync(paths, options) end

--- @param path string
--- @return string
function fs.readlink(path) end

--- The absolute path without links.
--- @param path string
--- @return string
function fs.realpath(path) end

--- A new folder, mode 0700, whose name is the prefix and six characters.
--- @param prefix string
--- @return string path
function fs.mkdtemp(prefix) end

--- @return string
function fs.getcwd() end

--- "ext", "xfs", "nfs", … or the kernel's number as "0x…".
--- @param path string
--- @return string
function fs.filesystem(path) end

--- Bytes that this user can still write there.
--- @param path string
--- @return integer
function fs.free_bytes(path) end

--- Takes the lock on a file, which is made if it is not there, with mode "0600" by default. nil while another holds it.
--- The system lets go when the holder ends.
--- @param path string
--- @param options? { mode?: string }
--- @return native.fs.lock?
function fs.lock(path, options) end

--- May be called twice.
function lock:close() end

--- nil when nobody has that number.
--- @param uid integer
--- @return string?
function fs.user_name(uid) end

--- nil when no group has that number.
--- @param gid integer
--- @return string?
function fs.group_name(gid) end

return fs
