/* native.fs: neap's own files. Those of production hosts are reached through targets and never through this. */
#include "error.h"
#include "fs.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *kind_of(int number)
{
	switch (number) {
	case ENOENT:
	case ENOTDIR:
		return "missing";
	case EACCES:
	case EPERM:
	case EROFS:
	case ELOOP:
		return "denied";
	case EEXIST:
	case ENOTEMPTY:
	case EISDIR:
		return "conflict";
	default:
		return "remote";
	}
}

int fs_fail(lua_State *L, int number, const char *verb, const char *path)
{
	const char *name = strerrorname_np(number);

	error_push(L, kind_of(number), "cannot %s %s: %s", verb, path, strerror(number));
	lua_pushstring(L, name ? name : "unknown");
	lua_setfield(L, -2, "code");
	return lua_error(L);
}

const char *fs_check_path(lua_State *L, int arg)
{
	size_t length;
	const char *path = luaL_checklstring(L, arg, &length);

	luaL_argcheck(L, length > 0, arg, "no path");
	luaL_argcheck(L, strlen(path) == length, arg, "a path with a NUL");
	return path;
}

mode_t fs_check_mode(lua_State *L, int arg, const char *text)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	luaL_argcheck(L, *text >= '0' && *text <= '7' && !*end && mode <= 03777, arg,
		      "a mode is octal text, as \"0640\" is");
	return mode;
}

void fs_close_quietly(int fd)
{
	int number = errno;

	close(fd);
	errno = number;
}

void fs_add_type(lua_State *L, const char *name, lua_CFunction release)
{
	luaL_newmetatable(L, name);
	lua_pushcfunction(L, release);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__gc");
	lua_setfield(L, -2, "__close");
}

/* ---- names and links ---- */

/* rename(from, to): within one file system; what is at `to` is replaced */
static int fs_rename(lua_State *L)
{
	const char *from = fs_check_path(L, 1), *to = fs_check_path(L, 2);

	if (rename(from, to) != 0)
		return fs_fail(L, errno, "rename", lua_pushfstring(L, "%s to %s", from, to));
	return 0;
}

/* readlink(path) -> what the link says */
static int fs_readlink(lua_State *L)
{
	const char *path = fs_check_path(L, 1);
	char text[PATH_MAX];
	ssize_t length = readlink(path, text, sizeof(text));

	if (length < 0)
		return fs_fail(L, errno, "read the link", path);
	lua_pushlstring(L, text, length);
	return 1;
}

/* realpath(path) -> absolute path without links */
static int fs_realpath(lua_State *L)
{
	const char *path = fs_check_path(L, 1);
	char text[PATH_MAX];

	if (!realpath(path, text))
		return fs_fail(L, errno, "resolve", path);
	lua_pushstring(L, text);
	return 1;
}

/* getcwd() -> absolute path */
static int fs_getcwd(lua_State *L)
{
	char path[PATH_MAX];

	if (!getcwd(path, sizeof(path)))
		return fs_fail(L, errno, "find", "the current folder");
	lua_pushstring(L, path);
	return 1;
}

int luaopen_fs(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"rename", fs_rename}, {"readlink", fs_readlink}, {"realpath", fs_realpath},
		{"getcwd", fs_getcwd}, {NULL, NULL},
	};

	luaL_newlib(L, functions);
	fs_file_open(L);
	fs_folder_open(L);
	fs_status_open(L);
	fs_sync_open(L);
	return 1;
}
