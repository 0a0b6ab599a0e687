/* native.http: exchanges over HTTP by libcurl's multi interface, driven by the loop; messages over SMTP (http_mail.c). It
 * follows no redirect, and decides neither whom to trust nor what to repeat. */
#include "http.h"
#include "error.h"
#include "secret.h"
#include "task.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_CHARACTERS "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

enum {
	BUFFER = 256 * 1024, /* bytes that wait to be read before the server is held back */
	HEADERS_MAX = 256 * 1024,
	CONNECT_MS = 15000,
	WAIT_MS = 60000,
	KEEPALIVE_S = 15,
	CACHE_MAX = 64, /* connections that are kept for the next exchange */
};

/* The multi handle and its timer are the loop's, not a run's. */
static CURLM *multi;
static uv_timer_t timer;

/* ---- the loop's side ---- */

static void wake(struct exchange *e)
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
		wake(e);
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
	uv_poll_t poll;
	curl_socket_t fd;
};

static void watched_closed(uv_handle_t *handle)
{
	free(handle);
}

static int watch_socket(CURL *curl, curl_socket_t fd, int what, void *context, void *known)
{
	struct watched *w = known;
	int events = 0;

	(void)curl, (void)context;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			uv_close((uv_handle_t *)&w->poll, watched_closed);
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

/* ---- libcurl's side: called while it is driven; none of these touches Lua ---- */

static size_t take_header(char *line, size_t one, size_t length, void *context)
{
	struct exchange *e = context;
	char *more;

	(void)one;
	if (length >= 5 && !memcmp(line, "HTTP/", 5))
		e->received_length = 0; /* those of a 100, or of a proxy, came before */
	if (e->received_length + length > HEADERS_MAX)
		return 0;
	more = realloc(e->received, e->received_length + length);
	if (!more)
		return 0;
	e->received = more;
	memcpy(e->received + e->received_length, line, length);
	e->received_length += length;
	if (length <= 2) { /* the empty line */
		long status = 0;

		curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &status);
		e->replied = status >= 200 || status == 101;
		wake(e);
	}
	return length;
}

static size_t write_to_sink(struct exchange *e, const char *bytes, size_t length)
{
	for (size_t at = 0; at < length;) {
		ssize_t count = write(e->sink_fd, bytes + at, length - at);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0) {
			e->sink_errno = errno;
			return 0;
		}
		at += (size_t)count;
	}
	return length;
}

static size_t take_body(char *bytes, size_t one, size_t length, void *context)
{
	struct exchange *e = context;

	(void)one;
	if (e->sink_fd >= 0) {
		e->total += (curl_off_t)length;
		if (e->most && e->total > e->most)
			return 0;
		return write_to_sink(e, bytes, length);
	}
	if (e->length - e->at >= BUFFER) {
		e->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (e->length + length > e->size) {
		size_t size = e->length - e->at + length;
		char *more = malloc(size > 2 * BUFFER ? size : 2 * BUFFER);

		if (!more)
			return 0;
		if (e->buffer)
			memcpy(more, e->buffer + e->at, e->length - e->at);
		free(e->buffer);
		e->buffer = more;
		e->size = size > 2 * BUFFER ? size : 2 * BUFFER;
		e->length -= e->at;
		e->at = 0;
	}
	memcpy(e->buffer + e->length, bytes, length);
	e->length += length;
	e->total += (curl_off_t)length;
	wake(e);
	return length;
}

static size_t give_body(char *room, size_t one, size_t length, void *context)
{
	struct exchange *e = context;
	ssize_t count;

	(void)one;
	if (e->body_fd < 0) {
		size_t some = e->body_length - e->body_at < length ? e->body_length - e->body_at : length;

		if (some)
			memcpy(room, e->body + e->body_at, some);
		e->body_at += some;
		return some;
	}
	if (e->left < (curl_off_t)length)
		length = (size_t)e->left;
	do
		count = read(e->body_fd, room, length);
	while (count < 0 && errno == EINTR);
	if (count < 0 || (count == 0 && length > 0))
		return CURL_READFUNC_ABORT; /* it was cut while it was sent */
	e->left -= count;
	return (size_t)count;
}

/* Asked to send it once more: over a connection that was kept and turned out to be dead. */
static int rewind_body(void *context, curl_off_t offset, int origin)
{
	struct exchange *e = context;

	if (origin != SEEK_SET || e->body_fd >= 0)
		return CURL_SEEKFUNC_CANTSEEK;
	e->body_at = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* ---- lifetime ---- */

/* Headers may hold secrets. */
static void wipe(struct curl_slist *list)
{
	for (struct curl_slist *one = list; one; one = one->next)
		explicit_bzero(one->data, strlen(one->data));
	curl_slist_free_all(list);
}

static void wipe_pem(struct pem *pem)
{
	if (pem->bytes)
		explicit_bzero(pem->bytes, pem->length);
	free(pem->bytes);
}

/* exchange:close(): ends it, whatever it is at; may be called twice. */
static int exchange_close(lua_State *L)
{
	struct exchange *e = luaL_checkudata(L, 1, EXCHANGE);

	if (!e->curl)
		return 0;
	if (e->raw)
		http_raw_forget(e);
	if (e->added)
		curl_multi_remove_handle(multi, e->curl);
	curl_easy_cleanup(e->curl);
	curl_mime_free(e->form);
	wipe(e->sent);
	curl_slist_free_all(e->connect_to);
	wipe_pem(&e->certificate);
	wipe_pem(&e->key);
	wipe_pem(&e->ca);
	if (e->body_fd >= 0)
		close(e->body_fd);
	if (e->sink_fd >= 0)
		close(e->sink_fd);
	free(e->received);
	free(e->buffer);
	wake(e);
	*e = (struct exchange){.body_fd = -1, .sink_fd = -1};
	return 0;
}

struct exchange *http_check_exchange(lua_State *L)
{
	struct exchange *e = luaL_checkudata(L, 1, EXCHANGE);

	luaL_argcheck(L, e->curl, 1, "exchange is closed");
	return e;
}

/* ---- the request ---- */

enum { OPTIONS = 1, SELF = 2 }; /* stack indices while an exchange is opened */

static void check(lua_State *L, CURLcode code, const char *what)
{
	if (code != CURLE_OK)
		error_raise(L, "protocol", "%s: %s", what, curl_easy_strerror(code));
}

/* Pushes the option and returns its text; NULL, and pushes nothing, where it is not given. */
static const char *text_option(lua_State *L, const char *key)
{
	if (lua_getfield(L, OPTIONS, key) == LUA_TNIL) {
		lua_pop(L, 1);
		return NULL;
	}
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "%s is a text", key);
	return lua_tostring(L, -1);
}

static void set_text(lua_State *L, struct exchange *e, CURLoption option, const char *key)
{
	const char *text = text_option(L, key);

	if (text) {
		check(L, curl_easy_setopt(e->curl, option, text), key);
		lua_pop(L, 1);
	}
}

static bool has_control(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)bytes[i] < 0x20 && bytes[i] != '\t')
			return true;
	return memchr(bytes, 0x7F, length) != NULL;
}

/* Adds "NAME: VALUE" of the name and value (a text or a secret) on top, and pops them. */
static void add_header(lua_State *L, struct exchange *e)
{
	size_t name_length, length;
	const char *name = luaL_checklstring(L, -2, &name_length);
	const char *value = secret_check(L, lua_gettop(L), &length);
	struct curl_slist *list;
	char *line;

	if (!name_length || strspn(name, NAME_CHARACTERS) != name_length)
		luaL_error(L, "%s is no name of a header", name);
	if (has_control(value, length))
		luaL_error(L, "the header %s holds a control character", name);
	line = malloc(name_length + length + 3);
	if (!line)
		luaL_error(L, "not enough memory");
	/* with a semicolon an empty value is sent, without it the header would be left out */
	memcpy(line, name, name_length);
	memcpy(line + name_length, length ? ": " : ";\0", 2);
	memcpy(line + name_length + (length ? 2 : 1), value, length);
	line[name_length + (length ? 2 + length : 1)] = 0;
	list = curl_slist_append(e->sent, line);
	explicit_bzero(line, name_length + length);
	free(line);
	if (!list)
		luaL_error(L, "not enough memory");
	e->sent = list;
	lua_pop(L, 2);
}

/* headers: { Name = value }, or a list of { Name, value } where order or repetition counts. */
static void set_headers(lua_State *L, struct exchange *e)
{
	if (lua_getfield(L, OPTIONS, "headers") != LUA_TNIL) {
		luaL_checktype(L, -1, LUA_TTABLE);
		for (lua_pushnil(L); lua_next(L, -2);) {
			lua_pushvalue(L, -2);
			lua_insert(L, -2);
			if (lua_isinteger(L, -2)) {
				luaL_checktype(L, -1, LUA_TTABLE);
				lua_geti(L, -1, 1);
				lua_geti(L, -2, 2);
				add_header(L, e);
				lua_pop(L, 2);
			} else {
				add_header(L, e);
			}
		}
	}
	lua_pop(L, 1);
	e->sent = curl_slist_append(e->sent, "Expect:"); /* no waiting for a 100 */
	curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, e->sent);
}

static int open_file(lua_State *L, const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode);
	struct stat found;

	if (fd >= 0 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode))
		return fd;
	if (fd >= 0)
		close(fd);
	return error_raise(L, fd < 0 && errno == ENOENT ? "missing" : "denied", "%s: %s", path,
			fd < 0 ? strerror(errno) : "is no regular file");
}

/* body_file: { path =, offset = 0, length = to its end } */
static void set_body_file(lua_State *L, struct exchange *e)
{
	static const char *const keys[] = {"path", "offset", "length", NULL};
	struct stat found;
	lua_Integer offset;

	error_check_options(L, lua_gettop(L), keys);
	lua_getfield(L, -1, "path");
	e->body_fd = open_file(L, luaL_checkstring(L, -1), O_RDONLY, 0);
	fstat(e->body_fd, &found);
	lua_getfield(L, -2, "offset");
	offset = luaL_optinteger(L, -1, 0);
	lua_getfield(L, -3, "length");
	e->left = luaL_optinteger(L, -1, found.st_size - offset);
	if (offset < 0 || e->left < 0 || offset + e->left > found.st_size)
		error_raise(L, "conflict", "%s has %d bytes, fewer than are to be sent", lua_tostring(L, -3),
				(int)found.st_size);
	lseek(e->body_fd, offset, SEEK_SET);
	lua_pop(L, 3);
}

/* form: a list of { name =, value = } or { name =, file = path, filename =, type = } */
static void set_form(lua_State *L, struct exchange *e)
{
	static const char *const keys[] = {"name", "value", "file", "filename", "type", NULL};
	size_t length;

	e->form = curl_mime_init(e->curl);
	for (lua_Integer i = 1; lua_geti(L, -1, i) == LUA_TTABLE; i++) {
		int part = lua_gettop(L);
		curl_mimepart *one = curl_mime_addpart(e->form);

		error_check_options(L, part, keys);
		lua_getfield(L, part, "name");
		curl_mime_name(one, luaL_checkstring(L, -1));
		if (lua_getfield(L, part, "file") != LUA_TNIL) {
			close(open_file(L, luaL_checkstring(L, -1), O_RDONLY, 0));
			curl_mime_filedata(one, lua_tostring(L, -1));
		} else {
			const char *value;

			lua_getfield(L, part, "value");
			value = secret_check(L, lua_gettop(L), &length);
			curl_mime_data(one, value, length);
		}
		if (lua_getfield(L, part, "filename") != LUA_TNIL)
			curl_mime_filename(one, luaL_checkstring(L, -1));
		if (lua_getfield(L, part, "type") != LUA_TNIL)
			curl_mime_type(one, luaL_checkstring(L, -1));
		lua_settop(L, part - 1);
	}
	lua_pop(L, 1);
	curl_easy_setopt(e->curl, CURLOPT_MIMEPOST, e->form);
}

static void send_body(struct exchange *e, curl_off_t length)
{
	curl_easy_setopt(e->curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(e->curl, CURLOPT_INFILESIZE_LARGE, length);
	curl_easy_setopt(e->curl, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(e->curl, CURLOPT_READDATA, e);
	curl_easy_setopt(e->curl, CURLOPT_SEEKFUNCTION, rewind_body);
	curl_easy_setopt(e->curl, CURLOPT_SEEKDATA, e);
}

static void set_body(lua_State *L, struct exchange *e)
{
	if (lua_getfield(L, OPTIONS, "form") != LUA_TNIL) {
		set_form(L, e);
	} else if (lua_getfield(L, OPTIONS, "body_file") != LUA_TNIL) {
		set_body_file(L, e);
		send_body(e, e->left);
	} else if (lua_getfield(L, OPTIONS, "body") != LUA_TNIL) {
		e->body = secret_check(L, lua_gettop(L), &e->body_length);
		lua_pushvalue(L, -1);
		lua_setiuservalue(L, SELF, 1);
		send_body(e, (curl_off_t)e->body_length);
	}
	lua_settop(L, SELF);
}

static bool is_read(const char *method)
{
	return !strcmp(method, "GET") || !strcmp(method, "HEAD") || !strcmp(method, "OPTIONS");
}

static void set_method(lua_State *L, struct exchange *e)
{
	const char *method = text_option(L, "method");

	method = method ? method : "GET";
	if (!*method || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method))
		luaL_error(L, "%s is no method", method);
	lua_getfield(L, OPTIONS, "reads");
	lua_getfield(L, OPTIONS, "raw");
	e->raw = lua_toboolean(L, -1);
	e->changing = (e->raw || !is_read(method)) && !lua_toboolean(L, -2);
	if (e->changing)
		task_may_change(L, "http.open");
	if (!strcmp(method, "HEAD"))
		curl_easy_setopt(e->curl, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(e->curl, CURLOPT_CUSTOMREQUEST, method);
	lua_settop(L, SELF);
}

static int base64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Decodes what is base64, and copies what is PEM already; whatever is neither is left to libcurl to refuse. */
static void fill_pem(struct pem *pem, const char *text, size_t length)
{
	unsigned bits = 0, held = 0;

	if (length >= 10 && !memcmp(text, "-----BEGIN", 10)) {
		memcpy(pem->bytes, text, length);
		pem->length = length;
		return;
	}
	for (size_t i = 0; i < length && text[i] != '='; i++) {
		int digit = base64_digit(text[i]);

		if (digit < 0)
			continue; /* line ends */
		bits = bits << 6 | (unsigned)digit;
		held += 6;
		if (held >= 8) {
			held -= 8;
			pem->bytes[pem->length++] = (unsigned char)(bits >> held);
		}
	}
}

/* A text or secret, PEM or base64 of it, as a file in memory. */
static void set_pem(lua_State *L, struct exchange *e, CURLoption option, const char *key, struct pem *pem)
{
	struct curl_blob blob = {.flags = CURL_BLOB_NOCOPY};
	const char *text;
	size_t length;

	if (lua_getfield(L, OPTIONS, key) == LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	text = secret_check(L, lua_gettop(L), &length);
	pem->bytes = malloc(length + 1);
	if (!pem->bytes)
		luaL_error(L, "not enough memory");
	fill_pem(pem, text, length);
	lua_pop(L, 1);
	blob.data = pem->bytes;
	blob.len = pem->length;
	check(L, curl_easy_setopt(e->curl, option, &blob), key);
}

/* Whom to connect to, and whom to believe. */
static void set_connection(lua_State *L, struct exchange *e)
{
	const char *to = text_option(L, "connect_to");

	if (to) {
		e->connect_to = curl_slist_append(NULL, lua_pushfstring(L, "::%s", to));
		curl_easy_setopt(e->curl, CURLOPT_CONNECT_TO, e->connect_to);
	}
	lua_settop(L, SELF);
	set_text(L, e, CURLOPT_UNIX_SOCKET_PATH, "socket");
	set_text(L, e, CURLOPT_CAINFO, "ca");
	set_text(L, e, CURLOPT_SSLCERT, "certificate");
	set_text(L, e, CURLOPT_SSLKEY, "key");
	set_pem(L, e, CURLOPT_CAINFO_BLOB, "ca_data", &e->ca);
	set_pem(L, e, CURLOPT_SSLCERT_BLOB, "certificate_data", &e->certificate);
	set_pem(L, e, CURLOPT_SSLKEY_BLOB, "key_data", &e->key);
	set_text(L, e, CURLOPT_PROXY, "proxy");
	set_text(L, e, CURLOPT_NOPROXY, "no_proxy");
	curl_easy_setopt(e->curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(e->curl, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(e->curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(e->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e->curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(e->curl, CURLOPT_PIPEWAIT, 1L);
	curl_easy_setopt(e->curl, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(e->curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e->curl, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_S);
	curl_easy_setopt(e->curl, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_S);
	lua_getfield(L, OPTIONS, "connect_timeout");
	curl_easy_setopt(e->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(luaL_optnumber(L, -1, CONNECT_MS / 1000.0) * 1000));
	lua_pop(L, 1);
}

/*
 * libcurl sends a request again, by another connection, when one that it had kept dies under it. What changes something
 * may have been carried out by then, and is sent once.
 */
static int about_to_send(void *context, char *to, char *from, int to_port, int from_port)
{
	struct exchange *e = context;
	bool again = e->begun;

	(void)to, (void)from, (void)to_port, (void)from_port;
	e->begun = true;
	return again && e->changing ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static void set_reply(lua_State *L, struct exchange *e)
{
	const char *path = text_option(L, "to_file");

	if (path)
		e->sink_fd = open_file(L, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	lua_getfield(L, OPTIONS, "max_bytes");
	e->most = luaL_optinteger(L, -1, 0);
	lua_settop(L, SELF);
	curl_easy_setopt(e->curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(e->curl, CURLOPT_HEADERDATA, e);
	curl_easy_setopt(e->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(e->curl, CURLOPT_WRITEDATA, e);
	curl_easy_setopt(e->curl, CURLOPT_BUFFERSIZE, (long)BUFFER);
	curl_easy_setopt(e->curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER);
	curl_easy_setopt(e->curl, CURLOPT_ERRORBUFFER, e->problem);
	curl_easy_setopt(e->curl, CURLOPT_PRIVATE, (char *)e);
	curl_easy_setopt(e->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e->curl, CURLOPT_PREREQFUNCTION, about_to_send);
	curl_easy_setopt(e->curl, CURLOPT_PREREQDATA, e);
	curl_easy_setopt(e->curl, CURLOPT_PATH_AS_IS, 1L); /* what is signed is what is sent */
}

/* Its connection alone is libcurl's, with TLS, proxies and all: what goes over it is Lua's. HTTP/2 would frame it. */
static void set_raw(struct exchange *e)
{
	if (!e->raw)
		return;
	curl_easy_setopt(e->curl, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(e->curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e->curl, CURLOPT_PIPEWAIT, 0L);
}

static bool is_loopback(CURLU *url)
{
	char *host = NULL;
	bool here;

	if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		return false;
	here = !strcasecmp(host, "localhost") || !strcmp(host, "[::1]") ||
			(!strncmp(host, "127.", 4) && strspn(host, "0123456789.") == strlen(host));
	curl_free(host);
	return here;
}

/* What Lua cannot look at is looked at here: the way of a secret is one that nobody reads. Returns what is wrong. */
static const char *take_url(struct exchange *e, const char *text, bool hidden)
{
	const char *problem = NULL;
	CURLU *url = curl_url();

	if (!url || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
		problem = "the URL is none";
	else if (hidden && !is_loopback(url) && strncmp(text, "https://", 8) != 0)
		problem = "the URL is not https";
	else if (is_loopback(url))
		curl_easy_setopt(e->curl, CURLOPT_PROXY, "");
	curl_url_cleanup(url);
	curl_easy_setopt(e->curl, CURLOPT_URL, text);
	return problem;
}

static void set_url(lua_State *L, struct exchange *e)
{
	size_t length;
	const char *text, *problem;
	char *copy;

	if (lua_getfield(L, OPTIONS, "url") == LUA_TNUMBER)
		luaL_error(L, "url is a text");
	text = secret_check(L, SELF + 1, &length);
	if (has_control(text, length) || memchr(text, ' ', length))
		luaL_error(L, "url is a text without blanks and control characters");
	copy = strndup(text, length);
	if (!copy)
		luaL_error(L, "not enough memory");
	problem = take_url(e, copy, secret_is(L, SELF + 1));
	explicit_bzero(copy, length);
	free(copy);
	if (problem)
		error_raise(L, "denied", "%s", problem);
	lua_settop(L, SELF);
}

/* http.open(options) -> exchange, begun. Changes its target, unless the method or `reads` says that it reads. */
static int http_open(lua_State *L)
{
	static const char *const keys[] = {"url", "method", "headers", "body", "body_file", "form", "to_file",
			"max_bytes", "reads", "connect_to", "socket", "ca", "certificate", "key", "ca_data",
			"certificate_data", "key_data", "proxy", "no_proxy", "connect_timeout", "raw", NULL};
	struct exchange *e;

	luaL_checktype(L, OPTIONS, LUA_TTABLE);
	lua_settop(L, OPTIONS);
	error_check_options(L, OPTIONS, keys);
	e = lua_newuserdatauv(L, sizeof *e, 1);
	*e = (struct exchange){.body_fd = -1, .sink_fd = -1};
	luaL_setmetatable(L, EXCHANGE);
	e->curl = curl_easy_init();
	if (!e->curl)
		luaL_error(L, "not enough memory");
	set_url(L, e);
	set_method(L, e);
	set_connection(L, e);
	set_reply(L, e);
	set_body(L, e);
	set_headers(L, e);
	set_raw(e);
	if (curl_multi_add_handle(multi, e->curl) != CURLM_OK)
		luaL_error(L, "not enough memory");
	e->added = true;
	return 1;
}

/* ---- the reply ---- */

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
		return error_raise(L, "protocol", "its headers are longer than %d bytes", HEADERS_MAX);
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
static int exchange_response(lua_State *L)
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
			drive(CURL_SOCKET_TIMEOUT, 0); /* what waits within libcurl has no event on a socket */
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
static int exchange_read(lua_State *L)
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
static int exchange_timings(lua_State *L)
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

/* ---- opening ---- */

static int start_multi(lua_State *L)
{
	if (multi)
		return 0;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(multi = curl_multi_init()))
		return luaL_error(L, "libcurl does not start");
	uv_timer_init(task_loop(), &timer);
	uv_unref((uv_handle_t *)&timer);
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)CACHE_MAX);
	return 0;
}

int luaopen_http(lua_State *L);

int luaopen_http(lua_State *L)
{
	static const luaL_Reg functions[] = {{"open", http_open}, {"mail", http_mail}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
		{"response", exchange_response},
		{"read", exchange_read},
		{"timings", exchange_timings},
		{"connected", http_raw_connected},
		{"send", http_raw_send},
		{"send_frame", http_raw_send_frame},
		{"receive", http_raw_receive},
		{"close", exchange_close},
		{"__gc", exchange_close},
		{"__close", exchange_close},
		{NULL, NULL},
	};

	start_multi(L);
	http_mail_open(L);
	http_raw_open(L);
	luaL_newmetatable(L, EXCHANGE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
