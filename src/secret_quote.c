/* native.secret: a value as a literal of another language, so that a text can be made of it that says it and no more. */
#include "error.h"
#include "secret.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

enum target { SH, SQL, MYSQL, JSON, YAML };

/* What is written goes into locked memory, or into a buffer if it is no secret. */
struct sink {
	lua_State *L;
	struct locked *memory; /* NULL: the buffer */
	luaL_Buffer buffer;
};

static void put(struct sink *sink, const void *bytes, size_t length)
{
	if (sink->memory)
		locked_add(sink->L, sink->memory, bytes, length);
	else
		luaL_addlstring(&sink->buffer, bytes, length);
}

static void refuse(lua_State *L, const char *what)
{
	error_raise(L, "protocol", "a value has no such form: it %s", what);
}

/* Each of the bytes is written as what stands for it: '\'' in a shell, '' in SQL. */
static void put_single(struct sink *sink, const char *bytes, size_t length, enum target target)
{
	if (memchr(bytes, 0, length))
		refuse(sink->L, "holds a NUL byte");
	put(sink, "'", 1);
	for (size_t i = 0; i < length; i++)
		if (bytes[i] == '\'')
			put(sink, target == SH ? "'\\''" : "''", target == SH ? 4 : 2);
		else if (bytes[i] == '\\' && target == MYSQL)
			put(sink, "\\\\", 2);
		else
			put(sink, bytes + i, 1);
	put(sink, "'", 1);
}

/* Length and code point of the UTF-8 sequence at s; raises where there is none. */
static size_t sequence(lua_State *L, const unsigned char *s, const unsigned char *end, utf8proc_int32_t *point)
{
	utf8proc_ssize_t n = utf8proc_iterate(s, end - s, point);

	if (n < 1)
		refuse(L, "is not UTF-8");
	return (size_t)n;
}

/* What JSON escapes, and what a reader of YAML takes for a line end or no character. */
static int is_escaped(utf8proc_int32_t point)
{
	return point < 0x20 || point == '"' || point == '\\' || (point >= 0x7F && point < 0xA0) || point == 0x2028 ||
	       point == 0x2029 || point == 0xFEFF || point == 0xFFFE || point == 0xFFFF;
}

static const char *letter_of(utf8proc_int32_t point)
{
	static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (const char *letter = letters; *letter; letter += 2)
		if (*letter == point)
			return letter + 1;
	return NULL;
}

static void put_double(struct sink *sink, const char *bytes, size_t length)
{
	const unsigned char *s = (const unsigned char *)bytes, *end = s + length;
	char escape[8];

	put(sink, "\"", 1);
	for (size_t n; s < end; s += n) {
		const char *letter;
		utf8proc_int32_t point;

		n = sequence(sink->L, s, end, &point);
		letter = letter_of(point);
		if (letter)
			put(sink, (char[]){'\\', *letter}, 2);
		else if (is_escaped(point))
			put(sink, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)point));
		else
			put(sink, s, n);
	}
	put(sink, "\"", 1);
}

static void put_quoted(struct sink *sink, const char *bytes, size_t length, enum target target)
{
	if (target == JSON || target == YAML)
		put_double(sink, bytes, length);
	else
		put_single(sink, bytes, length, target);
}

/* quote(secret or text, "sh"|"sql"|"mysql"|"json"|"yaml") -> secret, or text. Raises "protocol" for a NUL byte in a shell
 * and in SQL, and for what is not UTF-8 in JSON and YAML. */
int secret_quote(lua_State *L)
{
	static const char *const targets[] = {"sh", "sql", "mysql", "json", "yaml", NULL};
	struct secret *s = secret_is(L, 1) ? secret_opened(L, 1) : NULL, *quoted;
	enum target target = luaL_checkoption(L, 2, NULL, targets);
	struct sink sink = {.L = L};
	size_t length;
	const char *bytes = secret_check(L, 1, &length);

	if (!s) {
		luaL_buffinit(L, &sink.buffer);
		put_quoted(&sink, bytes, length, target);
		luaL_pushresult(&sink.buffer);
		return 1;
	}
	lua_getiuservalue(L, 1, SECRET_KEYRING);
	quoted = secret_new(L, lua_gettop(L), 0);
	sink.memory = &quoted->memory;
	locked_reserve(L, sink.memory, 2 * length + 2);
	put_quoted(&sink, bytes, length, target);
	secret_close_off(L, quoted);
	spans_add(L, &quoted->spans, 0, quoted->memory.length, s->fingerprint);
	return 1;
}
