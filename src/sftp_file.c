/* native.sftp: the calls that move one file: read, download, write, upload. */
#include "error.h"
#include "secret.h"
#include "sftp.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_MAX = 64 * 1024 * 1024 }; /* what read takes into memory unless told otherwise */

#define UP_OPTIONS "temporary", "mode", "uid", "gid", "fsync", "follow", "timeout"

struct moving {
	struct operation operation;
	struct transfer transfer;
	struct destination destination; /* of a download, and its name there on the Lua stack */
	const char *name;
	int source; /* of an upload; -1 */
};

static enum outcome moving_advance(struct operation *o)
{
	struct transfer *t = &((struct moving *)o)->transfer;
	enum outcome outcome = transfer_advance(t);

	o->done = t->done;
	o->total = t->size;
	return outcome;
}

static void moving_release(struct operation *o)
{
	struct moving *m = (struct moving *)o;

	transfer_free(&m->transfer);
	destination_free(&m->destination);
	if (m->source >= 0)
		close(m->source);
}

static struct moving *new_moving(lua_State *L, int (*result)(lua_State *L, struct operation *o))
{
	const char *path = sftp_check_path(L, 2);
	struct moving *m = sftp_new_operation(L, sizeof *m);

	m->destination.folder = m->destination.fd = m->source = m->transfer.fd = -1;
	m->transfer.files = m->operation.files;
	m->transfer.task = m->operation.task;
	m->transfer.failure = &m->operation.failure;
	m->transfer.path = path;
	m->transfer.max = INT64_MAX;
	m->operation.advance = moving_advance;
	m->operation.result = result;
	m->operation.release = moving_release;
	return m;
}

/* ---- from the server ---- */

static int read_result(lua_State *L, struct operation *o)
{
	struct transfer *t = &((struct moving *)o)->transfer;

	lua_pushlstring(L, t->memory ? t->memory : "", (size_t)t->end);
	return 1;
}

/* files:read(path [, { max = bytes, timeout }]) -> bytes. `missing` if there is none; more than max (64 MiB) is
 * refused. */
int sftp_read(lua_State *L)
{
	static const char *const options[] = {"max", "timeout", NULL};
	lua_Integer max = READ_MAX;
	struct moving *m;

	lua_settop(L, 3);
	error_check_options(L, 3, options);
	if (lua_istable(L, 3)) {
		lua_getfield(L, 3, "max");
		max = luaL_optinteger(L, -1, max);
		luaL_argcheck(L, max >= 0, 3, "max is a number of bytes");
		lua_pop(L, 1);
	}
	m = new_moving(L, read_result);
	m->transfer.max = (uint64_t)max;
	transfer_start_down(&m->transfer);
	return sftp_run(L, 4, SFTP_LONG_MS);
}

static int download_result(lua_State *L, struct operation *o)
{
	struct moving *m = (struct moving *)o;
	struct transfer *t = &m->transfer;

	if (!destination_finish(&m->destination, t, m->name)) {
		sftp_local_failed(&o->failure, "write", t->local_path);
		return 0;
	}
	lua_pushinteger(L, (lua_Integer)t->end);
	return 1;
}

/* Opens the folder of the local path at index 4 and makes a file there. */
static int open_destination(lua_State *L, struct moving *m)
{
	const char *path = m->transfer.local_path, *slash = strrchr(path, '/');
	int made;

	m->name = slash ? slash + 1 : path;
	lua_pushlstring(L, path, slash ? (size_t)(slash - path) + 1 : 0);
	m->destination.folder = open(slash ? lua_tostring(L, -1) : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	lua_pop(L, 1);
	made = m->destination.folder >= 0 && destination_make(&m->destination);
	m->transfer.fd = m->destination.fd;
	return made;
}

/*
 * files:download(remote, local [, { on_progress = fn(done, size), timeout }]) -> bytes
 * The local file appears when it is complete, with the remote one's mode without setuid bits; what is there, also a
 * link, is replaced.
 */
int sftp_download(lua_State *L)
{
	static const char *const options[] = {"on_progress", "timeout", NULL};
	struct moving *m;

	lua_settop(L, 4);
	error_check_options(L, 4, options);
	sftp_check_path(L, 3);
	m = new_moving(L, download_result);
	m->transfer.local_path = lua_tostring(L, 4);
	if (!open_destination(L, m)) {
		sftp_local_failed(&m->operation.failure, "write", m->transfer.local_path);
		return error_raise(L, m->operation.failure.kind, "%s", m->operation.failure.message);
	}
	transfer_start_down(&m->transfer);
	return sftp_run(L, 5, SFTP_LONG_MS);
}

/* ---- to the server ---- */

static int flag_option(lua_State *L, int arg, const char *name, int otherwise)
{
	int flag = otherwise;

	if (lua_istable(L, arg)) {
		if (lua_getfield(L, arg, name) != LUA_TNIL)
			flag = lua_toboolean(L, -1);
		lua_pop(L, 1);
	}
	return flag;
}

/* The options of write and upload at index 5 of a call with its operation at 1. */
static void up_options(lua_State *L, struct moving *m)
{
	struct transfer *t = &m->transfer;
	const char *name;

	luaL_checktype(L, 5, LUA_TTABLE);
	lua_getfield(L, 5, "temporary"); /* stays on the stack, and so does its text */
	name = luaL_checkstring(L, -1);
	luaL_argcheck(L, *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, ".."), 5,
		      "temporary is a name, without a folder");
	t->temporary = name;
	t->mode = sftp_mode_option(L, 5, "mode");
	t->uid = sftp_owner_option(L, 5, "uid");
	t->gid = sftp_owner_option(L, 5, "gid");
	t->sync = flag_option(L, 5, "fsync", 1) ? 1 : 0;
	t->follow = flag_option(L, 5, "follow", 0) ? 1 : 0;
}

/*
 * files:write(path, bytes, { temporary = name, mode, uid, gid, fsync = true, follow = false, timeout })
 * The bytes, or a secret, go into a new file of that name in the same folder (0600), which gets owner and mode, is synced, and takes
 * the place of path in one act. mode and owner: as before, else 0644 and whoever logs in. A link is refused (`denied`)
 * unless `follow`: then the file it leads to is replaced, and `temporary` lies in that one's folder. On failure the
 * temporary file is removed; after `lost`, `timeout` or `cancelled` it may be there.
 */
int sftp_write(lua_State *L)
{
	static const char *const options[] = {UP_OPTIONS, NULL};
	struct moving *m;
	size_t size;

	lua_settop(L, 4);
	error_check_options(L, 4, options);
	secret_check(L, 3, &size);
	task_may_change(L, "files:write");
	m = new_moving(L, NULL);
	up_options(L, m);
	m->transfer.bytes = secret_bytes(L, 4, &size);
	m->transfer.size = size;
	transfer_start_up(&m->transfer);
	return sftp_run(L, 5, SFTP_LONG_MS);
}

static int open_source(struct moving *m)
{
	struct transfer *t = &m->transfer;
	struct stat status;

	m->source = t->fd = open(t->local_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (t->fd < 0 || fstat(t->fd, &status) != 0) {
		sftp_local_failed(t->failure, "read", t->local_path);
		return 0;
	}
	if (!S_ISREG(status.st_mode)) {
		sftp_fail(t->failure, "conflict", "read %s here: it is no file", t->local_path);
		return 0;
	}
	t->size = (uint64_t)status.st_size;
	return 1;
}

/* files:upload(local, remote, { write's options, on_progress = fn(done, size) }): as write, from a file. */
int sftp_upload(lua_State *L)
{
	static const char *const options[] = {UP_OPTIONS, "on_progress", NULL};
	struct moving *m;

	lua_settop(L, 4);
	error_check_options(L, 4, options);
	sftp_check_path(L, 3);
	task_may_change(L, "files:upload");
	m = new_moving(L, NULL);
	m->transfer.local_path = m->transfer.path;
	m->transfer.path = lua_tostring(L, 4);
	up_options(L, m);
	if (!open_source(m))
		return error_raise(L, m->operation.failure.kind, "%s", m->operation.failure.message);
	transfer_start_up(&m->transfer);
	return sftp_run(L, 5, SFTP_LONG_MS);
}
