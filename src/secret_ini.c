/* Reads a secret INI file, as credentials of AWS are kept in: where it lies, in locked memory. */
#include "secret.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

/* A piece of the document, without the blanks round it. */
struct piece {
	const char *at;
	size_t length;
};

static struct piece trimmed(const char *at, const char *end)
{
	while (at < end && *at && strchr(" \t\r", *at))
		at++;
	while (end > at && end[-1] && strchr(" \t\r", end[-1]))
		end--;
	return (struct piece){at, (size_t)(end - at)};
}

/* Stack of a call: the document, the keys whose values stay secret, the result, the section, and what lies below a key. */
enum { DOCUMENT = 1, HIDDEN, RESULT, SECTION, BELOW };

/* Goes on with the section of that name: one that was there before, or a new one. */
static void enter(lua_State *L, struct piece name)
{
	lua_settop(L, RESULT);
	lua_pushlstring(L, name.at, name.length);
	lua_pushvalue(L, -1);
	if (lua_rawget(L, RESULT) != LUA_TTABLE) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		lua_rawset(L, RESULT);
	}
	lua_replace(L, SECTION);
}

static bool is_hidden(lua_State *L, struct piece key)
{
	bool hidden;

	lua_pushlstring(L, key.at, key.length);
	hidden = lua_rawget(L, HIDDEN) != LUA_TNIL;
	lua_pop(L, 1);
	return hidden;
}

/* Pushes a value: a secret or a text. */
static void push_value(lua_State *L, struct piece key, struct piece value)
{
	struct secret *made;

	if (!is_hidden(L, key)) {
		lua_pushlstring(L, value.at, value.length);
		return;
	}
	lua_getiuservalue(L, DOCUMENT, SECRET_KEYRING);
	made = secret_new(L, lua_gettop(L), 0);
	locked_add(L, &made->memory, value.at, value.length);
	secret_finish(L, made);
	lua_remove(L, -2); /* the keyring */
}

/* Of keys that stand twice the last one counts. A key without a value begins what is indented below it. */
static void add(lua_State *L, struct piece key, struct piece value, bool indented)
{
	int into = indented ? BELOW : SECTION;

	if (lua_gettop(L) < into)
		return;
	lua_pushlstring(L, key.at, key.length);
	if (value.length || indented)
		push_value(L, key, value);
	else
		lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_insert(L, -3);
	lua_rawset(L, into);
	if (!indented && !value.length && lua_gettop(L) > BELOW)
		lua_replace(L, BELOW);
	lua_settop(L, indented || !value.length ? BELOW : SECTION);
}

static void read_line(lua_State *L, struct piece line, bool indented)
{
	const char *equals = memchr(line.at, '=', line.length);

	if (!line.length || line.at[0] == '#' || line.at[0] == ';')
		return;
	if (!indented && line.at[0] == '[' && line.at[line.length - 1] == ']')
		enter(L, trimmed(line.at + 1, line.at + line.length - 1));
	else if (equals)
		add(L, trimmed(line.at, equals), trimmed(equals + 1, line.at + line.length), indented);
}

/*
 * secret.ini(document, hidden) -> { section = { key = text, secret, or { key = … } } }: what an INI file says, the values
 * of the hidden keys (a set) as secrets. Lines that say nothing are passed over.
 */
int secret_ini(lua_State *L)
{
	struct secret *document = secret_opened(L, DOCUMENT);
	const char *at = (const char *)document->memory.bytes, *end = at + document->memory.length;

	luaL_checktype(L, HIDDEN, LUA_TTABLE);
	lua_settop(L, HIDDEN);
	lua_newtable(L);
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at)) ?: end;

		read_line(L, trimmed(at, stop), *at == ' ' || *at == '\t');
		at = stop + 1;
	}
	lua_settop(L, RESULT);
	return 1;
}
