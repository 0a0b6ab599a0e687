/* How a command on a host is ended: by its process id, which it tells before anything else. */
#include "ssh.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PID_LINE = 12 }; /* longer is none */

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

void ssh_channel_kill(struct ssh_channel *c)
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

int ssh_channel_take_pid(struct ssh_channel *c)
{
	char line[PID_LINE + 1] = "";
	size_t length;
	char byte;

	while (c->pid_awaited) {
		ssize_t n = libssh2_channel_read(c->ch, &byte, 1);

		if (n == LIBSSH2_ERROR_EAGAIN || (n == 0 && !ssh_channel_ended(c)))
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
