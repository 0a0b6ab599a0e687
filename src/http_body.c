/* native.http: what libcurl calls while it is driven, as a request's body goes and a reply comes. None of it touches Lua. */
#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALLEST = 16 * 1024 }; /* bytes that libcurl takes of a body at once, at least */

static size_t take_header(char *line, size_t one, size_t length, void *context)
{
	struct exchange *e = context;
	char *more;

	(void)one;
	if (length >= 5 && !memcmp(line, "HTTP/", 5))
		e->received_length = 0; /* those of a 100, or of a proxy, came before */
	if (e->received_length + length > HTTP_HEADERS_MAX)
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
		e->is_good = status >= 200 && status < 300;
		http_wake(e);
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
	if (e->sink_fd >= 0 && (e->is_good || !e->only_good)) {
		e->total += (curl_off_t)length;
		if (e->most && e->total > e->most)
			return 0;
		return write_to_sink(e, bytes, length);
	}
	if (e->length - e->at >= HTTP_BUFFER) {
		e->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (e->length + length > e->size) {
		size_t size = e->length - e->at + length;
		char *more = malloc(size > 2 * HTTP_BUFFER ? size : 2 * HTTP_BUFFER);

		if (!more)
			return 0;
		if (e->buffer)
			memcpy(more, e->buffer + e->at, e->length - e->at);
		free(e->buffer);
		e->buffer = more;
		e->size = size > 2 * HTTP_BUFFER ? size : 2 * HTTP_BUFFER;
		e->length -= e->at;
		e->at = 0;
	}
	memcpy(e->buffer + e->length, bytes, length);
	e->length += length;
	e->total += (curl_off_t)length;
	http_wake(e);
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

void http_take_reply(struct exchange *e)
{
	curl_easy_setopt(e->curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(e->curl, CURLOPT_HEADERDATA, e);
	curl_easy_setopt(e->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(e->curl, CURLOPT_WRITEDATA, e);
	curl_easy_setopt(e->curl, CURLOPT_BUFFERSIZE, (long)HTTP_BUFFER);
}

void http_give_body(struct exchange *e, curl_off_t length)
{
	curl_off_t room = length < SMALLEST ? SMALLEST : length > HTTP_BUFFER ? HTTP_BUFFER : length;

	curl_easy_setopt(e->curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(e->curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)room);
	curl_easy_setopt(e->curl, CURLOPT_INFILESIZE_LARGE, length);
	curl_easy_setopt(e->curl, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(e->curl, CURLOPT_READDATA, e);
	curl_easy_setopt(e->curl, CURLOPT_SEEKFUNCTION, rewind_body);
	curl_easy_setopt(e->curl, CURLOPT_SEEKDATA, e);
}
