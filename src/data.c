/* Lua tables as data: which of them are lists, and lists of texts. */
#include "data.h"

#include <lauxlib.h>

int data_is_list(lua_State *L)
{
	int is;

	if (lua_getmetatable(L, -1)) {
		luaL_getmetatable(L, DATA_LIST);
		is = lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
		if (is)
			return 1;
		if (luaL_getmetafield(L, -1, "__index") != LUA_TNIL || luaL_getmetafield(L, -1, "__pairs") != LUA_TNIL) {
			lua_pop(L, 1);
			return -1;
		}
	}
	lua_pushnil(L);
	if (!lua_next(L, -2))
		return 0;
	is = lua_isinteger(L, -2);
	lua_pop(L, 2);
	return is;
}

lua_Integer data_push_joined(lua_State *L, int arg, const char *between)
{
	luaL_Buffer joined;
	lua_Integer count;

	luaL_checktype(L, arg, LUA_TTABLE);
	count = luaL_len(L, arg);
	luaL_argcheck(L, count > 0, arg, "holds no text");
	luaL_buffinit(L, &joined);
	for (lua_Integer i = 1; i <= count; i++) {
		if (lua_rawgeti(L, arg, i) != LUA_TSTRING)
			luaL_argerror(L, arg, "holds what is no text");
		luaL_addvalue(&joined);
		if (i < count)
			luaL_addstring(&joined, between);
	}
	luaL_pushresult(&joined);
	return count;
}
