/* native.mysql: MariaDB and MySQL through Connector/C's non-blocking calls. */
#include "mysql.h"
#include "error.h"
#include "task.h"

#include <errmsg.h>
#include <lauxlib.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define CONNECTING "mysql.connecting"
#define WORLD      "mysql.world"

enum { CONNECT_S = 15, CANCEL_MS = 15 * 1000 };

/* Numbers that are of one server alone, or that the library's headers have under several names. */
enum { KILLED = 1927, IDLE_TOO_LONG = 4031, UNIX_LOGIN_DENIED = 1698, CR_END = 3000, LIBRARY_MORE = 5000 };

enum { NOTICES = 1 }; /* user value of a connection: the list of warnings */

/* ---- errors ---- */

void mysql_note(struct mysql_problem *p, unsigned number, const char *state, const char *text)
{
	p->number = number ? number : CR_UNKNOWN_ERROR;
	snprintf(p->state, sizeof p->state, "%s", state);
	snprintf(p->text, sizeof p->text, "%s", text);
}

static int is_file_refused(const struct mysql_problem *p)
{
	return p->number == CR_UNKNOWN_ERROR && !strncmp(p->text, "Load data local", 15);
}

/* Also whatever the library itself has against an answer: what the server did is not known then. */
int mysql_problem_is_lost(const struct mysql_problem *p)
{
	if (is_file_refused(p))
		return 0;
	switch (p->number) {
	case KILLED:
	case IDLE_TOO_LONG:
	case ER_SERVER_SHUTDOWN:
	case ER_NEW_ABORTING_CONNECTION:
	case ER_ABORTING_CONNECTION:
		return 1;
	default:
		return (p->number >= CR_MIN_ERROR && p->number < CR_END) || p->number >= LIBRARY_MORE;
	}
}

static const char *kind_of(const struct mysql_problem *p, int connecting)
{
	switch (p->number) {
	case ER_ACCESS_DENIED_ERROR:
	case ER_DBACCESS_DENIED_ERROR:
	case ER_HOST_NOT_PRIVILEGED:
	case UNIX_LOGIN_DENIED:
	case CR_AUTH_PLUGIN_CANNOT_LOAD:
	case CR_AUTH_PLUGIN_ERR:
	case CR_PLUGIN_NOT_ALLOWED:
		return "auth";
	case ER_BAD_DB_ERROR:
		return connecting ? "missing" : "remote";
	case CR_SSL_CONNECTION_ERROR:
		return !connecting ? "lost" : strstr(p->text, "ertificate") ? "auth" : "connect";
	case ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION:
		return "denied";
	}
	if (connecting && (p->number == ER_CON_COUNT_ERROR || p->number == ER_TOO_MANY_USER_CONNECTIONS))
		return "connect";
	if (connecting)
		return mysql_problem_is_lost(p) ? "connect" : "remote";
	if (is_file_refused(p))
		return "denied";
	return mysql_problem_is_lost(p) ? "lost" : "remote";
}

void mysql_problem_push(lua_State *L, const struct mysql_problem *p, int connecting)
{
	error_push(L, kind_of(p, connecting), "%s (%d)", p->text, (int)p->number);
	lua_pushstring(L, p->state);
	lua_setfield(L, -2, "code");
	if (p->number == CR_PLUGIN_NOT_ALLOWED) {
		lua_pushliteral(L, "the server wants the password itself, which it gets where its certificate is verified");
		lua_setfield(L, -2, "hint");
	}
}

int mysql_problem_raise(lua_State *L, const struct mysql_problem *p, int connecting)
{
	mysql_problem_push(L, p, connecting);
	return lua_error(L);
}

/* ---- connecting ---- */

static int guard_close(lua_State *L)
{
	struct mysql_session ***guard = lua_touserdata(L, 1), **slot = *guard, *s;

	*guard = NULL;
	if (!slot || !*slot)
		return 0;
	s = *slot;
	*slot = NULL;
	s->closed = 1;
	task_unwatch(s->bell);
	mysql_session_release(s);
	return 0;
}

static void session_new(lua_State *L)
{
	struct mysql_session **slot = lua_newuserdatauv(L, sizeof *slot, 1), *s;

	*slot = NULL;
	luaL_setmetatable(L, MYSQL_CONNECTION);
	lua_newtable(L);
	lua_setiuservalue(L, -2, NOTICES);
	s = *slot = calloc(1, sizeof *s);
	if (!s)
		luaL_error(L, "not enough memory");
	s->uses = 1;
	s->fd = -1;
	lua_getfield(L, LUA_REGISTRYINDEX, WORLD);
	s->world = lua_touserdata(L, -1);
	lua_pop(L, 1);
	s->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->bell < 0)
		error_raise(L, "connect", "no descriptor for a connection");
}

struct mysql_session *mysql_session_check(lua_State *L)
{
	struct mysql_session **slot = luaL_checkudata(L, 1, MYSQL_CONNECTION);

	luaL_argcheck(L, *slot, 1, "connection is closed");
	if (*(*slot)->broken)
		error_raise(L, "lost", "%s", (*slot)->broken);
	return *slot;
}

/* Stack: connection, guard. */
static int connect_step(lua_State *L)
{
	struct mysql_session **slot = lua_touserdata(L, 1), *s = *slot;

	if (!s)
		return error_raise(L, "connect", "the connection was closed meanwhile");
	if (s->connecting)
		return task_wait(L, s->bell, TASK_READ, connect_step);
	if (s->problem.number)
		return mysql_problem_raise(L, &s->problem, 1);
	if (s->fd < 0)
		return error_raise(L, "connect", "no descriptor for a connection");
	*(struct mysql_session ***)lua_touserdata(L, 2) = NULL;
	lua_settop(L, 1);
	return 1;
}

/* Stack: settings, options -> connection, guard. */
static void make_connecting(lua_State *L)
{
	struct mysql_session ***guard;

	session_new(L);
	lua_insert(L, 1);
	guard = lua_newuserdatauv(L, sizeof *guard, 0);
	*guard = lua_touserdata(L, 1);
	luaL_setmetatable(L, CONNECTING);
	lua_insert(L, 2);
	lua_toclose(L, 2);
}

/*
 * mysql.connect(settings [, { timeout = seconds }]) -> connection. settings: host, port, socket, database, user, password
 * (text or secret), ssl = "off" | "prefer" | "require", ssl_ca, ssl_cert, ssl_key, ssl_verify, defaults_file.
 */
static int mysql_connect_new(lua_State *L)
{
	static const char *const options[] = {"timeout", NULL};
	struct mysql_session *s;
	double timeout = CONNECT_S;

	luaL_checktype(L, 1, LUA_TTABLE);
	error_check_options(L, 2, options);
	lua_settop(L, 2);
	make_connecting(L);
	s = **(struct mysql_session ***)lua_touserdata(L, 2);
	if (lua_istable(L, 4) && lua_getfield(L, 4, "timeout") != LUA_TNIL)
		timeout = luaL_checknumber(L, -1);
	s->login.timeout_s = timeout < 1 ? 1 : timeout > 3600 ? 3600 : (unsigned)timeout;
	mysql_login_read(L, &s->login, 3);
	task_deadline(L, 4, CONNECT_S * 1000);
	mysql_session_connect(L, s);
	lua_settop(L, 2);
	return connect_step(L);
}

/* ---- the connection ---- */

/* connection:close(): what runs on it is ended. May be called twice. */
static int connection_close(lua_State *L)
{
	struct mysql_session **slot = luaL_checkudata(L, 1, MYSQL_CONNECTION), *s = *slot;

	*slot = NULL;
	if (!s)
		return 0;
	s->closed = 1;
	if (s->busy && s->handle)
		mysql_session_kill(s, 1);
	mysql_session_break(s, "the connection was closed");
	task_unwatch(s->bell); /* now: a worker may outlive the loop's handles */
	mysql_session_release(s);
	return 0;
}

static int cancel_step(lua_State *L)
{
	struct mysql_session *s = *(struct mysql_session **)lua_touserdata(L, 1);

	if (s && s->killings)
		return task_wait(L, s->bell, TASK_READ, cancel_step);
	return 0;
}

/* connection:cancel(): ends the statement that another task runs on it; that task gets the error. Waits until it is told. */
static int connection_cancel(lua_State *L)
{
	struct mysql_session *s = mysql_session_check(L);

	lua_settop(L, 1);
	if (!s->busy || s->killed)
		return 0;
	if (!mysql_session_kill(s, 0))
		return error_raise(L, "connect", "the statement cannot be ended: the server does not say who we are");
	s->killed = 1;
	task_deadline(L, 2, CANCEL_MS);
	return cancel_step(L);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
	if (text && *text) {
		lua_pushstring(L, text);
		lua_setfield(L, -2, name);
	}
}

/* connection:facts() -> { server_version, backend, user, database, host, port, socket, tls, in_transaction, backslashes } */
static int connection_facts(lua_State *L)
{
	MYSQL *m = mysql_session_check(L)->handle;
	const char *tls = NULL;
	int on_socket = m->unix_socket && *m->unix_socket;

	mariadb_get_infov(m, MARIADB_CONNECTION_TLS_VERSION, &tls);
	lua_createtable(L, 0, 9);
	set_text(L, "server_version", mysql_get_server_info(m));
	lua_pushinteger(L, (lua_Integer)mysql_thread_id(m));
	lua_setfield(L, -2, "backend");
	set_text(L, "user", m->user);
	set_text(L, "database", m->db);
	set_text(L, "host", m->host);
	if (!on_socket) {
		lua_pushinteger(L, (lua_Integer)m->port);
		lua_setfield(L, -2, "port");
	}
	set_text(L, "socket", m->unix_socket);
	set_text(L, "tls", mysql_get_ssl_cipher(m) ? tls : NULL);
	lua_pushboolean(L, (m->server_status & SERVER_STATUS_IN_TRANS) != 0);
	lua_setfield(L, -2, "in_transaction");
	lua_pushboolean(L, !(m->server_status & SERVER_STATUS_NO_BACKSLASH_ESCAPES));
	lua_setfield(L, -2, "backslashes");
	return 1;
}

/* connection:notices() -> list of the server's warnings since the last call, at most 1000; how many more there were */
static int connection_notices(lua_State *L)
{
	struct mysql_session *s = mysql_session_check(L);

	lua_settop(L, 1);
	lua_getiuservalue(L, 1, NOTICES);
	lua_newtable(L);
	lua_setiuservalue(L, 1, NOTICES);
	lua_pushinteger(L, s->notices_lost);
	s->notices = s->notices_lost = 0;
	return 2;
}

/* mysql.bytes(bytes) -> a value that a statement takes as a blob; a plain string is text */
static int mysql_bytes(lua_State *L)
{
	luaL_checkstring(L, 1);
	lua_newuserdatauv(L, 0, 1);
	luaL_setmetatable(L, MYSQL_BYTES);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	return 1;
}

/* What OpenSSL has is freed when the program exits, under the hands of a worker that still connects. */
static int world_gc(lua_State *L)
{
	struct mysql_world *world = lua_touserdata(L, 1);

	while (world->workers)
		uv_run(task_loop(), UV_RUN_ONCE);
	return 0;
}

/* Finalized after all connections, for it was made first. */
static void register_world(lua_State *L)
{
	struct mysql_world *world = lua_newuserdatauv(L, sizeof *world, 0);

	*world = (struct mysql_world){0};
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, world_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, WORLD);
}

int luaopen_mysql(lua_State *L)
{
	static const luaL_Reg functions[] = {{"connect", mysql_connect_new}, {"bytes", mysql_bytes}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
		{"query", mysql_connection_query},
		{"execute", mysql_connection_execute},
		{"rows", mysql_connection_rows},
		{"series", mysql_connection_series},
		{"cancel", connection_cancel},
		{"facts", connection_facts},
		{"notices", connection_notices},
		{"close", connection_close},
		{"__gc", connection_close},
		{"__close", connection_close},
		{NULL, NULL},
	};

	mysql_library_init(0, NULL, NULL);
	register_world(L);
	luaL_newmetatable(L, MYSQL_BYTES);
	luaL_newmetatable(L, CONNECTING);
	lua_pushcfunction(L, guard_close);
	lua_setfield(L, -2, "__close");
	mysql_statement_register(L);
	luaL_newmetatable(L, MYSQL_CONNECTION);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
