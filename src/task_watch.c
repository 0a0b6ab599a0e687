/* The descriptors that tasks wait for: one poll of the loop for each, however many wait. */
#include "error.h"
#include "task_state.h"

#include <stdlib.h>
#include <string.h>

/* One descriptor of the loop and the tasks that wait for it. Kept until task_unwatch. */
struct watch {
	uv_poll_t poll; /* first: the struct is freed as its handle */
	struct task *waiting;
	int events; /* those the poll was started with; 0: stopped */
};

static struct {
	struct watch **by_fd; /* NULL where none is watched */
	int slots;
} watches;

static void watch_update(struct watch *w);

void task_watch_leave(struct task *t)
{
	struct task **at = &t->watch->waiting;

	while (*at != t)
		at = &(*at)->next_waiting;
	*at = t->next_waiting;
	t->watch = NULL;
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
	return fd >= 0 && fd < watches.slots ? watches.by_fd[fd] : NULL;
}

static struct watch *watch_make(lua_State *L, int fd)
{
	struct watch *w = watch_of(fd);
	int rc, slots = watches.slots;

	if (w)
		return w;
	w = task_grow(NULL, sizeof *w);
	*w = (struct watch){0};
	rc = uv_poll_init(task_loop(), &w->poll, fd);
	if (rc < 0) {
		free(w);
		error_raise(L, "connect", "descriptor %d cannot be watched: %s", fd, uv_strerror(rc));
	}
	w->poll.data = w;
	if (fd >= slots) {
		watches.slots = fd + 64;
		watches.by_fd = task_grow(watches.by_fd, watches.slots * sizeof *watches.by_fd);
		memset(watches.by_fd + slots, 0, (watches.slots - slots) * sizeof *watches.by_fd);
	}
	watches.by_fd[fd] = w;
	return w;
}

void task_watch(lua_State *L, struct task *t, int fd, int events)
{
	struct watch *w = watch_make(L, fd);

	t->watch = w;
	t->events = events;
	t->next_waiting = w->waiting;
	w->waiting = t;
	watch_update(w);
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
	watches.by_fd[fd] = NULL;
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, task_handle_freed);
}

void task_watches_free(void)
{
	free(watches.by_fd);
}
