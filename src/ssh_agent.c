/* Keys kept by an ssh agent: asked over its socket without ever blocking, for it may ask a person or a token. */
#include "error.h"
#include "ssh.h"
#include "task.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	REQUEST_IDENTITIES = 11,
	IDENTITIES_ANSWER = 12,
	SIGN_REQUEST = 13,
	SIGN_RESPONSE = 14,
	RSA_SHA2_256 = 2, /* flags of a sign request */
	RSA_SHA2_512 = 4,
	ANSWER_MOST = 256 * 1024,
	LIST_MS = 20 * 1000,
};

struct ssh_agent {
	int fd;
	struct ssh_buffer out, in;
	struct ssh_buffer blob; /* of the key to sign with */
	unsigned waiting : 1;   /* for an answer */
};

/* What is left of an answer. `bad` once something was longer than what is left. */
struct reader {
	const unsigned char *at, *end;
	int bad;
};

static uint32_t read_u32(struct reader *r)
{
	uint32_t n;

	if (r->end - r->at < 4) {
		r->bad = 1;
		return 0;
	}
	n = (uint32_t)r->at[0] << 24 | (uint32_t)r->at[1] << 16 | (uint32_t)r->at[2] << 8 | r->at[3];
	r->at += 4;
	return n;
}

static struct reader read_string(struct reader *r)
{
	uint32_t n = read_u32(r);
	struct reader s = {r->at, r->at + n, 0};

	if (r->bad || n > (size_t)(r->end - r->at)) {
		r->bad = 1;
		return (struct reader){0};
	}
	r->at += n;
	return s;
}

static int add_u32(struct ssh_buffer *b, size_t n)
{
	char bytes[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

	return ssh_buffer_add(b, bytes, 4);
}

static int add_string(struct ssh_buffer *b, const void *bytes, size_t n)
{
	return add_u32(b, n) && ssh_buffer_add(b, bytes, n);
}

/* ---- one question and its answer ---- */

/* Moves bytes both ways. 1: the answer is whole in `in`, after its length; 0: not yet; -1: the agent failed. */
static int converse(struct ssh_agent *a, struct reader *answer)
{
	char piece[4096];
	ssize_t n;
	uint32_t length;

	while (a->out.start < a->out.end) {
		n = send(a->fd, a->out.bytes + a->out.start, a->out.end - a->out.start, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		a->out.start += (size_t)n;
	}
	while ((n = recv(a->fd, piece, sizeof piece, 0)) > 0)
		if (!ssh_buffer_add(&a->in, piece, (size_t)n) || a->in.end - a->in.start > ANSWER_MOST)
			return -1;
	if (n == 0 || (n < 0 && errno != EAGAIN))
		return -1;
	*answer = (struct reader){(unsigned char *)a->in.bytes + a->in.start, (unsigned char *)a->in.bytes + a->in.end, 0};
	if (a->in.end - a->in.start < 4)
		return 0;
	length = read_u32(answer);
	if (length > (size_t)(answer->end - answer->at))
		return 0;
	answer->end = answer->at + length;
	return length > 0 ? 1 : -1;
}

static int agent_wait(lua_State *L, struct ssh_agent *a, lua_CFunction step)
{
	return task_wait(L, a->fd, a->out.start < a->out.end ? TASK_READ | TASK_WRITE : TASK_READ, step);
}

static int push_keys(lua_State *L, struct reader answer)
{
	int type = *answer.at++;
	uint32_t count = read_u32(&answer);

	if (type != IDENTITIES_ANSWER)
		return error_raise(L, "auth", "the ssh agent refused to list its keys");
	lua_newtable(L);
	for (uint32_t i = 1; i <= count; i++) {
		struct reader blob = read_string(&answer), comment = read_string(&answer);

		if (answer.bad)
			return error_raise(L, "auth", "the ssh agent's answer is malformed");
		lua_createtable(L, 0, 2);
		lua_pushlstring(L, (const char *)blob.at, (size_t)(blob.end - blob.at));
		lua_setfield(L, -2, "blob");
		lua_pushlstring(L, (const char *)comment.at, (size_t)(comment.end - comment.at));
		lua_setfield(L, -2, "comment");
		lua_rawseti(L, -2, i);
	}
	return 1;
}

static int keys_step(lua_State *L)
{
	struct ssh_agent *a = lua_touserdata(L, 1);
	struct reader answer;
	int rc = a->fd < 0 ? -1 : converse(a, &answer);

	if (rc == 0)
		return agent_wait(L, a, keys_step);
	if (rc < 0)
		return error_raise(L, "auth", "the ssh agent does not answer");
	push_keys(L, answer);
	a->in.start = a->in.end;
	return 1;
}

static void ask(struct ssh_agent *a)
{
	a->out.start = a->out.end;
	a->in.start = a->in.end;
}

/* agent:keys() -> { { blob, comment } … } in the agent's order */
static int agent_keys(lua_State *L)
{
	static const char question[] = {0, 0, 0, 1, REQUEST_IDENTITIES};
	struct ssh_agent *a = ssh_agent_check(L, 1);

	lua_settop(L, 1);
	task_deadline(L, 2, LIST_MS);
	ask(a);
	if (!ssh_buffer_add(&a->out, question, sizeof question))
		return luaL_error(L, "not enough memory");
	return keys_step(L);
}

/* ---- signing, as libssh2 calls it ---- */

void ssh_agent_choose(struct ssh_agent *a, const char *blob, size_t length)
{
	ssh_buffer_free(&a->blob);
	ssh_buffer_add(&a->blob, blob, length);
	a->waiting = 0;
}

/* The flags for the algorithm that libssh2 has chosen, which stands in what is to be signed. */
static uint32_t sign_flags(const unsigned char *data, size_t length)
{
	struct reader r = {data, data + length, 0}, name;

	read_string(&r); /* session id */
	if (r.at < r.end)
		r.at++; /* message type */
	for (int skipped = 0; skipped < 3; skipped++)
		read_string(&r); /* user, service, "publickey" */
	if (r.at < r.end)
		r.at++; /* a signature follows */
	name = read_string(&r);
	if (r.bad || name.end - name.at < 12)
		return 0;
	if (!memcmp(name.at, "rsa-sha2-512", 12))
		return RSA_SHA2_512;
	return !memcmp(name.at, "rsa-sha2-256", 12) ? RSA_SHA2_256 : 0;
}

static int ask_to_sign(struct ssh_agent *a, const unsigned char *data, size_t length)
{
	size_t key = a->blob.end - a->blob.start;
	char type = SIGN_REQUEST;

	ask(a);
	return add_u32(&a->out, 1 + 4 + key + 4 + length + 4) && ssh_buffer_add(&a->out, &type, 1) &&
	       add_string(&a->out, a->blob.bytes + a->blob.start, key) && add_string(&a->out, data, length) &&
	       add_u32(&a->out, sign_flags(data, length));
}

/* libssh2 wants the bytes after the algorithm's name, in memory of its own allocator, which is malloc. */
static int take_signature(struct reader answer, unsigned char **signature, size_t *length)
{
	struct reader whole, bytes;

	if (*answer.at++ != SIGN_RESPONSE)
		return -1;
	whole = read_string(&answer);
	if (answer.bad)
		return -1;
	read_string(&whole);
	bytes = read_string(&whole);
	if (whole.bad)
		return -1;
	*length = (size_t)(bytes.end - bytes.at);
	*signature = malloc(*length + 1);
	if (!*signature)
		return LIBSSH2_ERROR_ALLOC;
	memcpy(*signature, bytes.at, *length);
	return 0;
}

/* Repeated by libssh2 until it answers other than EAGAIN. */
int ssh_agent_sign(LIBSSH2_SESSION *ssh, unsigned char **signature, size_t *length, const unsigned char *data,
		   size_t data_length, void **abstract)
{
	struct ssh_agent *a = *abstract;
	struct reader answer;
	int rc;

	(void)ssh;
	if (a->fd < 0 || (!a->waiting && !ask_to_sign(a, data, data_length)))
		return -1;
	rc = converse(a, &answer);
	a->waiting = rc == 0;
	if (rc == 0)
		return LIBSSH2_ERROR_EAGAIN;
	rc = rc < 0 ? -1 : take_signature(answer, signature, length);
	a->in.start = a->in.end;
	return rc;
}

int ssh_agent_waiting(struct ssh_agent *a)
{
	return a->waiting;
}

int ssh_agent_fd(struct ssh_agent *a)
{
	return a->fd;
}

/* ---- the object ---- */

struct ssh_agent *ssh_agent_check(lua_State *L, int arg)
{
	struct ssh_agent *a = luaL_checkudata(L, arg, SSH_AGENT);

	luaL_argcheck(L, a->fd >= 0, arg, "the agent is closed");
	return a;
}

/* agent:close(): may be called twice. */
static int agent_close(lua_State *L)
{
	struct ssh_agent *a = luaL_checkudata(L, 1, SSH_AGENT);

	if (a->fd >= 0) {
		task_unwatch(a->fd);
		close(a->fd);
	}
	a->fd = -1;
	ssh_buffer_free(&a->in);
	ssh_buffer_free(&a->out);
	ssh_buffer_free(&a->blob);
	return 0;
}

/* ssh.agent(path) -> agent. Raises `missing` if nobody listens there. */
int ssh_agent_open(lua_State *L)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length;
	const char *path = luaL_checklstring(L, 1, &length);
	struct ssh_agent *a = lua_newuserdatauv(L, sizeof *a, 0);

	*a = (struct ssh_agent){.fd = -1};
	luaL_setmetatable(L, SSH_AGENT);
	luaL_argcheck(L, length < sizeof address.sun_path, 1, "the path is too long for a socket");
	memcpy(address.sun_path, path, length);
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0 || connect(a->fd, (struct sockaddr *)&address, sizeof address) < 0)
		return error_raise(L, "missing", "no ssh agent at %s: %s", path, strerror(errno));
	return 1;
}

void ssh_agent_register(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"keys", agent_keys}, {"close", agent_close}, {"__gc", agent_close}, {"__close", agent_close}, {NULL, NULL},
	};

	luaL_newmetatable(L, SSH_AGENT);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
