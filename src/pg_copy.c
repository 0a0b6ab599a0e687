/* native.pg: COPY, in pieces: however much goes through, memory stays as it is. */
#include "error.h"
#include "pg.h"
#include "task.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 256 * 1024 };

/* Stack of a copy: the connection, its text, the function, options, a guard; on the way in what is sent, and then what
 * went wrong. */
enum { SQL = 2, FUNCTION, OPTIONS, GUARD, CHUNK };

static int finish(lua_State *L, struct pg_connection *c)
{
	if (c->broken_off && PQstatus(c->pg) == CONNECTION_OK) {
		pg_end(c);
		lua_pushvalue(L, CHUNK);
		return lua_error(L);
	}
	if (c->failed) {
		if (PQstatus(c->pg) == CONNECTION_OK)
			pg_end(c);
		return pg_raise_failed(L, c, lua_tostring(L, SQL));
	}
	pg_end(c);
	if (!c->results)
		return luaL_error(L, "the statement is no copy of the kind that was called for");
	if (c->copied)
		lua_pushinteger(L, c->rows);
	else
		lua_pushnil(L);
	return 1;
}

static int copy_over(lua_State *L, struct pg_connection *c)
{
	return pg_end_reading(L, c, finish);
}

static struct pg_connection *prepare(lua_State *L, int default_ms)
{
	static const char *const names[] = {"timeout", NULL};
	struct pg_connection *c = pg_check(L);

	pg_check_text(L, SQL);
	luaL_checktype(L, FUNCTION, LUA_TFUNCTION);
	lua_settop(L, OPTIONS);
	error_check_options(L, OPTIONS, names);
	task_deadline(L, OPTIONS, default_ms);
	pg_begin(L, c);
	return c;
}

static int send_copy(lua_State *L, struct pg_connection *c, pg_callback *on_result)
{
	if (c->failed)
		return finish(L, c);
	c->on_result = on_result;
	c->then = copy_over;
	if (!PQsendQueryParams(c->pg, lua_tostring(L, SQL), 0, NULL, NULL, NULL, NULL, 0))
		return pg_raise_lost(L, c);
	return pg_await(L, c);
}

/* How many rows it says were copied; servers before 8.2 do not say. */
static int take_count(struct pg_connection *c)
{
	const char *count = PQcmdTuples(c->result);

	c->copied = *count;
	c->rows = strtoll(count, NULL, 10);
	return 0;
}

/* ---- out ---- */

/* The function has had its piece. */
static int piece_given(lua_State *L, struct pg_connection *c)
{
	if (!c->pg)
		return error_raise(L, "lost", "the connection was closed meanwhile");
	task_deadline(L, OPTIONS, PG_READ_MS); /* of each piece: what the function does meanwhile does not count */
	return 0;
}

/* Pushes what has come, as one text; returns what libpq said last: 0: wait, < 0: the end. */
static int push_piece(lua_State *L, struct pg_connection *c)
{
	size_t added = 0;
	luaL_Buffer piece;
	int length = 1;

	luaL_buffinit(L, &piece);
	while (added < PIECE && (length = PQgetCopyData(c->pg, &c->row, 1)) > 0) {
		luaL_addlstring(&piece, c->row, (size_t)length);
		added += (size_t)length;
		PQfreemem(c->row);
		c->row = NULL;
	}
	luaL_pushresult(&piece);
	return length;
}

static int out_step(lua_State *L);

static int piece_taken(lua_State *L, int status, lua_KContext context)
{
	struct pg_connection *c = lua_touserdata(L, 1);

	(void)status, (void)context;
	piece_given(L, c);
	return out_step(L);
}

static int out_step(lua_State *L)
{
	struct pg_connection *c = pg_open(L);
	int good = PQconsumeInput(c->pg), length;

	pg_follow_socket(c);
	do {
		lua_settop(L, GUARD);
		lua_pushvalue(L, FUNCTION);
		length = push_piece(L, c);
		if (lua_rawlen(L, -1) > 0) {
			lua_callk(L, 1, 0, 0, piece_taken);
			piece_given(L, c);
		}
	} while (length > 0);
	if (length < 0)
		return pg_talk(L);
	return good && c->fd >= 0 ? pg_wait(L, c, TASK_READ, out_step) : pg_raise_lost(L, c);
}

static int take_out(lua_State *L, struct pg_connection *c)
{
	switch (PQresultStatus(c->result)) {
	case PGRES_COPY_OUT:
		c->results++;
		return out_step(L);
	case PGRES_COPY_IN:
	case PGRES_COPY_BOTH:
		return luaL_error(L, "the statement copies the other way");
	default:
		return take_count(c);
	}
}

static int start_out(lua_State *L, struct pg_connection *c)
{
	return send_copy(L, c, take_out);
}

/* connection:copy_out(sql, on_bytes [, {timeout}]) -> count of rows. on_bytes gets piece after piece, and may wait. */
int pg_copy_out(lua_State *L)
{
	pg_may_read(L, "pg.copy_out");
	return pg_start_reading(L, prepare(L, PG_READ_MS), "begin read only", start_out);
}

/* ---- in ---- */

/* Ends the copy by why, or well if that is NULL, and waits for what the server says. */
static int end_copy(lua_State *L, struct pg_connection *c, const char *why)
{
	if (PQputCopyEnd(c->pg, why) < 0)
		return pg_raise_lost(L, c);
	return pg_talk(L);
}

/* The error on top of the stack comes to the caller, once the server has dropped what was sent. */
static int break_off(lua_State *L, struct pg_connection *c)
{
	lua_replace(L, CHUNK);
	lua_settop(L, CHUNK);
	c->broken_off = true;
	return end_copy(L, c, "the rows to copy could not be had");
}

static int in_step(lua_State *L);

/* What next_chunk has returned, or raised, is on top. */
static int chunk_had(lua_State *L, int status, lua_KContext context)
{
	struct pg_connection *c = pg_open(L);

	(void)context;
	task_deadline(L, OPTIONS, PG_CHANGE_MS);
	if (status != LUA_OK && status != LUA_YIELD)
		return break_off(L, c);
	if (lua_isnil(L, -1))
		return end_copy(L, c, NULL);
	if (lua_type(L, -1) != LUA_TSTRING) {
		lua_pushfstring(L, "a chunk to copy is a text or nil, not a %s", luaL_typename(L, -1));
		return break_off(L, c);
	}
	lua_replace(L, CHUNK);
	lua_settop(L, CHUNK);
	c->sent = 0;
	return in_step(L);
}

/* Hands libpq the next piece of the chunk; returns whether it has taken it. */
static bool put_piece(lua_State *L, struct pg_connection *c)
{
	size_t length;
	const char *bytes = lua_tolstring(L, CHUNK, &length);
	size_t piece = length - c->sent < PIECE ? length - c->sent : PIECE;
	int put = PQputCopyData(c->pg, bytes + c->sent, (int)piece);

	if (put < 0)
		pg_raise_lost(L, c);
	if (put)
		c->sent += piece;
	return put > 0;
}

static int in_step(lua_State *L)
{
	struct pg_connection *c = pg_open(L);
	int unsent = PQflush(c->pg), good = PQconsumeInput(c->pg);

	pg_follow_socket(c);
	while (good && !unsent && c->fd >= 0 && c->sent < lua_rawlen(L, CHUNK)) {
		unsent = !put_piece(L, c) || PQflush(c->pg);
		pg_follow_socket(c);
	}
	if (!good || c->fd < 0)
		return pg_raise_lost(L, c);
	if (unsent)
		return pg_wait(L, c, TASK_READ | TASK_WRITE, in_step);
	lua_pushvalue(L, FUNCTION);
	return chunk_had(L, lua_pcallk(L, 0, 1, 0, 0, chunk_had), 0);
}

static int take_in(lua_State *L, struct pg_connection *c)
{
	switch (PQresultStatus(c->result)) {
	case PGRES_COPY_IN:
		c->results++;
		return in_step(L);
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		return luaL_error(L, "the statement copies the other way");
	default:
		return take_count(c);
	}
}

/*
 * connection:copy_in(sql, next_chunk [, {timeout}]) -> count of rows. Changes its target. next_chunk gives piece
 * after piece and then nil, and may wait; what it raises ends the copy, of which nothing stays.
 */
int pg_copy_in(lua_State *L)
{
	struct pg_connection *c;

	task_may_change(L, "pg.copy_in");
	c = prepare(L, PG_CHANGE_MS);
	lua_pushliteral(L, "");
	return send_copy(L, c, take_in);
}
