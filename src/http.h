#ifndef NEAP_HTTP_H
#define NEAP_HTTP_H

#include <curl/curl.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define EXCHANGE "http.exchange"

enum {
	HTTP_OPTIONS = 1, /* stack indices while an exchange is opened */
	HTTP_SELF = 2,
	HTTP_BUFFER = 256 * 1024, /* bytes that wait to be read before the server is held back */
	HTTP_HEADERS_MAX = 256 * 1024,
};

/* A certificate or a key in memory, of whatever it was given as. */
struct pem {
	unsigned char *bytes; /* NULL: none */
	size_t length;
};

/* One request and its reply. libcurl points to it, so it lies in a userdata, whose user values are: 1 the body of the
 * request as it was given, 2 the list of headers that came. */
struct exchange {
	CURL *curl; /* NULL once closed */
	struct curl_slist *sent, *connect_to;
	curl_mime *form;
	const char *body; /* of user value 1 */
	size_t body_length, body_at;
	int body_fd, sink_fd; /* -1: none */
	struct pem certificate, key, ca;
	curl_off_t left;      /* of the file that is sent */
	char *received;       /* headers of the last reply, lines as they came */
	size_t received_length;
	char *buffer; /* of the reply's body: bytes from `at` to `length` are unread */
	size_t length, at, size;
	curl_off_t total;
	curl_off_t most; /* bytes that go to the sink; 0: no bound */
	bool added, replied, paused, done;
	bool only_good; /* what is no good answer is read, and does not go to the sink */
	bool is_good;   /* its status is from 200 to 299 */
	bool changing; /* it changes its target */
	bool begun;    /* the request was on its way */
	bool raw;      /* a connection whose bytes are Lua's: see http_raw.c */
	int sink_errno;
	CURLcode result;
	char problem[CURL_ERROR_SIZE];
	struct task *waiting;
};

/* The exchange at index 1, which is open. */
struct exchange *http_check_exchange(lua_State *L);

/* The same within a step: raises "cancelled" where it was closed meanwhile. */
struct exchange *http_resumed_exchange(lua_State *L);

/* Parks the task until the exchange's state changes. */
int http_wait_for(lua_State *L, struct exchange *e, lua_CFunction step);

/* Raises what libcurl says went wrong. */
int http_fail(lua_State *L, struct exchange *e);

/* Lua's http.open, and the exchange's response, read and timings. */
int http_open(lua_State *L);
int http_reply_response(lua_State *L);
int http_reply_read(lua_State *L);
int http_reply_timings(lua_State *L);

/* Starts the multi handle, once. */
void http_multi_open(lua_State *L);

/* Begins an exchange; false: there is not enough memory. Ended by http_remove. */
bool http_add(struct exchange *e);
void http_remove(struct exchange *e);

/* Goes on with what waits within libcurl and has no event on a socket. */
void http_drive(void);

/* Wakes the task that waits for an exchange. */
void http_wake(struct exchange *e);

/* While an exchange is opened: pushes an option and returns its text; NULL, and pushes nothing, where it is not given. */
const char *http_text_option(lua_State *L, const char *key);

bool http_has_control(const char *bytes, size_t length);

/* The options of an exchange's way; what they hold is given back by http_forget_way. */
void http_set_url(lua_State *L, struct exchange *e);
void http_set_connection(lua_State *L, struct exchange *e);
void http_forget_way(struct exchange *e);

/* Has libcurl hand over the reply; and fetch a request's body of so many bytes. */
void http_take_reply(struct exchange *e);
void http_give_body(struct exchange *e, curl_off_t length);

/* Methods of exchanges that are raw. */
int http_raw_connected(lua_State *L);
int http_raw_send(lua_State *L);
int http_raw_send_frame(lua_State *L);
int http_raw_receive(lua_State *L);
void http_raw_open(lua_State *L);

/* Before its handle goes: nobody waits for its socket any more. */
void http_raw_forget(struct exchange *e);

/* Lua's http.mail, and the metatable of what it returns. */
int http_mail(lua_State *L);
void http_mail_open(lua_State *L);

#endif
