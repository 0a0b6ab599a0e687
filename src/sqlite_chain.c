/* native.sqlite_chain: what a run's records come to, without a look at each by Lua: their chain of hashes is followed in a
 * thread beside what Lua does, and what a summary says of many is put into tables. */
#include "error.h"
#include "sqlite.h"

#include <lauxlib.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define TYPE "sqlite_chain.check"
#define HEX 64 /* digits of a SHA-256 */
#define BUSY_MS 10000

/* Its user values are the texts that it points to. Until `running` is false again all else belongs to the thread. */
struct check {
	uv_thread_t thread;
	bool running;
	atomic_bool stop;
	const char *path, *sql;
	sqlite3_int64 run, count;
	bool broken; /* record number `count` does not follow */
	char head[HEX + 1];
	int code; /* SQLite's, of what went wrong */
	char message[256];
};

static void note_failure(struct check *c, int code, const char *message)
{
	c->code = code;
	snprintf(c->message, sizeof(c->message), "%s", message);
}

static void write_hex(char *text, const unsigned char *bytes, unsigned size)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < size; i++) {
		*text++ = digits[bytes[i] >> 4];
		*text++ = digits[bytes[i] & 15];
	}
}

/* Takes one row { seq, hash, line } in. False: the chain ends before it, or libcrypto failed. */
static bool follow(struct check *c, EVP_MD_CTX *hasher, const EVP_MD *sha256, sqlite3_stmt *row)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size;
	const char *hash = sqlite3_column_blob(row, 1), *line = sqlite3_column_blob(row, 2);

	if (!EVP_DigestInit_ex2(hasher, sha256, NULL) || !EVP_DigestUpdate(hasher, c->head, strlen(c->head)) ||
	    !EVP_DigestUpdate(hasher, line, sqlite3_column_bytes(row, 2)) ||
	    !EVP_DigestFinal_ex(hasher, digest, &size)) {
		note_failure(c, SQLITE_NOMEM, "SHA-256 failed in libcrypto");
		return false;
	}
	write_hex(c->head, digest, size);
	c->count++;
	c->broken = sqlite3_column_int64(row, 0) != c->count || sqlite3_column_bytes(row, 1) != HEX ||
		    memcmp(hash, c->head, HEX);
	return !c->broken;
}

static void follow_all(struct check *c, sqlite3_stmt *rows)
{
	EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MD_CTX *hasher = EVP_MD_CTX_new();
	int code = SQLITE_DONE;

	if (!sha256 || !hasher)
		note_failure(c, SQLITE_NOMEM, "SHA-256 is not to be had from libcrypto");
	else
		while (!c->stop && (code = sqlite3_step(rows)) == SQLITE_ROW && follow(c, hasher, sha256, rows))
			;
	if (code != SQLITE_DONE && code != SQLITE_ROW)
		note_failure(c, code, sqlite3_errmsg(sqlite3_db_handle(rows)));
	EVP_MD_CTX_free(hasher);
	EVP_MD_free(sha256);
}

/* The thread. Touches no Lua. */
static void run_check(void *given)
{
	struct check *c = given;
	sqlite3 *sqlite = NULL;
	sqlite3_stmt *rows = NULL;
	int code = sqlite_connect(c->path, SQLITE_OPEN_READONLY, BUSY_MS, &sqlite);

	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(sqlite, c->sql, -1, &rows, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_bind_int64(rows, 1, c->run);
	if (code == SQLITE_OK)
		follow_all(c, rows);
	else
		note_failure(c, code, sqlite ? sqlite3_errmsg(sqlite) : sqlite3_errstr(code));
	sqlite3_finalize(rows);
	sqlite3_close(sqlite);
}

static void join(struct check *c)
{
	if (c->running)
		uv_thread_join(&c->thread);
	c->running = false;
}

/* begin(path, sql, run) -> check. The rows of the query, whose one value is the run, are { seq, hash, line }. */
static int chain_begin(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1), *sql = luaL_checkstring(L, 2);
	lua_Integer run = luaL_checkinteger(L, 3);
	struct check *c = lua_newuserdatauv(L, sizeof(*c), 2);

	*c = (struct check){.path = path, .sql = sql, .run = run};
	luaL_setmetatable(L, TYPE);
	for (int i = 1; i <= 2; i++) {
		lua_pushvalue(L, i);
		lua_setiuservalue(L, -2, i);
	}
	c->running = uv_thread_create(&c->thread, run_check, c) == 0;
	if (!c->running) /* no thread to be had: then it takes its time here */
		run_check(c);
	return 1;
}

/* check:result() -> count, head, and whether the last of them does not follow from the one before. Waits, and blocks the
 * loop, by intent: nothing is done to a target before. May be called again. */
static int check_result(lua_State *L)
{
	struct check *c = luaL_checkudata(L, 1, TYPE);
	const char *name;

	luaL_argcheck(L, !c->stop, 1, "check is closed");
	join(c);
	if (c->code) {
		name = sqlite_code_name(c->code);
		error_push(L, "journal", "%s: %s", c->path, c->message);
		lua_pushstring(L, name ? name : lua_pushfstring(L, "SQLITE_%d", c->code));
		lua_setfield(L, -2, "code");
		return lua_error(L);
	}
	lua_pushinteger(L, c->count);
	lua_pushstring(L, c->head);
	lua_pushboolean(L, c->broken);
	return 3;
}

/* check:close(): may be called twice. */
static int check_close(lua_State *L)
{
	struct check *c = luaL_checkudata(L, 1, TYPE);

	c->stop = true;
	join(c);
	return 0;
}

/* Takes the line at s in, into the tables at 2, 3 and 4; *steps is how many the first has. NULL: it is no line; else what
 * follows it. */
static const char *add_line(lua_State *L, const char *s, const char *end, lua_Integer *steps)
{
	const char *newline = memchr(s, '\n', end - s);
	char *rest;
	lua_Integer seq = strtoll(s, &rest, 10), last = strtoll(rest, &rest, 10);

	if (!newline || seq <= 0 || last <= seq || last > UINT32_MAX || (*rest != ' ' && *rest != '\n'))
		return NULL;
	if (*rest == '\n') {
		lua_pushinteger(L, last);
		lua_rawseti(L, 4, seq);
		return newline + 1;
	}
	lua_pushlstring(L, rest + 1, newline - rest - 1);
	lua_pushvalue(L, -1);
	lua_rawseti(L, 2, ++*steps);
	lua_pushinteger(L, seq << 32 | last);
	lua_rawset(L, 3);
	return newline + 1;
}

/* add(text, order, finished, standing): lines `seq last path`, of a step, and `seq last`, of an effect in place. */
static int chain_add(lua_State *L)
{
	size_t length;
	const char *s = luaL_checklstring(L, 1, &length), *end = s + length;

	lua_Integer steps;

	for (int i = 2; i <= 4; i++)
		luaL_checktype(L, i, LUA_TTABLE);
	steps = (lua_Integer)lua_rawlen(L, 2);
	while (s && s < end)
		s = add_line(L, s, end, &steps);
	return s ? 0 : error_raise(L, "protocol", "not a summary of records");
}

int luaopen_sqlite_chain(lua_State *L)
{
	static const luaL_Reg functions[] = {{"begin", chain_begin}, {"add", chain_add}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
		{"result", check_result},
		{"close", check_close},
		{"__gc", check_close},
		{"__close", check_close},
		{NULL, NULL},
	};

	luaL_newmetatable(L, TYPE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
