/* What the system says of a file, of the file system it lies in, and of its owner. */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <lauxlib.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

static void push_status(lua_State *L, const struct stat *status)
{
	char mode[8];

	lua_createtable(L, 0, 7);
	lua_pushstring(L, S_ISREG(status->st_mode) ? "file" : S_ISDIR(status->st_mode) ? "directory" :
			   S_ISLNK(status->st_mode) ? "link" : "other");
	lua_setfield(L, -2, "type");
	lua_pushinteger(L, status->st_size);
	lua_setfield(L, -2, "size");
	snprintf(mode, sizeof(mode), "%04o", status->st_mode & 07777);
	lua_pushstring(L, mode);
	lua_setfield(L, -2, "mode");
	lua_pushinteger(L, status->st_uid);
	lua_setfield(L, -2, "uid");
	lua_pushinteger(L, status->st_gid);
	lua_setfield(L, -2, "gid");
	lua_pushnumber(L, status->st_mtim.tv_sec + status->st_mtim.tv_nsec / 1e9);
	lua_setfield(L, -2, "mtime");
	lua_pushinteger(L, status->st_ino);
	lua_setfield(L, -2, "inode");
}

static int status_of(lua_State *L, int flags)
{
	const char *path = fs_check_path(L, 1);
	struct stat status;

	if (fstatat(AT_FDCWD, path, &status, flags) == 0)
		push_status(L, &status);
	else if (errno == ENOENT || errno == ENOTDIR)
		lua_pushnil(L);
	else
		return fs_fail(L, errno, "look at", path);
	return 1;
}

/* stat(path) -> {type = "file|directory|link|other", size, mode = "0644", uid, gid, mtime = seconds, inode}, or nil
 * when there is nothing. Follows links. */
static int fs_stat(lua_State *L)
{
	return status_of(L, 0);
}

/* lstat(path) -> the same of the link itself */
static int fs_lstat(lua_State *L)
{
	return status_of(L, AT_SYMLINK_NOFOLLOW);
}

/* exists(path) -> boolean. Follows links; raises when that cannot be told. */
static int fs_exists(lua_State *L)
{
	status_of(L, 0);
	lua_pushboolean(L, !lua_isnil(L, -1));
	return 1;
}

/* filesystem(path) -> "ext", "xfs", "nfs", … or the kernel's number as "0x…" */
static int fs_filesystem(lua_State *L)
{
	static const struct {
		unsigned magic;
		const char *name;
	} known[] = {
		{0xEF53, "ext"}, {0x58465342, "xfs"}, {0x9123683E, "btrfs"}, {0x01021994, "tmpfs"},
		{0x794C7630, "overlay"}, {0x6969, "nfs"}, {0xFF534D42, "cifs"}, {0xFE534D42, "cifs"}, {0x517B, "cifs"},
		{0x65735546, "fuse"}, {0x2FC12FC1, "zfs"}, {0xF2F52010, "f2fs"}, {0xCA451A4E, "bcachefs"},
		{0x01021997, "9p"}, {0x00C36400, "ceph"}, {0x5346414F, "afs"}, {0x6B414653, "afs"},
		{0x0BD00BD0, "lustre"}, {0x01161970, "gfs2"}, {0x7461636F, "ocfs2"}, {0x47504653, "gpfs"},
		{0x4D44, "vfat"}, {0x2011BAB0, "exfat"}, {0x73717368, "squashfs"}, {0xF15F, "ecryptfs"},
		{0x858458F6, "ramfs"}, {0x9FA0, "proc"}, {0x62656572, "sysfs"},
	};
	const char *path = fs_check_path(L, 1);
	struct statfs status;
	char number[20];

	if (statfs(path, &status) != 0)
		return fs_fail(L, errno, "look at", path);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].magic == (unsigned)status.f_type) {
			lua_pushstring(L, known[i].name);
			return 1;
		}
	snprintf(number, sizeof(number), "0x%x", (unsigned)status.f_type);
	lua_pushstring(L, number);
	return 1;
}

/* free_bytes(path) -> bytes that this user can still write there */
static int fs_free_bytes(lua_State *L)
{
	const char *path = fs_check_path(L, 1);
	struct statvfs status;

	if (statvfs(path, &status) != 0)
		return fs_fail(L, errno, "look at", path);
	lua_pushinteger(L, (lua_Integer)status.f_bavail * (lua_Integer)status.f_frsize);
	return 1;
}

/* user_name(uid) -> name, or nil when nobody has that number */
static int fs_user_name(lua_State *L)
{
	struct passwd *user = getpwuid(luaL_checkinteger(L, 1));

	lua_pushstring(L, user ? user->pw_name : NULL);
	return 1;
}

/* group_name(gid) -> name, or nil when no group has that number */
static int fs_group_name(lua_State *L)
{
	struct group *group = getgrgid(luaL_checkinteger(L, 1));

	lua_pushstring(L, group ? group->gr_name : NULL);
	return 1;
}

void fs_status_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"stat", fs_stat},
		{"lstat", fs_lstat},
		{"exists", fs_exists},
		{"filesystem", fs_filesystem},
		{"free_bytes", fs_free_bytes},
		{"user_name", fs_user_name},
		{"group_name", fs_group_name},
		{NULL, NULL},
	};

	luaL_setfuncs(L, functions, 0);
}
