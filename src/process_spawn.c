/* Starts a program without a shell, in a session of its own. */
#include "error.h"
#include "process.h"
#include "secret.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	READ_MS = 60 * 1000,
	CHANGE_MS = 3600 * 1000,
};

/* The three ends that the program gets; closed when it has them, or when it could not be started. */
struct ends {
	int fd[3];
};

static int make_pipe(int *ours, int *theirs, int ours_writes)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	*ours = ends[ours_writes];
	*theirs = ends[!ours_writes];
	return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

static int make_pipes(struct child *child, struct ends *ends, int null_input)
{
	int rc = 0;

	if (null_input)
		ends->fd[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	else
		rc = make_pipe(&child->in, &ends->fd[0], 1);
	rc = ends->fd[0] < 0 && !rc ? errno : rc;
	rc = rc ?: make_pipe(&child->out[0], &ends->fd[1], 0);
	return rc ?: make_pipe(&child->out[1], &ends->fd[2], 0);
}

static int start_in(posix_spawn_file_actions_t *actions, const char *folder, const struct ends *ends)
{
	int rc = folder ? posix_spawn_file_actions_addchdir_np(actions, folder) : 0;

	for (int i = 0; i < 3 && !rc; i++)
		rc = posix_spawn_file_actions_adddup2(actions, ends->fd[i], i);
	return rc ?: posix_spawn_file_actions_addclosefrom_np(actions, 3);
}

/* A session of its own, no signal blocked or ignored: neap's own choices are not the program's. */
static int start_as(posix_spawnattr_t *attributes)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &all);
	return posix_spawnattr_setflags(attributes,
					POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int start(struct child *child, const struct command *command, const struct ends *ends)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	rc = start_in(&actions, command->folder, ends);
	rc = rc ?: start_as(&attributes);
	rc = rc ?: posix_spawn(&pid, command->program, &actions, &attributes, command->argv, command->environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (rc == 0)
		child->leader->pid = pid;
	return rc;
}

static int start_child(struct child *child, const struct command *command, int null_input)
{
	struct ends ends = {{-1, -1, -1}};
	int rc = make_pipes(child, &ends, null_input);

	rc = rc ?: start(child, command, &ends);
	for (int i = 0; i < 3; i++)
		process_close_fd(&ends.fd[i]);
	return rc;
}

static const char *kind_of(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
		return "missing";
	case EACCES:
	case EPERM:
	case ENOEXEC:
		return "denied";
	default: /* too many processes, too long a list: nothing was started */
		return "connect";
	}
}

static int refused(lua_State *L, const struct command *command, int error)
{
	struct stat status;

	if (command->folder && (stat(command->folder, &status) != 0 || !S_ISDIR(status.st_mode)))
		return error_raise(L, kind_of(error), "%s: not a folder to start %s in", command->folder,
				   command->argv[0]);
	if (error == ENOENT && access(command->program, F_OK) == 0)
		return error_raise(L, "missing", "%s: the interpreter it names is missing", command->program);
	return error_raise(L, kind_of(error), "%s cannot be started: %s", command->program, strerror(error));
}

/* Stack: argv, options. Pushes the child. */
static int spawn(lua_State *L, int null_input)
{
	struct child *child = process_child_new(L);
	struct command command;
	int rc, self = lua_gettop(L);

	process_push_command(L, &command);
	rc = start_child(child, &command, null_input);
	if (rc) {
		process_child_give_up(child);
		return refused(L, &command, rc);
	}
	rc = process_child_watch(child);
	if (rc) {
		process_child_give_up(child);
		return error_raise(L, "connect", "%s cannot be watched: %s", command.program, strerror(rc));
	}
	lua_settop(L, self);
	return 1;
}

/* ---- the Lua calls ---- */

static void check_leave(lua_State *L, const char *what)
{
	if (!process_option_set(L, "reads"))
		task_may_change(L, what);
}

/*
 * process.spawn(argv [, { env = {NAME = text | secret | false}, clear_env = bool, cwd = folder, reads = bool, input = false }])
 *   -> stream
 * No shell: argv[1] is a path or a name looked up on PATH. It gets only its three descriptors; `input = false` is
 * /dev/null. Closing the stream ends the program and its group: TERM, KILL after 2 s. Changes, unless `reads`.
 */
int process_spawn(lua_State *L)
{
	static const char *const options[] = {"env", "clear_env", "cwd", "reads", "input", NULL};
	int input;

	lua_settop(L, 2);
	error_check_options(L, 2, options);
	check_leave(L, "process.spawn");
	input = process_option(L, "input");
	luaL_argcheck(L, input == LUA_TNIL || !lua_toboolean(L, -1), 2, "input can be false, or left out");
	lua_settop(L, 2);
	return spawn(L, input != LUA_TNIL);
}

static int run_collected(lua_State *L, int status, lua_KContext context)
{
	(void)L, (void)status, (void)context;
	return 1; /* and the stream at index 3 is closed */
}

/* Those of the options that collect knows, and the default timeout. */
static void push_collect_options(lua_State *L)
{
	static const char *const names[] = {STREAM_COLLECT_OPTIONS, NULL};
	int copy;

	lua_createtable(L, 0, 4);
	copy = lua_gettop(L);
	lua_pushnumber(L, (process_option_set(L, "reads") ? READ_MS : CHANGE_MS) / 1000.0);
	lua_setfield(L, copy, "timeout");
	for (const char *const *name = names; *name; name++) {
		if (process_option(L, *name) != LUA_TNIL)
			lua_setfield(L, copy, *name);
		lua_settop(L, copy);
	}
}

/*
 * process.run(argv [, spawn's options but input, and { input = bytes, limit = bytes, timeout = seconds, on_output }])
 *   -> { out, err, out_bytes, err_bytes, status | signal }, see stream:collect
 * Without input the program reads /dev/null. Any exit status is a result, not an error. Default timeout: 60 s if it
 * `reads`, else 1 h.
 */
int process_run(lua_State *L)
{
	static const char *const options[] = {"env", "clear_env", "cwd", "reads", STREAM_COLLECT_OPTIONS, NULL};
	int input;

	lua_settop(L, 2);
	error_check_options(L, 2, options);
	check_leave(L, "process.run");
	input = process_option(L, "input");
	luaL_argcheck(L, input == LUA_TNIL || input == LUA_TSTRING || secret_is(L, -1), 2,
		      "input must be a string or a secret");
	lua_settop(L, 2);
	spawn(L, input == LUA_TNIL);
	lua_toclose(L, 3);
	lua_pushcfunction(L, stream_collect);
	lua_pushvalue(L, 3);
	push_collect_options(L);
	lua_callk(L, 2, 1, 0, run_collected);
	return run_collected(L, LUA_OK, 0);
}
