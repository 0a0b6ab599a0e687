#ifndef NEAP_TASK_H
#define NEAP_TASK_H

#include <lua.h>
#include <uv.h>

/*
 * A task is one Lua coroutine driven by the loop. C waits in two ways, both as `return task_…(…)`: task_wait for a
 * descriptor, task_park for a library that calls back. Either way step(L) is then called on the same stack, with the
 * operation's state as a userdata at index 1. A cancel is raised before step is called; a deadline that has passed is
 * raised when step wants to wait once more, so that what lay ready is read first. No step handles either.
 */
struct task;

enum { TASK_READ = UV_READABLE, TASK_WRITE = UV_WRITABLE };

/* How long the operation that starts now may take as a whole: options.timeout (seconds) at index arg, or the default. */
void task_deadline(lua_State *L, int arg, int default_ms);

/* Several tasks may wait for one descriptor: each is woken when its events come. */
int task_wait(lua_State *L, int fd, int events, lua_CFunction step);
int task_park(lua_State *L, lua_CFunction step);

/* Lets all that are ready run first: for a step that still finds work after many rounds. */
int task_yield(lua_State *L, lua_CFunction step);

/* Wakes all that wait for fd: for a session whose one reader took bytes that are another's. */
void task_wake_fd(int fd);

/* To be called before fd is closed: wakes its waiters and forgets it. */
void task_unwatch(int fd);

/* For callbacks. A wake that comes before the park is kept: the park then calls step at once. */
struct task *task_current(lua_State *L);
void task_wake(struct task *t);

/* Raises "denied" unless the engine is inside an effect. Every function that changes a target calls it first. */
void task_may_change(lua_State *L, const char *what);

uv_loop_t *task_loop(void);

/*
 * For uv_close: frees the handle, or the allocation that it is the first in. What is left of polls at the end is freed so,
 * too.
 */
void task_handle_freed(uv_handle_t *handle);

/* Seconds on the clock that deadlines and sleeps follow: monotonic, or the tests' virtual one. */
double task_now(void);
void task_set_virtual(int on);
void task_advance(double seconds);

/*
 * Runs the function with its arguments on top of L's stack as the first task until it has ended, then cancels what is
 * left. Leaves its result or error object on the stack; returns LUA_OK or an error status.
 */
int task_run_main(lua_State *L, int nargs);

#endif
