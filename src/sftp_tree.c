/* native.sftp: whole folders, both ways. All names are known and checked before the first byte moves. */
#include "sftp.h"
#include "error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIDE_BY_SIDE = 8 }; /* folders listed, folders made, or files in flight */

/* A folder or file of the tree; `path` is relative to its root, "" is the root. */
struct node {
	char *path;
	mode_t mode;
};

struct nodes {
	struct node *at;
	size_t count, size, next; /* next: the first that nobody has begun */
};

/* One file on its way, with the paths it needs. */
struct carrying {
	struct transfer transfer;
	struct destination destination; /* down */
	int source;                     /* up; -1 */
	char *remote, *local, *temporary;
	const char *name; /* its last part, in the node */
	uint64_t counted; /* of its bytes, those that the tree has counted */
	unsigned used : 1;
};

/* One remote folder being made. */
struct making {
	struct request *request;
	char *path; /* NULL: unused */
	mode_t mode;
	unsigned looking : 1; /* it could not be made: is it there? */
};

struct tree {
	struct operation operation;
	const char *remote, *local; /* on the Lua stack */
	int root;                   /* the local folder; -1 */
	enum outcome (*step)(struct tree *tree);
	struct nodes folders, leaves;
	size_t links;
	struct listing listings[SIDE_BY_SIDE];
	size_t listed[SIDE_BY_SIDE]; /* which folder each is of */
	struct making makings[SIDE_BY_SIDE];
	struct carrying carryings[SIDE_BY_SIDE];
	char temporary[64]; /* up: what the temporary names begin with */
	unsigned skip_links : 1, sync : 1;
};

static enum outcome go(struct tree *tree, enum outcome (*step)(struct tree *tree))
{
	tree->step = step;
	return step(tree);
}

static enum outcome no_memory(struct tree *tree)
{
	return sftp_fail(&tree->operation.failure, "lost", "not enough memory");
}

/* "root/path", or root alone for the root. NULL: no memory. */
static char *join(const char *root, const char *path)
{
	char *joined;

	if (asprintf(&joined, "%s%s%s", root, *path && root[strlen(root) - 1] != '/' ? "/" : "", path) < 0)
		return NULL;
	return joined;
}

/* Takes the path; it is freed with the nodes, or here. */
static int add_node(struct nodes *nodes, char *path, mode_t mode)
{
	size_t size = nodes->size ? 2 * nodes->size : 64;
	struct node *at = nodes->at;

	if (path && nodes->count == nodes->size) {
		at = realloc(at, size * sizeof *at);
		if (at) {
			nodes->at = at;
			nodes->size = size;
		}
	}
	if (!path || !at) {
		free(path);
		return 0;
	}
	at[nodes->count++] = (struct node){path, mode};
	return 1;
}

static void free_nodes(struct nodes *nodes)
{
	for (size_t i = 0; i < nodes->count; i++)
		free(nodes->at[i].path);
	free(nodes->at);
	*nodes = (struct nodes){0};
}

/* Adds what lies in a folder to the tree. Links and devices are not copied: refused, or counted if so wished. */
static enum outcome add_found(struct tree *tree, const char *folder, const char *name, mode_t mode)
{
	char *path = *folder ? join(folder, name) : strdup(name);

	if (!path)
		return no_memory(tree);
	if (tree->folders.count + tree->leaves.count >= SFTP_NAMES) {
		free(path);
		return sftp_fail(&tree->operation.failure, "remote", "copy %s: more than %d names", tree->remote,
				 SFTP_NAMES);
	}
	if (S_ISDIR(mode) || S_ISREG(mode))
		return add_node(S_ISDIR(mode) ? &tree->folders : &tree->leaves, path, mode & 0777) ? DONE
												   : no_memory(tree);
	tree->links++;
	if (!tree->skip_links)
		sftp_fail(&tree->operation.failure, "denied", "copy %s: %s is neither file nor folder", tree->remote,
			  path);
	free(path);
	return tree->skip_links ? DONE : FAILED;
}

/* Opens what lies below the local root; no link is followed on the way, nor at its end. */
static int open_below(const struct tree *tree, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};

	return (int)syscall(SYS_openat2, tree->root, *path ? path : ".", &how, sizeof how);
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The folder of a path below the root, opened. */
static int open_parent(const struct tree *tree, const char *path)
{
	size_t length = (size_t)(last_part(path) - path);
	char *parent = strndup(path, length ? length - 1 : 0);
	int fd = parent ? open_below(tree, parent, O_PATH | O_DIRECTORY) : -1;

	free(parent);
	return fd;
}

/* ---- files in flight, either way ---- */

static void end_carrying(struct carrying *carrying)
{
	if (!carrying->used)
		return;
	transfer_free(&carrying->transfer);
	destination_free(&carrying->destination);
	if (carrying->source >= 0)
		close(carrying->source);
	free(carrying->remote);
	free(carrying->local);
	free(carrying->temporary);
	*carrying = (struct carrying){0};
}

static enum outcome begin_carrying(struct tree *tree, struct carrying *carrying, const struct node *leaf)
{
	struct transfer *t = &carrying->transfer;

	*carrying = (struct carrying){.used = 1, .source = -1, .destination = {.folder = -1, .fd = -1}};
	t->files = tree->operation.files;
	t->task = tree->operation.task;
	t->failure = &tree->operation.failure;
	t->fd = -1;
	t->max = INT64_MAX;
	carrying->name = last_part(leaf->path);
	carrying->remote = join(tree->remote, leaf->path);
	carrying->local = join(tree->local, leaf->path);
	if (!carrying->remote || !carrying->local)
		return no_memory(tree);
	t->path = carrying->remote;
	t->local_path = carrying->local;
	return DONE;
}

static enum outcome begin_down(struct tree *tree, struct carrying *carrying, const struct node *leaf)
{
	struct transfer *t = &carrying->transfer;

	if (begin_carrying(tree, carrying, leaf) == FAILED)
		return FAILED;
	carrying->destination.folder = open_parent(tree, leaf->path);
	if (carrying->destination.folder < 0 || !destination_make(&carrying->destination))
		return sftp_local_failed(t->failure, "write", t->local_path);
	t->fd = carrying->destination.fd;
	transfer_start_down(t);
	return DONE;
}

static enum outcome end_down(struct carrying *carrying)
{
	const struct transfer *t = &carrying->transfer;

	if (!destination_finish(&carrying->destination, t, carrying->name))
		return sftp_local_failed(t->failure, "write", t->local_path);
	return DONE;
}

static enum outcome begin_up(struct tree *tree, struct carrying *carrying, const struct node *leaf)
{
	struct transfer *t = &carrying->transfer;
	struct stat status;

	if (begin_carrying(tree, carrying, leaf) == FAILED)
		return FAILED;
	carrying->source = t->fd = open_below(tree, leaf->path, O_RDONLY | O_NONBLOCK);
	if (t->fd < 0 || fstat(t->fd, &status) != 0)
		return sftp_local_failed(t->failure, "read", t->local_path);
	if (!S_ISREG(status.st_mode))
		return sftp_fail(t->failure, "conflict", "read %s here: it is no file any more", t->local_path);
	if (asprintf(&carrying->temporary, "%s-%zu", tree->temporary, (size_t)(leaf - tree->leaves.at)) < 0) {
		carrying->temporary = NULL;
		return no_memory(tree);
	}
	t->temporary = carrying->temporary;
	t->size = (uint64_t)status.st_size;
	t->mode = (int)leaf->mode;
	t->uid = t->gid = -1;
	t->sync = tree->sync;
	transfer_start_up(t);
	return DONE;
}

static enum outcome carry_on(struct tree *tree, struct carrying *carrying)
{
	const struct transfer *t = &carrying->transfer;
	enum outcome outcome = transfer_advance(&carrying->transfer);

	tree->operation.done += t->done - carrying->counted;
	carrying->counted = t->done;
	if (outcome == DONE && carrying->source < 0)
		outcome = end_down(carrying);
	if (outcome == DONE)
		end_carrying(carrying);
	return outcome;
}

static enum outcome carry(struct tree *tree,
			  enum outcome (*begin)(struct tree *, struct carrying *, const struct node *))
{
	int busy = 0;

	for (int i = 0; i < SIDE_BY_SIDE; i++) {
		struct carrying *carrying = &tree->carryings[i];

		if (carrying->used && carry_on(tree, carrying) == FAILED)
			return FAILED;
		if (!carrying->used && tree->leaves.next < tree->leaves.count &&
		    begin(tree, carrying, &tree->leaves.at[tree->leaves.next++]) == FAILED)
			return FAILED;
		busy |= carrying->used;
	}
	return busy ? WORKING : DONE;
}

/* ---- down ---- */

static enum outcome carry_down(struct tree *tree)
{
	return carry(tree, begin_down);
}

static int make_local_folder(const struct tree *tree, const struct node *folder)
{
	int parent = open_parent(tree, folder->path);
	int made =
		parent >= 0 && (mkdirat(parent, last_part(folder->path), folder->mode | 0700) == 0 || errno == EEXIST);

	if (parent >= 0)
		close(parent);
	return made;
}

/* Parents come before what lies in them. What is there must be a folder: that shows when it is opened. */
static enum outcome make_local_folders(struct tree *tree)
{
	struct failure *failure = &tree->operation.failure;

	if (mkdir(tree->local, tree->folders.at[0].mode | 0700) != 0 && errno != EEXIST)
		return sftp_local_failed(failure, "make", tree->local);
	tree->root = open(tree->local, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tree->root < 0)
		return sftp_local_failed(failure, "open", tree->local);
	for (size_t i = 1; i < tree->folders.count; i++)
		if (!make_local_folder(tree, &tree->folders.at[i]))
			return sftp_local_failed(failure, "make", tree->folders.at[i].path);
	return go(tree, carry_down);
}

static int by_folded_name(const void *a, const void *b)
{
	return strcasecmp(*(char *const *)a, *(char *const *)b);
}

/* Names that differ in case alone would be one file where case does not count. */
static enum outcome check_case(struct tree *tree, const struct listing *l)
{
	char **names = malloc((l->count + 1) * sizeof *names);
	enum outcome outcome = DONE;

	if (!names)
		return no_memory(tree);
	for (size_t i = 0; i < l->count; i++)
		names[i] = l->entries[i].name;
	qsort(names, l->count, sizeof *names, by_folded_name);
	for (size_t i = 1; i < l->count && outcome == DONE; i++)
		if (!strcasecmp(names[i - 1], names[i]))
			outcome = sftp_fail(&tree->operation.failure, "conflict",
					    "copy %s: %s and %s differ in case alone", l->path, names[i - 1], names[i]);
	free(names);
	return outcome;
}

static enum outcome add_listed(struct tree *tree, const struct listing *l, size_t folder)
{
	if (check_case(tree, l) == FAILED)
		return FAILED;
	for (size_t i = 0; i < l->count; i++) {
		const struct entry *entry = &l->entries[i];
		mode_t mode = entry->attributes.flags & ATTR_MODE ? entry->attributes.mode : 0;

		if (add_found(tree, tree->folders.at[folder].path, entry->name, mode) == FAILED)
			return FAILED;
	}
	return DONE;
}

static enum outcome begin_listing(struct tree *tree, int i)
{
	struct listing *l = &tree->listings[i];
	char *path;

	tree->listed[i] = tree->folders.next++;
	path = join(tree->remote, tree->folders.at[tree->listed[i]].path);
	if (!path)
		return no_memory(tree);
	*l = (struct listing){.files = tree->operation.files,
			      .task = tree->operation.task,
			      .failure = &tree->operation.failure,
			      .path = path,
			      .max = SFTP_NAMES};
	listing_start(l);
	return DONE;
}

static void end_listing(struct listing *l)
{
	char *path = (char *)l->path;

	listing_free(l);
	free(path);
}

static enum outcome take_listing(struct tree *tree, int i)
{
	struct listing *l = &tree->listings[i];
	enum outcome outcome = listing_advance(l);

	if (outcome == DONE)
		outcome = add_listed(tree, l, tree->listed[i]);
	else
		return outcome;
	end_listing(l);
	return outcome;
}

static enum outcome list_remote(struct tree *tree)
{
	int busy = 0;

	for (int i = 0; i < SIDE_BY_SIDE; i++) {
		if (tree->listings[i].path && take_listing(tree, i) == FAILED)
			return FAILED;
		if (!tree->listings[i].path && tree->folders.next < tree->folders.count &&
		    begin_listing(tree, i) == FAILED)
			return FAILED;
		busy |= tree->listings[i].path != NULL;
	}
	return busy ? WORKING : go(tree, make_local_folders);
}

/* ---- up ---- */

static enum outcome carry_up(struct tree *tree)
{
	return carry(tree, begin_up);
}

static void end_making(struct making *making)
{
	sftp_drop(&making->request);
	free(making->path);
	*making = (struct making){0};
}

/* A folder that could not be made may be there; a link to one is not followed. */
static enum outcome take_seen(struct tree *tree, struct making *making)
{
	struct cursor c = sftp_answer(making->request);
	struct attributes a = cursor_attributes(&c);

	if (making->request->type != FXP_ATTRS || c.bad)
		return sftp_refused(&tree->operation.failure, making->request, "make", making->path);
	if (!(a.flags & ATTR_MODE) || !S_ISDIR(a.mode))
		return sftp_fail(&tree->operation.failure, "denied", "make %s: it is no folder but a %s", making->path,
				 sftp_type(&a));
	end_making(making);
	return DONE;
}

static enum outcome take_made(struct tree *tree, struct making *making)
{
	struct files *files = tree->operation.files;
	uint32_t status = sftp_status(making->request);

	if (making->looking)
		return take_seen(tree, making);
	if (status == FX_OK) { /* the umask may have taken bits away */
		sftp_tell(files, FXP_SETSTAT, "zuu", making->path, (uint32_t)ATTR_MODE, (uint32_t)making->mode | 0700);
		end_making(making);
		return DONE;
	}
	if (status != FX_FAILURE)
		return sftp_refused(&tree->operation.failure, making->request, "make", making->path);
	sftp_drop(&making->request);
	making->looking = 1;
	making->request = sftp_ask(files, tree->operation.task, FXP_LSTAT, "z", making->path);
	return DONE;
}

static enum outcome begin_making(struct tree *tree, struct making *making)
{
	const struct node *folder = &tree->folders.at[tree->folders.next++];

	making->path = join(tree->remote, folder->path);
	if (!making->path)
		return no_memory(tree);
	making->mode = folder->mode;
	making->request = sftp_ask(tree->operation.files, tree->operation.task, FXP_MKDIR, "zuu", making->path,
				   (uint32_t)ATTR_MODE, (uint32_t)making->mode | 0700);
	return DONE;
}

/* The server takes the questions in order: so a folder is there before those in it are made. */
static enum outcome make_remote_folders(struct tree *tree)
{
	int busy = 0;

	for (int i = 0; i < SIDE_BY_SIDE; i++) {
		struct making *making = &tree->makings[i];

		if (sftp_answered(making->request) && take_made(tree, making) == FAILED)
			return FAILED;
		if (!making->path && tree->folders.next < tree->folders.count && begin_making(tree, making) == FAILED)
			return FAILED;
		busy |= making->path != NULL;
	}
	return busy ? WORKING : go(tree, carry_up);
}

static enum outcome add_read(struct tree *tree, const char *folder, DIR *names)
{
	struct failure *failure = &tree->operation.failure;
	struct dirent *entry;
	struct stat status;

	while ((errno = 0, entry = readdir(names))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (fstatat(dirfd(names), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
			return sftp_local_failed(failure, "read", entry->d_name);
		if (add_found(tree, folder, entry->d_name, status.st_mode) == FAILED)
			return FAILED;
	}
	return errno ? sftp_local_failed(failure, "read", folder) : DONE;
}

static enum outcome list_local_folder(struct tree *tree, const char *folder)
{
	int fd = open_below(tree, folder, O_RDONLY | O_DIRECTORY);
	DIR *names = fd >= 0 ? fdopendir(fd) : NULL;
	enum outcome outcome;

	if (!names) {
		sftp_local_failed(&tree->operation.failure, "read", *folder ? folder : tree->local);
		if (fd >= 0)
			close(fd);
		return FAILED;
	}
	outcome = add_read(tree, folder, names);
	closedir(names);
	return outcome;
}

static enum outcome list_local(struct tree *tree)
{
	while (tree->folders.next < tree->folders.count)
		if (list_local_folder(tree, tree->folders.at[tree->folders.next++].path) == FAILED)
			return FAILED;
	tree->folders.next = 0;
	return go(tree, make_remote_folders);
}

/* ---- the Lua calls ---- */

static enum outcome tree_advance(struct operation *o)
{
	struct tree *tree = (struct tree *)o;

	return tree->step(tree);
}

static void tree_release(struct operation *o)
{
	struct tree *tree = (struct tree *)o;

	for (int i = 0; i < SIDE_BY_SIDE; i++) {
		end_listing(&tree->listings[i]);
		end_making(&tree->makings[i]);
		end_carrying(&tree->carryings[i]);
	}
	free_nodes(&tree->folders);
	free_nodes(&tree->leaves);
	if (tree->root >= 0)
		close(tree->root);
	tree->root = -1;
}

static int tree_result(lua_State *L, struct operation *o)
{
	const struct tree *tree = (struct tree *)o;

	lua_createtable(L, 0, 3);
	lua_pushinteger(L, (lua_Integer)tree->leaves.count);
	lua_setfield(L, -2, "files");
	lua_pushinteger(L, (lua_Integer)o->done);
	lua_setfield(L, -2, "bytes");
	lua_pushinteger(L, (lua_Integer)tree->links);
	lua_setfield(L, -2, "skipped");
	return 1;
}

static struct tree *new_tree(lua_State *L)
{
	struct tree *tree = sftp_new_operation(L, sizeof *tree);

	tree->root = -1;
	tree->operation.advance = tree_advance;
	tree->operation.result = tree_result;
	tree->operation.release = tree_release;
	if (lua_istable(L, 5)) {
		lua_getfield(L, 5, "links");
		tree->skip_links = lua_isstring(L, -1) && !strcmp(lua_tostring(L, -1), "skip");
		luaL_argcheck(L, lua_isnil(L, -1) || tree->skip_links, 5, "links can be \"skip\", or left out");
		lua_pop(L, 1);
	}
	if (!add_node(&tree->folders, strdup(""), 0755))
		luaL_error(L, "not enough memory");
	return tree;
}

/*
 * files:download_tree(remote, local [, { links = "skip", on_progress = fn(bytes), timeout }])
 *   -> { files = n, bytes = n, skipped = n }
 * Copies what lies in the folder `remote` into the folder `local`, which is made. Files there are replaced, links there
 * not followed, others left. Modes are kept without setuid bits, owners not. Remote links and devices are refused, or
 * skipped if so wished; names that differ in case alone are refused.
 */
int sftp_download_tree(lua_State *L)
{
	static const char *const options[] = {"links", "on_progress", "timeout", NULL};
	struct tree *tree;

	lua_settop(L, 4);
	error_check_options(L, 4, options);
	sftp_check_path(L, 2);
	sftp_check_path(L, 3);
	tree = new_tree(L);
	tree->remote = lua_tostring(L, 3);
	tree->local = lua_tostring(L, 4);
	tree->step = list_remote;
	return sftp_run(L, 5, SFTP_LONG_MS);
}

/* What the temporary names begin with: option `temporary`, or something that nobody has used. */
static void name_temporary(lua_State *L, struct tree *tree)
{
	const char *name = NULL;
	uint32_t number = 0;

	if (lua_istable(L, 5)) {
		lua_getfield(L, 5, "temporary");
		name = luaL_optstring(L, -1, NULL);
	}
	luaL_argcheck(L, !name || (*name && !strchr(name, '/') && strlen(name) < sizeof tree->temporary), 5,
		      "temporary is a short name, without a folder");
	if (!name && getrandom(&number, sizeof number, 0) != sizeof number)
		error_raise(L, "missing", "the system gives no random numbers");
	if (name)
		snprintf(tree->temporary, sizeof tree->temporary, "%s", name);
	else
		snprintf(tree->temporary, sizeof tree->temporary, ".neap-%08x", number);
}

static int open_local_root(struct tree *tree)
{
	struct stat status;

	tree->root = open(tree->local, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tree->root < 0 || fstat(tree->root, &status) != 0)
		return 0;
	tree->folders.at[0].mode = status.st_mode & 0777;
	return 1;
}

/*
 * files:upload_tree(local, remote [, { temporary = name, links = "skip", fsync = true, on_progress = fn(bytes), timeout
 * }])
 *   -> { files = n, bytes = n, skipped = n }
 * The same the other way; each file as files:write does it, under a temporary name that begins with `temporary`.
 */
int sftp_upload_tree(lua_State *L)
{
	static const char *const options[] = {"temporary", "links", "fsync", "on_progress", "timeout", NULL};
	struct tree *tree;

	lua_settop(L, 4);
	error_check_options(L, 4, options);
	sftp_check_path(L, 2);
	sftp_check_path(L, 3);
	task_may_change(L, "files:upload_tree");
	tree = new_tree(L);
	tree->local = lua_tostring(L, 3);
	tree->remote = lua_tostring(L, 4);
	tree->sync = !lua_istable(L, 5) || lua_getfield(L, 5, "fsync") == LUA_TNIL || lua_toboolean(L, -1);
	lua_settop(L, 5);
	name_temporary(L, tree);
	if (!open_local_root(tree)) {
		sftp_local_failed(&tree->operation.failure, "read", tree->local);
		return error_raise(L, tree->operation.failure.kind, "%s", tree->operation.failure.message);
	}
	tree->step = list_local;
	return sftp_run(L, 5, SFTP_LONG_MS);
}
