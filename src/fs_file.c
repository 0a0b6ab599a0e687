/* A file's bytes: read, written as a whole or at its end; and locks. */
#include "error.h"
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK "fs.lock"
#define DESCRIPTOR "fs.descriptor"
#define KEEP_MODE ((mode_t)-1)

/* A file that a call has open. A userdata, so that an error closes it; -1 once closed. */
struct descriptor {
	int fd;
};

static int descriptor_close(lua_State *L)
{
	struct descriptor *d = lua_touserdata(L, 1);

	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	return 0;
}

static struct descriptor *descriptor_new(lua_State *L, const char *type)
{
	struct descriptor *d = lua_newuserdatauv(L, sizeof(*d), 0);

	d->fd = -1;
	luaL_setmetatable(L, type);
	return d;
}

/* options.mode at index arg. */
static mode_t mode_option(lua_State *L, int arg, mode_t otherwise)
{
	static const char *const names[] = {"mode", NULL};
	mode_t mode = otherwise;

	error_check_options(L, arg, names);
	if (!lua_isnoneornil(L, arg)) {
		if (lua_getfield(L, arg, "mode") != LUA_TNIL)
			mode = fs_check_mode(L, arg, luaL_checkstring(L, -1));
		lua_pop(L, 1);
	}
	return mode;
}

/* ---- reading ---- */

/* Opens a regular file, and nothing that would block or act when it is opened. Returns -1 with errno. */
static int open_regular(const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
	struct stat status;

	if (fd < 0)
		return -1;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		return fd;
	close(fd);
	errno = S_ISDIR(status.st_mode) ? EISDIR : EPERM;
	return -1;
}

static void read_all(lua_State *L, int fd, const char *path, size_t max)
{
	luaL_Buffer bytes;
	size_t total = 0, room = 65536;
	struct stat found;

	/* as much at once as there is to read, and the end with it */
	if (fstat(fd, &found) == 0 && found.st_size >= 0 && (size_t)found.st_size <= max)
		room = (size_t)found.st_size + 1;
	luaL_buffinit(L, &bytes);
	for (;;) {
		ssize_t count = read(fd, luaL_prepbuffsize(&bytes, room), room);

		if (count < 0 && errno != EINTR)
			fs_fail(L, errno, "read", path);
		if (count == 0)
			break;
		if (count > 0)
			luaL_addsize(&bytes, count);
		total += count > 0 ? count : 0;
		if (total > max)
			error_raise(L, "denied", "%s is larger than %I bytes", path, (lua_Integer)max);
		room = 65536;
	}
	luaL_pushresult(&bytes);
}

/* read(path [, {max = bytes, follow = false}]) -> bytes of a regular file. Raises "denied" when it holds more than max,
 * and for a link when follow is false. */
static int fs_read(lua_State *L)
{
	static const char *const names[] = {"max", "follow", NULL};
	const char *path = fs_check_path(L, 1);
	struct descriptor *d;
	lua_Integer max = PTRDIFF_MAX;
	bool follow = true;

	lua_settop(L, 2);
	error_check_options(L, 2, names);
	if (!lua_isnil(L, 2)) {
		lua_getfield(L, 2, "max");
		max = luaL_optinteger(L, -1, max);
		luaL_argcheck(L, max >= 0, 2, "max is negative");
		follow = lua_getfield(L, 2, "follow") == LUA_TNIL || lua_toboolean(L, -1);
	}
	d = descriptor_new(L, DESCRIPTOR);
	lua_toclose(L, -1);
	d->fd = open_regular(path, O_RDONLY | (follow ? 0 : O_NOFOLLOW), 0);
	if (d->fd < 0)
		return fs_fail(L, errno, "read", path);
	read_all(L, d->fd, path, max);
	return 1;
}

/* ---- writing ---- */

static bool write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = write(fd, bytes, length);

		if (count < 0 && errno != EINTR)
			return false;
		bytes += count > 0 ? count : 0;
		length -= count > 0 ? count : 0;
	}
	return true;
}

static bool fill(int fd, const char *bytes, size_t length, mode_t mode)
{
	return fchmod(fd, mode) == 0 && write_all(fd, bytes, length) && fsync(fd) == 0;
}

/* What is written in place of: nothing, or a regular file, whose mode is kept unless another is wanted. */
static bool check_place(int folder, const char *name, mode_t *mode)
{
	struct stat status;

	if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
		if (*mode == KEEP_MODE)
			*mode = 0600;
		return errno == ENOENT;
	}
	if (*mode == KEEP_MODE)
		*mode = status.st_mode & 0777;
	errno = S_ISLNK(status.st_mode) ? ELOOP : S_ISDIR(status.st_mode) ? EISDIR : EPERM;
	return S_ISREG(status.st_mode);
}

/* A name that is free in the folder, next to the one that is written. */
static int create_beside(int folder, const char *name, char temporary[NAME_MAX + 1])
{
	for (int attempt = 0; attempt < 100; attempt++) {
		int fd;

		snprintf(temporary, NAME_MAX + 1, ".%.200s.%08x", name, (unsigned)random() ^ (unsigned)getpid());
		fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

static bool replace(int folder, const char *name, const char *bytes, size_t length, mode_t mode)
{
	char temporary[NAME_MAX + 1];
	int fd, number;
	bool good;

	if (!check_place(folder, name, &mode))
		return false;
	fd = create_beside(folder, name, temporary);
	if (fd < 0)
		return false;
	good = fill(fd, bytes, length, mode);
	fs_close_quietly(fd);
	if (good && renameat(folder, temporary, folder, name) == 0)
		return fsync(folder) == 0;
	number = errno;
	unlinkat(folder, temporary, 0);
	errno = number;
	return false;
}

/* Opens the folder that path lies in; name points at what follows its last slash. */
static int open_folder_of(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX] = ".";

	*name = slash ? slash + 1 : path;
	if (slash) {
		if ((size_t)(slash - path) >= sizeof(folder) - 1) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(folder, path, slash - path + 1);
		folder[slash - path + 1] = 0;
	}
	return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* write(path, bytes [, {mode = "0640"}]): all or nothing, also through a crash: a temporary file in the same folder,
 * fsync, rename, fsync of the folder. A file that is there keeps its mode; a new one gets 0600. Only a regular file
 * is replaced, no link. */
static int fs_write(lua_State *L)
{
	const char *path = fs_check_path(L, 1), *name;
	size_t length;
	const char *bytes = luaL_checklstring(L, 2, &length);
	mode_t mode = mode_option(L, 3, KEEP_MODE);
	int folder = open_folder_of(path, &name);
	bool good;

	if (folder < 0)
		return fs_fail(L, errno, "write", path);
	good = replace(folder, name, bytes, length, mode);
	fs_close_quietly(folder);
	return good ? 0 : fs_fail(L, errno, "write", path);
}

/* Opens a regular file for writing, made with exactly this mode if it is not there. No link. */
static int open_or_create(const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? open_regular(path, flags | O_NOFOLLOW, 0) : -1;
	if (fchmod(fd, mode) == 0)
		return fd;
	fs_close_quietly(fd);
	return -1;
}

/* append(path, bytes [, {mode}]): at the end, not synced; a new file gets mode 0600 or the one given. No link. */
static int fs_append(lua_State *L)
{
	const char *path = fs_check_path(L, 1);
	size_t length;
	const char *bytes = luaL_checklstring(L, 2, &length);
	int fd = open_or_create(path, O_WRONLY | O_APPEND, mode_option(L, 3, 0600));
	bool good;

	if (fd < 0)
		return fs_fail(L, errno, "write", path);
	good = write_all(fd, bytes, length);
	fs_close_quietly(fd);
	return good ? 0 : fs_fail(L, errno, "write", path);
}

/* ---- locks ---- */

/* lock(path [, {mode}]) -> lock, or nil while another process, or another lock of this one, holds it. The file is
 * made if it is not there, with mode 0600 or the one given, and stays; the system lets go when the holder ends. No
 * link. */
static int fs_lock(lua_State *L)
{
	const char *path = fs_check_path(L, 1);
	mode_t mode = mode_option(L, 2, 0600);
	struct descriptor *lock = descriptor_new(L, LOCK);
	int number;

	lock->fd = open_or_create(path, O_RDWR, mode);
	if (lock->fd < 0)
		return fs_fail(L, errno, "lock", path);
	if (flock(lock->fd, LOCK_EX | LOCK_NB) == 0)
		return 1;
	number = errno;
	close(lock->fd);
	lock->fd = -1;
	if (number != EWOULDBLOCK)
		return fs_fail(L, number, "lock", path);
	lua_pushnil(L);
	return 1;
}

/* lock:close(); may be called twice */
static int lock_close(lua_State *L)
{
	luaL_checkudata(L, 1, LOCK);
	return descriptor_close(L);
}

void fs_file_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"read", fs_read},
		{"write", fs_write},
		{"append", fs_append},
		{"lock", fs_lock},
		{NULL, NULL},
	};

	fs_add_type(L, DESCRIPTOR, descriptor_close);
	fs_add_type(L, LOCK, lock_close);
	lua_pushcfunction(L, lock_close);
	lua_setfield(L, -2, "close");
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 2);
	luaL_setfuncs(L, functions, 0);
}
