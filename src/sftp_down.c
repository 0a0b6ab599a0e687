/* A file from the server, into memory or a local file, which appears when it is complete. */
#include "sftp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

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
		slot = transfer_free_slot(t);
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
	transfer_close(t);
	return DONE;
}

static enum outcome opened(struct transfer *t)
{
	if (!sftp_answered(t->request))
		return WORKING;
	if (sftp_take_handle(&t->request, t->handle, &t->handle_length, t->failure, "read", t->path) == FAILED)
		return FAILED;
	return transfer_go(t, receiving);
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
	return transfer_go(t, opened);
}

void transfer_start_down(struct transfer *t)
{
	t->end = UINT64_MAX;
	t->request = transfer_ask_path(t, FXP_STAT, t->path);
	t->step = looked;
}

/* ---- the local file ---- */

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
