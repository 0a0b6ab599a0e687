/* native.fs: neap's own files. Those of production hosts are reached through targets and never through this. */
#include "error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <lauxlib.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOCK "fs.lock"
#define DESCRIPTOR "fs.descriptor"
#define LISTING "fs.listing"
#define DEPTH_MAX 200 /* folders in folders; each holds a descriptor while remove_tree is in it */
#define KEEP_MODE ((mode_t)-1)

/* A file that a call has open. A userdata, so that an error closes it; -1 once closed. */
struct descriptor {
	int fd;
};

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

/* Raises what the system said; code is the name of the error number. */
static int fail(lua_State *L, int number, const char *verb, const char *path)
{
	const char *name = strerrorname_np(number);

	error_push(L, kind_of(number), "cannot %s %s: %s", verb, path, strerror(number));
	lua_pushstring(L, name ? name : "unknown");
	lua_setfield(L, -2, "code");
	return lua_error(L);
}

static const char *check_path(lua_State *L, int arg)
{
	size_t length;
	const char *path = luaL_checklstring(L, arg, &length);

	luaL_argcheck(L, length > 0, arg, "no path");
	luaL_argcheck(L, strlen(path) == length, arg, "a path with a NUL");
	return path;
}

static mode_t check_mode(lua_State *L, int arg, const char *text)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	luaL_argcheck(L, *text >= '0' && *text <= '7' && !*end && mode <= 03777, arg,
		      "a mode is octal text, as \"0640\" is");
	return mode;
}

/* options.mode at index arg. */
static mode_t mode_option(lua_State *L, int arg, mode_t otherwise)
{
	static const char *const names[] = {"mode", NULL};
	mode_t mode = otherwise;

	error_check_options(L, arg, names);
	if (!lua_isnoneornil(L, arg)) {
		if (lua_getfield(L, arg, "mode") != LUA_TNIL)
			mode = check_mode(L, arg, luaL_checkstring(L, -1));
		lua_pop(L, 1);
	}
	return mode;
}

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
			fail(L, errno, "read", path);
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
	const char *path = check_path(L, 1);
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
		return fail(L, errno, "read", path);
	read_all(L, d->fd, path, max);
	return 1;
}

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

/* Closes without losing the errno of what went wrong before. */
static void close_quietly(int fd)
{
	int number = errno;

	close(fd);
	errno = number;
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
	bool good;
	int fd;

	if (!check_place(folder, name, &mode))
		return false;
	fd = create_beside(folder, name, temporary);
	if (fd < 0)
		return false;
	good = fill(fd, bytes, length, mode);
	close_quietly(fd);
	if (good && renameat(folder, temporary, folder, name) == 0)
		return fsync(folder) == 0;
	int number = errno;
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
	const char *path = check_path(L, 1), *name;
	size_t length;
	const char *bytes = luaL_checklstring(L, 2, &length);
	mode_t mode = mode_option(L, 3, KEEP_MODE);
	int folder = open_folder_of(path, &name);
	bool good;

	if (folder < 0)
		return fail(L, errno, "write", path);
	good = replace(folder, name, bytes, length, mode);
	close_quietly(folder);
	return good ? 0 : fail(L, errno, "write", path);
}

/* Opens a regular file for writing, made with exactly this mode if it is not there. No link. */
static int open_or_create(const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? open_regular(path, flags | O_NOFOLLOW, 0) : -1;
	if (fchmod(fd, mode) == 0)
		return fd;
	close_quietly(fd);
	return -1;
}

/* append(path, bytes [, {mode}]): at the end, not synced; a new file gets mode 0600 or the one given. No link. */
static int fs_append(lua_State *L)
{
	const char *path = check_path(L, 1);
	size_t length;
	const char *bytes = luaL_checklstring(L, 2, &length);
	int fd = open_or_create(path, O_WRONLY | O_APPEND, mode_option(L, 3, 0600));
	bool good;

	if (fd < 0)
		return fail(L, errno, "write", path);
	good = write_all(fd, bytes, length);
	close_quietly(fd);
	return good ? 0 : fail(L, errno, "write", path);
}

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
	const char *path = check_path(L, 1);
	struct stat status;

	if (fstatat(AT_FDCWD, path, &status, flags) == 0)
		push_status(L, &status);
	else if (errno == ENOENT || errno == ENOTDIR)
		lua_pushnil(L);
	else
		return fail(L, errno, "look at", path);
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

struct listing {
	struct dirent **entries;
	int count;
};

static int listing_free(lua_State *L)
{
	struct listing *l = lua_touserdata(L, 1);

	while (l->count > 0)
		free(l->entries[--l->count]);
	free(l->entries);
	l->entries = NULL;
	return 0;
}

static int is_inside(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* list(path) -> names in the folder, sorted by bytes, without "." and ".." */
static int fs_list(lua_State *L)
{
	const char *path = check_path(L, 1);
	struct listing *l = lua_newuserdatauv(L, sizeof(*l), 0);
	int count;

	*l = (struct listing){0};
	luaL_setmetatable(L, LISTING);
	lua_toclose(L, -1);
	count = scandir(path, &l->entries, is_inside, by_bytes);
	if (count < 0)
		return fail(L, errno, "list", path);
	l->count = count;
	lua_createtable(L, count, 0);
	for (int i = 0; i < count; i++) {
		lua_pushstring(L, l->entries[i]->d_name);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* Makes one folder with exactly this mode. 1: made; 0: it is there; -1: errno. */
static int make_folder(const char *path, mode_t mode)
{
	struct stat status;

	if (mkdir(path, 0700) == 0)
		return chmod(path, mode) == 0 ? 1 : -1; /* mkdir leaves out setgid and what the umask takes */
	if (errno != EEXIST)
		return -1;
	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return 0;
	errno = EEXIST;
	return -1;
}

/* mkdir(path [, mode]) -> whether it was made; false when it is there. Parents that are missing are made with the same
 * mode, "0700" by default; those that are there stay as they are. */
static int fs_mkdir(lua_State *L)
{
	const char *path = check_path(L, 1);
	mode_t mode = check_mode(L, 2, luaL_optstring(L, 2, "0700"));
	char part[PATH_MAX];
	size_t length = strlen(path);
	int made = 0, now;

	if (length >= sizeof(part))
		return fail(L, ENAMETOOLONG, "make", path);
	for (size_t end = 1; end <= length; end++) {
		if (end < length && path[end] != '/')
			continue;
		memcpy(part, path, end);
		part[end] = 0;
		now = make_folder(part, mode);
		if (now < 0)
			return fail(L, errno, "make", part);
		made |= now;
	}
	lua_pushboolean(L, made);
	return 1;
}

/* Removes name in the folder and all in it, following no link. Returns false with errno. */
static bool remove_at(int folder, const char *name, int depth)
{
	struct dirent *entry;
	bool good = true;
	DIR *inside;
	int fd;

	if (unlinkat(folder, name, 0) == 0)
		return true;
	if (errno != EISDIR && errno != EPERM)
		return false;
	errno = EMFILE;
	fd = depth < DEPTH_MAX ? openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	inside = fdopendir(fd);
	if (!inside) {
		close_quietly(fd);
		return false;
	}
	while (good && (errno = 0, entry = readdir(inside)))
		good = !is_inside(entry) || remove_at(fd, entry->d_name, depth + 1);
	good = good && errno == 0;
	int number = errno;
	closedir(inside);
	errno = number;
	return good && unlinkat(folder, name, AT_REMOVEDIR) == 0;
}

/* For both removals: true when it was removed, false when there was nothing. */
static int removed(lua_State *L, bool good, const char *path)
{
	if (!good && errno != ENOENT && errno != ENOTDIR)
		return fail(L, errno, "remove", path);
	lua_pushboolean(L, good);
	return 1;
}

/* remove(path) -> whether there was something: a file, a link or an empty folder */
static int fs_remove(lua_State *L)
{
	const char *path = check_path(L, 1);

	return removed(L, remove(path) == 0, path);
}

/* remove_tree(path) -> whether there was something: a folder and all in it. Follows no link. */
static int fs_remove_tree(lua_State *L)
{
	const char *path = check_path(L, 1);

	return removed(L, remove_at(AT_FDCWD, path, 0), path);
}

/* rename(from, to): within one file system; what is at `to` is replaced */
static int fs_rename(lua_State *L)
{
	const char *from = check_path(L, 1), *to = check_path(L, 2);

	if (rename(from, to) != 0)
		return fail(L, errno, "rename", lua_pushfstring(L, "%s to %s", from, to));
	return 0;
}

/* readlink(path) -> what the link says */
static int fs_readlink(lua_State *L)
{
	const char *path = check_path(L, 1);
	char text[PATH_MAX];
	ssize_t length = readlink(path, text, sizeof(text));

	if (length < 0)
		return fail(L, errno, "read the link", path);
	lua_pushlstring(L, text, length);
	return 1;
}

/* realpath(path) -> absolute path without links */
static int fs_realpath(lua_State *L)
{
	const char *path = check_path(L, 1);
	char text[PATH_MAX];

	if (!realpath(path, text))
		return fail(L, errno, "resolve", path);
	lua_pushstring(L, text);
	return 1;
}

/* mkdtemp(prefix) -> path of a new folder, mode 0700, whose name is the prefix and six characters */
static int fs_mkdtemp(lua_State *L)
{
	const char *prefix = check_path(L, 1);
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%sXXXXXX", prefix) >= (int)sizeof(path))
		return fail(L, ENAMETOOLONG, "make", prefix);
	if (!mkdtemp(path))
		return fail(L, errno, "make", path);
	lua_pushstring(L, path);
	return 1;
}

/* getcwd() -> absolute path */
static int fs_getcwd(lua_State *L)
{
	char path[PATH_MAX];

	if (!getcwd(path, sizeof(path)))
		return fail(L, errno, "find", "the current folder");
	lua_pushstring(L, path);
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
	const char *path = check_path(L, 1);
	struct statfs status;
	char number[20];

	if (statfs(path, &status) != 0)
		return fail(L, errno, "look at", path);
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
	const char *path = check_path(L, 1);
	struct statvfs status;

	if (statvfs(path, &status) != 0)
		return fail(L, errno, "look at", path);
	lua_pushinteger(L, (lua_Integer)status.f_bavail * (lua_Integer)status.f_frsize);
	return 1;
}

/* lock(path [, {mode}]) -> lock, or nil while another process, or another lock of this one, holds it. The file is
 * made if it is not there, with mode 0600 or the one given, and stays; the system lets go when the holder ends. No
 * link. */
static int fs_lock(lua_State *L)
{
	const char *path = check_path(L, 1);
	mode_t mode = mode_option(L, 2, 0600);
	struct descriptor *lock = descriptor_new(L, LOCK);
	int number;

	lock->fd = open_or_create(path, O_RDWR, mode);
	if (lock->fd < 0)
		return fail(L, errno, "lock", path);
	if (flock(lock->fd, LOCK_EX | LOCK_NB) == 0)
		return 1;
	number = errno;
	close(lock->fd);
	lock->fd = -1;
	if (number != EWOULDBLOCK)
		return fail(L, number, "lock", path);
	lua_pushnil(L);
	return 1;
}

/* lock:close(); may be called twice */
static int lock_close(lua_State *L)
{
	luaL_checkudata(L, 1, LOCK);
	return descriptor_close(L);
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

static void add_type(lua_State *L, const char *name, lua_CFunction release)
{
	luaL_newmetatable(L, name);
	lua_pushcfunction(L, release);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__gc");
	lua_setfield(L, -2, "__close");
}

int luaopen_fs(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"read", fs_read},
		{"write", fs_write},
		{"append", fs_append},
		{"stat", fs_stat},
		{"lstat", fs_lstat},
		{"exists", fs_exists},
		{"list", fs_list},
		{"mkdir", fs_mkdir},
		{"remove", fs_remove},
		{"remove_tree", fs_remove_tree},
		{"rename", fs_rename},
		{"readlink", fs_readlink},
		{"realpath", fs_realpath},
		{"mkdtemp", fs_mkdtemp},
		{"getcwd", fs_getcwd},
		{"filesystem", fs_filesystem},
		{"free_bytes", fs_free_bytes},
		{"lock", fs_lock},
		{"user_name", fs_user_name},
		{"group_name", fs_group_name},
		{NULL, NULL},
	};

	add_type(L, DESCRIPTOR, descriptor_close);
	add_type(L, LISTING, listing_free);
	add_type(L, LOCK, lock_close);
	lua_pushcfunction(L, lock_close);
	lua_setfield(L, -2, "close");
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
