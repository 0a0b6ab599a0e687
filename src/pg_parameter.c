/* native.pg: values of Lua as parameters of a statement. Most go as text, and the server finds out of what type. */
#include "pg.h"
#include "secret.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMETERS "pg.parameters"
#define BYTES "pg.bytes"
#define ARRAY "pg.array"

enum { PARAMETERS_MOST = 65535, DEPTH_MOST = 16, BYTEA = 17 };

static int parameters_free(lua_State *L)
{
	struct pg_parameters *p = lua_touserdata(L, 1);

	for (int i = 0; i < p->count; i++) {
		if (p->values[i])
			explicit_bzero(p->values[i], p->sizes[i]); /* it may be a secret */
		free(p->values[i]);
	}
	free(p->values);
	free(p->lengths);
	free(p->formats);
	free(p->types);
	free(p->sizes);
	*p = (struct pg_parameters){0};
	return 0;
}

static void set_value(lua_State *L, struct pg_parameters *p, int i, const char *bytes, size_t length)
{
	luaL_argcheck(L, length < INT32_MAX / 2, 3, "a value is too long");
	p->values[i] = malloc(length + 1);
	if (!p->values[i])
		luaL_error(L, "not enough memory");
	if (length) /* an empty secret has no bytes at all */
		memcpy(p->values[i], bytes, length);
	p->values[i][length] = 0;
	p->sizes[i] = length;
	p->lengths[i] = (int)length;
}

/* Pushes a number or a boolean as PostgreSQL reads it; false where the value on top is neither. */
static bool push_plain(lua_State *L, int index)
{
	char text[40];
	double number;

	if (lua_type(L, index) == LUA_TBOOLEAN) {
		lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
		return true;
	}
	if (lua_type(L, index) != LUA_TNUMBER)
		return false;
	number = lua_tonumber(L, index);
	if (lua_isinteger(L, index))
		snprintf(text, sizeof text, "%lld", (long long)lua_tointeger(L, index));
	else if (isfinite(number))
		snprintf(text, sizeof text, "%.17g", number);
	else
		snprintf(text, sizeof text, "%s", isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
	lua_pushstring(L, text);
	return true;
}

/* The content of pg.bytes or pg.array at the index: pushes it, or nothing. */
static bool push_content(lua_State *L, int index, const char *type)
{
	if (!luaL_testudata(L, index, type))
		return false;
	lua_getiuservalue(L, index, 1);
	return true;
}

static bool is_null(lua_State *L, int index)
{
	return lua_islightuserdata(L, index) && !lua_touserdata(L, index);
}

/* ---- arrays ---- */

static void add_quoted(luaL_Buffer *out, const char *text, size_t length)
{
	luaL_addchar(out, '"');
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '"' || text[i] == '\\')
			luaL_addchar(out, '\\');
		luaL_addchar(out, text[i]);
	}
	luaL_addchar(out, '"');
}

/* Pushes the text of an array's element, quoted where need be; the element is on top and stays below it. */
static void push_element(lua_State *L, int parameter, int depth);

static void push_quoted(lua_State *L, int index, int parameter)
{
	size_t length;
	const char *text = lua_tolstring(L, index, &length);
	luaL_Buffer out;

	if (memchr(text, 0, length))
		luaL_error(L, "parameter %d: a text in the list has a NUL; pg.bytes() may", parameter);
	luaL_buffinit(L, &out);
	add_quoted(&out, text, length);
	luaL_pushresult(&out);
}

static void push_hexadecimal(lua_State *L, int index)
{
	static const char digits[] = "0123456789abcdef";
	size_t length;
	const unsigned char *bytes = (const unsigned char *)lua_tolstring(L, index, &length);
	luaL_Buffer out;

	luaL_buffinit(L, &out);
	luaL_addstring(&out, "\"\\\\x");
	for (size_t i = 0; i < length; i++) {
		luaL_addchar(&out, digits[bytes[i] >> 4]);
		luaL_addchar(&out, digits[bytes[i] & 15]);
	}
	luaL_addchar(&out, '"');
	luaL_pushresult(&out);
}

/*
 * Pushes the list at index, in braces. The pieces are joined on the way, two at a time: a buffer must not lie
 * below them.
 */
static void push_list(lua_State *L, int index, int parameter, int depth)
{
	lua_Integer count = luaL_len(L, index);
	int parts;

	if (depth > DEPTH_MOST)
		luaL_error(L, "parameter %d: a list is nested too deep", parameter);
	luaL_checkstack(L, 10, "a list");
	lua_newtable(L);
	parts = lua_gettop(L);
	for (lua_Integer i = 1; i <= count; i++) {
		lua_geti(L, index, i);
		push_element(L, parameter, depth);
		lua_rawseti(L, parts, i);
		lua_pop(L, 1);
	}
	{
		luaL_Buffer out;

		luaL_buffinit(L, &out);
		luaL_addchar(&out, '{');
		for (lua_Integer i = 1; i <= count; i++) {
			if (i > 1)
				luaL_addchar(&out, ',');
			lua_rawgeti(L, parts, i);
			luaL_addvalue(&out);
		}
		luaL_addchar(&out, '}');
		luaL_pushresult(&out);
	}
	lua_remove(L, parts);
}

static void push_element(lua_State *L, int parameter, int depth)
{
	int element = lua_gettop(L);

	if (is_null(L, element))
		lua_pushliteral(L, "NULL");
	else if (push_plain(L, element))
		return;
	else if (lua_type(L, element) == LUA_TSTRING)
		push_quoted(L, element, parameter);
	else if (lua_istable(L, element))
		push_list(L, element, parameter, depth + 1);
	else if (push_content(L, element, BYTES)) {
		push_hexadecimal(L, -1);
		lua_remove(L, -2);
	} else if (push_content(L, element, ARRAY)) {
		push_list(L, lua_gettop(L), parameter, depth + 1);
		lua_remove(L, -2);
	} else if (secret_is(L, element)) {
		luaL_error(L, "parameter %d: a list cannot hold a secret; give it a parameter of its own", parameter);
	} else {
		luaL_error(L, "parameter %d: a list holds numbers, booleans, texts, pg.bytes, lists and json.null, not a %s",
			   parameter, luaL_typename(L, element));
	}
}

/* ---- one parameter: the value is on top, and what is pushed above it is dropped by the caller ---- */

static void set_text(lua_State *L, struct pg_parameters *p, int i, const char *text, size_t length)
{
	if (length && memchr(text, 0, length))
		luaL_error(L, "parameter %d has a NUL, which no text of PostgreSQL can hold; pg.bytes() may", i + 1);
	set_value(L, p, i, text, length);
}

static void set_bytes(lua_State *L, struct pg_parameters *p, int i)
{
	size_t length;
	const char *bytes = lua_tolstring(L, -1, &length);

	set_value(L, p, i, bytes, length);
	p->formats[i] = 1;
	p->types[i] = BYTEA;
}

static void set_parameter(lua_State *L, struct pg_parameters *p, int i)
{
	int value = lua_gettop(L);
	size_t length;
	const char *text;

	if (is_null(L, value))
		return;
	if (push_content(L, value, BYTES)) {
		set_bytes(L, p, i);
		return;
	}
	if (lua_type(L, value) == LUA_TSTRING || secret_is(L, value)) {
		text = secret_check(L, value, &length);
		set_text(L, p, i, text, length);
		return;
	}
	if (push_content(L, value, ARRAY))
		push_list(L, lua_gettop(L), i + 1, 1);
	else if (!push_plain(L, value))
		luaL_error(L, lua_isnil(L, value) ? "parameter %d is nil; NULL is json.null"
						  : "parameter %d is a %s; a statement takes numbers, booleans, texts, secrets, "
						    "pg.bytes, pg.array and json.null",
			   i + 1, luaL_typename(L, value));
	text = lua_tolstring(L, -1, &length);
	set_text(L, p, i, text, length);
}

static void reserve(lua_State *L, struct pg_parameters *p, int count)
{
	size_t slots = count ? (size_t)count : 1;

	p->values = calloc(slots, sizeof *p->values);
	p->lengths = calloc(slots, sizeof *p->lengths);
	p->formats = calloc(slots, sizeof *p->formats);
	p->types = calloc(slots, sizeof *p->types);
	p->sizes = calloc(slots, sizeof *p->sizes);
	if (!p->values || !p->lengths || !p->formats || !p->types || !p->sizes)
		luaL_error(L, "not enough memory");
	p->count = count;
}

static lua_Integer count_parameters(lua_State *L, int arg)
{
	lua_Integer count;

	if (lua_isnoneornil(L, arg))
		return 0;
	luaL_checktype(L, arg, LUA_TTABLE);
	count = lua_getfield(L, arg, "n") == LUA_TNIL ? (lua_Integer)lua_rawlen(L, arg) : luaL_checkinteger(L, -1);
	lua_pop(L, 1);
	luaL_argcheck(L, count >= 0 && count <= PARAMETERS_MOST, arg, "0 to 65535 parameters");
	return count;
}

struct pg_parameters *pg_push_parameters(lua_State *L, int arg)
{
	lua_Integer count = count_parameters(L, arg);
	struct pg_parameters *p = lua_newuserdatauv(L, sizeof *p, 0);
	int top = lua_gettop(L);

	*p = (struct pg_parameters){0};
	luaL_setmetatable(L, PARAMETERS);
	reserve(L, p, (int)count);
	for (int i = 0; i < p->count; i++) {
		lua_rawgeti(L, arg, i + 1);
		set_parameter(L, p, i);
		lua_settop(L, top);
	}
	return p;
}

static int push_marked(lua_State *L, const char *type)
{
	lua_newuserdatauv(L, 0, 1);
	luaL_setmetatable(L, type);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	return 1;
}

/* bytes(text) -> a parameter that the server takes as bytea, and any byte in it */
int pg_bytes(lua_State *L)
{
	luaL_checkstring(L, 1);
	return push_marked(L, BYTES);
}

/* array(list) -> a parameter that the server takes as an array, nested as the list is */
int pg_array(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	return push_marked(L, ARRAY);
}

void pg_parameter_open(lua_State *L)
{
	luaL_newmetatable(L, BYTES);
	luaL_newmetatable(L, ARRAY);
	luaL_newmetatable(L, PARAMETERS);
	lua_pushcfunction(L, parameters_free);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__gc");
	lua_setfield(L, -2, "__close");
	lua_pop(L, 3);
}
