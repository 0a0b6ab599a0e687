/* native.signal: waiting for signals that a person or the system sends to neap. */
#include "error.h"
#include "task.h"

#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#define TYPE "signal.wait"

static const struct {
	const char *name;
	int number;
} known[] = {{"INT", SIGINT}, {"TERM", SIGTERM}, {"HUP", SIGHUP}, {"WINCH", SIGWINCH}};

enum { KNOWN = sizeof known / sizeof *known };

/* Handles stay with the loop once a signal was waited for, so that none is lost between two waits. */
static struct {
	uv_signal_t handle;
	int started, pending;
} signals[KNOWN];

static struct task *waiting; /* NULL while nobody waits */

static void signal_came(uv_signal_t *handle, int number)
{
	(void)number;
	signals[(size_t)handle->data].pending++;
	if (waiting)
		task_wake(waiting);
}

static int find(lua_State *L, const char *name)
{
	for (int i = 0; i < KNOWN; i++)
		if (!strcmp(known[i].name, name))
			return i;
	return luaL_error(L, "no signal named %s can be waited for", name);
}

static void start(size_t i)
{
	if (signals[i].started)
		return;
	signals[i].started = 1;
	uv_signal_init(task_loop(), &signals[i].handle);
	signals[i].handle.data = (void *)i;
	uv_signal_start(&signals[i].handle, signal_came, known[i].number);
}

static int wait_ended(lua_State *L)
{
	(void)L;
	waiting = NULL;
	return 0;
}

/* Index 2 holds the list of names. */
static int wait_step(lua_State *L)
{
	for (int i = 1; lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
		int which = find(L, lua_tostring(L, -1));

		if (signals[which].pending > 0) {
			signals[which].pending--;
			return 1;
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return task_park(L, wait_step);
}

/* signal.wait({ "INT", "TERM", … }) -> name. One task at a time waits; what came meanwhile is told first. */
static int signal_wait(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	if (waiting)
		return luaL_error(L, "another task waits for signals");
	for (int i = 1; lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
		start(find(L, lua_tostring(L, -1)));
		lua_pop(L, 1);
	}
	lua_settop(L, 1);
	lua_newuserdatauv(L, 0, 0);
	luaL_setmetatable(L, TYPE);
	lua_insert(L, 1);
	lua_toclose(L, 1);
	waiting = task_current(L);
	task_deadline(L, 3, INT32_MAX);
	return wait_step(L);
}

int luaopen_signal(lua_State *L)
{
	static const luaL_Reg functions[] = {{"wait", signal_wait}, {NULL, NULL}};
	static const luaL_Reg methods[] = {{"__close", wait_ended}, {NULL, NULL}};

	luaL_newmetatable(L, TYPE);
	luaL_setfuncs(L, methods, 0);
	luaL_newlib(L, functions);
	return 1;
}
