/* http.mail: one message to a server of mail (SMTP). Whether the server can have taken it is told apart from whether it
 * said so. libcurl waits for the last replies of SMTP itself, multi interface or not, so each message has a thread. */
#include "http.h"
#include "error.h"
#include "secret.h"
#include "task.h"

#include <curl/curl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LETTER "http.letter"

enum {
	SAID = 2048,             /* bytes that are kept of a reply */
	REPLIES_MAX = 64 * 1024, /* bytes of all replies */
	CONNECT_MS = 15000,
	WAIT_MS = 300000,
	REPLY_S = 600, /* a server may take its time over a message */
	FAREWELL_S = 1,
};

/* One message on its way: of its thread and of Lua, freed when both have let go of it. */
struct letter {
	uv_thread_t thread;
	uv_async_t finished; /* the thread is at its end */
	uv_mutex_t lock; /* over given_up and at: what is given up is not handed over any more */
	bool given_up;
	size_t at;
	CURL *curl; /* the thread's, once it runs */
	struct curl_slist *to;
	char *body;
	size_t length;
	char said[SAID]; /* the server's last reply */
	size_t said_length, replies;
	bool said_all, parting;
	long code, answer; /* of the last reply, of that to the whole message; 0: none came */
	CURLcode result;
	char problem[CURL_ERROR_SIZE];
	bool running;
	int uses; /* Lua's, and the handle's */
	struct task *waiting;
};

/* What Lua holds. */
struct holder {
	struct letter *letter; /* NULL once closed */
	bool handed;           /* then: whether all had gone out */
};

enum { OPTIONS = 1, SELF = 2 };

/* ---- the thread's side ---- */

/* From its last byte on the server may have the message whole. */
static bool is_handed_over(struct letter *l)
{
	bool handed;

	uv_mutex_lock(&l->lock);
	handed = l->at == l->length;
	uv_mutex_unlock(&l->lock);
	return handed;
}

static long code_of(const char *line, size_t length)
{
	long code = 0;

	for (size_t i = 0; i < 3; i++) {
		if (i >= length || line[i] < '0' || line[i] > '9')
			return 0;
		code = code * 10 + line[i] - '0';
	}
	return code;
}

static size_t take_reply(char *line, size_t one, size_t length, void *context)
{
	struct letter *l = context;
	size_t room;

	(void)one;
	l->replies += length;
	if (l->replies > REPLIES_MAX)
		return 0;
	if (l->parting)
		return length;
	if (l->said_all)
		l->said_length = 0;
	room = SAID - l->said_length;
	memcpy(l->said + l->said_length, line, length < room ? length : room);
	l->said_length += length < room ? length : room;
	l->said_all = code_of(line, length) && (length < 4 || line[3] != '-');
	if (!l->said_all)
		return length;
	l->code = code_of(line, length);
	if (is_handed_over(l) && !l->answer)
		l->answer = l->code;
	return length;
}

static size_t give_message(char *room, size_t one, size_t length, void *context)
{
	struct letter *l = context;
	size_t some;

	(void)one;
	uv_mutex_lock(&l->lock);
	some = l->length - l->at < length ? l->length - l->at : length;
	if (l->given_up)
		some = CURL_READFUNC_ABORT;
	else
		l->at += some;
	if (!l->given_up)
		memcpy(room, l->body + l->at - some, some);
	uv_mutex_unlock(&l->lock);
	return some;
}

static int see_progress(void *context, curl_off_t down, curl_off_t downed, curl_off_t up, curl_off_t upped)
{
	struct letter *l = context;
	int stop;

	(void)down, (void)downed, (void)up, (void)upped;
	uv_mutex_lock(&l->lock);
	stop = l->given_up;
	uv_mutex_unlock(&l->lock);
	return stop;
}

/* A server that does not answer to QUIT holds up the result that is known already. */
static int see_command(CURL *curl, curl_infotype type, char *bytes, size_t length, void *context)
{
	struct letter *l = context;

	if (type == CURLINFO_HEADER_OUT && length >= 4 && !memcmp(bytes, "QUIT", 4)) {
		curl_easy_setopt(curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)FAREWELL_S);
		l->parting = true;
	}
	return 0;
}

static void send_it(void *context)
{
	struct letter *l = context;

	l->result = curl_easy_perform(l->curl);
	uv_async_send(&l->finished);
}

/* ---- lifetime ---- */

static void release(struct letter *l)
{
	if (--l->uses)
		return;
	curl_easy_cleanup(l->curl);
	curl_slist_free_all(l->to);
	free(l->body);
	uv_mutex_destroy(&l->lock);
	free(l);
}

static void handle_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static void sent(uv_async_t *handle)
{
	struct letter *l = handle->data;

	uv_thread_join(&l->thread);
	l->running = false;
	if (l->waiting)
		task_wake(l->waiting);
	uv_close((uv_handle_t *)handle, handle_closed);
}

static void start_thread(lua_State *L, struct letter *l)
{
	if (uv_async_init(task_loop(), &l->finished, sent) != 0)
		luaL_error(L, "not enough memory");
	l->finished.data = l;
	l->uses++;
	l->running = uv_thread_create(&l->thread, send_it, l) == 0;
	if (l->running)
		return;
	uv_close((uv_handle_t *)&l->finished, handle_closed);
	luaL_error(L, "no thread can be had");
}

/* letter:close(): gives it up, whatever it is at; may be called twice. After it nothing more is handed over. */
static int letter_close(lua_State *L)
{
	struct holder *h = luaL_checkudata(L, 1, LETTER);
	struct letter *l = h->letter;

	h->letter = NULL;
	if (!l)
		return 0;
	uv_mutex_lock(&l->lock);
	l->given_up = true;
	h->handed = l->at == l->length;
	uv_mutex_unlock(&l->lock);
	if (l->waiting)
		task_wake(l->waiting);
	l->waiting = NULL;
	release(l);
	return 0;
}

static struct letter *new_letter(lua_State *L)
{
	struct holder *h = lua_newuserdatauv(L, sizeof *h, 0);
	struct letter *l;

	*h = (struct holder){NULL, false};
	luaL_setmetatable(L, LETTER);
	l = calloc(1, sizeof *l);
	if (!l || uv_mutex_init(&l->lock) != 0) {
		free(l);
		luaL_error(L, "not enough memory");
	}
	l->uses = 1;
	h->letter = l;
	l->curl = curl_easy_init();
	if (!l->curl)
		luaL_error(L, "not enough memory");
	return l;
}

/* ---- the message ---- */

static bool has_control(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7F)
			return true;
	return false;
}

/* Pushes the option, a text without control characters and blanks; NULL where it is not given. */
static const char *plain_option(lua_State *L, const char *key)
{
	size_t length;
	const char *text;

	if (lua_getfield(L, OPTIONS, key) == LUA_TNIL)
		return NULL;
	text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
	if (!text || !length || has_control(text, length) || strchr(text, ' '))
		luaL_error(L, "%s is a text without blanks and control characters", key);
	return text;
}

/* Pushes and returns the mail address on top as SMTP writes it; brackets would end it early. */
static const char *push_address(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, -1, &length);

	if (!length || has_control(text, length) || strpbrk(text, " <>"))
		luaL_error(L, "%s is no address", text);
	return lua_pushfstring(L, "<%s>", text);
}

static void set_envelope(lua_State *L, struct letter *l)
{
	lua_getfield(L, OPTIONS, "from");
	curl_easy_setopt(l->curl, CURLOPT_MAIL_FROM, push_address(L));
	lua_settop(L, SELF);
	if (lua_getfield(L, OPTIONS, "to") != LUA_TTABLE || lua_rawlen(L, -1) == 0)
		luaL_error(L, "to is a list of addresses");
	for (lua_Integer i = 1; lua_geti(L, SELF + 1, i) != LUA_TNIL; i++) {
		struct curl_slist *more = curl_slist_append(l->to, push_address(L));

		if (!more)
			luaL_error(L, "not enough memory");
		l->to = more;
		lua_settop(L, SELF + 1);
	}
	lua_settop(L, SELF);
	curl_easy_setopt(l->curl, CURLOPT_MAIL_RCPT, l->to);
}

static void set_login(lua_State *L, struct letter *l)
{
	const char *user = plain_option(L, "user"), *password;
	size_t length;
	char *copy;

	if (user) {
		curl_easy_setopt(l->curl, CURLOPT_USERNAME, user);
		lua_getfield(L, OPTIONS, "password");
		password = secret_check(L, lua_gettop(L), &length);
		if (memchr(password, 0, length))
			luaL_error(L, "the password holds a zero byte");
		copy = strndup(password, length);
		if (!copy)
			luaL_error(L, "not enough memory");
		else
			curl_easy_setopt(l->curl, CURLOPT_PASSWORD, copy);
		explicit_bzero(copy, length);
		free(copy);
	}
	lua_settop(L, SELF);
}

static void set_connection(lua_State *L, struct letter *l)
{
	const char *ca = plain_option(L, "ca");

	if (ca)
		curl_easy_setopt(l->curl, CURLOPT_CAINFO, ca);
	lua_getfield(L, OPTIONS, "require_tls");
	curl_easy_setopt(l->curl, CURLOPT_USE_SSL,
			(long)(lua_isnil(L, -1) || lua_toboolean(L, -1) ? CURLUSESSL_ALL : CURLUSESSL_NONE));
	curl_easy_setopt(l->curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(l->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(l->curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(l->curl, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(l->curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(l->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(l->curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)REPLY_S);
	curl_easy_setopt(l->curl, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(l->curl, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(l->curl, CURLOPT_NOSIGNAL, 1L);
	lua_settop(L, SELF);
}

static void set_message(lua_State *L, struct letter *l)
{
	const char *body;

	lua_getfield(L, OPTIONS, "body");
	body = luaL_checklstring(L, -1, &l->length);
	if (!l->length)
		luaL_error(L, "the message is empty");
	l->body = malloc(l->length);
	if (!l->body)
		luaL_error(L, "not enough memory");
	memcpy(l->body, body, l->length);
	lua_settop(L, SELF);
	curl_easy_setopt(l->curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(l->curl, CURLOPT_READFUNCTION, give_message);
	curl_easy_setopt(l->curl, CURLOPT_READDATA, l);
	curl_easy_setopt(l->curl, CURLOPT_HEADERFUNCTION, take_reply);
	curl_easy_setopt(l->curl, CURLOPT_HEADERDATA, l);
	curl_easy_setopt(l->curl, CURLOPT_VERBOSE, 1L);
	curl_easy_setopt(l->curl, CURLOPT_DEBUGFUNCTION, see_command);
	curl_easy_setopt(l->curl, CURLOPT_DEBUGDATA, l);
	curl_easy_setopt(l->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(l->curl, CURLOPT_XFERINFOFUNCTION, see_progress);
	curl_easy_setopt(l->curl, CURLOPT_XFERINFODATA, l);
	curl_easy_setopt(l->curl, CURLOPT_ERRORBUFFER, l->problem);
}

/* http.mail(options) -> letter, begun. Changes its target, unless `reads` says that it is of no effect. */
int http_mail(lua_State *L)
{
	static const char *const keys[] = {
		"url", "from", "to", "user", "password", "body", "ca", "require_tls", "reads", NULL};
	struct letter *l;
	const char *url;

	luaL_checktype(L, OPTIONS, LUA_TTABLE);
	lua_settop(L, OPTIONS);
	error_check_options(L, OPTIONS, keys);
	lua_getfield(L, OPTIONS, "reads");
	if (!lua_toboolean(L, -1))
		task_may_change(L, "http.mail");
	lua_settop(L, OPTIONS);
	l = new_letter(L);
	url = plain_option(L, "url");
	if (!url || (strncmp(url, "smtp://", 7) && strncmp(url, "smtps://", 8)))
		luaL_error(L, "url begins with smtp:// or smtps://");
	curl_easy_setopt(l->curl, CURLOPT_URL, url);
	lua_settop(L, SELF);
	set_connection(L, l);
	set_login(L, l);
	set_envelope(L, l);
	set_message(L, l);
	start_thread(L, l);
	return 1;
}

/* ---- what became of it ---- */

static const char *kind_of(struct letter *l)
{
	if (l->answer >= 400)
		return "denied";
	if (is_handed_over(l))
		return "lost";
	if (l->result == CURLE_LOGIN_DENIED || l->result == CURLE_PEER_FAILED_VERIFICATION)
		return "auth";
	if (l->result == CURLE_USE_SSL_FAILED || l->code >= 400)
		return "denied";
	return "connect";
}

/* Pushes the reply without the end of its last line. */
static void push_said(lua_State *L, const struct letter *l)
{
	size_t length = l->said_length;

	while (length && (l->said[length - 1] == '\r' || l->said[length - 1] == '\n'))
		length--;
	lua_pushlstring(L, l->said, length);
}

static int fail(lua_State *L, struct letter *l)
{
	const char *what = l->problem[0] ? l->problem : curl_easy_strerror(l->result);

	if (l->answer >= 400)
		what = "the message was refused";
	else if (l->result == CURLE_USE_SSL_FAILED)
		what = "it offers no STARTTLS";
	else if (l->replies > REPLIES_MAX)
		what = "its replies have no end";
	error_push(L, kind_of(l), "%s", what);
	if (l->code >= 400) {
		lua_pushinteger(L, l->code);
		lua_setfield(L, -2, "code");
	}
	push_said(L, l);
	lua_setfield(L, -2, "output");
	return lua_error(L);
}

static int result_step(lua_State *L)
{
	struct holder *h = lua_touserdata(L, 1);
	struct letter *l = h->letter;

	if (!l)
		return error_raise(L, "cancelled", "the message was given up");
	l->waiting = NULL;
	if (l->running) {
		l->waiting = task_current(L);
		return task_park(L, result_step);
	}
	if (l->answer < 200 || l->answer > 299)
		return fail(L, l);
	lua_createtable(L, 0, 2);
	lua_pushinteger(L, l->answer);
	lua_setfield(L, -2, "code");
	push_said(L, l);
	lua_setfield(L, -2, "reply");
	return 1;
}

/* letter:result([{timeout}]) -> { code, reply }: what the server said to the whole message; waits for it */
static int letter_result(lua_State *L)
{
	struct holder *h = luaL_checkudata(L, 1, LETTER);

	luaL_argcheck(L, h->letter, 1, "letter is closed");
	if (h->letter->waiting)
		return luaL_error(L, "another task waits for this letter");
	task_deadline(L, 2, WAIT_MS);
	return result_step(L);
}

/* letter:handed() -> boolean: whether all of the message went out; once it is closed, for good */
static int letter_handed(lua_State *L)
{
	struct holder *h = luaL_checkudata(L, 1, LETTER);

	lua_pushboolean(L, h->letter ? is_handed_over(h->letter) : h->handed);
	return 1;
}

void http_mail_open(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"result", letter_result},
		{"handed", letter_handed},
		{"close", letter_close},
		{"__gc", letter_close},
		{"__close", letter_close},
		{NULL, NULL},
	};

	luaL_newmetatable(L, LETTER);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
