/* Finds secrets that were opened in this process in whatever is about to leave it: as they are, and encoded. */
#include "secret.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PATTERNS "secret.patterns"
#define REDACTOR "secret.redactor"

enum {
	HASHED = 4, /* bytes of a pattern's beginning that its hash is of */
	HASHES = 4096,
	SHORTEST_LINE = 16, /* bytes of a line of a longer secret that are looked for alone */
};

/* Where a pattern lies in the memory of all, and the next of the same hash; -1: none. */
struct pattern {
	size_t at, length;
	int next;
	char mark[SECRET_MARK + 1];
};

struct patterns {
	struct locked memory;
	struct pattern *list;
	int count, heads[HASHES];
	size_t longest;
};

/* The end of what was given so far, as long as it may be the beginning of a secret. */
struct redactor {
	struct locked held;
};

static struct patterns *patterns(lua_State *L)
{
	struct patterns *p;

	lua_getfield(L, LUA_REGISTRYINDEX, PATTERNS);
	p = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return p;
}

static int patterns_gc(lua_State *L)
{
	struct patterns *p = lua_touserdata(L, 1);

	locked_free(&p->memory);
	free(p->list);
	p->list = NULL;
	p->count = 0;
	p->longest = 0;
	memset(p->heads, -1, sizeof p->heads);
	return 0;
}

static unsigned hash(const unsigned char *bytes)
{
	uint32_t first;

	memcpy(&first, bytes, HASHED);
	return first * 2654435761u >> 20;
}

/* ---- searching ---- */

/* The longest pattern that stands at the beginning of the bytes; NULL: none. */
static const struct pattern *match(const struct patterns *p, const unsigned char *bytes, size_t length)
{
	const struct pattern *best = NULL;

	if (length < SECRET_SHORTEST)
		return NULL;
	for (int i = p->heads[hash(bytes)]; i >= 0; i = p->list[i].next) {
		const struct pattern *one = &p->list[i];

		if (one->length <= length && (!best || one->length > best->length) &&
		    !memcmp(p->memory.bytes + one->at, bytes, one->length))
			best = one;
	}
	return best;
}

/* Whether more bytes could make a pattern, or a longer one, of these. */
static int may_begin(const struct patterns *p, const unsigned char *bytes, size_t length)
{
	for (int i = 0; i < p->count; i++)
		if (p->list[i].length > length && !memcmp(p->memory.bytes + p->list[i].at, bytes, length))
			return 1;
	return 0;
}

static void add_mark(luaL_Buffer *out, const char *mark)
{
	luaL_addstring(out, "(secret ");
	luaL_addstring(out, mark);
	luaL_addchar(out, ')');
}

/* Adds the bytes, secrets replaced; unless it is the last piece, stops where one may begin. Returns the bytes taken. */
static size_t redact(luaL_Buffer *out, const struct patterns *p, const unsigned char *bytes, size_t length, int last)
{
	size_t clean = 0, at = 0;

	while (at < length) {
		const struct pattern *found;

		if (!last && length - at < p->longest && may_begin(p, bytes + at, length - at))
			break;
		found = match(p, bytes + at, length - at);
		if (found) {
			luaL_addlstring(out, (const char *)bytes + clean, at - clean);
			add_mark(out, found->mark);
			at = clean = at + found->length;
		} else {
			at++;
		}
	}
	luaL_addlstring(out, (const char *)bytes + clean, at - clean);
	return at;
}

void redact_find(lua_State *L, const unsigned char *bytes, size_t length, struct spans *spans)
{
	const struct patterns *p = patterns(L);
	const struct pattern *found;

	for (size_t at = 0; p->count && at < length; at += found ? found->length : 1) {
		found = match(p, bytes + at, length - at);
		if (found)
			spans_add(L, spans, at, found->length, found->mark);
	}
}

void secret_push_redacted(lua_State *L, const char *bytes, size_t length)
{
	const struct patterns *p = patterns(L);
	luaL_Buffer out;

	if (!p || !p->count) {
		lua_pushlstring(L, bytes, length);
		return;
	}
	luaL_buffinit(L, &out);
	redact(&out, p, (const unsigned char *)bytes, length, 1);
	luaL_pushresult(&out);
}

/* ---- what is searched for ---- */

static int known(const struct patterns *p, const unsigned char *bytes, size_t length)
{
	const struct pattern *found = match(p, bytes, length);

	return found && found->length == length;
}

static void add_pattern(lua_State *L, struct patterns *p, const struct locked *text, const char *mark)
{
	struct pattern *list, *one;

	if (text->length < SECRET_SHORTEST || known(p, text->bytes, text->length))
		return;
	list = realloc(p->list, ((size_t)p->count + 1) * sizeof *list);
	if (!list)
		luaL_error(L, "not enough memory");
	p->list = list;
	one = &list[p->count];
	*one = (struct pattern){.at = p->memory.length, .length = text->length};
	memcpy(one->mark, mark, SECRET_MARK);
	locked_add(L, &p->memory, text->bytes, text->length);
	one->next = p->heads[hash(text->bytes)];
	p->heads[hash(text->bytes)] = p->count++;
	if (text->length > p->longest)
		p->longest = text->length;
}

typedef void encoding(lua_State *L, struct locked *out, const unsigned char *bytes, size_t length, int variant);

static void add_text(lua_State *L, struct locked *out, const char *text)
{
	locked_add(L, out, text, strlen(text));
}

static void add_escaped(lua_State *L, struct locked *out, const char *before, const char *digits, unsigned char byte)
{
	const char text[] = {digits[byte >> 4], digits[byte & 15]};

	add_text(L, out, before);
	locked_add(L, out, text, 2);
}

static const char LOWER[] = "0123456789abcdef", UPPER[] = "0123456789ABCDEF";

static void plain(lua_State *L, struct locked *out, const unsigned char *bytes, size_t length, int variant)
{
	(void)variant;
	locked_add(L, out, bytes, length);
}

/* variant: upper case */
static void hexadecimal(lua_State *L, struct locked *out, const unsigned char *bytes, size_t length, int variant)
{
	for (size_t i = 0; i < length; i++)
		add_escaped(L, out, "", variant ? UPPER : LOWER, bytes[i]);
}

/*
 * variant: 0 to 2 bytes stand before it, + 3: the alphabet of file names. Characters that also hold bits of the
 * neighbours are left out.
 */
static void base64(lua_State *L, struct locked *out, const unsigned char *bytes, size_t length, int variant)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	size_t before = (size_t)variant % 3, first = (before * 8 + 5) / 6, last = (before + length) * 8 / 6;

	for (size_t i = first; i < last; i++) {
		unsigned value = 0;

		for (size_t bit = i * 6; bit < i * 6 + 6; bit++)
			value = value << 1 | (bytes[bit / 8 - before] >> (7 - bit % 8) & 1);
		if (value < 62)
			locked_add(L, out, &letters[value], 1);
		else
			add_text(L, out, value == 62 ? variant < 3 ? "+" : "-" : variant < 3 ? "/" : "_");
	}
}

/* variant 0: all but unreserved characters, 1: the same in lower case, 2: as a browser does, 3: as a form, + for a space */
static void url(lua_State *L, struct locked *out, const unsigned char *bytes, size_t length, int variant)
{
	for (size_t i = 0; i < length; i++) {
		int stays = isalnum(bytes[i]) || (bytes[i] && strchr(variant == 3 ? "-_.*" : "-_.~", bytes[i])) ||
			    (variant == 2 && bytes[i] && strchr("!'()*", bytes[i]));

		if (variant == 3 && bytes[i] == ' ')
			add_text(L, out, "+");
		else if (stays && bytes[i] < 0x80)
			locked_add(L, out, &bytes[i], 1);
		else
			add_escaped(L, out, "%", variant == 1 ? LOWER : UPPER, bytes[i]);
	}
}

/* One character of UTF-8 as a number; returns its length, 1 for a byte that is none. */
static size_t character(const unsigned char *bytes, size_t length, unsigned *point)
{
	size_t size = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : bytes[0] >= 0xc0 ? 2 : 1;

	*point = bytes[0];
	if (size == 1 || size > length)
		return 1;
	*point = bytes[0] & (0x7fu >> size);
	for (size_t i = 1; i < size; i++)
		*point = *point << 6 | (bytes[i] & 0x3f);
	return size;
}

static void add_unicode(lua_State *L, struct locked *out, unsigned unit, const char *digits)
{
	add_escaped(L, out, "\\u", digits, (unsigned char)(unit >> 8));
	add_escaped(L, out, "", digits, (unsigned char)unit);
}

/* variant bits: 1 escapes what is not ASCII, 2 the slash, 4 in upper case */
static void json(lua_State *L, struct locked *out, const unsigned char *bytes, size_t length, int variant)
{
	static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt", *found;
	const char *digits = variant & 4 ? UPPER : LOWER;
	size_t step;

	for (size_t i = 0; i < length; i += step) {
		unsigned point;

		step = character(bytes + i, length - i, &point);
		found = NULL;
		for (const char *name = names; *name && !found; name += 2)
			found = (unsigned char)*name == point ? name : NULL;
		if (found || (point == '/' && variant & 2)) {
			add_text(L, out, "\\");
			locked_add(L, out, found ? found + 1 : "/", 1);
		} else if (point < 0x20 || (variant & 1 && point > 0x7e && point < 0x10000)) {
			add_unicode(L, out, point, digits);
		} else if (variant & 1 && point > 0xffff) {
			add_unicode(L, out, 0xd800 + ((point - 0x10000) >> 10), digits);
			add_unicode(L, out, 0xdc00 + ((point - 0x10000) & 0x3ff), digits);
		} else {
			locked_add(L, out, bytes + i, step);
		}
	}
}

/* What stands within quotes. variant 0: '\'' for a quote, 1: '"'"', 2: a backslash before what a shell knows, 3: within " */
static void shell(lua_State *L, struct locked *out, const unsigned char *bytes, size_t length, int variant)
{
	for (size_t i = 0; i < length; i++) {
		const char byte = (char)bytes[i];

		if (variant < 2 && byte == '\'') {
			add_text(L, out, variant ? "'\"'\"'" : "'\\''");
			continue;
		}
		if ((variant == 2 && !isalnum(bytes[i]) && !strchr("@%+=:,./-_", byte) && bytes[i] < 0x80) ||
		    (variant == 3 && byte && strchr("\"$`\\", byte)))
			add_text(L, out, "\\");
		locked_add(L, out, &byte, 1);
	}
}

static void add_lines(lua_State *L, struct patterns *p, const unsigned char *bytes, size_t length, const char *mark)
{
	for (const unsigned char *line = bytes, *end = bytes + length, *next; line < end; line = next + 1) {
		struct locked text = {0};

		next = memchr(line, '\n', (size_t)(end - line)) ?: end;
		if (next - line < SHORTEST_LINE || next - line == (ptrdiff_t)length || !strncmp((char *)line, "-----", 5))
			continue;
		text = (struct locked){.bytes = (unsigned char *)line, .length = (size_t)(next - line)};
		add_pattern(L, p, &text, mark);
	}
}

/* Another environment's key gives the same secret another mark: the last one counts. */
static void rename_marks(struct patterns *p, const char *mark, const char *now)
{
	char before[SECRET_MARK];

	memcpy(before, mark, SECRET_MARK);
	for (int i = 0; i < p->count; i++)
		if (!memcmp(p->list[i].mark, before, SECRET_MARK))
			memcpy(p->list[i].mark, now, SECRET_MARK);
}

void redact_register(lua_State *L, const unsigned char *bytes, size_t length, const char *mark)
{
	static const struct {
		encoding *write;
		int variants;
	} encodings[] = {{plain, 1}, {hexadecimal, 2}, {base64, 6}, {url, 4}, {json, 8}, {shell, 4}};
	struct patterns *p = patterns(L);
	struct locked text = {0};

	if (length < SECRET_SHORTEST)
		return;
	if (known(p, bytes, length)) {
		rename_marks(p, match(p, bytes, length)->mark, mark);
		return;
	}
	/* no encoding is longer: nothing below can fail between here and the free */
	locked_reserve(L, &text, 8 * length + 64);
	for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++)
		for (int variant = 0; variant < encodings[i].variants; variant++) {
			text.length = 0;
			encodings[i].write(L, &text, bytes, length, variant);
			add_pattern(L, p, &text, mark);
		}
	locked_free(&text);
	add_lines(L, p, bytes, length, mark);
}

/* ---- as Lua calls it ---- */

/* secret.redact(bytes) -> the same, with every opened secret in it, plain or encoded, replaced by "(secret a41c)" */
static int secret_redact(lua_State *L)
{
	size_t length;
	const char *bytes = luaL_checklstring(L, 1, &length);

	if (patterns(L)->count)
		secret_push_redacted(L, bytes, length);
	return 1;
}

/* secret.holds(bytes) -> "a41c" of the first secret that stands in it, plain or encoded; nil: none */
static int secret_holds(lua_State *L)
{
	size_t length;
	const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 1, &length);
	const struct patterns *p = patterns(L);
	const struct pattern *found;

	for (size_t at = 0; p->count && at < length; at++) {
		found = match(p, bytes + at, length - at);
		if (found) {
			lua_pushstring(L, found->mark);
			return 1;
		}
	}
	return 0;
}

/* secret.marked(text) -> boolean: whether it has the mark that stands for an opened secret */
static int secret_marked(lua_State *L)
{
	const char *text = luaL_checkstring(L, 1), *at = text;
	const struct patterns *p = patterns(L);
	int found = 0;

	while (!found && (at = strstr(at, "(secret ")) != NULL) {
		at += strlen("(secret ");
		for (int i = 0; i < p->count && !found; i++)
			found = !strncmp(at, p->list[i].mark, SECRET_MARK) && at[SECRET_MARK] == ')';
	}
	lua_pushboolean(L, found);
	return 1;
}

/* secret.redactor() -> redactor: for bytes that come in pieces */
static int secret_redactor(lua_State *L)
{
	struct redactor *r = lua_newuserdatauv(L, sizeof *r, 0);

	*r = (struct redactor){0};
	luaL_setmetatable(L, REDACTOR);
	return 1;
}

/* Stack: redactor, bytes. */
static int redact_piece(lua_State *L, int last)
{
	struct redactor *r = luaL_checkudata(L, 1, REDACTOR);
	const struct patterns *p = patterns(L);
	size_t length, taken;
	const char *bytes = luaL_optlstring(L, 2, "", &length);
	luaL_Buffer out;

	locked_add(L, &r->held, bytes, length);
	luaL_buffinit(L, &out);
	taken = redact(&out, p, r->held.bytes, r->held.length, last);
	memmove(r->held.bytes, r->held.bytes + taken, r->held.length - taken);
	r->held.length -= taken;
	luaL_pushresult(&out);
	return 1;
}

/* redactor:add(bytes) -> text: what is certain by now; the rest comes with the next piece */
static int redactor_add(lua_State *L)
{
	struct redactor *r = luaL_checkudata(L, 1, REDACTOR);

	luaL_checkstring(L, 2);
	lua_settop(L, 2);
	return !patterns(L)->count && !r->held.length ? 1 : redact_piece(L, 0);
}

/* redactor:finish() -> text: the rest */
static int redactor_finish(lua_State *L)
{
	struct redactor *r = luaL_checkudata(L, 1, REDACTOR);

	lua_settop(L, 1);
	if (r->held.length)
		return redact_piece(L, 1);
	lua_pushliteral(L, "");
	return 1;
}

static int redactor_gc(lua_State *L)
{
	locked_free(&((struct redactor *)luaL_checkudata(L, 1, REDACTOR))->held);
	return 0;
}

static void open_patterns(lua_State *L)
{
	struct patterns *p = lua_newuserdatauv(L, sizeof *p, 0);

	*p = (struct patterns){0};
	memset(p->heads, -1, sizeof p->heads);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, patterns_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, PATTERNS);
}

void redact_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"redact", secret_redact},     {"holds", secret_holds}, {"marked", secret_marked},
		{"redactor", secret_redactor}, {NULL, NULL},
	};
	static const luaL_Reg methods[] = {
		{"add", redactor_add},
		{"finish", redactor_finish},
		{"__gc", redactor_gc},
		{NULL, NULL},
	};

	open_patterns(L);
	luaL_newmetatable(L, REDACTOR);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	luaL_setfuncs(L, functions, 0);
}
