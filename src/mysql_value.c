/* Values to MariaDB and MySQL and back: the same kinds whether they came as text or in binary. */
#include "mysql.h"
#include "error.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINARY = 63 /* the number of the character set that is none */ };

/* ---- parameters ---- */

/* Behind the MYSQL_BINDs, one for each. */
struct given {
	union {
		long long integer;
		double real;
		signed char truth;
	};
	unsigned long length;
};

static void bind_bytes(MYSQL_BIND *bind, struct given *given, enum enum_field_types type, const char *bytes,
		       size_t length)
{
	bind->buffer_type = type;
	bind->buffer = (void *)bytes;
	bind->buffer_length = given->length = length;
	bind->length = &given->length;
}

static void bind_number(lua_State *L, MYSQL_BIND *bind, struct given *given, int number)
{
	if (lua_isinteger(L, -1)) {
		given->integer = lua_tointeger(L, -1);
		bind->buffer_type = MYSQL_TYPE_LONGLONG;
		bind->buffer = &given->integer;
		return;
	}
	given->real = lua_tonumber(L, -1);
	if (!isfinite(given->real))
		luaL_error(L, "parameter %d is no number that a table can hold", number);
	bind->buffer_type = MYSQL_TYPE_DOUBLE;
	bind->buffer = &given->real;
}

static void bind_object(lua_State *L, MYSQL_BIND *bind, struct given *given, int number)
{
	size_t length;
	const char *bytes;

	if (secret_is(L, -1)) {
		bytes = secret_check(L, lua_gettop(L), &length);
		bind_bytes(bind, given, MYSQL_TYPE_STRING, bytes, length);
		return;
	}
	if (!luaL_testudata(L, -1, MYSQL_BYTES))
		luaL_error(L, "parameter %d is a %s; a statement takes booleans, numbers, text, bytes, secrets and json.null",
			   number, luaL_typename(L, -1));
	lua_getiuservalue(L, -1, 1);
	bytes = lua_tolstring(L, -1, &length);
	bind_bytes(bind, given, MYSQL_TYPE_LONG_BLOB, bytes, length);
	lua_pop(L, 1);
}

/* The value on top, which something else keeps alive. */
static void bind_value(lua_State *L, MYSQL_BIND *bind, struct given *given, int number)
{
	size_t length;
	const char *bytes;

	switch (lua_type(L, -1)) {
	case LUA_TBOOLEAN:
		given->truth = (signed char)lua_toboolean(L, -1);
		bind->buffer_type = MYSQL_TYPE_TINY;
		bind->buffer = &given->truth;
		break;
	case LUA_TNUMBER:
		bind_number(L, bind, given, number);
		break;
	case LUA_TSTRING:
		bytes = lua_tolstring(L, -1, &length);
		bind_bytes(bind, given, MYSQL_TYPE_STRING, bytes, length);
		break;
	case LUA_TNIL:
		luaL_error(L, "parameter %d is nil; NULL is json.null", number);
		break;
	case LUA_TLIGHTUSERDATA:
		bind->buffer_type = MYSQL_TYPE_NULL;
		break;
	default:
		bind_object(L, bind, given, number);
	}
}

MYSQL_BIND *mysql_bind_parameters(lua_State *L, int list, int count)
{
	size_t size = (size_t)count * (sizeof(MYSQL_BIND) + sizeof(struct given));
	MYSQL_BIND *binds = lua_newuserdatauv(L, size, 0);
	struct given *given = (struct given *)(binds + count);

	memset(binds, 0, size);
	lua_createtable(L, count, 0); /* a copy: theirs may be changed meanwhile */
	for (int i = 1; i <= count; i++) {
		lua_geti(L, list, i);
		bind_value(L, binds + i - 1, given + i - 1, i);
		lua_rawseti(L, -2, i);
	}
	return binds;
}

/* ---- columns ---- */

static int is_integer(enum enum_field_types type)
{
	return type == MYSQL_TYPE_TINY || type == MYSQL_TYPE_SHORT || type == MYSQL_TYPE_INT24 || type == MYSQL_TYPE_LONG ||
	       type == MYSQL_TYPE_LONGLONG || type == MYSQL_TYPE_YEAR;
}

static const char *type_name(const MYSQL_FIELD *field)
{
	int binary = field->charsetnr == BINARY;

	switch (field->type) {
	case MYSQL_TYPE_TINY: return "tinyint";
	case MYSQL_TYPE_SHORT: return "smallint";
	case MYSQL_TYPE_INT24: return "mediumint";
	case MYSQL_TYPE_LONG: return "int";
	case MYSQL_TYPE_LONGLONG: return "bigint";
	case MYSQL_TYPE_YEAR: return "year";
	case MYSQL_TYPE_FLOAT: return "float";
	case MYSQL_TYPE_DOUBLE: return "double";
	case MYSQL_TYPE_DECIMAL:
	case MYSQL_TYPE_NEWDECIMAL: return "decimal";
	case MYSQL_TYPE_NULL: return "null";
	case MYSQL_TYPE_TIMESTAMP: return "timestamp";
	case MYSQL_TYPE_DATE:
	case MYSQL_TYPE_NEWDATE: return "date";
	case MYSQL_TYPE_TIME: return "time";
	case MYSQL_TYPE_DATETIME: return "datetime";
	case MYSQL_TYPE_BIT: return "bit";
	case MYSQL_TYPE_JSON: return "json";
	case MYSQL_TYPE_ENUM: return "enum";
	case MYSQL_TYPE_SET: return "set";
	case MYSQL_TYPE_GEOMETRY: return "geometry";
	case MYSQL_TYPE_TINY_BLOB:
	case MYSQL_TYPE_MEDIUM_BLOB:
	case MYSQL_TYPE_LONG_BLOB:
	case MYSQL_TYPE_BLOB: return binary ? "blob" : "text";
	case MYSQL_TYPE_STRING:
		if (field->flags & (ENUM_FLAG | SET_FLAG))
			return field->flags & ENUM_FLAG ? "enum" : "set";
		return binary ? "binary" : "char";
	default: return binary ? "varbinary" : "varchar";
	}
}

static int is_unsigned(const MYSQL_FIELD *field)
{
	return is_integer(field->type) && field->type != MYSQL_TYPE_YEAR && (field->flags & UNSIGNED_FLAG);
}

void mysql_push_columns(lua_State *L, const MYSQL_FIELD *fields, unsigned count)
{
	lua_createtable(L, (int)count, 0);
	lua_createtable(L, (int)count, 0);
	for (unsigned i = 0; i < count; i++) {
		lua_pushlstring(L, fields[i].name, fields[i].name_length);
		lua_rawseti(L, -3, (int)i + 1);
		lua_pushfstring(L, "%s%s", type_name(fields + i),
				is_unsigned(fields + i) ? " unsigned" : "");
		lua_rawseti(L, -2, (int)i + 1);
	}
}

static void push_null(lua_State *L)
{
	lua_pushlightuserdata(L, NULL); /* json.null */
}

/* ---- rows as text ---- */

/* The library ends each value with a NUL. A bigint beyond Lua's integers stays text. */
static void push_integer_text(lua_State *L, const char *text, size_t length)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (end != text + length || length == 0)
		error_raise(L, "protocol", "the server sent an integer that is none");
	if (errno == ERANGE)
		lua_pushlstring(L, text, length);
	else
		lua_pushinteger(L, value);
}

static void push_real_text(lua_State *L, const char *text, size_t length)
{
	char *end;
	double value = strtod(text, &end);

	if (end != text + length || length == 0)
		error_raise(L, "protocol", "the server sent a number that is none");
	lua_pushnumber(L, value);
}

size_t mysql_push_text_row(lua_State *L, MYSQL_RES *result, MYSQL_ROW row)
{
	unsigned count = mysql_num_fields(result);
	unsigned long *lengths = mysql_fetch_lengths(result);
	MYSQL_FIELD *fields = mysql_fetch_fields(result);
	size_t bytes = 0;

	lua_createtable(L, (int)count, 0);
	for (unsigned i = 0; i < count; i++) {
		if (!row[i])
			push_null(L);
		else if (is_integer(fields[i].type))
			push_integer_text(L, row[i], lengths[i]);
		else if (fields[i].type == MYSQL_TYPE_FLOAT || fields[i].type == MYSQL_TYPE_DOUBLE)
			push_real_text(L, row[i], lengths[i]);
		else
			lua_pushlstring(L, row[i], lengths[i]);
		bytes += row[i] ? lengths[i] : 0;
		lua_rawseti(L, -2, (int)i + 1);
	}
	return bytes;
}

/* ---- rows in binary ---- */

struct cell {
	union {
		long long integer;
		double real;
		float single;
	};
	unsigned long length;
	my_bool null, cut;
};

struct mysql_row {
	unsigned count;
	MYSQL_BIND *binds;
	struct cell *cells;
};

static void bind_column(MYSQL_BIND *bind, struct cell *cell, const MYSQL_FIELD *field)
{
	bind->is_null = &cell->null;
	bind->length = &cell->length;
	bind->error = &cell->cut;
	bind->buffer = &cell->integer;
	bind->is_unsigned = (field->flags & UNSIGNED_FLAG) != 0;
	if (is_integer(field->type)) {
		bind->buffer_type = MYSQL_TYPE_LONGLONG;
	} else if (field->type == MYSQL_TYPE_FLOAT || field->type == MYSQL_TYPE_DOUBLE) {
		bind->buffer_type = field->type;
	} else {
		bind->buffer_type = MYSQL_TYPE_STRING; /* its length is known when it is there */
		bind->buffer = NULL;
	}
}

struct mysql_row *mysql_row_new(lua_State *L, MYSQL_FIELD *fields, unsigned count)
{
	size_t size = sizeof(struct mysql_row) + count * (sizeof(MYSQL_BIND) + sizeof(struct cell));
	struct mysql_row *row = lua_newuserdatauv(L, size, 0);

	memset(row, 0, size);
	row->count = count;
	row->binds = (MYSQL_BIND *)(row + 1);
	row->cells = (struct cell *)(row->binds + count);
	for (unsigned i = 0; i < count; i++)
		bind_column(row->binds + i, row->cells + i, fields + i);
	return row;
}

MYSQL_BIND *mysql_row_binds(struct mysql_row *row)
{
	return row->binds;
}

static void push_bound_bytes(lua_State *L, MYSQL_STMT *stmt, struct cell *cell, unsigned column)
{
	luaL_Buffer buffer;
	my_bool null, cut;
	unsigned long length = cell->length, taken;
	MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_STRING, .buffer_length = length, .length = &taken, .is_null = &null,
			   .error = &cut};

	bind.buffer = luaL_buffinitsize(L, &buffer, length + 1);
	if (length && mysql_stmt_fetch_column(stmt, &bind, column, 0))
		error_raise(L, "protocol", "a value cannot be read: %s", mysql_stmt_error(stmt));
	luaL_pushresultsize(&buffer, length);
}

/* As the server writes it in text, with six digits. */
static void push_single(lua_State *L, float value)
{
	char text[64];

	snprintf(text, sizeof text, "%.6g", (double)value);
	lua_pushnumber(L, strtod(text, NULL));
}

static void push_bound_integer(lua_State *L, long long value, int is_unsigned)
{
	char text[32];

	if (value >= 0 || !is_unsigned) {
		lua_pushinteger(L, value);
		return;
	}
	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	lua_pushstring(L, text);
}

size_t mysql_push_bound_row(lua_State *L, MYSQL_STMT *stmt, struct mysql_row *row)
{
	size_t bytes = 0;

	lua_createtable(L, (int)row->count, 0);
	for (unsigned i = 0; i < row->count; i++) {
		struct cell *cell = row->cells + i;
		MYSQL_BIND *bind = row->binds + i;

		if (cell->null)
			push_null(L);
		else if (bind->buffer_type == MYSQL_TYPE_LONGLONG)
			push_bound_integer(L, cell->integer, bind->is_unsigned);
		else if (bind->buffer_type == MYSQL_TYPE_FLOAT)
			push_single(L, cell->single);
		else if (bind->buffer_type == MYSQL_TYPE_DOUBLE)
			lua_pushnumber(L, cell->real);
		else
			push_bound_bytes(L, stmt, cell, i);
		bytes += cell->null ? 0 : cell->length;
		lua_rawseti(L, -2, (int)i + 1);
	}
	return bytes;
}
