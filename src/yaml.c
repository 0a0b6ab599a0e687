/* native.yaml: YAML text to plain data, by libyaml's events. */
#include "yaml.h"
#include "data.h"
#include "error.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX YAML_DEPTH_MAX
#define NODES_MAX YAML_NODES_MAX
#define ALIAS_RATIO YAML_ALIAS_RATIO

/* Stack indices that hold for a whole parse. */
enum { TEXT = 1, OPTIONS, NAME, READING, ANCHORS, LINES };

/* One parse under way. A userdata, so that an error frees what libyaml holds. */
struct reading {
	yaml_parser_t parser;
	yaml_event_t event; /* the one that is looked at */
	const char *name;   /* of the text, for messages */
	size_t length;
	size_t nodes, unpacked; /* nodes so far; bytes that aliases have unpacked to */
	bool typed;
};

static void push_node(lua_State *L, struct reading *r, int path, int depth);

static int reading_free(lua_State *L)
{
	struct reading *r = lua_touserdata(L, 1);

	yaml_event_delete(&r->event);
	yaml_parser_delete(&r->parser);
	return 0;
}

void yaml_refuse(lua_State *L, const char *name, yaml_mark_t mark, const char *what)
{
	error_raise(L, "protocol", "%s:%d:%d: %s", name, (int)mark.line + 1, (int)mark.column + 1, what);
}

static void refuse(lua_State *L, const struct reading *r, yaml_mark_t mark, const char *what)
{
	yaml_refuse(L, r->name, mark, what);
}

/* libyaml gives bytes that it cannot read by their offset only. */
static yaml_mark_t mark_of_offset(const char *text, size_t length, size_t offset)
{
	yaml_mark_t mark = {0};

	for (size_t i = 0; i < offset && i < length; i++) {
		mark.column += (text[i] & 0xC0) != 0x80;
		if (text[i] == '\n') {
			mark.line++;
			mark.column = 0;
		}
	}
	return mark;
}

void yaml_refuse_text(lua_State *L, const char *name, const yaml_parser_t *p, const char *text, size_t length)
{
	if (p->error == YAML_MEMORY_ERROR)
		luaL_error(L, "not enough memory");
	if (p->error == YAML_READER_ERROR)
		yaml_refuse(L, name, mark_of_offset(text, length, p->problem_offset), p->problem);
	if (p->context)
		lua_pushfstring(L, "%s %s that starts in line %d", p->problem, p->context,
				(int)p->context_mark.line + 1);
	else
		lua_pushstring(L, p->problem);
	yaml_refuse(L, name, p->problem_mark, lua_tostring(L, -1));
}

void yaml_begin(yaml_parser_t *parser, const char *text, size_t length)
{
	size_t mark = yaml_mark_length(text, length);

	yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(parser, (const unsigned char *)text + mark, length - mark);
}

size_t yaml_mark_length(const char *text, size_t length)
{
	return length >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0;
}

static void next_event(lua_State *L, struct reading *r)
{
	yaml_event_delete(&r->event);
	memset(&r->event, 0, sizeof(r->event));
	if (!yaml_parser_parse(&r->parser, &r->event)) {
		size_t length, mark;
		const char *text = lua_tolstring(L, TEXT, &length);

		memset(&r->event, 0, sizeof(r->event));
		mark = yaml_mark_length(text, length);
		yaml_refuse_text(L, r->name, &r->parser, text + mark, length - mark);
	}
}

static void count_node(lua_State *L, struct reading *r)
{
	if (++r->nodes > NODES_MAX)
		refuse(L, r, r->event.start_mark, "more than a million values");
}

/* Pushes a copy of the value on top, so that changing one place changes no other. What it unpacks to is counted on
 * the way: a few lines of aliases to aliases stand for more than any memory holds. */
static void push_copy(lua_State *L, struct reading *r)
{
	r->unpacked += lua_type(L, -1) == LUA_TSTRING ? lua_rawlen(L, -1) + 1 : 1;
	if (r->unpacked > ALIAS_RATIO * r->length)
		refuse(L, r, r->event.start_mark, "aliases unpack to more than 100 times the text");
	count_node(L, r);
	if (!lua_istable(L, -1)) {
		lua_pushvalue(L, -1);
		return;
	}
	luaL_checkstack(L, 8, NULL);
	lua_newtable(L);
	if (lua_getmetatable(L, -2))
		lua_setmetatable(L, -2);
	for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		push_copy(L, r);
		lua_remove(L, -2);
		lua_rawset(L, -5);
	}
}

static void push_alias(lua_State *L, struct reading *r)
{
	const char *anchor = (const char *)r->event.data.alias.anchor;

	if (lua_getfield(L, ANCHORS, anchor) == LUA_TNIL)
		refuse(L, r, r->event.start_mark, lua_pushfstring(L, "no anchor &%s before it", anchor));
	if (lua_isboolean(L, -1))
		refuse(L, r, r->event.start_mark, lua_pushfstring(L, "&%s holds itself", anchor));
	lua_rawgeti(L, -1, 1);
	push_copy(L, r);
	lua_replace(L, -3);
	lua_pop(L, 1);
}

static bool is_one_of(const char *text, const char *const words[])
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(text, words[i]))
			return true;
	return false;
}

static bool is_null(const char *text)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};

	return is_one_of(text, nulls);
}

/* Whether text is made of these digits up to its end. */
static bool is_digits(const char *text, const char *digits)
{
	return *text && text[strspn(text, digits)] == 0;
}

static const char *skip_sign(const char *text)
{
	return text + (*text == '+' || *text == '-');
}

enum found { NOT_SO, PUSHED, TOO_LONG };

/* Decimal, 0o17 or 0xFF. */
static enum found push_integer(lua_State *L, const char *text)
{
	const char *digits = skip_sign(text);
	int base = 10;
	long long value;

	if (!strncmp(text, "0x", 2) && is_digits(text + 2, "0123456789abcdefABCDEF"))
		base = 16;
	else if (!strncmp(text, "0o", 2) && is_digits(text + 2, "01234567"))
		base = 8;
	else if (!is_digits(digits, "0123456789") || (digits[0] == '0' && digits[1]))
		return NOT_SO;
	errno = 0;
	value = strtoll(base == 10 ? text : text + 2, NULL, base);
	if (errno)
		return TOO_LONG;
	lua_pushinteger(L, value);
	return PUSHED;
}

static bool is_float(const char *text)
{
	const char *s = skip_sign(text);
	size_t whole = strspn(s, "0123456789"), part = 0;

	if (whole > 1 && *s == '0')
		return false;
	s += whole;
	if (*s == '.') {
		part = strspn(s + 1, "0123456789");
		s += part + 1;
	}
	if (whole + part > 0 && (*s == 'e' || *s == 'E'))
		return is_digits(skip_sign(s + 1), "0123456789");
	return whole + part > 0 && *s == 0;
}

bool yaml_push_plain(lua_State *L, const char *text, size_t length)
{
	static const char *const yes[] = {"true", "True", "TRUE", NULL};
	static const char *const no[] = {"false", "False", "FALSE", NULL};
	static const char *const infinite[] = {".inf", ".Inf", ".INF", NULL};
	static const char *const nan[] = {".nan", ".NaN", ".NAN", NULL};
	enum found integer = NOT_SO;

	if (memchr(text, 0, length))
		lua_pushlstring(L, text, length);
	else if (is_null(text))
		lua_pushlightuserdata(L, NULL);
	else if (is_one_of(text, yes) || is_one_of(text, no))
		lua_pushboolean(L, is_one_of(text, yes));
	else if ((integer = push_integer(L, text)) != NOT_SO)
		return integer == PUSHED;
	else if (is_float(text))
		lua_stringtonumber(L, text);
	else if (is_one_of(skip_sign(text), infinite))
		lua_pushnumber(L, *text == '-' ? -HUGE_VAL : HUGE_VAL);
	else if (is_one_of(text, nan))
		lua_pushnumber(L, NAN);
	else
		lua_pushlstring(L, text, length);
	return true;
}

/* Whether the tag, if there is one, says no more than what the node is anyway. */
static void check_tag(lua_State *L, struct reading *r, const yaml_char_t *tag, const char *expected)
{
	if (tag && strcmp((const char *)tag, expected))
		refuse(L, r, r->event.start_mark, lua_pushfstring(L, "the tag %s is not known", (const char *)tag));
}

static void push_scalar(lua_State *L, struct reading *r)
{
	const char *text = (const char *)r->event.data.scalar.value;
	size_t length = r->event.data.scalar.length;

	check_tag(L, r, r->event.data.scalar.tag, YAML_STR_TAG);
	if (r->event.data.scalar.tag || r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		lua_pushlstring(L, text, length);
	else if (!r->typed && !(is_null(text) && length == strlen(text)))
		lua_pushlstring(L, text, length);
	else if (!yaml_push_plain(L, text, length))
		refuse(L, r, r->event.start_mark, YAML_TOO_LONG);
}

/* Pushes the path of a part: the path at index path, a dot, and the name at index part. */
static void push_part_path(lua_State *L, int path, int part)
{
	if (lua_rawlen(L, path) > 0) {
		lua_pushvalue(L, path);
		lua_pushliteral(L, ".");
		lua_pushvalue(L, part);
		lua_concat(L, 3);
	} else {
		lua_pushvalue(L, part);
		lua_tostring(L, -1);
	}
}

/* Notes for the path on top where its part starts. */
static void note_line(lua_State *L, const struct reading *r)
{
	lua_pushvalue(L, -1);
	lua_pushinteger(L, (lua_Integer)r->event.start_mark.line + 1);
	lua_rawset(L, LINES);
}

/* Keeps the value on top for aliases; in a box, for it may be false. */
static void keep_anchor(lua_State *L, const char *name)
{
	lua_createtable(L, 1, 0);
	lua_pushvalue(L, -2);
	lua_rawseti(L, -2, 1);
	lua_setfield(L, ANCHORS, name);
}

static void check_key(lua_State *L, struct reading *r)
{
	if (r->event.type != YAML_SCALAR_EVENT)
		refuse(L, r, r->event.start_mark, "a key that is not plain text");
	check_tag(L, r, r->event.data.scalar.tag, YAML_STR_TAG);
	if (r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return;
	if (r->event.data.scalar.length == 0)
		refuse(L, r, r->event.start_mark, "a key is missing");
	if (!strcmp((const char *)r->event.data.scalar.value, "<<"))
		refuse(L, r, r->event.start_mark, "merge keys are not known; quote '<<' if it is a name");
}

/* Raises if the key at -2, whose path is on top, is in the table already. */
static void check_new(lua_State *L, struct reading *r, int table)
{
	lua_pushvalue(L, -2);
	if (lua_rawget(L, table) != LUA_TNIL) {
		lua_pushvalue(L, -2);
		lua_rawget(L, LINES);
		lua_pushfstring(L, "'%s' is there already, in line %d", lua_tostring(L, -4), (int)lua_tointeger(L, -1));
		refuse(L, r, r->event.start_mark, lua_tostring(L, -1));
	}
	lua_pop(L, 1);
}

/* Pushes a key and its path. */
static void push_key(lua_State *L, struct reading *r, int path, int table)
{
	check_key(L, r);
	count_node(L, r);
	lua_pushlstring(L, (const char *)r->event.data.scalar.value, r->event.data.scalar.length);
	if (r->event.data.scalar.anchor)
		keep_anchor(L, (const char *)r->event.data.scalar.anchor);
	push_part_path(L, path, table + 1);
	check_new(L, r, table);
	note_line(L, r);
}

/* Fills the table on top with the mapping that has just begun. */
static void fill_mapping(lua_State *L, struct reading *r, int path, int depth)
{
	int table = lua_gettop(L);

	for (;;) {
		next_event(L, r);
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return;
		push_key(L, r, path, table);
		next_event(L, r);
		push_node(L, r, table + 2, depth + 1);
		lua_remove(L, table + 2);
		lua_rawset(L, table);
	}
}

static void fill_sequence(lua_State *L, struct reading *r, int path, int depth)
{
	int table = lua_gettop(L);

	luaL_setmetatable(L, DATA_LIST);
	for (lua_Integer i = 1;; i++) {
		next_event(L, r);
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return;
		lua_pushinteger(L, i);
		push_part_path(L, path, table + 1);
		note_line(L, r);
		push_node(L, r, table + 2, depth + 1);
		lua_rawseti(L, table, i);
		lua_settop(L, table);
	}
}

static void push_collection(lua_State *L, struct reading *r, int path, int depth)
{
	if (depth >= DEPTH_MAX)
		refuse(L, r, r->event.start_mark, "nested deeper than 256 levels");
	luaL_checkstack(L, 16, NULL);
	lua_newtable(L);
	if (r->event.type == YAML_SEQUENCE_START_EVENT) {
		check_tag(L, r, r->event.data.sequence_start.tag, YAML_SEQ_TAG);
		fill_sequence(L, r, path, depth);
	} else {
		check_tag(L, r, r->event.data.mapping_start.tag, YAML_MAP_TAG);
		fill_mapping(L, r, path, depth);
	}
}

static const char *anchor_of(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return (const char *)event->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return (const char *)event->data.sequence_start.anchor;
	default:
		return (const char *)event->data.mapping_start.anchor;
	}
}

/* Pushes the value that the current event begins; its path is at index path. An anchor is noted before its value is
 * read, as false: by that an alias inside it is found. */
static void push_node(lua_State *L, struct reading *r, int path, int depth)
{
	if (r->event.type == YAML_ALIAS_EVENT) {
		push_alias(L, r);
		return;
	}
	count_node(L, r);
	lua_pushstring(L, anchor_of(&r->event));
	if (!lua_isnil(L, -1)) {
		lua_pushboolean(L, 0);
		lua_setfield(L, ANCHORS, lua_tostring(L, -2));
	}
	if (r->event.type == YAML_SCALAR_EVENT)
		push_scalar(L, r);
	else
		push_collection(L, r, path, depth);
	if (!lua_isnil(L, -2))
		keep_anchor(L, lua_tostring(L, -2));
	lua_remove(L, -2);
}

/* Pushes the value of the one document, null if there is none. */
static void push_document(lua_State *L, struct reading *r)
{
	next_event(L, r); /* start of the stream */
	next_event(L, r);
	if (r->event.type == YAML_STREAM_END_EVENT) {
		lua_pushlightuserdata(L, NULL);
		return;
	}
	next_event(L, r);
	lua_pushliteral(L, "");
	push_node(L, r, lua_gettop(L), 0);
	next_event(L, r); /* end of the document */
	next_event(L, r);
	if (r->event.type != YAML_STREAM_END_EVENT)
		refuse(L, r, r->event.start_mark, "a second document");
}

static void check_options(lua_State *L)
{
	static const char *const names[] = {"name", "typed", NULL};

	lua_settop(L, OPTIONS);
	error_check_options(L, OPTIONS, names);
	if (lua_isnil(L, OPTIONS)) {
		lua_newtable(L);
		lua_replace(L, OPTIONS);
	}
	lua_getfield(L, OPTIONS, "name");
	luaL_optstring(L, NAME, "");
	if (lua_isnil(L, NAME)) {
		lua_pushliteral(L, "yaml");
		lua_replace(L, NAME);
	}
}

static struct reading *reading_new(lua_State *L)
{
	struct reading *r = lua_newuserdatauv(L, sizeof(*r), 0);

	*r = (struct reading){0};
	luaL_setmetatable(L, "yaml.reading");
	lua_toclose(L, READING);
	if (!yaml_parser_initialize(&r->parser))
		luaL_error(L, "not enough memory");
	return r;
}

/* parse(text [, {name = "file", typed = true}]) -> value, lines. Keys are strings; null is json.null; lists are
 * marked as json.array does; an alias is a copy. lines maps "hosts.old.ssh", in lists "a.1", to the line where it
 * starts; what came by an alias has only the line of that. typed: YAML 1.2's core schema, but 007 stays text;
 * typed = false leaves all but null as text. Raises "protocol" with "name:line:column: " in front on what is not one
 * document in UTF-8, keys that stand twice, merge keys, tags, and what is too deep or too much. */
static int yaml_parse(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, TEXT, &length);
	struct reading *r;

	check_options(L);
	r = reading_new(L);
	r->name = lua_tostring(L, NAME);
	r->length = length;
	r->typed = lua_getfield(L, OPTIONS, "typed") == LUA_TNIL || lua_toboolean(L, -1);
	lua_settop(L, READING);
	lua_newtable(L);
	lua_newtable(L);
	yaml_begin(&r->parser, text, length);
	push_document(L, r);
	lua_pushvalue(L, LINES);
	return 2;
}

int luaopen_yaml(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"parse", yaml_parse},
		{"nodes", yaml_nodes},
		{"emit", yaml_emit},
		{NULL, NULL},
	};
	static const luaL_Reg reading[] = {{"__gc", reading_free}, {"__close", reading_free}, {NULL, NULL}};

	luaL_newmetatable(L, DATA_LIST);
	lua_pushliteral(L, DATA_LIST); /* locked, as native.json does */
	lua_setfield(L, -2, "__metatable");
	luaL_newmetatable(L, "yaml.reading");
	luaL_setfuncs(L, reading, 0);
	yaml_open_nodes(L);
	yaml_open_emit(L);
	luaL_newlib(L, functions);
	return 1;
}
