/* native.pg: settings, the names in them, and the first exchange with the server. */
#include "error.h"
#include "pg.h"
#include "secret.h"
#include "task.h"

#include <lauxlib.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#define SETTINGS "pg.settings"

enum { SETTINGS_MOST = 64, PLACES_MOST = 64, MS_MOST = 3600 * 1000 };

/*
 * Stack of pg.connect: the connection, its settings, options, a guard; comma lists: what is wanted, and what was
 * found.
 */
enum { CONNECTION = 1, SETTINGS_AT, OPTIONS, GUARD, HOST, ADDRESS, PORT, HOSTS, ADDRESSES, PORTS, STACK = PORTS };

/* While a connection is being made. Owns keywords and values; wiped, for one is a password. */
struct settings {
	char *keywords[SETTINGS_MOST + 1], *values[SETTINGS_MOST + 1];
	int count;
	struct resolving *resolving; /* under way, or NULL */
	struct addrinfo *found;      /* by it; NULL: nothing */
	const char *failure;         /* of the last name that was not found, or NULL */
	int host, places;            /* the host that is looked up, from 0; how many places are found */
	bool looking;
	double timeout; /* seconds for all */
};

struct resolving {
	uv_getaddrinfo_t request;
	struct settings *settings; /* NULL once nobody waits */
	struct task *task;
};

static void forget_value(char *value)
{
	if (value)
		explicit_bzero(value, strlen(value));
	free(value);
}

static int settings_free(lua_State *L)
{
	struct settings *s = lua_touserdata(L, 1);

	for (int i = 0; i < s->count; i++) {
		free(s->keywords[i]);
		forget_value(s->values[i]);
	}
	s->count = 0;
	if (s->resolving)
		s->resolving->settings = NULL;
	s->resolving = NULL;
	if (s->found)
		uv_freeaddrinfo(s->found);
	s->found = NULL;
	return 0;
}

/* ---- settings ---- */

static char *find(struct settings *s, const char *keyword)
{
	for (int i = 0; i < s->count; i++)
		if (!strcmp(s->keywords[i], keyword))
			return s->values[i];
	return NULL;
}

static void set(lua_State *L, struct settings *s, const char *keyword, const char *value)
{
	int i = 0;

	while (i < s->count && strcmp(s->keywords[i], keyword))
		i++;
	luaL_argcheck(L, i < SETTINGS_MOST, 1, "too many settings");
	if (i == s->count) {
		s->values[i] = NULL;
		s->keywords[i] = strdup(keyword);
		s->count++;
	}
	forget_value(s->values[i]);
	s->values[i] = strdup(value);
	if (!s->keywords[i] || !s->values[i])
		luaL_error(L, "not enough memory");
}

static void set_unless(lua_State *L, struct settings *s, const char *keyword, const char *value)
{
	if (!find(s, keyword))
		set(L, s, keyword, value);
}

static bool is_keyword(const PQconninfoOption *known, const char *keyword)
{
	for (; known->keyword; known++)
		if (!strcmp(known->keyword, keyword))
			return true;
	return false;
}

static void check_keyword(lua_State *L, const char *keyword)
{
	PQconninfoOption *known = PQconndefaults();
	bool good = known && is_keyword(known, keyword) && strcmp(keyword, "client_encoding");

	PQconninfoFree(known);
	if (!good)
		luaL_error(L, "no setting is named '%s'", keyword);
}

/* The entry on top of the stack, its key below it. */
static void take_setting(lua_State *L, struct settings *s)
{
	const char *keyword, *value;
	char *copy;
	size_t length;

	luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, 1, "settings are named");
	keyword = lua_tostring(L, -2);
	check_keyword(L, keyword);
	if (lua_type(L, -1) == LUA_TNUMBER && !lua_isinteger(L, -1))
		luaL_error(L, "the setting %s is a text, an integer or a secret", keyword);
	if (!secret_is(L, -1) && lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L, "the setting %s is a text, an integer or a secret, not a %s", keyword, luaL_typename(L, -1));
	value = secret_check(L, lua_gettop(L), &length);
	if (length && memchr(value, 0, length))
		luaL_error(L, "the setting %s has a NUL", keyword);
	set(L, s, keyword, "");
	copy = length ? strndup(value, length) : strdup(""); /* a secret has no NUL at its end, an empty one no bytes */
	if (!copy)
		luaL_error(L, "not enough memory");
	for (int i = 0; i < s->count; i++)
		if (!strcmp(s->keywords[i], keyword)) {
			free(s->values[i]);
			s->values[i] = copy;
		}
}

/* A query may run for an hour and say nothing; a server that is gone is found to be so within a minute. */
static void set_defaults(lua_State *L, struct settings *s)
{
	set(L, s, "client_encoding", "UTF8");
	set_unless(L, s, "fallback_application_name", "neap");
	set_unless(L, s, "gssencmode", "disable"); /* else a ticket would be asked for, and waited for, instead of TLS */
	set_unless(L, s, "keepalives", "1");
	set_unless(L, s, "keepalives_idle", "15");
	set_unless(L, s, "keepalives_interval", "15");
	set_unless(L, s, "keepalives_count", "3");
	set_unless(L, s, "tcp_user_timeout", "60000");
}

/* Reads the settings at index 1 and puts them, as a userdata, in their place. */
static struct settings *read_settings(lua_State *L)
{
	struct settings *s = lua_newuserdatauv(L, sizeof *s, 0);

	*s = (struct settings){0};
	luaL_setmetatable(L, SETTINGS);
	for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
		lua_pushvalue(L, -2); /* lua_tostring may not change a key that lua_next needs */
		lua_insert(L, -2);
		take_setting(L, s);
		lua_remove(L, -2);
	}
	set_defaults(L, s);
	lua_replace(L, 1);
	return s;
}

/* ---- names: libpq would look them up itself, and nothing else would run meanwhile ---- */

static void push_option(lua_State *L, const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword; options++)
		if (!strcmp(options->keyword, keyword)) {
			lua_pushstring(L, options->val ? options->val : "");
			return;
		}
	lua_pushliteral(L, "");
}

static void forget_options(PQconninfoOption *options)
{
	for (PQconninfoOption *option = options; option && option->keyword; option++)
		if (option->val)
			explicit_bzero(option->val, strlen(option->val));
	PQconninfoFree(options);
}

/*
 * Pushes host, hostaddr and port as they are once the service file and the variables of the environment are counted
 * in. Only libpq knows that, and only of a connection: one that is refused for its settings before anything is sent.
 */
static void push_places(lua_State *L, struct settings *s)
{
	const char *keywords[SETTINGS_MOST + 3], *values[SETTINGS_MOST + 3];
	PQconninfoOption *options;
	PGconn *probe;
	int count = 0;

	for (int i = 0; i < s->count; i++)
		if (strcmp(s->keywords[i], "password") && strcmp(s->keywords[i], "sslmode")) {
			keywords[count] = s->keywords[i];
			values[count++] = s->values[i];
		}
	keywords[count] = "password";
	values[count++] = "none"; /* else the password file is read, and complained of, once more */
	keywords[count] = "sslmode";
	values[count++] = "none such";
	keywords[count] = NULL;
	values[count] = NULL;
	probe = PQconnectStartParams(keywords, values, 0);
	options = PQconninfo(probe);
	PQfinish(probe);
	if (!options)
		luaL_error(L, "not enough memory");
	push_option(L, options, "host");
	push_option(L, options, "hostaddr");
	push_option(L, options, "port");
	forget_options(options);
}

/*
 * Pushes the part of a comma list at the index, from 0; of a list of one always that one. Returns the count of
 * parts.
 */
static int push_part(lua_State *L, int index, int part)
{
	const char *at = lua_tostring(L, index);
	int count = 1;

	for (const char *comma = at; (comma = strchr(comma, ',')); comma++)
		count++;
	for (int i = 0; i < part && count > 1 && (at = strchr(at, ',')); i++)
		at++;
	if (at)
		lua_pushlstring(L, at, strcspn(at, ","));
	else
		lua_pushliteral(L, "");
	return count;
}

/* ---- the first exchange ---- */

static bool speaks_of(const char *message, const char *const words[])
{
	for (int i = 0; words[i]; i++)
		if (strstr(message, words[i]))
			return true;
	return false;
}

/* Whatever fails here, no statement was sent. */
static const char *kind_of(struct pg_connection *c, const char *message, const char *code)
{
	static const char *const trust[] = {"certificate", "authentication", "SCRAM", "channel binding", NULL};

	if (!strncmp(code, "28", 2) || PQconnectionNeedsPassword(c->pg))
		return "auth";
	if (!strcmp(code, "3D000"))
		return "missing";
	return !*code && speaks_of(message, trust) ? "auth" : "connect";
}

static int raise_unconnected(lua_State *L, struct pg_connection *c)
{
	const char *message, *code, *host = PQhost(c->pg);
	bool named; /* libpq names the address where it was given one */

	pg_push_message(L, PQerrorMessage(c->pg));
	message = lua_tostring(L, -2);
	code = lua_tostring(L, -1);
	named = !host || strstr(message, host);
	error_push(L, kind_of(c, message, code ? code : ""), "%s%s%s", named ? "" : host, named ? "" : ": ", message);
	lua_pushstring(L, code);
	lua_setfield(L, -2, "code");
	lua_pushstring(L, host);
	lua_setfield(L, -2, "host");
	return lua_error(L);
}

static int ready(lua_State *L, struct pg_connection *c)
{
	if (c->failed)
		return pg_raise_failed(L, c, NULL);
	pg_end(c);
	lua_pushvalue(L, CONNECTION);
	return 1;
}

/* Dates in one form, and all digits of a float, which before version 12 are not written of themselves. */
static int connected(lua_State *L, struct pg_connection *c)
{
	const char *dates = PQparameterStatus(c->pg, "DateStyle");
	bool iso = dates && !strncmp(dates, "ISO", 3);

	PQsetnonblocking(c->pg, 1);
	if (c->silence_ms >= 0)
		setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &c->silence_ms, sizeof c->silence_ms);
	if (PQserverVersion(c->pg) < 120000)
		return pg_say(L, c, "set datestyle = 'ISO'; set extra_float_digits = 2", ready);
	return iso ? ready(L, c) : pg_say(L, c, "set datestyle = 'ISO'", ready);
}

static int connect_step(lua_State *L)
{
	struct pg_connection *c = lua_touserdata(L, CONNECTION);
	PostgresPollingStatusType next;

	if (c->fd >= 0)
		task_unwatch(c->fd); /* libpq may close it now, and open another under its number */
	c->fd = -1;
	next = PQconnectPoll(c->pg);
	if (next == PGRES_POLLING_FAILED)
		return raise_unconnected(L, c);
	c->fd = PQsocket(c->pg);
	if (next == PGRES_POLLING_OK)
		return connected(L, c);
	return task_wait(L, c->fd, next == PGRES_POLLING_READING ? TASK_READ : TASK_WRITE, connect_step);
}

/* Milliseconds for which one address may be silent; 0: as for what is said later. */
static int share_of(lua_State *L, struct settings *s)
{
	const char *each = find(s, "connect_timeout");
	int places = s->places ? s->places : push_part(L, ADDRESS, 0);
	double share = each && strtod(each, NULL) > 0 ? strtod(each, NULL) : INT32_MAX;

	if (places > 1 && s->timeout / places < share)
		share = s->timeout / places;
	return share > MS_MOST / 1000.0 ? 0 : share < 0.1 ? 100 : (int)(share * 1000);
}

/*
 * libpq goes on to the next address once the kernel gives one up, and leaves a connect_timeout to those who block.
 * So the kernel is told to give up sooner, until the connection stands.
 */
static void share_time(lua_State *L, struct pg_connection *c, struct settings *s)
{
	int share = share_of(L, s);

	c->silence_ms = -1;
	if (!share)
		return;
	c->silence_ms = (int)strtol(find(s, "tcp_user_timeout"), NULL, 10);
	set(L, s, "tcp_user_timeout", lua_pushfstring(L, "%d", share));
}

static int start_connecting(lua_State *L)
{
	struct pg_connection *c = lua_touserdata(L, CONNECTION);
	struct settings *s = lua_touserdata(L, SETTINGS_AT);

	share_time(L, c, s);
	s->keywords[s->count] = s->values[s->count] = NULL;
	c->pg = PQconnectStartParams((const char *const *)s->keywords, (const char *const *)s->values, 0);
	if (!c->pg)
		return luaL_error(L, "not enough memory");
	if (PQstatus(c->pg) == CONNECTION_BAD)
		return raise_unconnected(L, c);
	PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE); /* else what refuses a login has no code */
	PQsetNoticeReceiver(c->pg, pg_noticed, c);
	c->fd = PQsocket(c->pg);
	return task_wait(L, c->fd, TASK_WRITE, connect_step);
}

/* ---- looking names up, one after the other ---- */

static void append(lua_State *L, int list, const char *text, bool first)
{
	lua_pushfstring(L, "%s%s%s", lua_tostring(L, list), first ? "" : ",", text);
	lua_replace(L, list);
}

/* One place more to try: libpq goes through them in this order, and holds the certificate against the name. */
static void add_place(lua_State *L, struct settings *s, const char *address)
{
	bool first = s->places++ == 0;
	int top = lua_gettop(L);

	luaL_argcheck(L, s->places <= PLACES_MOST, 1, "too many addresses");
	push_part(L, HOST, s->host);
	append(L, HOSTS, lua_tostring(L, -1), first);
	append(L, ADDRESSES, address, first);
	push_part(L, PORT, s->host);
	append(L, PORTS, lua_tostring(L, -1), first);
	lua_settop(L, top);
}

static void add_found(lua_State *L, struct settings *s)
{
	char address[NI_MAXHOST];

	for (struct addrinfo *a = s->found; a; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST) == 0)
			add_place(L, s, address);
	if (s->found)
		uv_freeaddrinfo(s->found);
	s->found = NULL;
	s->host++;
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct resolving *resolving = (struct resolving *)request;
	struct settings *s = resolving->settings;

	if (s) {
		s->resolving = NULL;
		s->found = found;
		if (status < 0)
			s->failure = uv_strerror(status);
		task_wake(resolving->task);
	} else {
		uv_freeaddrinfo(found);
	}
	free(resolving);
}

static void start_resolving(lua_State *L, struct settings *s, const char *name)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct resolving *resolving = malloc(sizeof *resolving);
	int rc;

	if (!resolving)
		luaL_error(L, "not enough memory");
	resolving->settings = s;
	resolving->task = task_current(L);
	rc = uv_getaddrinfo(task_loop(), &resolving->request, resolved, name, NULL, &hints);
	if (rc < 0) {
		free(resolving);
		s->failure = uv_strerror(rc);
		return;
	}
	s->resolving = resolving;
}

static int raise_unresolved(lua_State *L, struct settings *s)
{
	const char *host = lua_tostring(L, HOST), *why = s->failure ? s->failure : "it has no address";

	error_push(L, "connect", "%s: the name cannot be resolved: %s", host, why);
	lua_pushstring(L, host);
	lua_setfield(L, -2, "host");
	return lua_error(L);
}

static int take_places(lua_State *L, struct settings *s)
{
	if (!s->places)
		return raise_unresolved(L, s);
	set(L, s, "host", lua_tostring(L, HOSTS));
	set(L, s, "hostaddr", lua_tostring(L, ADDRESSES));
	set(L, s, "port", lua_tostring(L, PORTS));
	return start_connecting(L);
}

static int resolve_step(lua_State *L)
{
	struct settings *s = lua_touserdata(L, SETTINGS_AT);
	const char *name;
	int count;

	for (;;) {
		if (s->resolving)
			return task_park(L, resolve_step);
		if (s->looking)
			add_found(L, s);
		s->looking = false;
		lua_settop(L, STACK);
		count = push_part(L, HOST, s->host);
		name = lua_tostring(L, -1);
		if (s->host == count)
			return take_places(L, s);
		if (*name == '/' || *name == '@' || !*name) { /* a socket of this machine */
			add_place(L, s, "");
			s->host++;
			continue;
		}
		s->looking = true;
		start_resolving(L, s, name);
	}
}

static double timeout_of(lua_State *L)
{
	double seconds = PG_CONNECT_MS / 1000.0;

	if (lua_istable(L, 2)) {
		lua_getfield(L, 2, "timeout");
		seconds = luaL_optnumber(L, -1, seconds);
		lua_pop(L, 1);
	}
	return seconds;
}

/*
 * connect(settings [, {timeout = 15}]) -> connection. The settings are libpq's; nothing is sent before all is
 * checked.
 */
int pg_connect(lua_State *L)
{
	static const char *const names[] = {"timeout", NULL};
	struct pg_connection *c;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	error_check_options(L, 2, names);
	read_settings(L)->timeout = timeout_of(L);
	c = lua_newuserdatauv(L, sizeof *c, 0);
	memset(c, 0, sizeof *c);
	c->fd = -1;
	luaL_setmetatable(L, PG_CONNECTION);
	lua_insert(L, CONNECTION);
	lua_toclose(L, SETTINGS_AT);
	pg_begin(L, c);
	push_places(L, lua_touserdata(L, SETTINGS_AT));
	for (int i = 0; i < 3; i++)
		lua_pushliteral(L, "");
	task_deadline(L, OPTIONS, PG_CONNECT_MS);
	if (*lua_tostring(L, ADDRESS) || !*lua_tostring(L, HOST))
		return start_connecting(L);
	return resolve_step(L);
}

void pg_connect_open(lua_State *L)
{
	luaL_newmetatable(L, SETTINGS);
	lua_pushcfunction(L, settings_free);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__gc");
	lua_setfield(L, -2, "__close");
	lua_pop(L, 1);
}
