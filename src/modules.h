#ifndef NEAP_MODULES_H
#define NEAP_MODULES_H

#include <lua.h>

/* Makes `require "native.NAME"` and `require "neap.…"` work: natives from C, Lua from the binary or from NEAP_LUA. */
void modules_open(lua_State *L);

#endif
