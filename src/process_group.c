/* The end of a process and of its group, which nobody waits for. */
#include "process.h"
#include "task.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEAVING "process.leaving"
#define LEAVING_LIST "process.leaving.list"

enum {
	LEAVE_TICK_MS = 20,
	LEAVE_TICKS = 100, /* from TERM to KILL: 2 s */
};

struct leader *process_leader_new(lua_State *L)
{
	struct leader *leader, **list;

	lua_getfield(L, LUA_REGISTRYINDEX, LEAVING_LIST);
	list = lua_touserdata(L, -1);
	lua_pop(L, 1);
	leader = calloc(1, sizeof *leader);
	if (!leader)
		luaL_error(L, "not enough memory");
	*leader = (struct leader){.list = list, .owned = 1};
	return leader;
}

bool process_leader_exited(struct leader *leader)
{
	if (!leader->exited && waitpid(leader->pid, &leader->status, WNOHANG) == leader->pid)
		leader->exited = 1;
	return leader->exited;
}

/* The number of a group is not given anew while a member lives, so the group outlives its leader under its name. */
static bool group_gone(struct leader *leader)
{
	return process_leader_exited(leader) && kill(-leader->pid, 0) != 0;
}

static void leader_closed(uv_handle_t *handle)
{
	struct leader *leader = handle->data;

	leader->leaving = 0;
	if (!leader->owned)
		free(leader);
}

static void leader_left(struct leader *leader)
{
	struct leader **at = leader->list;

	while (*at != leader)
		at = &(*at)->next;
	*at = leader->next;
	uv_close((uv_handle_t *)&leader->timer, leader_closed);
}

static void leave_tick(uv_timer_t *timer)
{
	struct leader *leader = timer->data;

	leader->ticks++;
	if (leader->ticks == LEAVE_TICKS)
		kill(-leader->pid, SIGKILL);
	if (group_gone(leader) || (leader->ticks > LEAVE_TICKS && process_leader_exited(leader)))
		leader_left(leader);
}

void process_leader_end(struct leader *leader)
{
	if (leader->leaving || process_leader_exited(leader))
		return;
	leader->leaving = 1;
	leader->next = *leader->list;
	*leader->list = leader;
	uv_timer_init(task_loop(), &leader->timer);
	leader->timer.data = leader;
	kill(-leader->pid, SIGTERM);
	uv_timer_start(&leader->timer, leave_tick, LEAVE_TICK_MS, LEAVE_TICK_MS);
}

void process_leader_release(struct leader *leader)
{
	leader->owned = 0;
	if (leader->pid)
		process_leader_end(leader);
	if (!leader->leaving)
		free(leader);
}

/* At the program's end nobody is kept waiting any more: the groups get half a second, then KILL. */
static int leaving_gc(lua_State *L)
{
	struct leader **list = lua_touserdata(L, 1);

	for (int tick = 0; *list; tick++) {
		struct leader *next;

		for (struct leader *leader = *list; leader; leader = next) {
			next = leader->next;
			if (tick >= 50)
				kill(-leader->pid, SIGKILL);
			if (group_gone(leader) || tick > 50)
				leader_left(leader);
		}
		if (*list)
			usleep(10000);
	}
	return 0;
}

void process_group_open(lua_State *L)
{
	struct leader **list = lua_newuserdatauv(L, sizeof *list, 0);

	*list = NULL;
	luaL_newmetatable(L, LEAVING);
	lua_pushcfunction(L, leaving_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, LEAVING_LIST);
}
