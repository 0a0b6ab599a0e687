/* native.ssh: ssh sessions over libssh2: connecting, the host's key, authentication. Trust is decided in Lua. */
#include "ssh.h"
#include "error.h"
#include "task.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WORLD "ssh.world"

enum {
	KEEPALIVE_MS = 15 * 1000, /* unless the options of connect say otherwise, and so the next */
	KEEPALIVE_MOST = 3,
	CHANNELS_MOST = 9, /* sshd allows ten; the tenth place is for what ends a command */
};

/* ---- lifetime ---- */

static void say_goodbye(struct ssh_session *s)
{
	if (s->authenticated && !s->ended) {
		libssh2_session_disconnect(s->ssh, "done");
		ssh_settle(s);
	}
	ssh_break(s, "the session was closed");
}

static void forget(struct ssh_session *s)
{
	struct ssh_session **at = &s->world->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
}

static void shut(struct ssh_session *s)
{
	ssh_tunnels_close(s);
	say_goodbye(s);
	s->in.start = s->in.end;
	s->shutting = 1;
	if (s->ssh)
		libssh2_session_free(s->ssh);
	ssh_channels_free(s);
	s->ssh = NULL;
	ssh_proxy_leave(s);
	ssh_socket_close(s);
	ssh_proxy_stop(s);
	if (s->timer)
		uv_close((uv_handle_t *)s->timer, task_handle_freed);
	if (s->addresses)
		uv_freeaddrinfo(s->addresses);
	if (s->request)
		s->request->data = NULL;
	task_unwatch(s->bell);
	close(s->bell);
	ssh_buffer_free(&s->in);
	ssh_buffer_free(&s->out);
	forget(s);
	free(s);
}

/* A session that nobody uses stays for as long as commands are being ended on it. */
void ssh_release(struct ssh_session *s)
{
	if (--s->uses == 0 && (ssh_lost(s) || !ssh_channels_ending(s)))
		shut(s);
}

/* At the end of the Lua state: what libuv still holds must be closing by then. */
static int world_gc(lua_State *L)
{
	struct ssh_world *world = lua_touserdata(L, 1);

	while (world->sessions) {
		struct ssh_session *s = world->sessions;

		while (s->carried)
			s = s->carried;
		shut(s);
	}
	return 0;
}

struct ssh_session *ssh_session_new(lua_State *L, int arg)
{
	struct ssh_session **slot = lua_newuserdatauv(L, sizeof *slot, 0), *s;

	*slot = NULL;
	luaL_setmetatable(L, SSH_SESSION);
	lua_replace(L, arg);
	s = *slot = calloc(1, sizeof *s);
	if (!s)
		luaL_error(L, "not enough memory");
	s->uses = 1;
	s->fd = s->command_error = -1;
	s->most_channels = CHANNELS_MOST;
	s->keepalive_ms = KEEPALIVE_MS;
	s->keepalive_most = KEEPALIVE_MOST;
	s->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	lua_getfield(L, LUA_REGISTRYINDEX, WORLD);
	s->world = lua_touserdata(L, -1);
	lua_pop(L, 1);
	s->next = s->world->sessions;
	s->world->sessions = s;
	if (s->bell < 0)
		error_raise(L, "connect", "no descriptor for a session: %s", strerror(errno));
	if (!ssh_wire_attach(s))
		luaL_error(L, "not enough memory");
	return s;
}

struct ssh_session *ssh_session_check(lua_State *L)
{
	struct ssh_session **slot = luaL_checkudata(L, 1, SSH_SESSION);

	luaL_argcheck(L, *slot && !(*slot)->closed, 1, "the session is closed");
	return *slot;
}

/* In a step: another task may have closed the session meanwhile. */
struct ssh_session *ssh_session_open(lua_State *L)
{
	struct ssh_session *s = *(struct ssh_session **)lua_touserdata(L, 1);

	if (!s)
		error_raise(L, "lost", "the session was closed meanwhile");
	return s;
}

/* session:close(): its streams report it lost. Commands that are being ended are ended first, behind the scenes. */
static int session_close(lua_State *L)
{
	struct ssh_session **slot = luaL_checkudata(L, 1, SSH_SESSION), *s = *slot;

	*slot = NULL;
	if (!s)
		return 0;
	s->closed = 1;
	ssh_tunnels_close(s);
	if (s->uses > 1 && s->authenticated)
		ssh_channels_close(s);
	ssh_release(s);
	return 0;
}

/* ---- keepalive ---- */

static void keepalive_due(uv_timer_t *timer)
{
	struct ssh_session *s = timer->data;
	int next;

	if (!s->authenticated || s->ended)
		return;
	if (s->unanswered++ >= s->keepalive_most) {
		ssh_break(s, "no answer from the server for %d s", s->keepalive_ms / 1000 * s->keepalive_most);
		s->in.start = s->in.end;
	} else {
		libssh2_keepalive_send(s->ssh, &next);
	}
	ssh_turn(s);
}

static void start_keepalive(struct ssh_session *s)
{
	s->timer = calloc(1, sizeof *s->timer);
	if (!s->timer)
		return;
	uv_timer_init(task_loop(), s->timer);
	s->timer->data = s;
	uv_unref((uv_handle_t *)s->timer);
	libssh2_keepalive_config(s->ssh, 1, 1);
	uv_timer_start(s->timer, keepalive_due, (uint64_t)s->keepalive_ms, (uint64_t)s->keepalive_ms);
}

void ssh_authenticated(struct ssh_session *s)
{
	s->authenticated = 1;
	start_keepalive(s);
}

/* ---- what is known of the server ---- */

/* session:host_key() -> { type = "ssh-ed25519", blob = bytes }, as known_hosts has them */
static int session_host_key(lua_State *L)
{
	struct ssh_session *s = ssh_session_check(L);
	size_t length = 0;
	int type;
	const char *blob = libssh2_session_hostkey(s->ssh, &length, &type);
	size_t name = length > 4 ? (unsigned char)blob[3] : 0; /* the blob begins with its type, as a counted string */

	luaL_argcheck(L, blob && length > 4 + name, 1, "the session has no host key yet");
	lua_createtable(L, 0, 2);
	lua_pushlstring(L, blob + 4, name);
	lua_setfield(L, -2, "type");
	lua_pushlstring(L, blob, length);
	lua_setfield(L, -2, "blob");
	return 1;
}

static void set_text(lua_State *L, const char *name, const char *text)
{
	lua_pushstring(L, text); /* NULL pushes nil */
	lua_setfield(L, -2, name);
}

/* session:facts() -> { host, address?, port, banner, kex, cipher, mac } */
static int session_facts(lua_State *L)
{
	struct ssh_session *s = ssh_session_check(L);

	lua_createtable(L, 0, 7);
	set_text(L, "host", s->host);
	set_text(L, "address", *s->peer ? s->peer : NULL);
	set_text(L, "banner", libssh2_session_banner_get(s->ssh));
	set_text(L, "kex", libssh2_session_methods(s->ssh, LIBSSH2_METHOD_KEX));
	set_text(L, "cipher", libssh2_session_methods(s->ssh, LIBSSH2_METHOD_CRYPT_CS));
	set_text(L, "mac", libssh2_session_methods(s->ssh, LIBSSH2_METHOD_MAC_CS));
	lua_pushinteger(L, s->port);
	lua_setfield(L, -2, "port");
	return 1;
}

/* session:alive() -> boolean; false, why: it broke */
static int session_alive(lua_State *L)
{
	struct ssh_session *s = *(struct ssh_session **)luaL_checkudata(L, 1, SSH_SESSION);

	lua_pushboolean(L, s && !s->ended);
	if (s && !s->ended)
		return 1;
	lua_pushstring(L, s ? s->failure : "the session is closed");
	return 2;
}

/* ---- the module ---- */

#ifdef __SANITIZE_ADDRESS__
/* At each key exchange libssh2 loses the MAC keys that AES-GCM does not need, and the old copy of the host key. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:kex_method_";
}
#endif

static void register_session(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"host_key", session_host_key},
		{"facts", session_facts},
		{"alive", session_alive},
		{"auth_methods", ssh_session_auth_methods},
		{"offer", ssh_session_offer},
		{"auth_key", ssh_session_auth_key},
		{"auth_agent", ssh_session_auth_agent},
		{"exec", ssh_session_exec},
		{"subsystem", ssh_session_subsystem},
		{"tunnel", ssh_session_tunnel},
		{"close", session_close},
		{"__gc", session_close},
		{"__close", session_close},
		{NULL, NULL},
	};

	luaL_newmetatable(L, SSH_SESSION);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

/* Finalized last of all sessions, for it was made first. */
static void register_world(lua_State *L)
{
	struct ssh_world *world = lua_newuserdatauv(L, sizeof *world, 0);

	*world = (struct ssh_world){0};
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, world_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, WORLD);
}

int luaopen_ssh(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"connect", ssh_connect},
		{"agent", ssh_agent_open},
		{"ending", ssh_ending},
		{NULL, NULL},
	};

	if (libssh2_init(0))
		return luaL_error(L, "libssh2 cannot be initialized");
	register_world(L);
	register_session(L);
	ssh_stream_register(L);
	ssh_exec_register(L);
	ssh_tunnel_register(L);
	ssh_agent_register(L);
	luaL_newlib(L, functions);
	return 1;
}
