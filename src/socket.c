/* native.socket: Unix sockets of this machine, by which a worker and those who look at it talk; and its ports. */
#include "error.h"
#include "stream.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTION "socket.connection"
#define SERVER "socket.server"

enum { QUEUE = 16, CONNECT_MS = 5000 };

struct connection {
	struct stream stream;
	int fd; /* -1 once closed */
	const char *failure;
};

struct server {
	int fd, folder; /* -1 once closed */
	char name[64];  /* below folder */
};

/* ---- a connection as a stream; it has no error output and no exit status ---- */

static ssize_t answer(struct connection *c, ssize_t count)
{
	if (count >= 0)
		return count;
	if (errno == EAGAIN || errno == EINTR)
		return STREAM_AGAIN;
	c->failure = strerror(errno);
	return STREAM_LOST;
}

static ssize_t connection_read(struct stream *s, int err, char *buf, size_t n)
{
	struct connection *c = (struct connection *)s;

	return err ? 0 : answer(c, recv(c->fd, buf, n, 0));
}

static ssize_t connection_write(struct stream *s, const char *buf, size_t n)
{
	struct connection *c = (struct connection *)s;

	return answer(c, send(c->fd, buf, n, MSG_NOSIGNAL));
}

static int connection_close_input(struct stream *s)
{
	shutdown(((struct connection *)s)->fd, SHUT_WR);
	return 0;
}

static int connection_exited(struct stream *s, int *status, char signal_name[16])
{
	(void)s, (void)status, (void)signal_name;
	return 0;
}

static int connection_wait(lua_State *L, struct stream *s, int events, lua_CFunction step)
{
	return task_wait(L, ((struct connection *)s)->fd, events, step);
}

static void connection_wake(struct stream *s)
{
	task_wake_fd(((struct connection *)s)->fd);
}

static void connection_cancel(struct stream *s)
{
	shutdown(((struct connection *)s)->fd, SHUT_RDWR);
}

static void connection_close(struct stream *s)
{
	struct connection *c = (struct connection *)s;

	task_unwatch(c->fd);
	close(c->fd);
	c->fd = -1;
}

static const char *connection_failure(struct stream *s)
{
	return ((struct connection *)s)->failure;
}

static const struct stream_ops connection_ops = {
	.read = connection_read,
	.write = connection_write,
	.close_input = connection_close_input,
	.exited = connection_exited,
	.wait = connection_wait,
	.wake = connection_wake,
	.cancel = connection_cancel,
	.close = connection_close,
	.failure = connection_failure,
};

static struct connection *push_connection(lua_State *L)
{
	struct connection *c = lua_newuserdatauv(L, sizeof *c, 0);

	*c = (struct connection){.fd = -1};
	luaL_setmetatable(L, CONNECTION);
	return c;
}

/* connection:peer() -> uid, pid of the process at the other end, as the kernel knows them */
static int connection_peer(lua_State *L)
{
	struct connection *c = (struct connection *)stream_check(L, 1);
	struct ucred peer;
	socklen_t length = sizeof peer;

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return error_raise(L, "lost", "the other end is not known: %s", strerror(errno));
	lua_pushinteger(L, peer.uid);
	lua_pushinteger(L, peer.pid);
	return 2;
}

/* ---- addresses ---- */

/*
 * Opens the folder of path and names the socket by way of it: an address has room for 107 bytes, a path may be longer.
 * Returns the folder's descriptor.
 */
static int address_of(lua_State *L, const char *path, struct sockaddr_un *address, char name[64])
{
	const char *slash = strrchr(path, '/');
	int folder;

	luaL_argcheck(L, slash && slash[1] && strlen(slash + 1) < 64, 1, "not a path with a short name at its end");
	snprintf(name, 64, "%s", slash + 1);
	lua_pushlstring(L, path, slash == path ? 1 : (size_t)(slash - path));
	folder = open(lua_tostring(L, -1), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return error_raise(L, errno == ENOENT ? "missing" : "denied", "%s: %s", path, strerror(errno));
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", folder, name);
	return folder;
}

/* ---- the server ---- */

/* server:close(): may be called twice. */
static int server_close(lua_State *L)
{
	struct server *server = luaL_checkudata(L, 1, SERVER);

	if (server->fd < 0)
		return 0;
	task_unwatch(server->fd);
	close(server->fd);
	unlinkat(server->folder, server->name, 0);
	close(server->folder);
	server->fd = server->folder = -1;
	return 0;
}

static int bind_socket(int fd, const struct sockaddr_un *address)
{
	mode_t mask = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)address, sizeof *address);

	umask(mask);
	return rc;
}

/* socket.listen(path) -> server: for this login alone (0600). What stood there is replaced: the caller holds a lock. */
static int socket_listen(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct server *server = lua_newuserdatauv(L, sizeof *server, 0);
	struct sockaddr_un address;

	*server = (struct server){.fd = -1, .folder = -1};
	luaL_setmetatable(L, SERVER);
	server->folder = address_of(L, path, &address, server->name);
	lua_settop(L, 2);
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	unlinkat(server->folder, server->name, 0);
	if (server->fd < 0 || bind_socket(server->fd, &address) != 0 || listen(server->fd, QUEUE) != 0)
		return error_raise(L, "denied", "%s cannot be listened at: %s", path, strerror(errno));
	return 1;
}

static int accept_step(lua_State *L)
{
	struct server *server = lua_touserdata(L, 1);
	struct connection *c;
	int fd;

	if (server->fd < 0)
		return error_raise(L, "lost", "the server is closed");
	fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return task_wait(L, server->fd, TASK_READ, accept_step);
	if (fd < 0)
		return error_raise(L, "lost", "no connection can be taken: %s", strerror(errno));
	c = push_connection(L);
	c->fd = fd;
	c->stream.ops = &connection_ops;
	return 1;
}

/* server:accept() -> connection, a stream; waits for the next one */
static int server_accept(lua_State *L)
{
	luaL_checkudata(L, 1, SERVER);
	lua_settop(L, 1);
	task_deadline(L, 2, INT32_MAX);
	return accept_step(L);
}

/* ---- the client ---- */

static int connect_step(lua_State *L)
{
	struct connection *c = lua_touserdata(L, 1);
	int problem = 0;
	socklen_t length = sizeof problem;

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &length);
	if (problem)
		return error_raise(L, "connect", "nobody answers: %s", strerror(problem));
	lua_settop(L, 1);
	return 1;
}

/* socket.connect(path) -> connection, a stream. Raises connect where nobody listens, missing where there is none. */
static int socket_connect(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct connection *c = push_connection(L);
	struct sockaddr_un address;
	char name[64];
	int folder, rc;

	lua_insert(L, 1);
	folder = address_of(L, path, &address, name);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c->stream.ops = &connection_ops;
	rc = connect(c->fd, (struct sockaddr *)&address, sizeof address);
	rc = rc ? errno : 0;
	close(folder);
	task_deadline(L, 3, CONNECT_MS);
	if (rc == 0)
		return connect_step(L);
	if (rc == EAGAIN || rc == EINPROGRESS)
		return task_wait(L, c->fd, TASK_WRITE, connect_step);
	return error_raise(L, rc == ENOENT ? "missing" : "connect", "%s: %s", path, strerror(rc));
}

/* socket.connect_port(port) -> connection, a stream: to a port of 127.0.0.1, such as a tunnel's. Raises connect. */
static int socket_connect_port(lua_State *L)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	lua_Integer port = luaL_checkinteger(L, 1);
	struct connection *c;

	luaL_argcheck(L, port > 0 && port < 65536, 1, "not a port");
	lua_settop(L, 0);
	c = push_connection(L);
	address.sin_port = htons((uint16_t)port);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c->stream.ops = &connection_ops;
	task_deadline(L, 2, CONNECT_MS);
	if (connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0)
		return connect_step(L);
	if (errno == EINPROGRESS)
		return task_wait(L, c->fd, TASK_WRITE, connect_step);
	return error_raise(L, "connect", "port %d: %s", (int)port, strerror(errno));
}

/*
 * socket.tell(path, text) -> whether somebody takes it: a datagram to a Unix socket, "@NAME" one that is in no folder. As
 * sd_notify(3) does; nothing is waited for.
 */
static int socket_tell(lua_State *L)
{
	size_t length, text_length;
	const char *path = luaL_checklstring(L, 1, &length), *text = luaL_checklstring(L, 2, &text_length);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	luaL_argcheck(L, length > 0 && length < sizeof address.sun_path, 1, "not a socket's path, or too long");
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		*address.sun_path = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	lua_pushboolean(L, sendto(fd, text, text_length, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address,
				  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) >= 0);
	close(fd);
	return 1;
}

int luaopen_socket(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"listen", socket_listen},
		{"connect", socket_connect},
		{"connect_port", socket_connect_port},
		{"tell", socket_tell},
		{NULL, NULL},
	};
	static const luaL_Reg methods[] = {
		{"accept", server_accept},
		{"close", server_close},
		{"__gc", server_close},
		{"__close", server_close},
		{NULL, NULL},
	};

	stream_newmetatable(L, CONNECTION);
	lua_pushcfunction(L, connection_peer);
	lua_setfield(L, -2, "peer");
	luaL_newmetatable(L, SERVER);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
