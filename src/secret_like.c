/* An earlier text, seen in the light of a later one that holds secrets: what stood in their places was secret, too. */
#include "secret.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char *find_end(const char *bytes, const char *end, char byte)
{
	return memchr(bytes, byte, (size_t)(end - bytes)) ?: end;
}

static int is_blank(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!strchr(" \t\r\n", bytes[i]))
			return 0;
	return 1;
}

/* What stands round a secret on its line. */
struct frame {
	const char *before, *after;
	size_t before_length, after_length;
};

static struct frame frame_of(const struct secret *s, size_t index)
{
	const struct span *span = &s->spans.list[index];
	const char *bytes = (const char *)s->memory.bytes, *end = bytes + s->memory.length;
	const char *low = index ? bytes + span[-1].at + span[-1].length : bytes;
	const char *high = index + 1 < s->spans.count ? bytes + span[1].at : end;
	struct frame frame = {.before = bytes + span->at, .after = bytes + span->at + span->length};

	while (frame.before > low && frame.before[-1] != '\n')
		frame.before--;
	frame.before_length = (size_t)(bytes + span->at - frame.before);
	frame.after_length = (size_t)(find_end(frame.after, high, '\n') - frame.after);
	return frame;
}

/* Marks in the text what stands in that frame on each of its lines. */
static void mark_frame(lua_State *L, struct secret *s, int keyring, const struct frame *frame)
{
	const char *bytes = (const char *)s->memory.bytes, *end = bytes + s->memory.length, *line_end;
	char fingerprint[2 * SECRET_KEY + 1];

	for (const char *line = bytes; line < end; line = line_end + (line_end < end)) {
		const char *at, *to;

		line_end = find_end(line, end, '\n');
		at = memmem(line, (size_t)(line_end - line), frame->before, frame->before_length);
		if (!at)
			continue;
		at += frame->before_length;
		to = frame->after_length ? memmem(at, (size_t)(line_end - at), frame->after, frame->after_length) : line_end;
		to = to ?: line_end;
		if (to == at)
			continue;
		keyring_fingerprint(L, keyring, at, (size_t)(to - at), fingerprint);
		spans_add(L, &s->spans, (size_t)(at - bytes), (size_t)(to - at), fingerprint);
		redact_register(L, (const unsigned char *)at, (size_t)(to - at), fingerprint);
	}
}

static int by_place(const void *a, const void *b)
{
	const struct span *one = a, *other = b;

	return one->at < other->at ? -1 : one->at > other->at;
}

/* In order, and none within another. */
static void spans_tidy(struct spans *spans)
{
	size_t kept = 0;

	if (spans->count > 1)
		qsort(spans->list, spans->count, sizeof *spans->list, by_place);
	for (size_t i = 0; i < spans->count; i++) {
		struct span *one = &spans->list[i], *last = kept ? &spans->list[kept - 1] : NULL;

		if (!last || one->at >= last->at + last->length)
			spans->list[kept++] = *one;
		else if (one->at + one->length > last->at + last->length)
			last->length = one->at + one->length - last->at;
	}
	spans->count = kept;
}

static void mark_whole(lua_State *L, struct secret *s)
{
	s->spans.count = 0;
	if (s->memory.length)
		spans_add(L, &s->spans, 0, s->memory.length, s->fingerprint);
}

/* Marks what stands where the later one has its secrets; false: nothing says where one of them stood. */
static int mark_places(lua_State *L, struct secret *s, int keyring, const struct secret *later)
{
	for (size_t i = 0; i < later->spans.count; i++) {
		const struct span *span = &later->spans.list[i];
		struct frame frame = frame_of(later, i);

		if (is_blank(frame.before, frame.before_length) ||
		    memchr(later->memory.bytes + span->at, '\n', span->length))
			return 0;
		mark_frame(L, s, keyring, &frame);
	}
	return 1;
}

/*
 * secret.like(text, later) -> secret: the text as what it was before a secret text took its place. What stands where the
 * later one has a secret is one, too, and looked for from now on. Where nothing says which part that is, all of it is.
 */
int secret_like(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	struct secret *later = luaL_checkudata(L, 2, SECRET), *s;
	int open = secret_can_open(L, 2);

	lua_settop(L, 2);
	if (open)
		secret_opened(L, 2);
	lua_getiuservalue(L, 2, SECRET_KEYRING);
	s = secret_new(L, 3, 0);
	locked_add(L, &s->memory, text, length);
	secret_close_off(L, s);
	redact_find(L, s->memory.bytes, length, &s->spans);
	if (!open || !mark_places(L, s, 3, later))
		mark_whole(L, s);
	spans_tidy(&s->spans);
	return 1;
}
