/* The channels of an ssh session, from the queue to the close: each turn takes one as far as it goes. */
#include "ssh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	WINDOW = 2 * 1024 * 1024, /* a larger one makes libssh2 walk a longer queue for each packet */
	PACKET = 32 * 1024,
};

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

/* ---- opening ---- */

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

/* ---- running, and the end ---- */

int ssh_channel_ended(struct ssh_channel *c)
{
	if (c->state != SSH_RUNNING)
		return c->state > SSH_RUNNING;
	return !libssh2_channel_wait_eof(c->ch) && !libssh2_channel_wait_closed(c->ch);
}

void ssh_channel_send(struct ssh_channel *c)
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

/* Takes what libssh2 holds of one side; into no buffer, it is thrown away. */
static void drain(struct ssh_channel *c, int err, struct ssh_buffer *into)
{
	char piece[16 * 1024];
	ssize_t n;

	while ((n = libssh2_channel_read_ex(c->ch, err, piece, sizeof piece)) > 0)
		if (into && !ssh_buffer_add(into, piece, (size_t)n))
			ssh_break(c->session, "out of memory");
}

void ssh_channel_harvest(struct ssh_channel *c)
{
	char *name = NULL;
	unsigned long unread = 0;

	ssh_channel_take_pid(c);
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
	ssh_channel_send(c);
	if (!c->wanted && ssh_channel_take_pid(c)) {
		drain(c, 0, NULL);
		drain(c, 1, NULL);
	}
	if (ssh_channel_ended(c)) {
		ssh_channel_harvest(c);
		return;
	}
	if (c->ending)
		ssh_channel_kill(c);
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

/* ---- all of a session ---- */

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
		if (c->state == SSH_RUNNING && ssh_channel_take_pid(c) && !ssh_channel_ended(c))
			ssh_channel_kill(c);
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
