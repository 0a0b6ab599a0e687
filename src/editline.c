/*
 * native.editline: lines that a person types and edits at the terminal, by libedit.
 *
 * libedit waits for keys inside its own calls (^R, ^V and keys of several bytes each do), so it has a thread of its own
 * and the loop goes on meanwhile. The two talk by orders (down, through a pipe that wakes the wait for a key) and one
 * event at a time (up, through an async handle). The thread touches no Lua.
 */
#include "editline.h"
#include "error.h"
#include "secret.h"
#include "task.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TYPE "editline.editor"
#define CALL "editline.call"
#define REMEMBERED 1000 /* lines of history */

struct holder {
	struct editor *editor; /* NULL once closed */
};

/* One call that waits. */
struct call {
	struct holder *of; /* lies below it on the same stack */
};

/* ---- lifetime ---- */

static void free_editor(struct editor *e)
{
	while (e->orders) {
		struct order *order = e->orders;

		e->orders = order->next;
		editline_order_free(order);
	}
	free(e->left);
	free(e->right);
	free(e->prompt);
	free(e->asked);
	free(e->answered);
	free(e->painted);
	close(e->pipe[0]);
	close(e->pipe[1]);
	uv_mutex_destroy(&e->lock);
	free(e);
}

static void handle_closed(uv_handle_t *handle)
{
	struct editor *e = handle->data;

	if (--e->handles == 0)
		free_editor(e);
}

static void event_came(uv_async_t *handle)
{
	struct editor *e = handle->data;

	if (e->waiting)
		task_wake(e->waiting);
}

static void signal_came(uv_signal_t *handle, int number)
{
	struct editor *e = handle->data;

	if (e->reading)
		editline_order_give(e, number == SIGWINCH ? RESIZE : REDRAW, NULL, NULL);
}

/* Signals are the loop's: the thread gets none. */
static int start_thread(struct editor *e)
{
	sigset_t all, before;
	int failed;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = uv_thread_create(&e->thread, editline_typing_thread, e);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}

static void open_handles(struct editor *e)
{
	uv_async_init(task_loop(), &e->told, event_came);
	uv_signal_init(task_loop(), &e->resized);
	uv_signal_init(task_loop(), &e->continued);
	e->handles = 3;
	e->told.data = e->resized.data = e->continued.data = e;
	uv_signal_start(&e->resized, signal_came, SIGWINCH);
	uv_signal_start(&e->continued, signal_came, SIGCONT);
}

static void close_handles(struct editor *e)
{
	uv_close((uv_handle_t *)&e->told, handle_closed);
	uv_close((uv_handle_t *)&e->resized, handle_closed);
	uv_close((uv_handle_t *)&e->continued, handle_closed);
}

static void close_library(struct editor *e)
{
	if (e->el)
		el_end(e->el); /* gives the terminal back as it was */
	if (e->history)
		history_end(e->history);
	if (e->in)
		fclose(e->in);
	if (e->out)
		fclose(e->out);
}

/* editor:close(): gives the terminal back; may be called twice. */
static int editor_close(lua_State *L)
{
	struct holder *h = luaL_checkudata(L, 1, TYPE);
	struct editor *e = h->editor;

	h->editor = NULL;
	if (!e)
		return 0;
	editline_order_give(e, QUIT, NULL, NULL);
	uv_thread_join(&e->thread);
	if (e->waiting)
		task_wake(e->waiting);
	close_library(e);
	close_handles(e);
	return 0;
}

/* ---- the library ---- */

/* Keys that libedit leaves unbound, or binds otherwise than people know them from their shells. */
static const char *const keys[][2] = {
	{"^R", "em-inc-search-prev"}, {"\\e[3~", "ed-delete-next-char"}, {"\\e[1~", "ed-move-to-beg"},
	{"\\e[4~", "ed-move-to-end"}, {"\\e[H", "ed-move-to-beg"}, {"\\e[F", "ed-move-to-end"},
	{"\\e[1;5D", "ed-prev-word"}, {"\\e[1;5C", "em-next-word"}, {"^W", "ed-delete-prev-word"},
};

static int open_library(struct editor *e)
{
	HistEvent event;

	e->in = fdopen(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), "r");
	e->out = fdopen(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "w");
	e->history = history_init();
	if (!e->in || !e->out || !e->history || !(e->el = el_init("neap", e->in, e->out, e->out)))
		return -1;
	history(e->history, &event, H_SETSIZE, REMEMBERED);
	history(e->history, &event, H_SETUNIQUE, 1);
	el_set(e->el, EL_CLIENTDATA, e);
	el_set(e->el, EL_SIGNAL, 0);
	el_set(e->el, EL_HIST, history, e->history);
	el_set(e->el, EL_EDITOR, "emacs");
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		el_set(e->el, EL_BIND, keys[i][0], keys[i][1], NULL);
	el_source(e->el, NULL); /* ~/.editrc */
	editline_typing_begin(e);
	return 0;
}

static struct editor *new_editor(void)
{
	struct editor *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	if (pipe2(e->pipe, O_CLOEXEC) || uv_mutex_init(&e->lock)) {
		free(e);
		return NULL;
	}
	return e;
}

/* editline.open([colours]) -> editor: on the standard input, which is a terminal, and the error output. */
static int editline_open(lua_State *L)
{
	bool colours = lua_toboolean(L, 1);
	struct holder *h;
	struct editor *e;

	if (!isatty(STDIN_FILENO))
		return luaL_error(L, "the standard input is no terminal");
	h = lua_newuserdatauv(L, sizeof *h, 0);
	*h = (struct holder){NULL};
	luaL_setmetatable(L, TYPE);
	e = new_editor();
	if (!e)
		return luaL_error(L, "not enough memory");
	e->tells_changes = colours;
	open_handles(e);
	if (open_library(e) || start_thread(e)) {
		close_library(e);
		close_handles(e);
		return luaL_error(L, "the terminal cannot be edited on");
	}
	h->editor = e;
	return 1;
}

/* ---- in Lua's tasks ---- */

static struct editor *check_editor(lua_State *L)
{
	struct holder *h = luaL_checkudata(L, 1, TYPE);

	luaL_argcheck(L, h->editor != NULL, 1, "editor is closed");
	return h->editor;
}

/* A call that waits, closed with it: what nobody waits for any more is stopped. */
static int call_close(lua_State *L)
{
	struct call *call = luaL_checkudata(L, 1, CALL);
	struct editor *e = call->of->editor;

	if (!e || !e->waiting)
		return 0;
	e->waiting = NULL;
	if (e->reading)
		editline_order_give(e, STOP, NULL, NULL);
	return 0;
}

static enum event_kind take_event(struct editor *e, char **left, char **right)
{
	enum event_kind kind;

	uv_mutex_lock(&e->lock);
	kind = e->event;
	*left = e->left;
	*right = e->right;
	e->event = NONE;
	e->left = e->right = NULL;
	uv_mutex_unlock(&e->lock);
	return kind;
}

/* At index 1 the call, at 2 the editor. */
static int event_step(lua_State *L)
{
	static const char *const names[] = {[LINE] = "line", [END] = "end", [STOPPED] = "stopped", [COMPLETE] = "complete",
					   [CHANGED] = "changed"};
	struct holder *h = lua_touserdata(L, 2);
	struct editor *e = h->editor;
	enum event_kind kind;
	char *left, *right;

	if (!e)
		return error_raise(L, "cancelled", "the editor was closed");
	kind = take_event(e, &left, &right);
	if (kind == NONE)
		return task_park(L, event_step);
	e->waiting = NULL;
	e->reading = kind == COMPLETE || kind == CHANGED;
	lua_settop(L, 2);
	lua_pushstring(L, names[kind]);
	lua_pushstring(L, left); /* nil where there is none */
	lua_pushstring(L, right);
	free(left);
	free(right);
	return 3;
}

/* Puts a call below the editor, closed when the call ends. */
static void begin_call(lua_State *L, struct editor *e)
{
	struct call *call = lua_newuserdatauv(L, sizeof *call, 0);

	call->of = lua_touserdata(L, 1);
	luaL_setmetatable(L, CALL);
	lua_insert(L, 1);
	lua_toclose(L, 1);
	e->waiting = task_current(L);
	task_deadline(L, lua_gettop(L) + 1, 24 * 86400 * 1000);
}

/* After a call that was cancelled the thread may still be on its way out of its line. */
static int stopped_step(lua_State *L)
{
	struct holder *h = lua_touserdata(L, 2);
	struct editor *e = h->editor;
	const char *prompt = lua_tostring(L, 3);
	char *left, *right;

	if (!e)
		return error_raise(L, "cancelled", "the editor was closed");
	if (e->reading && take_event(e, &left, &right) == NONE)
		return task_park(L, stopped_step);
	editline_order_give(e, READ, prompt, NULL);
	e->reading = true;
	lua_settop(L, 2);
	return event_step(L);
}

/*
 * editor:read(prompt) -> "line", text with its end; "end" at the end of input; "stopped" after stop(); or "complete",
 * left, right: what stands at both sides of the cursor, after which complete() is to be called; or, of an editor with
 * colours, "changed", the line as it is now, after which paint() is. Deadline: 24 days, for a person.
 */
static int editor_read(lua_State *L)
{
	struct editor *e = check_editor(L);

	luaL_checkstring(L, 2);
	if (e->waiting)
		return luaL_error(L, "somebody reads already");
	lua_settop(L, 2);
	begin_call(L, e);
	return stopped_step(L);
}

/* Gives what the last event asked for, text and list at index 2 and 3, and waits for the next one. */
static int answer(lua_State *L, enum order_kind kind)
{
	struct editor *e = check_editor(L);

	if (!e->reading || e->waiting)
		return luaL_error(L, "nothing was asked");
	editline_order_give(e, kind, luaL_checkstring(L, 2), luaL_optstring(L, 3, NULL));
	lua_settop(L, 1);
	begin_call(L, e);
	return event_step(L);
}

/* editor:complete(text [, list]) -> as read: puts the text at the cursor, shows the list below the line, and reads on. */
static int editor_complete(lua_State *L)
{
	return answer(L, ANSWER);
}

/*
 * editor:paint(line [, painted]) -> as read: the line with its colours, each between two \1, is written over it, and reads
 * on. Where it is another line by now, nothing is written.
 */
static int editor_paint(lua_State *L)
{
	return answer(L, PAINT);
}

/* editor:print(text): above the line that is edited. Secrets are replaced by their marks. */
static int editor_print(lua_State *L)
{
	struct editor *e = check_editor(L);
	size_t length;
	const char *text = luaL_checklstring(L, 2, &length);

	secret_push_redacted(L, text, length);
	editline_order_give(e, PRINT, lua_tostring(L, -1), NULL);
	return 0;
}

/* editor:stop(): the read that waits returns "stopped". */
static int editor_stop(lua_State *L)
{
	struct editor *e = check_editor(L);

	if (e->reading)
		editline_order_give(e, STOP, NULL, NULL);
	return 0;
}

/* editor:remember(line): adds it to what the arrow keys and ^R find. Not while a line is read. */
static int editor_remember(lua_State *L)
{
	struct editor *e = check_editor(L);
	const char *line = luaL_checkstring(L, 2);
	HistEvent event;

	if (e->reading)
		return luaL_error(L, "a line is being read");
	history(e->history, &event, H_ENTER, line);
	return 0;
}

int luaopen_editline(lua_State *L)
{
	static const luaL_Reg functions[] = {{"open", editline_open}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
		{"read", editor_read},
		{"complete", editor_complete},
		{"paint", editor_paint},
		{"print", editor_print},
		{"stop", editor_stop},
		{"remember", editor_remember},
		{"close", editor_close},
		{"__gc", editor_close},
		{"__close", editor_close},
		{NULL, NULL},
	};

	luaL_newmetatable(L, CALL);
	lua_pushcfunction(L, call_close);
	lua_setfield(L, -2, "__close");
	luaL_newmetatable(L, TYPE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
