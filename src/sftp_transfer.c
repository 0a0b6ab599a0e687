/* native.sftp: the bytes of one file, many questions in flight; what is written appears at once or not at all. */
#include "secret.h"
#include "sftp.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_MAX = 64 * 1024 * 1024 }; /* what read takes into memory unless told otherwise */

static enum outcome go(struct transfer *t, enum outcome (*step)(struct transfer *t))
{
	t->step = step;
	return step(t);
}

static struct request *ask_path(struct transfer *t, int type, const char *path)
{
	return sftp_ask(t->files, t->task, type, "z", path);
}

static struct request *ask_handle(struct transfer *t, int type)
{
	return sftp_ask(t->files, t->task, type, "b", t->handle, t->handle_length);
}

enum outcome transfer_advance(struct transfer *t)
{
	return t->step(t);
}

static void close_handle(struct transfer *t)
{
	if (t->handle_length)
		sftp_tell(t->files, FXP_CLOSE, "b", t->handle, t->handle_length);
	t->handle_length = 0;
}

void transfer_free(struct transfer *t)
{
	for (int i = 0; i < SFTP_IN_FLIGHT; i++)
		sftp_drop(&t->slots[i].request);
	for (int i = 0; i < 4; i++)
		sftp_drop(&t->questions[i]);
	sftp_drop(&t->request);
	if (t->files) {
		close_handle(t);
		/* after a rename that is still on its way this finds nothing to remove, for questions keep their order
		 */
		if (t->temporary_made)
			sftp_tell(t->files, FXP_REMOVE, "z", t->temporary_path);
	}
	free(t->memory);
	free(t->real);
	free(t->temporary_path);
	t->memory = t->real = t->temporary_path = NULL;
	t->temporary_made = 0;
}

static struct slot *free_slot(struct transfer *t)
{
	for (int i = 0; i < SFTP_IN_FLIGHT; i++)
		if (!t->slots[i].request)
			return &t->slots[i];
	return NULL;
}

/* ---- down ---- */

static int keep_in_memory(struct transfer *t, const char *bytes, size_t length, uint64_t offset)
{
	size_t size = t->memory_size ? t->memory_size : SFTP_CHUNK;
	char *memory;

	while (size < offset + length)
		size *= 2;
	if (size != t->memory_size) {
		memory = realloc(t->memory, size);
		if (!memory)
			return 0;
		t->memory = memory;
		t->memory_size = size;
	}
	memcpy(t->memory + offset, bytes, length);
	return 1;
}

static int write_all(int fd, const char *bytes, size_t length, uint64_t offset)
{
	while (length) {
		ssize_t n = pwrite(fd, bytes, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return 0;
		bytes += n;
		length -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 1;
}

static enum outcome keep(struct transfer *t, const char *bytes, size_t length, uint64_t offset)
{
	if (offset + length > t->max)
		return sftp_fail(t->failure, "remote", "read %s: it has more than %llu bytes", t->path,
				 (unsigned long long)t->max);
	t->done += length;
	if (t->fd >= 0)
		return write_all(t->fd, bytes, length, offset) ? DONE
							       : sftp_local_failed(t->failure, "write", t->local_path);
	return keep_in_memory(t, bytes, length, offset) ? DONE : sftp_fail(t->failure, "lost", "not enough memory");
}

static void ask_piece(struct transfer *t, struct slot *slot)
{
	slot->request =
		sftp_ask(t->files, t->task, FXP_READ, "bqu", t->handle, t->handle_length, slot->offset, slot->length);
}

static enum outcome take_piece(struct transfer *t, struct slot *slot)
{
	struct cursor c = sftp_answer(slot->request);
	size_t length;
	const char *bytes;

	if (sftp_status(slot->request) == FX_EOF) {
		t->end = slot->offset < t->end ? slot->offset : t->end;
		sftp_drop(&slot->request);
		t->in_flight--;
		return DONE;
	}
	bytes = cursor_bytes(&c, &length);
	if (slot->request->type != FXP_DATA)
		return sftp_refused(t->failure, slot->request, "read", t->path);
	if (c.bad || !length || length > slot->length)
		return sftp_fail(t->failure, "protocol", "read %s: the server sent %zu bytes instead of %u", t->path,
				 length, slot->length);
	if (keep(t, bytes, length, slot->offset) == FAILED)
		return FAILED;
	sftp_drop(&slot->request);
	slot->offset += length;
	slot->length -= (uint32_t)length;
	if (slot->length)
		ask_piece(t, slot); /* a server may send less than it was asked for */
	else
		t->in_flight--;
	return DONE;
}

/* The size that was told, and one piece behind it for the end; what is longer (/proc tells 0) piece by piece. */
static void ask_pieces(struct transfer *t)
{
	struct slot *slot;
	uint64_t left;

	while (t->in_flight < SFTP_IN_FLIGHT && sftp_has_room(t->files) && t->end == UINT64_MAX && t->next <= t->max &&
	       (t->next < t->size + t->files->read_size || !t->in_flight)) {
		slot = free_slot(t);
		left = t->next < t->size ? t->size - t->next : UINT64_MAX;
		slot->offset = t->next;
		slot->length = left < t->files->read_size ? (uint32_t)left : t->files->read_size;
		ask_piece(t, slot);
		if (!slot->request)
			return;
		t->next += slot->length;
		t->in_flight++;
	}
}

static enum outcome receiving(struct transfer *t)
{
	for (int i = 0; i < SFTP_IN_FLIGHT; i++)
		if (sftp_answered(t->slots[i].request) && take_piece(t, &t->slots[i]) == FAILED)
			return FAILED;
	ask_pieces(t);
	if (t->in_flight || t->end == UINT64_MAX)
		return WORKING;
	close_handle(t);
	return DONE;
}

static enum outcome opened(struct transfer *t)
{
	if (!sftp_answered(t->request))
		return WORKING;
	if (sftp_take_handle(&t->request, t->handle, &t->handle_length, t->failure, "read", t->path) == FAILED)
		return FAILED;
	return go(t, receiving);
}

/* To open anything but a file could block the server for good. */
static enum outcome looked(struct transfer *t)
{
	struct cursor c;

	if (!sftp_answered(t->request))
		return WORKING;
	c = sftp_answer(t->request);
	t->remote = cursor_attributes(&c);
	if (t->request->type != FXP_ATTRS || c.bad)
		return sftp_refused(t->failure, t->request, "read", t->path);
	sftp_drop(&t->request);
	if ((t->remote.flags & ATTR_MODE) && !S_ISREG(t->remote.mode))
		return sftp_fail(t->failure, "conflict", "read %s: it is no file but a %s", t->path,
				 sftp_type(&t->remote));
	t->size = t->remote.size;
	if (t->size > t->max)
		return sftp_fail(t->failure, "remote", "read %s: it has %llu bytes, more than %llu", t->path,
				 (unsigned long long)t->size, (unsigned long long)t->max);
	t->request = sftp_ask(t->files, t->task, FXP_OPEN, "zuu", t->path, (uint32_t)FXF_READ, 0u);
	return go(t, opened);
}

void transfer_start_down(struct transfer *t)
{
	t->end = UINT64_MAX;
	t->request = ask_path(t, FXP_STAT, t->path);
	t->step = looked;
}

int destination_make(struct destination *d)
{
	uint32_t number[2];

	if (getrandom(number, sizeof number, 0) != sizeof number)
		return 0;
	snprintf(d->temporary, sizeof d->temporary, ".neap-%08x%08x", number[0], number[1]);
	d->fd = openat(d->folder, d->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (d->fd < 0)
		d->temporary[0] = '\0';
	return d->fd >= 0;
}

int destination_finish(struct destination *d, const struct transfer *t, const char *name)
{
	mode_t mode = t->remote.flags & ATTR_MODE ? t->remote.mode & 0777 : 0644;

	if (ftruncate(d->fd, (off_t)t->end) != 0 || fchmod(d->fd, mode | 0600) != 0 ||
	    renameat(d->folder, d->temporary, d->folder, name) != 0)
		return 0;
	d->temporary[0] = '\0';
	return 1;
}

void destination_free(struct destination *d)
{
	if (d->temporary[0])
		unlinkat(d->folder, d->temporary, 0);
	d->temporary[0] = '\0';
	if (d->fd >= 0)
		close(d->fd);
	if (d->folder >= 0)
		close(d->folder);
	d->fd = d->folder = -1;
}

/* ---- up ---- */

/* What was begun is taken back before the failure is told. */
static enum outcome cleaned(struct transfer *t)
{
	return sftp_answered(t->request) ? FAILED : WORKING;
}

static enum outcome take_back(struct transfer *t)
{
	sftp_drop(&t->request);
	close_handle(t);
	if (!t->temporary_made)
		return FAILED;
	t->temporary_made = 0;
	t->request = ask_path(t, FXP_REMOVE, t->temporary_path);
	return go(t, cleaned);
}

/* Whether the answer is good; else the failure is filled in. */
static int good(struct transfer *t, const struct request *r, const char *what, const char *path)
{
	if (sftp_status(r) == FX_OK)
		return 1;
	sftp_refused(t->failure, r, what, path);
	return 0;
}

static enum outcome renamed(struct transfer *t)
{
	if (!sftp_answered(t->request))
		return WORKING;
	if (!good(t, t->request, "rename to", t->path))
		return take_back(t);
	t->temporary_made = 0;
	sftp_drop(&t->request);
	return DONE;
}

static enum outcome rename_it(struct transfer *t)
{
	if (t->files->extensions & SFTP_POSIX_RENAME)
		t->request = sftp_ask(t->files, t->task, FXP_EXTENDED, "zzz", "posix-rename@openssh.com",
				      t->temporary_path, t->path);
	else
		t->request = sftp_ask(t->files, t->task, FXP_RENAME, "zz", t->temporary_path, t->path);
	return go(t, renamed);
}

/* The questions of `finish`, in the order in which their refusals are told. */
enum { OWNER, MODE, SYNC, CLOSE };

static enum outcome finished(struct transfer *t)
{
	static const char *const whats[] = {"set the owner of", "set the mode of", "sync", "close"};

	for (int i = OWNER; i <= CLOSE; i++)
		if (t->questions[i] && !t->questions[i]->answered)
			return WORKING;
	for (int i = OWNER; i <= CLOSE; i++) {
		if (t->questions[i] && !good(t, t->questions[i], whats[i], t->path))
			return take_back(t);
		sftp_drop(&t->questions[i]);
	}
	return rename_it(t);
}

static uint32_t wished(int given, const struct attributes *before, uint32_t there, uint32_t made)
{
	if (given >= 0)
		return (uint32_t)given;
	return before->flags & ATTR_OWNER ? there : made;
}

/* The owner before the mode, for a change of owner clears setuid bits; both before the sync that makes them last. */
static enum outcome finish(struct transfer *t, const struct attributes *made)
{
	uint32_t uid = wished(t->uid, &t->remote, t->remote.uid, made->uid);
	uint32_t gid = wished(t->gid, &t->remote, t->remote.gid, made->gid);
	uint32_t mode = t->mode >= 0 ? (uint32_t)t->mode : t->remote.flags & ATTR_MODE ? t->remote.mode & 07777 : 0644;

	if (uid != made->uid || gid != made->gid)
		t->questions[OWNER] = sftp_ask(t->files, t->task, FXP_FSETSTAT, "buuu", t->handle, t->handle_length,
					       (uint32_t)ATTR_OWNER, uid, gid);
	t->questions[MODE] = sftp_ask(t->files, t->task, FXP_FSETSTAT, "buu", t->handle, t->handle_length,
				      (uint32_t)ATTR_MODE, mode);
	if (t->sync && (t->files->extensions & SFTP_FSYNC))
		t->questions[SYNC] = sftp_ask(t->files, t->task, FXP_EXTENDED, "zb", "fsync@openssh.com", t->handle,
					      t->handle_length);
	t->questions[CLOSE] = ask_handle(t, FXP_CLOSE);
	t->handle_length = 0;
	return go(t, finished);
}

/* A chunk of the source at offset `next`; NULL and a failure if it cannot be had. */
static const char *source(struct transfer *t, char *chunk, size_t length)
{
	size_t have = 0;

	if (t->fd < 0)
		return t->bytes + t->next;
	while (have < length) {
		ssize_t n = pread(t->fd, chunk + have, length - have, (off_t)(t->next + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			sftp_local_failed(t->failure, "read", t->local_path);
		if (n == 0)
			sftp_fail(t->failure, "conflict", "read %s here: it was cut while it was read", t->local_path);
		if (n <= 0)
			return NULL;
		have += (size_t)n;
	}
	return chunk;
}

static int send_pieces(struct transfer *t)
{
	char chunk[SFTP_CHUNK];

	while (t->next < t->size && t->in_flight < SFTP_IN_FLIGHT && sftp_has_room(t->files)) {
		struct slot *slot = free_slot(t);
		uint64_t left = t->size - t->next;
		const char *bytes;

		slot->offset = t->next;
		slot->length = left < t->files->write_size ? (uint32_t)left : t->files->write_size;
		bytes = source(t, chunk, slot->length);
		if (!bytes)
			return 0;
		slot->request = sftp_ask(t->files, t->task, FXP_WRITE, "bqb", t->handle, t->handle_length, slot->offset,
					 bytes, (size_t)slot->length);
		if (!slot->request)
			return 1;
		t->next += slot->length;
		t->in_flight++;
	}
	return 1;
}

static int take_written(struct transfer *t)
{
	for (int i = 0; i < SFTP_IN_FLIGHT; i++) {
		struct slot *slot = &t->slots[i];

		if (!sftp_answered(slot->request))
			continue;
		if (!good(t, slot->request, "write", t->path)) {
			if (t->failure->code == FX_FAILURE) { /* all that is told of a full disk */
				sftp_fail(t->failure, "remote", "write %s: failure; its file system may be full",
					  t->path);
				t->failure->code = FX_FAILURE;
			}
			return 0;
		}
		sftp_drop(&slot->request);
		t->done += slot->length;
		t->in_flight--;
	}
	return 1;
}

static enum outcome sending(struct transfer *t)
{
	struct attributes made;
	struct cursor c;

	if (!take_written(t) || !send_pieces(t))
		return take_back(t);
	if (t->in_flight || t->next < t->size || !sftp_answered(t->request))
		return WORKING;
	c = sftp_answer(t->request);
	made = cursor_attributes(&c);
	if (t->request->type != FXP_ATTRS || c.bad) {
		sftp_refused(t->failure, t->request, "stat", t->temporary_path);
		return take_back(t);
	}
	sftp_drop(&t->request);
	return finish(t, &made);
}

/* Servers say only "failure" where the name is taken. */
static enum outcome clashed(struct transfer *t)
{
	if (!sftp_answered(t->request))
		return WORKING;
	if (t->request->type == FXP_ATTRS)
		sftp_fail(t->failure, "conflict", "write %s: its temporary file %s is there already", t->path,
			  t->temporary);
	return FAILED;
}

static enum outcome created(struct transfer *t)
{
	if (!sftp_answered(t->request))
		return WORKING;
	if (sftp_take_handle(&t->request, t->handle, &t->handle_length, t->failure, "write", t->temporary_path) ==
	    FAILED) {
		sftp_drop(&t->request);
		if (t->failure->code != FX_FAILURE)
			return FAILED;
		t->request = ask_path(t, FXP_LSTAT, t->temporary_path);
		return go(t, clashed);
	}
	t->temporary_made = 1;
	t->request = ask_handle(t, FXP_FSTAT);
	return go(t, sending);
}

static enum outcome create(struct transfer *t)
{
	const char *slash = strrchr(t->path, '/');
	int folder = slash ? (int)(slash - t->path) + 1 : 0;

	if (asprintf(&t->temporary_path, "%.*s%s", folder, t->path, t->temporary) < 0) {
		t->temporary_path = NULL;
		return sftp_fail(t->failure, "lost", "not enough memory");
	}
	t->request = sftp_ask(t->files, t->task, FXP_OPEN, "zuuu", t->temporary_path,
			      (uint32_t)(FXF_WRITE | FXF_CREAT | FXF_EXCL), (uint32_t)ATTR_MODE, 0600u);
	if (t->request)
		t->request->made = strdup(t->temporary_path);
	return go(t, created);
}

static enum outcome target_seen(struct transfer *t)
{
	struct cursor c;

	if (!sftp_answered(t->request))
		return WORKING;
	c = sftp_answer(t->request);
	if (t->request->type == FXP_ATTRS)
		t->remote = cursor_attributes(&c);
	else if (sftp_status(t->request) != FX_MISSING)
		return sftp_refused(t->failure, t->request, "write", t->path);
	if (c.bad)
		return sftp_fail(t->failure, "protocol", "write %s: the server's answer is cut", t->path);
	sftp_drop(&t->request);
	if ((t->remote.flags & ATTR_MODE) && S_ISLNK(t->remote.mode))
		return sftp_fail(t->failure, "denied", "write %s: it is a link, and follow is not set", t->path);
	if ((t->remote.flags & ATTR_MODE) && !S_ISREG(t->remote.mode))
		return sftp_fail(t->failure, "denied", "write %s: it is no file but a %s", t->path,
				 sftp_type(&t->remote));
	return create(t);
}

static enum outcome see_target(struct transfer *t)
{
	t->request = ask_path(t, FXP_LSTAT, t->path);
	return go(t, target_seen);
}

/* The path without links, if there is one; what is not there yet has none. */
static enum outcome followed(struct transfer *t)
{
	struct cursor c;
	size_t length;
	const char *name;

	if (!sftp_answered(t->request))
		return WORKING;
	c = sftp_answer(t->request);
	if (sftp_status(t->request) == FX_MISSING) {
		sftp_drop(&t->request);
		return see_target(t);
	}
	cursor_u32(&c);
	name = cursor_bytes(&c, &length);
	if (t->request->type != FXP_NAME || c.bad || !length || memchr(name, '\0', length))
		return sftp_refused(t->failure, t->request, "realpath", t->path);
	t->real = strndup(name, length);
	if (!t->real)
		return sftp_fail(t->failure, "lost", "not enough memory");
	sftp_drop(&t->request);
	t->path = t->real;
	return see_target(t);
}

void transfer_start_up(struct transfer *t)
{
	t->request = ask_path(t, t->follow ? FXP_REALPATH : FXP_LSTAT, t->path);
	t->step = t->follow ? followed : target_seen;
}

/* ---- the Lua calls ---- */

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

#define UP_OPTIONS "temporary", "mode", "uid", "gid", "fsync", "follow", "timeout"

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
