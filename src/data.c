/* Lua tables as data: which of them are lists. */
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
