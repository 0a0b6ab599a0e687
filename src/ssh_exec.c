/* Starts a command or a subsystem on an ssh session. */
#include "error.h"
#include "ssh.h"
#include "task.h"

#include <lauxlib.h>
#include <string.h>

#define OPENING "ssh.opening"

enum { START_MS = 60 * 1000 };

/* The channel until its stream is handed over: a task that ends before leaves nothing behind. */
static int opening_close(lua_State *L)
{
	struct ssh_channel **slot = lua_touserdata(L, 1), *c = *slot;
	struct ssh_session *s;

	*slot = NULL;
	if (!c)
		return 0;
	s = c->session;
	ssh_channel_abandon(c);
	ssh_release(s);
	return 0;
}

/* What was never asked for has certainly not happened. */
static int start_failed(lua_State *L, struct ssh_channel *c)
{
	const char *kind = !c->requested ? "connect" : ssh_lost(c->session) ? "lost" : "denied";

	return error_raise(L, kind, "the %s could not be started: %s", c->subsystem ? "subsystem" : "command",
			   ssh_channel_failure(c));
}

/* Stack: session, text, options, the channel's slot. */
static int start_step(lua_State *L)
{
	struct ssh_channel **slot = lua_touserdata(L, 4), *c = *slot;

	if (c->state > SSH_ENDED || (ssh_lost(c->session) && c->state != SSH_ENDED))
		return start_failed(L, c);
	if (c->state < SSH_RUNNING)
		return task_wait(L, c->session->bell, TASK_READ, start_step);
	ssh_stream_push(L, c);
	*slot = NULL;
	return 1;
}

static int option(lua_State *L, const char *name, int otherwise)
{
	int value = otherwise;

	if (lua_istable(L, 3) && lua_getfield(L, 3, name) != LUA_TNIL)
		value = lua_toboolean(L, -1);
	lua_settop(L, 3);
	return value;
}

/*
 * sshd makes the shell of a command a session and group leader: its process id is all that is needed to end it. The login
 * shell may be of any kind, so it only starts sh.
 */
static void wrap_for_pid(lua_State *L)
{
	luaL_Buffer text;

	luaL_buffinit(L, &text);
	luaL_addstring(&text, "exec sh -c 'echo $$\n");
	luaL_addgsub(&text, lua_tostring(L, 2), "'", "'\\''");
	luaL_addchar(&text, '\'');
	luaL_pushresult(&text);
	lua_replace(L, 2);
}

static int start(lua_State *L, struct ssh_session *s, int subsystem)
{
	int pty = option(L, "pty", 0), pid = !subsystem && !pty && option(L, "pid", 1);
	struct ssh_channel **slot, *c;

	if (pid)
		wrap_for_pid(L);
	slot = lua_newuserdatauv(L, sizeof *slot, 0);
	*slot = NULL;
	luaL_setmetatable(L, OPENING);
	lua_toclose(L, 4);
	c = *slot = ssh_channel_new(s, lua_tostring(L, 2), lua_rawlen(L, 2));
	if (!c)
		return luaL_error(L, "not enough memory");
	s->uses++;
	c->wanted = 1;
	c->subsystem = subsystem;
	c->pty = pty;
	c->pid_awaited = pid;
	task_deadline(L, 3, START_MS);
	ssh_turn(s);
	return start_step(L);
}

static struct ssh_session *open_session(lua_State *L)
{
	struct ssh_session *s = ssh_session_check(L);

	luaL_argcheck(L, s->authenticated, 1, "the session is not authenticated");
	return s;
}

static void check_text(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 2, &length);

	luaL_argcheck(L, strlen(text) == length, 2, "has a NUL in it");
	lua_settop(L, 3);
}

/*
 * session:exec(text [, { reads, pty, pid, timeout }]) -> stream. reads: it changes nothing. pid: whether stream:pid() and
 * ending the command work (default; not with a pty, whose end does that). timeout: of the start alone, in seconds.
 */
int ssh_session_exec(lua_State *L)
{
	static const char *const options[] = {"reads", "pty", "pid", "timeout", NULL};
	struct ssh_session *s = open_session(L);

	check_text(L);
	error_check_options(L, 3, options);
	if (!option(L, "reads", 0))
		task_may_change(L, "ssh.exec");
	return start(L, s, 0);
}

/* session:subsystem(name [, { timeout }]) -> stream, such as "sftp", whose requests say what they change */
int ssh_session_subsystem(lua_State *L)
{
	static const char *const options[] = {"timeout", NULL};
	struct ssh_session *s = open_session(L);

	check_text(L);
	error_check_options(L, 3, options);
	return start(L, s, 1);
}

void ssh_exec_register(lua_State *L)
{
	luaL_newmetatable(L, OPENING);
	lua_pushcfunction(L, opening_close);
	lua_setfield(L, -2, "__close");
	lua_pushcfunction(L, opening_close);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
