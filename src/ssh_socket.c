/* A socket to the host of an ssh session: its name resolved, its addresses tried in turn. */
#include "ssh.h"
#include "task.h"
#include "tcp.h"

#include <errno.h>
#include <lauxlib.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void ssh_socket_close(struct ssh_session *s)
{
	ssh_wire_unwatch(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* Starts connecting to the next address. If that fails at once, s->failure says why. */
static void try_address(struct ssh_session *s)
{
	struct addrinfo *a = s->address;

	s->address = a->ai_next;
	getnameinfo(a->ai_addr, a->ai_addrlen, s->peer, sizeof s->peer, NULL, 0, NI_NUMERICHOST);
	s->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	*s->failure = 0;
	if (s->fd >= 0)
		tcp_tune(s->fd);
	if (s->fd < 0 || (connect(s->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS))
		snprintf(s->failure, sizeof s->failure, "%s", strerror(errno));
	else if (ssh_wire_watch(s) < 0)
		snprintf(s->failure, sizeof s->failure, "the socket cannot be watched");
}

/* Until a socket is connected; its failure is that of the last address. */
static int connect_socket_step(lua_State *L)
{
	struct ssh_session *s = ssh_session_open(L);

	if (!s->resolved)
		return task_wait(L, s->bell, TASK_READ, connect_socket_step);
	while (!s->connected) {
		if (s->fd >= 0 && !*s->failure)
			return task_wait(L, s->bell, TASK_READ, connect_socket_step);
		ssh_socket_close(s);
		if (!s->address)
			return ssh_connect_raise(L, s, *s->failure ? s->failure : "no address");
		try_address(s);
	}
	return ssh_connect_step(L);
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
	struct ssh_session *s = request->data;

	free(request);
	if (!s) {
		uv_freeaddrinfo(addresses);
		return;
	}
	s->request = NULL;
	s->resolved = 1;
	s->addresses = s->address = addresses;
	if (status < 0)
		snprintf(s->failure, sizeof s->failure, "the name cannot be resolved: %s", uv_strerror(status));
	ssh_ring(s);
	ssh_release(s);
}

int ssh_socket_connect(lua_State *L, struct ssh_session *s)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	uv_getaddrinfo_t *request = malloc(sizeof *request);
	char port[16];
	int rc;

	if (!request)
		return luaL_error(L, "not enough memory");
	snprintf(port, sizeof port, "%d", s->port);
	request->data = s;
	s->uses++;
	rc = uv_getaddrinfo(task_loop(), request, resolved, s->host, port, &hints);
	if (rc < 0) {
		free(request);
		s->uses--;
		return ssh_connect_raise(L, s, uv_strerror(rc));
	}
	s->request = request;
	return connect_socket_step(L);
}
