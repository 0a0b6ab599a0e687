/* The methods that every running program has, wherever it runs. */
#include "stream.h"
#include "error.h"
#include "secret.h"
#include "task.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum {
	PIECE = 64 * 1024,
	KEEP_HEAD = 64 * 1024,   /* of each output the first */
	KEEP_TAIL = 1024 * 1024, /* and the last bytes */
	TURN = 16,               /* pieces before other tasks get their turn */
	ERROR_OUTPUT = 8 * 1024, /* bytes shown with an error */
	DEADLINE_MS = 3600 * 1000,
	LINGER_MS = 500, /* for output after the exit: a program left behind may hold the pipe for ever */
};

#define COLLECTING "stream.collecting"

/* The beginning and the end of what was read. `bytes` holds the head, then up to twice the tail. */
struct kept {
	char *bytes;
	size_t length, size, head, tail;
	lua_Integer total;
	int ended;
};

struct collecting {
	struct kept side[2]; /* output, error output */
	size_t sent;
	double deadline;
	int input_closed, exited, lingering;
	int status;
	char signal_name[16];
};

struct stream *stream_check(lua_State *L, int arg)
{
	struct stream *s = lua_touserdata(L, arg);

	if (!s || luaL_getmetafield(L, arg, "__stream") == LUA_TNIL)
		luaL_typeerror(L, arg, "stream");
	lua_pop(L, 1);
	luaL_argcheck(L, s->ops != NULL, arg, "stream is closed");
	return s;
}

/* In a step: another task may have closed the stream meanwhile. */
static struct stream *open_stream(lua_State *L)
{
	struct stream *s = lua_touserdata(L, 1);

	if (!s->ops)
		error_raise(L, "lost", "the stream was closed meanwhile");
	return s;
}

static int lost(lua_State *L, struct stream *s)
{
	return error_raise(L, "lost", "%s", s->ops->failure(s));
}

/* ---- reading, writing, waiting ---- */

/* Stack: stream, number of bytes. */
static int read_side(lua_State *L, int err, lua_CFunction step)
{
	struct stream *s = open_stream(L);
	char piece[PIECE];
	ssize_t n = s->ops->read(s, err, piece, (size_t)lua_tointeger(L, 2));

	if (n == STREAM_AGAIN)
		return s->ops->wait(L, s, TASK_READ, step);
	if (n == STREAM_LOST)
		return lost(L, s);
	if (n == 0)
		return 0;
	lua_pushlstring(L, piece, (size_t)n);
	return 1;
}

static int read_step(lua_State *L)
{
	return read_side(L, 0, read_step);
}

static int read_error_step(lua_State *L)
{
	return read_side(L, 1, read_error_step);
}

static int start_read(lua_State *L, lua_CFunction step)
{
	lua_Integer max = luaL_optinteger(L, 2, PIECE);

	stream_check(L, 1);
	luaL_argcheck(L, max > 0, 2, "must be positive");
	lua_settop(L, 1);
	lua_pushinteger(L, max < PIECE ? max : PIECE);
	task_deadline(L, 3, DEADLINE_MS);
	return step(L);
}

/* stream:read([max]) -> bytes | nil at the end: what is there of the output, at least one byte */
static int stream_read(lua_State *L)
{
	return start_read(L, read_step);
}

/* stream:read_error([max]) -> bytes | nil at the end */
static int stream_read_error(lua_State *L)
{
	return start_read(L, read_error_step);
}

/* A program that has ended may leave input unread: its status tells how it went. */
static int unread(lua_State *L, struct stream *s)
{
	int status;
	char signal_name[16];

	return s->ops->exited(s, &status, signal_name) == 1 ? 0 : lost(L, s);
}

/* Stack: stream, bytes, how many of them are written. */
static int write_step(lua_State *L)
{
	struct stream *s = open_stream(L);
	size_t length, sent = (size_t)lua_tointeger(L, 3);
	const char *bytes = secret_bytes(L, 2, &length);

	while (sent < length) {
		ssize_t n = s->ops->write(s, bytes + sent, length - sent);

		if (n == STREAM_LOST)
			return unread(L, s);
		if (n < 0) {
			lua_pushinteger(L, (lua_Integer)sent);
			lua_replace(L, 3);
			return s->ops->wait(L, s, TASK_WRITE, write_step);
		}
		sent += (size_t)n;
	}
	return 0;
}

/* stream:write(bytes or secret): all of them. Raises `lost` if the program closed its input and runs on. */
static int stream_write(lua_State *L)
{
	size_t length;

	stream_check(L, 1);
	secret_check(L, 2, &length);
	lua_settop(L, 2);
	lua_pushinteger(L, 0);
	task_deadline(L, 4, DEADLINE_MS);
	return write_step(L);
}

static int close_input_step(lua_State *L)
{
	struct stream *s = open_stream(L);
	int rc = s->ops->close_input(s);

	if (rc == STREAM_AGAIN)
		return s->ops->wait(L, s, TASK_WRITE, close_input_step);
	return rc == STREAM_LOST ? unread(L, s) : 0;
}

/* stream:close_input(): the program reads its end of input. */
static int stream_close_input(lua_State *L)
{
	stream_check(L, 1);
	lua_settop(L, 1);
	task_deadline(L, 2, DEADLINE_MS);
	return close_input_step(L);
}

/* Sets status or signal in the table on top of the stack. */
static void set_exit(lua_State *L, int status, const char *signal_name)
{
	if (*signal_name) {
		lua_pushstring(L, signal_name);
		lua_setfield(L, -2, "signal");
		return;
	}
	lua_pushinteger(L, status);
	lua_setfield(L, -2, "status");
}

static int wait_step(lua_State *L)
{
	struct stream *s = open_stream(L);
	int status = 0;
	char signal_name[16] = "";
	int rc = s->ops->exited(s, &status, signal_name);

	if (rc == 0)
		return s->ops->wait(L, s, TASK_READ, wait_step);
	if (rc == STREAM_LOST)
		return lost(L, s);
	lua_createtable(L, 0, 1);
	set_exit(L, status, signal_name);
	return 1;
}

/* stream:wait() -> { status = n } or { signal = "TERM" }. Reads nothing: a program full of output does not end. */
static int stream_wait(lua_State *L)
{
	stream_check(L, 1);
	lua_settop(L, 1);
	task_deadline(L, 2, DEADLINE_MS);
	return wait_step(L);
}

/* ---- collecting ---- */

/* Drops what lies between the head and the last `tail` bytes. */
static void kept_trim(struct kept *k)
{
	if (k->length <= k->head + k->tail)
		return;
	memmove(k->bytes + k->head, k->bytes + k->length - k->tail, k->tail);
	k->length = k->head + k->tail;
}

static int kept_reserve(struct kept *k, size_t more)
{
	size_t size = k->size ? k->size : 4096;
	char *bytes;

	while (size < k->length + more)
		size *= 2;
	if (size == k->size)
		return 1;
	bytes = realloc(k->bytes, size);
	if (!bytes)
		return 0;
	k->bytes = bytes;
	k->size = size;
	return 1;
}

static void kept_add(lua_State *L, struct kept *k, const char *piece, size_t n)
{
	if (k->length + n > k->head + 2 * k->tail)
		kept_trim(k);
	if (!kept_reserve(k, n))
		luaL_error(L, "not enough memory");
	memcpy(k->bytes + k->length, piece, n);
	k->length += n;
	k->total += (lua_Integer)n;
}

/* Pushes what was kept; where something was left out, a line says so. */
static void push_kept(lua_State *L, struct kept *k)
{
	lua_Integer cut;

	kept_trim(k);
	cut = k->total - (lua_Integer)k->length;
	if (!cut) {
		lua_pushlstring(L, k->bytes ? k->bytes : "", k->length);
		return;
	}
	lua_pushlstring(L, k->bytes, k->head);
	lua_pushfstring(L, "\n[%I bytes left out]\n", cut);
	lua_pushlstring(L, k->bytes + k->head, k->length - k->head);
	lua_concat(L, 3);
}

static int collecting_gc(lua_State *L)
{
	struct collecting *c = lua_touserdata(L, 1);

	for (int err = 0; err <= 1; err++) {
		free(c->side[err].bytes);
		c->side[err] = (struct kept){0};
	}
	return 0;
}

static struct collecting *new_collecting(lua_State *L, int options)
{
	struct collecting *c = lua_newuserdatauv(L, sizeof *c, 0);
	lua_Integer limit = KEEP_HEAD + KEEP_TAIL;

	*c = (struct collecting){0};
	luaL_setmetatable(L, COLLECTING);
	if (lua_istable(L, options) && lua_getfield(L, options, "limit") != LUA_TNIL) {
		limit = luaL_checkinteger(L, -1);
		luaL_argcheck(L, limit > 0, options, "limit must be positive");
	}
	lua_settop(L, options + 1);
	for (int err = 0; err <= 1; err++) {
		c->side[err].head = limit < 2 * KEEP_HEAD ? (size_t)limit / 2 : KEEP_HEAD;
		c->side[err].tail = (size_t)limit - c->side[err].head;
	}
	return c;
}

/* Stack of the collecting function: stream, its struct collecting, input or nil, callback or nil. */
enum { STREAM = 1, STATE, INPUT, CALLBACK };

/* Writes what the program takes now. A program that closed its input early is no error: its status tells. */
static int feed(lua_State *L, struct stream *s, struct collecting *c)
{
	size_t length = 0, sent = c->sent;
	const char *input = secret_bytes(L, INPUT, &length);
	ssize_t n = 0;

	while (!c->input_closed && c->sent < length) {
		n = s->ops->write(s, input + c->sent, length - c->sent);
		if (n == STREAM_AGAIN)
			return c->sent > sent;
		if (n == STREAM_LOST)
			c->input_closed = 1;
		else
			c->sent += (size_t)n;
	}
	if (c->input_closed)
		return 0;
	c->input_closed = s->ops->close_input(s) != STREAM_AGAIN;
	return c->input_closed;
}

static int collect_step(lua_State *L);

/* The callback may have waited, which sets a deadline of its own. */
static void restore_deadline(lua_State *L, const struct collecting *c)
{
	task_deadline(L, lua_gettop(L) + 1, (int)((c->deadline - task_now()) * 1000));
}

static int output_seen(lua_State *L, int status, lua_KContext context)
{
	(void)status, (void)context;
	restore_deadline(L, lua_touserdata(L, STATE));
	return collect_step(L);
}

/* Reads one piece of a side, keeps it, shows it. Returns whether there was anything. */
static int take(lua_State *L, struct stream *s, struct collecting *c, int err)
{
	char piece[PIECE];
	ssize_t n;

	if (c->side[err].ended)
		return 0;
	n = s->ops->read(s, err, piece, sizeof piece);
	if (n == STREAM_LOST)
		return lost(L, s);
	c->side[err].ended = n == 0;
	if (n <= 0)
		return n == 0;
	kept_add(L, &c->side[err], piece, (size_t)n);
	if (lua_isnil(L, CALLBACK))
		return 1;
	lua_pushvalue(L, CALLBACK);
	lua_pushlstring(L, piece, (size_t)n);
	lua_pushstring(L, err ? "err" : "out");
	lua_callk(L, 2, 0, 0, output_seen);
	restore_deadline(L, c);
	return 1;
}

/* What the program itself wrote is there when it has exited; for what others write to its pipe, only a moment. */
static void linger(lua_State *L, struct collecting *c)
{
	double until = task_now() + LINGER_MS / 1000.0;

	if (c->lingering)
		return;
	c->lingering = 1;
	if (until < c->deadline)
		c->deadline = until;
	restore_deadline(L, c);
}

static int note_exit(lua_State *L, struct stream *s, struct collecting *c)
{
	int rc = c->exited ? 1 : s->ops->exited(s, &c->status, c->signal_name);

	if (rc == STREAM_LOST && c->side[0].ended && c->side[1].ended)
		return lost(L, s);
	c->exited = rc == 1;
	return c->exited;
}

static int collect_step(lua_State *L)
{
	struct collecting *c = lua_touserdata(L, STATE);

	for (int turn = 0; turn < TURN; turn++) {
		struct stream *s = open_stream(L);
		int moved = feed(L, s, c);

		moved |= take(L, s, c, 0);
		s = open_stream(L);
		moved |= take(L, s, c, 1);
		s = open_stream(L);
		if (note_exit(L, s, c)) {
			if (c->side[0].ended && c->side[1].ended)
				return 0;
			linger(L, c);
		}
		if (!moved)
			return s->ops->wait(L, s, c->input_closed ? TASK_READ : TASK_READ | TASK_WRITE, collect_step);
	}
	return task_yield(L, collect_step);
}

static int collect_start(lua_State *L)
{
	restore_deadline(L, lua_touserdata(L, STATE));
	return collect_step(L);
}

static int push_collected(lua_State *L, struct collecting *c)
{
	lua_createtable(L, 0, 6);
	push_kept(L, &c->side[0]);
	lua_setfield(L, -2, "out");
	lua_pushinteger(L, c->side[0].total);
	lua_setfield(L, -2, "out_bytes");
	push_kept(L, &c->side[1]);
	lua_setfield(L, -2, "err");
	lua_pushinteger(L, c->side[1].total);
	lua_setfield(L, -2, "err_bytes");
	set_exit(L, c->status, c->signal_name);
	return 1;
}

/* Gives the error on top of the stack the last lines of the program, unless it has some. */
static void add_output(lua_State *L, const struct collecting *c)
{
	const struct kept *k = &c->side[c->side[1].length > 0];
	size_t length, shown;
	const char *text;

	if (!lua_istable(L, -1) || !k->length)
		return;
	if (lua_getfield(L, -1, "output") == LUA_TNIL) {
		secret_push_redacted(L, k->bytes, k->length); /* before it is cut, which could part a secret */
		text = lua_tolstring(L, -1, &length);
		shown = length < ERROR_OUTPUT ? length : ERROR_OUTPUT;
		lua_pushlstring(L, text + length - shown, shown);
		lua_setfield(L, -4, "output");
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static int is_timeout(lua_State *L)
{
	int same;

	if (!lua_istable(L, -1))
		return 0;
	lua_getfield(L, -1, "kind");
	same = lua_isstring(L, -1) && !strcmp(lua_tostring(L, -1), "timeout");
	lua_pop(L, 1);
	return same;
}

/* Stack: stream, options, struct collecting, and an error object if status says so. */
static int collected(lua_State *L, int status, lua_KContext context)
{
	struct stream *s = lua_touserdata(L, 1);
	struct collecting *c = lua_touserdata(L, 3);

	(void)context;
	if (status == LUA_OK || status == LUA_YIELD || (c->lingering && is_timeout(L)))
		return push_collected(L, c);
	if (s->ops)
		s->ops->cancel(s);
	add_output(L, c);
	return lua_error(L);
}

static void push_option(lua_State *L, const char *name)
{
	if (lua_istable(L, 2))
		lua_getfield(L, 2, name);
	else
		lua_pushnil(L);
}

int stream_collect(lua_State *L)
{
	struct collecting *c;
	size_t length;

	stream_check(L, 1);
	lua_settop(L, 2);
	c = new_collecting(L, 2);
	push_option(L, "timeout");
	c->deadline = task_now() + luaL_optnumber(L, -1, DEADLINE_MS / 1000.0);
	lua_settop(L, 3);
	lua_pushcfunction(L, collect_start);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, 3);
	push_option(L, "input");
	if (!lua_isnil(L, -1))
		secret_check(L, -1, &length);
	push_option(L, "on_output");
	if (!lua_isnil(L, -1))
		luaL_checktype(L, -1, LUA_TFUNCTION);
	return collected(L, lua_pcallk(L, 4, 0, 0, 0, collected), 0);
}

/*
 * stream:collect { input = bytes or secret?, limit = bytes?, on_output = fn(bytes, "out" | "err")?, timeout = seconds? }
 *   -> { out, err, out_bytes, err_bytes, status | signal }
 * Writes the input and closes it, reads both sides meanwhile, waits for the exit. Of each side the first 64 KiB and the
 * last 1 MiB are kept (`limit`: together that many bytes); *_bytes counts all. What fails or is cut short ends the
 * program; its last lines are the error's `output`.
 */
static int stream_collect_checked(lua_State *L)
{
	static const char *const options[] = {STREAM_COLLECT_OPTIONS, NULL};

	stream_check(L, 1);
	error_check_options(L, 2, options);
	return stream_collect(L);
}

/* stream:close(): ends the program if it still runs. May be called twice. */
static int stream_close(lua_State *L)
{
	struct stream *s = lua_touserdata(L, 1);
	const struct stream_ops *ops;

	luaL_argcheck(L, s && luaL_getmetafield(L, 1, "__stream") != LUA_TNIL, 1, "stream expected");
	ops = s->ops;
	s->ops = NULL;
	if (ops)
		ops->close(s);
	return 0;
}

void stream_newmetatable(lua_State *L, const char *type)
{
	static const luaL_Reg methods[] = {
		{"read", stream_read},     {"read_error", stream_read_error},
		{"write", stream_write},   {"close_input", stream_close_input},
		{"wait", stream_wait},     {"collect", stream_collect_checked},
		{"close", stream_close},   {"__gc", stream_close},
		{"__close", stream_close}, {NULL, NULL},
	};

	if (luaL_newmetatable(L, COLLECTING)) {
		lua_pushcfunction(L, collecting_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_pop(L, 1);
	luaL_newmetatable(L, type);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "__stream");
}
