/* Picks one value out of a secret INI file, as credentials of AWS are kept in: read where it lies, in locked memory. */
#include "error.h"
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
	while (at < end && strchr(" \t\r", *at) && *at)
		at++;
	while (end > at && strchr(" \t\r", end[-1]) && end[-1])
		end--;
	return (struct piece){at, (size_t)(end - at)};
}

static bool is(struct piece piece, const char *text, size_t length)
{
	return piece.length == length && !memcmp(piece.at, text, length);
}

/* Whether the line is "[section]"; begins is set where it is any section's. */
static bool is_section(struct piece line, const char *section, size_t length, bool *begins)
{
	*begins = line.length > 1 && line.at[0] == '[' && line.at[line.length - 1] == ']';
	return *begins && is(trimmed(line.at + 1, line.at + line.length - 1), section, length);
}

/*
 * secret.ini(document, section, key, source?) -> secret, or nil: the value of the key in that section of an open secret. Of
 * keys that stand twice the last one counts.
 */
int secret_ini(lua_State *L)
{
	struct secret *document = secret_opened(L, 1), *picked;
	size_t section_length, key_length;
	const char *section = luaL_checklstring(L, 2, &section_length), *key = luaL_checklstring(L, 3, &key_length);
	const char *at = (const char *)document->memory.bytes, *end = at + document->memory.length;
	struct piece value = {0};
	bool within = false, begins;

	lua_settop(L, 4);
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at)) ?: end, *equals;
		struct piece line = trimmed(at, stop);
		bool found = is_section(line, section, section_length, &begins);

		within = begins ? found : within;
		equals = line.length ? memchr(line.at, '=', line.length) : NULL;
		if (within && equals && is(trimmed(line.at, equals), key, key_length))
			value = trimmed(equals + 1, line.at + line.length);
		at = stop < end ? stop + 1 : end;
	}
	if (!value.length)
		return 0;
	lua_getiuservalue(L, 1, SECRET_KEYRING);
	picked = secret_new(L, 5, 4);
	locked_add(L, &picked->memory, value.at, value.length);
	return secret_finish(L, picked);
}
