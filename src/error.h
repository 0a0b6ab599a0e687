#ifndef NEAP_ERROR_H
#define NEAP_ERROR_H

#include <lua.h>

/*
 * Error objects: { kind, message, where, host, code, output, hint }. An object is the world saying no; a plain Lua string
 * is a mistake in code. Kinds: connect lost auth timeout denied missing conflict remote protocol verify cancelled fenced
 * journal.
 */

/* Pushes {kind, message, where}; the caller may add fields and must then call lua_error. */
void error_push(lua_State *L, const char *kind, const char *fmt, ...);

/* error_push and lua_error. Never returns; the int lets callers write `return error_raise(...)`. */
int error_raise(lua_State *L, const char *kind, const char *fmt, ...);

/* For option tables at index arg (or none): raises a mistake naming the first key that is not in names (NULL-ended). */
void error_check_options(lua_State *L, int arg, const char *const names[]);

#endif
