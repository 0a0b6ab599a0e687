/* A channel's bytes, and a command as a stream. */
#include "error.h"
#include "ssh.h"
#include "task.h"

#include <lauxlib.h>
#include <stdio.h>

enum {
	WRITE_MOST = 32000, /* one packet */
	PID_MS = 60 * 1000,
};

const char *ssh_channel_failure(struct ssh_channel *c)
{
	return *c->failure ? c->failure : *c->session->failure ? c->session->failure : "the channel is closed";
}

/* What is not there yet will never be, once the session is lost. */
static int nothing_yet(const struct ssh_channel *c)
{
	return ssh_lost(c->session) ? STREAM_LOST : STREAM_AGAIN;
}

ssize_t ssh_channel_read(struct ssh_channel *c, int err, char *buf, size_t n)
{
	struct ssh_buffer *kept = err ? &c->err : &c->out;
	ssize_t got;

	if (c->state > SSH_ENDED)
		return STREAM_LOST;
	if (c->state < SSH_RUNNING || (!err && c->state == SSH_RUNNING && !ssh_channel_take_pid(c)))
		return nothing_yet(c);
	if (c->state == SSH_ENDED || kept->start < kept->end)
		return (ssize_t)ssh_buffer_take(kept, buf, n);
	got = libssh2_channel_read_ex(c->ch, err, buf, n);
	if (got > 0)
		return got;
	if (got == LIBSSH2_ERROR_EAGAIN || (got == 0 && libssh2_channel_wait_eof(c->ch)))
		return nothing_yet(c);
	if (got == 0)
		return 0;
	ssh_check(c->session, got);
	snprintf(c->failure, sizeof c->failure, "%s", ssh_last_error(c->session));
	return STREAM_LOST;
}

ssize_t ssh_channel_write(struct ssh_channel *c, const char *buf, size_t n)
{
	struct ssh_session *s = c->session;

	if (ssh_lost(s) || s->ended || ssh_channel_ended(c))
		return STREAM_LOST;
	if (c->state != SSH_RUNNING)
		return STREAM_AGAIN;
	ssh_channel_send(c);
	if (c->unsent.start < c->unsent.end || ssh_wire_full(s))
		return STREAM_AGAIN;
	if (n > WRITE_MOST)
		n = WRITE_MOST;
	if (!ssh_buffer_add(&c->unsent, buf, n))
		return STREAM_LOST;
	ssh_channel_send(c);
	return (ssize_t)n;
}

int ssh_channel_end(struct ssh_channel *c)
{
	if (ssh_lost(c->session) || ssh_channel_ended(c))
		return STREAM_LOST;
	if (c->state != SSH_RUNNING)
		return STREAM_AGAIN;
	ssh_channel_send(c);
	if (c->unsent.start < c->unsent.end)
		return STREAM_AGAIN;
	return libssh2_channel_send_eof(c->ch) == LIBSSH2_ERROR_EAGAIN ? STREAM_AGAIN : 0;
}

void ssh_channel_abandon(struct ssh_channel *c)
{
	c->wanted = 0;
	c->ending = c->state == SSH_RUNNING || c->requested;
	ssh_turn(c->session);
}

/* ---- the stream ---- */

static struct ssh_channel *channel_of(struct stream *s)
{
	return ((struct ssh_handle *)s)->channel;
}

static ssize_t handle_read(struct stream *stream, int err, char *buf, size_t n)
{
	struct ssh_channel *c = channel_of(stream);
	ssize_t got = ssh_channel_read(c, err, buf, n);

	ssh_settle(c->session);
	return got;
}

static ssize_t handle_write(struct stream *stream, const char *buf, size_t n)
{
	struct ssh_channel *c = channel_of(stream);
	ssize_t taken = ssh_channel_write(c, buf, n);

	ssh_settle(c->session);
	return taken;
}

static int handle_close_input(struct stream *stream)
{
	struct ssh_channel *c = channel_of(stream);
	int rc = ssh_channel_end(c);

	ssh_settle(c->session);
	return rc;
}

static int handle_exited(struct stream *stream, int *status, char signal_name[16])
{
	struct ssh_channel *c = channel_of(stream);

	if (c->state == SSH_RUNNING && ssh_channel_ended(c))
		ssh_channel_harvest(c);
	ssh_settle(c->session);
	if (c->state > SSH_ENDED)
		return STREAM_LOST;
	if (c->state < SSH_ENDED)
		return ssh_lost(c->session) ? STREAM_LOST : 0;
	*status = c->status;
	snprintf(signal_name, 16, "%s", c->signal_name);
	return 1;
}

static int handle_wait(lua_State *L, struct stream *stream, int events, lua_CFunction step)
{
	(void)events;
	return task_wait(L, channel_of(stream)->session->bell, TASK_READ, step);
}

static void handle_wake(struct stream *stream)
{
	ssh_ring(channel_of(stream)->session);
}

static void handle_cancel(struct stream *stream)
{
	channel_of(stream)->ending = 1;
	ssh_turn(channel_of(stream)->session);
}

static void handle_close(struct stream *stream)
{
	struct ssh_channel *c = channel_of(stream);
	struct ssh_session *s = c->session;

	((struct ssh_handle *)stream)->channel = NULL;
	ssh_channel_abandon(c);
	ssh_release(s);
}

static const char *handle_failure(struct stream *stream)
{
	return ssh_channel_failure(channel_of(stream));
}

static const struct stream_ops operations = {
	.read = handle_read,
	.write = handle_write,
	.close_input = handle_close_input,
	.exited = handle_exited,
	.wait = handle_wait,
	.wake = handle_wake,
	.cancel = handle_cancel,
	.close = handle_close,
	.failure = handle_failure,
};

void ssh_stream_push(lua_State *L, struct ssh_channel *c)
{
	struct ssh_handle *h = lua_newuserdatauv(L, sizeof *h, 0);

	*h = (struct ssh_handle){.channel = c};
	luaL_setmetatable(L, SSH_CHANNEL);
	h->stream.ops = &operations;
}

static int pid_step(lua_State *L)
{
	struct stream *stream = lua_touserdata(L, 1);
	struct ssh_channel *c;

	if (!stream->ops)
		return error_raise(L, "lost", "the stream was closed meanwhile");
	c = channel_of(stream);
	if (c->state == SSH_RUNNING && !ssh_channel_take_pid(c) && !ssh_lost(c->session))
		return handle_wait(L, stream, TASK_READ, pid_step);
	if (!c->pid)
		return 0;
	lua_pushinteger(L, c->pid);
	return 1;
}

/* stream:pid() -> the command's process id, which is its group's too | nil if it never told */
static int handle_pid(lua_State *L)
{
	luaL_checkudata(L, 1, SSH_CHANNEL);
	stream_check(L, 1);
	lua_settop(L, 1);
	task_deadline(L, 2, PID_MS);
	return pid_step(L);
}

void ssh_stream_register(lua_State *L)
{
	stream_newmetatable(L, SSH_CHANNEL);
	lua_pushcfunction(L, handle_pid);
	lua_setfield(L, -2, "pid");
	lua_pop(L, 1);
}
