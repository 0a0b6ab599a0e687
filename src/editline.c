/*
 * native.editline: lines that a person types and edits at the terminal, by libedit.
 *
 * libedit waits for keys inside its own calls (^R, ^V and keys of several bytes each do), so it has a thread of its own
 * and the loop goes on meanwhile. The two talk by orders (down, through a pipe that wakes the wait for a key) and one
 * event at a time (up, through an async handle). The thread touches no Lua.
 */
#include "error.h"
#include "secret.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <lauxlib.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define TYPE "editline.editor"
#define CALL "editline.call"
#define REMEMBERED 1000 /* lines of history */
#define ESCAPE '\1'     /* stands round what of a prompt takes no column */

enum order_kind { READ, ANSWER, PRINT, STOP, REDRAW, QUIT };

struct order {
	enum order_kind kind;
	char *text, *list; /* each may be NULL; freed with the order */
	struct order *next;
};

enum event_kind { NONE, LINE, END, STOPPED, COMPLETE };

struct editor {
	EditLine *el;
	History *history;
	FILE *in, *out;
	int pipe[2];
	uv_thread_t thread;
	uv_async_t told;
	uv_signal_t resized, continued;
	int handles;          /* of the loop that are not closed yet; the last one to close frees all */
	uv_mutex_t lock;
	struct order *orders; /* under the lock, as are event, left and right */
	enum event_kind event;
	char *left, *right;   /* a line that was typed; or what stands at both sides of the cursor */
	char *prompt;         /* the thread's while it reads */
	bool stopped, quitting; /* the thread's */
	bool reading;         /* between READ and LINE, END or STOPPED; the loop's, as is the next */
	struct task *waiting; /* NULL while nobody waits for an event */
};

struct holder {
	struct editor *editor; /* NULL once closed */
};

/* One call that waits. */
struct call {
	struct holder *of; /* lies below it on the same stack */
};

/* ---- orders ---- */

static struct order *new_order(enum order_kind kind, const char *text, const char *list)
{
	struct order *order = calloc(1, sizeof *order);

	if (!order)
		return NULL;
	*order = (struct order){.kind = kind, .text = text ? strdup(text) : NULL, .list = list ? strdup(list) : NULL};
	return order;
}

static void free_order(struct order *order)
{
	free(order->text);
	free(order->list);
	free(order);
}

static void give(struct editor *e, enum order_kind kind, const char *text, const char *list)
{
	struct order *order = new_order(kind, text, list), **last = &e->orders;

	if (!order)
		return;
	uv_mutex_lock(&e->lock);
	while (*last)
		last = &(*last)->next;
	*last = order;
	uv_mutex_unlock(&e->lock);
	while (write(e->pipe[1], "", 1) < 0 && errno == EINTR)
		;
}

/* Waits for the next order; the caller frees it. */
static struct order *take(struct editor *e)
{
	struct order *order;
	char byte;

	while (read(e->pipe[0], &byte, 1) < 0 && errno == EINTR)
		;
	uv_mutex_lock(&e->lock);
	order = e->orders;
	if (order)
		e->orders = order->next;
	uv_mutex_unlock(&e->lock);
	return order;
}

/* ---- in the thread ---- */

static void tell(struct editor *e, enum event_kind kind, char *left, char *right)
{
	uv_mutex_lock(&e->lock);
	free(e->left);
	free(e->right);
	e->event = kind;
	e->left = left;
	e->right = right;
	uv_mutex_unlock(&e->lock);
	uv_async_send(&e->told);
}

/* Columns of so many bytes; of a prompt without what stands between two ESCAPEs. */
static size_t columns(const char *text, size_t length)
{
	mbstate_t state = {0};
	size_t count = 0, step;
	bool hidden = false;

	for (size_t at = 0; at < length; at += step) {
		wchar_t wide;

		step = mbrtowc(&wide, text + at, length - at, &state);
		if (step == 0 || step == (size_t)-1 || step == (size_t)-2) {
			memset(&state, 0, sizeof state);
			step = 1;
			count++;
			continue;
		}
		if (wide == ESCAPE)
			hidden = !hidden;
		else if (!hidden && wcwidth(wide) > 0)
			count += (size_t)wcwidth(wide);
	}
	return count;
}

/* Takes prompt and line off the screen: the cursor then stands where the prompt began. */
static void erase(struct editor *e)
{
	const LineInfo *line = el_line(e->el);
	size_t typed = columns(line->buffer, (size_t)(line->cursor - line->buffer));
	size_t before = columns(e->prompt, strlen(e->prompt)) + typed;
	struct winsize size;
	size_t width = ioctl(fileno(e->out), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;

	fputc('\r', e->out);
	if (before / width)
		fprintf(e->out, "\033[%zuA", before / width);
	fputs("\033[J", e->out);
}

static void print_above(struct editor *e, const char *text)
{
	erase(e);
	fputs(text, e->out);
	fflush(e->out);
	el_set(e->el, EL_REFRESH);
}

static void redraw(struct editor *e)
{
	el_resize(e->el);
	el_set(e->el, EL_PREP_TERM, 1); /* the shell had the terminal since, perhaps */
	el_set(e->el, EL_REFRESH);
}

/* What may come while a line is edited. Returns whether the editing goes on. */
static bool obey(struct editor *e, struct order *order)
{
	if (order->kind == PRINT && order->text)
		print_above(e, order->text);
	else if (order->kind == REDRAW)
		redraw(e);
	else if (order->kind == STOP)
		e->stopped = true;
	else if (order->kind == QUIT)
		e->quitting = true;
	free_order(order);
	return !e->stopped && !e->quitting;
}

/* One byte from the terminal; 0 where the editing is over. */
static int read_byte(struct editor *e, char *byte)
{
	struct pollfd files[] = {{.fd = e->pipe[0], .events = POLLIN}, {.fd = fileno(e->in), .events = POLLIN}};

	for (;;) {
		if (poll(files, 2, -1) < 0)
			continue;
		if (files[0].revents) {
			struct order *order = take(e);

			if (order && !obey(e, order))
				return 0;
		} else if (files[1].revents) {
			ssize_t count = read(fileno(e->in), byte, 1);

			if (count >= 0 || (errno != EINTR && errno != EAGAIN))
				return count == 1;
		}
	}
}

/* libedit's source of characters. What is no character is passed over. */
static int read_key(EditLine *el, wchar_t *key)
{
	mbstate_t state = {0};
	struct editor *e;
	char byte;

	el_get(el, EL_CLIENTDATA, &e);
	while (!e->stopped && !e->quitting && read_byte(e, &byte)) {
		size_t step = mbrtowc(key, &byte, 1, &state);

		if (step <= 1)
			return 1;
		if (step == (size_t)-1)
			memset(&state, 0, sizeof state);
	}
	return 0;
}

static char *prompt_of(EditLine *el)
{
	struct editor *e;

	el_get(el, EL_CLIENTDATA, &e);
	return e->prompt;
}

/* The candidates, below the line as it stands. */
static void show_candidates(struct editor *e, const char *list)
{
	const LineInfo *line = el_line(e->el);

	erase(e);
	for (const char *at = e->prompt; *at; at++)
		if (*at != ESCAPE)
			fputc(*at, e->out);
	fwrite(line->buffer, 1, (size_t)(line->lastchar - line->buffer), e->out);
	fprintf(e->out, "\n%s", list);
	fflush(e->out);
}

/* Tab: asks Lua, and waits for its answer; what is typed meanwhile waits in the terminal. */
static unsigned char complete(EditLine *el, int key)
{
	const LineInfo *line = el_line(el);
	struct order *order;
	struct editor *e;

	(void)key;
	el_get(el, EL_CLIENTDATA, &e);
	tell(e, COMPLETE, strndup(line->buffer, (size_t)(line->cursor - line->buffer)),
			strndup(line->cursor, (size_t)(line->lastchar - line->cursor)));
	while (!(order = take(e)) || order->kind != ANSWER)
		if (order && !obey(e, order))
			return CC_EOF;
	if (order->list)
		show_candidates(e, order->list);
	if (order->text && *order->text)
		el_insertstr(el, order->text);
	if (order->list)
		el_set(el, EL_REFRESH);
	free_order(order);
	return CC_REFRESH;
}

static void edit(struct editor *e, const char *prompt)
{
	const char *line;
	int count = 0;

	free(e->prompt);
	e->prompt = strdup(prompt ? prompt : "");
	e->stopped = false;
	line = el_gets(e->el, &count);
	if (e->stopped)
		tell(e, STOPPED, NULL, NULL);
	else if (!line || count <= 0)
		tell(e, END, NULL, NULL);
	else
		tell(e, LINE, strndup(line, (size_t)count), NULL);
}

static void thread_main(void *context)
{
	struct editor *e = context;

	while (!e->quitting) {
		struct order *order = take(e);

		if (!order)
			continue;
		if (order->kind == READ)
			edit(e, order->text);
		else if (order->kind == QUIT)
			e->quitting = true;
		else if (order->kind == PRINT && order->text)
			fputs(order->text, e->out), fflush(e->out);
		free_order(order);
	}
}

/* ---- lifetime ---- */

static void free_editor(struct editor *e)
{
	while (e->orders) {
		struct order *order = e->orders;

		e->orders = order->next;
		free_order(order);
	}
	free(e->left);
	free(e->right);
	free(e->prompt);
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

	(void)number;
	if (e->reading)
		give(e, REDRAW, NULL, NULL);
}

/* Signals are the loop's: the thread gets none. */
static int start_thread(struct editor *e)
{
	sigset_t all, before;
	int failed;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = uv_thread_create(&e->thread, thread_main, e);
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
	give(e, QUIT, NULL, NULL);
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
	el_set(e->el, EL_GETCFN, read_key);
	el_set(e->el, EL_PROMPT_ESC, prompt_of, ESCAPE);
	el_set(e->el, EL_HIST, history, e->history);
	el_set(e->el, EL_EDITOR, "emacs");
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		el_set(e->el, EL_BIND, keys[i][0], keys[i][1], NULL);
	el_source(e->el, NULL); /* ~/.editrc */
	el_wset(e->el, EL_ADDFN, L"neap-complete", L"completes names", complete); /* el_set would leak copies of them */
	el_set(e->el, EL_BIND, "^I", "neap-complete", NULL);
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

/* editline.open() -> editor: on the standard input, which is a terminal, and the error output. */
static int editline_open(lua_State *L)
{
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
		give(e, STOP, NULL, NULL);
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
	static const char *const names[] = {[LINE] = "line", [END] = "end", [STOPPED] = "stopped", [COMPLETE] = "complete"};
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
	e->reading = kind == COMPLETE;
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
	give(e, READ, prompt, NULL);
	e->reading = true;
	lua_settop(L, 2);
	return event_step(L);
}

/*
 * editor:read(prompt) -> "line", text with its end; "end" at the end of input; "stopped" after stop(); or "complete",
 * left, right: what stands at both sides of the cursor, after which complete() is to be called. Deadline: 24 days, for a
 * person.
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

/* editor:complete(text [, list]) -> as read: puts the text at the cursor, shows the list below the line, and reads on. */
static int editor_complete(lua_State *L)
{
	struct editor *e = check_editor(L);

	if (!e->reading || e->waiting)
		return luaL_error(L, "nothing is to be completed");
	give(e, ANSWER, luaL_checkstring(L, 2), luaL_optstring(L, 3, NULL));
	lua_settop(L, 1);
	begin_call(L, e);
	return event_step(L);
}

/* editor:print(text): above the line that is edited. Secrets are replaced by their marks. */
static int editor_print(lua_State *L)
{
	struct editor *e = check_editor(L);
	size_t length;
	const char *text = luaL_checklstring(L, 2, &length);

	secret_push_redacted(L, text, length);
	give(e, PRINT, lua_tostring(L, -1), NULL);
	return 0;
}

/* editor:stop(): the read that waits returns "stopped". */
static int editor_stop(lua_State *L)
{
	struct editor *e = check_editor(L);

	if (e->reading)
		give(e, STOP, NULL, NULL);
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
