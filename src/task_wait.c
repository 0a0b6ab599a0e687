/* Waiting and waking: a task goes on when what it waits for has come, at its deadline, or when it is cancelled. */
#include "error.h"
#include "task_state.h"

#include <lauxlib.h>

struct task *task_current(lua_State *L)
{
	struct task *t = *task_slot(L);

	if (!t || t->L != L)
		luaL_error(L, "this call waits: use it inside a task, and not in a coroutine of your own");
	return t;
}

static void leave_joined(struct task *t)
{
	struct task **at = &t->joined->joiners;

	while (*at != t)
		at = &(*at)->next_joiner;
	*at = t->next_joiner;
	t->joined = NULL;
}

void task_wake(struct task *t)
{
	if (!t->parked)
		t->woken = 1;
	if (!t->parked || t->ready)
		return;
	t->parked = 0;
	task_timer_remove(t);
	if (t->watch)
		task_watch_leave(t);
	if (t->joined)
		leave_joined(t);
	task_enqueue(t);
}

void task_cancel(struct task *t)
{
	if (t->done)
		return;
	t->cancelled = 1;
	if (!t->shield)
		task_wake(t);
}

void task_check_cancelled(lua_State *L, struct task *t)
{
	if (t->cancelled && !t->shield)
		error_raise(L, "cancelled", "cancelled");
}

static int resumed(lua_State *L, int status, lua_KContext context)
{
	struct task *t = (struct task *)context;

	(void)status;
	t->woken = 0;
	task_check_cancelled(L, t);
	return t->step(L);
}

double task_earlier(double a, double b)
{
	return !a ? b : !b ? a : a < b ? a : b;
}

int task_suspend(lua_State *L, struct task *t, lua_CFunction step)
{
	if (!lua_isyieldable(L))
		return luaL_error(L, "this call waits, which is impossible inside a sort, a gsub or a metamethod of C");
	if (t->timed_out) {
		t->timed_out = 0;
		return error_raise(L, "timeout", "timed out");
	}
	t->step = step;
	t->parked = 1;
	t->wake_at = task_earlier(t->deadline, t->limit);
	if (t->wake_at)
		task_timer_add(t);
	return lua_yieldk(L, 0, (lua_KContext)t, resumed);
}

/* A task that is woken again and again has no timer when its deadline comes: it notes that itself. */
static void note_deadline(struct task *t)
{
	double at = task_earlier(t->deadline, t->limit);

	if (at && at <= task_now())
		t->timed_out = 1;
}

int task_park(lua_State *L, lua_CFunction step)
{
	struct task *t = task_current(L);

	task_check_cancelled(L, t);
	note_deadline(t);
	if (t->woken) {
		t->woken = 0;
		return step(L);
	}
	return task_suspend(L, t, step);
}

int task_wait(lua_State *L, int fd, int events, lua_CFunction step)
{
	struct task *t = task_current(L);

	task_check_cancelled(L, t);
	note_deadline(t);
	if (t->timed_out || !lua_isyieldable(L))
		return task_suspend(L, t, step); /* which raises */
	task_watch(L, t, fd, events);
	t->woken = 0;
	return task_suspend(L, t, step);
}

int task_yield(lua_State *L, lua_CFunction step)
{
	struct task *t = task_current(L);

	task_check_cancelled(L, t);
	note_deadline(t);
	if (t->timed_out || !lua_isyieldable(L))
		return task_suspend(L, t, step); /* which raises */
	t->step = step;
	task_enqueue(t);
	return lua_yieldk(L, 0, (lua_KContext)t, resumed);
}

void task_deadline(lua_State *L, int arg, int default_ms)
{
	struct task *t = task_current(L);
	double seconds = default_ms / 1000.0;

	if (lua_istable(L, arg)) {
		if (lua_getfield(L, arg, "timeout") != LUA_TNIL)
			seconds = luaL_checknumber(L, -1);
		lua_pop(L, 1);
	}
	t->timed_out = t->woken = 0;
	t->deadline = task_now() + seconds;
}
