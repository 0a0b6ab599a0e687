/* One statement from its first call to its last: a transaction that may only read round it, its rows, its warnings. */
#include "mysql_statement.h"
#include "data.h"
#include "error.h"
#include "task.h"

#include <lauxlib.h>
#include <string.h>

#define GUARD_TYPE "mysql.guard"

enum {
	READ_MS = 60 * 1000,
	CHANGE_MS = 3600 * 1000,
	LEAVE_MS = 15 * 1000,
	ROWS_MOST = 100000,
	BYTES_MOST = 256 * 1024 * 1024,
	TURN = 512, /* rows before other tasks get their turn */
};

static struct mysql_session *open_session(lua_State *L, const struct statement *st)
{
	struct mysql_session *s = *st->slot;

	if (!s)
		error_raise(L, "lost", "the connection was closed meanwhile");
	if (*s->broken)
		error_raise(L, "lost", "%s", s->broken);
	return s;
}

/* ---- steps ---- */

static int is_between_statements(const struct statement *st)
{
	return !st->wanted && (st->phase == STARTING || st->phase == BEGINNING || st->phase == WARNING ||
			       st->phase == ENDING);
}

/* A kill that came too late for its statement would meet the next. */
static void absorb_kill(struct mysql_session *s, struct statement *st)
{
	if (!s->stale_kill)
		return;
	s->stale_kill = 0;
	st->then = st->phase;
	st->phase = CLEARING;
}

static void disarm(lua_State *L, struct statement *st)
{
	*(struct statement **)lua_touserdata(L, GUARD) = NULL;
	st->stepping = 0;
}

static int push_result(lua_State *L, const struct statement *st)
{
	lua_getiuservalue(L, STATEMENT, RESULT);
	lua_pushvalue(L, ROWS);
	lua_setfield(L, -2, "rows");
	lua_pushinteger(L, st->affected);
	lua_setfield(L, -2, "affected");
	if (st->insert_id) {
		lua_pushinteger(L, st->insert_id);
		lua_setfield(L, -2, "insert_id");
	}
	return 1;
}

static int rows_next(lua_State *L);

/* For the generic `for`: the statement is its state, and what it closes when it is left. */
static int push_iterator(lua_State *L)
{
	lua_pushcfunction(L, rows_next);
	lua_pushvalue(L, STATEMENT);
	lua_pushnil(L);
	lua_pushvalue(L, STATEMENT);
	return 4;
}

static int push_series(lua_State *L, const struct statement *st)
{
	lua_pushinteger(L, st->ended);
	if (!st->problem.number)
		return 1;
	mysql_problem_push(L, &st->problem, 0);
	lua_pushinteger(L, st->ended + 1);
	return 3;
}

static int done(lua_State *L, struct mysql_session *s, struct statement *st)
{
	s->busy = s->killed = 0;
	disarm(L, st);
	if (*st->mistake)
		return luaL_error(L, "%s", st->mistake);
	if (*st->too_much)
		return error_raise(L, "protocol", "the result has %s; connection:rows() reads any number", st->too_much);
	if (st->series)
		return push_series(L, st);
	if (st->problem.number)
		return mysql_problem_raise(L, &st->problem, 0);
	if (st->opening)
		return push_iterator(L);
	return st->streaming ? 0 : push_result(L, st);
}

static int events(const struct statement *st)
{
	return (st->wanted & MYSQL_WAIT_WRITE ? TASK_WRITE : 0) |
	       (st->wanted & (MYSQL_WAIT_READ | MYSQL_WAIT_EXCEPT) ? TASK_READ : 0);
}

/* Ends where the statement does, or with a row of one that is streaming. */
static int statement_step(lua_State *L)
{
	struct statement *st = lua_touserdata(L, STATEMENT);

	lua_settop(L, ROWS);
	for (int turn = 0; turn < TURN; turn++) {
		struct mysql_session *s = open_session(L, st);

		if (is_between_statements(st)) {
			if (s->killings)
				return task_wait(L, s->bell, TASK_READ, statement_step);
			absorb_kill(s, st);
		}
		if (st->phase == DONE)
			return done(L, s, st);
		if (st->opening && st->phase == READING) {
			st->opening = 0;
			disarm(L, st);
			return push_iterator(L);
		}
		st->wanted = mysql_phase_call(s, st) & ~MYSQL_WAIT_TIMEOUT; /* time is the scheduler's affair */
		if (st->wanted && st->leaving && !st->cut)
			mysql_phase_cut_off(L, s, st);
		if (st->wanted)
			return task_wait(L, s->fd, events(st), statement_step);
		if (mysql_phase_ended(L, s, st)) {
			disarm(L, st);
			return 2;
		}
	}
	return task_yield(L, statement_step);
}

/* What is left in the middle of a call ends with its connection: nobody could say what comes next on it. */
static void abandon(struct statement *st)
{
	struct mysql_session *s = *st->slot;

	st->stepping = 0;
	if (st->phase == DONE && !st->wanted)
		return;
	st->phase = DONE;
	st->wanted = 0;
	if (!s)
		return;
	if (!*s->broken)
		mysql_session_kill(s, 1);
	mysql_session_break(s, "a statement on this connection was left before its end, and the connection closed with it");
	s->busy = s->killed = 0;
}

static int guard_close(lua_State *L)
{
	struct statement **guard = lua_touserdata(L, 1), *st = *guard;

	*guard = NULL;
	if (st)
		abandon(st);
	return 0;
}

/* Stack: the statement -> statement, guard, its rows or nil. */
static void arm(lua_State *L, struct statement *st)
{
	struct statement **guard;

	lua_settop(L, STATEMENT);
	guard = lua_newuserdatauv(L, sizeof *guard, 0);
	*guard = st;
	luaL_setmetatable(L, GUARD_TYPE);
	lua_toclose(L, GUARD);
	st->stepping = 1;
	if (st->streaming)
		lua_pushnil(L);
	else
		lua_newtable(L);
}

static int statement_gc(lua_State *L)
{
	struct statement *st = lua_touserdata(L, 1);

	if (st->slot)
		abandon(st);
	return 0;
}

/* Left early, what is there of the rest is read; where more is to come, the statement is ended at the server. */
static int statement_close(lua_State *L)
{
	struct statement *st = lua_touserdata(L, 1);

	if (!st->slot || st->phase == DONE || !*st->slot || *(*st->slot)->broken)
		return statement_gc(L);
	if (st->stepping || !lua_isyieldable(L))
		return statement_gc(L);
	arm(L, st);
	st->leaving = st->settled = 1;
	st->rows = 0;
	task_deadline(L, ROWS + 1, LEAVE_MS);
	return statement_step(L);
}

static int rows_next(lua_State *L)
{
	struct statement *st = luaL_checkudata(L, STATEMENT, MYSQL_STATEMENT);

	if (st->stepping)
		return luaL_error(L, "another task reads these rows");
	if (st->phase == DONE)
		return 0;
	arm(L, st);
	task_deadline(L, ROWS + 1, st->timeout_ms);
	return statement_step(L);
}

/* ---- beginning ---- */

static lua_Integer limit(lua_State *L, const char *name, lua_Integer otherwise)
{
	lua_Integer value = otherwise;
	int is = 1;

	if (lua_istable(L, 4) && lua_getfield(L, 4, name) != LUA_TNIL)
		value = lua_tointegerx(L, -1, &is);
	lua_settop(L, 4);
	if (!is || value < 1)
		luaL_error(L, "%s is a positive integer", name);
	return value;
}

static int timeout_ms(lua_State *L, int otherwise)
{
	double seconds = otherwise / 1000.0;

	if (lua_istable(L, 4) && lua_getfield(L, 4, "timeout") != LUA_TNIL)
		seconds = luaL_checknumber(L, -1);
	lua_settop(L, 4);
	return seconds < 2000000 ? (int)(seconds * 1000) : 2000000000;
}

static void keep_parameters(lua_State *L, struct statement *st)
{
	if (lua_isnoneornil(L, 3) || (st->parameters = (int)luaL_len(L, 3)) == 0)
		return;
	st->binds = mysql_bind_parameters(L, 3, st->parameters);
	lua_setiuservalue(L, 5, PARAMETERS);
	lua_setiuservalue(L, 5, BINDS);
}

static struct statement *statement_new(lua_State *L, int default_ms)
{
	struct statement *st = lua_newuserdatauv(L, sizeof *st, USES);

	*st = (struct statement){.slot = lua_touserdata(L, 1)};
	st->phase = DONE;
	luaL_setmetatable(L, MYSQL_STATEMENT);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, 5, CONNECTION);
	st->sql = lua_tolstring(L, 2, &st->length);
	lua_pushvalue(L, 2);
	lua_setiuservalue(L, 5, SQL);
	lua_createtable(L, 0, 5);
	lua_newtable(L);
	lua_setfield(L, -2, "columns");
	lua_newtable(L);
	lua_setfield(L, -2, "types");
	lua_setiuservalue(L, 5, RESULT);
	keep_parameters(L, st);
	lua_pushvalue(L, 5);
	lua_replace(L, 3); /* kept there while the options are read */
	st->timeout_ms = timeout_ms(L, default_ms);
	st->max_rows = limit(L, "max_rows", ROWS_MOST);
	st->max_bytes = (lua_Unsigned)limit(L, "max_bytes", BYTES_MOST);
	return st;
}

/* Stack: connection, text, parameters, options. What can change something must be among the things that may. */
static struct mysql_session *check(lua_State *L)
{
	static const char *const options[] = {"timeout", "max_rows", "max_bytes", NULL};
	struct mysql_session *s = mysql_session_check(L);

	luaL_checktype(L, 2, LUA_TSTRING);
	if (!lua_isnoneornil(L, 3))
		luaL_checktype(L, 3, LUA_TTABLE);
	error_check_options(L, 4, options);
	lua_settop(L, 4);
	if (s->busy)
		luaL_error(L, "the connection is busy with another statement");
	return s;
}

static int start(lua_State *L, struct mysql_session *s, struct statement *st)
{
	lua_pushvalue(L, 3);
	lua_replace(L, 1);
	s->busy = 1;
	s->killed = 0;
	st->phase = STARTING;
	arm(L, st);
	task_deadline(L, ROWS + 1, st->timeout_ms);
	return statement_step(L);
}

/* A statement that is to read stands in a transaction that only can, or needs the leave that began the other one. */
static int start_reading(lua_State *L, int streaming)
{
	struct mysql_session *s = check(L);
	int status = (int)s->handle->server_status;
	size_t length;
	const char *sql = lua_tolstring(L, 2, &length);
	const char *why = mysql_not_a_read(L, sql, length, !(status & SERVER_STATUS_NO_BACKSLASH_ESCAPES));
	struct statement *st;

	if (why) {
		error_push(L, "denied", "the statement may do more than read: %s; execute takes it", why);
		lua_pushliteral(L, "25006");
		lua_setfield(L, -2, "code");
		return lua_error(L);
	}
	lua_settop(L, 4);
	if ((status & SERVER_STATUS_IN_TRANS) && !(status & SERVER_STATUS_IN_TRANS_READONLY))
		task_may_change(L, "mysql.query within a transaction that may write");
	st = statement_new(L, READ_MS);
	st->reads = 1;
	st->apart = !(status & SERVER_STATUS_IN_TRANS);
	st->streaming = st->opening = streaming;
	return start(L, s, st);
}

/*
 * connection:query(sql [, params [, { timeout, max_rows, max_bytes }]]) -> { columns, types, rows, affected }. One statement
 * that only reads, in a transaction of its own that cannot write.
 */
int mysql_connection_query(lua_State *L)
{
	return start_reading(L, 0);
}

/* connection:rows(sql [, params [, { timeout }]]) -> iterator: the same, row by row, each with { columns, types }.
 * timeout: for each. */
int mysql_connection_rows(lua_State *L)
{
	return start_reading(L, 1);
}

/* connection:execute(sql [, params [, options]]) -> { columns, types, rows, affected, insert_id }. Changes its target. */
int mysql_connection_execute(lua_State *L)
{
	struct mysql_session *s;

	mysql_session_check(L);
	task_may_change(L, "mysql.execute");
	s = check(L);
	return start(L, s, statement_new(L, CHANGE_MS));
}

/*
 * connection:series(texts [, { timeout }]) -> how many were carried out [, failure, which of them it is about]. Changes its
 * target. The statements go as one request, without their rows; the server stops at the first that it refuses.
 */
int mysql_connection_series(lua_State *L)
{
	struct mysql_session *s;
	struct statement *st;
	lua_Integer count;

	mysql_session_check(L);
	task_may_change(L, "mysql.series");
	lua_settop(L, 3);
	count = data_push_joined(L, 2, "\n;"); /* the end of a line: a text may end in a comment */
	lua_replace(L, 2);
	lua_pushnil(L);
	lua_insert(L, 3);
	s = check(L);
	st = statement_new(L, CHANGE_MS);
	st->series = st->settled = 1;
	st->several = count > 1;
	return start(L, s, st);
}

void mysql_statement_register(lua_State *L)
{
	luaL_newmetatable(L, GUARD_TYPE);
	lua_pushcfunction(L, guard_close);
	lua_setfield(L, -2, "__close");
	luaL_newmetatable(L, MYSQL_STATEMENT);
	lua_pushcfunction(L, statement_close);
	lua_setfield(L, -2, "__close");
	lua_pushcfunction(L, statement_gc);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 2);
}
