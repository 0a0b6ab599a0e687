/* native.sftp: files of another machine, by the file protocol (version 3) over any stream. */
#include "sftp.h"
#include "error.h"
#include "stream.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TYPE "sftp.files"
#define OPERATION "sftp.operation"

enum { TURN = 16 }; /* rounds before other tasks get their turn */

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
		moved = sftp_pump(files);
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
		sftp_flush(o->files); /* what release told the server */
	return 0;
}

static struct files *check(lua_State *L, int arg)
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
	struct files *files = check(L, 1);
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
	if (call->operation.files->extensions & SFTP_POSIX_RENAME)
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

static void new_files(lua_State *L)
{
	struct stream *s = stream_check(L, 1);
	struct files *files = lua_newuserdatauv(L, sizeof *files, 1);

	memset(files, 0, sizeof *files);
	luaL_setmetatable(L, TYPE);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	if (!sftp_begin(files, s))
		luaL_error(L, "not enough memory");
}

/*
 * sftp.open(stream) -> files, over a program that speaks the file protocol. What speaks otherwise, or refuses, raises
 * `denied`, `missing`, `protocol` or `connect` with its own words as output.
 */
static int sftp_open(lua_State *L)
{
	struct operation *o;

	lua_settop(L, 1);
	new_files(L);
	lua_replace(L, 1);
	o = sftp_new_operation(L, sizeof *o);
	o->advance = open_advance;
	o->result = open_result;
	return sftp_run(L, 0, SFTP_QUICK_MS);
}

/* files:close(): closes the stream too. What still waits raises `lost`. */
static int files_close(lua_State *L)
{
	struct files *files = check(L, 1);

	sftp_break(files, "lost", "the connection to the file server was closed");
	lua_getiuservalue(L, 1, 1);
	lua_getfield(L, -1, "close");
	lua_insert(L, -2);
	lua_call(L, 1, 0);
	return 0;
}

static int files_gc(lua_State *L)
{
	sftp_end(check(L, 1));
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
