/* native.task: Lua coroutines on a libuv loop; deadlines, cancellation, and the leave to change targets. */
#include "task_state.h"

#include <lauxlib.h>

static struct task *check_task(lua_State *L, int arg)
{
	return luaL_checkudata(L, arg, TASK_TYPE);
}

/* task.spawn(fn, …) -> task: runs it side by side; it inherits context, deadline and leave. */
static int l_spawn(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	task_spawn(L, lua_gettop(L) - 1);
	return 1;
}

static void no_deadline(lua_State *L)
{
	struct task *t = task_current(L);

	t->deadline = 0;
	t->timed_out = 0;
}

static int wait_step(lua_State *L)
{
	struct task *joined = lua_touserdata(L, 1), *t = task_current(L);
	int count;

	if (!joined->done) {
		task_check_cancelled(L, t);
		t->woken = 0;
		if (!t->timed_out && lua_isyieldable(L)) {
			t->joined = joined;
			t->next_joiner = joined->joiners;
			joined->joiners = t;
		}
		return task_suspend(L, t, wait_step);
	}
	lua_getiuservalue(L, 1, TASK_RESULT);
	lua_getfield(L, -1, "n");
	count = (int)lua_tointeger(L, -1);
	luaL_checkstack(L, count, "too many results");
	for (int i = 1; i <= count; i++)
		lua_rawgeti(L, 2, i);
	return count;
}

/* task:wait() -> true, results… | false, error */
static int l_wait(lua_State *L)
{
	check_task(L, 1);
	lua_settop(L, 1);
	no_deadline(L);
	return wait_step(L);
}

/* task:cancel(): raises "cancelled" at its next wait, and at each wait until it has ended. */
static int l_cancel(lua_State *L)
{
	task_cancel(check_task(L, 1));
	return 0;
}

/* task:done() -> boolean */
static int l_done(lua_State *L)
{
	lua_pushboolean(L, check_task(L, 1)->done);
	return 1;
}

static int sleep_step(lua_State *L)
{
	struct task *t = task_current(L);

	t->sleeping = !t->timed_out && task_now() < t->deadline;
	return t->sleeping || t->timed_out ? task_suspend(L, t, sleep_step) : 0;
}

/* task.sleep(seconds) */
static int l_sleep(lua_State *L)
{
	struct task *t = task_current(L);

	t->deadline = task_now() + luaL_checknumber(L, 1);
	t->timed_out = t->woken = 0;
	task_check_cancelled(L, t);
	t->sleeping = 1;
	return task_suspend(L, t, sleep_step);
}

static int yield_step(lua_State *L)
{
	(void)L;
	return 0;
}

/* task.yield(): lets all that are ready run first. */
static int l_yield(lua_State *L)
{
	task_current(L)->deadline = 0;
	return task_yield(L, yield_step);
}

/* task.park(): waits until task:wake(); a wake that came before counts. */
static int l_park(lua_State *L)
{
	no_deadline(L);
	return task_park(L, yield_step);
}

/* task:wake() */
static int l_wake(lua_State *L)
{
	struct task *t = check_task(L, 1);

	if (!t->done)
		task_wake(t);
	return 0;
}

/* task.current() -> task */
static int l_current(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, task_current(L));
	return 1;
}

/* task.now() -> seconds on the clock that sleeps and deadlines follow */
static int l_now(lua_State *L)
{
	lua_pushnumber(L, task_now());
	return 1;
}

/* task.count() -> how many tasks are alive */
static int l_count(lua_State *L)
{
	lua_pushinteger(L, task_live());
	return 1;
}

int luaopen_task(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"spawn", l_spawn},
		{"sleep", l_sleep},
		{"yield", l_yield},
		{"park", l_park},
		{"current", l_current},
		{"now", l_now},
		{"count", l_count},
		{NULL, NULL},
	};
	static const luaL_Reg methods[] = {
		{"wait", l_wait}, {"cancel", l_cancel}, {"done", l_done}, {"wake", l_wake}, {NULL, NULL},
	};

	task_loop_open();
	luaL_newmetatable(L, TASK_TYPE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	task_scope_open(L);
	return 1;
}
