/* native.error: error objects, made in C and in Lua by the same code. */
#include "error.h"
#include "secret.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <string.h>

#define TYPE "neap.error"

static int error_tostring(lua_State *L)
{
	lua_settop(L, 1);
	lua_getfield(L, 1, "where");
	lua_getfield(L, 1, "message");
	lua_pushfstring(L, "%s%s", luaL_optstring(L, 2, ""), luaL_optstring(L, 3, "unknown error"));
	return 1;
}

/* Pushes "file:line: " of the innermost caller outside neap's own Lua, whose chunk names begin with "=neap/". */
static void push_where(lua_State *L)
{
	lua_Debug frame;

	for (int level = 1; lua_getstack(L, level, &frame); level++) {
		lua_getinfo(L, "Sl", &frame);
		if (frame.currentline > 0 && frame.source[0] == '@') {
			lua_pushfstring(L, "%s:%d: ", frame.short_src, frame.currentline);
			return;
		}
	}
	lua_pushliteral(L, "");
}

/* What an error says goes to terminals and journals. */
static void redact_field(lua_State *L, const char *name)
{
	size_t length;
	const char *text;

	if (lua_getfield(L, -1, name) == LUA_TSTRING) {
		text = lua_tolstring(L, -1, &length);
		secret_push_redacted(L, text, length);
		lua_setfield(L, -3, name);
	}
	lua_pop(L, 1);
}

/* Gives the table on top its metatable and, unless it has one, the place in the procedure it comes from. */
static void finish(lua_State *L)
{
	if (lua_getfield(L, -1, "where") == LUA_TNIL) {
		push_where(L);
		lua_setfield(L, -3, "where");
	}
	lua_pop(L, 1);
	redact_field(L, "message");
	redact_field(L, "output");
	redact_field(L, "hint");
	luaL_setmetatable(L, TYPE);
}

static void push_formatted(lua_State *L, const char *kind, const char *fmt, va_list args)
{
	lua_createtable(L, 0, 4);
	lua_pushstring(L, kind);
	lua_setfield(L, -2, "kind");
	lua_pushvfstring(L, fmt, args);
	lua_setfield(L, -2, "message");
	finish(L);
}

void error_push(lua_State *L, const char *kind, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	push_formatted(L, kind, fmt, args);
	va_end(args);
}

int error_raise(lua_State *L, const char *kind, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	push_formatted(L, kind, fmt, args);
	va_end(args);
	return lua_error(L);
}

static int listed(const char *const names[], const char *name)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(names[i], name))
			return 1;
	return 0;
}

void error_check_options(lua_State *L, int arg, const char *const names[])
{
	if (lua_isnoneornil(L, arg))
		return;
	luaL_checktype(L, arg, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "options are named; found a %s as a key", luaL_typename(L, -2));
		if (!listed(names, lua_tostring(L, -2)))
			luaL_error(L, "no option is named '%s'", lua_tostring(L, -2));
	}
}

/* error.new(fields) -> object: fields is {kind=, message=, …} and becomes the object itself. */
static int error_new(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	finish(L);
	return 1;
}

/* error.raise(fields): raises the object. */
static int error_raise_table(lua_State *L)
{
	error_new(L);
	return lua_error(L);
}

/* error.is(value [, kind]) -> boolean: whether value is an error object (of that kind). */
static int error_is(lua_State *L)
{
	int is = 0;

	lua_settop(L, 2);
	if (lua_istable(L, 1) && lua_getmetatable(L, 1)) {
		luaL_getmetatable(L, TYPE);
		is = lua_rawequal(L, -1, -2);
	}
	if (is && !lua_isnoneornil(L, 2)) {
		lua_getfield(L, 1, "kind");
		is = lua_compare(L, -1, 2, LUA_OPEQ);
	}
	lua_pushboolean(L, is);
	return 1;
}

int luaopen_error(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"new", error_new},
		{"raise", error_raise_table},
		{"is", error_is},
		{NULL, NULL},
	};

	luaL_newmetatable(L, TYPE);
	lua_pushcfunction(L, error_tostring);
	lua_setfield(L, -2, "__tostring");
	luaL_newlib(L, functions);
	return 1;
}
