#ifndef NEAP_TASK_STATE_H
#define NEAP_TASK_STATE_H

#include "task.h"

#include <stddef.h>

/*
 * What the parts of native.task share: task.c (the module), task_loop.c (the loop, its clock, and those that are ready),
 * task_spawn.c (a coroutine from its spawn to its end), task_preempt.c (those that compute for long), task_wait.c (waiting
 * and waking), task_watch.c (descriptors), task_timers.c (who is woken when), task_scope.c (what holds while a function
 * runs: shield, deadline, leave, context).
 */
#define TASK_TYPE "task.handle"

enum { TASK_USES = 3, TASK_THREAD = 1, TASK_CONTEXT = 2, TASK_RESULT = 3 }; /* user values of a task's userdata */

struct watch; /* of task_watch.c */

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

/* Where a coroutine's task is noted: NULL outside of one, and another's in a coroutine that a task made for itself. */
static inline struct task **task_slot(lua_State *L)
{
	return lua_getextraspace(L);
}

/* ---- task_loop.c ---- */

void task_loop_open(void);
void task_enqueue(struct task *t);

/* Whether time is virtual. */
int task_virtual(void);

/* realloc for the loop's own tables, without which there is no going on. */
void *task_grow(void *array, size_t size);

/* ---- task_spawn.c ---- */

/* Takes a function and its arguments from the top of L's stack; leaves the task's userdata there. */
struct task *task_spawn(lua_State *L, int nargs);

/* Goes on with one that is ready, until it waits again or has ended. */
void task_resume(lua_State *L, struct task *t);

/* How many are alive. */
int task_live(void);

/* ---- task_preempt.c ---- */

void task_preempt_open(void);

/* Round what a task does until it waits or has ended. */
void task_preempt_begin(lua_State *L);
void task_preempt_end(void);

/* ---- task_wait.c ---- */

void task_cancel(struct task *t);
void task_check_cancelled(lua_State *L, struct task *t);

/* A park that asks neither for a cancel nor for a wake that came before. Raises a deadline that has passed. */
int task_suspend(lua_State *L, struct task *t, lua_CFunction step);

/* The earlier of two times, of which 0 is none. */
double task_earlier(double a, double b);

/* ---- task_watch.c ---- */

/* Has the task, which is about to be suspended, woken by these events; raises "connect" where that cannot be. */
void task_watch(lua_State *L, struct task *t, int fd, int events);
void task_watch_leave(struct task *t);
void task_watches_free(void);

/* ---- task_timers.c ---- */

/* To be woken at t->wake_at; it must have no timer. */
void task_timer_add(struct task *t);
void task_timer_remove(struct task *t);

/* The one to be woken next, or NULL. */
struct task *task_timer_first(void);
void task_timers_free(void);

/* ---- task_scope.c ---- */

void task_scope_open(lua_State *L); /* its functions, into the table on top */

#endif
