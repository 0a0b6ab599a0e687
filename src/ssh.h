#ifndef NEAP_SSH_H
#define NEAP_SSH_H

#include "stream.h"

#include <libssh2.h>
#include <uv.h>

/*
 * What the parts of native.ssh share: ssh.c (sessions as Lua sees them), ssh_connect.c (how they begin), ssh_socket.c,
 * ssh_proxy.c (over which connection), ssh_wire.c (their bytes), ssh_auth.c (logging in), ssh_agent.c (keys kept by an
 * agent), ssh_channel.c (channels on them), ssh_exec.c (commands), ssh_stream.c (these as streams), ssh_ending.c (and their
 * end), ssh_tunnel.c (ports over sessions).
 *
 * libssh2 never meets a full or an empty socket: it writes into `out` and reads from `in`, and the loop moves these. So no
 * call of its is left half sent, which another call on the same session would corrupt, and a cancelled task leaves nothing
 * behind. A call that waits for an answer belongs to the channel, not to the task, and is repeated from ssh_turn.
 */
struct ssh_buffer {
	char *bytes;
	size_t start, end, size;
};

struct ssh_channel;

/* All sessions, so that none outlives the Lua state; a userdata in the registry. */
struct ssh_world {
	struct ssh_session *sessions;
};

struct ssh_session {
	struct ssh_world *world;
	struct ssh_session *next;
	LIBSSH2_SESSION *ssh;
	int uses;                    /* the userdata, its channels' streams, sessions carried by it; 0: shut down */
	int fd;                      /* of the socket; -1: not connected, or carried by another session */
	struct ssh_channel *carrier; /* of the session that carries this one, else NULL */
	struct ssh_session *carried, *next_carried;
	struct tunnel *tunnels; /* each uses the session */
	int bell; /* an eventfd nobody writes to: tasks wait for it, and are woken when anything has changed */
	uv_poll_t *poll; /* of the socket, or NULL */
	int polled;      /* its events */
	uv_timer_t *timer; /* keepalive, or NULL */
	uv_process_t *command; /* the proxy command while it runs, or NULL */
	int command_error;     /* its error output, or -1 */
	struct ssh_buffer in, out;
	struct ssh_channel *channels, *opening;
	int most_channels; /* that may be open at a time */
	int unanswered;    /* keepalives since the last byte */
	int keepalive_ms, keepalive_most;
	uv_getaddrinfo_t *request; /* under way, or NULL */
	struct addrinfo *addresses, *address; /* found; next to be tried */
	char host[256], peer[64], failure[512];
	int port;
	unsigned connected : 1, resolved : 1, authenticated : 1, busy : 1, turning : 1;
	unsigned ended : 1;  /* nothing more will come */
	unsigned closed : 1;   /* by neap */
	unsigned shutting : 1; /* nobody uses it: it is being freed */
};

enum ssh_state {
	SSH_QUEUED,
	SSH_OPENING,
	SSH_ASKING_PTY,
	SSH_STARTING,
	SSH_RUNNING,
	SSH_ENDED, /* by the server: ch is NULL, what was not read yet lies in out and err */
	SSH_CLOSING,
	SSH_GONE, /* failure says why; ch is NULL */
};

/* One channel. Lives in its session's list until both sides are done with it and no stream points to it. */
struct ssh_channel {
	struct ssh_session *session;
	struct ssh_channel *next;
	LIBSSH2_CHANNEL *ch;
	enum ssh_state state;
	char *text;           /* the command, or a subsystem's name, or the host of a direct-tcpip */
	int port;             /* of a direct-tcpip, else 0 */
	struct ssh_buffer out, err; /* taken from libssh2, but not read yet */
	struct ssh_buffer unsent;
	char failure[512], signal_name[16];
	int status;
	int pid; /* 0: not known */
	unsigned wanted : 1; /* a stream or a carried session uses it */
	unsigned subsystem : 1, pty : 1;
	unsigned urgent : 1;    /* it ends another's command */
	unsigned requested : 1; /* the server may have started it */
	unsigned pid_awaited : 1;
	unsigned ending : 1, killed : 1; /* it is to be killed; a kill has been sent */
};

/* A channel as Lua sees it. */
struct ssh_handle {
	struct stream stream;
	struct ssh_channel *channel;
};

#define SSH_SESSION "ssh.session"
#define SSH_CHANNEL "ssh.channel"
#define SSH_AGENT   "ssh.agent"

/* ssh_wire.c */
int ssh_buffer_add(struct ssh_buffer *b, const char *bytes, size_t n);
size_t ssh_buffer_take(struct ssh_buffer *b, char *bytes, size_t n);
void ssh_buffer_free(struct ssh_buffer *b);
int ssh_wire_attach(struct ssh_session *s); /* a fresh libssh2 session that talks through s; 0: no memory */
int ssh_wire_watch(struct ssh_session *s);
void ssh_wire_unwatch(struct ssh_session *s);
int ssh_wire_full(const struct ssh_session *s);

/* Nothing more will come: the text is kept for all who ask. The first text stays. */
void ssh_break(struct ssh_session *s, const char *fmt, ...);

/* Whether everything that came before the end has been read. */
int ssh_lost(const struct ssh_session *s);

/* Whether libssh2's error leaves the session unusable; if so it is broken. */
int ssh_check(struct ssh_session *s, long rc);

/* Sends what lies ready, and waits for what can come. After each call of libssh2 from a task. */
void ssh_settle(struct ssh_session *s);

/* Advances all channels of the session and of those it carries, then wakes their tasks. */
void ssh_turn(struct ssh_session *s);
void ssh_ring(struct ssh_session *s);
const char *ssh_last_error(struct ssh_session *s);

/* ssh.c */

/* Puts a new one at index arg; it is closed when nobody uses it. */
struct ssh_session *ssh_session_new(lua_State *L, int arg);
void ssh_release(struct ssh_session *s);
struct ssh_session *ssh_session_check(lua_State *L); /* at index 1; raises a mistake if it is closed */
struct ssh_session *ssh_session_open(lua_State *L);  /* the same in a step: raises `lost` */
void ssh_authenticated(struct ssh_session *s);

/* ssh_connect.c */
int ssh_connect(lua_State *L);

/* The key exchange, once there is a connection, or may be. The session is the userdata at index 1. */
int ssh_connect_step(lua_State *L);

/* Raises "connect" with the host, its address and its port. */
int ssh_connect_raise(lua_State *L, struct ssh_session *s, const char *why);

/* ssh_socket.c, ssh_proxy.c: connect, and go on with ssh_connect_step. */
int ssh_socket_connect(lua_State *L, struct ssh_session *s);
int ssh_proxy_command(lua_State *L, struct ssh_session *s, const char *command); /* a program's input and output */
int ssh_proxy_through(lua_State *L, struct ssh_session *s, struct ssh_session *other); /* made by its host */
void ssh_socket_close(struct ssh_session *s);
void ssh_proxy_stop(struct ssh_session *s);
void ssh_proxy_leave(struct ssh_session *s); /* lets go of the session that carries this one */

/* ssh_auth.c */
int ssh_session_auth_methods(lua_State *L);
int ssh_session_offer(lua_State *L);
int ssh_session_auth_key(lua_State *L);
int ssh_session_auth_agent(lua_State *L);

/* ssh_channel.c */

/* Queued; the next turn opens it. NULL: no memory. The text is a command until the caller says otherwise. */
struct ssh_channel *ssh_channel_new(struct ssh_session *s, const char *text, size_t length);
void ssh_channels_turn(struct ssh_session *s);
int ssh_channels_ending(const struct ssh_session *s);
void ssh_channels_free(struct ssh_session *s);
void ssh_channels_close(struct ssh_session *s); /* what runs on them is ended, their streams are lost */

/* Whether the server has closed its side: the exit status, if any, has come by then. */
int ssh_channel_ended(struct ssh_channel *c);

/* The server is done with it. Its place is given back at once, for the server counts those it has not seen closed. */
void ssh_channel_harvest(struct ssh_channel *c);

/* Sends of what is unsent as much as goes. */
void ssh_channel_send(struct ssh_channel *c);

/* ssh_ending.c */
int ssh_ending(lua_State *L);

/* Ends the command there, once. */
void ssh_channel_kill(struct ssh_channel *c);

/* Reads the line with the process id byte by byte: what follows is the command's. Returns 1 when that is settled. */
int ssh_channel_take_pid(struct ssh_channel *c);

/* ssh_stream.c */
ssize_t ssh_channel_read(struct ssh_channel *c, int err, char *buf, size_t n);
ssize_t ssh_channel_write(struct ssh_channel *c, const char *buf, size_t n);
int ssh_channel_end(struct ssh_channel *c); /* nothing more is written: 0, STREAM_AGAIN, STREAM_LOST */
const char *ssh_channel_failure(struct ssh_channel *c);

/* Nobody reads it any more: what runs is ended, what was to start is not. */
void ssh_channel_abandon(struct ssh_channel *c);
void ssh_stream_push(lua_State *L, struct ssh_channel *c); /* the stream, which uses its session */
void ssh_stream_register(lua_State *L);

/* ssh_exec.c */
void ssh_exec_register(lua_State *L);
int ssh_session_exec(lua_State *L);
int ssh_session_subsystem(lua_State *L);

/* ssh_tunnel.c */
void ssh_tunnels_turn(struct ssh_session *s);
void ssh_tunnels_close(struct ssh_session *s); /* whoever calls it uses the session, too */
void ssh_tunnel_register(lua_State *L);
int ssh_session_tunnel(lua_State *L);

/* ssh_agent.c */
void ssh_agent_register(lua_State *L);
int ssh_agent_open(lua_State *L);
struct ssh_agent;
int ssh_agent_fd(struct ssh_agent *a);
int ssh_agent_waiting(struct ssh_agent *a);
struct ssh_agent *ssh_agent_check(lua_State *L, int arg);
int ssh_agent_sign(LIBSSH2_SESSION *ssh, unsigned char **signature, size_t *length, const unsigned char *data,
		   size_t data_length, void **abstract);
void ssh_agent_choose(struct ssh_agent *a, const char *blob, size_t length);

#endif
