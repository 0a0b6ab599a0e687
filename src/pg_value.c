/* native.pg: values as the server writes them, to Lua. */
#include "data.h"
#include "error.h"
#include "pg.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 16 }; /* of an array; the server's own limit is 6 */

enum kind { TEXT, INTEGER, FLOAT, BOOLEAN, BYTES };

/* The numbers are PostgreSQL's own, the same in every version and in what descends from it. */
static const struct type {
	Oid oid, array; /* array 0: has none that is read here */
	const char *name;
	enum kind kind;
} types[] = {
	{16, 1000, "bool", BOOLEAN}, {17, 1001, "bytea", BYTES}, {18, 1002, "char", TEXT}, {19, 1003, "name", TEXT},
	{20, 1016, "int8", INTEGER}, {21, 1005, "int2", INTEGER}, {23, 1007, "int4", INTEGER},
	{25, 1009, "text", TEXT}, {26, 1028, "oid", INTEGER}, {114, 199, "json", TEXT}, {142, 143, "xml", TEXT},
	{650, 651, "cidr", TEXT}, {700, 1021, "float4", FLOAT}, {701, 1022, "float8", FLOAT},
	{705, 0, "unknown", TEXT}, {774, 775, "macaddr8", TEXT}, {790, 791, "money", TEXT},
	{829, 1040, "macaddr", TEXT}, {869, 1041, "inet", TEXT}, {1042, 1014, "bpchar", TEXT},
	{1043, 1015, "varchar", TEXT}, {1082, 1182, "date", TEXT}, {1083, 1183, "time", TEXT},
	{1114, 1115, "timestamp", TEXT}, {1184, 1185, "timestamptz", TEXT}, {1186, 1187, "interval", TEXT},
	{1266, 1270, "timetz", TEXT}, {1560, 1561, "bit", TEXT}, {1562, 1563, "varbit", TEXT},
	{1700, 1231, "numeric", TEXT}, {2278, 0, "void", TEXT}, {2950, 2951, "uuid", TEXT},
	{3220, 3221, "pg_lsn", TEXT}, {3802, 3807, "jsonb", TEXT},
};

static const struct type *type_of(Oid oid, bool *array)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].oid == oid || (types[i].array && types[i].array == oid)) {
			*array = types[i].oid != oid;
			return &types[i];
		}
	*array = false;
	return NULL;
}

void pg_push_type(lua_State *L, Oid oid)
{
	bool array;
	const struct type *type = type_of(oid, &array);

	if (type)
		lua_pushfstring(L, "%s%s", type->name, array ? "[]" : "");
	else
		lua_pushinteger(L, oid);
}

static void push_number(lua_State *L, enum kind kind, const char *text)
{
	bool fits = true;
	char *end;

	if (kind == INTEGER) {
		errno = 0;
		lua_pushinteger(L, strtoll(text, &end, 10));
		fits = errno == 0;
	} else {
		lua_pushnumber(L, strtod(text, &end));
	}
	if (end == text || *end || !fits) {
		lua_pushlstring(L, text, strnlen(text, 40));
		error_raise(L, "protocol", "the server sends '%s' for a number", lua_tostring(L, -1));
	}
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Servers before 9.0, and those that are told so, write escapes in place of hexadecimal digits. */
static void push_escaped_bytes(lua_State *L, const char *text)
{
	luaL_Buffer bytes;

	luaL_buffinit(L, &bytes);
	for (; *text; text++) {
		if (*text != '\\')
			luaL_addchar(&bytes, *text);
		else if (text[1] == '\\')
			luaL_addchar(&bytes, *++text);
		else if (text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' && text[3] >= '0' &&
			 text[3] <= '7') {
			luaL_addchar(&bytes, (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0')));
			text += 3;
		} else {
			error_raise(L, "protocol", "the server sends bytes with a '\\' that begins no escape");
		}
	}
	luaL_pushresult(&bytes);
}

static void push_bytes(lua_State *L, const char *text, size_t length)
{
	luaL_Buffer bytes;
	char *out;

	if (text[0] != '\\' || text[1] != 'x') {
		push_escaped_bytes(L, text);
		return;
	}
	out = luaL_buffinitsize(L, &bytes, length / 2);
	for (size_t i = 2; i < length; i += 2) {
		int high = digit(text[i]), low = high < 0 ? -1 : digit(text[i + 1]);

		if (low < 0)
			error_raise(L, "protocol", "the server sends bytes that are no hexadecimal digits");
		*out++ = (char)(high << 4 | low);
	}
	luaL_pushresultsize(&bytes, length / 2 - 1);
}

static void push_scalar(lua_State *L, enum kind kind, const char *text, size_t length)
{
	switch (kind) {
	case INTEGER:
	case FLOAT:
		push_number(L, kind, text);
		break;
	case BOOLEAN:
		lua_pushboolean(L, *text == 't');
		break;
	case BYTES:
		push_bytes(L, text, length);
		break;
	case TEXT:
		lua_pushlstring(L, text, length);
	}
}

/* ---- arrays: {1,NULL,"a \"b\""}, nested, perhaps with their bounds in front: [0:1]={…} ---- */

struct scanner {
	const char *at;
	enum kind kind;
};

static void malformed(lua_State *L)
{
	error_raise(L, "protocol", "the server sends a malformed array");
}

/* Pushes the text of an element in quotes. */
static void scan_quoted(lua_State *L, struct scanner *s)
{
	luaL_Buffer text;

	luaL_buffinit(L, &text);
	for (s->at++; *s->at != '"'; s->at++) {
		if (*s->at == '\\')
			s->at++;
		if (!*s->at)
			malformed(L);
		luaL_addchar(&text, *s->at);
	}
	s->at++;
	luaL_pushresult(&text);
}

static void push_element(lua_State *L, struct scanner *s)
{
	size_t length;
	const char *text;

	if (*s->at == '"') {
		scan_quoted(L, s);
	} else {
		length = strcspn(s->at, ",}");
		lua_pushlstring(L, s->at, length);
		s->at += length;
		if (length == 4 && !strcmp(lua_tostring(L, -1), "NULL")) {
			lua_pop(L, 1);
			lua_pushlightuserdata(L, NULL);
			return;
		}
	}
	text = lua_tolstring(L, -1, &length);
	push_scalar(L, s->kind, text, length);
	lua_remove(L, -2);
}

static void push_list(lua_State *L, struct scanner *s, int depth)
{
	if (*s->at++ != '{' || depth > DEPTH_MOST)
		malformed(L);
	luaL_checkstack(L, 6, "an array");
	lua_newtable(L);
	luaL_setmetatable(L, DATA_LIST);
	for (lua_Integer i = 1; *s->at != '}'; i++) {
		if (*s->at == '{')
			push_list(L, s, depth + 1);
		else
			push_element(L, s);
		lua_rawseti(L, -2, i);
		if (*s->at == ',' && s->at[1] != '}')
			s->at++;
		else if (*s->at != '}')
			malformed(L);
	}
	s->at++;
}

static void push_array(lua_State *L, enum kind kind, const char *text)
{
	const char *bounds = *text == '[' ? strchr(text, '=') : NULL;
	struct scanner s = {bounds ? bounds + 1 : text, kind};

	push_list(L, &s, 1);
	if (*s.at)
		malformed(L);
}

void pg_push_value(lua_State *L, const PGresult *result, int row, int column)
{
	bool array;
	const struct type *type = type_of(PQftype(result, column), &array);
	const char *text = PQgetvalue(result, row, column);

	if (PQgetisnull(result, row, column))
		lua_pushlightuserdata(L, NULL);
	else if (array)
		push_array(L, type->kind, text);
	else
		push_scalar(L, type ? type->kind : TEXT, text, (size_t)PQgetlength(result, row, column));
}
