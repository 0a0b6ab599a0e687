/* native.http: exchanges over HTTP; messages over SMTP (http_mail.c). It follows no redirect, and decides neither whom to
 * trust nor what to repeat. */
#include "http.h"

#include <curl/curl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Headers may hold secrets. */
static void wipe(struct curl_slist *list)
{
	for (struct curl_slist *one = list; one; one = one->next)
		explicit_bzero(one->data, strlen(one->data));
	curl_slist_free_all(list);
}

/* exchange:close(): ends it, whatever it is at; may be called twice. */
static int exchange_close(lua_State *L)
{
	struct exchange *e = luaL_checkudata(L, 1, EXCHANGE);

	if (!e->curl)
		return 0;
	if (e->raw)
		http_raw_forget(e);
	http_remove(e);
	curl_easy_cleanup(e->curl);
	curl_mime_free(e->form);
	wipe(e->sent);
	http_forget_way(e);
	if (e->body_fd >= 0)
		close(e->body_fd);
	if (e->sink_fd >= 0)
		close(e->sink_fd);
	free(e->received);
	free(e->buffer);
	http_wake(e);
	*e = (struct exchange){.body_fd = -1, .sink_fd = -1};
	return 0;
}

struct exchange *http_check_exchange(lua_State *L)
{
	struct exchange *e = luaL_checkudata(L, 1, EXCHANGE);

	luaL_argcheck(L, e->curl, 1, "exchange is closed");
	return e;
}

int luaopen_http(lua_State *L)
{
	static const luaL_Reg functions[] = {{"open", http_open}, {"mail", http_mail}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
		{"response", http_reply_response},
		{"read", http_reply_read},
		{"timings", http_reply_timings},
		{"connected", http_raw_connected},
		{"send", http_raw_send},
		{"send_frame", http_raw_send_frame},
		{"receive", http_raw_receive},
		{"close", exchange_close},
		{"__gc", exchange_close},
		{"__close", exchange_close},
		{NULL, NULL},
	};

	http_multi_open(L);
	http_mail_open(L);
	http_raw_open(L);
	luaL_newmetatable(L, EXCHANGE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
