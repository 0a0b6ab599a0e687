/* native.http: a reply as Lua sees it: what failed, its head, its body as it comes, its times. */
#include "http.h"
#include "error.h"
#include "task.h"

#include <curl/curl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

enum { WAIT_MS = 60000 };

int http_fail(lua_State *L, struct exchange *e)
{
	const char *what = e->problem[0] ? e->problem : curl_easy_strerror(e->result);

	if (e->result == CURLE_ABORTED_BY_CALLBACK)
		what = "the connection broke when the request had been sent";

	if (e->sink_errno)
		return error_raise(L, "remote", "what came could not be written: %s", strerror(e->sink_errno));
	if (e->result == CURLE_WRITE_ERROR && e->most && e->total > e->most)
		return error_raise(L, "protocol", "its body is longer than %I bytes", (LUAI_UACINT)e->most);
	if (e->result == CURLE_WRITE_ERROR && !e->replied)
		return error_raise(L, "protocol", "its headers are longer than %d bytes", HTTP_HEADERS_MAX);
	if (e->result == CURLE_PEER_FAILED_VERIFICATION && !e->begun)
		error_push(L, "auth", "its certificate is not accepted: %s", what);
	else
		error_push(L, e->begun ? "lost" : "connect", "%s", what);
	lua_pushfstring(L, "curl %d", (int)e->result);
	lua_setfield(L, -2, "code");
	return lua_error(L);
}

int http_wait_for(lua_State *L, struct exchange *e, lua_CFunction step)
{
	if (e->waiting && e->waiting != task_current(L))
		return luaL_error(L, "another task waits for this exchange");
	e->waiting = task_current(L);
	return task_park(L, step);
}

struct exchange *http_resumed_exchange(lua_State *L)
{
	struct exchange *e = lua_touserdata(L, 1);

	e->waiting = NULL;
	if (!e->curl)
		error_raise(L, "cancelled", "the exchange was closed");
	return e;
}

/* Pushes the list of { name, value } that came, names in lower case. */
static void push_headers(lua_State *L, const struct exchange *e)
{
	const char *line = e->received, *end = e->received + e->received_length;
	int count = 0;

	lua_newtable(L);
	while (line < end) {
		const char *stop = memchr(line, '\n', (size_t)(end - line)), *colon, *value;
		char name[256];
		size_t length;

		stop = stop ? stop : end;
		colon = memchr(line, ':', (size_t)(stop - line));
		length = colon ? (size_t)(colon - line) : 0;
		if (length && length < sizeof name) {
			for (size_t i = 0; i < length; i++)
				name[i] = (char)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + 32 : line[i]);
			value = colon + 1;
			while (value < stop && (*value == ' ' || *value == '\t'))
				value++;
			while (stop > value && (stop[-1] == '\r' || stop[-1] == ' '))
				stop--;
			lua_createtable(L, 2, 0);
			lua_pushlstring(L, name, length);
			lua_rawseti(L, -2, 1);
			lua_pushlstring(L, value, (size_t)(stop - value));
			lua_rawseti(L, -2, 2);
			lua_rawseti(L, -2, ++count);
		}
		line = memchr(line, '\n', (size_t)(end - line));
		line = line ? line + 1 : end;
	}
}

static const char *version_name(long version)
{
	return version == CURL_HTTP_VERSION_2_0 ? "2" : version == CURL_HTTP_VERSION_1_0 ? "1.0" : "1.1";
}

static int response_step(lua_State *L)
{
	struct exchange *e = http_resumed_exchange(L);
	long status = 0, version = 0;
	char *address = NULL;

	if (!e->replied && !e->done)
		return http_wait_for(L, e, response_step);
	if (!e->replied)
		return http_fail(L, e);
	curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(e->curl, CURLINFO_HTTP_VERSION, &version);
	curl_easy_getinfo(e->curl, CURLINFO_PRIMARY_IP, &address);
	lua_createtable(L, 0, 4);
	lua_pushinteger(L, status);
	lua_setfield(L, -2, "status");
	lua_pushstring(L, version_name(version));
	lua_setfield(L, -2, "version");
	lua_pushstring(L, address);
	lua_setfield(L, -2, "address");
	push_headers(L, e);
	lua_setfield(L, -2, "headers");
	return 1;
}

/* exchange:response([{timeout}]) -> { status, version, address, headers = { { name, value }… } }; waits for it */
int http_reply_response(lua_State *L)
{
	http_check_exchange(L);
	task_deadline(L, 2, WAIT_MS);
	return response_step(L);
}

static int read_step(lua_State *L)
{
	struct exchange *e = http_resumed_exchange(L);

	if (e->at < e->length) {
		lua_pushlstring(L, e->buffer + e->at, e->length - e->at);
		e->at = e->length = 0;
		if (e->paused) {
			e->paused = false;
			curl_easy_pause(e->curl, CURLPAUSE_CONT);
			http_drive(); /* what waits within libcurl has no event on a socket */
		}
		return 1;
	}
	if (!e->done)
		return http_wait_for(L, e, read_step);
	if (e->result != CURLE_OK)
		return http_fail(L, e);
	lua_pushnil(L);
	return 1;
}

/* exchange:read([{timeout}]) -> bytes of the reply's body as they come, nil at its end */
int http_reply_read(lua_State *L)
{
	http_check_exchange(L);
	task_deadline(L, 2, WAIT_MS);
	return read_step(L);
}

static void push_time(lua_State *L, struct exchange *e, CURLINFO which, const char *name)
{
	curl_off_t microseconds = 0;

	curl_easy_getinfo(e->curl, which, &microseconds);
	lua_pushnumber(L, (double)microseconds / 1e6);
	lua_setfield(L, -2, name);
}

/* exchange:timings() -> seconds since it began: { name, connect, tls, sent, first_byte, total }, and received: bytes */
int http_reply_timings(lua_State *L)
{
	struct exchange *e = http_check_exchange(L);

	lua_createtable(L, 0, 7);
	push_time(L, e, CURLINFO_NAMELOOKUP_TIME_T, "name");
	push_time(L, e, CURLINFO_CONNECT_TIME_T, "connect");
	push_time(L, e, CURLINFO_APPCONNECT_TIME_T, "tls");
	push_time(L, e, CURLINFO_PRETRANSFER_TIME_T, "sent");
	push_time(L, e, CURLINFO_STARTTRANSFER_TIME_T, "first_byte");
	push_time(L, e, CURLINFO_TOTAL_TIME_T, "total");
	lua_pushinteger(L, e->total);
	lua_setfield(L, -2, "received");
	return 1;
}
