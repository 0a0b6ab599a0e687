/* Ports of 127.0.0.1 that lead, over an ssh session, to a port its host can reach. For this process alone. */
#include "error.h"
#include "ssh.h"
#include "task.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TYPE "ssh.tunnel"

enum {
	PIECE = 64 * 1024,
	TURN = 16, /* pieces of one link before the loop goes on */
	QUEUE = 64,
	LINKS_MOST = 256,
};

/* A watched socket; freed by libuv's closing. */
struct watched {
	uv_poll_t poll; /* first: the struct is freed as its handle */
	int fd, events;
};

/* One connection. Its bytes wait in `up` for the channel and in `down` for the socket, a piece at most of each. */
struct link {
	struct tunnel *tunnel;
	struct link *next;
	struct watched *socket;
	struct ssh_channel *channel;
	struct ssh_buffer up, down;
	unsigned socket_ended : 1, told_channel : 1; /* the client writes no more; the channel knows */
	unsigned channel_ended : 1, told_socket : 1; /* and the other way round */
	unsigned broken : 1;
};

/* Owned by its userdata. */
struct tunnel {
	struct ssh_session *session; /* NULL once closed */
	struct tunnel *next;         /* of the session */
	struct watched *listener;    /* NULL once closed */
	struct link *links;
	int count, port, target_port;
	char target[256], failure[512];
};

/* ---- sockets ---- */

static struct watched *watched_new(int fd, void *owner)
{
	struct watched *w = calloc(1, sizeof *w);

	if (!w || uv_poll_init(task_loop(), &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	w->fd = fd;
	w->poll.data = owner;
	uv_unref((uv_handle_t *)&w->poll); /* one that is idle does not keep neap alive */
	return w;
}

static void watched_close(struct watched *w)
{
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, task_handle_freed);
	close(w->fd);
}

static void watch(struct watched *w, int events, uv_poll_cb ready)
{
	if (events == w->events)
		return;
	w->events = events;
	if (events)
		uv_poll_start(&w->poll, events, ready);
	else
		uv_poll_stop(&w->poll);
}

/* ---- one connection ---- */

static size_t held(const struct ssh_buffer *b)
{
	return b->end - b->start;
}

/* The client reads that the connection broke, and not that it ended. */
static void reset_socket(int fd)
{
	struct linger at_once = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static void link_close(struct link *k)
{
	struct link **at = &k->tunnel->links;
	struct ssh_channel *c = k->channel;

	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	k->tunnel->count--;
	if (k->broken)
		reset_socket(k->socket->fd);
	watched_close(k->socket);
	ssh_buffer_free(&k->up);
	ssh_buffer_free(&k->down);
	free(k);
	ssh_channel_abandon(c);
}

/* What the server said of a channel that it did not open or has lost; the last one stays to be asked for. */
static void link_break(struct link *k)
{
	const struct ssh_channel *c = k->channel;
	const char *why = *c->failure ? c->failure : c->session->failure;

	k->broken = 1;
	snprintf(k->tunnel->failure, sizeof k->tunnel->failure, "%s", *why ? why : "the connection broke");
}

/* From the client to the channel. Returns whether anything moved. */
static int move_up(struct link *k, char *piece)
{
	ssize_t n;

	if (k->socket_ended && !held(&k->up))
		return 0;
	if (!held(&k->up)) {
		n = recv(k->socket->fd, piece, PIECE, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0) {
			k->socket_ended = 1;
			k->broken |= n < 0;
			return 0;
		}
		if (!ssh_buffer_add(&k->up, piece, (size_t)n))
			k->broken = 1;
	}
	n = ssh_channel_write(k->channel, k->up.bytes + k->up.start, held(&k->up));
	if (n == STREAM_LOST)
		k->up.start = k->up.end; /* nobody reads it there any more; what is still to come down tells how it ended */
	if (n > 0)
		k->up.start += (size_t)n;
	return n > 0;
}

static int move_down(struct link *k, char *piece)
{
	ssize_t n;

	if (!held(&k->down) && !k->channel_ended) {
		n = ssh_channel_read(k->channel, 0, piece, PIECE);
		if (n == STREAM_LOST)
			link_break(k);
		k->channel_ended = n == 0;
		if (n <= 0)
			return 0;
		if (!ssh_buffer_add(&k->down, piece, (size_t)n))
			k->broken = 1;
	}
	if (!held(&k->down))
		return 0;
	n = send(k->socket->fd, k->down.bytes + k->down.start, held(&k->down), MSG_NOSIGNAL);
	if (n > 0)
		k->down.start += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		k->broken = 1;
	return n > 0;
}

/* Each side's end is told to the other when all that came before it has gone there. */
static void pass_ends(struct link *k)
{
	if (k->socket_ended && !k->told_channel && !held(&k->up))
		k->told_channel = ssh_channel_end(k->channel) != STREAM_AGAIN;
	if (k->channel_ended && !k->told_socket && !held(&k->down)) {
		shutdown(k->socket->fd, SHUT_WR);
		k->told_socket = 1;
	}
}

static int is_over(const struct link *k)
{
	return k->broken || (k->told_socket && (k->told_channel || k->channel->state >= SSH_ENDED));
}

static void socket_ready(uv_poll_t *poll, int status, int events);

/* Moves what can be moved. Returns 0 when the connection is over and gone. */
static int link_turn(struct link *k)
{
	char piece[PIECE];
	int moved = 1;

	for (int turn = 0; turn < TURN && moved && !k->broken; turn++)
		moved = move_up(k, piece) | move_down(k, piece);
	if (!k->broken)
		pass_ends(k);
	if (is_over(k)) {
		link_close(k);
		return 0;
	}
	watch(k->socket, (!k->socket_ended && !held(&k->up) ? UV_READABLE : 0) |
		(held(&k->down) || (moved && !k->channel_ended) ? UV_WRITABLE : 0), socket_ready);
	return 1;
}

static void socket_ready(uv_poll_t *poll, int status, int events)
{
	struct link *k = poll->data;
	struct ssh_session *s = k->tunnel->session;

	(void)events;
	if (status < 0)
		k->broken = 1;
	s->uses++; /* what ends in here may be the last that held it */
	link_turn(k);
	ssh_settle(s);
	ssh_release(s);
}

/* ---- the listener ---- */

/* Whether a descriptor of this process is the other end: the addresses of both ends say which. */
static int is_other_end(int fd, const struct sockaddr_in *peer, const struct sockaddr_in *own)
{
	struct sockaddr_in at, to;
	socklen_t at_length = sizeof at, to_length = sizeof to;

	if (getsockname(fd, (struct sockaddr *)&at, &at_length) || getpeername(fd, (struct sockaddr *)&to, &to_length))
		return 0;
	return at.sin_family == AF_INET && at.sin_port == peer->sin_port && at.sin_addr.s_addr == peer->sin_addr.s_addr &&
	       to.sin_port == own->sin_port && to.sin_addr.s_addr == own->sin_addr.s_addr;
}

static int is_ours(int fd, const struct sockaddr_in *peer)
{
	struct sockaddr_in own;
	socklen_t length = sizeof own;
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = 0;

	if (!folder || getsockname(fd, (struct sockaddr *)&own, &length)) {
		if (folder)
			closedir(folder);
		return 0;
	}
	while (!found && (entry = readdir(folder)))
		found = *entry->d_name != '.' && atoi(entry->d_name) != fd && is_other_end(atoi(entry->d_name), peer, &own);
	closedir(folder);
	return found;
}

/* Takes the descriptor, and closes it where there is no link for it. */
static void link_new(struct tunnel *t, int fd)
{
	struct link *k = calloc(1, sizeof *k);
	int one = 1;

	if (k)
		k->socket = watched_new(fd, k);
	if (!k || !k->socket) {
		free(k);
		close(fd);
		return;
	}
	k->tunnel = t;
	k->next = t->links;
	t->links = k;
	t->count++;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	k->channel = ssh_channel_new(t->session, t->target, strlen(t->target));
	if (k->channel) {
		k->channel->port = t->target_port;
		k->channel->wanted = 1;
		return;
	}
	t->links = k->next;
	t->count--;
	watched_close(k->socket);
	free(k);
}

static void take_connection(struct tunnel *t, int fd, const struct sockaddr_in *peer)
{
	if (is_ours(fd, peer) && t->count < LINKS_MOST) {
		link_new(t, fd);
		return;
	}
	reset_socket(fd);
	close(fd);
}

static void listener_ready(uv_poll_t *poll, int status, int events)
{
	struct tunnel *t = poll->data;
	struct ssh_session *s = t->session;
	struct sockaddr_in peer;
	socklen_t length = sizeof peer;
	int fd;

	(void)status, (void)events;
	fd = accept4(t->listener->fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		take_connection(t, fd, &peer);
	else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
		watch(t->listener, 0, listener_ready); /* until the next turn, which may find more room */
	ssh_turn(s);
}

static void close_listener(struct tunnel *t)
{
	if (t->listener)
		watched_close(t->listener);
	t->listener = NULL;
}

/* ---- the session's side ---- */

void ssh_tunnels_turn(struct ssh_session *s)
{
	struct link *next;

	for (struct tunnel *t = s->tunnels; t; t = t->next) {
		for (struct link *k = t->links; k; k = next) {
			next = k->next;
			link_turn(k);
		}
		if (ssh_lost(s))
			close_listener(t);
		else if (t->listener)
			watch(t->listener, UV_READABLE, listener_ready);
	}
}

/* Nobody comes in any more, and who is in is thrown out. */
static void tunnel_shut(struct tunnel *t)
{
	struct ssh_session *s = t->session;
	struct tunnel **at;

	if (!s)
		return;
	for (at = &s->tunnels; *at != t;)
		at = &(*at)->next;
	*at = t->next;
	close_listener(t);
	while (t->links) {
		t->links->broken = 1;
		link_close(t->links);
	}
	t->session = NULL;
}

void ssh_tunnels_close(struct ssh_session *s)
{
	while (s->tunnels) {
		tunnel_shut(s->tunnels);
		s->uses--; /* whoever calls this holds it, too */
	}
}

/* ---- Lua's side ---- */

static struct tunnel *check_tunnel(lua_State *L)
{
	return luaL_checkudata(L, 1, TYPE);
}

/* tunnel:close(): its connections break. May be called twice. */
static int tunnel_close(lua_State *L)
{
	struct tunnel *t = check_tunnel(L);
	struct ssh_session *s = t->session;

	tunnel_shut(t);
	if (s)
		ssh_release(s);
	return 0;
}

/* tunnel:port() -> integer */
static int tunnel_port(lua_State *L)
{
	lua_pushinteger(L, check_tunnel(L)->port);
	return 1;
}

/* tunnel:failure() -> why the last connection that broke did | nil */
static int tunnel_failure(lua_State *L)
{
	const struct tunnel *t = check_tunnel(L);

	if (!*t->failure)
		return 0;
	lua_pushstring(L, t->failure);
	return 1;
}

/* tunnel:count() -> how many connections it holds */
static int tunnel_count(lua_State *L)
{
	lua_pushinteger(L, check_tunnel(L)->count);
	return 1;
}

static int listen_anywhere(struct tunnel *t)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, QUEUE) ||
	    getsockname(fd, (struct sockaddr *)&address, &length) || !(t->listener = watched_new(fd, t))) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	t->port = ntohs(address.sin_port);
	watch(t->listener, UV_READABLE, listener_ready);
	return 1;
}

/* session:tunnel(host, port) -> tunnel. Whether anybody listens there shows when somebody connects. */
int ssh_session_tunnel(lua_State *L)
{
	struct ssh_session *s = ssh_session_check(L);
	size_t length;
	const char *host = luaL_checklstring(L, 2, &length);
	lua_Integer port = luaL_checkinteger(L, 3);
	struct tunnel *t;

	luaL_argcheck(L, s->authenticated, 1, "the session is not authenticated");
	luaL_argcheck(L, length > 0 && length < sizeof t->target && strlen(host) == length, 2, "not the name of a host");
	luaL_argcheck(L, port > 0 && port < 65536, 3, "not a port");
	if (ssh_lost(s))
		return error_raise(L, "connect", "%s", s->failure);
	t = lua_newuserdatauv(L, sizeof *t, 0);
	*t = (struct tunnel){.target_port = (int)port};
	memcpy(t->target, host, length + 1);
	luaL_setmetatable(L, TYPE);
	if (!listen_anywhere(t))
		return error_raise(L, "connect", "no port can be listened at: %s", strerror(errno));
	t->session = s;
	t->next = s->tunnels;
	s->tunnels = t;
	s->uses++;
	return 1;
}

void ssh_tunnel_register(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"port", tunnel_port},
		{"count", tunnel_count},
		{"failure", tunnel_failure},
		{"close", tunnel_close},
		{"__gc", tunnel_close},
		{"__close", tunnel_close},
		{NULL, NULL},
	};

	luaL_newmetatable(L, TYPE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
