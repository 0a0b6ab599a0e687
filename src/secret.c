/* native.secret: opaque secrets. Their bytes lie in locked memory and are opened by native modules alone. */
#include "secret.h"
#include "error.h"
#include "stream.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <ctype.h>
#include <lauxlib.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAKEN "secret.taken"
#define MADE "secret.made"

enum {
	LARGEST = 1024 * 1024, /* bytes of a secret from outside */
	PIECE = 4096,
	ERROR_OUTPUT = 8 * 1024,
	COMMAND_MS = 60 * 1000,
};

void secret_harden(void)
{
#ifndef __SANITIZE_ADDRESS__ /* whose leak checker looks into this process as a debugger does */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	setrlimit(RLIMIT_CORE, &(struct rlimit){0});
}

/* ---- making ---- */

void spans_add(lua_State *L, struct spans *spans, size_t at, size_t length, const char *mark)
{
	struct span *list = realloc(spans->list, (spans->count + 1) * sizeof *list);

	if (!list)
		luaL_error(L, "not enough memory");
	spans->list = list;
	list[spans->count] = (struct span){.at = at, .length = length};
	memcpy(list[spans->count++].mark, mark, SECRET_MARK);
}

static struct secret *new_closed(lua_State *L, int keyring, int source)
{
	struct secret *s = lua_newuserdatauv(L, sizeof *s, 3);

	*s = (struct secret){0};
	luaL_setmetatable(L, SECRET);
	lua_pushboolean(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, MADE);
	lua_pushvalue(L, keyring);
	lua_setiuservalue(L, -2, SECRET_KEYRING);
	if (source) {
		lua_pushvalue(L, source);
		lua_setiuservalue(L, -2, SECRET_SOURCE);
	}
	return s;
}

struct secret *secret_new(lua_State *L, int keyring, int source)
{
	struct secret *s;

	luaL_checkudata(L, keyring, KEYRING);
	s = new_closed(L, keyring, source);
	locked_reserve(L, &s->memory, 1);
	s->open = 1;
	return s;
}

void secret_close_off(lua_State *L, struct secret *s)
{
	lua_getiuservalue(L, -1, SECRET_KEYRING);
	keyring_fingerprint(L, lua_gettop(L), s->memory.bytes, s->memory.length, s->fingerprint);
	lua_pop(L, 1);
}

int secret_finish(lua_State *L, struct secret *s)
{
	secret_close_off(L, s);
	spans_add(L, &s->spans, 0, s->memory.length, s->fingerprint);
	redact_register(L, s->memory.bytes, s->memory.length, s->fingerprint);
	return 1;
}

/* The line end that files and commands put behind a value is none of it. */
static void drop_line_end(struct secret *s)
{
	if (s->memory.length && s->memory.bytes[s->memory.length - 1] == '\n')
		s->memory.length--;
	if (s->memory.length && s->memory.bytes[s->memory.length - 1] == '\r')
		s->memory.length--;
}

/* ---- opening ---- */

/* Pushes how a secret is shown: by the first digits of its fingerprint. */
static const char *push_mark(lua_State *L, const struct secret *s)
{
	char mark[SECRET_MARK + 1] = "";

	memcpy(mark, s->fingerprint, SECRET_MARK);
	return lua_pushfstring(L, "(secret %s)", mark);
}

int secret_is(lua_State *L, int index)
{
	return luaL_testudata(L, index, SECRET) != NULL;
}

/* Stack at return: as before. */
static void open_sealed(lua_State *L, struct secret *s, int index)
{
	size_t length;
	const char *sealed, *mark;

	index = lua_absindex(L, index);
	mark = push_mark(L, s);
	if (lua_getiuservalue(L, index, SECRET_SEALED) != LUA_TSTRING) {
		if (lua_getiuservalue(L, index, SECRET_SOURCE) == LUA_TSTRING)
			error_raise(L, "missing", "of %s only its source is known here: %s", mark, lua_tostring(L, -1));
		error_raise(L, "missing", "of %s only its fingerprint is known here", mark);
	}
	sealed = lua_tolstring(L, -1, &length);
	lua_getiuservalue(L, index, SECRET_KEYRING);
	keyring_unseal(L, lua_gettop(L), sealed, length, s);
	lua_pop(L, 3);
	s->open = 1;
}

struct secret *secret_opened(lua_State *L, int index)
{
	struct secret *s = luaL_checkudata(L, index, SECRET);

	if (!s->open)
		open_sealed(L, s, index);
	return s;
}

const char *secret_bytes(lua_State *L, int index, size_t *length)
{
	struct secret *s = luaL_testudata(L, index, SECRET);

	if (!s)
		return lua_tolstring(L, index, length);
	*length = s->memory.length;
	return (const char *)s->memory.bytes;
}

const char *secret_check(lua_State *L, int arg, size_t *length)
{
	if (!secret_is(L, arg))
		return luaL_checklstring(L, arg, length);
	secret_opened(L, arg);
	return secret_bytes(L, arg, length);
}

void secret_push_reference(lua_State *L, int index)
{
	const struct secret *s = luaL_checkudata(L, index, SECRET);

	lua_getiuservalue(L, index, SECRET_SOURCE);
	lua_pushstring(L, s->fingerprint);
}

/* ---- where secrets come from ---- */

/* Stack: …, keyring at 2, source at 3. */
static struct secret *new_from_outside(lua_State *L)
{
	luaL_checkudata(L, 2, KEYRING);
	luaL_optstring(L, 3, NULL);
	lua_settop(L, 4);
	return secret_new(L, 2, 3);
}

/* secret.literal(text, keyring, source?) -> secret */
static int secret_literal(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	struct secret *s = new_from_outside(L);

	locked_add(L, &s->memory, text, length);
	return secret_finish(L, s);
}

/* Pushes the table of the variables that were taken out of this process's environment, by name. */
static void push_taken(lua_State *L)
{
	if (lua_getfield(L, LUA_REGISTRYINDEX, TAKEN) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_setfield(L, LUA_REGISTRYINDEX, TAKEN);
}

/*
 * secret.take_variable(name, keyring): moves a variable out of the environment of this process, so that no program that it
 * starts inherits it, and nobody reads it in /proc. secret.variable finds it all the same.
 */
static int secret_take_variable(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	char *value = getenv(name);
	struct secret *s;

	luaL_checkudata(L, 2, KEYRING);
	if (!value)
		return 0;
	lua_settop(L, 2);
	s = secret_new(L, 2, 0);
	locked_add(L, &s->memory, value, strlen(value));
	secret_finish(L, s);
	explicit_bzero(value, strlen(value));
	unsetenv(name);
	push_taken(L);
	lua_insert(L, -2);
	lua_setfield(L, -2, name);
	return 0;
}

/* secret.variable(name, keyring, source?) -> secret: of the environment of this process. Raises "missing". */
static int secret_variable(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const char *value = getenv(name);
	struct secret *s = new_from_outside(L), *taken;

	push_taken(L);
	lua_getfield(L, -1, name);
	taken = luaL_testudata(L, -1, SECRET);
	if (!taken && !value)
		return error_raise(L, "missing", "the environment has no variable %s", name);
	if (taken)
		locked_add(L, &s->memory, taken->memory.bytes, taken->memory.length);
	else
		locked_add(L, &s->memory, value, strlen(value));
	lua_settop(L, 5);
	return secret_finish(L, s);
}

static int cannot_read(lua_State *L, const char *path)
{
	return error_raise(L, errno == ENOENT || errno == ENOTDIR ? "missing" : "denied", "%s cannot be read: %s", path,
			   strerror(errno));
}

/* Reads at most that many bytes, which are reserved; returns whether that was all. */
static int read_whole(int fd, struct secret *s, size_t most)
{
	ssize_t count;

	do {
		count = read(fd, s->memory.bytes + s->memory.length, most - s->memory.length);
		s->memory.length += count > 0 ? (size_t)count : 0;
	} while ((count > 0 && s->memory.length < most) || (count < 0 && errno == EINTR));
	return count == 0;
}

static void check_file(lua_State *L, const char *path, const struct stat *found)
{
	if (!S_ISREG(found->st_mode))
		error_raise(L, "denied", "%s is no plain file", path);
	if (found->st_mode & 077)
		error_raise(L, "denied", "others than its owner may read %s: chmod 0600 %s", path, path);
	if (found->st_size > LARGEST)
		error_raise(L, "denied", "%s is longer than 1 MiB", path);
}

/* secret.file(path, keyring, source?) -> secret: a plain file that only its owner may read. Raises "missing", "denied". */
static int secret_file(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct secret *s = new_from_outside(L);
	struct stat found, opened;
	int fd, good;

	if (stat(path, &found) != 0)
		return cannot_read(L, path);
	check_file(L, path, &found);
	locked_reserve(L, &s->memory, (size_t)found.st_size + 1);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return cannot_read(L, path);
	good = fstat(fd, &opened) == 0 && opened.st_ino == found.st_ino && opened.st_dev == found.st_dev &&
	       opened.st_mode == found.st_mode && read_whole(fd, s, (size_t)found.st_size + 1);
	close(fd);
	if (!good)
		return error_raise(L, "denied", "%s changes while it is being read", path);
	drop_line_end(s);
	return secret_finish(L, s);
}

/* Stack of a collecting call: stream, keyring, source, what its error output said, secret. */
enum { STREAM = 1, SAID = 4, COLLECTED };

/* Reads what is there of the output; returns the last count. */
static ssize_t read_output(lua_State *L, struct stream *stream, struct secret *s)
{
	ssize_t count;

	do {
		locked_reserve(L, &s->memory, PIECE);
		count = stream->ops->read(stream, 0, (char *)s->memory.bytes + s->memory.length, PIECE);
		s->memory.length += count > 0 ? (size_t)count : 0;
		if (s->memory.length > LARGEST)
			error_raise(L, "protocol", "a secret of more than 1 MiB");
	} while (count > 0);
	return count;
}

static ssize_t read_errors(lua_State *L, struct stream *stream)
{
	char piece[PIECE];
	ssize_t count;

	while ((count = stream->ops->read(stream, 1, piece, sizeof piece)) > 0) {
		if (lua_rawlen(L, SAID) > ERROR_OUTPUT)
			continue;
		lua_pushvalue(L, SAID);
		lua_pushlstring(L, piece, (size_t)count);
		lua_concat(L, 2);
		lua_replace(L, SAID);
	}
	return count;
}

static int collect_step(lua_State *L)
{
	struct stream *stream = lua_touserdata(L, STREAM);
	struct secret *s = lua_touserdata(L, COLLECTED);
	int status = 0, exited;
	char signal_name[16] = "";
	ssize_t out, err;

	if (!stream->ops)
		return error_raise(L, "lost", "the stream was closed meanwhile");
	stream->ops->close_input(stream);
	out = read_output(L, stream, s);
	err = read_errors(L, stream);
	exited = stream->ops->exited(stream, &status, signal_name);
	if (out == STREAM_LOST || err == STREAM_LOST || exited == STREAM_LOST)
		return error_raise(L, "lost", "%s", stream->ops->failure(stream));
	if (out || err || !exited)
		return stream->ops->wait(L, stream, TASK_READ, collect_step);
	lua_settop(L, COLLECTED);
	drop_line_end(s);
	secret_finish(L, s);
	lua_pushvalue(L, SAID);
	lua_pushinteger(L, *signal_name ? -1 : status);
	return 3;
}

/*
 * secret.collect(stream, keyring, source?) -> secret, error output, status: all that a program prints, without its last
 * line end; status -1: it was killed. Deadline: a minute.
 */
static int secret_collect(lua_State *L)
{
	stream_check(L, STREAM);
	luaL_checkudata(L, 2, KEYRING);
	luaL_optstring(L, 3, NULL);
	lua_settop(L, 3);
	lua_pushliteral(L, "");
	secret_new(L, 2, 3);
	task_deadline(L, COLLECTED + 1, COMMAND_MS);
	return collect_step(L);
}

/* secret.reference(source, fingerprint, keyring) -> secret that is closed: only known to be that one */
static int secret_reference(lua_State *L)
{
	size_t length;
	const char *fingerprint = luaL_checklstring(L, 2, &length);
	struct secret *s;

	luaL_checkudata(L, 3, KEYRING);
	luaL_argcheck(L, length == 2 * SECRET_KEY, 2, "no fingerprint");
	s = new_closed(L, 3, lua_isnil(L, 1) ? 0 : 1);
	memcpy(s->fingerprint, fingerprint, length);
	return 1;
}

/* secret.sealed(bytes, fingerprint, keyring) -> secret that is opened when its bytes are needed */
static int secret_sealed(lua_State *L)
{
	luaL_checkstring(L, 1);
	lua_settop(L, 3);
	lua_pushnil(L);
	lua_insert(L, 1);
	lua_pushvalue(L, 2);
	lua_remove(L, 2); /* nil, fingerprint, keyring, sealed bytes */
	secret_reference(L);
	lua_pushvalue(L, 4);
	lua_setiuservalue(L, -2, SECRET_SEALED);
	return 1;
}

/* secret.fill(closed, open): gives one that was only known by its source its bytes. Raises "conflict" where they are others. */
static int secret_fill(lua_State *L)
{
	struct secret *closed = luaL_checkudata(L, 1, SECRET), *s = secret_opened(L, 2);

	if (closed->open)
		return 0;
	if (strcmp(closed->fingerprint, s->fingerprint) != 0) {
		lua_getiuservalue(L, 1, SECRET_SOURCE);
		return error_raise(L, "conflict", "%s gives %s now, where this run had %s",
				   luaL_optstring(L, -1, "its source"), push_mark(L, s), push_mark(L, closed));
	}
	locked_add(L, &closed->memory, s->memory.bytes, s->memory.length);
	for (size_t i = 0; i < s->spans.count; i++)
		spans_add(L, &closed->spans, s->spans.list[i].at, s->spans.list[i].length, s->spans.list[i].mark);
	closed->open = 1;
	return 0;
}

/* secret.unseal(bytes, keyring) -> the text that was sealed because it holds secrets, which are looked for from now on */
static int secret_unseal(lua_State *L)
{
	size_t length;
	const char *sealed = luaL_checklstring(L, 1, &length);

	luaL_checkudata(L, 2, KEYRING);
	keyring_unseal(L, 2, sealed, length, NULL);
	return 1;
}

/* secret.seal(secret or text, keyring) -> bytes */
static int secret_seal(lua_State *L)
{
	luaL_checkudata(L, 2, KEYRING);
	keyring_seal(L, 2, 1);
	return 1;
}

/* ---- what may be asked of one ---- */

/* secret.is(value) -> boolean */
static int secret_is_one(lua_State *L)
{
	lua_pushboolean(L, secret_is(L, 1));
	return 1;
}

static int can_open(lua_State *L, int index)
{
	const struct secret *s = lua_touserdata(L, index);
	int sealed = lua_getiuservalue(L, index, SECRET_SEALED) == LUA_TSTRING;

	lua_pop(L, 1);
	return s->open || sealed;
}

/* secret.is_open(secret) -> boolean: whether its bytes can be had here */
static int secret_is_open(lua_State *L)
{
	luaL_checkudata(L, 1, SECRET);
	lua_pushboolean(L, can_open(L, 1));
	return 1;
}

/* secret.is_short(secret) -> boolean: so short that output is not searched for it */
static int secret_is_short(lua_State *L)
{
	lua_pushboolean(L, secret_opened(L, 1)->memory.length < SECRET_SHORTEST);
	return 1;
}

/* secret.any() -> boolean: whether there was ever a secret in this process */
static int secret_any(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, MADE);
	lua_pushboolean(L, lua_toboolean(L, -1));
	return 1;
}

/* secret.size(secret or text) -> bytes */
static int secret_size(lua_State *L)
{
	size_t length;

	secret_check(L, 1, &length);
	lua_pushinteger(L, (lua_Integer)length);
	return 1;
}

/* secret.fingerprint(secret) -> 64 hexadecimal digits */
static int secret_fingerprint(lua_State *L)
{
	lua_pushstring(L, ((struct secret *)luaL_checkudata(L, 1, SECRET))->fingerprint);
	return 1;
}

/* secret.source(secret) -> where it comes from, as in an environment; nil: it was put together */
static int secret_source(lua_State *L)
{
	luaL_checkudata(L, 1, SECRET);
	lua_getiuservalue(L, 1, SECRET_SOURCE);
	return 1;
}

/* Writes the fingerprint that the value at the index has by the keyring of the secret at `by`. */
static void fingerprint_of(lua_State *L, int index, int by, char *fingerprint)
{
	const struct secret *s = luaL_testudata(L, index, SECRET);
	size_t length;
	const char *bytes;

	if (s) {
		memcpy(fingerprint, s->fingerprint, sizeof s->fingerprint);
		return;
	}
	bytes = luaL_checklstring(L, index, &length);
	lua_getiuservalue(L, by, SECRET_KEYRING);
	keyring_fingerprint(L, lua_gettop(L), bytes, length, fingerprint);
	lua_pop(L, 1);
}

/* secret.same(a, b) -> boolean: by fingerprints; one of them may be a text */
static int secret_same(lua_State *L)
{
	char a[2 * SECRET_KEY + 1], b[2 * SECRET_KEY + 1];

	luaL_argexpected(L, secret_is(L, 1) || secret_is(L, 2), 1, "secret");
	fingerprint_of(L, 1, 2, a);
	fingerprint_of(L, 2, 1, b);
	lua_pushboolean(L, !strcmp(a, b));
	return 1;
}

static void add_shown(lua_State *L, luaL_Buffer *text, const char *bytes, size_t length)
{
	if (!length)
		return;
	secret_push_redacted(L, bytes, length);
	luaL_addvalue(text);
}

/* secret.text(secret) -> how it reads: its parts that are secret replaced, the others as they are */
static int secret_text(lua_State *L)
{
	const struct secret *s = secret_opened(L, 1);
	const char *bytes = (const char *)s->memory.bytes;
	luaL_Buffer text;
	size_t at = 0;

	luaL_buffinit(L, &text);
	for (size_t i = 0; i < s->spans.count; i++) {
		const struct span *span = &s->spans.list[i];

		add_shown(L, &text, bytes + at, span->at - at);
		lua_pushfstring(L, "(secret %s)", span->mark);
		luaL_addvalue(&text);
		at = span->at + span->length;
	}
	add_shown(L, &text, bytes + at, s->memory.length - at);
	luaL_pushresult(&text);
	return 1;
}

/* secret.reveal(secret) -> text: what a host gives back that was given it. For the plan's overlay, and for nothing else. */
static int secret_reveal(lua_State *L)
{
	const struct secret *s = secret_opened(L, 1);

	lua_pushlstring(L, (const char *)s->memory.bytes, s->memory.length);
	return 1;
}

/* ---- encoded: a secret stays one ---- */

typedef size_t encoding(char *out, const unsigned char *bytes, size_t length);

static size_t write_base64(char *out, const unsigned char *bytes, size_t length)
{
	return (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)length);
}

/* Only what needs no encoding in any part of a URL stays as it is (RFC 3986, 2.3). */
static size_t write_percent(char *out, const unsigned char *bytes, size_t length)
{
	char *start = out;

	for (size_t i = 0; i < length; i++) {
		if (isalnum(bytes[i]) || (bytes[i] && strchr("-._~", bytes[i])))
			*out++ = (char)bytes[i];
		else
			out += sprintf(out, "%%%02X", bytes[i]);
	}
	return (size_t)(out - start);
}

/* As it stands within the quotes of a JSON text (RFC 8259, 7). */
static size_t write_json(char *out, const unsigned char *bytes, size_t length)
{
	char *start = out;

	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == '"' || bytes[i] == '\\') {
			*out++ = '\\';
			*out++ = (char)bytes[i];
		} else if (bytes[i] < 0x20) {
			out += sprintf(out, "\\u%04x", bytes[i]);
		} else {
			*out++ = (char)bytes[i];
		}
	}
	return (size_t)(out - start);
}

/* Pushes the secret or text at index 1, encoded; it takes at most `times` its length, and 8 bytes. */
static int push_encoded(lua_State *L, encoding *write, size_t times)
{
	struct secret *s = secret_is(L, 1) ? secret_opened(L, 1) : NULL, *encoded;
	size_t length;
	const unsigned char *bytes = (const unsigned char *)secret_check(L, 1, &length);

	luaL_argcheck(L, length < (size_t)1 << 28, 1, "too long");
	if (!s) {
		luaL_Buffer text;
		char *out = luaL_buffinitsize(L, &text, length * times + 8);

		luaL_pushresultsize(&text, write(out, bytes, length));
		return 1;
	}
	lua_getiuservalue(L, 1, SECRET_KEYRING);
	encoded = secret_new(L, lua_gettop(L), 0);
	locked_reserve(L, &encoded->memory, length * times + 8);
	encoded->memory.length = write((char *)encoded->memory.bytes, bytes, length);
	secret_close_off(L, encoded);
	spans_add(L, &encoded->spans, 0, encoded->memory.length, s->fingerprint);
	return 1;
}

/* secret.base64(secret or text) -> secret, or text */
static int secret_base64(lua_State *L)
{
	return push_encoded(L, write_base64, 2);
}

/* secret.percent(secret or text) -> secret, or text: as a part of a URL, or of a web form */
static int secret_percent(lua_State *L)
{
	return push_encoded(L, write_percent, 3);
}

/* secret.json(secret or text) -> secret, or text: as within the quotes of a JSON text */
static int secret_json(lua_State *L)
{
	return push_encoded(L, write_json, 6);
}

/* ---- an earlier text, seen in the light of a later one ---- */

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

/*
 * secret.like(text, later) -> secret: the text as what it was before a secret text took its place. What stands where the
 * later one has a secret is one, too, and looked for from now on. Where nothing says which part that is, all of it is.
 */
static int secret_like(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	struct secret *later = luaL_checkudata(L, 2, SECRET), *s;
	int whole = !can_open(L, 2);

	lua_settop(L, 2);
	if (!whole)
		secret_opened(L, 2);
	lua_getiuservalue(L, 2, SECRET_KEYRING);
	s = secret_new(L, 3, 0);
	locked_add(L, &s->memory, text, length);
	secret_close_off(L, s);
	redact_find(L, s->memory.bytes, length, &s->spans);
	for (size_t i = 0; i < later->spans.count && !whole; i++) {
		struct frame frame = frame_of(later, i);
		const struct span *span = &later->spans.list[i];

		whole = is_blank(frame.before, frame.before_length) ||
			memchr(later->memory.bytes + span->at, '\n', span->length);
		if (!whole)
			mark_frame(L, s, 3, &frame);
	}
	if (whole)
		mark_whole(L, s);
	spans_tidy(&s->spans);
	return 1;
}

/* ---- what every secret does ---- */

static int secret_gc(lua_State *L)
{
	struct secret *s = luaL_checkudata(L, 1, SECRET);

	locked_free(&s->memory);
	free(s->spans.list);
	s->spans = (struct spans){0};
	s->open = 0;
	return 0;
}

static int secret_tostring(lua_State *L)
{
	push_mark(L, luaL_checkudata(L, 1, SECRET));
	return 1;
}

static void add_value(lua_State *L, struct secret *into, int index)
{
	struct secret *s = luaL_testudata(L, index, SECRET);
	size_t length, at = into->memory.length;
	const char *bytes;

	if (!s) {
		bytes = lua_tolstring(L, index, &length);
		locked_add(L, &into->memory, bytes, length);
		return;
	}
	locked_add(L, &into->memory, s->memory.bytes, s->memory.length);
	for (size_t i = 0; i < s->spans.count; i++)
		spans_add(L, &into->spans, at + s->spans.list[i].at, s->spans.list[i].length, s->spans.list[i].mark);
}

static void check_part(lua_State *L, int index)
{
	if (secret_is(L, index))
		secret_opened(L, index);
	else if (!lua_isstring(L, index))
		luaL_error(L, "attempt to concatenate a %s value with a secret", luaL_typename(L, index));
}

static int secret_concat(lua_State *L)
{
	struct secret *joined;

	check_part(L, 1);
	check_part(L, 2);
	lua_getiuservalue(L, secret_is(L, 1) ? 1 : 2, SECRET_KEYRING);
	joined = secret_new(L, 3, 0);
	add_value(L, joined, 1);
	add_value(L, joined, 2);
	secret_close_off(L, joined);
	return 1;
}

static int secret_equal(lua_State *L)
{
	const struct secret *a = luaL_testudata(L, 1, SECRET), *b = luaL_testudata(L, 2, SECRET);

	lua_pushboolean(L, a && b && !strcmp(a->fingerprint, b->fingerprint));
	return 1;
}

static int secret_refuse(lua_State *L)
{
	return luaL_error(L, "a secret is not looked into: join it with .., hand it over as content, `input` or `env`, or "
			     "compare it with ==");
}

int luaopen_secret(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"literal", secret_literal},         {"take_variable", secret_take_variable},
		{"variable", secret_variable},       {"file", secret_file},
		{"collect", secret_collect},         {"reference", secret_reference},
		{"sealed", secret_sealed},           {"fill", secret_fill},
		{"seal", secret_seal},               {"unseal", secret_unseal},
		{"any", secret_any},                 {"is", secret_is_one},
		{"is_open", secret_is_open},
		{"is_short", secret_is_short},       {"size", secret_size},
		{"fingerprint", secret_fingerprint}, {"source", secret_source},
		{"same", secret_same},               {"text", secret_text},
		{"base64", secret_base64},           {"like", secret_like},
		{"reveal", secret_reveal},           {"percent", secret_percent},
		{"json", secret_json},               {"ini", secret_ini},
		{"pick", secret_pick},               {"plain", secret_plain},
		{"quote", secret_quote},
		{NULL, NULL},
	};
	static const luaL_Reg metamethods[] = {
		{"__gc", secret_gc},       {"__tostring", secret_tostring}, {"__concat", secret_concat},
		{"__eq", secret_equal},    {"__len", secret_refuse},        {"__index", secret_refuse},
		{"__newindex", secret_refuse}, {"__lt", secret_refuse},     {"__le", secret_refuse},
		{"__call", secret_refuse}, {"__pairs", secret_refuse},      {NULL, NULL},
	};

	luaL_newmetatable(L, SECRET);
	luaL_setfuncs(L, metamethods, 0);
	lua_createtable(L, 0, 1); /* what getmetatable shows: it can be printed, and nothing else */
	lua_pushcfunction(L, secret_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_setfield(L, -2, "__metatable");
	luaL_newlib(L, functions);
	keyring_open(L);
	redact_open(L);
	return 1;
}
