/* native.sftp: packets of the file protocol, questions and their answers. What a server sends is checked here. */
#include "sftp.h"
#include "stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PACKET_MAX = 256 * 1024 + 1024, /* OpenSSH's own limit is 256 KiB */
	IN_SIZE = 2 * PACKET_MAX,
	OUT_ROOM = 512 * 1024, /* bytes that may wait to be written before more are made */
	VERSION = 3,
};

/* ---- answers ---- */

uint32_t cursor_u32(struct cursor *c)
{
	uint32_t value;

	if (c->left < 4) {
		*c = (struct cursor){.bad = 1};
		return 0;
	}
	value = (uint32_t)c->at[0] << 24 | (uint32_t)c->at[1] << 16 | (uint32_t)c->at[2] << 8 | c->at[3];
	c->at += 4;
	c->left -= 4;
	return value;
}

static uint64_t read_u64(struct cursor *c)
{
	uint64_t high = cursor_u32(c);

	return high << 32 | cursor_u32(c);
}

const char *cursor_bytes(struct cursor *c, size_t *length)
{
	const char *bytes;

	*length = cursor_u32(c);
	if (*length > c->left)
		*c = (struct cursor){.bad = 1};
	if (c->bad) {
		*length = 0;
		return "";
	}
	bytes = (const char *)c->at;
	c->at += *length;
	c->left -= *length;
	return bytes;
}

struct attributes cursor_attributes(struct cursor *c)
{
	struct attributes a = {.flags = cursor_u32(c)};
	size_t unused;

	if (a.flags & ATTR_SIZE)
		a.size = read_u64(c);
	if (a.flags & ATTR_OWNER) {
		a.uid = cursor_u32(c);
		a.gid = cursor_u32(c);
	}
	if (a.flags & ATTR_MODE)
		a.mode = cursor_u32(c);
	if (a.flags & ATTR_TIMES) {
		cursor_u32(c);
		a.mtime = cursor_u32(c);
	}
	if (a.flags & ATTR_EXTENDED)
		for (uint32_t pairs = cursor_u32(c); pairs && !c->bad; pairs--) {
			cursor_bytes(c, &unused);
			cursor_bytes(c, &unused);
		}
	return a;
}

struct cursor sftp_answer(const struct request *r)
{
	return (struct cursor){.at = r->body, .left = r->length};
}

uint32_t sftp_status(const struct request *r)
{
	struct cursor c = sftp_answer(r);
	uint32_t status = cursor_u32(&c);

	return r->type == FXP_STATUS && !c.bad ? status : UINT32_MAX;
}

/* ---- failures ---- */

static void set_message(char *message, size_t size, const char *fmt, va_list args)
{
	vsnprintf(message, size, fmt, args);
}

enum outcome sftp_fail(struct failure *f, const char *kind, const char *fmt, ...)
{
	va_list args;

	f->kind = kind;
	f->code = -1;
	va_start(args, fmt);
	set_message(f->message, sizeof f->message, fmt, args);
	va_end(args);
	return FAILED;
}

static const char *kind_of_status(uint32_t status)
{
	switch (status) {
	case FX_MISSING:
		return "missing";
	case FX_DENIED:
		return "denied";
	case 6: /* no connection */
	case 7: /* connection lost */
		return "lost";
	default:
		return "remote";
	}
}

enum outcome sftp_refused(struct failure *f, const struct request *r, const char *what, const char *path)
{
	static const char *const texts[] = {
		"it says that all is well",
		"unexpected end",
		"no such file",
		"permission denied",
		"failure",
		"bad message",
		"no connection",
		"connection lost",
		"not supported by the server",
	};
	uint32_t status = sftp_status(r);
	struct cursor c = sftp_answer(r);
	size_t length;
	const char *text;

	if (status == UINT32_MAX || status == FX_OK)
		return sftp_fail(f, "protocol", "%s %s: the server gave an answer of type %d", what, path, r->type);
	cursor_u32(&c);
	text = cursor_bytes(&c, &length);
	if (status < sizeof texts / sizeof *texts) {
		text = texts[status];
		length = strlen(text);
	}
	sftp_fail(f, kind_of_status(status), "%s %s: %.*s", what, path, (int)(length < 200 ? length : 200), text);
	f->code = (int)status;
	return FAILED;
}

enum outcome sftp_local_failed(struct failure *f, const char *what, const char *path)
{
	const char *kind = errno == ENOENT || errno == ENOTDIR ? "missing" : errno == EACCES ? "denied" : "remote";

	if (errno == ELOOP || errno == EEXIST || errno == EXDEV)
		kind = "denied";
	return sftp_fail(f, kind, "%s %s here: %s", what, path, strerror(errno));
}

enum outcome sftp_take_handle(struct request **request, char handle[SFTP_HANDLE], size_t *length, struct failure *f,
			      const char *what, const char *path)
{
	struct cursor c = sftp_answer(*request);
	size_t count;
	const char *bytes = cursor_bytes(&c, &count);

	if ((*request)->type != FXP_HANDLE)
		return sftp_refused(f, *request, what, path);
	if (c.bad || !count || count > SFTP_HANDLE)
		return sftp_fail(f, "protocol", "%s %s: the server sent a bad handle", what, path);
	memcpy(handle, bytes, count);
	*length = count;
	(*request)->type = 0; /* it is not closed with the question */
	sftp_drop(request);
	return DONE;
}

void sftp_break(struct files *files, const char *kind, const char *fmt, ...)
{
	va_list args;

	if (files->broken_kind)
		return;
	files->broken_kind = kind;
	va_start(args, fmt);
	set_message(files->broken, sizeof files->broken, fmt, args);
	va_end(args);
	if (files->stream->ops)
		files->stream->ops->wake(files->stream);
}

/* ---- asking ---- */

static int reserve_out(struct files *files, size_t more)
{
	size_t size = files->out_size ? files->out_size : 4096;
	unsigned char *out;

	if (files->out_start && files->out_start + files->out_length + more > files->out_size) {
		memmove(files->out, files->out + files->out_start, files->out_length);
		files->out_start = 0;
	}
	while (size < files->out_length + more)
		size *= 2;
	if (size == files->out_size)
		return 1;
	out = realloc(files->out, size);
	if (!out)
		return 0;
	files->out = out;
	files->out_size = size;
	return 1;
}

static void put_bytes(struct files *files, const void *bytes, size_t length)
{
	memcpy(files->out + files->out_start + files->out_length, bytes, length);
	files->out_length += length;
}

static void put_u32(struct files *files, uint32_t value)
{
	put_bytes(files, (unsigned char[]){value >> 24, value >> 16, value >> 8, value}, 4);
}

static void put_field(struct files *files, char kind, va_list *args)
{
	const void *bytes;
	size_t length;
	uint64_t number;

	switch (kind) {
	case 'u':
		put_u32(files, va_arg(*args, uint32_t));
		return;
	case 'q':
		number = va_arg(*args, uint64_t);
		put_u32(files, (uint32_t)(number >> 32));
		put_u32(files, (uint32_t)number);
		return;
	default:
		bytes = va_arg(*args, const void *);
		length = kind == 'z' ? strlen(bytes) : va_arg(*args, size_t);
		put_u32(files, (uint32_t)length);
		put_bytes(files, bytes, length);
	}
}

static size_t fields_length(const char *fmt, va_list *args)
{
	size_t length = 0;

	for (; *fmt; fmt++) {
		if (*fmt == 'u') {
			(void)va_arg(*args, uint32_t);
			length += 4;
		} else if (*fmt == 'q') {
			(void)va_arg(*args, uint64_t);
			length += 8;
		} else {
			const char *bytes = va_arg(*args, const char *);

			length += 4 + (*fmt == 'z' ? strlen(bytes) : va_arg(*args, size_t));
		}
	}
	return length;
}

static struct request *new_request(struct files *files, struct task *task, size_t length)
{
	struct request *r = reserve_out(files, length) ? calloc(1, sizeof *r) : NULL;

	if (!r) {
		sftp_break(files, "lost", "not enough memory");
		return NULL;
	}
	r->files = files;
	r->task = task;
	r->id = files->next_id++;
	*files->open_end = r;
	files->open_end = &r->next;
	files->queued = 1;
	return r;
}

struct request *sftp_ask(struct files *files, struct task *task, int type, const char *fmt, ...)
{
	va_list args;
	size_t length;
	struct request *r;

	va_start(args, fmt);
	length = 5 + fields_length(fmt, &args);
	va_end(args);
	r = new_request(files, task, 4 + length);
	if (!r)
		return NULL;
	put_u32(files, (uint32_t)length);
	put_bytes(files, &(unsigned char){type}, 1);
	put_u32(files, r->id);
	va_start(args, fmt);
	for (; *fmt; fmt++)
		put_field(files, *fmt, &args);
	va_end(args);
	return r;
}

static void free_request(struct request *r)
{
	free(r->made);
	free(r->body);
	free(r);
}

/* A file that was opened for somebody who is gone. */
static void close_unwanted(const struct request *r, int type, struct cursor c)
{
	size_t length;
	const char *handle = cursor_bytes(&c, &length);

	if (type != FXP_HANDLE || c.bad)
		return;
	sftp_tell(r->files, FXP_CLOSE, "b", handle, length);
	if (r->made)
		sftp_tell(r->files, FXP_REMOVE, "z", r->made);
}

void sftp_drop(struct request **request)
{
	struct request *r = *request;

	*request = NULL;
	if (!r)
		return;
	r->dropped = 1;
	r->task = NULL;
	if (!r->answered)
		return;
	close_unwanted(r, r->type, sftp_answer(r));
	free_request(r);
}

int sftp_has_room(const struct files *files)
{
	return files->out_length < OUT_ROOM;
}

/* ---- the connection ---- */

/* The sizes the server asks for; ours are smaller than most. */
static void take_limits(struct files *files)
{
	struct cursor c = sftp_answer(files->limits);
	uint64_t read_size, write_size;

	read_u64(&c); /* packet */
	read_size = read_u64(&c);
	write_size = read_u64(&c);
	if (files->limits->type == FXP_EXTENDED_REPLY && !c.bad) {
		if (read_size >= 1024 && read_size < files->read_size)
			files->read_size = (uint32_t)read_size;
		if (write_size >= 1024 && write_size < files->write_size)
			files->write_size = (uint32_t)write_size;
	}
	sftp_drop(&files->limits);
}

static void note_extension(struct files *files, const char *name, size_t length)
{
	if (length == 24 && !memcmp(name, "posix-rename@openssh.com", 24))
		files->extensions |= SFTP_POSIX_RENAME;
	if (length == 17 && !memcmp(name, "fsync@openssh.com", 17))
		files->extensions |= SFTP_FSYNC;
	if (length == 18 && !memcmp(name, "limits@openssh.com", 18) && !files->limits)
		files->limits = sftp_ask(files, NULL, FXP_EXTENDED, "z", "limits@openssh.com");
}

static void greeting(struct files *files, int type, struct cursor c)
{
	uint32_t version = cursor_u32(&c);

	if (type != FXP_VERSION || version != VERSION) {
		sftp_break(files, "protocol", "the file server speaks version %u; neap needs %d", version, VERSION);
		return;
	}
	files->greeted = 1;
	while (c.left && !c.bad) {
		size_t length, unused;
		const char *name = cursor_bytes(&c, &length);

		cursor_bytes(&c, &unused);
		if (!c.bad)
			note_extension(files, name, length);
	}
}

/* Takes the question of that id off the list. */
static struct request *find_open(struct files *files, uint32_t id)
{
	struct request **at = &files->open, *r;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	r = *at;
	if (!r)
		return NULL;
	*at = r->next;
	if (!*at)
		files->open_end = at;
	return r;
}

static void answered(struct files *files, int type, struct cursor c)
{
	uint32_t id = cursor_u32(&c);
	struct request *r = c.bad ? NULL : find_open(files, id);

	if (!r) {
		sftp_break(files, "protocol", "the file server answered a question that was not asked");
		return;
	}
	r->answered = 1;
	r->next = NULL;
	if (r->dropped) {
		close_unwanted(r, type, c);
		free_request(r);
		return;
	}
	r->type = type;
	r->length = c.left;
	r->body = malloc(c.left + 1);
	if (!r->body) {
		r->length = 0;
		sftp_break(files, "lost", "not enough memory");
		return;
	}
	memcpy(r->body, c.at, c.left);
	if (r == files->limits)
		take_limits(files);
	else if (r->task && r->task != files->running)
		task_wake(r->task);
}

/* What came instead of a packet; part of what a person needs to see. */
static void keep_foreign_text(struct files *files)
{
	size_t length = files->in_length < 1024 ? files->in_length : 1024;

	if (files->greeted || files->error_length)
		return;
	memcpy(files->error_text, files->in, length);
	files->error_length = length;
}

/* Returns the bytes of the first packet, 0 if it is not all there. */
static size_t take_packet(struct files *files, struct cursor c)
{
	uint32_t length;
	int type;

	if (c.left < 4)
		return 0;
	length = cursor_u32(&c);
	if (length < 5 || length > PACKET_MAX) {
		keep_foreign_text(files);
		sftp_break(files, "protocol",
			   files->greeted ? "the file server sent a packet of %u bytes"
					  : "what answers is not a file server",
			   length);
		return 0;
	}
	if (c.left < length)
		return 0;
	type = *c.at;
	c = (struct cursor){.at = c.at + 1, .left = length - 1};
	if (files->greeted)
		answered(files, type, c);
	else
		greeting(files, type, c);
	return 4 + (size_t)length;
}

static void take_packets(struct files *files)
{
	size_t used = 0, length;

	do {
		length = take_packet(files, (struct cursor){.at = files->in + used, .left = files->in_length - used});
		used += length;
	} while (length && !files->broken_kind);
	files->in_length -= used;
	memmove(files->in, files->in + used, files->in_length);
}

int sftp_flush(struct files *files)
{
	struct stream *s = files->stream;
	int moved = 0;

	files->queued = 0;
	while (files->out_length) {
		ssize_t n = s->ops->write(s, (char *)files->out + files->out_start, files->out_length);

		if (n == STREAM_LOST)
			files->out_length = 0; /* its output tells why */
		if (n <= 0)
			break;
		files->out_start += (size_t)n;
		files->out_length -= (size_t)n;
		moved = 1;
	}
	if (!files->out_length)
		files->out_start = 0;
	return moved;
}

/* Keeps the end of the error output: there sudo, a shell or the server say what is wrong. */
static int pump_errors(struct files *files)
{
	char piece[SFTP_ERROR_TEXT / 2];
	size_t keep = sizeof files->error_text - sizeof piece;
	ssize_t n = files->error_ended ? 0 : files->stream->ops->read(files->stream, 1, piece, sizeof piece);

	if (n == 0 || n == STREAM_LOST)
		files->error_ended = 1;
	if (n <= 0)
		return 0;
	if (files->error_length > keep) {
		memmove(files->error_text, files->error_text + files->error_length - keep, keep);
		files->error_length = keep;
	}
	memcpy(files->error_text + files->error_length, piece, (size_t)n);
	files->error_length += (size_t)n;
	return 1;
}

static int pump_in(struct files *files)
{
	struct stream *s = files->stream;
	ssize_t n;

	if (files->ended)
		return 0;
	n = s->ops->read(s, 0, (char *)files->in + files->in_length, IN_SIZE - files->in_length);
	if (n == STREAM_LOST)
		sftp_break(files, files->greeted ? "lost" : "connect", "%s", s->ops->failure(s));
	files->ended = n == 0;
	if (n <= 0)
		return 0;
	files->in_length += (size_t)n;
	take_packets(files);
	return 1;
}

static int says(const struct files *files, const char *text)
{
	return memmem(files->error_text, files->error_length, text, strlen(text)) != NULL;
}

/* The server has ended: by its status and its last words, why. */
static void name_end(struct files *files, int status)
{
	if (files->greeted) {
		sftp_break(files, "lost", "the file server ended");
		return;
	}
	keep_foreign_text(files);
	if (status == 127 || says(files, ": not found") || says(files, "command not found"))
		sftp_break(files, "missing", "there is no file server");
	else if (says(files, "sudo:") || says(files, "ermission denied") || says(files, "not allowed"))
		sftp_break(files, "denied", "the file server may not be started");
	else
		sftp_break(files, "protocol", "the file server ended before it said anything (status %d)", status);
}

/* A server that ended before it said anything has a reason, which its exit and its error output tell. */
static void await_end(struct files *files)
{
	int status = 0, known;
	char signal_name[16];

	if (!files->ended || files->broken_kind)
		return;
	known = files->stream->ops->exited(files->stream, &status, signal_name);
	while (pump_errors(files))
		;
	if (known || files->greeted)
		name_end(files, status);
}

int sftp_pump(struct files *files)
{
	int moved;

	if (!files->stream->ops)
		sftp_break(files, "lost", "the connection to the file server was closed");
	if (files->broken_kind)
		return 0;
	moved = sftp_flush(files);
	moved |= pump_errors(files);
	moved |= pump_in(files);
	await_end(files);
	return moved;
}

int sftp_begin(struct files *files, struct stream *stream)
{
	files->stream = stream;
	files->open_end = &files->open;
	files->read_size = files->write_size = SFTP_CHUNK;
	files->in = malloc(IN_SIZE);
	if (!files->in || !reserve_out(files, OUT_ROOM))
		return 0;
	put_u32(files, 5);
	put_bytes(files, &(unsigned char){FXP_INIT}, 1);
	put_u32(files, VERSION);
	return 1;
}

void sftp_end(struct files *files)
{
	struct request *next;

	for (struct request *r = files->open; r; r = next) {
		next = r->next;
		free_request(r);
	}
	files->open = NULL;
	files->open_end = &files->open;
	free(files->out);
	free(files->in);
	files->out = files->in = NULL;
}
