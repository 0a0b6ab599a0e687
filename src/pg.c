/* native.pg: PostgreSQL through libpq's non-blocking calls. */
#include "pg.h"
#include "error.h"
#include "secret.h"
#include "task.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define GUARD "pg.guard"
#define ASKING "pg.asking"

enum { NOTICE_MOST = 8 * 1024 }; /* bytes of a notice that are kept */

/* ---- lifetime ---- */

void pg_follow_socket(struct pg_connection *c)
{
	int fd = PQsocket(c->pg);

	if (c->fd >= 0 && c->fd != fd)
		task_unwatch(c->fd);
	c->fd = fd;
}

static void forget_notices(struct pg_connection *c)
{
	for (size_t i = 0; i < c->notice_count; i++)
		free(c->notices[i]);
	c->notice_count = c->notices_lost = 0;
}

/* Frees all; may be called twice. */
static void close_connection(struct pg_connection *c)
{
	int fd = c->fd;

	c->fd = -1;
	if (fd >= 0)
		task_unwatch(fd);
	PQclear(c->result);
	PQclear(c->failed);
	PQfinish(c->pg);
	PQfreemem(c->row);
	c->result = c->failed = NULL;
	c->row = NULL;
	c->pg = NULL;
	c->busy = c->waiting = false;
	forget_notices(c);
}

struct pg_connection *pg_check(lua_State *L)
{
	struct pg_connection *c = luaL_checkudata(L, 1, PG_CONNECTION);

	luaL_argcheck(L, c->pg, 1, "the connection is closed");
	return c;
}

struct pg_connection *pg_open(lua_State *L)
{
	struct pg_connection *c = lua_touserdata(L, 1);

	if (!c->pg)
		error_raise(L, "lost", "the connection was closed meanwhile");
	return c;
}

/* connection:close(): may be called twice. What runs is given up. */
static int connection_close(lua_State *L)
{
	struct pg_connection *c = luaL_checkudata(L, 1, PG_CONNECTION);

	if (c->waiting)
		pg_give_up(c);
	close_connection(c);
	return 0;
}

/* ---- one operation at a time ---- */

static int guard_close(lua_State *L)
{
	struct pg_connection **guard = lua_touserdata(L, 1), *c = *guard;

	*guard = NULL;
	if (c && c->busy)
		pg_give_up(c);
	return 0;
}

void pg_begin(lua_State *L, struct pg_connection *c)
{
	struct pg_connection **guard;

	if (c->busy)
		luaL_error(L, "the connection is in use: it serves one call at a time");
	guard = lua_newuserdatauv(L, sizeof *guard, 0);
	*guard = NULL;
	luaL_setmetatable(L, GUARD);
	lua_toclose(L, -1);
	*guard = c;
	PQclear(c->result);
	PQclear(c->failed);
	c->result = c->failed = NULL;
	c->busy = true;
	c->talking = c->waiting = c->own_transaction = c->changing = c->copied = c->broken_off = false;
	c->rows = c->bytes = c->results = 0;
	c->sent = 0;
}

void pg_end(struct pg_connection *c)
{
	c->busy = c->waiting = false;
}

void pg_disarm(lua_State *L, int guard)
{
	*(struct pg_connection **)lua_touserdata(L, guard) = NULL;
}

/* ---- asking the server to stop: libpq does that by a connection of its own, and waits for it ---- */

struct asking {
	uv_work_t work;
	PGcancel *cancel;
	char failure[256];
	struct waiter *waiter; /* who waits for it, or NULL */
};

/* Lives in a userdata of the task's stack. */
struct waiter {
	struct asking *asking; /* NULL once it is done */
	struct task *task;
	char failure[256];
};

static void ask(uv_work_t *work)
{
	struct asking *asking = work->data;

	if (!PQcancel(asking->cancel, asking->failure, sizeof asking->failure) && !*asking->failure)
		strcpy(asking->failure, "the server was not reached");
}

static void asked(uv_work_t *work, int status)
{
	struct asking *asking = work->data;
	struct waiter *waiter = asking->waiter;

	(void)status;
	if (waiter) {
		memcpy(waiter->failure, asking->failure, sizeof waiter->failure);
		waiter->asking = NULL;
		task_wake(waiter->task);
	}
	PQfreeCancel(asking->cancel);
	free(asking);
}

/* NULL: there is nothing to ask, or no memory for it. */
static struct asking *start_asking(struct pg_connection *c)
{
	struct asking *asking = calloc(1, sizeof *asking);

	if (!asking)
		return NULL;
	asking->work.data = asking;
	asking->cancel = PQgetCancel(c->pg);
	if (asking->cancel && uv_queue_work(task_loop(), &asking->work, ask, asked) == 0)
		return asking;
	PQfreeCancel(asking->cancel);
	free(asking);
	return NULL;
}

void pg_give_up(struct pg_connection *c)
{
	if (c->pg && c->waiting)
		start_asking(c);
	close_connection(c);
}

static int waiter_close(lua_State *L)
{
	struct waiter *waiter = lua_touserdata(L, 1);

	if (waiter->asking)
		waiter->asking->waiter = NULL;
	waiter->asking = NULL;
	return 0;
}

static int cancel_step(lua_State *L)
{
	struct waiter *waiter = lua_touserdata(L, 2);

	if (waiter->asking)
		return task_park(L, cancel_step);
	if (*waiter->failure) {
		pg_push_message(L, waiter->failure);
		return error_raise(L, "connect", "the server cannot be asked to stop: %s", lua_tostring(L, -2));
	}
	return 0;
}

/* connection:cancel(): asks the server to end what runs on this connection, whoever waits for it. */
static int connection_cancel(lua_State *L)
{
	struct pg_connection *c = luaL_checkudata(L, 1, PG_CONNECTION);
	struct waiter *waiter;

	lua_settop(L, 1);
	if (!c->pg || !c->busy) /* nothing runs: what was given up has been asked to stop */
		return 0;
	waiter = lua_newuserdatauv(L, sizeof *waiter, 0);
	*waiter = (struct waiter){.task = task_current(L)};
	luaL_setmetatable(L, ASKING);
	lua_toclose(L, 2);
	task_deadline(L, 3, PG_CONNECT_MS);
	waiter->asking = start_asking(c);
	if (waiter->asking)
		waiter->asking->waiter = waiter;
	return cancel_step(L);
}

/* ---- what is known of a connection ---- */

static void set_text(lua_State *L, const char *name, const char *text)
{
	lua_pushstring(L, text);
	lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

bool pg_in_transaction(const struct pg_connection *c)
{
	PGTransactionStatusType status = PQtransactionStatus(c->pg);

	return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

static void set_parameters(lua_State *L, struct pg_connection *c)
{
	static const char *const names[] = {
		"server_version", "server_encoding", "client_encoding", "application_name", "DateStyle", "IntervalStyle",
		"TimeZone", "is_superuser", "session_authorization", "in_hot_standby", "default_transaction_read_only", NULL,
	};

	lua_newtable(L);
	for (int i = 0; names[i]; i++)
		set_text(L, names[i], PQparameterStatus(c->pg, names[i]));
	lua_setfield(L, -2, "parameters");
}

/* connection:facts() -> table: what is known without asking */
static int connection_facts(lua_State *L)
{
	struct pg_connection *c = pg_check(L);

	lua_newtable(L);
	set_integer(L, "server_version", PQserverVersion(c->pg));
	set_integer(L, "backend", PQbackendPID(c->pg));
	set_text(L, "user", PQuser(c->pg));
	set_text(L, "database", PQdb(c->pg));
	set_text(L, "host", PQhost(c->pg));
	set_integer(L, "port", strtol(PQport(c->pg), NULL, 10));
	if (PQsslInUse(c->pg))
		set_text(L, "tls", PQsslAttribute(c->pg, "protocol"));
	lua_pushboolean(L, pg_in_transaction(c));
	lua_setfield(L, -2, "in_transaction");
	set_parameters(L, c);
	return 1;
}

/* ---- notices ---- */

void pg_noticed(void *connection, const PGresult *notice)
{
	struct pg_connection *c = connection;
	const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY);
	const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
	char **kept = &c->notices[c->notice_count];

	if (!text)
		text = PQresultErrorMessage(notice);
	if (c->notice_count == PG_NOTICES_MOST ||
	    asprintf(kept, "%s: %.*s", severity ? severity : "NOTICE", NOTICE_MOST, text) < 0)
		c->notices_lost++;
	else
		c->notice_count++;
}

/*
 * connection:notices() -> list of what the server said beside its answers since the last call, how many more there
 * were
 */
static int connection_notices(lua_State *L)
{
	struct pg_connection *c = pg_check(L);

	lua_newtable(L);
	for (size_t i = 0; i < c->notice_count; i++) {
		secret_push_redacted(L, c->notices[i], strlen(c->notices[i]));
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_pushinteger(L, (lua_Integer)c->notices_lost);
	forget_notices(c);
	return 2;
}

/* ---- the module ---- */

static void add_closer(lua_State *L, const char *type, lua_CFunction closer)
{
	luaL_newmetatable(L, type);
	lua_pushcfunction(L, closer);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__gc");
	lua_setfield(L, -2, "__close");
	lua_pop(L, 1);
}

/* Lists and NULL are marked as those of native.json. */
static void require_json(lua_State *L)
{
	lua_getglobal(L, "require");
	lua_pushliteral(L, "native.json");
	lua_call(L, 1, 0);
}

/*
 * pg.password_digest(password, user) -> the form in which `create user` takes a password without its text, "md5…": what
 * psql sends, and the only one that Redshift knows besides its own.
 */
static int pg_password_digest(lua_State *L)
{
	size_t length;
	const char *password = secret_check(L, 1, &length);
	char *digest;

	luaL_argcheck(L, !memchr(password, 0, length) && length < 1024, 1, "a password holds no NUL and is not so long");
	lua_settop(L, 2);
	luaL_checkstring(L, 2);
	{
		char text[1024]; /* libpq wants a NUL at its end */

		memcpy(text, password, length);
		text[length] = 0;
		digest = PQencryptPassword(text, lua_tostring(L, 2));
		explicit_bzero(text, sizeof text);
	}
	if (!digest)
		return luaL_error(L, "not enough memory");
	lua_pushstring(L, digest);
	PQfreemem(digest);
	return 1;
}

int luaopen_pg(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"connect", pg_connect},
		{"bytes", pg_bytes},
		{"array", pg_array},
		{"password_digest", pg_password_digest},
		{NULL, NULL},
	};
	static const luaL_Reg methods[] = {
		{"query", pg_query},
		{"execute", pg_execute},
		{"simple", pg_simple},
		{"series", pg_series},
		{"rows", pg_rows},
		{"copy_out", pg_copy_out},
		{"copy_in", pg_copy_in},
		{"cancel", connection_cancel},
		{"facts", connection_facts},
		{"notices", connection_notices},
		{"close", connection_close},
		{"__gc", connection_close},
		{"__close", connection_close},
		{NULL, NULL},
	};

	require_json(L);
	add_closer(L, GUARD, guard_close);
	add_closer(L, ASKING, waiter_close);
	pg_parameter_open(L);
	pg_query_open(L);
	pg_connect_open(L);
	luaL_newmetatable(L, PG_CONNECTION);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
