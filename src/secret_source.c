/* Where secrets come from: a text, a variable of the environment, a file, the output of a program. */
#include "error.h"
#include "secret.h"
#include "stream.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAKEN "secret.taken"

enum {
	LARGEST = 1024 * 1024, /* bytes of a secret from outside */
	PIECE = 4096,
	ERROR_OUTPUT = 8 * 1024,
	COMMAND_MS = 60 * 1000,
};

/* Stack: …, keyring at 2, source at 3. */
static struct secret *new_from_outside(lua_State *L)
{
	luaL_checkudata(L, 2, KEYRING);
	luaL_optstring(L, 3, NULL);
	lua_settop(L, 4);
	return secret_new(L, 2, 3);
}

/* The line end that files and commands put behind a value is none of it. */
static void drop_line_end(struct secret *s)
{
	if (s->memory.length && s->memory.bytes[s->memory.length - 1] == '\n')
		s->memory.length--;
	if (s->memory.length && s->memory.bytes[s->memory.length - 1] == '\r')
		s->memory.length--;
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

/* ---- variables ---- */

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

/* ---- files ---- */

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

/* ---- programs ---- */

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

void secret_source_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"literal", secret_literal}, {"take_variable", secret_take_variable}, {"variable", secret_variable},
		{"file", secret_file},       {"collect", secret_collect},             {NULL, NULL},
	};

	luaL_setfuncs(L, functions, 0);
}
