/* native.http: a request as Lua's options give it: method, headers, body, and where its reply goes. */
#include "http.h"
#include "error.h"
#include "secret.h"
#include "task.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_CHARACTERS "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Pushes the option and returns its text; NULL, and pushes nothing, where it is not given. */
const char *http_text_option(lua_State *L, const char *key)
{
	if (lua_getfield(L, HTTP_OPTIONS, key) == LUA_TNIL) {
		lua_pop(L, 1);
		return NULL;
	}
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "%s is a text", key);
	return lua_tostring(L, -1);
}

bool http_has_control(const char *bytes, size_t length)
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
	if (http_has_control(value, length))
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
	if (lua_getfield(L, HTTP_OPTIONS, "headers") != LUA_TNIL) {
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

static void set_body(lua_State *L, struct exchange *e)
{
	if (lua_getfield(L, HTTP_OPTIONS, "form") != LUA_TNIL) {
		set_form(L, e);
	} else if (lua_getfield(L, HTTP_OPTIONS, "body_file") != LUA_TNIL) {
		set_body_file(L, e);
		http_give_body(e, e->left);
	} else if (lua_getfield(L, HTTP_OPTIONS, "body") != LUA_TNIL) {
		e->body = secret_check(L, lua_gettop(L), &e->body_length);
		lua_pushvalue(L, -1);
		lua_setiuservalue(L, HTTP_SELF, 1);
		http_give_body(e, (curl_off_t)e->body_length);
	}
	lua_settop(L, HTTP_SELF);
}

static bool is_read(const char *method)
{
	return !strcmp(method, "GET") || !strcmp(method, "HEAD") || !strcmp(method, "OPTIONS");
}

static void set_method(lua_State *L, struct exchange *e)
{
	const char *method = http_text_option(L, "method");

	method = method ? method : "GET";
	if (!*method || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method))
		luaL_error(L, "%s is no method", method);
	lua_getfield(L, HTTP_OPTIONS, "reads");
	lua_getfield(L, HTTP_OPTIONS, "raw");
	e->raw = lua_toboolean(L, -1);
	e->changing = (e->raw || !is_read(method)) && !lua_toboolean(L, -2);
	if (e->changing)
		task_may_change(L, "http.open");
	if (!strcmp(method, "HEAD"))
		curl_easy_setopt(e->curl, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(e->curl, CURLOPT_CUSTOMREQUEST, method);
	lua_settop(L, HTTP_SELF);
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
	const char *path = http_text_option(L, "to_file");

	if (path)
		e->sink_fd = open_file(L, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	lua_getfield(L, HTTP_OPTIONS, "only_good");
	e->only_good = lua_toboolean(L, -1);
	lua_getfield(L, HTTP_OPTIONS, "max_bytes");
	e->most = luaL_optinteger(L, -1, 0);
	lua_settop(L, HTTP_SELF);
	http_take_reply(e);
	curl_easy_setopt(e->curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)HTTP_BUFFER);
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

/* http.open(options) -> exchange, begun. Changes its target, unless the method or `reads` says that it reads. */
int http_open(lua_State *L)
{
	static const char *const keys[] = {"url", "method", "headers", "body", "body_file", "form", "to_file",
			"only_good", "max_bytes", "reads", "connect_to", "socket", "ca", "certificate", "key", "ca_data",
			"certificate_data", "key_data", "proxy", "no_proxy", "connect_timeout", "raw", NULL};
	struct exchange *e;

	luaL_checktype(L, HTTP_OPTIONS, LUA_TTABLE);
	lua_settop(L, HTTP_OPTIONS);
	error_check_options(L, HTTP_OPTIONS, keys);
	e = lua_newuserdatauv(L, sizeof *e, 1);
	*e = (struct exchange){.body_fd = -1, .sink_fd = -1};
	luaL_setmetatable(L, EXCHANGE);
	e->curl = curl_easy_init();
	if (!e->curl)
		luaL_error(L, "not enough memory");
	http_set_url(L, e);
	set_method(L, e);
	http_set_connection(L, e);
	set_reply(L, e);
	set_body(L, e);
	set_headers(L, e);
	set_raw(e);
	if (!http_add(e))
		luaL_error(L, "not enough memory");
	return 1;
}
