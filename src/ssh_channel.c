/* Commands and forwarded connections on an ssh session, as streams. */
#include "error.h"
#include "ssh.h"
#include "task.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	WINDOW = 2 * 1024 * 1024, /* a larger one makes libssh2 walk a longer queue for each packet */
	PACKET = 32 * 1024,
	WRITE_MOST = 32000, /* one packet */
	PID_LINE = 12,      /* longer is none */
	START_MS = 60 * 1000,
};

#define OPENING "ssh.opening"

/* ---- the states of a channel ---- */

static void channel_free(struct ssh_channel *c)
{
	struct ssh_channel **at = &c->session->channels;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (c->session->opening == c)
		c->session->opening = NULL;
	ssh_buffer_free(&c->unsent);
	ssh_buffer_free(&c->out);
	ssh_buffer_free(&c->err);
	free(c->text);
	free(c);
}

/* Queued; the next turn opens it. NULL: no memory. The text is a command until the caller says otherwise. */
struct ssh_channel *ssh_channel_new(struct ssh_session *s, const char *text, size_t length)
{
	struct ssh_channel *c = calloc(1, sizeof *c), **at = &s->channels;

	if (!c)
		return NULL;
	c->text = malloc(length + 1);
	if (!c->text) {
		free(c);
		return NULL;
	}
	memcpy(c->text, text, length);
	c->text[length] = 0;
	c->session = s;
	while (*at)
		at = &(*at)->next;
	*at = c;
	return c;
}

static void fail(struct ssh_channel *c, const char *text)
{
	snprintf(c->failure, sizeof c->failure, "%s", text);
	if (c->session->opening == c)
		c->session->opening = NULL;
	c->state = SSH_GONE;
}

static int occupies(const struct ssh_channel *c)
{
	return !c->port && c->state >= SSH_OPENING && c->state <= SSH_CLOSING && c->state != SSH_ENDED;
}

static int count_open(const struct ssh_session *s)
{
	int count = 0;

	for (const struct ssh_channel *c = s->channels; c; c = c->next)
		count += occupies(c);
	return count;
}

/* libssh2 opens one channel at a time. What ends a command does not wait for a command to end. */
static int may_open(const struct ssh_channel *c)
{
	const struct ssh_session *s = c->session;

	if (s->opening)
		return 0;
	if (c->port || c->urgent)
		return 1;
	for (const struct ssh_channel *other = s->channels; other; other = other->next)
		if (other->urgent && other->state == SSH_QUEUED)
			return 0;
	return count_open(s) < s->most_channels;
}

/* A server that refuses one more has told how many it allows: this one waits for another's end. */
static void refused(struct ssh_channel *c)
{
	struct ssh_session *s = c->session;
	int others = count_open(s) - occupies(c);

	if (c->port || !others || ssh_lost(s)) {
		fail(c, ssh_last_error(s));
		return;
	}
	s->most_channels = others;
	s->opening = NULL;
	c->state = SSH_QUEUED;
}

static int again(struct ssh_session *s)
{
	return libssh2_session_last_errno(s->ssh) == LIBSSH2_ERROR_EAGAIN;
}

static void open_turn(struct ssh_channel *c)
{
	struct ssh_session *s = c->session;

	if (c->port)
		c->ch = libssh2_channel_direct_tcpip_ex(s->ssh, c->text, c->port, "127.0.0.1", 0);
	else
		c->ch = libssh2_channel_open_ex(s->ssh, "session", 7, WINDOW, PACKET, NULL, 0);
	if (!c->ch && again(s))
		return;
	ssh_check(s, c->ch ? 0 : libssh2_session_last_errno(s->ssh));
	if (!c->ch) {
		refused(c);
		return;
	}
	s->opening = NULL;
	c->state = c->port ? SSH_RUNNING : c->pty ? SSH_ASKING_PTY : SSH_STARTING;
}

/* The command of a channel nobody wants any more is not started. */
static void request_turn(struct ssh_channel *c)
{
	int rc;

	if (!c->wanted && !c->urgent && !c->requested) {
		c->state = SSH_CLOSING;
		return;
	}
	c->requested = 1;
	if (c->state == SSH_ASKING_PTY)
		rc = libssh2_channel_request_pty(c->ch, "dumb");
	else
		rc = libssh2_channel_process_startup(c->ch, c->subsystem ? "subsystem" : "exec", c->subsystem ? 9 : 4, c->text,
						     (unsigned)strlen(c->text));
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return;
	ssh_check(c->session, rc);
	if (rc) {
		snprintf(c->failure, sizeof c->failure, "%s", ssh_last_error(c->session));
		c->state = SSH_CLOSING;
		return;
	}
	c->state = c->state == SSH_ASKING_PTY ? SSH_STARTING : SSH_RUNNING;
}

/* Whether the server has closed its side: the exit status, if any, has come by then. */
static int ended_there(struct ssh_channel *c)
{
	if (c->state != SSH_RUNNING)
		return c->state > SSH_RUNNING;
	return !libssh2_channel_wait_eof(c->ch) && !libssh2_channel_wait_closed(c->ch);
}

static void send_unsent(struct ssh_channel *c)
{
	while (c->unsent.start < c->unsent.end) {
		ssize_t n = libssh2_channel_write(c->ch, c->unsent.bytes + c->unsent.start, c->unsent.end - c->unsent.start);

		if (n <= 0) {
			ssh_check(c->session, n);
			return;
		}
		c->unsent.start += (size_t)n;
	}
}

/* ---- the end of a command ---- */

/*
 * For sh: ends the process group that sshd made for the command, by TERM, and by KILL what is left after five seconds. A
 * channel's signal is not enough, for sshd ignores it for root; and closing a channel leaves the process running. Written
 * for the kill that is part of a shell, without "--", which not every shell knows there.
 */
#define ENDING                                                                                   \
	"kill -TERM -%d 2>/dev/null || exit 0; n=0; while kill -0 -%d 2>/dev/null; do "          \
	"[ $n -ge 50 ] && { kill -KILL -%d; exit; }; "                                           \
	"n=$((n+1)); sleep 0.1 || { sleep 1; n=$((n+9)); }; done"

enum { ENDING_MOST = sizeof ENDING + 64 };

/* ssh.ending(pid) -> text for sh that ends the process group, by TERM and then KILL, and returns when it is gone */
int ssh_ending(lua_State *L)
{
	char text[ENDING_MOST];
	lua_Integer pid = luaL_checkinteger(L, 1);

	luaL_argcheck(L, pid > 1 && pid <= 0x7fffffff, 1, "not a process id");
	snprintf(text, sizeof text, ENDING, (int)pid, (int)pid, (int)pid);
	lua_pushstring(L, text);
	return 1;
}

static void kill_there(struct ssh_channel *c)
{
	char text[ENDING_MOST];
	struct ssh_channel *killing;

	if (c->killed || c->pid_awaited)
		return;
	c->killed = 1;
	if (c->pid) {
		snprintf(text, sizeof text, "exec sh -c '" ENDING "'", c->pid, c->pid, c->pid);
		killing = ssh_channel_new(c->session, text, strlen(text));
		if (killing)
			killing->urgent = 1;
	} else if (!c->subsystem && !c->port) {
		libssh2_channel_signal_ex(c->ch, "TERM", 4);
	}
}

/* Reads the line with the process id byte by byte: what follows is the command's. Returns 1 when that is settled. */
static int take_pid(struct ssh_channel *c)
{
	char line[PID_LINE + 1] = "";
	size_t length;
	char byte;

	while (c->pid_awaited) {
		ssize_t n = libssh2_channel_read(c->ch, &byte, 1);

		if (n == LIBSSH2_ERROR_EAGAIN || (n == 0 && !ended_there(c)))
			return 0;
		length = c->out.end - c->out.start;
		if (n == 1 && byte == '\n' && length && length < sizeof line) {
			ssh_buffer_take(&c->out, line, length);
			c->pid = atoi(line) > 1 ? atoi(line) : 0; /* -1 would be every process there is */
			c->pid_awaited = 0;
		} else {
			c->pid_awaited = n == 1 && byte >= '0' && byte <= '9' && length < PID_LINE - 1;
			if (n == 1)
				ssh_buffer_add(&c->out, &byte, 1);
		}
		if (n < 0)
			ssh_check(c->session, n);
	}
	return 1;
}

/* Takes what libssh2 holds of one side; into no buffer, it is thrown away. */
static void drain(struct ssh_channel *c, int err, struct ssh_buffer *into)
{
	char piece[16 * 1024];
	ssize_t n;

	while ((n = libssh2_channel_read_ex(c->ch, err, piece, sizeof piece)) > 0)
		if (into && !ssh_buffer_add(into, piece, (size_t)n))
			ssh_break(c->session, "out of memory");
}

/* The server is done with it. Its place is given back at once, for the server counts those it has not seen closed. */
static void harvest(struct ssh_channel *c)
{
	char *name = NULL;
	unsigned long unread = 0;

	take_pid(c);
	drain(c, 0, c->wanted ? &c->out : NULL);
	drain(c, 1, c->wanted ? &c->err : NULL);
	libssh2_channel_window_read_ex(c->ch, &unread, NULL);
	if (unread)
		return; /* a key exchange is under way: the next turn goes on */
	c->status = libssh2_channel_get_exit_status(c->ch);
	libssh2_channel_get_exit_signal(c->ch, &name, NULL, NULL, NULL, NULL, NULL);
	snprintf(c->signal_name, sizeof c->signal_name, "%s", name ? name : "");
	if (name)
		libssh2_free(c->session->ssh, name);
	if (libssh2_channel_free(c->ch) == LIBSSH2_ERROR_EAGAIN)
		return;
	c->ch = NULL;
	c->state = SSH_ENDED;
}

static void running_turn(struct ssh_channel *c)
{
	send_unsent(c);
	if (!c->wanted && take_pid(c)) {
		drain(c, 0, NULL);
		drain(c, 1, NULL);
	}
	if (ended_there(c)) {
		harvest(c);
		return;
	}
	if (c->ending)
		kill_there(c);
	if (!c->wanted && (c->killed || !c->ending) && !c->urgent)
		c->state = SSH_CLOSING;
}

static void closing_turn(struct ssh_channel *c)
{
	if (c->ch && libssh2_channel_free(c->ch) == LIBSSH2_ERROR_EAGAIN)
		return;
	c->ch = NULL;
	c->state = SSH_GONE;
}

static void channel_turn(struct ssh_channel *c)
{
	if (c->state == SSH_QUEUED && !c->wanted && !c->urgent)
		c->state = SSH_GONE;
	if (c->state == SSH_QUEUED && may_open(c)) {
		c->session->opening = c;
		c->state = SSH_OPENING;
	}
	if (c->state == SSH_OPENING)
		open_turn(c);
	if (c->state == SSH_ASKING_PTY)
		request_turn(c);
	if (c->state == SSH_STARTING)
		request_turn(c);
	if (c->state == SSH_RUNNING)
		running_turn(c);
	if (c->state == SSH_CLOSING)
		closing_turn(c);
	if (c->state == SSH_ENDED && !c->wanted)
		c->state = SSH_GONE;
}

void ssh_channels_turn(struct ssh_session *s)
{
	struct ssh_channel *next;
	int slots;

	if (!s->authenticated)
		return;
	do {
		slots = count_open(s);
		for (struct ssh_channel *c = s->channels; c && !ssh_lost(s); c = c->next)
			channel_turn(c);
	} while (!ssh_lost(s) && count_open(s) < slots); /* a place has become free for one that waits */
	for (struct ssh_channel *c = s->channels; c; c = next) {
		next = c->next;
		if (!c->wanted && (c->state == SSH_GONE || ssh_lost(s)))
			channel_free(c);
	}
}

void ssh_channels_close(struct ssh_session *s)
{
	for (struct ssh_channel *c = s->channels; c; c = c->next) {
		if (c->port || c->urgent || c->state >= SSH_CLOSING)
			continue;
		if (c->state == SSH_RUNNING && take_pid(c) && !ended_there(c))
			kill_there(c);
		snprintf(c->failure, sizeof c->failure, "the session was closed");
		c->state = c->ch ? SSH_CLOSING : SSH_GONE;
	}
	ssh_turn(s);
}

int ssh_channels_ending(const struct ssh_session *s)
{
	for (const struct ssh_channel *c = s->channels; c; c = c->next)
		if (c->urgent || (c->ending && !c->killed && c->state == SSH_RUNNING))
			return 1;
	return 0;
}

void ssh_channels_free(struct ssh_session *s)
{
	while (s->channels)
		channel_free(s->channels);
}

/* ---- a channel's bytes ---- */

static const char *why_gone(struct ssh_channel *c)
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
	if (c->state < SSH_RUNNING || (!err && c->state == SSH_RUNNING && !take_pid(c)))
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

	if (ssh_lost(s) || s->ended || ended_there(c))
		return STREAM_LOST;
	if (c->state != SSH_RUNNING)
		return STREAM_AGAIN;
	send_unsent(c);
	if (c->unsent.start < c->unsent.end || ssh_wire_full(s))
		return STREAM_AGAIN;
	if (n > WRITE_MOST)
		n = WRITE_MOST;
	if (!ssh_buffer_add(&c->unsent, buf, n))
		return STREAM_LOST;
	send_unsent(c);
	return (ssize_t)n;
}

int ssh_channel_end(struct ssh_channel *c)
{
	if (ssh_lost(c->session) || ended_there(c))
		return STREAM_LOST;
	if (c->state != SSH_RUNNING)
		return STREAM_AGAIN;
	send_unsent(c);
	if (c->unsent.start < c->unsent.end)
		return STREAM_AGAIN;
	return libssh2_channel_send_eof(c->ch) == LIBSSH2_ERROR_EAGAIN ? STREAM_AGAIN : 0;
}

/* Nobody reads it any more: what runs is ended, what was to start is not. */
void ssh_channel_abandon(struct ssh_channel *c)
{
	c->wanted = 0;
	c->ending = c->state == SSH_RUNNING || c->requested;
	ssh_turn(c->session);
}

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

	if (c->state == SSH_RUNNING && ended_there(c))
		harvest(c);
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
	return why_gone(channel_of(stream));
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

/* ---- starting ---- */

/* The channel until its stream is handed over: a task that ends before leaves nothing behind. */
static int opening_close(lua_State *L)
{
	struct ssh_channel **slot = lua_touserdata(L, 1), *c = *slot;
	struct ssh_session *s;

	*slot = NULL;
	if (!c)
		return 0;
	s = c->session;
	ssh_channel_abandon(c);
	ssh_release(s);
	return 0;
}

/* What was never asked for has certainly not happened. */
static int start_failed(lua_State *L, struct ssh_channel *c)
{
	const char *kind = !c->requested ? "connect" : ssh_lost(c->session) ? "lost" : "denied";

	return error_raise(L, kind, "the %s could not be started: %s", c->subsystem ? "subsystem" : "command", why_gone(c));
}

/* Stack: session, text, options, the channel's slot. */
static int start_step(lua_State *L)
{
	struct ssh_channel **slot = lua_touserdata(L, 4), *c = *slot;
	struct ssh_handle *h;

	if (c->state > SSH_ENDED || (ssh_lost(c->session) && c->state != SSH_ENDED))
		return start_failed(L, c);
	if (c->state < SSH_RUNNING)
		return task_wait(L, c->session->bell, TASK_READ, start_step);
	h = lua_newuserdatauv(L, sizeof *h, 0);
	*h = (struct ssh_handle){.channel = c};
	luaL_setmetatable(L, SSH_CHANNEL);
	h->stream.ops = &operations;
	*slot = NULL;
	return 1;
}

static int option(lua_State *L, const char *name, int otherwise)
{
	int value = otherwise;

	if (lua_istable(L, 3) && lua_getfield(L, 3, name) != LUA_TNIL)
		value = lua_toboolean(L, -1);
	lua_settop(L, 3);
	return value;
}

/*
 * sshd makes the shell of a command a session and group leader: its process id is all that is needed to end it. The login
 * shell may be of any kind, so it only starts sh.
 */
static void wrap_for_pid(lua_State *L)
{
	luaL_Buffer text;

	luaL_buffinit(L, &text);
	luaL_addstring(&text, "exec sh -c 'echo $$\n");
	luaL_addgsub(&text, lua_tostring(L, 2), "'", "'\\''");
	luaL_addchar(&text, '\'');
	luaL_pushresult(&text);
	lua_replace(L, 2);
}

static int start(lua_State *L, struct ssh_session *s, int subsystem)
{
	int pty = option(L, "pty", 0), pid = !subsystem && !pty && option(L, "pid", 1);
	struct ssh_channel **slot, *c;

	if (pid)
		wrap_for_pid(L);
	slot = lua_newuserdatauv(L, sizeof *slot, 0);
	*slot = NULL;
	luaL_setmetatable(L, OPENING);
	lua_toclose(L, 4);
	c = *slot = ssh_channel_new(s, lua_tostring(L, 2), lua_rawlen(L, 2));
	if (!c)
		return luaL_error(L, "not enough memory");
	s->uses++;
	c->wanted = 1;
	c->subsystem = subsystem;
	c->pty = pty;
	c->pid_awaited = pid;
	task_deadline(L, 3, START_MS);
	ssh_turn(s);
	return start_step(L);
}

static struct ssh_session *open_session(lua_State *L)
{
	struct ssh_session **slot = luaL_checkudata(L, 1, SSH_SESSION);

	luaL_argcheck(L, *slot && !(*slot)->closed, 1, "the session is closed");
	luaL_argcheck(L, (*slot)->authenticated, 1, "the session is not authenticated");
	return *slot;
}

static void check_text(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 2, &length);

	luaL_argcheck(L, strlen(text) == length, 2, "has a NUL in it");
	lua_settop(L, 3);
}

/*
 * session:exec(text [, { reads, pty, pid, timeout }]) -> stream. reads: it changes nothing. pid: whether stream:pid() and
 * ending the command work (default; not with a pty, whose end does that). timeout: of the start alone, in seconds.
 */
int ssh_session_exec(lua_State *L)
{
	static const char *const options[] = {"reads", "pty", "pid", "timeout", NULL};
	struct ssh_session *s = open_session(L);

	check_text(L);
	error_check_options(L, 3, options);
	if (!option(L, "reads", 0))
		task_may_change(L, "ssh.exec");
	return start(L, s, 0);
}

/* session:subsystem(name [, { timeout }]) -> stream, such as "sftp", whose requests say what they change */
int ssh_session_subsystem(lua_State *L)
{
	static const char *const options[] = {"timeout", NULL};
	struct ssh_session *s = open_session(L);

	check_text(L);
	error_check_options(L, 3, options);
	return start(L, s, 1);
}

static int pid_step(lua_State *L)
{
	struct stream *stream = lua_touserdata(L, 1);
	struct ssh_channel *c;

	if (!stream->ops)
		return error_raise(L, "lost", "the stream was closed meanwhile");
	c = channel_of(stream);
	if (c->state == SSH_RUNNING && !take_pid(c) && !ssh_lost(c->session))
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
	task_deadline(L, 2, START_MS);
	return pid_step(L);
}

void ssh_channel_register(lua_State *L)
{
	stream_newmetatable(L, SSH_CHANNEL);
	lua_pushcfunction(L, handle_pid);
	lua_setfield(L, -2, "pid");
	luaL_newmetatable(L, OPENING);
	lua_pushcfunction(L, opening_close);
	lua_setfield(L, -2, "__close");
	lua_pushcfunction(L, opening_close);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 2);
}
