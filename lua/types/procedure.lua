--- @meta neap.procedure

--- What stands at the level of a procedure's file: it says the steps in the order in which they happen.

--- What a step may have.
--- @class (exact) neap.parts.step
--- @field on? (string|table)[]|fun(): table[]  a branch for each: run gets it as its argument
--- @field at_a_time? integer|string  so many branches side by side, or a share of them: "25%"
--- @field max_failures? integer      so many branches may fail
--- @field when? fun(): boolean       where it says no, the step is skipped
--- @field run? fun(item?: table): any  what is done; what it returns is the step's .result
--- @field undo? fun(result: any, item?: table)  what a rollback does instead of taking back the step's effects
--- @field irreversible? string       why there is no way back behind it
--- @field keep? string               why a rollback leaves what it changed
--- @field retry? { times: integer, every?: string }  attempted again after a failure
--- @field timeout? string|number     of one attempt, of each item
--- @field check? fun(): boolean      must find it so, before a person's "done" counts
--- @field hint? string               the guide's own wisdom, shown where the step fails
--- @field from? string               the lines of the guide: "L120-L128, L131"

--- What a person's step may have.
--- @class (exact) neap.parts.manual
--- @field when? fun(): boolean
--- @field text? string|fun(): string  what to do, at length
--- @field check? fun(): boolean      must find it so, before "done" counts
--- @field evidence? string           what the person is asked for: a ticket's number, a link
--- @field timeout? string|number
--- @field hint? string
--- @field from? string

--- What a wait may have.
--- @class (exact) neap.parts.await
--- @field when? fun(): boolean
--- @field check fun(): any           asked again until it is true
--- @field every? string|number       "10s"
--- @field retry? { times: integer, every?: string }
--- @field timeout? string|number     "1h"
--- @field hint? string
--- @field from? string

--- What a phase may have.
--- @class (exact) neap.parts.phase
--- @field when? fun(): any  where it says no, its steps are skipped

--- What a remark may have.
--- @class (exact) neap.parts.remark
--- @field from? string

--- What a guide is known by.
--- @class (exact) neap.parts.guide
--- @field file? string     how its owner calls it
--- @field sha256 string
--- @field from? string     the lines that this procedure is about

--- A step, once it is declared.
--- @class neap.declared_step
--- @field result any  what its run returned, for later steps

--- A heading: the steps below belong to it. `phase "Switch" { when = function() … end }` skips all of them where it says no.
--- @param title string
--- @return fun(parts: neap.parts.phase)
function phase(title) end

--- neap acts: `step "Stop the workers" { run = function() … end }`. The title names it on resume.
--- @param title string
--- @return fun(parts: neap.parts.step): neap.declared_step
function step(title) end

--- A person acts, and says so.
--- @param title string
--- @return fun(parts: neap.parts.manual): neap.declared_step
function manual(title) end

--- Time acts: check is asked until it finds it so.
--- @param title string
--- @return fun(parts: neap.parts.await): neap.declared_step
function await(title) end

--- Why lines of the guide need no step.
--- @param why string
--- @return fun(parts: neap.parts.remark)
function remark(why) end

--- Which guide the steps below were written from.
--- @param title string
--- @return fun(parts: neap.parts.guide)
function guide(title) end

--- Declares the arguments of a run: a description, a type, or { "what it is", type =, default =, match =, one_of = }.
--- @param declarations table<string, string|table>
--- @return table<string, any> arguments
function parameters(declarations) end

--- Declares the values that the environment has to have, as parameters does.
--- @param declarations table<string, string|table>
--- @return table env
function needs(declarations) end

--- Puts the steps of another procedure here: `include "rdw/quiesce"`.
--- @param name string
--- @return any  what its file returns
function include(name) end

--- The environment: env.hosts, env.databases, env.repositories, env.secrets, and each value by its own name.
--- @class neap.env
--- @field name string
--- @field hosts table<string, any>
--- @field databases table<string, neap.database>
--- @field repositories table<string, table>
--- @field secrets table<string, any>
env = {}
