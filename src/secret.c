/* native.secret: opaque secrets. Their bytes lie in locked memory and are opened by native modules alone. */
#include "secret.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define MADE "secret.made"

void secret_harden(void)
{
#ifndef __SANITIZE_ADDRESS__ /* whose leak checker looks into this process as a debugger does */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	setrlimit(RLIMIT_CORE, &(struct rlimit){0});
}

/* ---- making ---- */

void spans_add(lua_State *L, struct spans *spans, size_t at, size_t length, const char *mark)
{
	struct span *list = realloc(spans->list, (spans->count + 1) * sizeof *list);

	if (!list)
		luaL_error(L, "not enough memory");
	spans->list = list;
	list[spans->count] = (struct span){.at = at, .length = length};
	memcpy(list[spans->count++].mark, mark, SECRET_MARK);
}

struct secret *secret_new_closed(lua_State *L, int keyring, int source)
{
	struct secret *s = lua_newuserdatauv(L, sizeof *s, 3);

	*s = (struct secret){0};
	luaL_setmetatable(L, SECRET);
	lua_pushboolean(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, MADE);
	lua_pushvalue(L, keyring);
	lua_setiuservalue(L, -2, SECRET_KEYRING);
	if (source) {
		lua_pushvalue(L, source);
		lua_setiuservalue(L, -2, SECRET_SOURCE);
	}
	return s;
}

struct secret *secret_new(lua_State *L, int keyring, int source)
{
	struct secret *s;

	luaL_checkudata(L, keyring, KEYRING);
	s = secret_new_closed(L, keyring, source);
	locked_reserve(L, &s->memory, 1);
	s->open = 1;
	return s;
}

void secret_close_off(lua_State *L, struct secret *s)
{
	lua_getiuservalue(L, -1, SECRET_KEYRING);
	keyring_fingerprint(L, lua_gettop(L), s->memory.bytes, s->memory.length, s->fingerprint);
	lua_pop(L, 1);
}

int secret_finish(lua_State *L, struct secret *s)
{
	secret_close_off(L, s);
	spans_add(L, &s->spans, 0, s->memory.length, s->fingerprint);
	redact_register(L, s->memory.bytes, s->memory.length, s->fingerprint);
	return 1;
}

/* ---- opening ---- */

const char *secret_push_mark(lua_State *L, const char *fingerprint)
{
	char mark[SECRET_MARK + 1] = "";

	memcpy(mark, fingerprint, SECRET_MARK);
	return lua_pushfstring(L, "(secret %s)", mark);
}

int secret_is(lua_State *L, int index)
{
	return luaL_testudata(L, index, SECRET) != NULL;
}

struct secret *secret_opened(lua_State *L, int index)
{
	struct secret *s = luaL_checkudata(L, index, SECRET);

	if (!s->open)
		secret_open_sealed(L, s, index);
	return s;
}

const char *secret_bytes(lua_State *L, int index, size_t *length)
{
	struct secret *s = luaL_testudata(L, index, SECRET);

	if (!s)
		return lua_tolstring(L, index, length);
	*length = s->memory.length;
	return (const char *)s->memory.bytes;
}

const char *secret_check(lua_State *L, int arg, size_t *length)
{
	if (!secret_is(L, arg))
		return luaL_checklstring(L, arg, length);
	secret_opened(L, arg);
	return secret_bytes(L, arg, length);
}

void secret_push_reference(lua_State *L, int index)
{
	const struct secret *s = luaL_checkudata(L, index, SECRET);

	lua_getiuservalue(L, index, SECRET_SOURCE);
	lua_pushstring(L, s->fingerprint);
}

/* ---- what may be asked of one ---- */

/* secret.is(value) -> boolean */
static int secret_is_one(lua_State *L)
{
	lua_pushboolean(L, secret_is(L, 1));
	return 1;
}

/* secret.is_short(secret) -> boolean: so short that output is not searched for it */
static int secret_is_short(lua_State *L)
{
	lua_pushboolean(L, secret_opened(L, 1)->memory.length < SECRET_SHORTEST);
	return 1;
}

/* secret.any() -> boolean: whether there was ever a secret in this process */
static int secret_any(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, MADE);
	lua_pushboolean(L, lua_toboolean(L, -1));
	return 1;
}

/* secret.size(secret or text) -> bytes */
static int secret_size(lua_State *L)
{
	size_t length;

	secret_check(L, 1, &length);
	lua_pushinteger(L, (lua_Integer)length);
	return 1;
}

/* secret.fingerprint(secret) -> 64 hexadecimal digits */
static int secret_fingerprint(lua_State *L)
{
	lua_pushstring(L, ((struct secret *)luaL_checkudata(L, 1, SECRET))->fingerprint);
	return 1;
}

/* secret.source(secret) -> where it comes from, as in an environment; nil: it was put together */
static int secret_source(lua_State *L)
{
	luaL_checkudata(L, 1, SECRET);
	lua_getiuservalue(L, 1, SECRET_SOURCE);
	return 1;
}

/* Writes the fingerprint that the value at the index has by the keyring of the secret at `by`. */
static void fingerprint_of(lua_State *L, int index, int by, char *fingerprint)
{
	const struct secret *s = luaL_testudata(L, index, SECRET);
	size_t length;
	const char *bytes;

	if (s) {
		memcpy(fingerprint, s->fingerprint, sizeof s->fingerprint);
		return;
	}
	bytes = luaL_checklstring(L, index, &length);
	lua_getiuservalue(L, by, SECRET_KEYRING);
	keyring_fingerprint(L, lua_gettop(L), bytes, length, fingerprint);
	lua_pop(L, 1);
}

/* secret.same(a, b) -> boolean: by fingerprints; one of them may be a text */
static int secret_same(lua_State *L)
{
	char a[2 * SECRET_KEY + 1], b[2 * SECRET_KEY + 1];

	luaL_argexpected(L, secret_is(L, 1) || secret_is(L, 2), 1, "secret");
	fingerprint_of(L, 1, 2, a);
	fingerprint_of(L, 2, 1, b);
	lua_pushboolean(L, !strcmp(a, b));
	return 1;
}

static void add_shown(lua_State *L, luaL_Buffer *text, const char *bytes, size_t length)
{
	if (!length)
		return;
	secret_push_redacted(L, bytes, length);
	luaL_addvalue(text);
}

/* secret.text(secret) -> how it reads: its parts that are secret replaced, the others as they are */
static int secret_text(lua_State *L)
{
	const struct secret *s = secret_opened(L, 1);
	const char *bytes = (const char *)s->memory.bytes;
	luaL_Buffer text;
	size_t at = 0;

	luaL_buffinit(L, &text);
	for (size_t i = 0; i < s->spans.count; i++) {
		const struct span *span = &s->spans.list[i];

		add_shown(L, &text, bytes + at, span->at - at);
		secret_push_mark(L, span->mark);
		luaL_addvalue(&text);
		at = span->at + span->length;
	}
	add_shown(L, &text, bytes + at, s->memory.length - at);
	luaL_pushresult(&text);
	return 1;
}

/* secret.reveal(secret) -> text: what a host gives back that was given it. For the plan's overlay, and for nothing else. */
static int secret_reveal(lua_State *L)
{
	const struct secret *s = secret_opened(L, 1);

	lua_pushlstring(L, (const char *)s->memory.bytes, s->memory.length);
	return 1;
}

/* ---- what every secret does ---- */

static int secret_gc(lua_State *L)
{
	struct secret *s = luaL_checkudata(L, 1, SECRET);

	locked_free(&s->memory);
	free(s->spans.list);
	s->spans = (struct spans){0};
	s->open = 0;
	return 0;
}

static int secret_tostring(lua_State *L)
{
	secret_push_mark(L, ((struct secret *)luaL_checkudata(L, 1, SECRET))->fingerprint);
	return 1;
}

void secret_append(lua_State *L, struct secret *into, const struct secret *s)
{
	size_t at = into->memory.length;

	locked_add(L, &into->memory, s->memory.bytes, s->memory.length);
	for (size_t i = 0; i < s->spans.count; i++)
		spans_add(L, &into->spans, at + s->spans.list[i].at, s->spans.list[i].length, s->spans.list[i].mark);
}

static void add_value(lua_State *L, struct secret *into, int index)
{
	const struct secret *s = luaL_testudata(L, index, SECRET);
	size_t length;
	const char *bytes;

	if (s) {
		secret_append(L, into, s);
		return;
	}
	bytes = lua_tolstring(L, index, &length);
	locked_add(L, &into->memory, bytes, length);
}

static void check_part(lua_State *L, int index)
{
	if (secret_is(L, index))
		secret_opened(L, index);
	else if (!lua_isstring(L, index))
		luaL_error(L, "attempt to concatenate a %s value with a secret", luaL_typename(L, index));
}

static int secret_concat(lua_State *L)
{
	struct secret *joined;

	check_part(L, 1);
	check_part(L, 2);
	lua_getiuservalue(L, secret_is(L, 1) ? 1 : 2, SECRET_KEYRING);
	joined = secret_new(L, 3, 0);
	add_value(L, joined, 1);
	add_value(L, joined, 2);
	secret_close_off(L, joined);
	return 1;
}

static int secret_equal(lua_State *L)
{
	const struct secret *a = luaL_testudata(L, 1, SECRET), *b = luaL_testudata(L, 2, SECRET);

	lua_pushboolean(L, a && b && !strcmp(a->fingerprint, b->fingerprint));
	return 1;
}

static int secret_refuse(lua_State *L)
{
	return luaL_error(L, "a secret is not looked into: join it with .., hand it over as content, `input` or `env`, or "
			     "compare it with ==");
}

int luaopen_secret(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"is", secret_is_one},     {"is_short", secret_is_short},
		{"any", secret_any},       {"size", secret_size},
		{"same", secret_same},     {"fingerprint", secret_fingerprint},
		{"source", secret_source}, {"text", secret_text},
		{"reveal", secret_reveal}, {"like", secret_like},
		{"pick", secret_pick},     {"plain", secret_plain},
		{"ini", secret_ini},       {"quote", secret_quote},
		{NULL, NULL},
	};
	static const luaL_Reg metamethods[] = {
		{"__gc", secret_gc},       {"__tostring", secret_tostring}, {"__concat", secret_concat},
		{"__eq", secret_equal},    {"__len", secret_refuse},        {"__index", secret_refuse},
		{"__newindex", secret_refuse}, {"__lt", secret_refuse},     {"__le", secret_refuse},
		{"__call", secret_refuse}, {"__pairs", secret_refuse},      {NULL, NULL},
	};

	luaL_newmetatable(L, SECRET);
	luaL_setfuncs(L, metamethods, 0);
	lua_createtable(L, 0, 1); /* what getmetatable shows: it can be printed, and nothing else */
	lua_pushcfunction(L, secret_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_setfield(L, -2, "__metatable");
	luaL_newlib(L, functions);
	secret_source_open(L);
	secret_closed_open(L);
	secret_encode_open(L);
	keyring_open(L);
	redact_open(L);
	return 1;
}
