/* Picks one value out of a secret document. JSON is read where it lies, in locked memory; libyaml copies what it reads to
 * the heap, and of that is wiped what can be reached. Messages give places, never content. */
#include "error.h"
#include "secret.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DOCUMENT "secret.document"

enum { JSON_DEPTH = 512, YAML_DEPTH = 256 };

/* Stack of a picking call: document, path, source, the secret that is picked. */
enum { DOCUMENT_AT = 1, PATH, SOURCE, PICKED };

/* ---- paths: names, or numbers from 1 on in lists, parted by dots ---- */

static size_t first_length(const char *path)
{
	return strcspn(path, ".");
}

/* What follows the first part; NULL: nothing. */
static const char *behind_first(const char *path)
{
	const char *dot = strchr(path, '.');

	return dot ? dot + 1 : NULL;
}

static bool is_first(const char *path, const unsigned char *name, size_t length)
{
	return first_length(path) == length && !memcmp(path, name, length);
}

/* Whether the first part is this number. */
static bool is_index(const char *path, long index)
{
	char *end;

	return strspn(path, "0123456789") == first_length(path) && strtol(path, &end, 10) == index;
}

static void refuse_twice(lua_State *L)
{
	error_raise(L, "protocol", "%s stands there twice", lua_tostring(L, PATH));
}

static void refuse_collection(lua_State *L)
{
	error_raise(L, "protocol", "%s is a list or a map, no value", lua_tostring(L, PATH));
}

/* ---- JSON ---- */

struct scan {
	lua_State *L;
	const unsigned char *text, *at, *end;
	struct secret *picked;
};

static void refuse(const struct scan *s, const char *what)
{
	error_raise(s->L, "protocol", "no JSON at byte %d: %s", (int)(s->at - s->text) + 1, what);
}

static void skip_blank(struct scan *s)
{
	while (s->at < s->end && memchr(" \t\r\n", *s->at, 4))
		s->at++;
}

/* The next byte that is no blank, 0 at the end. */
static int peek(struct scan *s)
{
	skip_blank(s);
	return s->at < s->end ? *s->at : 0;
}

static void expect(struct scan *s, int byte)
{
	if (peek(s) != byte)
		refuse(s, "something else is expected here");
	s->at++;
}

static unsigned read_hex(struct scan *s)
{
	static const char digits[] = "0123456789abcdef";
	unsigned code = 0;

	for (int i = 0; i < 4; i++, s->at++) {
		const char *digit = s->at < s->end && *s->at ? strchr(digits, *s->at | 0x20) : NULL;

		if (!digit || *s->at < '0')
			refuse(s, "four hexadecimal digits are expected");
		code = code << 4 | (unsigned)(digit - digits);
	}
	return code;
}

static size_t put_code(unsigned code, unsigned char *out)
{
	static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
	size_t count = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	for (size_t i = count; i-- > 1; code >>= 6)
		out[i] = (unsigned char)(0x80 | (code & 0x3F));
	out[0] = (unsigned char)(lead[count] | code);
	return count;
}

static size_t read_code(struct scan *s, unsigned char *out)
{
	unsigned code = read_hex(s), low;

	if (code >= 0xD800 && code < 0xDC00) {
		if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u')
			refuse(s, "half of a character");
		s->at += 2;
		low = read_hex(s);
		if (low < 0xDC00 || low > 0xDFFF)
			refuse(s, "half of a character");
		code = 0x10000 + ((code - 0xD800) << 10 | (low - 0xDC00));
	} else if (code >= 0xDC00 && code < 0xE000) {
		refuse(s, "half of a character");
	}
	return put_code(code, out);
}

/* The next character of a string, at most four bytes; 0 behind its end. */
static size_t read_character(struct scan *s, unsigned char *out)
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";

	if (s->at == s->end || *s->at < 0x20)
		refuse(s, "a string does not end");
	*out = *s->at++;
	if (*out == '"')
		return 0;
	if (*out != '\\')
		return 1;
	if (s->at < s->end && *s->at == 'u') {
		s->at++;
		return read_code(s, out);
	}
	for (const char *escape = escapes; s->at < s->end && *escape; escape += 2)
		if (*s->at == (unsigned char)*escape) {
			s->at++;
			*out = (unsigned char)escape[1];
			return 1;
		}
	refuse(s, "an escape that is none");
	return 0;
}

/* Reads a string; whether it is the first part of the path. */
static bool read_name(struct scan *s, const char *path)
{
	size_t length = path ? first_length(path) : 0, at = 0, count;
	unsigned char out[4];
	bool same = path != NULL;

	expect(s, '"');
	while ((count = read_character(s, out))) {
		same = same && count <= length - at && !memcmp(path + at, out, count);
		at += same ? count : 0;
	}
	explicit_bzero(out, sizeof out);
	return same && at == length;
}

/* A number, true, false or null. */
static size_t read_word(struct scan *s)
{
	static const char *const words[] = {"true", "false", "null"};
	size_t length = 0, left = (size_t)(s->end - s->at);

	while (length < left && s->at[length] && strchr("+-.0123456789eE", s->at[length]))
		length++;
	for (size_t i = 0; i < 3; i++)
		if (strlen(words[i]) <= left && !memcmp(s->at, words[i], strlen(words[i])))
			length = strlen(words[i]);
	if (!length || memchr("+.eE", *s->at, 4) || (*s->at == '-' && (left < 2 || s->at[1] < '0' || s->at[1] > '9')))
		refuse(s, "no value");
	s->at += length;
	return length;
}

static bool read_value(struct scan *s, const char *path, bool wanted, int depth);

/* What a member or an item is for the path: `wanted` and the rest of it where it is the one meant. */
static bool read_part(struct scan *s, const char *path, bool meant, bool found, int depth)
{
	if (meant && found)
		refuse_twice(s->L);
	return read_value(s, meant ? behind_first(path) : NULL, meant, depth + 1) || found;
}

static bool read_object(struct scan *s, const char *path, int depth)
{
	bool found = false;

	expect(s, '{');
	if (peek(s) == '}') {
		s->at++;
		return false;
	}
	for (;;) {
		bool meant = read_name(s, path);

		expect(s, ':');
		found = read_part(s, path, meant, found, depth);
		if (peek(s) != ',')
			break;
		s->at++;
	}
	expect(s, '}');
	return found;
}

static bool read_array(struct scan *s, const char *path, int depth)
{
	bool found = false;

	expect(s, '[');
	if (peek(s) == ']') {
		s->at++;
		return false;
	}
	for (long i = 1;; i++) {
		found = read_part(s, path, path && is_index(path, i), found, depth);
		if (peek(s) != ',')
			break;
		s->at++;
	}
	expect(s, ']');
	return found;
}

static bool take_word(struct scan *s)
{
	const unsigned char *start = s->at;
	size_t length = read_word(s);

	if (*start == 'n')
		return false;
	locked_add(s->L, &s->picked->memory, start, length);
	return true;
}

static bool take_string(struct scan *s)
{
	unsigned char out[4];
	size_t count;

	expect(s, '"');
	while ((count = read_character(s, out)))
		locked_add(s->L, &s->picked->memory, out, count);
	explicit_bzero(out, sizeof out);
	return true;
}

/* Reads the value that begins here; whether the one that the path names was in it. wanted without a path: it is this one. */
static bool read_value(struct scan *s, const char *path, bool wanted, int depth)
{
	int first = peek(s);

	if (depth > JSON_DEPTH)
		refuse(s, "nested too deep");
	luaL_checkstack(s->L, 4, NULL);
	if (wanted && !path && (first == '{' || first == '['))
		refuse_collection(s->L);
	if (first == '{')
		return read_object(s, path, depth);
	if (first == '[')
		return read_array(s, path, depth);
	if (wanted && !path)
		return first == '"' ? take_string(s) : take_word(s);
	if (first == '"')
		read_name(s, NULL);
	else
		read_word(s);
	return false;
}

static bool pick_json(lua_State *L, const struct secret *document, struct secret *picked)
{
	struct scan s = {.L = L, .text = document->memory.bytes, .at = document->memory.bytes,
			 .end = document->memory.bytes + document->memory.length, .picked = picked};
	bool found = read_value(&s, lua_tostring(L, PATH), true, 0);

	if (peek(&s) || s.at != s.end)
		refuse(&s, "there is more behind the value");
	return found;
}

/* ---- YAML ---- */

/* One reading. A userdata, so that an error wipes and frees what libyaml holds. */
struct document {
	yaml_parser_t parser;
	yaml_event_t event;
	struct secret *picked;
};

static void wipe_event(yaml_event_t *event)
{
	if (event->type == YAML_SCALAR_EVENT)
		explicit_bzero(event->data.scalar.value, event->data.scalar.length);
	yaml_event_delete(event);
	*event = (yaml_event_t){0};
}

static void wipe_tokens(yaml_parser_t *parser)
{
	for (yaml_token_t *token = parser->tokens.head; token && token != parser->tokens.tail; token++)
		if (token->type == YAML_SCALAR_TOKEN)
			explicit_bzero(token->data.scalar.value, token->data.scalar.length);
}

static int document_free(lua_State *L)
{
	struct document *d = luaL_checkudata(L, 1, DOCUMENT);
	yaml_parser_t *parser = &d->parser;

	wipe_event(&d->event);
	wipe_tokens(parser);
	if (parser->raw_buffer.start)
		explicit_bzero(parser->raw_buffer.start, (size_t)(parser->raw_buffer.end - parser->raw_buffer.start));
	if (parser->buffer.start)
		explicit_bzero(parser->buffer.start, (size_t)(parser->buffer.end - parser->buffer.start));
	yaml_parser_delete(parser);
	*d = (struct document){0};
	return 0;
}

static struct document *document_new(lua_State *L, struct secret *picked)
{
	struct document *d = lua_newuserdatauv(L, sizeof *d, 0);

	*d = (struct document){.picked = picked};
	if (luaL_newmetatable(L, DOCUMENT)) {
		lua_pushcfunction(L, document_free);
		lua_setfield(L, -2, "__gc");
		lua_pushcfunction(L, document_free);
		lua_setfield(L, -2, "__close");
	}
	lua_setmetatable(L, -2);
	lua_toclose(L, -1);
	if (!yaml_parser_initialize(&d->parser))
		luaL_error(L, "not enough memory");
	return d;
}

static void refuse_yaml(lua_State *L, const struct document *d, const char *what)
{
	const yaml_mark_t *mark = d->parser.error ? &d->parser.problem_mark : &d->event.start_mark;

	error_raise(L, "protocol", "no YAML that is read here, in line %d: %s", (int)mark->line + 1, what);
}

static void next_event(lua_State *L, struct document *d)
{
	wipe_event(&d->event);
	if (yaml_parser_parse(&d->parser, &d->event))
		return;
	d->event = (yaml_event_t){0};
	refuse_yaml(L, d, d->parser.problem ? d->parser.problem : "not enough memory");
}

static bool is_null(const yaml_event_t *event)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

	for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
		if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		    !strcmp((const char *)event->data.scalar.value, nulls[i]))
			return true;
	return false;
}

static bool read_node(lua_State *L, struct document *d, const char *path, bool wanted, int depth);

static bool read_yaml_part(lua_State *L, struct document *d, const char *path, bool meant, bool found, int depth)
{
	if (meant && found)
		refuse_twice(L);
	return read_node(L, d, meant ? behind_first(path) : NULL, meant, depth + 1) || found;
}

static bool read_mapping(lua_State *L, struct document *d, const char *path, int depth)
{
	bool found = false;

	for (;;) {
		bool meant;

		next_event(L, d);
		if (d->event.type == YAML_MAPPING_END_EVENT)
			return found;
		if (d->event.type != YAML_SCALAR_EVENT)
			refuse_yaml(L, d, "a key that is not plain text");
		meant = path && is_first(path, d->event.data.scalar.value, d->event.data.scalar.length);
		next_event(L, d);
		found = read_yaml_part(L, d, path, meant, found, depth);
	}
}

static bool read_sequence(lua_State *L, struct document *d, const char *path, int depth)
{
	bool found = false;

	for (long i = 1;; i++) {
		next_event(L, d);
		if (d->event.type == YAML_SEQUENCE_END_EVENT)
			return found;
		found = read_yaml_part(L, d, path, path && is_index(path, i), found, depth);
	}
}

static bool take_scalar(lua_State *L, struct document *d)
{
	if (is_null(&d->event))
		return false;
	locked_add(L, &d->picked->memory, d->event.data.scalar.value, d->event.data.scalar.length);
	return true;
}

/* Reads the node that the current event begins; whether the one that the path names was in it. */
static bool read_node(lua_State *L, struct document *d, const char *path, bool wanted, int depth)
{
	bool is_value = wanted && !path;

	if (depth > YAML_DEPTH)
		refuse_yaml(L, d, "nested too deep");
	luaL_checkstack(L, 4, NULL);
	switch (d->event.type) {
	case YAML_SCALAR_EVENT:
		return is_value && take_scalar(L, d);
	case YAML_ALIAS_EVENT:
		if (wanted)
			refuse_yaml(L, d, "an alias stands where the value is looked for");
		return false;
	case YAML_MAPPING_START_EVENT:
		if (is_value)
			refuse_collection(L);
		return read_mapping(L, d, path, depth);
	case YAML_SEQUENCE_START_EVENT:
		if (is_value)
			refuse_collection(L);
		return read_sequence(L, d, path, depth);
	default:
		refuse_yaml(L, d, "it is empty");
		return false;
	}
}

static bool pick_yaml(lua_State *L, const struct secret *document, struct secret *picked)
{
	struct document *d = document_new(L, picked);
	bool found;

	yaml_parser_set_encoding(&d->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&d->parser, document->memory.bytes, document->memory.length);
	next_event(L, d); /* start of the stream */
	next_event(L, d); /* start of the document */
	next_event(L, d);
	found = read_node(L, d, lua_tostring(L, PATH), true, 0);
	next_event(L, d); /* end of the document */
	next_event(L, d);
	if (d->event.type != YAML_STREAM_END_EVENT)
		refuse_yaml(L, d, "a second document");
	lua_settop(L, PICKED); /* closes it */
	return found;
}

/* ---- which of both ---- */

static bool looks_like_json(const struct secret *document)
{
	const unsigned char *at = document->memory.bytes, *end = at + document->memory.length;

	while (at < end && memchr(" \t\r\n", *at, 4))
		at++;
	return at < end && (*at == '{' || *at == '[');
}

/* Leaves the value on the stack as a secret that is not yet closed off. */
static struct secret *pick(lua_State *L)
{
	struct secret *document = secret_opened(L, DOCUMENT_AT), *picked;
	const char *path = luaL_checkstring(L, PATH);

	luaL_argcheck(L, first_length(path) > 0, PATH, "names nothing");
	luaL_optstring(L, SOURCE, NULL);
	lua_settop(L, SOURCE);
	lua_getiuservalue(L, DOCUMENT_AT, SECRET_KEYRING);
	picked = secret_new(L, PICKED, SOURCE);
	lua_remove(L, PICKED); /* the keyring */
	if (!(looks_like_json(document) ? pick_json(L, document, picked) : pick_yaml(L, document, picked)))
		error_raise(L, "missing", "there is no %s in it", path);
	return picked;
}

/*
 * secret.pick(document, path [, source]) -> secret: a value inside a secret that is JSON or YAML. Raises "missing" where
 * there is none, "protocol" where the document is neither, or the path names a list or a map.
 */
int secret_pick(lua_State *L)
{
	return secret_finish(L, pick(L));
}

/* secret.plain(document, path) -> text: the same of a value that is none of the secret: who it is for, when it ends. */
int secret_plain(lua_State *L)
{
	struct secret *picked = pick(L);

	lua_pushlstring(L, (const char *)picked->memory.bytes, picked->memory.length);
	return 1;
}
