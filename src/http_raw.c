/* native.http: connections that libcurl makes, and whose bytes are Lua's own: what begins as a request and becomes another
 * protocol (WebSocket, RFC 6455). Frames are masked here, for what is in them may be a secret. */
#include "http.h"
#include "error.h"
#include "secret.h"
#include "task.h"

#include <lauxlib.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SENDING "http.sending"

enum { SELF = 1, SENT = 5, WAIT_MS = 60000, ROOM = 32768, FRAME_HEAD = 14, MASK = 4, FINAL = 0x80, MASKED = 0x80 };

/* Bytes on their way, wiped when they are gone: a userdata at SENT on the stack while they are sent. */
struct sending {
	unsigned char *bytes;
	size_t length, at;
};

static curl_socket_t socket_of(struct exchange *e)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	curl_easy_getinfo(e->curl, CURLINFO_ACTIVESOCKET, &fd);
	return fd;
}

void http_raw_forget(struct exchange *e)
{
	curl_socket_t fd = e->done && e->result == CURLE_OK ? socket_of(e) : CURL_SOCKET_BAD;

	if (fd != CURL_SOCKET_BAD)
		task_unwatch(fd);
}

static int connected_step(lua_State *L)
{
	struct exchange *e = http_resumed_exchange(L);

	if (!e->done)
		return http_wait_for(L, e, connected_step);
	return e->result == CURLE_OK ? 0 : http_fail(L, e);
}

/* exchange:connected([{timeout}]): waits until a raw exchange has its connection; before that nothing can be sent */
int http_raw_connected(lua_State *L)
{
	struct exchange *e = http_check_exchange(L);

	luaL_argcheck(L, e->raw, SELF, "is no raw exchange");
	task_deadline(L, 2, WAIT_MS);
	lua_settop(L, SELF);
	return connected_step(L);
}

static struct exchange *check_connected(lua_State *L)
{
	struct exchange *e = http_check_exchange(L);

	luaL_argcheck(L, e->raw && e->done && e->result == CURLE_OK, SELF, "has no connection");
	return e;
}

static int broke(lua_State *L, struct exchange *e, CURLcode code)
{
	return error_raise(L, "lost", "the connection broke: %s", e->problem[0] ? e->problem : curl_easy_strerror(code));
}

/* ---- sending ---- */

static int sending_free(lua_State *L)
{
	struct sending *s = lua_touserdata(L, 1);

	if (s->bytes)
		explicit_bzero(s->bytes, s->length);
	free(s->bytes);
	*s = (struct sending){0};
	return 0;
}

static struct sending *new_sending(lua_State *L, size_t length)
{
	struct sending *s = lua_newuserdatauv(L, sizeof *s, 0);

	*s = (struct sending){0};
	luaL_setmetatable(L, SENDING);
	lua_toclose(L, -1);
	s->bytes = malloc(length + 1);
	if (!s->bytes)
		luaL_error(L, "not enough memory");
	s->length = length;
	return s;
}

static int send_step(lua_State *L)
{
	struct exchange *e = lua_touserdata(L, SELF);
	struct sending *s = lua_touserdata(L, SENT);

	if (!e->curl)
		return error_raise(L, "cancelled", "the exchange was closed");
	e->begun = true;
	while (s->at < s->length) {
		size_t count = 0;
		CURLcode code = curl_easy_send(e->curl, s->bytes + s->at, s->length - s->at, &count);

		if (code == CURLE_AGAIN)
			return task_wait(L, socket_of(e), TASK_WRITE, send_step);
		if (code != CURLE_OK)
			return broke(L, e, code);
		s->at += count;
	}
	return 0;
}

/* exchange:send(bytes or a secret [, {timeout}]): all of it, over a raw exchange */
int http_raw_send(lua_State *L)
{
	size_t length;
	const char *bytes;

	check_connected(L);
	bytes = secret_check(L, 2, &length);
	task_deadline(L, 3, WAIT_MS);
	lua_settop(L, SENT - 1);
	memcpy(new_sending(L, length)->bytes, bytes, length);
	return send_step(L);
}

/* Writes the head of a frame that is whole and masked. Returns its length; the mask is its last four bytes. */
static size_t write_head(unsigned char *head, unsigned opcode, size_t length)
{
	size_t at = 2, width = length < 126 ? 0 : length <= UINT16_MAX ? 2 : 8;

	head[0] = (unsigned char)(FINAL | opcode);
	head[1] = (unsigned char)(MASKED | (width == 0 ? length : width == 2 ? 126 : 127));
	for (size_t i = 0; i < width; i++)
		head[at++] = (unsigned char)(length >> 8 * (width - 1 - i));
	return at + MASK;
}

/* The options' first and last, positions as in string.sub, cut the bytes. */
static const char *slice(lua_State *L, int arg, const char *bytes, size_t *length)
{
	lua_Integer first, last;

	if (lua_isnoneornil(L, arg))
		return bytes;
	lua_getfield(L, arg, "first");
	lua_getfield(L, arg, "last");
	first = luaL_optinteger(L, -2, 1);
	last = luaL_optinteger(L, -1, (lua_Integer)*length);
	lua_pop(L, 2);
	luaL_argcheck(L, first >= 1 && first <= last + 1 && last <= (lua_Integer)*length, arg,
			"first to last are not there");
	*length = (size_t)(last - first + 1);
	return bytes + first - 1;
}

/* exchange:send_frame(opcode, begin, bytes or a secret [, {timeout, first, last}]): one masked WebSocket frame of both */
int http_raw_send_frame(lua_State *L)
{
	static const char *const keys[] = {"timeout", "first", "last", NULL};
	lua_Integer opcode = luaL_checkinteger(L, 2);
	size_t begin_length, length, head;
	const char *begin = luaL_checklstring(L, 3, &begin_length), *bytes;
	struct sending *s;
	unsigned char *payload, *mask;

	check_connected(L);
	luaL_argcheck(L, opcode >= 0 && opcode < 16, 2, "is no opcode");
	bytes = secret_check(L, 4, &length);
	if (!lua_isnoneornil(L, 5))
		error_check_options(L, 5, keys);
	bytes = slice(L, 5, bytes, &length);
	task_deadline(L, 5, WAIT_MS);
	lua_settop(L, SENT - 1);
	s = new_sending(L, FRAME_HEAD + begin_length + length);
	head = write_head(s->bytes, (unsigned)opcode, begin_length + length);
	mask = s->bytes + head - MASK;
	payload = s->bytes + head;
	if (RAND_bytes(mask, MASK) != 1)
		return luaL_error(L, "libcrypto has no random bytes");
	memcpy(payload, begin, begin_length);
	memcpy(payload + begin_length, bytes, length);
	for (size_t i = 0; i < begin_length + length; i++)
		payload[i] ^= mask[i % MASK];
	s->length = head + begin_length + length;
	return send_step(L);
}

/* ---- receiving ---- */

static int receive_step(lua_State *L)
{
	struct exchange *e = lua_touserdata(L, SELF);
	char room[ROOM];
	size_t count = 0;
	CURLcode code;

	if (!e->curl)
		return error_raise(L, "cancelled", "the exchange was closed");
	code = curl_easy_recv(e->curl, room, sizeof room, &count);
	if (code == CURLE_AGAIN)
		return task_wait(L, socket_of(e), TASK_READ, receive_step);
	if (code != CURLE_OK)
		return broke(L, e, code);
	if (count == 0)
		lua_pushnil(L);
	else
		lua_pushlstring(L, room, count);
	return 1;
}

/* exchange:receive([{timeout}]) -> bytes of a raw exchange as they come, nil at its end */
int http_raw_receive(lua_State *L)
{
	check_connected(L);
	task_deadline(L, 2, WAIT_MS);
	lua_settop(L, SELF);
	return receive_step(L);
}

void http_raw_open(lua_State *L)
{
	static const luaL_Reg methods[] = {{"__gc", sending_free}, {"__close", sending_free}, {NULL, NULL}};

	luaL_newmetatable(L, SENDING);
	luaL_setfuncs(L, methods, 0);
	lua_pop(L, 1);
}
