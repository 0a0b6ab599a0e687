/* A program that was started, as a stream: its three descriptors and its exit. */
#include "process.h"
#include "task.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define TYPE "process.child"

void process_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static ssize_t child_read(struct stream *s, int err, char *buf, size_t n)
{
	struct child *child = (struct child *)s;
	ssize_t count;

	if (child->out[err] < 0)
		return 0;
	do
		count = read(child->out[err], buf, n);
	while (count < 0 && errno == EINTR);
	if (count < 0 && errno == EAGAIN)
		return STREAM_AGAIN;
	if (count > 0)
		return count;
	process_close_fd(&child->out[err]);
	return 0;
}

static ssize_t child_write(struct stream *s, const char *buf, size_t n)
{
	struct child *child = (struct child *)s;
	ssize_t count = -1;

	errno = EPIPE;
	if (child->in >= 0)
		count = write(child->in, buf, n);
	if (count >= 0)
		return count;
	if (errno == EAGAIN || errno == EINTR)
		return STREAM_AGAIN;
	child->failure = "the program reads no more input";
	return STREAM_LOST;
}

static int child_close_input(struct stream *s)
{
	process_close_fd(&((struct child *)s)->in);
	return 0;
}

static int child_exited(struct stream *s, int *status, char signal_name[16])
{
	struct leader *leader = ((struct child *)s)->leader;

	if (!process_leader_exited(leader))
		return 0;
	*signal_name = '\0';
	if (WIFSIGNALED(leader->status))
		snprintf(signal_name, 16, "%s", sigabbrev_np(WTERMSIG(leader->status)) ?: "unknown");
	else
		*status = WEXITSTATUS(leader->status);
	return 1;
}

static void arm(struct child *child, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT, .data.fd = fd};

	if (fd >= 0)
		epoll_ctl(child->events, EPOLL_CTL_MOD, fd, &event);
}

/*
 * Each descriptor reports once and is then armed again by those who still wait for it: so an output that nobody reads
 * does not keep the loop busy. Whoever takes reports wakes all, for they may be another's.
 */
static int child_wait(lua_State *L, struct stream *s, int events, lua_CFunction step)
{
	struct child *child = (struct child *)s;
	struct epoll_event reports[4];

	if (epoll_wait(child->events, reports, 4, 0) > 0)
		task_wake_fd(child->events);
	if (events & TASK_READ) {
		arm(child, child->out[0], EPOLLIN);
		arm(child, child->out[1], EPOLLIN);
		if (!child->leader->exited)
			arm(child, child->pidfd, EPOLLIN);
	}
	if (events & TASK_WRITE)
		arm(child, child->in, EPOLLOUT);
	return task_wait(L, child->events, TASK_READ, step);
}

static void child_wake(struct stream *s)
{
	task_wake_fd(((struct child *)s)->events);
}

static void child_cancel(struct stream *s)
{
	process_leader_end(((struct child *)s)->leader);
}

static void child_close(struct stream *s)
{
	struct child *child = (struct child *)s;
	struct leader *leader = child->leader;

	child->leader = NULL;
	if (child->events >= 0)
		task_unwatch(child->events);
	process_close_fd(&child->in);
	process_close_fd(&child->out[0]);
	process_close_fd(&child->out[1]);
	process_close_fd(&child->pidfd);
	process_close_fd(&child->events);
	if (leader)
		process_leader_release(leader);
}

static const char *child_failure(struct stream *s)
{
	return ((struct child *)s)->failure;
}

static const struct stream_ops child_ops = {
	.read = child_read,
	.write = child_write,
	.close_input = child_close_input,
	.exited = child_exited,
	.wait = child_wait,
	.wake = child_wake,
	.cancel = child_cancel,
	.close = child_close,
	.failure = child_failure,
};

struct child *process_child_new(lua_State *L)
{
	struct child *child = lua_newuserdatauv(L, sizeof *child, 0);

	*child = (struct child){.in = -1, .out = {-1, -1}, .events = -1, .pidfd = -1};
	luaL_setmetatable(L, TYPE);
	child->stream.ops = &child_ops;
	child->leader = process_leader_new(L);
	return child;
}

/* All are in the set from the start, reporting nothing until child_wait arms them. */
static int make_events(struct child *child)
{
	const int fds[] = {child->in, child->out[0], child->out[1], child->pidfd};

	child->events = epoll_create1(EPOLL_CLOEXEC);
	if (child->events < 0)
		return errno;
	for (int i = 0; i < 4; i++) {
		struct epoll_event event = {.events = EPOLLONESHOT, .data.fd = fds[i]};

		if (fds[i] >= 0 && epoll_ctl(child->events, EPOLL_CTL_ADD, fds[i], &event) != 0)
			return errno;
	}
	return 0;
}

int process_child_watch(struct child *child)
{
	child->pidfd = pidfd_open(child->leader->pid, 0);
	return child->pidfd < 0 ? errno : make_events(child);
}

void process_child_give_up(struct child *child)
{
	child->stream.ops = NULL;
	child_close(&child->stream);
}

/* child:leave(): lets the program go on by itself; the stream is closed and nothing is ended. */
static int child_leave(lua_State *L)
{
	struct stream *s = stream_check(L, 1);
	struct child *child = (struct child *)s;

	free(child->leader);
	child->leader = NULL;
	s->ops = NULL;
	child_close(s);
	return 0;
}

void process_child_open(lua_State *L)
{
	stream_newmetatable(L, TYPE);
	lua_pushcfunction(L, child_leave);
	lua_setfield(L, -2, "leave");
	lua_pop(L, 1);
}
