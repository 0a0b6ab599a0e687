/* native.pg: statements, one a call, and their rows. */
#include "data.h"
#include "error.h"
#include "pg.h"
#include "task.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READING "pg.reading"

enum { ROWS_MOST = 100 * 1000, BYTES_MOST = 256 * 1024 * 1024, MS_MOST = INT32_MAX / 2, GRACE_MS = 5000 };

/* Stack of a statement: the connection, its text, its parameters, options, a guard, the result and its list of rows. */
enum { SQL = 2, PARAMETERS, OPTIONS, GUARD, RESULT, ROWS };

/* ---- what a result becomes ---- */

static void set_text(lua_State *L, int table, const char *name, const char *text)
{
	lua_pushstring(L, text);
	lua_setfield(L, table, name);
}

/* Empty ones are lists, too. */
static void push_list(lua_State *L, int count)
{
	lua_createtable(L, count, 0);
	luaL_setmetatable(L, DATA_LIST);
}

/* Sets columns and types of the table at the index. */
static void describe(lua_State *L, int table, const PGresult *result)
{
	int count = PQnfields(result);

	push_list(L, count);
	push_list(L, count);
	for (int column = 0; column < count; column++) {
		lua_pushstring(L, PQfname(result, column));
		lua_rawseti(L, -3, column + 1);
		pg_push_type(L, PQftype(result, column));
		lua_rawseti(L, -2, column + 1);
	}
	lua_setfield(L, table, "types");
	lua_setfield(L, table, "columns");
}

static void push_row(lua_State *L, const PGresult *result)
{
	int count = PQnfields(result);

	lua_createtable(L, count, 0);
	for (int column = 0; column < count; column++) {
		pg_push_value(L, result, 0, column);
		lua_rawseti(L, -2, column + 1);
	}
}

static void push_affected(lua_State *L, const PGresult *result)
{
	const char *tag = PQcmdStatus((PGresult *)result), *count = PQcmdTuples((PGresult *)result);
	bool reads = PQnfields(result) > 0 && (!strncmp(tag, "SELECT", 6) || !strncmp(tag, "FETCH", 5));

	if (*count && !reads)
		lua_pushinteger(L, strtoll(count, NULL, 10));
	else
		lua_pushnil(L);
}

static lua_Integer size_of(const PGresult *row)
{
	lua_Integer size = 0;

	for (int column = 0; column < PQnfields(row); column++)
		size += PQgetlength(row, 0, column);
	return size;
}

static int raise_too_large(lua_State *L, const struct pg_connection *c)
{
	const char *done = c->changing ? "the statement was carried out, but its result has " : "the result has ";

	if (c->rows > c->most_rows)
		return error_raise(L, "protocol", "%smore than %I rows; rows() takes them one by one", done, c->most_rows);
	return error_raise(L, "protocol", "%smore than %I bytes; rows() takes its rows one by one", done, c->most_bytes);
}

/* A read that is too large is given up; a change is waited for, for it is done all the same. */
static int take_row(lua_State *L, struct pg_connection *c)
{
	c->rows++;
	c->bytes += size_of(c->result);
	if (c->rows > c->most_rows || c->bytes > c->most_bytes)
		return c->changing ? 0 : raise_too_large(L, c);
	if (c->rows == 1)
		describe(L, RESULT, c->result);
	push_row(L, c->result);
	lua_rawseti(L, ROWS, c->rows);
	return 0;
}

static int raise_copies(lua_State *L)
{
	return luaL_error(L, "the statement copies rows: use copy_in or copy_out");
}

static int take_end(lua_State *L, struct pg_connection *c)
{
	c->results++;
	if (c->rows == 0)
		describe(L, RESULT, c->result);
	set_text(L, RESULT, "tag", PQcmdStatus(c->result));
	push_affected(L, c->result);
	lua_setfield(L, RESULT, "affected");
	return 0;
}

static int take_result(lua_State *L, struct pg_connection *c)
{
	switch (PQresultStatus(c->result)) {
	case PGRES_SINGLE_TUPLE:
		return take_row(L, c);
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		return raise_copies(L);
	case PGRES_EMPTY_QUERY:
		c->results++;
		return 0;
	default:
		return take_end(L, c);
	}
}

/* ---- one statement ---- */

static int finish(lua_State *L, struct pg_connection *c)
{
	if (c->failed) {
		if (PQstatus(c->pg) == CONNECTION_OK)
			pg_end(c);
		return pg_raise_failed(L, c, lua_tostring(L, SQL));
	}
	pg_end(c);
	if (c->results > 1)
		return luaL_error(L, "the text held %d statements, and all were carried out; give one a call", c->results);
	if (c->rows > c->most_rows || c->bytes > c->most_bytes)
		return raise_too_large(L, c);
	lua_settop(L, RESULT);
	return 1;
}

static int statement_over(lua_State *L, struct pg_connection *c)
{
	return pg_end_reading(L, c, finish);
}

/* Begins the exchange; pg_talk goes on with it. */
static void send_statement(lua_State *L, struct pg_connection *c, pg_callback *on_result, pg_callback *then)
{
	const struct pg_parameters *p = lua_touserdata(L, PARAMETERS);
	const char *sql = lua_tostring(L, SQL);
	int sent;

	c->on_result = on_result;
	c->then = then;
	if (p)
		sent = PQsendQueryParams(c->pg, sql, p->count, p->types, (const char *const *)p->values, p->lengths,
					 p->formats, 0);
	else
		sent = PQsendQuery(c->pg, sql);
	if (!sent)
		pg_raise_lost(L, c);
	PQsetSingleRowMode(c->pg); /* else a result lies twice in memory, and is counted when it is too late */
	c->waiting = true;
}

static int start_statement(lua_State *L, struct pg_connection *c)
{
	if (c->failed) /* by what was to begin a transaction */
		return finish(L, c);
	send_statement(L, c, take_result, statement_over);
	return pg_await(L, c);
}

void pg_may_read(lua_State *L, const char *what)
{
	struct pg_connection *c = pg_check(L);

	if (!c->busy && pg_in_transaction(c))
		task_may_change(L, what);
}

int pg_start_reading(lua_State *L, struct pg_connection *c, const char *begin, pg_callback *start)
{
	if (pg_in_transaction(c))
		return start(L, c);
	c->own_transaction = true;
	return pg_say(L, c, begin, start);
}

int pg_end_reading(lua_State *L, struct pg_connection *c, pg_callback *then)
{
	if (!c->own_transaction || PQtransactionStatus(c->pg) == PQTRANS_IDLE)
		return then(L, c);
	return pg_say(L, c, c->failed ? "rollback" : "commit", then);
}

const char *pg_check_text(lua_State *L, int arg)
{
	size_t length;
	const char *text = luaL_checklstring(L, arg, &length);

	luaL_argcheck(L, !memchr(text, 0, length), arg, "holds a NUL");
	return text;
}

static lua_Integer option(lua_State *L, const char *name, lua_Integer most)
{
	if (!lua_isnil(L, OPTIONS)) {
		if (lua_getfield(L, OPTIONS, name) != LUA_TNIL)
			most = luaL_checkinteger(L, -1);
		lua_pop(L, 1);
	}
	luaL_argcheck(L, most >= 0, OPTIONS, "a limit is not negative");
	return most;
}

/* Milliseconds of the options' timeout. */
static int timeout_of(lua_State *L, int default_ms)
{
	double seconds = default_ms / 1000.0;

	if (!lua_isnil(L, OPTIONS)) {
		if (lua_getfield(L, OPTIONS, "timeout") != LUA_TNIL)
			seconds = luaL_checknumber(L, -1);
		lua_pop(L, 1);
	}
	return seconds < 0 ? 0 : seconds < MS_MOST / 1000 ? (int)(seconds * 1000) : MS_MOST;
}

/*
 * Checks the arguments, so that a wrong one costs no connection; `with` parameters at index 3, or without. Leaves
 * the stack up to the guard.
 */
static struct pg_connection *prepare(lua_State *L, bool with, const char *const names[], int default_ms)
{
	struct pg_connection *c = pg_check(L);
	lua_Integer most_rows, most_bytes;
	int timeout_ms;

	pg_check_text(L, SQL);
	lua_settop(L, with ? 4 : 3);
	if (with) {
		pg_push_parameters(L, PARAMETERS);
		lua_replace(L, PARAMETERS);
	} else {
		lua_pushnil(L);
		lua_insert(L, PARAMETERS);
	}
	error_check_options(L, OPTIONS, names);
	most_rows = option(L, "max_rows", ROWS_MOST);
	most_bytes = option(L, "max_bytes", BYTES_MOST);
	timeout_ms = timeout_of(L, default_ms);
	task_deadline(L, OPTIONS, default_ms);
	pg_begin(L, c);
	c->most_rows = most_rows;
	c->most_bytes = most_bytes;
	c->timeout_ms = timeout_ms;
	return c;
}

static struct pg_connection *prepare_result(lua_State *L, bool with, int default_ms)
{
	static const char *const names[] = {"timeout", "max_rows", "max_bytes", NULL};
	struct pg_connection *c = prepare(L, with, names, default_ms);

	lua_newtable(L);
	push_list(L, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, RESULT, "rows");
	return c;
}

/* The server itself ends a read, in case it never hears that this was given up. */
static int start_query(lua_State *L, struct pg_connection *c)
{
	char begin[96];

	snprintf(begin, sizeof begin, "begin read only; set local statement_timeout = %d", c->timeout_ms + GRACE_MS);
	return pg_start_reading(L, c, begin, start_statement);
}

/* connection:query(sql [, params [, {timeout, max_rows, max_bytes}]]) -> result, in a transaction that cannot write. */
int pg_query(lua_State *L)
{
	pg_may_read(L, "pg.query");
	return start_query(L, prepare_result(L, true, PG_READ_MS));
}

static int execute(lua_State *L, bool with)
{
	struct pg_connection *c = prepare_result(L, with, PG_CHANGE_MS);

	c->changing = true;
	return start_statement(L, c);
}

/*
 * connection:execute(sql [, params [, options]]) -> result. Changes its target; a second statement is refused by
 * the server.
 */
int pg_execute(lua_State *L)
{
	task_may_change(L, "pg.execute");
	return execute(L, true);
}

/* connection:simple(sql [, options]) -> result. Changes its target; for what the extended protocol refuses. */
int pg_simple(lua_State *L)
{
	task_may_change(L, "pg.simple");
	return execute(L, false);
}

/* ---- rows one by one ---- */

/* Stands for the loop; its user values: the connection, the statement's text, what describes a row. */
struct reading {
	struct pg_connection *connection; /* NULL once the last row was read, or the loop was left */
	int timeout_ms; /* of each row */
};

enum { OF_CONNECTION = 1, OF_SQL, OF_DESCRIPTION };

/*
 * Stack of the call that gives the next row: the connection, the statement's text, the reading, what describes a
 * row.
 */
enum { READING_AT = 3, DESCRIPTION };

static int reading_close(lua_State *L)
{
	struct reading *r = lua_touserdata(L, 1);
	struct pg_connection *c = r->connection;

	r->connection = NULL;
	if (c && c->busy)
		pg_give_up(c);
	return 0;
}

/* A connection that is lost stays with the reading, whose end closes it. */
static int no_more_rows(lua_State *L, struct pg_connection *c)
{
	struct reading *r = lua_touserdata(L, READING_AT);

	if (!c->failed || PQstatus(c->pg) == CONNECTION_OK) {
		pg_end(c);
		r->connection = NULL;
	}
	return c->failed ? pg_raise_failed(L, c, lua_tostring(L, SQL)) : 0;
}

static int rows_over(lua_State *L, struct pg_connection *c)
{
	return pg_end_reading(L, c, no_more_rows);
}

/* Gives the row to the loop, and what describes it. */
static int give_row(lua_State *L, struct pg_connection *c)
{
	switch (PQresultStatus(c->result)) {
	case PGRES_SINGLE_TUPLE:
		break;
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		return raise_copies(L);
	default:
		return 0;
	}
	if (lua_isnil(L, DESCRIPTION)) {
		lua_newtable(L);
		lua_replace(L, DESCRIPTION);
		describe(L, DESCRIPTION, c->result);
		lua_pushvalue(L, DESCRIPTION);
		lua_setiuservalue(L, READING_AT, OF_DESCRIPTION);
	}
	push_row(L, c->result);
	lua_pushvalue(L, DESCRIPTION);
	return 2;
}

/* What the loop calls. Its time is that of one row: what the loop does in between does not count. */
static int reading_next(lua_State *L)
{
	struct reading *r = luaL_checkudata(L, 1, READING);

	if (!r->connection)
		return 0;
	if (r->connection->talking)
		return luaL_error(L, "the loop was left by an error, or another task waits in it");
	lua_settop(L, 1);
	lua_getiuservalue(L, 1, OF_CONNECTION);
	lua_getiuservalue(L, 1, OF_SQL);
	lua_rotate(L, 1, 2);
	lua_getiuservalue(L, READING_AT, OF_DESCRIPTION);
	task_deadline(L, DESCRIPTION + 1, r->timeout_ms);
	return pg_talk(L);
}

/* The statement is on its way; from here on the loop has the connection. */
static int give_loop(lua_State *L, struct pg_connection *c)
{
	struct reading *r = lua_newuserdatauv(L, sizeof *r, 3);
	int reading = lua_gettop(L);

	*r = (struct reading){.timeout_ms = c->timeout_ms};
	luaL_setmetatable(L, READING);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, reading, OF_CONNECTION);
	lua_pushvalue(L, SQL);
	lua_setiuservalue(L, reading, OF_SQL);
	lua_pushcfunction(L, reading_next);
	lua_pushvalue(L, reading);
	lua_pushnil(L);
	lua_pushvalue(L, reading);
	pg_disarm(L, GUARD);
	r->connection = c;
	return 4;
}

static int start_rows(lua_State *L, struct pg_connection *c)
{
	if (c->failed)
		return finish(L, c);
	send_statement(L, c, give_row, rows_over);
	return give_loop(L, c);
}

/*
 * for row, description in connection:rows(sql [, params [, {timeout}]]): in a transaction that cannot write. A loop
 * that is left before its last row gives the connection up.
 */
int pg_rows(lua_State *L)
{
	static const char *const names[] = {"timeout", NULL};
	pg_may_read(L, "pg.rows");
	return pg_start_reading(L, prepare(L, true, names, PG_READ_MS), "begin read only", start_rows);
}

void pg_query_open(lua_State *L)
{
	luaL_newmetatable(L, READING);
	lua_pushcfunction(L, reading_close);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__gc");
	lua_setfield(L, -2, "__close");
	lua_pop(L, 1);
}
