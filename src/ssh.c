/* native.ssh: ssh sessions over libssh2: connecting, the host's key, authentication. Trust is decided in Lua. */
#include "ssh.h"
#include "error.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORLD      "ssh.world"
#define CONNECTING "ssh.connecting"

enum {
	CONNECT_MS = 30 * 1000,
	KEEPALIVE_MS = 15 * 1000,
	KEEPALIVE_LEAST_MS = 2000, /* libssh2 sends none more often */
	KEEPALIVE_MOST = 3,
	CHANNELS_MOST = 9, /* sshd allows ten; the tenth place is for what ends a command */
};

/* ---- lifetime ---- */

static void timer_closed(uv_handle_t *handle)
{
	free(handle);
}

static void stop_command(struct ssh_session *s)
{
	if (s->command) {
		s->command->data = NULL;
		kill(-s->command->pid, SIGTERM);
	}
	s->command = NULL;
	if (s->command_error >= 0)
		close(s->command_error);
	s->command_error = -1;
}

static void close_socket(struct ssh_session *s)
{
	ssh_wire_unwatch(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* Lets go of the session that carries this one. */
static void leave_carrier(struct ssh_session *s)
{
	struct ssh_channel *c = s->carrier;
	struct ssh_session *below, **at;

	if (!c)
		return;
	s->carrier = NULL;
	below = c->session;
	for (at = &below->carried; *at != s;)
		at = &(*at)->next_carried;
	*at = s->next_carried;
	ssh_channel_abandon(c);
	ssh_release(below);
}

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
	leave_carrier(s);
	close_socket(s);
	stop_command(s);
	if (s->timer)
		uv_close((uv_handle_t *)s->timer, timer_closed);
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

static struct ssh_session *session_new(lua_State *L, int arg)
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

/* ---- connecting ---- */

/* Stack of ssh.connect: the session, its options, a guard that closes the session unless it comes to be returned. */
enum { GUARD = 3 };

static int guard_close(lua_State *L)
{
	struct ssh_session ***guard = lua_touserdata(L, 1), **slot = *guard, *s;

	*guard = NULL;
	if (!slot || !*slot)
		return 0;
	s = *slot;
	*slot = NULL;
	ssh_release(s);
	return 0;
}

static void guard_connecting(lua_State *L)
{
	struct ssh_session ***guard = lua_newuserdatauv(L, sizeof *guard, 0);

	*guard = lua_touserdata(L, 1);
	if (luaL_newmetatable(L, CONNECTING)) {
		lua_pushcfunction(L, guard_close);
		lua_setfield(L, -2, "__close");
	}
	lua_setmetatable(L, -2);
	lua_toclose(L, GUARD);
}

static int connect_step(lua_State *L);

static int connect_raise(lua_State *L, struct ssh_session *s, const char *why)
{
	int numeric = !*s->peer || !strcmp(s->peer, s->host);
	const char *format = numeric ? "%s%s port %d: %s" : "%s (%s) port %d: %s";

	return error_raise(L, "connect", format, s->host, numeric ? "" : s->peer, s->port, why);
}

/* Faster answers, and a connection that is dead is found to be so within a minute. */
static void set_socket(int fd)
{
	int one = 1, idle = 15, count = 3, unsent_ms = 60 * 1000;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent_ms, sizeof unsent_ms);
}

/* Starts connecting to the next address. If that fails at once, s->failure says why. */
static void try_address(struct ssh_session *s)
{
	struct addrinfo *a = s->address;

	s->address = a->ai_next;
	getnameinfo(a->ai_addr, a->ai_addrlen, s->peer, sizeof s->peer, NULL, 0, NI_NUMERICHOST);
	s->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	*s->failure = 0;
	if (s->fd >= 0)
		set_socket(s->fd);
	if (s->fd < 0 || (connect(s->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS))
		snprintf(s->failure, sizeof s->failure, "%s", strerror(errno));
	else if (ssh_wire_watch(s) < 0)
		snprintf(s->failure, sizeof s->failure, "the socket cannot be watched");
}

/* Until a socket is connected; its failure is that of the last address. */
static int connect_socket_step(lua_State *L)
{
	struct ssh_session *s = ssh_session_open(L);

	if (!s->resolved)
		return task_wait(L, s->bell, TASK_READ, connect_socket_step);
	while (!s->connected) {
		if (s->fd >= 0 && !*s->failure)
			return task_wait(L, s->bell, TASK_READ, connect_socket_step);
		close_socket(s);
		if (!s->address)
			return connect_raise(L, s, *s->failure ? s->failure : "no address");
		try_address(s);
	}
	return connect_step(L);
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
	struct ssh_session *s = request->data;

	free(request);
	if (!s) {
		uv_freeaddrinfo(addresses);
		return;
	}
	s->request = NULL;
	s->resolved = 1;
	s->addresses = s->address = addresses;
	if (status < 0)
		snprintf(s->failure, sizeof s->failure, "the name cannot be resolved: %s", uv_strerror(status));
	ssh_ring(s);
	ssh_release(s);
}

static int resolve(lua_State *L, struct ssh_session *s)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	uv_getaddrinfo_t *request = malloc(sizeof *request);
	char port[16];
	int rc;

	if (!request)
		return luaL_error(L, "not enough memory");
	snprintf(port, sizeof port, "%d", s->port);
	request->data = s;
	s->uses++;
	rc = uv_getaddrinfo(task_loop(), request, resolved, s->host, port, &hints);
	if (rc < 0) {
		free(request);
		s->uses--;
		return connect_raise(L, s, uv_strerror(rc));
	}
	s->request = request;
	return connect_socket_step(L);
}

static void close_process(uv_handle_t *handle)
{
	free(handle);
}

static void command_exited(uv_process_t *process, int64_t status, int signal)
{
	struct ssh_session *s = process->data;

	(void)status, (void)signal;
	if (s)
		s->command = NULL; /* its number may soon be another's */
	uv_close((uv_handle_t *)process, close_process);
}

/* Runs a program whose input and output are the connection. */
static int connect_by_command(lua_State *L, struct ssh_session *s, const char *command)
{
	int ends[2], errors[2], rc;
	char *argv[] = {"sh", "-c", (char *)command, NULL};
	uv_process_t *process = calloc(1, sizeof *process);
	uv_stdio_container_t stdio[3];
	uv_process_options_t options = {
		.exit_cb = command_exited,
		.file = "/bin/sh",
		.args = argv,
		.flags = UV_PROCESS_DETACHED,
		.stdio_count = 3,
		.stdio = stdio,
	};

	if (!process || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		free(process);
		return connect_raise(L, s, strerror(errno));
	}
	s->fd = ends[0];
	if (pipe2(errors, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(process);
		close(ends[1]);
		return connect_raise(L, s, strerror(errno));
	}
	s->command_error = errors[0];
	fcntl(ends[1], F_SETFL, 0); /* the program's end blocks */
	fcntl(errors[1], F_SETFL, 0);
	stdio[0] = stdio[1] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = ends[1]};
	stdio[2] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = errors[1]};
	rc = uv_spawn(task_loop(), process, &options);
	uv_unref((uv_handle_t *)process);
	process->data = s;
	if (rc < 0)
		uv_close((uv_handle_t *)process, close_process);
	else
		s->command = process;
	close(ends[1]);
	close(errors[1]);
	if (rc < 0)
		return connect_raise(L, s, uv_strerror(rc));
	s->connected = 1;
	if (ssh_wire_watch(s) < 0)
		return connect_raise(L, s, "the proxy command cannot be watched");
	return connect_step(L);
}

/* Over a connection that the other session's host makes. */
static int connect_through(lua_State *L, struct ssh_session *s, struct ssh_session *other)
{
	s->carrier = ssh_channel_new(other, s->host, strlen(s->host));
	if (!s->carrier)
		return luaL_error(L, "not enough memory");
	s->carrier->port = s->port;
	s->carrier->wanted = 1;
	s->next_carried = other->carried;
	other->carried = s;
	other->uses++;
	ssh_turn(other);
	return connect_step(L);
}

/* What the proxy command said at its end is the better reason. */
static const char *why_broken(struct ssh_session *s, char text[512])
{
	ssize_t n = s->command_error >= 0 ? read(s->command_error, text, 511) : 0;

	if (s->carrier && *s->carrier->failure)
		return s->carrier->failure;
	if (n <= 0)
		return *s->failure ? s->failure : ssh_last_error(s);
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = 0;
	return text;
}

static int handshake_failed(lua_State *L, struct ssh_session *s, int rc)
{
	char text[512];
	const char *why = why_broken(s, text);

	if (rc == LIBSSH2_ERROR_KEX_FAILURE || rc == LIBSSH2_ERROR_METHOD_NONE)
		why = "no common algorithm for key exchange, host key, cipher or MAC";
	return connect_raise(L, s, why);
}

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

/* The key exchange. The session is the userdata at index 1. */
static int connect_step(lua_State *L)
{
	struct ssh_session *s = ssh_session_open(L), *root = s;
	int rc;

	while (root->carrier)
		root = root->carrier->session;
	if (s->carrier && s->carrier->state == SSH_GONE)
		return handshake_failed(L, s, 0);
	if (root->fd < 0)
		return connect_raise(L, s, "the jump host's connection is closed");
	rc = libssh2_session_handshake(s->ssh, root->fd);
	ssh_settle(s);
	if (rc == LIBSSH2_ERROR_EAGAIN && !ssh_lost(s))
		return task_wait(L, s->bell, TASK_READ, connect_step);
	if (rc)
		return handshake_failed(L, s, rc);
	*(struct ssh_session ***)lua_touserdata(L, GUARD) = NULL;
	lua_settop(L, 1);
	return 1;
}

static const char *text_option(lua_State *L, const char *name)
{
	const char *text = NULL;

	if (lua_getfield(L, 2, name) != LUA_TNIL) {
		luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 1, lua_pushfstring(L, "%s is not a text", name));
		text = lua_tostring(L, -1);
	}
	lua_pop(L, 1);
	return text; /* the table keeps it */
}

static void prefer(lua_State *L, struct ssh_session *s, int method, const char *name, const char *otherwise)
{
	const char *list = text_option(L, name);

	if (!list)
		list = otherwise;
	if (list && libssh2_session_method_pref(s->ssh, method, list))
		error_raise(L, "connect", "none of these is known for %s: %s", name, list);
}

/*
 * Nothing with SHA-1 or CBC unless it is asked for. AES-GCM first: it is the fastest in OpenSSH, and libssh2's own chacha20
 * is portable C.
 */
static void set_algorithms(lua_State *L, struct ssh_session *s)
{
	prefer(L, s, LIBSSH2_METHOD_KEX, "kex",
	       "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,"
	       "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha256,"
	       "diffie-hellman-group14-sha256");
	libssh2_session_method_pref(s->ssh, LIBSSH2_METHOD_SIGN_ALGO, "rsa-sha2-512,rsa-sha2-256");
	for (int side = 0; side <= 1; side++) {
		prefer(L, s, side ? LIBSSH2_METHOD_CRYPT_SC : LIBSSH2_METHOD_CRYPT_CS, "ciphers",
		       "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,"
		       "aes128-ctr,aes192-ctr,aes256-ctr");
		prefer(L, s, side ? LIBSSH2_METHOD_MAC_SC : LIBSSH2_METHOD_MAC_CS, "macs",
		       "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512");
	}
	prefer(L, s, LIBSSH2_METHOD_HOSTKEY, "host_keys",
	       "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256");
}

static void set_keepalive(lua_State *L, struct ssh_session *s)
{
	lua_getfield(L, 2, "keepalive");
	s->keepalive_ms = (int)(luaL_optnumber(L, -1, KEEPALIVE_MS / 1000.0) * 1000);
	lua_getfield(L, 2, "keepalive_count");
	s->keepalive_most = (int)luaL_optinteger(L, -1, KEEPALIVE_MOST);
	lua_pop(L, 2);
	luaL_argcheck(L, s->keepalive_ms >= KEEPALIVE_LEAST_MS, 1, "keepalive is less than 2 s");
}

static void set_peer(lua_State *L, struct ssh_session *s)
{
	const char *host = text_option(L, "host");

	luaL_argcheck(L, host && *host && strlen(host) < sizeof s->host, 1, "host is missing or too long");
	snprintf(s->host, sizeof s->host, "%s", host);
	lua_getfield(L, 2, "port");
	s->port = (int)luaL_optinteger(L, -1, 22);
	lua_pop(L, 1);
}

static struct ssh_session *carrier_option(lua_State *L)
{
	struct ssh_session **slot;

	if (lua_getfield(L, 2, "through") == LUA_TNIL)
		return NULL;
	slot = luaL_checkudata(L, -1, SSH_SESSION);
	luaL_argcheck(L, *slot && (*slot)->authenticated, 1, "`through` is not an open session");
	return *slot;
}

/*
 * ssh.connect { host, port = 22, through = session?, command = text?, host_keys, kex, ciphers, macs = "name,name"?,
 * keepalive = seconds, keepalive_count, timeout } -> session, whose host key nobody has looked at yet. `through` goes over
 * a session to another host, `command` over a program's input and output. Raises `connect`.
 */
static int ssh_connect(lua_State *L)
{
	static const char *const options[] = {"host",    "port", "through", "command", "host_keys", "kex",
					      "ciphers", "macs", "keepalive", "keepalive_count", "timeout", NULL};
	struct ssh_session *s, *through;
	const char *command;

	luaL_checktype(L, 1, LUA_TTABLE);
	error_check_options(L, 1, options);
	lua_settop(L, 1);
	lua_pushnil(L);
	lua_insert(L, 1);
	task_deadline(L, 2, CONNECT_MS);
	s = session_new(L, 1);
	guard_connecting(L);
	set_peer(L, s);
	set_algorithms(L, s);
	set_keepalive(L, s);
	through = carrier_option(L);
	command = text_option(L, "command");
	if (through)
		return connect_through(L, s, through);
	if (command)
		return connect_by_command(L, s, command);
	return resolve(L, s);
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
