/* A file to the server: what is written appears there at once, by a temporary file that is renamed, or not at all. */
#include "sftp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the end: owner, mode, sync, the name; or all taken back ---- */

static struct request *ask_handle(struct transfer *t, int type)
{
	return sftp_ask(t->files, t->task, type, "b", t->handle, t->handle_length);
}

/* What was begun is taken back before the failure is told. */
static enum outcome cleaned(struct transfer *t)
{
	return sftp_answered(t->request) ? FAILED : WORKING;
}

static enum outcome take_back(struct transfer *t)
{
	sftp_drop(&t->request);
	transfer_close(t);
	if (!t->temporary_made)
		return FAILED;
	t->temporary_made = 0;
	t->request = transfer_ask_path(t, FXP_REMOVE, t->temporary_path);
	return transfer_go(t, cleaned);
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
	return transfer_go(t, renamed);
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
	return transfer_go(t, finished);
}

/* ---- the bytes ---- */

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
		struct slot *slot = transfer_free_slot(t);
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

/* ---- the beginning: what is there, and the temporary file ---- */

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
		t->request = transfer_ask_path(t, FXP_LSTAT, t->temporary_path);
		return transfer_go(t, clashed);
	}
	t->temporary_made = 1;
	t->request = ask_handle(t, FXP_FSTAT);
	return transfer_go(t, sending);
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
	return transfer_go(t, created);
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
	t->request = transfer_ask_path(t, FXP_LSTAT, t->path);
	return transfer_go(t, target_seen);
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
	t->request = transfer_ask_path(t, t->follow ? FXP_REALPATH : FXP_LSTAT, t->path);
	t->step = t->follow ? followed : target_seen;
}
