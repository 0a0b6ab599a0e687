/* One statement from its first call to its last: a transaction that may only read round it, its rows, its warnings. */
#include "mysql.h"
#include "error.h"
#include "task.h"

#include <lauxlib.h>
#include <mysqld_error.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#define GUARD_TYPE "mysql.guard"

enum {
	READ_MS = 60 * 1000,
	CHANGE_MS = 3600 * 1000,
	ROWS_MOST = 100000,
	BYTES_MOST = 256 * 1024 * 1024,
	NOTICES_MOST = 1000,
	NOTICE_LONGEST = 4096,
	TURN = 512, /* rows before other tasks get their turn */
	LEAVE_MS = 15 * 1000,
	LEFT_MOST = 1000, /* rows that are rather read than killed */
};

/* Stack of every step. */
enum { STATEMENT = 1, GUARD, ROWS };

/* User values of a statement; those of a connection. */
enum { CONNECTION = 1, SQL, PARAMETERS, BINDS, COLUMNS, RESULT, USES = RESULT };
enum { NOTICES = 1 };

/* In the order in which they come; those between STARTING and DONE may be left out. CLEARING may come before any call. */
enum phase { STARTING, CLEARING, BEGINNING, PREPARING, SENDING, READING, NEXT, WARNING, READING_WARNINGS, ENDING, DONE };

struct statement {
	struct mysql_session **slot; /* in the connection's userdata */
	enum phase phase, then;      /* then: what comes after CLEARING */
	int wanted;                  /* what the call that is under way waits for; 0: none is */
	int code;                    /* what it returned */
	MYSQL_ROW row;
	const char *sql;
	size_t length;
	MYSQL_BIND *binds; /* NULL: sent as text */
	int parameters;
	struct mysql_row *columns;
	struct mysql_problem problem;
	int reads;
	int apart;     /* in a transaction of its own, which only reads */
	int own;       /* which has begun */
	int streaming; /* rows are handed out one by one */
	int opening;   /* until there may be a first one */
	int leaving;   /* nobody wants the rest */
	int settled;   /* the result has its rows; what still comes is left out */
	int cut;       /* ended before its rows were: what the server says of that is no problem */
	int stepping;  /* a task waits in it */
	char too_much[64], mistake[128];
	int timeout_ms;
	lua_Integer rows, max_rows;
	lua_Unsigned bytes, max_bytes;
	lua_Integer affected, insert_id;
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

/* ---- the library's calls ---- */

static int query_call(struct mysql_session *s, struct statement *st, const char *sql, size_t length)
{
	if (st->wanted)
		return mysql_real_query_cont(&st->code, s->handle, st->wanted);
	return mysql_real_query_start(&st->code, s->handle, sql, length);
}

static int text_call(struct mysql_session *s, struct statement *st, const char *sql)
{
	return query_call(s, st, sql, strlen(sql));
}

static int send_call(struct mysql_session *s, struct statement *st)
{
	if (!st->binds)
		return query_call(s, st, st->sql, st->length);
	if (st->wanted)
		return mysql_stmt_execute_cont(&st->code, s->stmt, st->wanted);
	return mysql_stmt_execute_start(&st->code, s->stmt);
}

static int prepare_call(struct mysql_session *s, struct statement *st)
{
	if (st->wanted)
		return mysql_stmt_prepare_cont(&st->code, s->stmt, st->wanted);
	return mysql_stmt_prepare_start(&st->code, s->stmt, st->sql, st->length);
}

static int row_call(struct mysql_session *s, struct statement *st)
{
	if (st->binds && st->phase == READING)
		return st->wanted ? mysql_stmt_fetch_cont(&st->code, s->stmt, st->wanted)
				  : mysql_stmt_fetch_start(&st->code, s->stmt);
	return st->wanted ? mysql_fetch_row_cont(&st->row, s->result, st->wanted)
			  : mysql_fetch_row_start(&st->row, s->result);
}

static int next_call(struct mysql_session *s, struct statement *st)
{
	if (st->binds)
		return st->wanted ? mysql_stmt_next_result_cont(&st->code, s->stmt, st->wanted)
				  : mysql_stmt_next_result_start(&st->code, s->stmt);
	return st->wanted ? mysql_next_result_cont(&st->code, s->handle, st->wanted)
			  : mysql_next_result_start(&st->code, s->handle);
}

/* Begins the call of the phase or goes on with it; returns what it waits for, or 0 when it has ended. */
static int call(struct mysql_session *s, struct statement *st)
{
	ERR_clear_error(); /* what another connection left there would be taken for this one's end */
	switch (st->phase) {
	case CLEARING: return text_call(s, st, "do 0");
	case BEGINNING: return text_call(s, st, "start transaction read only");
	case PREPARING: return prepare_call(s, st);
	case SENDING: return send_call(s, st);
	case READING:
	case READING_WARNINGS: return row_call(s, st);
	case NEXT: return next_call(s, st);
	case WARNING: return text_call(s, st, "show warnings");
	case ENDING: return text_call(s, st, st->problem.number ? "rollback" : "commit");
	case STARTING:
	case DONE: break;
	}
	return 0;
}

/* ---- from phase to phase ---- */

static void free_result(struct mysql_session *s)
{
	if (s->result)
		mysql_free_result(s->result);
	s->result = NULL;
}

static void close_statement(struct mysql_session *s)
{
	free_result(s);
	if (s->stmt)
		mysql_stmt_close(s->stmt);
	s->stmt = NULL;
}

static void read_problem(const struct mysql_session *s, const struct statement *st, struct mysql_problem *p)
{
	int of_statement = st->binds && s->stmt && st->phase >= PREPARING && st->phase <= NEXT;

	if (of_statement && mysql_stmt_errno(s->stmt)) /* what breaks a row off is told of the connection */
		mysql_note(p, mysql_stmt_errno(s->stmt), mysql_stmt_sqlstate(s->stmt), mysql_stmt_error(s->stmt));
	else
		mysql_note(p, mysql_errno(s->handle), mysql_sqlstate(s->handle), mysql_error(s->handle));
}

/* Notes what went wrong; where that was the connection's end, raises it. */
static void note_failure(lua_State *L, struct mysql_session *s, struct statement *st)
{
	struct mysql_problem now = {0};

	read_problem(s, st, &now);
	if (!st->problem.number)
		st->problem = now;
	if (!mysql_problem_is_lost(&now))
		return;
	mysql_session_break(s, now.text);
	mysql_problem_raise(L, &now, 0);
}

static void end(struct statement *st)
{
	st->phase = st->own ? ENDING : DONE;
}

/* What we have killed is killed, also where the server made a success of it. */
static void note_cancel(struct mysql_session *s, struct statement *st)
{
	if (!s->killed || st->cut)
		return;
	mysql_note(&st->problem, ER_QUERY_INTERRUPTED, "70100", "the statement was cancelled");
}

/* The statement itself has ended, well or not. */
static void statement_ended(struct mysql_session *s, struct statement *st)
{
	int warnings = (int)mysql_warning_count(s->handle);

	if (s->stmt && mysql_stmt_warning_count(s->stmt) > warnings)
		warnings = mysql_stmt_warning_count(s->stmt);
	close_statement(s);
	note_cancel(s, st);
	if (st->cut)
		st->problem = (struct mysql_problem){0};
	end(st);
	if (warnings && !st->problem.number && !st->cut && s->notices < NOTICES_MOST)
		st->phase = WARNING;
}

static void statement_failed(lua_State *L, struct mysql_session *s, struct statement *st)
{
	note_failure(L, s, st);
	statement_ended(s, st);
}

static void result_ended(struct mysql_session *s, struct statement *st)
{
	int more = st->binds ? mysql_stmt_more_results(s->stmt) : mysql_more_results(s->handle);

	free_result(s);
	if (more)
		st->phase = NEXT;
	else
		statement_ended(s, st);
}

/* ---- what comes back ---- */

static void note_counts(struct mysql_session *s, struct statement *st)
{
	my_ulonglong affected = st->binds ? mysql_stmt_affected_rows(s->stmt) : mysql_affected_rows(s->handle);
	my_ulonglong id = st->binds ? mysql_stmt_insert_id(s->stmt) : mysql_insert_id(s->handle);

	if (affected != (my_ulonglong)-1)
		st->affected += (lua_Integer)affected;
	if (id)
		st->insert_id = (lua_Integer)id;
}

/* The columns of the first result that has some are the statement's. */
static void keep_columns(lua_State *L, struct mysql_session *s, struct statement *st, MYSQL_RES *about)
{
	unsigned count = mysql_num_fields(about);

	lua_getiuservalue(L, STATEMENT, RESULT);
	mysql_push_columns(L, mysql_fetch_fields(about), count);
	lua_setfield(L, -3, "types");
	lua_setfield(L, -2, "columns");
	lua_pop(L, 1);
	if (!st->binds)
		return;
	st->columns = mysql_row_new(L, mysql_fetch_fields(about), count);
	lua_setiuservalue(L, STATEMENT, COLUMNS);
	if (mysql_stmt_bind_result(s->stmt, mysql_row_binds(st->columns)))
		note_failure(L, s, st);
}

/* A result has begun: with columns its rows come next. */
static void result_began(lua_State *L, struct mysql_session *s, struct statement *st)
{
	unsigned count = st->binds ? mysql_stmt_field_count(s->stmt) : mysql_field_count(s->handle);

	if (count == 0) {
		note_counts(s, st);
		result_ended(s, st);
		return;
	}
	s->result = st->binds ? mysql_stmt_result_metadata(s->stmt) : mysql_use_result(s->handle);
	if (!s->result) {
		note_failure(L, s, st);
		error_raise(L, "protocol", "%s", st->problem.text);
	}
	st->phase = READING;
	if (!st->settled)
		keep_columns(L, s, st, s->result);
}

/* Ends what the server still does of it; its rows are read and left out. */
static void cut_off(lua_State *L, struct mysql_session *s, struct statement *st)
{
	st->settled = st->cut = 1;
	if (s->killed || mysql_session_kill(s, 0))
		s->killed = 1;
	else
		error_raise(L, "lost", "a statement was left before its end");
}

/* The row on top goes where it belongs. Returns 1 where it is handed out, with its columns. */
static int keep_row(lua_State *L, struct mysql_session *s, struct statement *st, size_t bytes)
{
	if (st->streaming) {
		lua_getiuservalue(L, STATEMENT, RESULT);
		return 1;
	}
	st->bytes += bytes;
	if (++st->rows <= st->max_rows && st->bytes <= st->max_bytes) {
		lua_rawseti(L, ROWS, st->rows);
		return 0;
	}
	lua_pop(L, 1);
	if (st->rows > st->max_rows)
		snprintf(st->too_much, sizeof st->too_much, "more than %lld rows", (long long)st->max_rows);
	else
		snprintf(st->too_much, sizeof st->too_much, "more than %llu bytes", (unsigned long long)st->max_bytes);
	if (st->reads)
		cut_off(L, s, st);
	st->settled = 1; /* what changes something is not ended for its many rows */
	return 0;
}

static int row_came(lua_State *L, struct mysql_session *s, struct statement *st)
{
	int none = st->binds ? st->code == MYSQL_NO_DATA : !st->row && !mysql_errno(s->handle);
	int failed = st->binds ? st->code == 1 : !st->row;

	if (none) {
		st->settled = 1;
		result_ended(s, st);
		return 0;
	}
	if (failed) {
		statement_failed(L, s, st);
		return 0;
	}
	if (st->settled) {
		if (st->leaving && !st->cut && ++st->rows > LEFT_MOST)
			cut_off(L, s, st);
		return 0;
	}
	return keep_row(L, s, st, st->binds ? mysql_push_bound_row(L, s->stmt, st->columns)
					    : mysql_push_text_row(L, s->result, st->row));
}

static void keep_warning(lua_State *L, struct mysql_session *s, struct statement *st)
{
	if (s->notices >= NOTICES_MOST || mysql_num_fields(s->result) < 3 || !st->row[0] || !st->row[1] || !st->row[2])
		return;
	lua_getiuservalue(L, STATEMENT, CONNECTION);
	lua_getiuservalue(L, -1, NOTICES);
	lua_pushfstring(L, "%s: %s (%s)", st->row[0], st->row[2], st->row[1]);
	if (lua_rawlen(L, -1) > NOTICE_LONGEST) {
		lua_pushlstring(L, lua_tostring(L, -1), NOTICE_LONGEST);
		lua_replace(L, -2);
	}
	lua_rawseti(L, -2, ++s->notices);
	lua_pop(L, 2);
}

static void warning_came(lua_State *L, struct mysql_session *s, struct statement *st)
{
	if (st->row) {
		keep_warning(L, s, st);
		return;
	}
	if (mysql_errno(s->handle))
		note_failure(L, s, st);
	free_result(s);
	end(st);
}

static void warnings_began(lua_State *L, struct mysql_session *s, struct statement *st)
{
	if (!st->code)
		s->result = mysql_use_result(s->handle);
	if (s->result) {
		st->phase = READING_WARNINGS;
		return;
	}
	note_failure(L, s, st);
	end(st);
}

/* The statement was understood. */
static void prepared(lua_State *L, struct mysql_session *s, struct statement *st)
{
	int wanted = (int)mysql_stmt_param_count(s->stmt);

	if (wanted != st->parameters) {
		snprintf(st->mistake, sizeof st->mistake, "the statement takes %d values, got %d", wanted,
			 st->parameters);
		statement_ended(s, st);
		return;
	}
	if (mysql_stmt_bind_param(s->stmt, st->binds))
		note_failure(L, s, st);
	st->phase = SENDING;
}

/* The first call with the statement itself. */
static void take_up(lua_State *L, struct mysql_session *s, struct statement *st)
{
	st->phase = st->binds ? PREPARING : SENDING;
	if (!st->binds)
		return;
	s->stmt = mysql_stmt_init(s->handle);
	if (!s->stmt)
		luaL_error(L, "not enough memory");
}

/* The call of the phase has ended. Returns 1 where a row is handed out; it and its columns are on top then. */
static int call_ended(lua_State *L, struct mysql_session *s, struct statement *st)
{
	switch (st->phase) {
	case STARTING:
		if (st->apart)
			st->phase = BEGINNING;
		else
			take_up(L, s, st);
		break;
	case CLEARING:
		if (st->code && mysql_errno(s->handle) != ER_QUERY_INTERRUPTED)
			note_failure(L, s, st);
		st->phase = st->then;
		break;
	case BEGINNING:
		if (st->code) {
			note_failure(L, s, st);
			st->phase = DONE;
		} else {
			st->own = 1;
			take_up(L, s, st);
		}
		break;
	case PREPARING:
		if (st->code)
			statement_failed(L, s, st);
		else
			prepared(L, s, st);
		break;
	case SENDING:
	case NEXT:
		if (st->code)
			statement_failed(L, s, st);
		else
			result_began(L, s, st);
		break;
	case READING:
		return row_came(L, s, st);
	case WARNING:
		warnings_began(L, s, st);
		break;
	case READING_WARNINGS:
		warning_came(L, s, st);
		break;
	case ENDING:
		if (st->code)
			note_failure(L, s, st);
		st->phase = DONE;
		break;
	case DONE:
		break;
	}
	return 0;
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

static int done(lua_State *L, struct mysql_session *s, struct statement *st)
{
	s->busy = s->killed = 0;
	disarm(L, st);
	if (*st->mistake)
		return luaL_error(L, "%s", st->mistake);
	if (*st->too_much)
		return error_raise(L, "protocol", "the result has %s; connection:rows() reads any number", st->too_much);
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
		st->wanted = call(s, st) & ~MYSQL_WAIT_TIMEOUT; /* time is the scheduler's affair */
		if (st->wanted && st->leaving && !st->cut)
			cut_off(L, s, st);
		if (st->wanted)
			return task_wait(L, s->fd, events(st), statement_step);
		if (call_ended(L, s, st)) {
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
