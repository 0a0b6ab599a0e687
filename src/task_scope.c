/* What holds while a function runs: a shield from cancels, a deadline, the leave to change targets, a context. */
#include "error.h"
#include "task_state.h"

#include <lauxlib.h>

static int change_taken; /* for good: who asks later might be a procedure */

static int return_all(lua_State *L, int status)
{
	if (status != LUA_OK && status != LUA_YIELD)
		return lua_error(L);
	return lua_gettop(L);
}

/* ---- shield and deadline ---- */

/* Index 1 holds the limit that was in force before. */
static int limit_ended(lua_State *L, int status, lua_KContext shields)
{
	struct task *t = task_current(L);

	t->shield -= (int)shields;
	t->limit = lua_tonumber(L, 1);
	t->timed_out = 0;
	lua_remove(L, 1);
	return return_all(L, status);
}

/*
 * task.shield(fn, …) -> results: a cancel waits until fn has ended, and the deadlines round it do not reach into it: for
 * what must still be done after either.
 */
static int l_shield(lua_State *L)
{
	struct task *t = task_current(L);

	lua_pushnumber(L, t->limit);
	lua_insert(L, 1);
	t->shield++;
	t->limit = 0;
	t->timed_out = 0;
	return limit_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 1, limit_ended), 1);
}

/* task.deadline(seconds, fn, …) -> results: whatever in fn still waits then raises "timeout". */
static int l_deadline(lua_State *L)
{
	struct task *t = task_current(L);
	double limit = task_now() + luaL_checknumber(L, 1);

	lua_pushnumber(L, t->limit);
	lua_replace(L, 1);
	t->limit = task_earlier(t->limit, limit);
	return limit_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, limit_ended), 0);
}

/* ---- the leave to change ---- */

void task_may_change(lua_State *L, const char *what)
{
	struct task *t = *task_slot(L);

	if (t && t->changing) {
		t->changes++;
		return;
	}
	error_raise(L, "denied", "%s changes its target; it is allowed inside an effect only", what);
}

/* task.may_change(what): raises "denied" outside an effect; for what changes a target and is written in Lua, as fakes are. */
static int l_may_change(lua_State *L)
{
	task_may_change(L, luaL_checkstring(L, 1));
	return 0;
}

/* task.changes() -> how many calls that change a target this task has begun since it last got the leave */
static int l_changes(lua_State *L)
{
	lua_pushinteger(L, task_current(L)->changes);
	return 1;
}

static int change_ended(lua_State *L, int status, lua_KContext before)
{
	task_current(L)->changing = before != 0;
	return return_all(L, status);
}

static int l_change(lua_State *L)
{
	struct task *t = task_current(L);
	lua_KContext before = t->changing;

	t->changing = 1;
	if (!before)
		t->changes = 0;
	return change_ended(L, lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, before, change_ended), before);
}

/*
 * task.take_change() -> change: the function change(fn, …) that calls fn with leave to change targets. It is given out
 * once, to the engine's effects; nobody who asks later gets it.
 */
static int l_take_change(lua_State *L)
{
	if (change_taken++)
		return luaL_error(L, "the leave to change has been taken");
	lua_pushcfunction(L, l_change);
	return 1;
}

/* ---- context ---- */

/* task.context() -> value of the nearest with_context round the call, or nil */
static int l_context(lua_State *L)
{
	struct task *t = *task_slot(L);

	if (!t)
		return 0;
	lua_rawgetp(L, LUA_REGISTRYINDEX, t);
	lua_getiuservalue(L, -1, TASK_CONTEXT);
	lua_remove(L, -2);
	return 1;
}

static void set_context(lua_State *L, int index)
{
	lua_pushvalue(L, index);
	lua_rawgetp(L, LUA_REGISTRYINDEX, task_current(L));
	lua_insert(L, -2);
	lua_setiuservalue(L, -2, TASK_CONTEXT);
	lua_pop(L, 1);
}

/* Index 1 holds the context that was in force before. */
static int context_ended(lua_State *L, int status, lua_KContext unused)
{
	(void)unused;
	set_context(L, 1);
	lua_remove(L, 1);
	return return_all(L, status);
}

/* task.with_context(value, fn, …) -> results: task.context() answers value inside fn and the tasks spawned there. */
static int l_with_context(lua_State *L)
{
	task_current(L);
	l_context(L);
	lua_insert(L, 1);
	set_context(L, 2);
	lua_remove(L, 2);
	return context_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, context_ended), 0);
}

void task_scope_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"shield", l_shield},
		{"deadline", l_deadline},
		{"may_change", l_may_change},
		{"changes", l_changes},
		{"take_change", l_take_change},
		{"context", l_context},
		{"with_context", l_with_context},
		{NULL, NULL},
	};

	luaL_setfuncs(L, functions, 0);
}
