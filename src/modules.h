#ifndef NEAP_MODULES_H
#define NEAP_MODULES_H

#include <lua.h>

/*
 * A new state, with the loop, in which `require "native.NAME"` and `require "neap.…"` work: natives from C, Lua from the
 * binary or from NEAP_LUA. NULL where there is no memory for it.
 */
lua_State *modules_new_state(void);

#endif
