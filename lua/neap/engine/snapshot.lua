--- The code and configuration of a run, as it was when the run began: what it resumes with.
local crypto = require "native.crypto"
local json   = require "native.json"

local snapshot = {}

--- A snapshot of files { path → bytes }: its own text as a record's field, and its digest.
--- @param files table<string, string>
--- @return table<string, string> files  plain, for the journal, which keeps long contents once
--- @return string digest
function snapshot.take(files)
  local digests = {}
  for path, bytes in pairs(files) do digests[path] = crypto.sha256(bytes) end
  return files, crypto.sha256(json.encode(digests))
end

return snapshot
