--- @meta native.editline

--- Lines that a person types and edits at the terminal: arrow keys, history (^R searches it), ~/.editrc. The loop goes
--- on meanwhile.
--- @class native.editline
local editline = {}

--- @class native.editline.editor
local editor = {}

--- On the standard input, which is a terminal, and the error output. To be closed: only then is the terminal as it was.
--- @param colours? boolean  read says "changed", too
--- @return native.editline.editor
function editline.open(colours) end

--- Reads a line. What stands between two \1 in the prompt takes no column.
--- @param prompt string
--- @return "line"|"end"|"stopped"|"complete"|"changed" event  end: of input; stopped: by stop(); complete: Tab,
---   complete() is next; changed: the line is another one, paint() is next
--- @return string? left   the line, with its end; of "complete" what stands left of the cursor; of "changed" the line
--- @return string? right  of "complete" what stands right of the cursor
function editor:read(prompt) end

--- Puts the text at the cursor, shows the list below the line, and reads on.
--- @param text string
--- @param list? string  lines
--- @return "line"|"end"|"stopped"|"complete"|"changed" event  as of read
--- @return string? left
--- @return string? right
function editor:complete(text, list) end

--- Writes the line over itself with colours, where it is still the same, and reads on. It keeps them until it is
--- changed.
--- @param line string  as "changed" gave it
--- @param painted? string  the same, with each sequence that makes a colour between two \1
--- @return "line"|"end"|"stopped"|"complete"|"changed" event  as of read
--- @return string? left
--- @return string? right
function editor:paint(line, painted) end

--- Prints lines above the one that is edited. Secrets are replaced by their marks.
--- @param text string  with its last line end
function editor:print(text) end

--- Ends the read that waits.
function editor:stop() end

--- Adds a line to the history. Not while one is read.
--- @param line string
function editor:remember(line) end

function editor:close() end

return editline
