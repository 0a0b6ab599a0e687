/* native.yaml: plain data as YAML text that every reader takes for what it is, those of YAML 1.1 too. */
#include "yaml.h"
#include "data.h"
#include "error.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define TYPE "yaml.output"
#define KEY_MAX 500 /* bytes; readers look no further than 1024 characters for the colon, quotes and escapes included */

struct key {
	const char *text; /* owned by the table that is being written */
	size_t length;
	lua_Integer rank; /* in options.order; those not in it come behind */
};

/* One emission under way. A userdata, so that an error frees it. */
struct output {
	char *text;
	size_t length, capacity;
	struct key *keys; /* keys of all maps that are open, innermost last */
	size_t key_count, key_capacity;
	int indent;
	bool flow, flush;
	char quote; /* what strings that need no quotes get all the same: ' or " or 0 */
};

enum { VALUE = 1, OPTIONS, OUTPUT, ORDER };

/* Where a value stands. */
struct place {
	int column;   /* of what encloses it; -1: nothing does */
	int depth;
	bool flow;
	bool in_list; /* right behind "- " */
};

static void write_value(lua_State *L, struct output *o, struct place place);

static int output_free(lua_State *L)
{
	struct output *o = lua_touserdata(L, 1);

	free(o->text);
	free(o->keys);
	*o = (struct output){0};
	return 0;
}

static void write_bytes(lua_State *L, struct output *o, const char *bytes, size_t length)
{
	if (o->length + length > o->capacity) {
		size_t capacity = 2 * (o->length + length + 128);
		char *text = realloc(o->text, capacity);

		if (!text)
			luaL_error(L, "not enough memory");
		o->text = text;
		o->capacity = capacity;
	}
	memcpy(o->text + o->length, bytes, length);
	o->length += length;
}

static void write_text(lua_State *L, struct output *o, const char *text)
{
	write_bytes(L, o, text, strlen(text));
}

static void write_indent(lua_State *L, struct output *o, int column)
{
	while (column-- > 0)
		write_bytes(L, o, " ", 1);
}

static void refuse(lua_State *L, const char *what)
{
	luaL_error(L, "a value has no YAML form: %s", what);
}

/* ---- what a plain scalar would be taken for ---- */

static bool is_word(const char *text)
{
	static const char *const words[] = {"~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<",
					    ".inf", "-.inf", "+.inf", ".nan", NULL};

	for (int i = 0; words[i]; i++)
		if (!strcasecmp(text, words[i]))
			return true;
	return false;
}

/* Digits, with the underscores, colons and one point that YAML 1.1 takes among them, and an exponent. */
static bool is_number(const char *text)
{
	const char *s = text + (*text == '-' || *text == '+');
	int points = 0, digits = 0;

	if (s[0] == '0' && s[1] && strchr("xXoObB", s[1]) && s[2] && s[2 + strspn(s + 2, "0123456789abcdefABCDEF_")] == 0)
		return true;
	for (; *s && strchr("0123456789_:.", *s); s++) {
		points += *s == '.';
		digits += *s >= '0' && *s <= '9';
	}
	if (digits == 0 || points > 1)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		return *s && s[strspn(s, "0123456789_")] == 0;
	}
	return *s == 0;
}

static bool is_date(const char *text)
{
	size_t year = strspn(text, "0123456789"), month;

	if (year != 4 || text[4] != '-')
		return false;
	month = strspn(text + 5, "0123456789");
	return month >= 1 && month <= 2 && text[5 + month] == '-' && text[6 + month] >= '0' && text[6 + month] <= '9';
}

/* Length and code point of the UTF-8 sequence at s; raises where there is none. */
static size_t sequence(lua_State *L, const unsigned char *s, const unsigned char *end, utf8proc_int32_t *point)
{
	utf8proc_ssize_t n = utf8proc_iterate(s, end - s, point);

	if (n < 1)
		refuse(L, "not UTF-8");
	return (size_t)n;
}

/* Whether a code point has to be escaped: what does not print, and what some take for a line end. */
static bool is_escaped(utf8proc_int32_t point)
{
	return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x2028 || point == 0x2029 || point == 0xFEFF ||
	       point == 0xFFFE || point == 0xFFFF;
}

/* What the bytes of a string allow. */
struct shape {
	bool escapes; /* something needs a backslash */
	bool lines;   /* there are line ends, and nothing else that does */
};

static struct shape shape_of(lua_State *L, const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + length;
	struct shape shape = {0};

	while (s < end) {
		utf8proc_int32_t point;

		s += sequence(L, s, end, &point);
		if (point == '\n')
			shape.lines = true;
		else if (point != '\t' && is_escaped(point))
			shape.escapes = true;
	}
	return shape;
}

static bool may_begin(const char *text, bool flow)
{
	if (!strncmp(text, "---", 3) || !strncmp(text, "...", 3) || strchr(" \t#,[]{}&*!|>'\"%@`", *text))
		return false;
	if (strchr("-?:", *text))
		return !flow && text[1] && !strchr(" \t", text[1]);
	return true;
}

/* Whether a string that prints in one line can go without quotes. */
static bool is_plain(const char *text, size_t length, bool flow)
{
	if (!length || !may_begin(text, flow) || strchr(" \t:", text[length - 1]) || strchr(text, '\t'))
		return false;
	if (strstr(text, ": ") || strstr(text, " #") || (flow && strpbrk(text, ",[]{}?")))
		return false;
	if (flow && strchr(text, ':') && !strstr(text, "://") )
		return false;
	return !is_word(text) && !is_number(text) && !is_date(text);
}

/* ---- strings ---- */

static void write_single(lua_State *L, struct output *o, const char *text, size_t length)
{
	write_text(L, o, "'");
	for (size_t i = 0; i < length; i++)
		write_bytes(L, o, text[i] == '\'' ? "''" : text + i, text[i] == '\'' ? 2 : 1);
	write_text(L, o, "'");
}

static void write_escape(lua_State *L, struct output *o, long point)
{
	static const char letters[] = "\"\"\\\\\bb\tt\nn\rr\fv\033e";
	char text[12];

	for (const char *letter = letters; *letter; letter += 2)
		if (*letter == point && point != '\f') {
			snprintf(text, sizeof(text), "\\%c", letter[1]);
			write_text(L, o, text);
			return;
		}
	snprintf(text, sizeof(text), point < 0x100 ? "\\x%02lX" : "\\u%04lX", point);
	write_text(L, o, text);
}

static void write_double(lua_State *L, struct output *o, const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + length;

	write_text(L, o, "\"");
	for (size_t n; s < end; s += n) {
		utf8proc_int32_t point;

		n = sequence(L, s, end, &point);
		if (point == '"' || point == '\\' || is_escaped(point))
			write_escape(L, o, point);
		else
			write_bytes(L, o, (const char *)s, n);
	}
	write_text(L, o, "\"");
}

/* Whether a literal block holds the string as it is: its first line tells the indentation, so it must show one. */
static bool fits_literal(const char *text, size_t length)
{
	size_t last = length;

	while (last && text[last - 1] == '\n')
		last--;
	return last && !strchr(" \t\n", *text) && !strchr(" \t", text[last - 1]);
}

/* Without the last line end. */
static void write_literal(lua_State *L, struct output *o, const char *text, size_t length, int column)
{
	size_t ends = 0;
	const char *end;

	while (ends < length && text[length - 1 - ends] == '\n')
		ends++;
	write_text(L, o, ends == 0 ? "|-" : ends == 1 ? "|" : "|+");
	if (ends)
		length--;
	for (const char *line = text; line <= text + length; line = end + 1) {
		end = memchr(line, '\n', text + length - line) ?: text + length;
		write_text(L, o, "\n");
		if (end > line)
			write_indent(L, o, column);
		write_bytes(L, o, line, end - line);
	}
}

static void write_string(lua_State *L, struct output *o, const char *text, size_t length, struct place place, bool key)
{
	struct shape shape = shape_of(L, text, length);
	bool quoted = o->quote && !key;

	if (shape.lines && !shape.escapes && !key && !place.flow && o->quote != '"' && fits_literal(text, length))
		write_literal(L, o, text, length, (place.column < 0 ? 0 : place.column) + o->indent);
	else if (shape.lines || shape.escapes || (quoted && o->quote == '"'))
		write_double(L, o, text, length);
	else if (!quoted && is_plain(text, length, place.flow))
		write_bytes(L, o, text, length);
	else
		write_single(L, o, text, length);
}

static void write_number(lua_State *L, struct output *o)
{
	char text[48];
	double number;

	if (lua_isinteger(L, -1)) {
		snprintf(text, sizeof(text), "%lld", (long long)lua_tointeger(L, -1));
		write_text(L, o, text);
		return;
	}
	number = lua_tonumber(L, -1);
	if (!isfinite(number)) {
		write_text(L, o, isnan(number) ? ".nan" : number < 0 ? "-.inf" : ".inf");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, number);
		if (strtod(text, NULL) == number)
			break;
	}
	if (!strchr(text, '.')) { /* some readers take an exponent without a point for text */
		char *exponent = strchr(text, 'e');
		char rest[16];

		snprintf(rest, sizeof(rest), ".0%s", exponent ? exponent : "");
		strcpy(exponent ? exponent : text + strlen(text), rest);
	}
	write_text(L, o, text);
}

/* ---- collections ---- */

/* The list on top has count entries, numbered from 1, and nothing else. */
static void check_list(lua_State *L, lua_Integer count)
{
	lua_Integer found = 0;

	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > count)
			refuse(L, "a list with holes or named entries");
		found++;
	}
	if (found != count)
		refuse(L, "a list with holes");
}

static void add_key(lua_State *L, struct output *o, struct key key)
{
	if (o->key_count == o->key_capacity) {
		size_t capacity = o->key_capacity ? o->key_capacity * 2 : 32;
		struct key *keys = realloc(o->keys, capacity * sizeof(*keys));

		if (!keys)
			luaL_error(L, "not enough memory");
		o->keys = keys;
		o->key_capacity = capacity;
	}
	o->keys[o->key_count++] = key;
}

static int compare_keys(const void *left, const void *right)
{
	const struct key *a = left, *b = right;
	int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* The keys of the map on top, in their order, from the returned place on. */
static size_t collect_keys(lua_State *L, struct output *o)
{
	size_t base = o->key_count;

	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		struct key key = {.rank = LUA_MAXINTEGER};

		if (lua_type(L, -2) != LUA_TSTRING)
			refuse(L, "a map with a key that is no text");
		key.text = lua_tolstring(L, -2, &key.length);
		if (key.length > KEY_MAX)
			refuse(L, "a map with a key of more than 500 bytes");
		lua_pushvalue(L, -2);
		if (lua_rawget(L, ORDER) == LUA_TNUMBER)
			key.rank = lua_tointeger(L, -1);
		lua_pop(L, 1);
		add_key(L, o, key);
	}
	if (o->key_count > base)
		qsort(o->keys + base, o->key_count - base, sizeof(*o->keys), compare_keys);
	return base;
}

static void begin_line(lua_State *L, struct output *o, int column)
{
	write_text(L, o, "\n");
	write_indent(L, o, column);
}

static bool is_empty(lua_State *L)
{
	if (!lua_istable(L, -1))
		return false;
	lua_pushnil(L);
	if (!lua_next(L, -2))
		return true;
	lua_pop(L, 2);
	return false;
}

static void write_list(lua_State *L, struct output *o, struct place place)
{
	lua_Integer count = lua_rawlen(L, -1);
	struct place item = {place.column, place.depth + 1, place.flow, !place.flow};

	check_list(L, count);
	if (!place.flow)
		item.column = place.column < 0 ? 0 : place.in_list || o->flush ? place.column : place.column + o->indent;
	if (place.flow)
		write_text(L, o, "[");
	for (lua_Integer i = 1; i <= count; i++) {
		if (place.flow)
			write_text(L, o, i > 1 ? ", " : "");
		else if (i > 1 || (!place.in_list && place.column >= 0))
			begin_line(L, o, item.column);
		if (!place.flow)
			write_text(L, o, "- ");
		lua_rawgeti(L, -1, i);
		write_value(L, o, place.flow ? item : (struct place){item.column + 2, item.depth, false, true});
		lua_pop(L, 1);
	}
	if (place.flow)
		write_text(L, o, "]");
}

/* A colon, and a blank unless lines of their own follow. */
static void write_colon(lua_State *L, struct output *o, bool flow)
{
	bool own_lines = lua_istable(L, -1) && !flow && !is_empty(L);

	write_text(L, o, own_lines ? ":" : ": ");
}

static void write_map(lua_State *L, struct output *o, struct place place)
{
	size_t base = collect_keys(L, o);
	struct place inner = {place.column, place.depth + 1, place.flow, false};

	if (!place.flow)
		inner.column = place.column < 0 ? 0 : place.in_list ? place.column : place.column + o->indent;
	if (place.flow)
		write_text(L, o, "{");
	for (size_t i = base; i < o->key_count; i++) {
		struct key key = o->keys[i];

		if (place.flow)
			write_text(L, o, i > base ? ", " : "");
		else if (i > base || (!place.in_list && place.column >= 0))
			begin_line(L, o, inner.column);
		write_string(L, o, key.text, key.length, inner, true);
		lua_pushlstring(L, key.text, key.length);
		lua_rawget(L, -2);
		write_colon(L, o, place.flow);
		write_value(L, o, inner);
		lua_pop(L, 1);
	}
	if (place.flow)
		write_text(L, o, "}");
	o->key_count = base;
}

static void write_table(lua_State *L, struct output *o, struct place place)
{
	int list = data_is_list(L);

	if (list < 0)
		refuse(L, "its content is behind a metatable");
	if (place.depth >= YAML_DEPTH_MAX)
		refuse(L, "nested deeper than 256 levels, or inside itself");
	luaL_checkstack(L, 8, NULL);
	if (is_empty(L))
		write_text(L, o, list ? "[]" : "{}");
	else if (list)
		write_list(L, o, place);
	else
		write_map(L, o, place);
}

/* Writes the value on top of the stack and leaves it there. */
static void write_value(lua_State *L, struct output *o, struct place place)
{
	size_t length;
	const char *text;

	switch (lua_type(L, -1)) {
	case LUA_TBOOLEAN:
		write_text(L, o, lua_toboolean(L, -1) ? "true" : "false");
		break;
	case LUA_TNUMBER:
		write_number(L, o);
		break;
	case LUA_TSTRING:
		text = lua_tolstring(L, -1, &length);
		write_string(L, o, text, length, place, false);
		break;
	case LUA_TTABLE:
		write_table(L, o, place);
		break;
	case LUA_TLIGHTUSERDATA:
		if (!lua_touserdata(L, -1)) {
			write_text(L, o, "null");
			break;
		}
		/* fall through */
	default:
		refuse(L, luaL_typename(L, -1));
	}
}

static int option_number(lua_State *L, const char *name, int otherwise, int least, int most)
{
	lua_Integer number = otherwise;

	if (lua_getfield(L, OPTIONS, name) != LUA_TNIL)
		number = luaL_checkinteger(L, -1);
	lua_pop(L, 1);
	if (number < least || number > most)
		luaL_error(L, "%s is %d to %d", name, least, most);
	return (int)number;
}

static bool option_flag(lua_State *L, const char *name)
{
	bool is;

	lua_getfield(L, OPTIONS, name);
	is = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return is;
}

static char option_quote(lua_State *L)
{
	char quote = 0;

	if (lua_getfield(L, OPTIONS, "quote") != LUA_TNIL)
		quote = luaL_checkstring(L, -1)[0];
	lua_pop(L, 1);
	if (quote && quote != '\'' && quote != '"')
		luaL_error(L, "quote is ' or \"");
	return quote;
}

/* Leaves at ORDER a table from key to its place in options.order. */
static void push_order(lua_State *L)
{
	lua_newtable(L);
	if (lua_getfield(L, OPTIONS, "order") != LUA_TNIL) {
		luaL_checktype(L, -1, LUA_TTABLE);
		for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
			lua_pushinteger(L, i);
			lua_rawset(L, ORDER);
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/* emit(value [, {order = {"first", …}, indent = 2, flow = false, flush = false, quote = "'" or '"'}]) -> text
 * that ends with a line end, in block style unless flow. Strings that some reader would take for anything else are quoted.
 * order: keys that come before the others, which are sorted; flush: lists stand in the column of their key; quote: of
 * each string. Raises on what has no YAML form: text that is not UTF-8, mixed tables, functions, more than 256 levels. */
int yaml_emit(lua_State *L)
{
	static const char *const names[] = {"order", "indent", "flow", "flush", "quote", NULL};
	struct output *o;

	luaL_checkany(L, VALUE);
	lua_settop(L, OPTIONS);
	error_check_options(L, OPTIONS, names);
	if (lua_isnil(L, OPTIONS)) {
		lua_newtable(L);
		lua_replace(L, OPTIONS);
	}
	o = lua_newuserdatauv(L, sizeof(*o), 0);
	*o = (struct output){.indent = option_number(L, "indent", 2, 1, 16), .flow = option_flag(L, "flow"),
			     .flush = option_flag(L, "flush"), .quote = option_quote(L)};
	luaL_setmetatable(L, TYPE);
	push_order(L);
	lua_pushvalue(L, VALUE);
	write_value(L, o, (struct place){-1, 0, o->flow, false});
	write_text(L, o, "\n");
	lua_pushlstring(L, o->text, o->length);
	return 1;
}

void yaml_open_emit(lua_State *L)
{
	luaL_newmetatable(L, TYPE);
	lua_pushcfunction(L, output_free);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
