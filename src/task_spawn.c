/* A task's coroutine, from its spawn to its end. */
#include "task_state.h"

#include <lauxlib.h>

static int live;

int task_live(void)
{
	return live;
}

static int body_ended(lua_State *L, int status, lua_KContext context)
{
	(void)context;
	lua_pushboolean(L, status == LUA_OK || status == LUA_YIELD);
	lua_insert(L, 1);
	return lua_gettop(L);
}

/* The bottom of each coroutine: errors are caught here and not by lua_resume, so that __close may still wait. */
static int body(lua_State *L)
{
	return body_ended(L, lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, 0, body_ended), 0);
}

/* Packs the results on top of the coroutine into the task's userdata and lets it go. */
static void task_ended(lua_State *L, struct task *t, int count)
{
	t->done = 1;
	live--;
	task_timer_remove(t);
	lua_rawgetp(L, LUA_REGISTRYINDEX, t);
	lua_createtable(L, count, 1);
	for (int i = 1; i <= count; i++) {
		lua_pushvalue(t->L, i - count - 1);
		lua_xmove(t->L, L, 1);
		lua_rawseti(L, -2, i);
	}
	lua_pushinteger(L, count);
	lua_setfield(L, -2, "n");
	lua_setiuservalue(L, -2, TASK_RESULT);
	lua_pushnil(L);
	lua_setiuservalue(L, -2, TASK_THREAD);
	lua_pop(L, 1);
	*task_slot(t->L) = NULL;
	while (t->joiners)
		task_wake(t->joiners);
	lua_pushnil(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, t);
}

void task_resume(lua_State *L, struct task *t)
{
	int count, rc, nargs = t->nargs;

	t->ready = 0;
	t->nargs = 0;
	task_preempt_begin(t->L);
	rc = lua_resume(t->L, L, nargs, &count);
	task_preempt_end();
	if (rc == LUA_YIELD)
		return;
	if (rc != LUA_OK) { /* only out of memory, or an error in handling errors, comes past body */
		lua_pushboolean(t->L, 0);
		lua_insert(t->L, -2);
		count = 2;
	}
	task_ended(L, t, count);
}

/* What a task has of the one that spawns it. Stack: …, the task's userdata. */
static void inherit(lua_State *L, struct task *t, struct task *parent)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, parent);
	lua_getiuservalue(L, -1, TASK_CONTEXT);
	lua_setiuservalue(L, -3, TASK_CONTEXT);
	lua_pop(L, 1);
	t->changing = parent->changing;
	parent->changes += parent->changing; /* what it does is the parent's doing */
	t->limit = parent->limit;
}

struct task *task_spawn(lua_State *L, int nargs)
{
	struct task *parent = *task_slot(L), *t = lua_newuserdatauv(L, sizeof *t, TASK_USES);

	*t = (struct task){0};
	luaL_setmetatable(L, TASK_TYPE);
	t->L = lua_newthread(L);
	lua_setiuservalue(L, -2, TASK_THREAD);
	if (parent)
		inherit(L, t, parent);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, t);
	lua_insert(L, -nargs - 2);
	*task_slot(t->L) = t;
	lua_pushcfunction(t->L, body);
	lua_xmove(L, t->L, nargs + 1);
	t->nargs = nargs + 1;
	live++;
	task_enqueue(t);
	return t;
}
