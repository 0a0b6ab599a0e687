/* Secrets whose bytes are not at hand: known by their source and fingerprint alone, or sealed as they lie in a journal. */
#include "error.h"
#include "secret.h"

#include <lauxlib.h>
#include <string.h>

/* secret.reference(source, fingerprint, keyring) -> secret that is closed: only known to be that one */
static int secret_reference(lua_State *L)
{
	size_t length;
	const char *fingerprint = luaL_checklstring(L, 2, &length);
	struct secret *s;

	luaL_checkudata(L, 3, KEYRING);
	luaL_argcheck(L, length == 2 * SECRET_KEY, 2, "no fingerprint");
	s = secret_new_closed(L, 3, lua_isnil(L, 1) ? 0 : 1);
	memcpy(s->fingerprint, fingerprint, length);
	return 1;
}

/* secret.sealed(bytes, fingerprint, keyring) -> secret that is opened when its bytes are needed */
static int secret_sealed(lua_State *L)
{
	luaL_checkstring(L, 1);
	lua_settop(L, 3);
	lua_pushnil(L);
	lua_insert(L, 1);
	lua_pushvalue(L, 2);
	lua_remove(L, 2); /* nil, fingerprint, keyring, sealed bytes */
	secret_reference(L);
	lua_pushvalue(L, 4);
	lua_setiuservalue(L, -2, SECRET_SEALED);
	return 1;
}

void secret_open_sealed(lua_State *L, struct secret *s, int index)
{
	size_t length;
	const char *sealed, *mark;

	index = lua_absindex(L, index);
	mark = secret_push_mark(L, s->fingerprint);
	if (lua_getiuservalue(L, index, SECRET_SEALED) != LUA_TSTRING) {
		if (lua_getiuservalue(L, index, SECRET_SOURCE) == LUA_TSTRING)
			error_raise(L, "missing", "of %s only its source is known here: %s", mark, lua_tostring(L, -1));
		error_raise(L, "missing", "of %s only its fingerprint is known here", mark);
	}
	sealed = lua_tolstring(L, -1, &length);
	lua_getiuservalue(L, index, SECRET_KEYRING);
	keyring_unseal(L, lua_gettop(L), sealed, length, s);
	lua_pop(L, 3);
	s->open = 1;
}

int secret_can_open(lua_State *L, int index)
{
	const struct secret *s = lua_touserdata(L, index);
	int sealed = lua_getiuservalue(L, index, SECRET_SEALED) == LUA_TSTRING;

	lua_pop(L, 1);
	return s->open || sealed;
}

/* secret.is_open(secret) -> boolean: whether its bytes can be had here */
static int secret_is_open(lua_State *L)
{
	luaL_checkudata(L, 1, SECRET);
	lua_pushboolean(L, secret_can_open(L, 1));
	return 1;
}

/* secret.fill(closed, open): gives one that was only known by its source its bytes. Raises "conflict" where they are others. */
static int secret_fill(lua_State *L)
{
	struct secret *closed = luaL_checkudata(L, 1, SECRET), *s = secret_opened(L, 2);

	if (closed->open)
		return 0;
	if (strcmp(closed->fingerprint, s->fingerprint) != 0) {
		lua_getiuservalue(L, 1, SECRET_SOURCE);
		return error_raise(L, "conflict", "%s gives %s now, where this run had %s",
				   luaL_optstring(L, -1, "its source"), secret_push_mark(L, s->fingerprint),
				   secret_push_mark(L, closed->fingerprint));
	}
	secret_append(L, closed, s);
	closed->open = 1;
	return 0;
}

/* secret.seal(secret or text, keyring) -> bytes */
static int secret_seal(lua_State *L)
{
	luaL_checkudata(L, 2, KEYRING);
	keyring_seal(L, 2, 1);
	return 1;
}

/* secret.unseal(bytes, keyring) -> the text that was sealed because it holds secrets, which are looked for from now on */
static int secret_unseal(lua_State *L)
{
	size_t length;
	const char *sealed = luaL_checklstring(L, 1, &length);

	luaL_checkudata(L, 2, KEYRING);
	keyring_unseal(L, 2, sealed, length, NULL);
	return 1;
}

void secret_closed_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"reference", secret_reference}, {"sealed", secret_sealed}, {"is_open", secret_is_open},
		{"fill", secret_fill},           {"seal", secret_seal},     {"unseal", secret_unseal},
		{NULL, NULL},
	};

	luaL_setfuncs(L, functions, 0);
}
