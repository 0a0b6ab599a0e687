/* native.task: Lua coroutines on a libuv loop; deadlines, cancellation, and the leave to change targets. */
#include "task.h"
#include "error.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define TYPE "task.handle"

enum { USES = 3, USE_THREAD = 1, USE_CONTEXT = 2, USE_RESULT = 3 }; /* user values of a task's userdata */
enum { PREEMPT_AFTER = 1000000 };                                   /* Lua instructions */

/* One descriptor of the loop and the tasks that wait for it. Kept until task_unwatch. */
struct watch {
	uv_poll_t poll;
	struct task *waiting;
	int events; /* those the poll was started with; 0: stopped */
};

/* Lives in a Lua userdata, which the registry holds until the task has ended. */
struct task {
	lua_State *L;
	lua_CFunction step;
	struct task *next_ready;
	struct watch *watch;       /* what it waits for, NULL while parked or running */
	struct task *next_waiting; /* of the same watch */
	int events;
	struct task *joined, *joiners, *next_joiner; /* whom it waits for; who waits for it */
	double deadline, limit;                      /* of the operation; of the enclosing deadline(); 0: none */
	double wake_at;
	size_t heap_index; /* 0: no timer */
	int nargs, shield;
	int changes; /* calls that change a target, begun since it got the leave */
	unsigned parked : 1, ready : 1, woken : 1, timed_out : 1, cancelled : 1, sleeping : 1, changing : 1, done : 1;
};

/* The loop's own state; nothing else in the program outlives a run. */
static struct {
	uv_loop_t *loop;
	uv_timer_t timer;
	uv_async_t keep_polling; /* uv_run does not poll unless a referenced handle is active */
	struct watch **watches;  /* by descriptor */
	int watch_slots;
	struct task *ready, **ready_end;
	struct task **heap; /* from index 1, by wake_at */
	size_t heap_count, heap_slots;
	int live;
	int polling; /* the loop runs, and not a task */
	int virtual_clock;
	double virtual_now;
	int change_taken;
} host;

uv_loop_t *task_loop(void)
{
	return host.loop;
}

double task_now(void)
{
	return host.virtual_clock ? host.virtual_now : (double)uv_hrtime() / 1e9;
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

static void *grow(void *array, size_t size)
{
	void *grown = realloc(array, size);

	if (!grown)
		abort(); /* the loop's own tables: there is no going on without them */
	return grown;
}

/* ---- the heap of timers ---- */

static void heap_set(size_t i, struct task *t)
{
	host.heap[i] = t;
	t->heap_index = i;
}

static void heap_up(size_t i)
{
	struct task *t = host.heap[i];

	for (; i > 1 && host.heap[i / 2]->wake_at > t->wake_at; i /= 2)
		heap_set(i, host.heap[i / 2]);
	heap_set(i, t);
}

static void heap_down(size_t i)
{
	struct task *t = host.heap[i];

	for (;;) {
		size_t child = 2 * i;

		if (child > host.heap_count)
			break;
		if (child < host.heap_count && host.heap[child + 1]->wake_at < host.heap[child]->wake_at)
			child++;
		if (host.heap[child]->wake_at >= t->wake_at)
			break;
		heap_set(i, host.heap[child]);
		i = child;
	}
	heap_set(i, t);
}

static void heap_add(struct task *t)
{
	if (host.heap_count + 2 > host.heap_slots) {
		host.heap_slots = host.heap_slots ? host.heap_slots * 2 : 64;
		host.heap = grow(host.heap, host.heap_slots * sizeof *host.heap);
	}
	heap_set(++host.heap_count, t);
	heap_up(host.heap_count);
}

static void heap_remove(struct task *t)
{
	size_t i = t->heap_index;
	struct task *last;

	if (!i)
		return;
	t->heap_index = 0;
	last = host.heap[host.heap_count--];
	if (last == t)
		return;
	heap_set(i, last);
	heap_up(i);
	heap_down(last->heap_index);
}

/* ---- waiting and waking ---- */

struct task *task_current(lua_State *L)
{
	struct task *t = *(struct task **)lua_getextraspace(L);

	if (!t || t->L != L)
		luaL_error(L, "this call waits: use it inside a task, and not in a coroutine of your own");
	return t;
}

static void enqueue(struct task *t)
{
	t->ready = 1;
	t->next_ready = NULL;
	*host.ready_end = t;
	host.ready_end = &t->next_ready;
	if (host.polling)
		uv_stop(host.loop); /* timers fire before the poll, which would otherwise wait all the same */
}

static void watch_update(struct watch *w);

static void leave_watch(struct task *t)
{
	struct task **at = &t->watch->waiting;

	while (*at != t)
		at = &(*at)->next_waiting;
	*at = t->next_waiting;
	t->watch = NULL;
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
	heap_remove(t);
	if (t->watch)
		leave_watch(t);
	if (t->joined)
		leave_joined(t);
	enqueue(t);
}

static void cancel(struct task *t)
{
	if (t->done)
		return;
	t->cancelled = 1;
	if (!t->shield)
		task_wake(t);
}

static void watch_ready(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct task *next;

	for (struct task *t = w->waiting; t; t = next) {
		next = t->next_waiting;
		if (status < 0 || (t->events & events) || (events & UV_DISCONNECT))
			task_wake(t);
	}
	watch_update(w);
}

/* Polls for what the waiting tasks want, and for nothing when there are none. */
static void watch_update(struct watch *w)
{
	int events = 0;

	for (struct task *t = w->waiting; t; t = t->next_waiting)
		events |= t->events;
	if (events == w->events)
		return;
	w->events = events;
	if (events)
		uv_poll_start(&w->poll, events, watch_ready);
	else
		uv_poll_stop(&w->poll);
}

static struct watch *watch_of(int fd)
{
	return fd >= 0 && fd < host.watch_slots ? host.watches[fd] : NULL;
}

static struct watch *watch_make(lua_State *L, int fd)
{
	struct watch *w = watch_of(fd);
	int rc, slots = host.watch_slots;

	if (w)
		return w;
	w = grow(NULL, sizeof *w);
	*w = (struct watch){0};
	rc = uv_poll_init(host.loop, &w->poll, fd);
	if (rc < 0) {
		free(w);
		error_raise(L, "connect", "descriptor %d cannot be watched: %s", fd, uv_strerror(rc));
	}
	w->poll.data = w;
	if (fd >= slots) {
		host.watch_slots = fd + 64;
		host.watches = grow(host.watches, host.watch_slots * sizeof *host.watches);
		memset(host.watches + slots, 0, (host.watch_slots - slots) * sizeof *host.watches);
	}
	host.watches[fd] = w;
	return w;
}

static void watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void task_wake_fd(int fd)
{
	struct watch *w = watch_of(fd);

	while (w && w->waiting)
		task_wake(w->waiting);
}

void task_unwatch(int fd)
{
	struct watch *w = watch_of(fd);

	if (!w)
		return;
	task_wake_fd(fd);
	host.watches[fd] = NULL;
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, watch_closed);
}

static int raise_if_cancelled(lua_State *L, struct task *t)
{
	if (t->cancelled && !t->shield)
		return error_raise(L, "cancelled", "cancelled");
	return 0;
}

static int resumed(lua_State *L, int status, lua_KContext context)
{
	struct task *t = (struct task *)context;

	(void)status;
	t->woken = 0;
	raise_if_cancelled(L, t);
	return t->step(L);
}

static double earlier(double a, double b)
{
	return !a ? b : !b ? a : a < b ? a : b;
}

static int park(lua_State *L, struct task *t, lua_CFunction step)
{
	if (!lua_isyieldable(L))
		return luaL_error(L, "this call waits, which is impossible inside a sort, a gsub or a metamethod of C");
	if (t->timed_out) {
		t->timed_out = 0;
		return error_raise(L, "timeout", "timed out");
	}
	t->step = step;
	t->parked = 1;
	t->wake_at = earlier(t->deadline, t->limit);
	if (t->wake_at)
		heap_add(t);
	return lua_yieldk(L, 0, (lua_KContext)t, resumed);
}

/* A task that is woken again and again has no timer when its deadline comes: it notes that itself. */
static void note_deadline(struct task *t)
{
	double at = earlier(t->deadline, t->limit);

	if (at && at <= task_now())
		t->timed_out = 1;
}

int task_park(lua_State *L, lua_CFunction step)
{
	struct task *t = task_current(L);

	raise_if_cancelled(L, t);
	note_deadline(t);
	if (t->woken) {
		t->woken = 0;
		return step(L);
	}
	return park(L, t, step);
}

int task_wait(lua_State *L, int fd, int events, lua_CFunction step)
{
	struct task *t = task_current(L);
	struct watch *w;

	raise_if_cancelled(L, t);
	note_deadline(t);
	if (t->timed_out || !lua_isyieldable(L))
		return park(L, t, step); /* which raises */
	w = watch_make(L, fd);
	t->woken = 0;
	t->watch = w;
	t->events = events;
	t->next_waiting = w->waiting;
	w->waiting = t;
	watch_update(w);
	return park(L, t, step);
}

int task_yield(lua_State *L, lua_CFunction step)
{
	struct task *t = task_current(L);

	raise_if_cancelled(L, t);
	note_deadline(t);
	if (t->timed_out || !lua_isyieldable(L))
		return park(L, t, step); /* which raises */
	t->step = step;
	enqueue(t);
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

void task_may_change(lua_State *L, const char *what)
{
	struct task *t = *(struct task **)lua_getextraspace(L);

	if (t && t->changing) {
		t->changes++;
		return;
	}
	error_raise(L, "denied", "%s changes its target; it is allowed inside an effect only", what);
}

/* ---- running ---- */

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

	while (host.heap_count && host.heap[1]->wake_at <= now) {
		struct task *t = host.heap[1];

		t->timed_out = !t->sleeping || (t->limit && t->limit <= now && t->limit < t->deadline);
		task_wake(t);
	}
}

/* Lets others run when a task computes for long. */
static void preempt(lua_State *L, lua_Debug *frame)
{
	struct task *t = *(struct task **)lua_getextraspace(L);

	(void)frame;
	if (!t || t->L != L || !lua_isyieldable(L))
		return;
	if (t->cancelled && !t->shield)
		error_raise(L, "cancelled", "cancelled");
	if (host.virtual_clock)
		host.virtual_now += 0.001; /* else a busy task would stop the tests' clock */
	enqueue(t);
	lua_yield(L, 0);
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
	host.live--;
	heap_remove(t);
	lua_rawgetp(L, LUA_REGISTRYINDEX, t);
	lua_createtable(L, count, 1);
	for (int i = 1; i <= count; i++) {
		lua_pushvalue(t->L, i - count - 1);
		lua_xmove(t->L, L, 1);
		lua_rawseti(L, -2, i);
	}
	lua_pushinteger(L, count);
	lua_setfield(L, -2, "n");
	lua_setiuservalue(L, -2, USE_RESULT);
	lua_pushnil(L);
	lua_setiuservalue(L, -2, USE_THREAD);
	lua_pop(L, 1);
	*(struct task **)lua_getextraspace(t->L) = NULL;
	while (t->joiners)
		task_wake(t->joiners);
	lua_pushnil(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, t);
}

static void advance(lua_State *L, struct task *t)
{
	int count, rc, nargs = t->nargs;

	t->ready = 0;
	t->nargs = 0;
	rc = lua_resume(t->L, L, nargs, &count);
	if (rc == LUA_YIELD)
		return;
	if (rc != LUA_OK) { /* only out of memory, or an error in handling errors, comes past body */
		lua_pushboolean(t->L, 0);
		lua_insert(t->L, -2);
		count = 2;
	}
	task_ended(L, t, count);
}

/* Takes a function and its arguments from the top of L's stack; leaves the task's userdata there. */
static struct task *spawn(lua_State *L, int nargs)
{
	struct task *parent = *(struct task **)lua_getextraspace(L), *t = lua_newuserdatauv(L, sizeof *t, USES);

	*t = (struct task){0};
	luaL_setmetatable(L, TYPE);
	t->L = lua_newthread(L);
	lua_setiuservalue(L, -2, USE_THREAD);
	if (parent) {
		lua_rawgetp(L, LUA_REGISTRYINDEX, parent);
		lua_getiuservalue(L, -1, USE_CONTEXT);
		lua_setiuservalue(L, -3, USE_CONTEXT);
		lua_pop(L, 1);
		t->changing = parent->changing;
		parent->changes += parent->changing; /* what it does is the parent's doing */
		t->limit = parent->limit;
	}
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, t);
	lua_insert(L, -nargs - 2);
	*(struct task **)lua_getextraspace(t->L) = t;
	lua_sethook(t->L, preempt, LUA_MASKCOUNT, PREEMPT_AFTER);
	lua_pushcfunction(t->L, body);
	lua_xmove(L, t->L, nargs + 1);
	t->nargs = nargs + 1;
	host.live++;
	enqueue(t);
	return t;
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
		advance(L, t);
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
	double wait;

	if (!host.ready && host.virtual_clock && host.heap_count) {
		if (host.heap[1]->wake_at > host.virtual_now)
			host.virtual_now = host.heap[1]->wake_at;
		run_loop(UV_RUN_NOWAIT);
		return;
	}
	if (!host.ready && host.heap_count) {
		wait = (host.heap[1]->wake_at - task_now()) * 1000 + 0.999;
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
	while (until ? !until->done : host.live > 0) {
		run_ready(L);
		if (until ? until->done : host.live == 0)
			break;
		poll_loop();
		wake_due(); /* after the poll: what lay ready goes first */
	}
}

static void cancel_all(lua_State *L)
{
	for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1)) {
		struct task *t = luaL_testudata(L, -1, TYPE);

		if (t)
			cancel(t);
	}
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, handle->type == UV_POLL ? watch_closed : NULL);
}

/* At the very end, after lua_close: libuv frees nothing by itself. */
static void close_loop(void)
{
	uv_walk(host.loop, close_handle, NULL);
	uv_run(host.loop, UV_RUN_DEFAULT);
	uv_loop_close(host.loop);
	free(host.heap);
	free(host.watches);
}

static void open_loop(void)
{
	host.loop = uv_default_loop();
	host.ready_end = &host.ready;
	uv_timer_init(host.loop, &host.timer);
	uv_async_init(host.loop, &host.keep_polling, async_woken);
	atexit(close_loop);
}

int task_run_main(lua_State *L, int nargs)
{
	struct task *t;
	int ok;

	t = spawn(L, nargs);
	drive(L, t);
	cancel_all(L);
	drive(L, NULL);
	lua_getiuservalue(L, -1, USE_RESULT);
	lua_rawgeti(L, -1, 1);
	ok = lua_toboolean(L, -1);
	lua_rawgeti(L, -2, 2);
	return ok ? LUA_OK : LUA_ERRRUN;
}

/* ---- Lua's side ---- */

static struct task *check_task(lua_State *L, int arg)
{
	return luaL_checkudata(L, arg, TYPE);
}

/* task.spawn(fn, …) -> task: runs it side by side; it inherits context, deadline and leave. */
static int l_spawn(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	spawn(L, lua_gettop(L) - 1);
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
		raise_if_cancelled(L, t);
		t->woken = 0;
		if (!t->timed_out && lua_isyieldable(L)) {
			t->joined = joined;
			t->next_joiner = joined->joiners;
			joined->joiners = t;
		}
		return park(L, t, wait_step);
	}
	lua_getiuservalue(L, 1, USE_RESULT);
	lua_getfield(L, -1, "n");
	count = (int)lua_tointeger(L, -1);
	luaL_checkstack(L, count, "too many results");
	for (int i = 1; i <= count; i++)
		lua_rawgeti(L, 2, i);
	return count;
}

/* task:wait() -> true, results… | false, error */
static int task_join(lua_State *L)
{
	check_task(L, 1);
	lua_settop(L, 1);
	no_deadline(L);
	return wait_step(L);
}

/* task:cancel(): raises "cancelled" at its next wait, and at each wait until it has ended. */
static int task_cancel(lua_State *L)
{
	cancel(check_task(L, 1));
	return 0;
}

/* task:done() -> boolean */
static int task_done(lua_State *L)
{
	lua_pushboolean(L, check_task(L, 1)->done);
	return 1;
}

static int sleep_step(lua_State *L)
{
	struct task *t = task_current(L);

	t->sleeping = !t->timed_out && task_now() < t->deadline;
	return t->sleeping || t->timed_out ? park(L, t, sleep_step) : 0;
}

/* task.sleep(seconds) */
static int l_sleep(lua_State *L)
{
	struct task *t = task_current(L);

	t->deadline = task_now() + luaL_checknumber(L, 1);
	t->timed_out = t->woken = 0;
	raise_if_cancelled(L, t);
	t->sleeping = 1;
	return park(L, t, sleep_step);
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

/* task.count() -> how many tasks are alive */
static int l_count(lua_State *L)
{
	lua_pushinteger(L, host.live);
	return 1;
}

static int return_all(lua_State *L, int status)
{
	if (status != LUA_OK && status != LUA_YIELD)
		return lua_error(L);
	return lua_gettop(L);
}

/* Index 1 holds the limit that was in force before. */
static int shield_ended(lua_State *L, int status, lua_KContext context)
{
	struct task *t = task_current(L);

	(void)context;
	t->shield--;
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
	return shield_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, shield_ended), 0);
}

/* Index 1 holds the limit that was in force before. */
static int deadline_ended(lua_State *L, int status, lua_KContext context)
{
	struct task *t = task_current(L);

	(void)context;
	t->limit = lua_tonumber(L, 1);
	t->timed_out = 0;
	lua_remove(L, 1);
	return return_all(L, status);
}

/* task.deadline(seconds, fn, …) -> results: whatever in fn still waits then raises "timeout". */
static int l_deadline(lua_State *L)
{
	struct task *t = task_current(L);
	double limit = task_now() + luaL_checknumber(L, 1);

	lua_pushnumber(L, t->limit);
	lua_replace(L, 1);
	t->limit = earlier(t->limit, limit);
	return deadline_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, deadline_ended), 0);
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
	if (host.change_taken++)
		return luaL_error(L, "the leave to change has been taken");
	lua_pushcfunction(L, l_change);
	return 1;
}

/* task.context() -> value of the nearest with_context round the call, or nil */
static int l_context(lua_State *L)
{
	struct task *t = *(struct task **)lua_getextraspace(L);

	if (!t)
		return 0;
	lua_rawgetp(L, LUA_REGISTRYINDEX, t);
	lua_getiuservalue(L, -1, USE_CONTEXT);
	lua_remove(L, -2);
	return 1;
}

static void set_context(lua_State *L, int index)
{
	lua_pushvalue(L, index);
	lua_rawgetp(L, LUA_REGISTRYINDEX, task_current(L));
	lua_insert(L, -2);
	lua_setiuservalue(L, -2, USE_CONTEXT);
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
		{"may_change", l_may_change},
		{"changes", l_changes},
		{"shield", l_shield},
		{"deadline", l_deadline},
		{"take_change", l_take_change},
		{"context", l_context},
		{"with_context", l_with_context},
		{NULL, NULL},
	};
	static const luaL_Reg methods[] = {
		{"wait", task_join}, {"cancel", task_cancel}, {"done", task_done}, {"wake", l_wake}, {NULL, NULL},
	};

	open_loop();
	luaL_newmetatable(L, TYPE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
