/* native.http: libcurl's multi interface, driven by the loop. */
#include "http.h"
#include "task.h"

#include <curl/curl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>

enum { CACHE_MAX = 64 }; /* connections that are kept for the next exchange */

/* The multi handle and its timer are the loop's, not a run's. */
static CURLM *multi;
static uv_timer_t timer;

void http_wake(struct exchange *e)
{
	if (e->waiting)
		task_wake(e->waiting);
}

static void note_ended(void)
{
	CURLMsg *message;
	struct exchange *e;
	int left;

	while ((message = curl_multi_info_read(multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&e);
		e->result = message->data.result;
		e->done = true;
		http_wake(e);
	}
}

static void drive(curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(multi, fd, events, &running);
	note_ended();
}

static void socket_ready(uv_poll_t *poll, int status, int events)
{
	int what = 0;

	if (status < 0)
		what = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		what |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		what |= CURL_CSELECT_OUT;
	drive(*(curl_socket_t *)poll->data, what);
}

/* A poll and the socket that it is for: libcurl closes sockets itself, and names them no more then. */
struct watched {
	uv_poll_t poll; /* first: the struct is freed as its handle */
	curl_socket_t fd;
};

static int watch_socket(CURL *curl, curl_socket_t fd, int what, void *context, void *known)
{
	struct watched *w = known;
	int events = 0;

	(void)curl, (void)context;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			uv_close((uv_handle_t *)&w->poll, task_handle_freed);
		curl_multi_assign(multi, fd, NULL);
		return 0;
	}
	if (!w) {
		w = calloc(1, sizeof *w);
		if (!w || uv_poll_init_socket(task_loop(), &w->poll, fd) != 0) {
			free(w);
			return -1;
		}
		w->fd = fd;
		w->poll.data = &w->fd;
		curl_multi_assign(multi, fd, w);
	}
	events |= what & CURL_POLL_IN ? UV_READABLE : 0;
	events |= what & CURL_POLL_OUT ? UV_WRITABLE : 0;
	uv_poll_start(&w->poll, events, socket_ready);
	return 0;
}

static void timer_due(uv_timer_t *handle)
{
	(void)handle;
	drive(CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *handle, long ms, void *context)
{
	(void)handle, (void)context;
	if (ms < 0)
		uv_timer_stop(&timer);
	else
		uv_timer_start(&timer, timer_due, (uint64_t)ms, 0);
	return 0;
}

void http_drive(void)
{
	drive(CURL_SOCKET_TIMEOUT, 0);
}

bool http_add(struct exchange *e)
{
	e->added = curl_multi_add_handle(multi, e->curl) == CURLM_OK;
	return e->added;
}

void http_remove(struct exchange *e)
{
	if (e->added)
		curl_multi_remove_handle(multi, e->curl);
	e->added = false;
}

void http_multi_open(lua_State *L)
{
	if (multi)
		return;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(multi = curl_multi_init()))
		luaL_error(L, "libcurl does not start");
	uv_timer_init(task_loop(), &timer);
	uv_unref((uv_handle_t *)&timer);
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)CACHE_MAX);
}
