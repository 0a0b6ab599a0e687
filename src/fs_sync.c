/* native.fs: what was written to many files made durable together, in a thread, so that other tasks go on meanwhile. */
#include "error.h"
#include "fs.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAITER "fs.waiter"

enum { PATHS = 1, WAITING = 2, SYNC_MS = 3600000 };

/* Whoever is last frees it: the thread's end, or its waiter. */
struct syncing {
	uv_work_t work;
	char **paths;
	size_t count, at; /* at: the one that failed */
	int problem;      /* errno; 0: none */
	bool running;
	atomic_bool unwanted;
	struct task *task; /* NULL once nobody waits */
};

static void syncing_free(struct syncing *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->paths[i]);
	free(s->paths);
	free(s);
}

static int open_to_sync(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* Has the system begin to write, so that no file is waited for alone. */
static void begin_to_write(const char *path)
{
	int fd = open_to_sync(path);

	if (fd < 0)
		return; /* the second pass says so */
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	close(fd);
}

static int sync_one(const char *path)
{
	int fd = open_to_sync(path), problem = 0;

	if (fd < 0)
		return errno;
	if (fsync(fd) != 0)
		problem = errno;
	close(fd);
	return problem;
}

/* In the thread. */
static void sync_all(uv_work_t *work)
{
	struct syncing *s = work->data;

	for (size_t i = 0; i < s->count && !s->unwanted; i++)
		begin_to_write(s->paths[i]);
	for (; s->at < s->count && !s->unwanted; s->at++)
		if ((s->problem = sync_one(s->paths[s->at])))
			return;
}

static void syncing_ended(uv_work_t *work, int status)
{
	struct syncing *s = work->data;

	(void)status;
	s->running = false;
	if (s->task)
		task_wake(s->task);
	else
		syncing_free(s);
}

static int waiter_close(lua_State *L)
{
	struct syncing **waiter = lua_touserdata(L, 1), *s = *waiter;

	*waiter = NULL;
	if (!s)
		return 0;
	s->task = NULL;
	s->unwanted = true;
	if (!s->running)
		syncing_free(s);
	return 0;
}

static int sync_step(lua_State *L)
{
	struct syncing *s = *(struct syncing **)lua_touserdata(L, WAITING);

	if (s->running)
		return task_park(L, sync_step);
	return s->problem ? fs_fail(L, s->problem, "sync", s->paths[s->at]) : 0;
}

static void take_paths(lua_State *L, struct syncing *s)
{
	size_t count = lua_rawlen(L, PATHS);

	s->paths = calloc(count + 1, sizeof *s->paths);
	if (!s->paths)
		luaL_error(L, "not enough memory");
	for (; s->count < count; s->count++) {
		lua_rawgeti(L, PATHS, (lua_Integer)s->count + 1);
		s->paths[s->count] = strdup(fs_check_path(L, lua_gettop(L)));
		if (!s->paths[s->count])
			luaL_error(L, "not enough memory");
		lua_pop(L, 1);
	}
}

/* sync(paths [, {timeout}]): files and folders; once it returns, their bytes and entries outlive a loss of power. */
static int fs_sync(lua_State *L)
{
	static const char *const names[] = {"timeout", NULL};
	struct syncing **waiter, *s;

	luaL_checktype(L, PATHS, LUA_TTABLE);
	error_check_options(L, 2, names);
	task_deadline(L, 2, SYNC_MS);
	lua_settop(L, PATHS);
	waiter = lua_newuserdatauv(L, sizeof *waiter, 0);
	*waiter = NULL;
	luaL_setmetatable(L, WAITER);
	lua_toclose(L, WAITING);
	*waiter = s = calloc(1, sizeof *s);
	if (!s)
		return luaL_error(L, "not enough memory");
	s->work.data = s;
	take_paths(L, s);
	if (uv_queue_work(task_loop(), &s->work, sync_all, syncing_ended) != 0)
		return luaL_error(L, "no worker thread");
	s->running = true;
	s->task = task_current(L);
	return sync_step(L);
}

void fs_sync_open(lua_State *L)
{
	fs_add_type(L, WAITER, waiter_close);
	lua_pop(L, 1);
	lua_pushcfunction(L, fs_sync);
	lua_setfield(L, -2, "sync");
}
