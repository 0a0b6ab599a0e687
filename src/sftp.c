/* native.sftp: files of another machine, by the file protocol (version 3) over any stream. */
#include "sftp.h"
#include "error.h"
#include "stream.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TYPE "sftp.files"
#define OPERATION "sftp.operation"

enum {
	PACKET_MAX = 256 * 1024 + 1024, /* OpenSSH's own limit is 256 KiB */
	IN_SIZE = 2 * PACKET_MAX,
	OUT_ROOM = 512 * 1024, /* bytes that may wait to be written before more are made */
	ERROR_TEXT = 4096,
	TURN = 16, /* rounds before other tasks get their turn */
	VERSION = 3,
};

/* Userdata; its user value is the stream. */
struct files {
	struct stream *stream;
	struct request *open, **open_end; /* in the order they were asked */
	struct request *limits;           /* asked at once, needed whenever it comes */
	uint32_t next_id;
	unsigned char *out; /* from out_start out_length bytes are to be written */
	size_t out_start, out_length, out_size;
	unsigned char *in;
	size_t in_length;
	char error_text[ERROR_TEXT]; /* the end of the error output */
	size_t error_length;
	const char *broken_kind; /* NULL while it works */
	char broken[512];
	uint32_t read_size, write_size;
	int extensions;
	unsigned greeted : 1, queued : 1, ended : 1, error_ended : 1;
	struct task *running; /* who moves the bytes now, and needs no waking */
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

uint64_t cursor_u64(struct cursor *c)
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
		a.size = cursor_u64(c);
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

/* Nothing more can be asked or answered. */
static void break_off(struct files *files, const char *kind, const char *fmt, ...)
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
		break_off(files, "lost", "not enough memory");
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

int sftp_can(const struct files *files, int extension)
{
	return files->extensions & extension;
}

uint32_t sftp_read_size(const struct files *files)
{
	return files->read_size;
}

uint32_t sftp_write_size(const struct files *files)
{
	return files->write_size;
}

/* ---- the connection ---- */

/* The sizes the server asks for; ours are smaller than most. */
static void take_limits(struct files *files)
{
	struct cursor c = sftp_answer(files->limits);
	uint64_t read_size, write_size;

	cursor_u64(&c); /* packet */
	read_size = cursor_u64(&c);
	write_size = cursor_u64(&c);
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
		break_off(files, "protocol", "the file server speaks version %u; neap needs %d", version, VERSION);
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
		break_off(files, "protocol", "the file server answered a question that was not asked");
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
		break_off(files, "lost", "not enough memory");
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
		break_off(files, "protocol",
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

static int pump_out(struct files *files)
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
	char piece[ERROR_TEXT / 2];
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
		break_off(files, files->greeted ? "lost" : "connect", "%s", s->ops->failure(s));
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
		break_off(files, "lost", "the file server ended");
		return;
	}
	keep_foreign_text(files);
	if (status == 127 || says(files, ": not found") || says(files, "command not found"))
		break_off(files, "missing", "there is no file server");
	else if (says(files, "sudo:") || says(files, "ermission denied") || says(files, "not allowed"))
		break_off(files, "denied", "the file server may not be started");
	else
		break_off(files, "protocol", "the file server ended before it said anything (status %d)", status);
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

/* Moves what can be moved now. Returns whether anything was. */
static int pump(struct files *files)
{
	int moved;

	if (!files->stream->ops)
		break_off(files, "lost", "the connection to the file server was closed");
	if (files->broken_kind)
		return 0;
	moved = pump_out(files);
	moved |= pump_errors(files);
	moved |= pump_in(files);
	await_end(files);
	return moved;
}

/* ---- operations ---- */

static int raise_broken(lua_State *L, struct files *files)
{
	error_push(L, files->broken_kind, "%s", files->broken);
	if (files->error_length) {
		lua_pushlstring(L, files->error_text, files->error_length);
		lua_setfield(L, -2, "output");
	}
	return lua_error(L);
}

static int raise_failure(lua_State *L, const struct failure *f)
{
	error_push(L, f->kind, "%s", f->message);
	if (f->code >= 0) {
		lua_pushinteger(L, f->code);
		lua_setfield(L, -2, "code");
	}
	return lua_error(L);
}

static int operation_step(lua_State *L);

static void restore_deadline(lua_State *L, const struct operation *o)
{
	task_deadline(L, lua_gettop(L) + 1, (int)((o->deadline - task_now()) * 1000));
}

static int progress_told(lua_State *L, int status, lua_KContext context)
{
	(void)status, (void)context;
	restore_deadline(L, lua_touserdata(L, 1));
	return operation_step(L);
}

/* At most some times a second. */
static void tell_progress(lua_State *L, struct operation *o)
{
	if (!o->callback || !o->done || task_now() < o->told + 0.2)
		return;
	o->told = task_now();
	lua_pushvalue(L, o->callback);
	lua_pushinteger(L, (lua_Integer)o->done);
	lua_pushinteger(L, (lua_Integer)o->total);
	lua_callk(L, 2, 0, 0, progress_told);
	restore_deadline(L, o);
}

static int operation_result(lua_State *L, struct operation *o)
{
	int count = o->result ? o->result(L, o) : 0;

	return o->failure.kind ? raise_failure(L, &o->failure) : count;
}

static int operation_step(lua_State *L)
{
	struct operation *o = lua_touserdata(L, 1);
	struct files *files = o->files;

	for (int turn = 0; turn < TURN; turn++) {
		enum outcome outcome;
		int moved;

		tell_progress(L, o);
		files->running = o->task;
		moved = pump(files);
		outcome = o->advance(o);
		if (outcome == DONE)
			return operation_result(L, o);
		if (outcome == FAILED)
			return raise_failure(L, &o->failure);
		if (files->broken_kind)
			return raise_broken(L, files);
		if (!moved && !files->queued)
			return files->stream->ops->wait(L, files->stream,
							files->out_length ? TASK_READ | TASK_WRITE : TASK_READ,
							operation_step);
	}
	return task_yield(L, operation_step);
}

static int operation_close(lua_State *L)
{
	struct operation *o = luaL_checkudata(L, 1, OPERATION);
	void (*release)(struct operation *) = o->release;

	o->release = NULL;
	if (release)
		release(o);
	if (o->files->stream->ops && !o->files->broken_kind)
		pump_out(o->files); /* what release told the server */
	return 0;
}

struct files *sftp_check(lua_State *L, int arg)
{
	return luaL_checkudata(L, arg, TYPE);
}

const char *sftp_check_path(lua_State *L, int arg)
{
	size_t length;
	const char *path = luaL_checklstring(L, arg, &length);

	luaL_argcheck(L, length > 0 && length < 4096 && strlen(path) == length, arg,
		      "a path has 1 to 4095 bytes and no NUL");
	return path;
}

int sftp_mode_option(lua_State *L, int arg, const char *name)
{
	const char *text;
	int mode = -1;

	if (!lua_istable(L, arg))
		return -1;
	lua_getfield(L, arg, name);
	text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
	if (!lua_isnil(L, -1)) {
		luaL_argcheck(
			L, text && strspn(text, "01234567") == strlen(text) && strlen(text) <= 4 && strlen(text) >= 3,
			arg, "a mode is octal text like \"0644\"");
		mode = (int)strtol(text, NULL, 8);
	}
	lua_pop(L, 1);
	return mode;
}

int sftp_owner_option(lua_State *L, int arg, const char *name)
{
	lua_Integer id;

	if (!lua_istable(L, arg))
		return -1;
	if (lua_getfield(L, arg, name) == LUA_TNIL) {
		lua_pop(L, 1);
		return -1;
	}
	id = luaL_checkinteger(L, -1);
	luaL_argcheck(L, id >= 0 && id < INT32_MAX, arg, "an owner is a number");
	lua_pop(L, 1);
	return (int)id;
}

void *sftp_new_operation(lua_State *L, size_t size)
{
	struct files *files = sftp_check(L, 1);
	struct operation *o = lua_newuserdatauv(L, size, 1);

	memset(o, 0, size);
	o->files = files;
	o->task = task_current(L);
	luaL_setmetatable(L, OPERATION);
	lua_pushvalue(L, 1); /* files outlives it */
	lua_setiuservalue(L, -2, 1);
	lua_insert(L, 1);
	lua_toclose(L, 1);
	return o;
}

int sftp_run(lua_State *L, int options, int default_ms)
{
	struct operation *o = lua_touserdata(L, 1);
	double seconds = default_ms / 1000.0;

	if (lua_istable(L, options)) {
		lua_getfield(L, options, "timeout");
		seconds = luaL_optnumber(L, -1, seconds);
		lua_pop(L, 1);
		if (lua_getfield(L, options, "on_progress") != LUA_TNIL) {
			luaL_checktype(L, -1, LUA_TFUNCTION);
			o->callback = lua_gettop(L);
		}
	}
	o->deadline = task_now() + seconds;
	restore_deadline(L, o);
	return operation_step(L);
}

/* ---- one question, one answer ---- */

struct call {
	struct operation operation;
	struct request *request, *before; /* before: NULL, or a question whose refusal counts too */
	const char *what, *path;          /* for messages; the path lies on the Lua stack */
};

static enum outcome call_advance(struct operation *o)
{
	struct call *call = (struct call *)o;

	if (call->before && call->before->answered && sftp_status(call->before) != FX_OK)
		return sftp_refused(&o->failure, call->before, call->what, call->path);
	return call->request && call->request->answered ? DONE : WORKING;
}

static void call_release(struct operation *o)
{
	sftp_drop(&((struct call *)o)->before);
	sftp_drop(&((struct call *)o)->request);
}

/* Stack afterwards: call, files, path, … */
static struct call *new_call(lua_State *L, const char *what, int (*result)(lua_State *L, struct operation *o))
{
	const char *path = sftp_check_path(L, 2);
	struct call *call = sftp_new_operation(L, sizeof *call);

	call->what = what;
	call->path = path;
	call->operation.advance = call_advance;
	call->operation.result = result;
	call->operation.release = call_release;
	return call;
}

static int call_run(lua_State *L)
{
	return sftp_run(L, 0, SFTP_QUICK_MS);
}

static int result_refused(struct operation *o)
{
	struct call *call = (struct call *)o;

	sftp_refused(&o->failure, call->request, call->what, call->path);
	return 0;
}

static int result_status(lua_State *L, struct operation *o)
{
	(void)L;
	return sftp_status(((struct call *)o)->request) == FX_OK ? 0 : result_refused(o);
}

const char *sftp_type(const struct attributes *a)
{
	switch (a->flags & ATTR_MODE ? a->mode & S_IFMT : 0) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "link";
	default:
		return "other";
	}
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

void sftp_push_attributes(lua_State *L, const struct attributes *a)
{
	char mode[8];

	snprintf(mode, sizeof mode, "%04o", (unsigned)a->mode & 07777);
	lua_createtable(L, 0, 7);
	lua_pushstring(L, sftp_type(a));
	lua_setfield(L, -2, "type");
	lua_pushstring(L, mode);
	lua_setfield(L, -2, "mode");
	set_integer(L, "size", (lua_Integer)a->size);
	set_integer(L, "uid", a->uid);
	set_integer(L, "gid", a->gid);
	set_integer(L, "mtime", a->mtime);
}

static int result_attributes(lua_State *L, struct operation *o)
{
	const struct request *r = ((struct call *)o)->request;
	struct cursor c = sftp_answer(r);
	struct attributes a;

	if (sftp_status(r) == FX_MISSING)
		return 0;
	a = cursor_attributes(&c);
	if (r->type != FXP_ATTRS || c.bad)
		return result_refused(o);
	sftp_push_attributes(L, &a);
	return 1;
}

static int result_name(lua_State *L, struct operation *o)
{
	const struct request *r = ((struct call *)o)->request;
	struct cursor c = sftp_answer(r);
	uint32_t count = cursor_u32(&c);
	size_t length;
	const char *name = cursor_bytes(&c, &length);

	if (r->type != FXP_NAME || c.bad || count != 1)
		return result_refused(o);
	lua_pushlstring(L, name, length);
	return 1;
}

static int ask_path(lua_State *L, int type, const char *what, int (*result)(lua_State *L, struct operation *o))
{
	struct call *call = new_call(L, what, result);

	lua_settop(L, 3);
	call->request = sftp_ask(call->operation.files, call->operation.task, type, "z", call->path);
	return call_run(L);
}

/* files:stat(path) -> { type, size, mode, uid, gid, mtime } | nil: of what a link leads to */
static int files_stat(lua_State *L)
{
	return ask_path(L, FXP_STAT, "stat", result_attributes);
}

/* files:lstat(path) -> the same, of a link itself */
static int files_lstat(lua_State *L)
{
	return ask_path(L, FXP_LSTAT, "stat", result_attributes);
}

/* files:readlink(path) -> text */
static int files_readlink(lua_State *L)
{
	return ask_path(L, FXP_READLINK, "readlink", result_name);
}

/* files:realpath(path) -> path without links, from the root; relative paths begin in the login's home */
static int files_realpath(lua_State *L)
{
	return ask_path(L, FXP_REALPATH, "realpath", result_name);
}

/* files:remove(path): a file or a link */
static int files_remove(lua_State *L)
{
	task_may_change(L, "files:remove");
	return ask_path(L, FXP_REMOVE, "remove", result_status);
}

/* files:rmdir(path): an empty folder */
static int files_rmdir(lua_State *L)
{
	task_may_change(L, "files:rmdir");
	return ask_path(L, FXP_RMDIR, "rmdir", result_status);
}

/* files:mkdir(path [, mode = "0755"]); the server's umask still applies */
static int files_mkdir(lua_State *L)
{
	struct call *call;
	int mode;

	task_may_change(L, "files:mkdir");
	lua_settop(L, 3);
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, 3);
	lua_setfield(L, 4, "mode");
	mode = sftp_mode_option(L, 4, "mode");
	call = new_call(L, "mkdir", result_status);
	call->request = sftp_ask(call->operation.files, call->operation.task, FXP_MKDIR, "zuu", call->path,
				 (uint32_t)ATTR_MODE, mode < 0 ? 0755u : (uint32_t)mode);
	return call_run(L);
}

/* files:rename(from, to): replaces what is there, in one act. Servers that cannot do that refuse an existing `to`. */
static int files_rename(lua_State *L)
{
	const char *to = sftp_check_path(L, 3);
	struct call *call;

	task_may_change(L, "files:rename");
	call = new_call(L, "rename", result_status);
	if (sftp_can(call->operation.files, SFTP_POSIX_RENAME))
		call->request = sftp_ask(call->operation.files, call->operation.task, FXP_EXTENDED, "zzz",
					 "posix-rename@openssh.com", call->path, to);
	else
		call->request = sftp_ask(call->operation.files, call->operation.task, FXP_RENAME, "zz", call->path, to);
	return call_run(L);
}

/* files:symlink(path, target): makes path a link to target. OpenSSH takes the two the other way round, and so do we. */
static int files_symlink(lua_State *L)
{
	const char *target = sftp_check_path(L, 3);
	struct call *call;

	task_may_change(L, "files:symlink");
	call = new_call(L, "symlink", result_status);
	call->request = sftp_ask(call->operation.files, call->operation.task, FXP_SYMLINK, "zz", target, call->path);
	return call_run(L);
}

static struct request *ask_owner(const struct call *call, int uid, int gid)
{
	return sftp_ask(call->operation.files, call->operation.task, FXP_SETSTAT, "zuuu", call->path,
			(uint32_t)ATTR_OWNER, (uint32_t)uid, (uint32_t)gid);
}

static struct request *ask_mode(const struct call *call, int mode)
{
	return sftp_ask(call->operation.files, call->operation.task, FXP_SETSTAT, "zuu", call->path,
			(uint32_t)ATTR_MODE, (uint32_t)mode);
}

/*
 * files:setstat(path, { mode = "0644"?, uid = n, gid = n }): uid and gid together or not at all. Follows links.
 * Two questions, for a change of owner clears setuid bits, and OpenSSH would set the mode first.
 */
static int files_setstat(lua_State *L)
{
	static const char *const options[] = {"mode", "uid", "gid", NULL};
	struct call *call;
	int mode, uid, gid;

	luaL_checktype(L, 3, LUA_TTABLE);
	error_check_options(L, 3, options);
	mode = sftp_mode_option(L, 3, "mode");
	uid = sftp_owner_option(L, 3, "uid");
	gid = sftp_owner_option(L, 3, "gid");
	luaL_argcheck(L, (uid < 0) == (gid < 0), 3, "uid and gid go together");
	luaL_argcheck(L, mode >= 0 || uid >= 0, 3, "mode, or uid and gid");
	task_may_change(L, "files:setstat");
	call = new_call(L, "setstat", result_status);
	if (uid >= 0 && mode >= 0)
		call->before = ask_owner(call, uid, gid);
	call->request = mode >= 0 ? ask_mode(call, mode) : ask_owner(call, uid, gid);
	return call_run(L);
}

/* ---- opening and closing ---- */

static enum outcome open_advance(struct operation *o)
{
	return o->files->greeted ? DONE : WORKING;
}

static int open_result(lua_State *L, struct operation *o)
{
	(void)o;
	lua_pushvalue(L, 2);
	return 1;
}

static struct files *new_files(lua_State *L)
{
	struct stream *s = stream_check(L, 1);
	struct files *files = lua_newuserdatauv(L, sizeof *files, 1);

	memset(files, 0, sizeof *files);
	files->stream = s;
	files->open_end = &files->open;
	files->read_size = files->write_size = SFTP_CHUNK;
	luaL_setmetatable(L, TYPE);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	files->in = malloc(IN_SIZE);
	if (!files->in || !reserve_out(files, OUT_ROOM))
		luaL_error(L, "not enough memory");
	return files;
}

/*
 * sftp.open(stream) -> files, over a program that speaks the file protocol. What speaks otherwise, or refuses, raises
 * `denied`, `missing`, `protocol` or `connect` with its own words as output.
 */
static int sftp_open(lua_State *L)
{
	struct files *files;
	struct operation *o;

	lua_settop(L, 1);
	files = new_files(L);
	lua_replace(L, 1);
	put_u32(files, 5);
	put_bytes(files, &(unsigned char){FXP_INIT}, 1);
	put_u32(files, VERSION);
	o = sftp_new_operation(L, sizeof *o);
	o->advance = open_advance;
	o->result = open_result;
	return sftp_run(L, 0, SFTP_QUICK_MS);
}

/* files:close(): closes the stream too. What still waits raises `lost`. */
static int files_close(lua_State *L)
{
	struct files *files = sftp_check(L, 1);

	break_off(files, "lost", "the connection to the file server was closed");
	lua_getiuservalue(L, 1, 1);
	lua_getfield(L, -1, "close");
	lua_insert(L, -2);
	lua_call(L, 1, 0);
	return 0;
}

static int files_gc(lua_State *L)
{
	struct files *files = sftp_check(L, 1);
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
	return 0;
}

int luaopen_sftp(lua_State *L)
{
	static const luaL_Reg functions[] = {{"open", sftp_open}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
		{"stat", files_stat},
		{"lstat", files_lstat},
		{"readlink", files_readlink},
		{"realpath", files_realpath},
		{"list", sftp_list},
		{"read", sftp_read},
		{"download", sftp_download},
		{"download_tree", sftp_download_tree},
		{"write", sftp_write},
		{"upload", sftp_upload},
		{"upload_tree", sftp_upload_tree},
		{"mkdir", files_mkdir},
		{"remove", files_remove},
		{"rmdir", files_rmdir},
		{"rename", files_rename},
		{"setstat", files_setstat},
		{"symlink", files_symlink},
		{"close", files_close},
		{"__close", files_close},
		{"__gc", files_gc},
		{NULL, NULL},
	};

	luaL_newmetatable(L, OPERATION);
	lua_pushcfunction(L, operation_close);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__gc");
	lua_setfield(L, -2, "__close");
	luaL_newmetatable(L, TYPE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
