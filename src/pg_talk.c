/* native.pg: one exchange with the server, and what its errors become. */
#include "error.h"
#include "pg.h"
#include "secret.h"
#include "task.h"

#include <lauxlib.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MOST = 64 * 1024 }; /* bytes of a text of the server that are shown */

/* ---- errors ---- */

static bool is_code(const char *text)
{
	return strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && text[5] == ':' && text[6] == ' ';
}

/* Adds a line, without the SQLSTATE in it, which is copied to code. */
static void add_line(luaL_Buffer *out, const char *line, size_t length, char code[6])
{
	for (size_t i = 0; i < length; i++) {
		if (length - i > 9 && !strncmp(line + i, ":  ", 3) && is_code(line + i + 3)) {
			memcpy(code, line + i + 3, 5);
			luaL_addstring(out, ": ");
			i += 9;
			continue;
		}
		luaL_addchar(out, line[i]);
	}
}

void pg_push_message(lua_State *L, const char *message)
{
	char code[6] = "";
	const char *last = NULL; /* a login that TLS was tried for is tried without, and says the same once more */
	luaL_Buffer out;
	size_t length;

	luaL_buffinit(L, &out);
	for (const char *line = message; *line && line - message < MESSAGE_MOST; line += length + (line[length] != 0)) {
		length = strcspn(line, "\n");
		if (!length || *line == '\t' || !strncmp(line, "LOCATION:", 9))
			continue;
		if (last && !strncmp(line, last, length + 1))
			continue;
		if (last)
			luaL_addstring(&out, "; ");
		add_line(&out, line, length, code);
		last = line;
	}
	luaL_pushresult(&out);
	if (*code)
		lua_pushstring(L, code);
	else
		lua_pushnil(L);
}

static void set_host(lua_State *L, struct pg_connection *c)
{
	lua_pushstring(L, PQhost(c->pg));
	lua_setfield(L, -2, "host");
}

int pg_raise_lost(lua_State *L, struct pg_connection *c)
{
	pg_push_message(L, PQerrorMessage(c->pg));
	error_push(L, "lost", "%s", *lua_tostring(L, -2) ? lua_tostring(L, -2) : "the connection broke");
	if (!lua_isnil(L, -2)) {
		lua_pushvalue(L, -2);
		lua_setfield(L, -2, "code");
	}
	set_host(L, c);
	return lua_error(L);
}

static const char *field(const PGresult *result, int which)
{
	const char *text = PQresultErrorField(result, which);

	return text ? text : "";
}

/* A session that the server ends says so with a severity of its own. */
static bool ends_session(const PGresult *failed)
{
	const char *severity = PQresultErrorField(failed, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (!severity)
		severity = field(failed, PG_DIAG_SEVERITY);
	return !strcmp(severity, "FATAL") || !strcmp(severity, "PANIC");
}

static const char *kind_of(const struct pg_connection *c)
{
	const char *code = field(c->failed, PG_DIAG_SQLSTATE);

	if (!*code || !strncmp(code, "08", 2) || !strncmp(code, "57P", 3) || ends_session(c->failed) ||
	    PQstatus(c->pg) == CONNECTION_BAD)
		return "lost";
	return strcmp(code, "25006") ? "remote" : "denied";
}

bool pg_is_lost(const struct pg_connection *c)
{
	return !strcmp(kind_of(c), "lost");
}

/* Pushes " (line 1, column 8)" of where in the statement the server found fault; it counts characters. */
static void push_place(lua_State *L, const char *sql, long characters)
{
	int line = 1, column = 1;

	if (!sql || characters < 1) {
		lua_pushliteral(L, "");
		return;
	}
	for (; *sql && --characters; sql++) {
		while ((sql[1] & 0xC0) == 0x80)
			sql++;
		column = *sql == '\n' ? 1 : column + 1;
		line += *sql == '\n';
	}
	lua_pushfstring(L, " (line %d, column %d)", line, column);
}

static void set_redacted(lua_State *L, const char *name, const char *text)
{
	if (!*text)
		return;
	secret_push_redacted(L, text, strnlen(text, MESSAGE_MOST));
	lua_setfield(L, -2, name);
}

/* What the server knows beyond its message, and what it advises. */
static void set_hint(lua_State *L, const PGresult *failed)
{
	const char *detail = field(failed, PG_DIAG_MESSAGE_DETAIL), *hint = field(failed, PG_DIAG_MESSAGE_HINT);
	const char *text = lua_pushfstring(L, "%s%s%s", detail, *detail && *hint ? "\n" : "", hint);

	lua_insert(L, -2);
	set_redacted(L, "hint", text);
	lua_remove(L, -2);
}

void pg_push_failed(lua_State *L, struct pg_connection *c, const char *sql, long position)
{
	const char *message = field(c->failed, PG_DIAG_MESSAGE_PRIMARY);
	int top = lua_gettop(L) + 1;

	if (!*message) { /* libpq's own */
		pg_push_message(L, PQresultErrorMessage(c->failed));
		message = lua_tostring(L, -2);
	}
	push_place(L, sql, position);
	error_push(L, kind_of(c), "%s%s", message, lua_tostring(L, -1));
	set_host(L, c);
	set_redacted(L, "code", field(c->failed, PG_DIAG_SQLSTATE));
	set_redacted(L, "output", field(c->failed, PG_DIAG_CONTEXT));
	set_hint(L, c->failed);
	lua_replace(L, top);
	lua_settop(L, top);
}

long pg_position(const struct pg_connection *c)
{
	return strtol(field(c->failed, PG_DIAG_STATEMENT_POSITION), NULL, 10);
}

int pg_raise_failed(lua_State *L, struct pg_connection *c, const char *sql)
{
	pg_push_failed(L, c, sql, pg_position(c));
	return lua_error(L);
}

/* ---- the exchange ---- */

/* Returns how many values go to the caller. */
static int take(lua_State *L, struct pg_connection *c, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
		if (c->failed)
			PQclear(result);
		else
			c->failed = result;
		return 0;
	}
	PQclear(c->result);
	c->result = result;
	return c->on_result ? c->on_result(L, c) : 0;
}

/* Whoever listens to a channel is not told here; what came is not heaped up. */
static void forget_notifications(struct pg_connection *c)
{
	PGnotify *notification;

	while ((notification = PQnotifies(c->pg)))
		PQfreemem(notification);
}

static int over(lua_State *L, struct pg_connection *c)
{
	c->waiting = false;
	forget_notifications(c);
	return c->then(L, c);
}

/* TLS may have bytes of a record in store, of which the socket knows nothing. */
static bool has_more(struct pg_connection *c)
{
	SSL *tls = PQsslStruct(c->pg, "OpenSSL");

	return tls && SSL_pending(tls) > 0;
}

int pg_wait(lua_State *L, struct pg_connection *c, int events, lua_CFunction step)
{
	c->talking = true;
	return has_more(c) ? task_yield(L, step) : task_wait(L, c->fd, events, step);
}

/* Takes what has come; returns how many values go to the caller, or -1: more has to come. */
static int take_all(lua_State *L, struct pg_connection *c)
{
	PGresult *result;
	int values = 0;

	while (!values && !PQisBusy(c->pg)) {
		result = PQgetResult(c->pg);
		pg_follow_socket(c);
		if (!result)
			return over(L, c);
		values = take(L, c, result);
	}
	return values ? values : -1;
}

/* The socket is read only once all that came before is taken: libpq's memory would grow with what it is ahead. */
int pg_talk(lua_State *L)
{
	struct pg_connection *c = pg_open(L);
	int unsent, good, values;

	c->talking = false;
	if (!PQisBusy(c->pg)) {
		values = take_all(L, c);
		if (values >= 0)
			return values;
	}
	unsent = PQflush(c->pg);
	good = PQconsumeInput(c->pg);
	values = take_all(L, c);
	if (values >= 0)
		return values;
	pg_follow_socket(c);
	if (unsent >= 0 && good && c->fd >= 0)
		return pg_wait(L, c, unsent ? TASK_READ | TASK_WRITE : TASK_READ, pg_talk);
	if (c->failed)
		return pg_raise_failed(L, c, NULL);
	return pg_raise_lost(L, c);
}

int pg_await(lua_State *L, struct pg_connection *c)
{
	int unsent = PQflush(c->pg);

	c->waiting = true;
	pg_follow_socket(c);
	if (unsent < 0 || c->fd < 0)
		return pg_talk(L);
	return pg_wait(L, c, unsent ? TASK_READ | TASK_WRITE : TASK_READ, pg_talk);
}

int pg_say(lua_State *L, struct pg_connection *c, const char *text, pg_callback *then)
{
	c->on_result = NULL;
	c->then = then;
	if (!PQsendQuery(c->pg, text))
		return c->failed ? pg_raise_failed(L, c, NULL) : pg_raise_lost(L, c);
	return pg_await(L, c);
}
