--- @meta native.terminal

--- What a terminal is, how wide text is on it, and the one way for foreign bytes to get there.
--- @class native.terminal
local terminal = {}

--- Whether a standard descriptor is a terminal.
--- @param fd integer
--- @return boolean
function terminal.is_terminal(fd) end

--- The size of the first of the standard descriptors that is a terminal; nil without one.
--- @return integer? columns
--- @return integer? rows
function terminal.size() end

--- Whether the locale's characters are UTF-8.
--- @return boolean
function terminal.utf8() end

--- How many columns clean text takes; a tab reaches to the next eighth column.
--- @param text string
--- @return integer columns
function terminal.width(text) end

--- Foreign bytes as text that changes nothing on a terminal but to stand there: bytes that are not UTF-8, control
--- characters and those that turn the direction of writing are shown as `\x1b`, `\u{202e}`.
--- @param bytes string
--- @param options? { newline?: boolean, ascii?: boolean } newline: line ends and tabs stay; ascii: the rest is escaped
--- @return string
function terminal.clean(bytes, options) end

--- Writes all of the text. Waits on the loop.
--- @param fd integer
--- @param text string
--- @return boolean whole  false when nobody reads any more
function terminal.write(fd, text) end

--- The next line of the standard input, without its end; nil at the end of input. Waits on the loop.
--- @param prompt? string  goes to the error output
--- @param options? { secret?: boolean, timeout?: number } secret: nothing is echoed
--- @return string?
function terminal.read_line(prompt, options) end

--- What was typed and not yet read is forgotten. Nothing happens where the input is no terminal.
function terminal.drop_input() end

return terminal
