/* native.pg: statements in a row, sent as one request, of which the server carries out as many as it can. */
#include "data.h"
#include "error.h"
#include "pg.h"
#include "task.h"

#include <lauxlib.h>
#include <string.h>

#define BETWEEN "\n;" /* the end of a line: a text may end in a comment */

/* Stack of a series: the connection, the list of texts, options and then the request in their place. */
enum { TEXTS = 2, OPTIONS, REQUEST = OPTIONS };

static long characters(const char *text, size_t length)
{
	long count = 0;

	for (size_t i = 0; i < length; i++)
		count += (text[i] & 0xC0) != 0x80;
	return count;
}

/*
 * Pushes the text in which the position, counted in characters from 1 in all that was sent, lies, and makes it one in
 * that text; returns its number. Pushes nil and returns the number of the text behind those that were done where there
 * is no position.
 */
static lua_Integer push_place(lua_State *L, const struct pg_connection *c, long *position)
{
	lua_Integer count = luaL_len(L, TEXTS);

	for (lua_Integer i = 1; *position > 0 && i <= count; i++) {
		size_t length;
		const char *text;
		long own;

		lua_rawgeti(L, TEXTS, i);
		text = lua_tolstring(L, -1, &length);
		own = characters(text, length) + (long)strlen(BETWEEN);
		if (*position <= own || i == count)
			return i;
		*position -= own;
		lua_pop(L, 1);
	}
	lua_pushnil(L);
	return c->results + 1;
}

static int push_failure(lua_State *L, struct pg_connection *c)
{
	long position = pg_position(c);
	lua_Integer at = push_place(L, c, &position);

	lua_pushinteger(L, c->results);
	pg_push_failed(L, c, lua_tostring(L, -2), position);
	lua_pushinteger(L, at);
	return 3;
}

static int finish(lua_State *L, struct pg_connection *c)
{
	if (!c->failed) {
		pg_end(c);
		lua_pushinteger(L, c->results);
		return 1;
	}
	if (pg_is_lost(c))
		return pg_raise_failed(L, c, NULL);
	pg_end(c);
	return push_failure(L, c);
}

/* Nobody asks for rows. */
static int take_result(lua_State *L, struct pg_connection *c)
{
	switch (PQresultStatus(c->result)) {
	case PGRES_SINGLE_TUPLE:
		return 0;
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		return luaL_error(L, "a statement of the series copies rows");
	default:
		c->results++;
		return 0;
	}
}

/* Pushes the texts as one. */
static void push_request(lua_State *L)
{
	size_t length;
	const char *request;

	data_push_joined(L, TEXTS, BETWEEN);
	request = lua_tolstring(L, -1, &length);
	luaL_argcheck(L, !memchr(request, 0, length), TEXTS, "holds a NUL");
}

/*
 * connection:series(texts [, {timeout}]) -> how many were carried out [, failure, which of them it is about]. Changes its
 * target. The statements go as one request, without their rows; the server stops at the first that it refuses. Where it
 * cannot read one of them it does none. Those without a `begin` among them are one transaction.
 */
int pg_series(lua_State *L)
{
	static const char *const names[] = {"timeout", NULL};
	struct pg_connection *c;

	task_may_change(L, "pg.series");
	c = pg_check(L);
	lua_settop(L, OPTIONS);
	error_check_options(L, OPTIONS, names);
	task_deadline(L, OPTIONS, PG_CHANGE_MS);
	push_request(L);
	lua_replace(L, REQUEST);
	pg_begin(L, c);
	c->changing = true;
	c->on_result = take_result;
	c->then = finish;
	if (!PQsendQuery(c->pg, lua_tostring(L, REQUEST)))
		return pg_raise_lost(L, c);
	PQsetSingleRowMode(c->pg);
	return pg_await(L, c);
}
