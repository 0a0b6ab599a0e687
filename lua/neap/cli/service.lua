--- Where systemd has started this command as a service of Type=notify, it is told that the run has begun and where it is:
--- `systemctl status` shows that. Elsewhere nothing is done. The protocol is sd_notify(3)'s.
local process   = require "native.process"
local socket    = require "native.socket"
local step_path = require "neap.engine.step_path"

local service = {}

local texts = {}

function texts.step(record)
  local title, branch = step_path.split(record.path)
  if record.line or record.how or branch then return nil end
  local name = record.number and ("%s %s"):format(record.number, title) or title
  return record.undoes and "undoing " .. name or name
end

function texts.turn(record) return record.direction == "back" and "rolling back" or nil end

function texts.ask(record) return "asks: " .. record.text end

function texts.close(record) return record.outcome end

--- Passes an event of the run on.
--- @param record table
function service.tell(record)
  local path = process.environ "NOTIFY_SOCKET"
  if not path or path == "" then return end
  local text = texts[record.type] and texts[record.type](record)
  -- a line end would begin a word of the protocol
  local status = text and "STATUS=" .. text:gsub("%c+", " ") .. "\n" or ""
  if record.type == "own" or text then socket.tell(path, "READY=1\n" .. status) end
end

return service
