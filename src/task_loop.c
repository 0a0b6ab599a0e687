/* The loop: its clock, the tasks that are ready, and the program's first task from its start to the last one's end. */
#include "task_state.h"

#include <lauxlib.h>
#include <stdlib.h>

/*
 * The loop's own state. Nothing else in the program outlives a run, save what the other parts keep for the loop: watches,
 * timers, the count of tasks.
 */
static struct {
	uv_loop_t *loop;
	uv_timer_t timer;
	uv_async_t keep_polling; /* uv_run does not poll unless a referenced handle is active */
	struct task *ready, **ready_end;
	int polling; /* the loop runs, and not a task */
	int virtual_clock;
	double virtual_now;
} host;

uv_loop_t *task_loop(void)
{
	return host.loop;
}

double task_now(void)
{
	return host.virtual_clock ? host.virtual_now : (double)uv_hrtime() / 1e9;
}

int task_virtual(void)
{
	return host.virtual_clock;
}

void task_set_virtual(int on)
{
	host.virtual_now = task_now();
	host.virtual_clock = on;
}

void task_advance(double seconds)
{
	host.virtual_now += seconds;
}

void *task_grow(void *array, size_t size)
{
	void *grown = realloc(array, size);

	if (!grown)
		abort();
	return grown;
}

void task_enqueue(struct task *t)
{
	t->ready = 1;
	t->next_ready = NULL;
	*host.ready_end = t;
	host.ready_end = &t->next_ready;
	if (host.polling)
		uv_stop(host.loop); /* timers fire before the poll, which would otherwise wait all the same */
}

static void timer_fired(uv_timer_t *handle)
{
	(void)handle; /* it only ends the poll; wake_due does the work */
}

static void async_woken(uv_async_t *handle)
{
	(void)handle;
}

static void wake_due(void)
{
	double now = task_now();
	struct task *t;

	while ((t = task_timer_first()) && t->wake_at <= now) {
		t->timed_out = !t->sleeping || (t->limit && t->limit <= now && t->limit < t->deadline);
		task_wake(t);
	}
}

static void run_ready(lua_State *L)
{
	struct task *batch_end = NULL;

	/* only those that are ready now: what they wake waits for the next round, after the poll */
	for (struct task *t = host.ready; t; t = t->next_ready)
		batch_end = t;
	while (batch_end) {
		struct task *t = host.ready;

		host.ready = t->next_ready;
		if (!host.ready)
			host.ready_end = &host.ready;
		if (t == batch_end)
			batch_end = NULL;
		task_resume(L, t);
	}
}

static void run_loop(uv_run_mode mode)
{
	host.polling = 1;
	uv_run(host.loop, mode);
	host.polling = 0;
}

static void poll_loop(void)
{
	const struct task *first = host.ready ? NULL : task_timer_first();
	double wait;

	if (first && host.virtual_clock) {
		if (first->wake_at > host.virtual_now)
			host.virtual_now = first->wake_at;
		run_loop(UV_RUN_NOWAIT);
		return;
	}
	if (first) {
		wait = (first->wake_at - task_now()) * 1000 + 0.999;
		uv_update_time(host.loop);
		/* repeating: uv_run fires what is due before it polls, and would then poll without an end */
		uv_timer_start(&host.timer, timer_fired, wait > 0 ? (uint64_t)wait : 0, 1);
	} else {
		uv_timer_stop(&host.timer);
	}
	run_loop(host.ready ? UV_RUN_NOWAIT : UV_RUN_ONCE);
}

static void drive(lua_State *L, const struct task *until)
{
	while (until ? !until->done : task_live() > 0) {
		run_ready(L);
		if (until ? until->done : task_live() == 0)
			break;
		poll_loop();
		wake_due(); /* after the poll: what lay ready goes first */
	}
}

static void cancel_all(lua_State *L)
{
	for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1)) {
		struct task *t = luaL_testudata(L, -1, TASK_TYPE);

		if (t)
			task_cancel(t);
	}
}

void task_handle_freed(uv_handle_t *handle)
{
	free(handle);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, handle->type == UV_POLL ? task_handle_freed : NULL);
}

/* At the very end, after lua_close: libuv frees nothing by itself. */
static void close_loop(void)
{
	uv_walk(host.loop, close_handle, NULL);
	uv_run(host.loop, UV_RUN_DEFAULT);
	uv_loop_close(host.loop);
	task_timers_free();
	task_watches_free();
}

void task_loop_open(void)
{
	host.loop = uv_default_loop();
	host.ready_end = &host.ready;
	uv_timer_init(host.loop, &host.timer);
	uv_async_init(host.loop, &host.keep_polling, async_woken);
	task_preempt_open();
	atexit(close_loop);
}

int task_run_main(lua_State *L, int nargs)
{
	struct task *t;
	int ok;

	t = task_spawn(L, nargs);
	drive(L, t);
	cancel_all(L);
	drive(L, NULL);
	lua_getiuservalue(L, -1, TASK_RESULT);
	lua_rawgeti(L, -1, 1);
	ok = lua_toboolean(L, -1);
	lua_rawgeti(L, -2, 2);
	return ok ? LUA_OK : LUA_ERRRUN;
}
