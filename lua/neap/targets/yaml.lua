--- YAML in texts and files: read, written, and edited so that no byte changes that the edit is not about.
local file       = require "neap.targets.file"
local native     = require "native.yaml"
local plain_data = require "neap.targets.plain_data"
local shell      = require "neap.targets.shell"
local yaml_edit  = require "neap.targets.yaml.edit"

local yaml = {}

local EMIT_OPTIONS = { order = true, indent = true, flow = true, flush = true }

--- The plain data of a text with one document, by YAML 1.2's core schema; null is json.null. Raises `protocol` with the
--- place for what is no YAML, for tags and merge keys, and for a second document.
--- @param text string
--- @param name? string  what messages call it
--- @return any
function yaml.parse(text, name) return (native.parse(text, { name = name })) end

--- The plain data of a file with one document. Raises as `file.read` and `yaml.parse` do.
--- @param host string|table
--- @param path string
--- @param options? { become?: string|false }
--- @return any
function yaml.read(host, path, options) return yaml.parse(file.read(host, path, options), path) end

--- Plain data as YAML text. Strings that any reader would take for something else are quoted.
--- @param value any
--- @param options? { order?: string[], indent?: integer, flow?: boolean, flush?: boolean }  order: keys that come before
---   the others, which are sorted; flush: lists stand in the column of their key
--- @return string
function yaml.emit(value, options)
  return native.emit(plain_data.copy(value), plain_data.copy(shell.check_options(options, EMIT_OPTIONS, 2)))
end

--- A text with one or more documents, to be looked at, edited, or taken from; see `yaml.edit`.
--- @param text string
--- @param name? string  what messages call it
--- @return yaml_edit.document
function yaml.document(text, name) return yaml_edit.parse(text, name) end

--- Changes a file that is there by what `edit` does to its document (yaml/edit.lua): get, set, remove, rename, move …
--- What cannot be done exactly is refused with the place, and nothing is written then. Else as `file.edit`.
--- @param host string|table
--- @param path string
--- @param edit fun(document: yaml_edit.document)  pure
--- @param options? neap.file_options
--- @return { content: string, mode: string, owner: string, group: string }
function yaml.edit(host, path, edit, options)
  return file.edit(host, path, function(text)
    local document = yaml_edit.parse(text, path)
    edit(document)
    return document:text()
  end, options)
end

return yaml
