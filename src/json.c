/* native.json: data to canonical text (sorted keys) and back. Encoding is written out here, for the journal encodes
 * every record; decoding is jansson's. */
#include "data.h"
#include "error.h"
#include "secret.h"

#include <jansson.h>
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define DEPTH_MAX 512
#define REFERENCE "{\"$" /* how the journal begins what stands for a text */

struct key {
	const char *text; /* owned by the table that is being written */
	size_t length;
};

/* One encoding under way. A userdata, so that an error frees it. */
struct output {
	char *text; /* first, or its own allocation once that is too small */
	size_t length, capacity;
	struct key *keys; /* keys of all objects that are open, innermost last */
	size_t key_count, key_capacity;
	bool pretty;
	char first[1024];
};

/* Where in the value the encoder stands, for messages: a list on the C stack, innermost first. */
struct place {
	const struct place *outer;
	const char *key; /* NULL in a list */
	lua_Integer index;
	int depth;
};

static void write_value(lua_State *L, struct output *o, const struct place *place);

static int output_free(lua_State *L)
{
	struct output *o = lua_touserdata(L, 1);

	if (o->text != o->first)
		free(o->text);
	free(o->keys);
	o->text = o->first;
	o->keys = NULL;
	return 0;
}

static struct output *output_new(lua_State *L, bool pretty)
{
	struct output *o = lua_newuserdatauv(L, sizeof(*o), 0);

	memset(o, 0, offsetof(struct output, first));
	o->text = o->first;
	o->capacity = sizeof(o->first);
	o->pretty = pretty;
	luaL_setmetatable(L, "json.output");
	lua_toclose(L, -1);
	return o;
}

static void reserve(lua_State *L, struct output *o, size_t more)
{
	size_t capacity = o->capacity;
	char *text;

	if (more <= capacity - o->length)
		return;
	while (capacity - o->length < more)
		capacity *= 2;
	text = realloc(o->text == o->first ? NULL : o->text, capacity);
	if (!text)
		luaL_error(L, "not enough memory");
	if (o->text == o->first)
		memcpy(text, o->first, o->length);
	o->text = text;
	o->capacity = capacity;
}

static void write_bytes(lua_State *L, struct output *o, const char *bytes, size_t length)
{
	reserve(L, o, length);
	memcpy(o->text + o->length, bytes, length);
	o->length += length;
}

static void write_char(lua_State *L, struct output *o, char c)
{
	write_bytes(L, o, &c, 1);
}

static void add_key(lua_State *L, struct output *o, const char *text, size_t length)
{
	if (o->key_count == o->key_capacity) {
		size_t capacity = o->key_capacity ? o->key_capacity * 2 : 32;
		struct key *keys = realloc(o->keys, capacity * sizeof(*keys));

		if (!keys)
			luaL_error(L, "not enough memory");
		o->keys = keys;
		o->key_capacity = capacity;
	}
	o->keys[o->key_count++] = (struct key){text, length};
}

static void push_place(lua_State *L, const struct place *place)
{
	if (!place->outer) {
		lua_pushliteral(L, "value");
		return;
	}
	push_place(L, place->outer);
	if (place->key)
		lua_pushfstring(L, "%s.%s", lua_tostring(L, -1), place->key);
	else
		lua_pushfstring(L, "%s[%I]", lua_tostring(L, -1), place->index);
	lua_remove(L, -2);
}

/* A mistake in code: what is wrong, and where in the value. Deep places are named by their outermost levels. */
static void refuse(lua_State *L, const struct place *place, const char *what)
{
	while (place->depth > 20)
		place = place->outer;
	luaL_checkstack(L, 50, NULL);
	push_place(L, place);
	luaL_error(L, "%s has no JSON form: %s", lua_tostring(L, -1), what);
}

static void write_escape(lua_State *L, struct output *o, unsigned char c)
{
	static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	char text[8];

	for (const char *letter = letters; *letter; letter += 2)
		if ((unsigned char)*letter == c) {
			write_bytes(L, o, (char[]){'\\', letter[1]}, 2);
			return;
		}
	snprintf(text, sizeof(text), "\\u%04x", c);
	write_bytes(L, o, text, 6);
}

static void write_string(lua_State *L, struct output *o, const struct place *place, const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + length, *run = s;

	write_char(L, o, '"');
	while (s < end) {
		if (*s >= 0x80) {
			utf8proc_int32_t point;
			utf8proc_ssize_t n = utf8proc_iterate(s, end - s, &point);

			if (n < 1)
				refuse(L, place, "not UTF-8");
			s += n;
		} else if (*s < 0x20 || *s == '"' || *s == '\\') {
			write_bytes(L, o, (const char *)run, s - run);
			write_escape(L, o, *s++);
			run = s;
		} else {
			s++;
		}
	}
	write_bytes(L, o, (const char *)run, s - run);
	write_char(L, o, '"');
}

static void write_number(lua_State *L, struct output *o, const struct place *place)
{
	char text[40];
	int length;

	if (lua_isinteger(L, -1)) {
		length = snprintf(text, sizeof(text), "%lld", (long long)lua_tointeger(L, -1));
	} else {
		double number = lua_tonumber(L, -1);

		if (!isfinite(number))
			refuse(L, place, isnan(number) ? "NaN" : "infinite");
		length = snprintf(text, sizeof(text), "%.17g", number);
		for (char *c = text; *c; c++) /* the decimal point follows the locale */
			if (!strchr("+-0123456789e", *c))
				*c = '.';
		if (!strpbrk(text, ".e"))
			length += snprintf(text + length, sizeof(text) - length, ".0");
	}
	write_bytes(L, o, text, length);
}

static void write_newline(lua_State *L, struct output *o, int depth)
{
	if (!o->pretty)
		return;
	write_char(L, o, '\n');
	while (depth-- > 0)
		write_bytes(L, o, "  ", 2);
}

/* Raises unless the table on top holds exactly 1 to count. */
static void check_sequence(lua_State *L, const struct place *place, lua_Integer count)
{
	lua_Integer found = 0;

	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		lua_Integer index;

		if (!lua_isinteger(L, -2))
			refuse(L, place, "a list with named entries");
		index = lua_tointeger(L, -2);
		if (index < 1 || index > count)
			refuse(L, place, "a list with holes");
		found++;
	}
	if (found != count)
		refuse(L, place, "a list with holes");
}

static void write_array(lua_State *L, struct output *o, const struct place *place)
{
	lua_Integer count = lua_rawlen(L, -1);

	check_sequence(L, place, count);
	write_char(L, o, '[');
	for (lua_Integer i = 1; i <= count; i++) {
		struct place item = {place, NULL, i, place->depth + 1};

		if (i > 1)
			write_char(L, o, ',');
		write_newline(L, o, item.depth);
		lua_rawgeti(L, -1, i);
		write_value(L, o, &item);
		lua_pop(L, 1);
	}
	if (count)
		write_newline(L, o, place->depth);
	write_char(L, o, ']');
}

static int compare_keys(const void *left, const void *right)
{
	const struct key *a = left, *b = right;
	int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);

	return order ? order : (a->length > b->length) - (a->length < b->length);
}

static void collect_keys(lua_State *L, struct output *o, const struct place *place)
{
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		size_t length;
		const char *text;

		if (lua_type(L, -2) != LUA_TSTRING)
			refuse(L, place, "an object with a key that is not a string");
		text = lua_tolstring(L, -2, &length);
		if (memchr(text, 0, length)) /* jansson could not read it back */
			refuse(L, place, "an object with a NUL in a key");
		add_key(L, o, text, length);
	}
}

static void write_object(lua_State *L, struct output *o, const struct place *place)
{
	size_t base = o->key_count;

	collect_keys(L, o, place);
	if (o->key_count > base)
		qsort(o->keys + base, o->key_count - base, sizeof(*o->keys), compare_keys);
	write_char(L, o, '{');
	for (size_t i = base; i < o->key_count; i++) {
		struct key key = o->keys[i];
		struct place entry = {place, key.text, 0, place->depth + 1};

		if (i > base)
			write_char(L, o, ',');
		write_newline(L, o, entry.depth);
		write_string(L, o, &entry, key.text, key.length);
		write_bytes(L, o, ": ", o->pretty ? 2 : 1);
		lua_pushlstring(L, key.text, key.length);
		lua_rawget(L, -2);
		write_value(L, o, &entry);
		lua_pop(L, 1);
	}
	if (o->key_count > base)
		write_newline(L, o, place->depth);
	o->key_count = base;
	write_char(L, o, '}');
}

static void write_table(lua_State *L, struct output *o, const struct place *place)
{
	int list;

	if (place->depth >= DEPTH_MAX)
		refuse(L, place, "nested deeper than 512 levels, or inside itself");
	luaL_checkstack(L, 8, NULL);
	list = data_is_list(L);
	if (list < 0)
		refuse(L, place, "its content is behind a metatable");
	if (list)
		write_array(L, o, place);
	else
		write_object(L, o, place);
}

/* A secret is written as where it comes from and its fingerprint. */
static void write_secret(lua_State *L, struct output *o, const struct place *place)
{
	luaL_checkstack(L, 8, NULL);
	lua_createtable(L, 0, 2);
	secret_push_reference(L, -2);
	lua_setfield(L, -3, "fingerprint");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, 1);
	}
	lua_setfield(L, -2, "$secret");
	write_table(L, o, place);
	lua_pop(L, 1);
}

/* Writes the value on top of the stack and leaves it there. */
static void write_value(lua_State *L, struct output *o, const struct place *place)
{
	size_t length;
	const char *text;

	switch (lua_type(L, -1)) {
	case LUA_TBOOLEAN:
		text = lua_toboolean(L, -1) ? "true" : "false";
		write_bytes(L, o, text, strlen(text));
		break;
	case LUA_TNUMBER:
		write_number(L, o, place);
		break;
	case LUA_TSTRING:
		text = lua_tolstring(L, -1, &length);
		write_string(L, o, place, text, length);
		break;
	case LUA_TTABLE:
		write_table(L, o, place);
		break;
	case LUA_TLIGHTUSERDATA:
		if (!lua_touserdata(L, -1)) {
			write_bytes(L, o, "null", 4);
			break;
		}
		/* fall through */
	case LUA_TUSERDATA:
		if (secret_is(L, -1)) {
			write_secret(L, o, place);
			break;
		}
		/* fall through */
	default:
		refuse(L, place, luaL_typename(L, -1));
	}
}

static int encode(lua_State *L, bool pretty)
{
	struct output *o;

	luaL_checkany(L, 1);
	lua_settop(L, 1);
	o = output_new(L, pretty);
	lua_pushvalue(L, 1);
	write_value(L, o, &(struct place){0});
	lua_pushlstring(L, o->text, o->length);
	return 1;
}

/* encode(value) -> text in one line, keys sorted by bytes, floats always with a point or exponent. Raises on what would
 * not come back the same: NaN, infinities, text that is not UTF-8, mixed tables, functions, cycles. */
static int json_encode(lua_State *L)
{
	return encode(L, false);
}

/* encode_pretty(value) -> the same, one entry a line, two spaces a level, no newline at the end */
static int json_encode_pretty(lua_State *L)
{
	return encode(L, true);
}

static int document_free(lua_State *L)
{
	json_t **root = lua_touserdata(L, 1);

	json_decref(*root);
	*root = NULL;
	return 0;
}

static json_t **document_new(lua_State *L)
{
	json_t **root = lua_newuserdatauv(L, sizeof(*root), 0);

	*root = NULL;
	luaL_setmetatable(L, "json.document");
	lua_toclose(L, -1);
	return root;
}

static void push_value(lua_State *L, json_t *value, int depth);

static void push_object(lua_State *L, json_t *object, int depth)
{
	const char *key;
	json_t *value;

	lua_createtable(L, 0, (int)json_object_size(object));
	json_object_foreach(object, key, value) {
		lua_pushstring(L, key);
		push_value(L, value, depth + 1);
		lua_rawset(L, -3);
	}
}

/* Marked even when it holds something: a list that loses its last item is still a list. */
static void push_array(lua_State *L, json_t *array, int depth)
{
	size_t count = json_array_size(array);

	lua_createtable(L, (int)count, 0);
	luaL_setmetatable(L, DATA_LIST);
	for (size_t i = 0; i < count; i++) {
		push_value(L, json_array_get(array, i), depth + 1);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
}

static void push_value(lua_State *L, json_t *value, int depth)
{
	if (depth > DEPTH_MAX)
		error_raise(L, "protocol", "JSON nested deeper than %d levels", DEPTH_MAX);
	luaL_checkstack(L, 8, NULL);
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		push_object(L, value, depth);
		break;
	case JSON_ARRAY:
		push_array(L, value, depth);
		break;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(value), json_string_length(value));
		break;
	case JSON_INTEGER:
		lua_pushinteger(L, json_integer_value(value));
		break;
	case JSON_REAL:
		lua_pushnumber(L, json_real_value(value));
		break;
	case JSON_NULL:
		lua_pushlightuserdata(L, NULL);
		break;
	default:
		lua_pushboolean(L, json_is_true(value));
	}
}

static int refuse_nul(lua_State *L, const char *text)
{
	int line = 1;
	const char *start = text, *newline;

	for (; (newline = strchr(start, '\n')); start = newline + 1)
		line++;
	return error_raise(L, "protocol", "%d:%d: a NUL byte", line, (int)strlen(start) + 1);
}

/* decode(text) -> value. Integers stay integers (64 bits), reals floats, null is json.null. Raises "protocol" with
 * "line:column: " in front on anything that is not one JSON value in UTF-8, and on a key that stands twice. */
static int json_decode(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	json_t **root = document_new(L);
	json_error_t failure;

	if (memchr(text, 0, length)) /* jansson takes it for the end and ignores what follows */
		return refuse_nul(L, text);
	*root = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &failure);
	if (!*root)
		return error_raise(L, "protocol", "%d:%d: %s", failure.line, failure.column, failure.text);
	push_value(L, *root, 0);
	return 1;
}

/* Outlines: what is said of a record without decoding it. */

/* Behind the closing quote of the string whose opening one is at s; NULL: there is none. */
static const char *after_string(const char *s, bool *escaped)
{
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\') {
			*escaped = true;
			if (!*++s)
				return NULL;
		}
	return *s ? s + 1 : NULL;
}

/* Behind the value at s, which is not looked into; NULL: it does not end. */
static const char *after_value(const char *s)
{
	bool escaped;
	int depth = 0;

	do {
		if (*s == '"') {
			s = after_string(s, &escaped);
			if (!s)
				return NULL;
			continue;
		}
		if (!*s)
			return NULL;
		depth += (*s == '{' || *s == '[') - (*s == '}' || *s == ']');
		s++;
	} while (depth > 0 || !strchr(",}]", *s));
	return s;
}

/* Sets the entry whose key is on top, and pops the key, if the value from s to end is one that an outline has. False: it
 * has to be decoded to be known. */
static bool set_scalar(lua_State *L, const char *s, const char *end)
{
	char *number_end;
	bool escaped = false;

	if (*s == '"') {
		after_string(s, &escaped);
		lua_pushlstring(L, s + 1, end - s - 2);
	} else if (*s == 't' || *s == 'f') {
		lua_pushboolean(L, *s == 't');
	} else {
		lua_pushinteger(L, strtoll(s, &number_end, 10));
		if (number_end != end) { /* null, a float, an object or a list */
			lua_pop(L, 2);
			return strncmp(s, REFERENCE, strlen(REFERENCE)) != 0;
		}
	}
	lua_rawset(L, 2);
	return !escaped;
}

/* Fills the table at index 2 from the object at s. What `apart` names is pushed as the text it is. */
static bool outline(lua_State *L, const char *s, const char *apart, size_t apart_length)
{
	if (*s != '{' || s[1] != '"')
		return false;
	while (*s != '}') {
		const char *key = s + 1, *value, *end;
		bool escaped = false;

		value = *key == '"' ? after_string(key, &escaped) : NULL;
		if (!value || *value != ':' || escaped)
			return false;
		end = after_value(++value);
		if (!end || (*end != ',' && *end != '}'))
			return false;
		if ((size_t)(value - key - 3) == apart_length && !memcmp(key + 1, apart, apart_length)) {
			lua_pushlstring(L, value, end - value);
			lua_replace(L, 3);
		} else {
			lua_pushlstring(L, key + 1, value - key - 3);
			if (!set_scalar(L, value, end))
				return false;
		}
		s = end;
	}
	return true;
}

/* outline(text, apart) -> the strings, integers and booleans of an object as `encode` writes it, what lies deeper left
 * out; and the text of the entry `apart` or nil. nil: the text has to be decoded, or is none. */
static int json_outline(lua_State *L)
{
	const char *text = luaL_checkstring(L, 1);
	size_t apart_length;
	const char *apart = luaL_checklstring(L, 2, &apart_length);

	lua_settop(L, 2);
	lua_createtable(L, 0, 16);
	lua_insert(L, 2); /* text, table, apart */
	lua_pushnil(L);
	lua_insert(L, 3); /* text, table, what stands apart, its name */
	if (!outline(L, text, apart, apart_length))
		return 0;
	lua_settop(L, 3);
	return 2;
}

/* array(table) -> the same table, marked as a list */
static int json_mark_array(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	if (lua_getmetatable(L, 1)) {
		luaL_getmetatable(L, DATA_LIST);
		luaL_argcheck(L, lua_rawequal(L, -1, -2), 1, "has a metatable of its own");
		lua_settop(L, 1);
	}
	luaL_setmetatable(L, DATA_LIST);
	return 1;
}

static void add_type(lua_State *L, const char *name, lua_CFunction release)
{
	luaL_newmetatable(L, name);
	lua_pushcfunction(L, release);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__gc");
	lua_setfield(L, -2, "__close");
	lua_pop(L, 1);
}

int luaopen_json(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"encode", json_encode},
		{"encode_pretty", json_encode_pretty},
		{"decode", json_decode},
		{"outline", json_outline},
		{"array", json_mark_array},
		{NULL, NULL},
	};

	add_type(L, "json.output", output_free);
	add_type(L, "json.document", document_free);
	luaL_newmetatable(L, DATA_LIST);
	lua_pushliteral(L, DATA_LIST); /* locked: all lists share it, so a procedure must not reach it */
	lua_setfield(L, -2, "__metatable");
	luaL_newlib(L, functions);
	lua_pushlightuserdata(L, NULL);
	lua_setfield(L, -2, "null");
	return 1;
}
