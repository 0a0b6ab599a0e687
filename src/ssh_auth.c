/* Logging in to an ssh session: which keys are tried, and in what order, is decided in Lua. */
#include "error.h"
#include "ssh.h"
#include "task.h"

#include <lauxlib.h>

enum { AUTH_MS = 120 * 1000 }; /* an agent may ask a person */

/*
 * The calls below are repeated with the same arguments, which lie on the Lua stack, until libssh2 has its answer. Until
 * then the session is busy: a task that was cancelled in between leaves it useless.
 */
static struct ssh_session *begin_auth(lua_State *L, int top)
{
	struct ssh_session *s = ssh_session_check(L);

	if (s->busy)
		error_raise(L, "lost", "an earlier authentication on this session was cut short");
	luaL_checkstring(L, 2);
	lua_settop(L, top);
	s->busy = 1;
	task_deadline(L, top + 1, AUTH_MS);
	return s;
}

/* Returns 1 to wait once more; raises if the connection broke. */
static int auth_waits(lua_State *L, struct ssh_session *s, long rc)
{
	ssh_check(s, rc == LIBSSH2_ERROR_EAGAIN ? 0 : rc);
	ssh_settle(s);
	if (ssh_lost(s))
		error_raise(L, "connect", "%s port %d: the connection broke at authentication: %s", s->host, s->port,
			    s->failure);
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return 1;
	s->busy = 0;
	return 0;
}

/* -> true | false, libssh2's reason */
static int auth_result(lua_State *L, struct ssh_session *s, int rc)
{
	lua_pushboolean(L, rc == 0);
	if (rc == 0) {
		ssh_authenticated(s);
		return 1;
	}
	lua_pushstring(L, ssh_last_error(s));
	return 2;
}

static int methods_step(lua_State *L)
{
	struct ssh_session *s = ssh_session_open(L);
	size_t length;
	const char *user = lua_tolstring(L, 2, &length);
	const char *list = libssh2_userauth_list(s->ssh, user, (unsigned)length);

	if (auth_waits(L, s, list ? 0 : libssh2_session_last_errno(s->ssh)))
		return task_wait(L, s->bell, TASK_READ, methods_step);
	if (list) {
		lua_pushstring(L, list);
		return 1;
	}
	if (!libssh2_userauth_authenticated(s->ssh))
		return error_raise(L, "auth", "%s port %d: %s", s->host, s->port, ssh_last_error(s));
	ssh_authenticated(s);
	return 0;
}

/* session:auth_methods(user) -> "publickey,password" | nil: the server lets the user in without any */
int ssh_session_auth_methods(lua_State *L)
{
	begin_auth(L, 2);
	return methods_step(L);
}

static LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(refuse_to_sign)
{
	(void)session, (void)sig, (void)sig_len, (void)data, (void)data_len, (void)abstract;
	return -1;
}

static int offer_step(lua_State *L)
{
	struct ssh_session *s = ssh_session_open(L);
	size_t length;
	const char *blob = lua_tolstring(L, 3, &length);
	void *unused = NULL;
	int rc = libssh2_userauth_publickey(s->ssh, lua_tostring(L, 2), (const unsigned char *)blob, length, refuse_to_sign,
					    &unused);

	if (auth_waits(L, s, rc))
		return task_wait(L, s->bell, TASK_READ, offer_step);
	lua_pushboolean(L, rc == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED); /* it got as far as signing */
	return 1;
}

/* session:offer(user, blob) -> whether the server would take this public key */
int ssh_session_offer(lua_State *L)
{
	luaL_checkstring(L, 3);
	begin_auth(L, 3);
	return offer_step(L);
}

static int key_step(lua_State *L)
{
	struct ssh_session *s = ssh_session_open(L);
	size_t length;
	const char *user = lua_tolstring(L, 2, &length);
	int rc = libssh2_userauth_publickey_fromfile_ex(s->ssh, user, (unsigned)length, lua_tostring(L, 4),
							lua_tostring(L, 3), lua_tostring(L, 5));

	if (auth_waits(L, s, rc))
		return task_wait(L, s->bell, TASK_READ, key_step);
	return auth_result(L, s, rc);
}

/* session:auth_key(user, private_file [, certificate_file [, passphrase]]) -> true | false, why */
int ssh_session_auth_key(lua_State *L)
{
	luaL_checkstring(L, 3);
	luaL_optstring(L, 4, NULL);
	luaL_optstring(L, 5, NULL);
	begin_auth(L, 5);
	return key_step(L);
}

static int agent_step(lua_State *L)
{
	struct ssh_session *s = ssh_session_open(L);
	struct ssh_agent *agent = lua_touserdata(L, 3);
	size_t length;
	const char *blob = lua_tolstring(L, 4, &length);
	void *signer = agent;
	int rc = libssh2_userauth_publickey(s->ssh, lua_tostring(L, 2), (const unsigned char *)blob, length, ssh_agent_sign,
					    &signer);

	if (!auth_waits(L, s, rc))
		return auth_result(L, s, rc);
	if (ssh_agent_waiting(agent))
		return task_wait(L, ssh_agent_fd(agent), TASK_READ, agent_step);
	return task_wait(L, s->bell, TASK_READ, agent_step);
}

/* session:auth_agent(user, agent, blob) -> true | false, why */
int ssh_session_auth_agent(lua_State *L)
{
	size_t length;
	const char *blob = luaL_checklstring(L, 4, &length);

	ssh_agent_choose(ssh_agent_check(L, 3), blob, length);
	begin_auth(L, 4);
	return agent_step(L);
}
