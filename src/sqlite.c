/* native.sqlite: a database file through SQLite's C interface. Commits block the loop, by intent: an intent is on
 * the disk before the call that follows it. */
#include "sqlite.h"
#include "error.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATABASE "sqlite.database"
#define STATEMENT "sqlite.statement"
#define BLOB "sqlite.blob"

#define CACHE_MAX 128 /* statements; when there are more, all are let go */

/* Its user value is the table of cached statements by their text. */
struct database {
	sqlite3 *sqlite; /* NULL once closed; owns every statement */
	int cached;
	char path[]; /* as it was given */
};

/* Its user value is its database, which so outlives it. */
struct statement {
	sqlite3_stmt *sqlite;
	struct database *database;
};

const char *sqlite_code_name(int code)
{
#define NAME(code) {code, #code}
	static const struct {
		int code;
		const char *name;
	} names[] = {
		NAME(SQLITE_ERROR), NAME(SQLITE_INTERNAL), NAME(SQLITE_PERM), NAME(SQLITE_ABORT), NAME(SQLITE_BUSY),
		NAME(SQLITE_LOCKED), NAME(SQLITE_NOMEM), NAME(SQLITE_READONLY), NAME(SQLITE_INTERRUPT),
		NAME(SQLITE_IOERR), NAME(SQLITE_CORRUPT), NAME(SQLITE_NOTFOUND), NAME(SQLITE_FULL),
		NAME(SQLITE_CANTOPEN), NAME(SQLITE_PROTOCOL), NAME(SQLITE_SCHEMA), NAME(SQLITE_TOOBIG),
		NAME(SQLITE_CONSTRAINT), NAME(SQLITE_MISMATCH), NAME(SQLITE_MISUSE), NAME(SQLITE_NOLFS),
		NAME(SQLITE_AUTH), NAME(SQLITE_RANGE), NAME(SQLITE_NOTADB), NAME(SQLITE_ERROR_SNAPSHOT),
		NAME(SQLITE_ABORT_ROLLBACK), NAME(SQLITE_BUSY_RECOVERY), NAME(SQLITE_BUSY_SNAPSHOT),
		NAME(SQLITE_BUSY_TIMEOUT), NAME(SQLITE_LOCKED_SHAREDCACHE), NAME(SQLITE_LOCKED_VTAB),
		NAME(SQLITE_READONLY_RECOVERY), NAME(SQLITE_READONLY_CANTLOCK), NAME(SQLITE_READONLY_ROLLBACK),
		NAME(SQLITE_READONLY_DBMOVED), NAME(SQLITE_READONLY_CANTINIT), NAME(SQLITE_READONLY_DIRECTORY),
		NAME(SQLITE_IOERR_READ), NAME(SQLITE_IOERR_SHORT_READ), NAME(SQLITE_IOERR_WRITE),
		NAME(SQLITE_IOERR_FSYNC), NAME(SQLITE_IOERR_DIR_FSYNC), NAME(SQLITE_IOERR_TRUNCATE),
		NAME(SQLITE_IOERR_FSTAT), NAME(SQLITE_IOERR_UNLOCK), NAME(SQLITE_IOERR_RDLOCK),
		NAME(SQLITE_IOERR_DELETE), NAME(SQLITE_IOERR_BLOCKED), NAME(SQLITE_IOERR_NOMEM),
		NAME(SQLITE_IOERR_ACCESS), NAME(SQLITE_IOERR_CHECKRESERVEDLOCK), NAME(SQLITE_IOERR_LOCK),
		NAME(SQLITE_IOERR_CLOSE), NAME(SQLITE_IOERR_DIR_CLOSE), NAME(SQLITE_IOERR_SHMOPEN),
		NAME(SQLITE_IOERR_SHMSIZE), NAME(SQLITE_IOERR_SHMLOCK), NAME(SQLITE_IOERR_SHMMAP),
		NAME(SQLITE_IOERR_SEEK), NAME(SQLITE_IOERR_DELETE_NOENT), NAME(SQLITE_IOERR_MMAP),
		NAME(SQLITE_IOERR_GETTEMPPATH), NAME(SQLITE_IOERR_VNODE), NAME(SQLITE_IOERR_AUTH),
		NAME(SQLITE_IOERR_DATA), NAME(SQLITE_IOERR_CORRUPTFS), NAME(SQLITE_CORRUPT_VTAB),
		NAME(SQLITE_CORRUPT_SEQUENCE), NAME(SQLITE_CORRUPT_INDEX), NAME(SQLITE_CANTOPEN_NOTEMPDIR),
		NAME(SQLITE_CANTOPEN_ISDIR), NAME(SQLITE_CANTOPEN_FULLPATH), NAME(SQLITE_CANTOPEN_CONVPATH),
		NAME(SQLITE_CANTOPEN_SYMLINK), NAME(SQLITE_CONSTRAINT_CHECK), NAME(SQLITE_CONSTRAINT_COMMITHOOK),
		NAME(SQLITE_CONSTRAINT_FOREIGNKEY), NAME(SQLITE_CONSTRAINT_FUNCTION), NAME(SQLITE_CONSTRAINT_NOTNULL),
		NAME(SQLITE_CONSTRAINT_PRIMARYKEY), NAME(SQLITE_CONSTRAINT_TRIGGER), NAME(SQLITE_CONSTRAINT_UNIQUE),
		NAME(SQLITE_CONSTRAINT_VTAB), NAME(SQLITE_CONSTRAINT_ROWID), NAME(SQLITE_CONSTRAINT_PINNED),
		NAME(SQLITE_CONSTRAINT_DATATYPE),
	};
#undef NAME

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].code == code)
			return names[i].name;
	return NULL;
}

/* Raises "journal" with SQLite's last failure on this database. */
static int fail(lua_State *L, struct database *d)
{
	int code = d->sqlite ? sqlite3_extended_errcode(d->sqlite) : SQLITE_NOMEM;
	int cause = d->sqlite ? sqlite3_system_errno(d->sqlite) : 0;
	const char *name = sqlite_code_name(code);

	if (!name)
		name = lua_pushfstring(L, "SQLITE_%d", code);
	if (cause && ((code & 0xFF) == SQLITE_CANTOPEN || (code & 0xFF) == SQLITE_IOERR))
		error_push(L, "journal", "%s: %s (%s): %s", d->path, sqlite3_errmsg(d->sqlite), name, strerror(cause));
	else
		error_push(L, "journal", "%s: %s (%s)", d->path, sqlite3_errmsg(d->sqlite), name);
	lua_pushstring(L, name);
	lua_setfield(L, -2, "code");
	return lua_error(L);
}

static struct database *check_database(lua_State *L)
{
	struct database *d = luaL_checkudata(L, 1, DATABASE);

	luaL_argcheck(L, d->sqlite, 1, "database is closed");
	return d;
}

/* SQLite stops at a NUL and would leave out what follows without a word. */
static const char *check_text(lua_State *L, int arg, size_t *length)
{
	const char *text = luaL_checklstring(L, arg, length);

	luaL_argcheck(L, !memchr(text, 0, *length), arg, "holds a NUL");
	return text;
}

/* Ends one use of a statement, on every way out of it: nothing stays bound, no lock or snapshot is kept. */
static int statement_reset(lua_State *L)
{
	struct statement *s = lua_touserdata(L, 1);

	if (s->sqlite && s->database->sqlite) {
		sqlite3_reset(s->sqlite);
		sqlite3_clear_bindings(s->sqlite);
	}
	return 0;
}

static int statement_free(lua_State *L)
{
	struct statement *s = lua_touserdata(L, 1);

	if (s->database->sqlite) /* a closed database has freed its statements */
		sqlite3_finalize(s->sqlite);
	s->sqlite = NULL;
	return 0;
}

static void refuse_second_statement(lua_State *L, struct database *d, const char *tail)
{
	sqlite3_stmt *second = NULL;
	int code = sqlite3_prepare_v2(d->sqlite, tail, -1, &second, NULL);
	bool found = second || code != SQLITE_OK;

	sqlite3_finalize(second);
	if (found)
		luaL_error(L, "more than one statement; use script");
}

/* Pushes a new statement of the SQL at index 2; the database is at index 1. */
static struct statement *prepare(lua_State *L, struct database *d)
{
	size_t length;
	const char *sql = check_text(L, 2, &length), *tail;
	struct statement *s = lua_newuserdatauv(L, sizeof(*s), 1);

	*s = (struct statement){NULL, d};
	luaL_setmetatable(L, STATEMENT);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	luaL_argcheck(L, length < INT_MAX, 2, "too long");
	if (sqlite3_prepare_v3(d->sqlite, sql, (int)length + 1, SQLITE_PREPARE_PERSISTENT, &s->sqlite, &tail))
		fail(L, d);
	if (!s->sqlite)
		luaL_error(L, "no statement in '%s'", sql);
	if (*tail)
		refuse_second_statement(L, d, tail);
	return s;
}

/* Pushes the statement of the SQL at index 2, from the cache if it was used before. */
static struct statement *find_statement(lua_State *L, struct database *d)
{
	struct statement *s;

	luaL_checkstring(L, 2);
	if (d->cached >= CACHE_MAX) {
		lua_newtable(L);
		lua_setiuservalue(L, 1, 1);
		d->cached = 0;
	}
	lua_getiuservalue(L, 1, 1);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, -2) == LUA_TUSERDATA) {
		s = lua_touserdata(L, -1);
	} else {
		lua_pop(L, 1);
		s = prepare(L, d);
		lua_pushvalue(L, 2);
		lua_pushvalue(L, -2);
		lua_rawset(L, -4);
		d->cached++;
	}
	lua_remove(L, -2);
	return s;
}

static int bind_text(lua_State *L, sqlite3_stmt *statement, int number, int arg)
{
	size_t length;
	const char *text = lua_tolstring(L, arg, &length);

	luaL_argcheck(L, !memchr(text, 0, length), arg, "text with a NUL; bind it as a blob");
	return sqlite3_bind_text64(statement, number, text, length, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static int bind_blob(lua_State *L, sqlite3_stmt *statement, int number, int arg)
{
	size_t length;
	const char *bytes;
	int code;

	if (luaL_testudata(L, arg, BLOB) == NULL)
		luaL_argerror(L, arg, "a statement takes nil, booleans, numbers, text and blobs");
	lua_getiuservalue(L, arg, 1);
	bytes = lua_tolstring(L, -1, &length);
	code = sqlite3_bind_blob64(statement, number, bytes, length, SQLITE_TRANSIENT);
	lua_pop(L, 1);
	return code;
}

static int bind(lua_State *L, sqlite3_stmt *statement, int number, int arg)
{
	switch (lua_type(L, arg)) {
	case LUA_TNIL:
		return sqlite3_bind_null(statement, number);
	case LUA_TBOOLEAN:
		return sqlite3_bind_int(statement, number, lua_toboolean(L, arg));
	case LUA_TNUMBER:
		if (lua_isinteger(L, arg))
			return sqlite3_bind_int64(statement, number, lua_tointeger(L, arg));
		return sqlite3_bind_double(statement, number, lua_tonumber(L, arg));
	case LUA_TSTRING:
		return bind_text(L, statement, number, arg);
	default:
		return bind_blob(L, statement, number, arg);
	}
}

/* Binds the arguments from index 3 to last. The statement is on top and is to be closed from here on. */
static void start(lua_State *L, struct database *d, struct statement *s, int last)
{
	int wanted = sqlite3_bind_parameter_count(s->sqlite);

	if (wanted != last - 2)
		luaL_error(L, "the statement takes %d values, got %d: %s", wanted, last - 2, sqlite3_sql(s->sqlite));
	for (int number = 1; number <= wanted; number++)
		if (bind(L, s->sqlite, number, number + 2) != SQLITE_OK)
			fail(L, d);
}

/* Whether there is another row; raises what went wrong. */
static bool step(lua_State *L, struct database *d, struct statement *s)
{
	int code = sqlite3_step(s->sqlite);

	if (code != SQLITE_ROW && code != SQLITE_DONE)
		fail(L, d);
	return code == SQLITE_ROW;
}

static void push_column(lua_State *L, sqlite3_stmt *row, int column)
{
	const char *bytes;

	switch (sqlite3_column_type(row, column)) {
	case SQLITE_INTEGER:
		lua_pushinteger(L, sqlite3_column_int64(row, column));
		break;
	case SQLITE_FLOAT:
		lua_pushnumber(L, sqlite3_column_double(row, column));
		break;
	case SQLITE_NULL:
		lua_pushnil(L);
		break;
	default:
		bytes = sqlite3_column_blob(row, column);
		lua_pushlstring(L, bytes ? bytes : "", sqlite3_column_bytes(row, column));
	}
}

static void push_row(lua_State *L, sqlite3_stmt *row)
{
	int count = sqlite3_column_count(row);

	lua_createtable(L, 0, count);
	for (int column = 0; column < count; column++) {
		lua_pushstring(L, sqlite3_column_name(row, column));
		push_column(L, row, column);
		lua_rawset(L, -3);
	}
}

static struct statement *start_cached(lua_State *L, struct database *d)
{
	int last = lua_gettop(L);
	struct statement *s = find_statement(L, d);

	lua_toclose(L, -1);
	start(L, d, s, last);
	return s;
}

/* database:exec(sql, values…) -> number of rows that were inserted, updated or deleted. One statement; its rows, if
 * it has any, are left out. */
static int database_exec(lua_State *L)
{
	struct database *d = check_database(L);
	struct statement *s = start_cached(L, d);
	sqlite3_int64 before = sqlite3_total_changes64(d->sqlite);

	while (step(L, d, s))
		;
	/* what is no insert, update or delete leaves the count of the last one that was */
	lua_pushinteger(L, sqlite3_total_changes64(d->sqlite) == before ? 0 : sqlite3_changes64(d->sqlite));
	return 1;
}

/* database:rows(sql, values…) -> list of rows, each {column = value}; NULL is nil, blobs are strings */
static int database_rows(lua_State *L)
{
	struct database *d = check_database(L);
	struct statement *s = start_cached(L, d);

	lua_newtable(L);
	for (lua_Integer i = 1; step(L, d, s); i++) {
		push_row(L, s->sqlite);
		lua_rawseti(L, -2, i);
	}
	return 1;
}

static int statement_next(lua_State *L)
{
	struct statement *s = luaL_checkudata(L, 1, STATEMENT);

	luaL_argcheck(L, s->database->sqlite && s->sqlite, 1, "database is closed");
	if (!step(L, s->database, s))
		return 0;
	push_row(L, s->sqlite);
	return 1;
}

/* for row in database:each(sql, values…): rows one by one. The snapshot that is read is held until the loop is left. */
static int database_each(lua_State *L)
{
	struct database *d = check_database(L);
	int last = lua_gettop(L);
	struct statement *s = prepare(L, d);

	start(L, d, s, last);
	lua_pushcfunction(L, statement_next);
	lua_pushvalue(L, -2);
	lua_pushnil(L);
	lua_pushvalue(L, -4);
	return 4;
}

/* database:script(sql): several statements, without values. Stops at the first that fails; a transaction it has begun
 * then stays open. */
static int database_script(lua_State *L)
{
	struct database *d = check_database(L);
	size_t length;

	if (sqlite3_exec(d->sqlite, check_text(L, 2, &length), NULL, NULL, NULL) != SQLITE_OK)
		return fail(L, d);
	return 0;
}

/* database:close(): may be called twice. */
static int database_close(lua_State *L)
{
	struct database *d = luaL_checkudata(L, 1, DATABASE);
	sqlite3_stmt *statement;

	while (d->sqlite && (statement = sqlite3_next_stmt(d->sqlite, NULL)))
		sqlite3_finalize(statement);
	sqlite3_close(d->sqlite);
	d->sqlite = NULL;
	return 0;
}

/* The file's path with its folder resolved: SQLite's NOFOLLOW refuses links in any part, and only one in place of
 * the file itself is an attack. False: the folder is not there. */
static bool resolve(const char *path, char resolved[PATH_MAX])
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char folder[PATH_MAX];
	size_t length;

	if (strlen(path) >= sizeof(folder))
		return false;
	memcpy(folder, path, name - path);
	strcpy(folder + (name - path), ".");
	if (!realpath(folder, resolved))
		return false;
	length = strlen(resolved);
	if (length + strlen(name) + 2 > PATH_MAX)
		return false;
	resolved[length] = '/';
	strcpy(resolved + length + 1, name);
	return true;
}

/* Makes the file with exactly these permissions; SQLite gives them to its -wal and -shm as well. A file that is
 * there is not even opened: closing it would drop the locks of another connection in this process. */
static void create_file(const char *path, mode_t permissions)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return; /* SQLite reports what is wrong */
	fchmod(fd, permissions);
	close(fd);
}

/* Harmless settings for a file that others may have written: no code in its schema, no writes into SQLite's own tables,
 * no text taken for a name. */
static void harden(sqlite3 *sqlite)
{
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
}

int sqlite_connect(const char *path, int flags, int timeout_ms, sqlite3 **sqlite)
{
	char resolved[PATH_MAX];
	bool found = strcmp(path, ":memory:") && resolve(path, resolved);
	int code = sqlite3_open_v2(found ? resolved : path, sqlite, flags | SQLITE_OPEN_NOFOLLOW, NULL);

	if (code != SQLITE_OK)
		return code;
	sqlite3_extended_result_codes(*sqlite, 1);
	sqlite3_busy_timeout(*sqlite, timeout_ms);
	harden(*sqlite);
	return SQLITE_OK;
}

static void open_file(lua_State *L, struct database *d, int mode, mode_t permissions, int timeout_ms)
{
	static const int flags[] = {SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, SQLITE_OPEN_READWRITE,
				    SQLITE_OPEN_READONLY};
	char resolved[PATH_MAX];

	if (mode == 0 && strcmp(d->path, ":memory:") && resolve(d->path, resolved))
		create_file(resolved, permissions);
	if (sqlite_connect(d->path, flags[mode], timeout_ms, &d->sqlite) != SQLITE_OK)
		fail(L, d);
}

static mode_t check_permissions(lua_State *L, const char *text)
{
	char *end;
	unsigned long permissions = strtoul(text, &end, 8);

	if (*text < '0' || *text > '7' || *end || permissions > 0777)
		luaL_error(L, "permissions '%s' are not octal, as \"0600\" is", text);
	return permissions;
}

/* Pushes options[name], or nil. */
static void get_option(lua_State *L, const char *name)
{
	if (lua_isnoneornil(L, 2))
		lua_pushnil(L);
	else
		lua_getfield(L, 2, name);
}

/* open(path [, {mode = "create"|"write"|"read", busy_timeout = seconds, permissions = "0600"}]) -> database.
 * "create" is the default, 2 s the time to wait for another's lock. A link in place of the file is refused.
 * ":memory:" is no file. */
static int sqlite_open(lua_State *L)
{
	static const char *const names[] = {"mode", "busy_timeout", "permissions", NULL};
	static const char *const modes[] = {"create", "write", "read", NULL};
	size_t length;
	const char *path = check_text(L, 1, &length);
	struct database *d;
	double timeout;
	mode_t permissions;
	int mode;

	luaL_argcheck(L, length > 0, 1, "no path");
	lua_settop(L, 2);
	error_check_options(L, 2, names);
	get_option(L, "mode");
	mode = luaL_checkoption(L, 3, "create", modes);
	get_option(L, "busy_timeout");
	timeout = luaL_optnumber(L, 4, 2);
	luaL_argcheck(L, timeout >= 0 && timeout <= 3600, 2, "busy_timeout is 0 to 3600 seconds");
	get_option(L, "permissions");
	permissions = check_permissions(L, luaL_optstring(L, 5, "0600"));

	d = lua_newuserdatauv(L, sizeof(*d) + length + 1, 1);
	*d = (struct database){0};
	memcpy(d->path, path, length + 1);
	luaL_setmetatable(L, DATABASE);
	lua_newtable(L);
	lua_setiuservalue(L, -2, 1);
	open_file(L, d, mode, permissions, (int)(timeout * 1000));
	return 1;
}

/* blob(bytes) -> a value that a statement takes as a blob */
static int sqlite_blob(lua_State *L)
{
	luaL_checkstring(L, 1);
	lua_newuserdatauv(L, 0, 1);
	luaL_setmetatable(L, BLOB);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	return 1;
}

int luaopen_sqlite(lua_State *L)
{
	static const luaL_Reg functions[] = {{"open", sqlite_open}, {"blob", sqlite_blob}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
		{"exec", database_exec},
		{"script", database_script},
		{"rows", database_rows},
		{"each", database_each},
		{"close", database_close},
		{"__gc", database_close},
		{"__close", database_close},
		{NULL, NULL},
	};
	static const luaL_Reg statement[] = {{"__gc", statement_free}, {"__close", statement_reset}, {NULL, NULL}};

	luaL_newmetatable(L, BLOB);
	luaL_newmetatable(L, STATEMENT);
	luaL_setfuncs(L, statement, 0);
	luaL_newmetatable(L, DATABASE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
