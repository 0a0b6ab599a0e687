/* Folders and what lies in them: listed, made, removed. */
#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTING "fs.listing"
#define DEPTH_MAX 200 /* folders in folders; each holds a descriptor while remove_tree is in it */

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
	const char *path = fs_check_path(L, 1);
	struct listing *l = lua_newuserdatauv(L, sizeof(*l), 0);
	int count;

	*l = (struct listing){0};
	luaL_setmetatable(L, LISTING);
	lua_toclose(L, -1);
	count = scandir(path, &l->entries, is_inside, by_bytes);
	if (count < 0)
		return fs_fail(L, errno, "list", path);
	l->count = count;
	lua_createtable(L, count, 0);
	for (int i = 0; i < count; i++) {
		lua_pushstring(L, l->entries[i]->d_name);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* ---- making ---- */

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
	const char *path = fs_check_path(L, 1);
	mode_t mode = fs_check_mode(L, 2, luaL_optstring(L, 2, "0700"));
	char part[PATH_MAX];
	size_t length = strlen(path);
	int made = 0, now;

	if (length >= sizeof(part))
		return fs_fail(L, ENAMETOOLONG, "make", path);
	for (size_t end = 1; end <= length; end++) {
		if (end < length && path[end] != '/')
			continue;
		memcpy(part, path, end);
		part[end] = 0;
		now = make_folder(part, mode);
		if (now < 0)
			return fs_fail(L, errno, "make", part);
		made |= now;
	}
	lua_pushboolean(L, made);
	return 1;
}

/* mkdtemp(prefix) -> path of a new folder, mode 0700, whose name is the prefix and six characters */
static int fs_mkdtemp(lua_State *L)
{
	const char *prefix = fs_check_path(L, 1);
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%sXXXXXX", prefix) >= (int)sizeof(path))
		return fs_fail(L, ENAMETOOLONG, "make", prefix);
	if (!mkdtemp(path))
		return fs_fail(L, errno, "make", path);
	lua_pushstring(L, path);
	return 1;
}

/* ---- removing ---- */

/* Removes name in the folder and all in it, following no link. Returns false with errno. */
static bool remove_at(int folder, const char *name, int depth)
{
	struct dirent *entry;
	bool good = true;
	DIR *inside;
	int fd, number;

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
		fs_close_quietly(fd);
		return false;
	}
	while (good && (errno = 0, entry = readdir(inside)))
		good = !is_inside(entry) || remove_at(fd, entry->d_name, depth + 1);
	good = good && errno == 0;
	number = errno;
	closedir(inside);
	errno = number;
	return good && unlinkat(folder, name, AT_REMOVEDIR) == 0;
}

/* For both removals: true when it was removed, false when there was nothing. */
static int removed(lua_State *L, bool good, const char *path)
{
	if (!good && errno != ENOENT && errno != ENOTDIR)
		return fs_fail(L, errno, "remove", path);
	lua_pushboolean(L, good);
	return 1;
}

/* remove(path) -> whether there was something: a file, a link or an empty folder */
static int fs_remove(lua_State *L)
{
	const char *path = fs_check_path(L, 1);

	return removed(L, remove(path) == 0, path);
}

/* remove_tree(path) -> whether there was something: a folder and all in it. Follows no link. */
static int fs_remove_tree(lua_State *L)
{
	const char *path = fs_check_path(L, 1);

	return removed(L, remove_at(AT_FDCWD, path, 0), path);
}

void fs_folder_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"list", fs_list},
		{"mkdir", fs_mkdir},
		{"mkdtemp", fs_mkdtemp},
		{"remove", fs_remove},
		{"remove_tree", fs_remove_tree},
		{NULL, NULL},
	};

	fs_add_type(L, LISTING, listing_free);
	lua_pop(L, 1);
	luaL_setfuncs(L, functions, 0);
}
