/* Preemption: a task that computes for long lets others run. */
#include "task_state.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

/*
 * A hook that is always there would make Lua half as fast, for it is asked at each instruction. So it is set when a tick
 * of this thread's own processor time finds a task at work that was at work at the tick before. Lua allows that from a
 * signal. In virtual time nothing may depend on the machine's speed, and a system may have no timer to give: then
 * instructions are counted.
 */
enum { TICK_MS = 10, COUNTED_TURN = 1000000 /* instructions */ };

#define TICK (SIGRTMIN + 3)

static struct {
	lua_State *volatile L; /* of the task that runs; NULL: none does */
	volatile unsigned turn, seen;
	int ticking; /* 0: there is no timer */
} running;

static int counting(void)
{
	return task_virtual() || !running.ticking;
}

/* The hook. */
static void give_way(lua_State *L, lua_Debug *frame)
{
	struct task *t = *task_slot(L);

	(void)frame;
	if (!counting())
		lua_sethook(L, NULL, 0, 0); /* where it cannot wait now, the next tick asks again */
	if (!t || t->L != L || !lua_isyieldable(L))
		return;
	task_check_cancelled(L, t);
	task_advance(0.001); /* else a busy task would stop the tests' clock */
	task_enqueue(t);
	lua_yield(L, 0);
}

/* Another's hook is left alone. Without a mask it is ours, of a tick that came while Lua took it away. */
static void set_hook(lua_State *L, int turn)
{
	lua_Hook hook = lua_gethook(L);

	if (!hook || (hook == give_way && !lua_gethookmask(L)))
		lua_sethook(L, give_way, LUA_MASKCOUNT, turn);
}

static void ticked(int number)
{
	lua_State *L = running.L;

	(void)number;
	if (L && running.seen == running.turn && !counting())
		set_hook(L, 1);
	running.seen = running.turn;
}

void task_preempt_begin(lua_State *L)
{
	if (counting())
		set_hook(L, COUNTED_TURN);
	running.turn++;
	running.L = L;
}

void task_preempt_end(void)
{
	running.L = NULL;
}

void task_preempt_open(void)
{
	struct sigaction action = {.sa_handler = ticked, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK};
	struct itimerspec every = {.it_interval.tv_nsec = TICK_MS * 1000000, .it_value.tv_nsec = TICK_MS * 1000000};
	timer_t timer;

	event._sigev_un._tid = gettid();
	sigaction(TICK, &action, NULL);
	running.ticking = timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0 &&
			  timer_settime(timer, 0, &every, NULL) == 0;
}
