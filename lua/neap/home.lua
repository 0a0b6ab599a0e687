--- Where files of the login's own lie.
local process = require "native.process"

--- The folder that HOME names, else the login's home: a timer's job and a service may have no such variable.
--- @return string
return function() return process.environ "HOME" or process.user().home end
