/* native.dns: questions to name servers that are given, or the system's, by c-ares on the loop. */
#include "error.h"
#include "task.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ASKING "dns.asking"

enum {
	WAIT_MS = 15000,
	TRY_MS = 2000, /* for one server, before the next is asked */
	TRIES = 3,
	TICK_MS = 200, /* how often it is looked whether a try has lasted long enough */
	RECORDS_MAX = 1000,
	NAME_MAX_SHOWN = 253,
};

static const struct type {
	const char *name;
	int number;
} types[] = {
	{"A", ns_t_a}, {"AAAA", ns_t_aaaa}, {"CNAME", ns_t_cname}, {"TXT", ns_t_txt}, {"MX", ns_t_mx}, {"NS", ns_t_ns},
	{"SOA", ns_t_soa}, {"SRV", ns_t_srv}, {"PTR", ns_t_ptr}, {NULL, 0},
};

/* A socket of c-ares, while it has one open; freed when its poll is closed. */
struct watched {
	uv_poll_t poll; /* first: the struct is freed as its handle */
	struct asking *owner; /* NULL once it is being closed */
	ares_socket_t fd;
	struct watched *next;
};

/* One question. c-ares, the polls and the timer point to it, so it is freed when the last of them has let go. */
struct asking {
	ares_channel channel; /* NULL once closed */
	struct watched *watched;
	uv_timer_t timer;
	bool timing, done;
	int status;
	unsigned char *answer;
	int length;
	struct task *waiting;
};

/* What Lua holds. */
struct holder {
	struct asking *asking; /* NULL once closed */
};

/* ---- the loop's side ---- */

static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void unwatch(struct watched *w)
{
	w->owner = NULL;
	uv_close((uv_handle_t *)&w->poll, task_handle_freed);
}

static void socket_ready(uv_poll_t *poll, int status, int events)
{
	struct watched *w = poll->data;
	bool failed = status < 0;

	if (w->owner)
		ares_process_fd(w->owner->channel, failed || events & UV_READABLE ? w->fd : ARES_SOCKET_BAD,
				failed || events & UV_WRITABLE ? w->fd : ARES_SOCKET_BAD);
}

static void timer_due(uv_timer_t *timer)
{
	struct asking *a = timer->data;

	ares_process_fd(a->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* c-ares says which socket it wants watched for what; for nothing when it is about to close it. */
static void socket_wanted(void *context, ares_socket_t fd, int readable, int writable)
{
	struct asking *a = context;
	struct watched **at = &a->watched, *w;
	int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);

	while (*at && (*at)->fd != fd)
		at = &(*at)->next;
	w = *at;
	if (!events && w) {
		*at = w->next;
		unwatch(w);
		return;
	}
	if (!events)
		return;
	if (!w) {
		w = calloc(1, sizeof *w);
		if (!w || uv_poll_init_socket(task_loop(), &w->poll, fd) != 0) {
			free(w);
			return; /* it runs into its time */
		}
		*w = (struct watched){.poll = w->poll, .owner = a, .fd = fd, .next = a->watched};
		w->poll.data = w;
		a->watched = w;
	}
	uv_poll_start(&w->poll, events, socket_ready);
}

static void answered(void *context, int status, int timeouts, unsigned char *bytes, int length)
{
	struct asking *a = context;

	(void)timeouts;
	a->status = status;
	a->done = true;
	if (bytes && length > 0 && (a->answer = malloc((size_t)length))) {
		memcpy(a->answer, bytes, (size_t)length);
		a->length = length;
	}
	if (a->waiting)
		task_wake(a->waiting);
}

/* ---- lifetime ---- */

static int holder_close(lua_State *L)
{
	struct holder *h = luaL_checkudata(L, 1, ASKING);
	struct asking *a = h->asking;

	h->asking = NULL;
	if (!a)
		return 0;
	a->waiting = NULL;
	if (a->channel)
		ares_destroy(a->channel); /* which ends what is asked, and lets go of the sockets */
	a->channel = NULL;
	while (a->watched) {
		struct watched *w = a->watched;

		a->watched = w->next;
		unwatch(w);
	}
	free(a->answer);
	a->answer = NULL;
	if (a->timing) {
		uv_close((uv_handle_t *)&a->timer, timer_closed);
		return 0;
	}
	free(a);
	return 0;
}

static struct asking *new_asking(lua_State *L)
{
	struct holder *h = lua_newuserdatauv(L, sizeof *h, 0);

	h->asking = NULL;
	luaL_setmetatable(L, ASKING);
	h->asking = calloc(1, sizeof *h->asking);
	if (!h->asking)
		luaL_error(L, "not enough memory");
	return h->asking;
}

/* ---- the answer ---- */

/* A reader that never leaves the message: failed stays set. */
struct reader {
	const unsigned char *bytes, *at, *end;
	int length;
	bool failed;
};

static unsigned number(struct reader *r, int size)
{
	unsigned value = 0;

	if (r->end - r->at < size) {
		r->failed = true;
		return 0;
	}
	while (size--)
		value = value << 8 | *r->at++;
	return value;
}

/* Pushes the name that stands there, in lower case as far as it is ASCII; "" where it does not end. */
static void push_name(lua_State *L, struct reader *r)
{
	char *name = NULL;
	long taken = 0;
	luaL_Buffer text;

	if (r->failed || ares_expand_name(r->at, r->bytes, r->length, &name, &taken) != ARES_SUCCESS ||
			taken > r->end - r->at) {
		ares_free_string(name);
		r->failed = true;
		lua_pushliteral(L, "");
		return;
	}
	r->at += taken;
	luaL_buffinitsize(L, &text, strlen(name) + 1);
	for (const char *c = name; *c; c++)
		luaL_addchar(&text, (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c));
	ares_free_string(name);
	luaL_pushresult(&text);
}

static void push_address(lua_State *L, struct reader *r, int family, int size)
{
	char text[INET6_ADDRSTRLEN];

	if (r->end - r->at != size)
		r->failed = true;
	lua_pushstring(L, r->failed ? "" : ares_inet_ntop(family, r->at, text, sizeof text));
}

/* The strings of a TXT record are one text. */
static void push_text(lua_State *L, struct reader *r)
{
	luaL_Buffer text;

	luaL_buffinit(L, &text);
	while (r->at < r->end && !r->failed) {
		unsigned size = number(r, 1);

		if (r->end - r->at < (long)size) {
			r->failed = true;
			break;
		}
		luaL_addlstring(&text, (const char *)r->at, size);
		r->at += size;
	}
	luaL_pushresult(&text);
}

/* Pushes what people write for a record's data: "10 mail.example.org" for MX. */
static void push_value(lua_State *L, struct reader *r, int type)
{
	unsigned first, second, third;

	switch (type) {
	case ns_t_a:
		push_address(L, r, AF_INET, 4);
		return;
	case ns_t_aaaa:
		push_address(L, r, AF_INET6, 16);
		return;
	case ns_t_txt:
		push_text(L, r);
		return;
	case ns_t_mx:
		first = number(r, 2);
		push_name(L, r);
		lua_pushfstring(L, "%d %s", (int)first, lua_tostring(L, -1));
		break;
	case ns_t_srv:
		first = number(r, 2);
		second = number(r, 2);
		third = number(r, 2);
		push_name(L, r);
		lua_pushfstring(L, "%d %d %d %s", (int)first, (int)second, (int)third, lua_tostring(L, -1));
		break;
	case ns_t_soa:
		push_name(L, r);
		push_name(L, r);
		lua_pushfstring(L, "%s %s", lua_tostring(L, -2), lua_tostring(L, -1));
		for (int i = 0; i < 5; i++) {
			lua_pushfstring(L, "%s %I", lua_tostring(L, -1), (LUAI_UACINT)number(r, 4));
			lua_remove(L, -2);
		}
		lua_replace(L, -3);
		lua_pop(L, 1);
		return;
	default:
		push_name(L, r);
		return;
	}
	lua_remove(L, -2);
}

static const char *type_name(int number)
{
	for (const struct type *t = types; t->name; t++)
		if (t->number == number)
			return t->name;
	return NULL;
}

/* Reads one record; pushes { name, type, value, ttl }, or nothing for one of a type that is not known. */
static bool push_record(lua_State *L, struct reader *r)
{
	int top = lua_gettop(L), type;
	struct reader data = *r;
	unsigned ttl, size;

	push_name(L, r);
	type = (int)number(r, 2);
	number(r, 2);
	ttl = number(r, 4);
	size = number(r, 2);
	if (r->failed || r->end - r->at < (long)size || !type_name(type)) {
		r->failed = r->failed || r->end - r->at < (long)size;
		r->at += r->failed ? 0 : size;
		lua_settop(L, top);
		return false;
	}
	data.at = r->at;
	data.end = r->at += size;
	lua_createtable(L, 0, 4);
	lua_insert(L, -2);
	lua_setfield(L, -2, "name");
	push_value(L, &data, type);
	lua_setfield(L, -2, "value");
	lua_pushstring(L, type_name(type));
	lua_setfield(L, -2, "type");
	lua_pushinteger(L, ttl > INT32_MAX ? 0 : ttl); /* as RFC 2181 has it */
	lua_setfield(L, -2, "ttl");
	r->failed = data.failed;
	return true;
}

static int push_records(lua_State *L, const struct asking *a)
{
	struct reader r = {a->answer, a->answer, a->answer + a->length, a->length, false};
	int questions, answers, count = 0;

	number(&r, 4);
	questions = (int)number(&r, 2);
	answers = (int)number(&r, 2);
	number(&r, 4);
	while (questions-- > 0 && !r.failed) {
		push_name(L, &r);
		lua_pop(L, 1);
		number(&r, 4);
	}
	lua_newtable(L);
	while (answers-- > 0 && !r.failed && count < RECORDS_MAX)
		if (push_record(L, &r))
			lua_rawseti(L, -2, ++count);
	if (r.failed || answers > 0)
		return error_raise(L, "protocol", "the answer is none that can be read");
	return 1;
}

/* ---- the question ---- */

static int answer_step(lua_State *L)
{
	struct holder *h = lua_touserdata(L, 1);
	struct asking *a = h->asking;

	a->waiting = NULL;
	if (!a->done) {
		a->waiting = task_current(L);
		return task_park(L, answer_step);
	}
	switch (a->status) {
	case ARES_SUCCESS:
		return push_records(L, a);
	case ARES_ENODATA:
		lua_newtable(L);
		return 1;
	case ARES_ENOTFOUND:
		return error_raise(L, "missing", "there is no such name");
	case ARES_ETIMEOUT:
		return error_raise(L, "timeout", "no name server answered");
	case ARES_ECONNREFUSED:
		return error_raise(L, "connect", "no name server can be reached");
	case ARES_EBADNAME:
		return error_raise(L, "missing", "this can be no name");
	case ARES_EBADRESP:
		return error_raise(L, "protocol", "the answer is none that can be read");
	default:
		return error_raise(L, "remote", "the name server said: %s", ares_strerror(a->status));
	}
}

static int type_number(lua_State *L, const char *name)
{
	for (const struct type *t = types; t->name; t++)
		if (!strcmp(t->name, name))
			return t->number;
	return luaL_error(L, "no type of record is named %s", name);
}

/* servers: "10.0.0.1", "127.0.0.1:5353", "[::1]:53" */
static void set_servers(lua_State *L, struct asking *a)
{
	if (lua_getfield(L, 3, "servers") != LUA_TNIL) {
		lua_Integer count;

		luaL_checktype(L, -1, LUA_TTABLE);
		count = luaL_len(L, -1);
		if (count < 1)
			luaL_error(L, "servers is a list of addresses");
		lua_pushliteral(L, "");
		for (lua_Integer i = 1; i <= count; i++) {
			lua_geti(L, -2, i);
			if (lua_type(L, -1) != LUA_TSTRING || strpbrk(lua_tostring(L, -1), ", "))
				luaL_error(L, "a name server is an address, as in \"10.0.0.1\" or \"127.0.0.1:5353\"");
			lua_pushfstring(L, "%s%s%s", lua_tostring(L, -2), i > 1 ? "," : "", lua_tostring(L, -1));
			lua_replace(L, -3);
			lua_pop(L, 1);
		}
		if (ares_set_servers_ports_csv(a->channel, lua_tostring(L, -1)) != ARES_SUCCESS)
			luaL_error(L, "these are no addresses of name servers: %s", lua_tostring(L, -1));
	}
	lua_settop(L, 4);
}

static void open_channel(lua_State *L, struct asking *a)
{
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP, /* the first that answers counts */
		.timeout = TRY_MS,
		.tries = TRIES,
		.lookups = "b",
		.sock_state_cb = socket_wanted,
		.sock_state_cb_data = a,
	};
	int status;

	lua_getfield(L, 3, "try");
	options.timeout = (int)(luaL_optnumber(L, -1, TRY_MS / 1000.0) * 1000);
	lua_pop(L, 1);
	status = ares_init_options(&a->channel, &options,
			ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS)
		luaL_error(L, "c-ares does not start: %s", ares_strerror(status));
}

/* dns.query(name, type [, {servers, timeout, try}]) -> { { name, type, value, ttl }… }; waits for the answer */
static int dns_query(lua_State *L)
{
	static const char *const keys[] = {"servers", "timeout", "try", NULL};
	size_t length;
	const char *name = luaL_checklstring(L, 1, &length);
	int type = type_number(L, luaL_checkstring(L, 2));
	struct asking *a;

	luaL_argcheck(L, length && length <= NAME_MAX_SHOWN + 1 && strlen(name) == length, 1, "not a name");
	if (lua_isnoneornil(L, 3)) {
		lua_settop(L, 2);
		lua_newtable(L);
	}
	lua_settop(L, 3);
	error_check_options(L, 3, keys);
	a = new_asking(L);
	lua_toclose(L, 4);
	open_channel(L, a);
	set_servers(L, a);
	uv_timer_init(task_loop(), &a->timer);
	a->timer.data = a;
	a->timing = true;
	uv_timer_start(&a->timer, timer_due, TICK_MS, TICK_MS);
	task_deadline(L, 3, WAIT_MS);
	ares_query(a->channel, name, ns_c_in, type, answered, a);
	lua_pushvalue(L, 4);
	lua_replace(L, 1);
	return answer_step(L);
}

int luaopen_dns(lua_State *L)
{
	static const luaL_Reg functions[] = {{"query", dns_query}, {NULL, NULL}};
	static const luaL_Reg metamethods[] = {{"__gc", holder_close}, {"__close", holder_close}, {NULL, NULL}};

	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return luaL_error(L, "c-ares does not start");
	luaL_newmetatable(L, ASKING);
	luaL_setfuncs(L, metamethods, 0);
	luaL_newlib(L, functions);
	return 1;
}
