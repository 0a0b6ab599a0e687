/* The bytes of an ssh session: between libssh2 and a socket, or a channel of the session that carries it. */
#include "ssh.h"
#include "task.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	PIECE = 64 * 1024,
	IN_MOST = 256 * 1024,  /* read ahead of libssh2 */
	OUT_MOST = 256 * 1024, /* above it no channel takes input */
};

int ssh_buffer_add(struct ssh_buffer *b, const char *bytes, size_t n)
{
	if (b->start == b->end)
		b->start = b->end = 0;
	if (b->end + n > b->size) {
		size_t size = 2 * (b->end - b->start + n) + 4096;
		char *grown = malloc(size);

		if (!grown)
			return 0;
		if (b->bytes)
			memcpy(grown, b->bytes + b->start, b->end - b->start);
		free(b->bytes);
		*b = (struct ssh_buffer){grown, 0, b->end - b->start, size};
	}
	memcpy(b->bytes + b->end, bytes, n);
	b->end += n;
	return 1;
}

size_t ssh_buffer_take(struct ssh_buffer *b, char *bytes, size_t n)
{
	if (n > b->end - b->start)
		n = b->end - b->start;
	if (n)
		memcpy(bytes, b->bytes + b->start, n);
	b->start += n;
	return n;
}

void ssh_buffer_free(struct ssh_buffer *b)
{
	free(b->bytes);
	*b = (struct ssh_buffer){0};
}

static size_t held(const struct ssh_buffer *b)
{
	return b->end - b->start;
}

int ssh_wire_full(const struct ssh_session *s)
{
	return held(&s->out) >= OUT_MOST;
}

/* Everything is taken: what the socket does not take now waits in `out`. A broken session swallows its goodbyes. */
static LIBSSH2_SEND_FUNC(wire_send)
{
	struct ssh_session *s = *abstract;

	(void)socket, (void)flags;
	if (!s->ended && !ssh_buffer_add(&s->out, buffer, length))
		return -ENOMEM;
	return (ssize_t)length;
}

/*
 * Never the end: libssh2 would then hide the packets that it has queued. ssh_lost tells it. Only when all is torn down it
 * hears of it, lest it waits for the server to agree.
 */
static LIBSSH2_RECV_FUNC(wire_recv)
{
	struct ssh_session *s = *abstract;
	size_t n = ssh_buffer_take(&s->in, buffer, length);

	(void)socket, (void)flags;
	return n ? (ssize_t)n : s->shutting ? -ECONNRESET : -EAGAIN;
}

static LIBSSH2_DISCONNECT_FUNC(server_said_goodbye)
{
	struct ssh_session *s = *abstract;

	(void)session, (void)reason, (void)language, (void)language_len;
	ssh_break(s, "the server ended the connection: %.*s", message_len > 300 ? 300 : message_len, message);
}

typedef void (*callback)(void);

static void set_callback(LIBSSH2_SESSION *ssh, int which, callback fn)
{
#if LIBSSH2_VERSION_NUM >= 0x010b01
	libssh2_session_callback_set2(ssh, which, fn);
#else
	libssh2_session_callback_set(ssh, which, (void *)fn);
#endif
}

int ssh_wire_attach(struct ssh_session *s)
{
	s->ssh = libssh2_session_init_ex(NULL, NULL, NULL, s);
	if (!s->ssh)
		return 0;
	libssh2_session_set_blocking(s->ssh, 0);
	set_callback(s->ssh, LIBSSH2_CALLBACK_SEND, (callback)wire_send);
	set_callback(s->ssh, LIBSSH2_CALLBACK_RECV, (callback)wire_recv);
	set_callback(s->ssh, LIBSSH2_CALLBACK_DISCONNECT, (callback)server_said_goodbye);
	return 1;
}

void ssh_break(struct ssh_session *s, const char *fmt, ...)
{
	va_list args;

	if (!*s->failure) {
		va_start(args, fmt);
		vsnprintf(s->failure, sizeof s->failure, fmt, args);
		va_end(args);
	}
	s->ended = 1;
	s->out.start = s->out.end;
}

int ssh_lost(const struct ssh_session *s)
{
	return s->ended && !held(&s->in);
}

const char *ssh_last_error(struct ssh_session *s)
{
	char *text = NULL;

	libssh2_session_last_error(s->ssh, &text, NULL, 0);
	return text && *text ? text : "unknown error";
}

int ssh_check(struct ssh_session *s, long rc)
{
	switch (rc) {
	case LIBSSH2_ERROR_SOCKET_SEND:
	case LIBSSH2_ERROR_SOCKET_RECV:
	case LIBSSH2_ERROR_SOCKET_DISCONNECT:
	case LIBSSH2_ERROR_DECRYPT:
	case LIBSSH2_ERROR_ENCRYPT:
	case LIBSSH2_ERROR_INVALID_MAC:
	case LIBSSH2_ERROR_PROTO:
	case LIBSSH2_ERROR_OUT_OF_BOUNDARY:
	case LIBSSH2_ERROR_ALLOC:
	case LIBSSH2_ERROR_KEX_FAILURE:
	case LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE:
	case LIBSSH2_ERROR_HOSTKEY_INIT:
	case LIBSSH2_ERROR_HOSTKEY_SIGN:
		ssh_break(s, "%s", ssh_last_error(s));
		s->in.start = s->in.end;
		return 1;
	default:
		return 0;
	}
}

void ssh_ring(struct ssh_session *s)
{
	task_wake_fd(s->bell);
}

/* ---- moving bytes ---- */

/* sshd delays its answers to our delayed acknowledgements until the session has started; Linux forgets this setting. */
static void acknowledge_at_once(struct ssh_session *s)
{
	int one = 1;

	if (!s->authenticated || s->opening)
		setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

static ssize_t take_piece(struct ssh_session *s, char *piece)
{
	ssize_t n;

	if (s->carrier)
		return ssh_channel_read(s->carrier, 0, piece, PIECE);
	acknowledge_at_once(s);
	n = recv(s->fd, piece, PIECE, 0);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return STREAM_AGAIN;
	ssh_break(s, "the connection broke: %s", strerror(errno));
	return STREAM_LOST;
}

static void fill(struct ssh_session *s)
{
	char piece[PIECE];
	ssize_t n;

	while (!s->ended && held(&s->in) < IN_MOST) {
		n = take_piece(s, piece);
		if (n == STREAM_AGAIN)
			return;
		if (n == STREAM_LOST && s->carrier)
			ssh_break(s, "the jump host lost its connection: %s", s->carrier->session->failure);
		else if (n == 0)
			ssh_break(s, "the server closed the connection");
		if (n <= 0)
			return;
		s->unanswered = 0;
		if (!ssh_buffer_add(&s->in, piece, (size_t)n))
			ssh_break(s, "out of memory");
	}
}

static ssize_t give(struct ssh_session *s)
{
	const char *bytes = s->out.bytes + s->out.start;
	ssize_t n;

	if (s->carrier)
		return ssh_channel_write(s->carrier, bytes, held(&s->out));
	n = send(s->fd, bytes, held(&s->out), MSG_NOSIGNAL);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? STREAM_AGAIN : STREAM_LOST;
}

static void flush(struct ssh_session *s)
{
	while (!s->ended && (s->fd >= 0 || s->carrier) && held(&s->out)) {
		ssize_t n = give(s);

		if (n == STREAM_AGAIN)
			return;
		if (n == STREAM_LOST)
			ssh_break(s, "the connection broke: %s", s->carrier ? s->carrier->session->failure : strerror(errno));
		else
			s->out.start += (size_t)n;
	}
}

static void socket_ready(uv_poll_t *poll, int status, int events);

static void watch(struct ssh_session *s)
{
	int events = 0;

	if (!s->poll)
		return;
	if (!s->ended && s->connected && held(&s->in) < IN_MOST)
		events |= UV_READABLE;
	if (!s->ended && (held(&s->out) || !s->connected))
		events |= UV_WRITABLE;
	if (events == s->polled)
		return;
	s->polled = events;
	if (events)
		uv_poll_start(s->poll, events, socket_ready);
	else
		uv_poll_stop(s->poll);
}

void ssh_settle(struct ssh_session *s)
{
	flush(s);
	watch(s);
	if (s->carrier)
		ssh_settle(s->carrier->session);
}

void ssh_turn(struct ssh_session *s)
{
	struct ssh_session *next;

	if (s->turning)
		return;
	s->turning = 1;
	s->uses++; /* what ends in here may be the last that held it */
	if (s->carrier)
		fill(s);
	ssh_channels_turn(s);
	ssh_tunnels_turn(s);
	for (struct ssh_session *other = s->carried; other; other = next) {
		next = other->next_carried;
		ssh_turn(other);
	}
	ssh_settle(s);
	ssh_ring(s);
	s->turning = 0;
	ssh_release(s);
}

static int connect_failed(struct ssh_session *s)
{
	int code = 0;
	socklen_t length = sizeof code;

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &code, &length) < 0)
		code = errno;
	if (code)
		snprintf(s->failure, sizeof s->failure, "%s", strerror(code));
	return code;
}

static void socket_ready(uv_poll_t *poll, int status, int events)
{
	struct ssh_session *s = poll->data;

	(void)events;
	if (!s->connected) {
		s->connected = !connect_failed(s);
		if (s->connected)
			watch(s);
		else
			ssh_wire_unwatch(s);
		ssh_ring(s);
		return;
	}
	if (status < 0)
		ssh_break(s, "the connection broke: %s", uv_strerror(status));
	fill(s);
	ssh_turn(s);
}

/* While connecting, and once connected. 0, or libuv's error. An idle session does not keep neap alive. */
int ssh_wire_watch(struct ssh_session *s)
{
	int rc;

	s->poll = calloc(1, sizeof *s->poll);
	if (!s->poll)
		return UV_ENOMEM;
	rc = uv_poll_init(task_loop(), s->poll, s->fd);
	if (rc < 0) {
		free(s->poll);
		s->poll = NULL;
		return rc;
	}
	s->poll->data = s;
	s->polled = 0;
	uv_unref((uv_handle_t *)s->poll);
	watch(s);
	return 0;
}

void ssh_wire_unwatch(struct ssh_session *s)
{
	if (!s->poll)
		return;
	uv_poll_stop(s->poll);
	uv_close((uv_handle_t *)s->poll, task_handle_freed);
	s->poll = NULL;
}
