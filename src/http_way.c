/* native.http: the way of an exchange: its URL, whom to connect to, whom to believe, and who asks. */
#include "http.h"
#include "error.h"
#include "secret.h"

#include <curl/curl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CONNECT_MS = 15000, KEEPALIVE_S = 15 };

static void check(lua_State *L, CURLcode code, const char *what)
{
	if (code != CURLE_OK)
		error_raise(L, "protocol", "%s: %s", what, curl_easy_strerror(code));
}

static void set_text(lua_State *L, struct exchange *e, CURLoption option, const char *key)
{
	const char *text = http_text_option(L, key);

	if (text) {
		check(L, curl_easy_setopt(e->curl, option, text), key);
		lua_pop(L, 1);
	}
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

	if (lua_getfield(L, HTTP_OPTIONS, key) == LUA_TNIL) {
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

static void wipe_pem(struct pem *pem)
{
	if (pem->bytes)
		explicit_bzero(pem->bytes, pem->length);
	free(pem->bytes);
}

/* Whom to connect to, and whom to believe. */
void http_set_connection(lua_State *L, struct exchange *e)
{
	const char *to = http_text_option(L, "connect_to");

	if (to) {
		e->connect_to = curl_slist_append(NULL, lua_pushfstring(L, "::%s", to));
		curl_easy_setopt(e->curl, CURLOPT_CONNECT_TO, e->connect_to);
	}
	lua_settop(L, HTTP_SELF);
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
	lua_getfield(L, HTTP_OPTIONS, "connect_timeout");
	curl_easy_setopt(e->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(luaL_optnumber(L, -1, CONNECT_MS / 1000.0) * 1000));
	lua_pop(L, 1);
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

void http_set_url(lua_State *L, struct exchange *e)
{
	size_t length;
	const char *text, *problem;
	char *copy;

	if (lua_getfield(L, HTTP_OPTIONS, "url") == LUA_TNUMBER)
		luaL_error(L, "url is a text");
	text = secret_check(L, HTTP_SELF + 1, &length);
	if (http_has_control(text, length) || memchr(text, ' ', length))
		luaL_error(L, "url is a text without blanks and control characters");
	copy = strndup(text, length);
	if (!copy)
		luaL_error(L, "not enough memory");
	problem = take_url(e, copy, secret_is(L, HTTP_SELF + 1));
	explicit_bzero(copy, length);
	free(copy);
	if (problem)
		error_raise(L, "denied", "%s", problem);
	lua_settop(L, HTTP_SELF);
}

void http_forget_way(struct exchange *e)
{
	curl_slist_free_all(e->connect_to);
	wipe_pem(&e->certificate);
	wipe_pem(&e->key);
	wipe_pem(&e->ca);
}
