/* Connecting an ssh session: its options, and the key exchange over whatever connection there is. */
#include "error.h"
#include "ssh.h"
#include "task.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONNECTING "ssh.connecting"

enum {
	CONNECT_MS = 30 * 1000,
	KEEPALIVE_LEAST_MS = 2000, /* libssh2 sends none more often */
};

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

/* ---- the key exchange ---- */

int ssh_connect_raise(lua_State *L, struct ssh_session *s, const char *why)
{
	int numeric = !*s->peer || !strcmp(s->peer, s->host);
	const char *format = numeric ? "%s%s port %d: %s" : "%s (%s) port %d: %s";

	return error_raise(L, "connect", format, s->host, numeric ? "" : s->peer, s->port, why);
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
	return ssh_connect_raise(L, s, why);
}

int ssh_connect_step(lua_State *L)
{
	struct ssh_session *s = ssh_session_open(L), *root = s;
	int rc;

	while (root->carrier)
		root = root->carrier->session;
	if (s->carrier && s->carrier->state == SSH_GONE)
		return handshake_failed(L, s, 0);
	if (root->fd < 0)
		return ssh_connect_raise(L, s, "the jump host's connection is closed");
	rc = libssh2_session_handshake(s->ssh, root->fd);
	ssh_settle(s);
	if (rc == LIBSSH2_ERROR_EAGAIN && !ssh_lost(s))
		return task_wait(L, s->bell, TASK_READ, ssh_connect_step);
	if (rc)
		return handshake_failed(L, s, rc);
	*(struct ssh_session ***)lua_touserdata(L, GUARD) = NULL;
	lua_settop(L, 1);
	return 1;
}

/* ---- the options ---- */

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
	s->keepalive_ms = (int)(luaL_optnumber(L, -1, s->keepalive_ms / 1000.0) * 1000);
	lua_getfield(L, 2, "keepalive_count");
	s->keepalive_most = (int)luaL_optinteger(L, -1, s->keepalive_most);
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
int ssh_connect(lua_State *L)
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
	s = ssh_session_new(L, 1);
	guard_connecting(L);
	set_peer(L, s);
	set_algorithms(L, s);
	set_keepalive(L, s);
	through = carrier_option(L);
	command = text_option(L, "command");
	if (through)
		return ssh_proxy_through(L, s, through);
	if (command)
		return ssh_proxy_command(L, s, command);
	return ssh_socket_connect(L, s);
}
