/* Connections that something else makes: a proxy command, or another session's host. */
#include "ssh.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a command ---- */

void ssh_proxy_stop(struct ssh_session *s)
{
	if (s->command) {
		s->command->data = NULL;
		kill(-s->command->pid, SIGTERM);
	}
	s->command = NULL;
	if (s->command_error >= 0)
		close(s->command_error);
	s->command_error = -1;
}

static void command_exited(uv_process_t *process, int64_t status, int signal)
{
	struct ssh_session *s = process->data;

	(void)status, (void)signal;
	if (s)
		s->command = NULL; /* its number may soon be another's */
	uv_close((uv_handle_t *)process, task_handle_freed);
}

/* Starts it with its ends of the connection and of the pipe for its errors; returns 0 or libuv's error. */
static int start_command(struct ssh_session *s, const char *command, int end, int errors)
{
	char *argv[] = {"sh", "-c", (char *)command, NULL};
	uv_stdio_container_t stdio[] = {
		{.flags = UV_INHERIT_FD, .data.fd = end},
		{.flags = UV_INHERIT_FD, .data.fd = end},
		{.flags = UV_INHERIT_FD, .data.fd = errors},
	};
	uv_process_options_t options = {
		.exit_cb = command_exited,
		.file = "/bin/sh",
		.args = argv,
		.flags = UV_PROCESS_DETACHED,
		.stdio_count = 3,
		.stdio = stdio,
	};
	uv_process_t *process = calloc(1, sizeof *process);
	int rc;

	if (!process)
		return UV_ENOMEM;
	rc = uv_spawn(task_loop(), process, &options);
	uv_unref((uv_handle_t *)process);
	process->data = s;
	if (rc < 0)
		uv_close((uv_handle_t *)process, task_handle_freed);
	else
		s->command = process;
	return rc;
}

/* Makes both ends of the connection and of the pipe for errors; the session's are its own, and the program's block. */
static int make_ends(struct ssh_session *s, int *end, int *errors)
{
	int ends[2], pipe[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return -errno;
	s->fd = ends[0];
	if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
		rc = -errno;
		close(ends[1]);
		return rc;
	}
	s->command_error = pipe[0];
	fcntl(ends[1], F_SETFL, 0);
	fcntl(pipe[1], F_SETFL, 0);
	*end = ends[1];
	*errors = pipe[1];
	return 0;
}

int ssh_proxy_command(lua_State *L, struct ssh_session *s, const char *command)
{
	int end = -1, errors = -1, rc = make_ends(s, &end, &errors);

	if (rc < 0)
		return ssh_connect_raise(L, s, strerror(-rc));
	rc = start_command(s, command, end, errors);
	close(end);
	close(errors);
	if (rc < 0)
		return ssh_connect_raise(L, s, uv_strerror(rc));
	s->connected = 1;
	if (ssh_wire_watch(s) < 0)
		return ssh_connect_raise(L, s, "the proxy command cannot be watched");
	return ssh_connect_step(L);
}

/* ---- another session ---- */

void ssh_proxy_leave(struct ssh_session *s)
{
	struct ssh_channel *c = s->carrier;
	struct ssh_session *below, **at;

	if (!c)
		return;
	s->carrier = NULL;
	below = c->session;
	for (at = &below->carried; *at != s;)
		at = &(*at)->next_carried;
	*at = s->next_carried;
	ssh_channel_abandon(c);
	ssh_release(below);
}

int ssh_proxy_through(lua_State *L, struct ssh_session *s, struct ssh_session *other)
{
	s->carrier = ssh_channel_new(other, s->host, strlen(s->host));
	if (!s->carrier)
		return luaL_error(L, "not enough memory");
	s->carrier->port = s->port;
	s->carrier->wanted = 1;
	s->next_carried = other->carried;
	other->carried = s;
	other->uses++;
	ssh_turn(other);
	return ssh_connect_step(L);
}
