/* native.process: programs of this machine, started without a shell, each in a session of its own. */
#include "error.h"
#include "secret.h"
#include "stream.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TYPE "process.child"
#define LEAVING "process.leaving"
#define LEAVING_LIST "process.leaving.list"
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum {
	LEAVE_TICK_MS = 20,
	LEAVE_TICKS = 100, /* from TERM to KILL: 2 s */
	READ_MS = 60 * 1000,
	CHANGE_MS = 3600 * 1000,
};

/*
 * A process and its group. Owned by its child until that is closed, then by its timer, which ends the group and takes
 * the exit status without anybody waiting for it.
 */
struct leader {
	uv_timer_t timer;
	struct leader *next, **list; /* of all whose timer runs */
	pid_t pid;
	int ticks, status; /* status as waitpid gives it */
	unsigned exited : 1, leaving : 1, owned : 1;
};

struct child {
	struct stream stream;
	struct leader *leader; /* NULL once closed */
	int in, out[2];        /* out, error output; -1 once closed */
	int events, pidfd;     /* an epoll set of all these, to wait for several at once */
	const char *failure;
};

/* ---- ending a process and its group ---- */

static int leader_exited(struct leader *leader)
{
	if (!leader->exited && waitpid(leader->pid, &leader->status, WNOHANG) == leader->pid)
		leader->exited = 1;
	return leader->exited;
}

/* The number of a group is not given anew while a member lives, so the group outlives its leader under its name. */
static int group_gone(struct leader *leader)
{
	return leader_exited(leader) && kill(-leader->pid, 0) != 0;
}

static void leader_closed(uv_handle_t *handle)
{
	struct leader *leader = handle->data;

	leader->leaving = 0;
	if (!leader->owned)
		free(leader);
}

static void leader_left(struct leader *leader)
{
	struct leader **at = leader->list;

	while (*at != leader)
		at = &(*at)->next;
	*at = leader->next;
	uv_close((uv_handle_t *)&leader->timer, leader_closed);
}

static void leave_tick(uv_timer_t *timer)
{
	struct leader *leader = timer->data;

	leader->ticks++;
	if (leader->ticks == LEAVE_TICKS)
		kill(-leader->pid, SIGKILL);
	if (group_gone(leader) || (leader->ticks > LEAVE_TICKS && leader_exited(leader)))
		leader_left(leader);
}

static void leader_end(struct leader *leader)
{
	if (leader->leaving || leader_exited(leader))
		return;
	leader->leaving = 1;
	leader->next = *leader->list;
	*leader->list = leader;
	uv_timer_init(task_loop(), &leader->timer);
	leader->timer.data = leader;
	kill(-leader->pid, SIGTERM);
	uv_timer_start(&leader->timer, leave_tick, LEAVE_TICK_MS, LEAVE_TICK_MS);
}

/* At the program's end nobody is kept waiting any more: the groups get half a second, then KILL. */
static int leaving_gc(lua_State *L)
{
	struct leader **list = lua_touserdata(L, 1);

	for (int tick = 0; *list; tick++) {
		struct leader *next;

		for (struct leader *leader = *list; leader; leader = next) {
			next = leader->next;
			if (tick >= 50)
				kill(-leader->pid, SIGKILL);
			if (group_gone(leader) || tick > 50)
				leader_left(leader);
		}
		if (*list)
			usleep(10000);
	}
	return 0;
}

/* ---- the child as a stream ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static ssize_t child_read(struct stream *s, int err, char *buf, size_t n)
{
	struct child *child = (struct child *)s;
	ssize_t count;

	if (child->out[err] < 0)
		return 0;
	do
		count = read(child->out[err], buf, n);
	while (count < 0 && errno == EINTR);
	if (count < 0 && errno == EAGAIN)
		return STREAM_AGAIN;
	if (count > 0)
		return count;
	close_fd(&child->out[err]);
	return 0;
}

static ssize_t child_write(struct stream *s, const char *buf, size_t n)
{
	struct child *child = (struct child *)s;
	ssize_t count = -1;

	errno = EPIPE;
	if (child->in >= 0)
		count = write(child->in, buf, n);
	if (count >= 0)
		return count;
	if (errno == EAGAIN || errno == EINTR)
		return STREAM_AGAIN;
	child->failure = "the program reads no more input";
	return STREAM_LOST;
}

static int child_close_input(struct stream *s)
{
	close_fd(&((struct child *)s)->in);
	return 0;
}

static int child_exited(struct stream *s, int *status, char signal_name[16])
{
	struct leader *leader = ((struct child *)s)->leader;

	if (!leader_exited(leader))
		return 0;
	*signal_name = '\0';
	if (WIFSIGNALED(leader->status))
		snprintf(signal_name, 16, "%s", sigabbrev_np(WTERMSIG(leader->status)) ?: "unknown");
	else
		*status = WEXITSTATUS(leader->status);
	return 1;
}

static void arm(struct child *child, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT, .data.fd = fd};

	if (fd >= 0)
		epoll_ctl(child->events, EPOLL_CTL_MOD, fd, &event);
}

/*
 * Each descriptor reports once and is then armed again by those who still wait for it: so an output that nobody reads
 * does not keep the loop busy. Whoever takes reports wakes all, for they may be another's.
 */
static int child_wait(lua_State *L, struct stream *s, int events, lua_CFunction step)
{
	struct child *child = (struct child *)s;
	struct epoll_event reports[4];

	if (epoll_wait(child->events, reports, 4, 0) > 0)
		task_wake_fd(child->events);
	if (events & TASK_READ) {
		arm(child, child->out[0], EPOLLIN);
		arm(child, child->out[1], EPOLLIN);
		if (!child->leader->exited)
			arm(child, child->pidfd, EPOLLIN);
	}
	if (events & TASK_WRITE)
		arm(child, child->in, EPOLLOUT);
	return task_wait(L, child->events, TASK_READ, step);
}

static void child_wake(struct stream *s)
{
	task_wake_fd(((struct child *)s)->events);
}

static void child_cancel(struct stream *s)
{
	leader_end(((struct child *)s)->leader);
}

static void child_close(struct stream *s)
{
	struct child *child = (struct child *)s;
	struct leader *leader = child->leader;

	child->leader = NULL;
	if (child->events >= 0)
		task_unwatch(child->events);
	close_fd(&child->in);
	close_fd(&child->out[0]);
	close_fd(&child->out[1]);
	close_fd(&child->pidfd);
	close_fd(&child->events);
	if (!leader)
		return;
	leader->owned = 0;
	if (leader->pid)
		leader_end(leader);
	if (!leader->leaving)
		free(leader);
}

static const char *child_failure(struct stream *s)
{
	return ((struct child *)s)->failure;
}

static const struct stream_ops child_ops = {
	.read = child_read,
	.write = child_write,
	.close_input = child_close_input,
	.exited = child_exited,
	.wait = child_wait,
	.wake = child_wake,
	.cancel = child_cancel,
	.close = child_close,
	.failure = child_failure,
};

/* ---- starting ---- */

/* Text without NUL at the top of the stack, or a mistake in argument arg. */
static const char *check_text(lua_State *L, int arg, const char *what)
{
	size_t length;
	const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;

	if (secret_is(L, -1))
		luaL_argerror(L, arg, lua_pushfstring(L, "%s would show a secret to everybody on this machine: hand it over "
							 "as `input`, or as a variable of `env`", what));
	if (!text || strlen(text) != length)
		luaL_argerror(L, arg, lua_pushfstring(L, "%s must be a string without NUL", what));
	return text;
}

/* The argument list at index 1; its strings stay in that table. Pushes what holds it. */
static char **push_argv(lua_State *L)
{
	size_t count;
	char **argv;

	luaL_checktype(L, 1, LUA_TTABLE);
	count = lua_rawlen(L, 1);
	luaL_argcheck(L, count > 0, 1, "an argument list begins with a program");
	argv = lua_newuserdatauv(L, (count + 1) * sizeof *argv, 0);
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, 1, (lua_Integer)i + 1);
		argv[i] = (char *)check_text(L, 1, "an argument");
		lua_pop(L, 1);
	}
	argv[count] = NULL;
	return argv;
}

static int option(lua_State *L, const char *name)
{
	if (lua_istable(L, 2))
		return lua_getfield(L, 2, name);
	lua_pushnil(L);
	return LUA_TNIL;
}

static int option_set(lua_State *L, const char *name)
{
	int set;

	option(L, name);
	set = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return set;
}

/* Stack: …, env table or nil, vector. Whether env names the variable of this entry "NAME=value". */
static int overridden(lua_State *L, const char *entry)
{
	int set;

	if (!lua_istable(L, -2))
		return 0;
	lua_pushlstring(L, entry, strcspn(entry, "="));
	set = lua_rawget(L, -3) != LUA_TNIL;
	lua_pop(L, 1);
	return set;
}

/* Stack: …, secret, name. Pushes a secret that is "NAME=value" and its end. */
static char *push_secret_variable(lua_State *L, const char *name)
{
	size_t length;
	const char *text;

	lua_pushfstring(L, "%s=", name);
	lua_pushvalue(L, -3);
	lua_concat(L, 2);
	lua_pushlstring(L, "", 1);
	lua_concat(L, 2);
	text = secret_check(L, lua_gettop(L), &length);
	luaL_argcheck(L, strlen(text) == length - 1, 2, "env: a value holds a NUL");
	return (char *)text;
}

/* Appends "NAME=value" of the pair on top of the stack, keeping the string in the table at index kept; false: none. */
static void add_variable(lua_State *L, char **vector, size_t *count, int kept)
{
	const char *name, *value;

	if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
		return;
	value = secret_is(L, -1) ? NULL : check_text(L, 2, "env: a value");
	lua_pushvalue(L, -2);
	name = check_text(L, 2, "env: a name");
	luaL_argcheck(L, *name && !strchr(name, '='), 2, "env: a name is empty or holds '='");
	vector[*count] = value ? (char *)lua_pushfstring(L, "%s=%s", name, value) : push_secret_variable(L, name);
	*count += 1;
	lua_rawseti(L, kept, (lua_Integer)*count);
	lua_pop(L, 1);
}

static size_t count_pairs(lua_State *L, int table)
{
	size_t count = 0;

	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
		count++;
	return count;
}

/* The environment by options env and clear_env; pushes three values that hold it. */
static char **push_environment(lua_State *L)
{
	size_t count = 0, room = 1;
	char **vector, **own = option_set(L, "clear_env") ? (char *[]){NULL} : environ;
	int env, kept;

	option(L, "env");
	env = lua_gettop(L);
	if (!lua_isnil(L, env)) {
		luaL_argcheck(L, lua_istable(L, env), 2, "env must be a table");
		room += count_pairs(L, env);
	}
	for (char **entry = own; *entry; entry++)
		room++;
	vector = lua_newuserdatauv(L, room * sizeof *vector, 0);
	for (char **entry = own; *entry; entry++)
		if (!overridden(L, *entry))
			vector[count++] = *entry;
	lua_createtable(L, 0, 0);
	kept = lua_gettop(L);
	if (lua_istable(L, env))
		for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1))
			add_variable(L, vector, &count, kept);
	vector[count] = NULL;
	return vector;
}

static const char *search_path(char **environment)
{
	for (char **entry = environment; *entry; entry++)
		if (!strncmp(*entry, "PATH=", 5))
			return *entry + 5;
	return DEFAULT_PATH;
}

static int runnable(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* Pushes the program's path: itself if it has a slash, else the first of that name on PATH. Empty parts are skipped. */
static const char *push_program(lua_State *L, const char *name, const char *path)
{
	size_t length;

	if (strchr(name, '/'))
		return lua_pushstring(L, name);
	for (; *path; path += length + (path[length] == ':')) {
		length = strcspn(path, ":");
		if (!length)
			continue;
		lua_pushlstring(L, path, length);
		if (runnable(lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), name)))
			return lua_tostring(L, -1);
		lua_pop(L, 2);
	}
	error_raise(L, "missing", "%s: there is no such program on PATH", name);
	return NULL;
}

static struct child *new_child(lua_State *L)
{
	struct child *child = lua_newuserdatauv(L, sizeof *child, 0);

	*child = (struct child){.in = -1, .out = {-1, -1}, .events = -1, .pidfd = -1};
	luaL_setmetatable(L, TYPE);
	child->stream.ops = &child_ops; /* from here on close frees whatever there is */
	child->leader = calloc(1, sizeof *child->leader);
	if (!child->leader)
		luaL_error(L, "not enough memory");
	lua_getfield(L, LUA_REGISTRYINDEX, LEAVING_LIST);
	child->leader->list = lua_touserdata(L, -1);
	child->leader->owned = 1;
	lua_pop(L, 1);
	return child;
}

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

struct command {
	const char *program, *folder;
	char **argv, **environment;
};

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

/* All are in the set from the start, reporting nothing until child_wait arms them. */
static int make_events(struct child *child)
{
	const int fds[] = {child->in, child->out[0], child->out[1], child->pidfd};

	child->events = epoll_create1(EPOLL_CLOEXEC);
	if (child->events < 0)
		return errno;
	for (int i = 0; i < 4; i++) {
		struct epoll_event event = {.events = EPOLLONESHOT, .data.fd = fds[i]};

		if (fds[i] >= 0 && epoll_ctl(child->events, EPOLL_CTL_ADD, fds[i], &event) != 0)
			return errno;
	}
	return 0;
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

/* Closes at once, not at some later collection, what a failed start leaves. */
static void give_up(struct child *child)
{
	child->stream.ops = NULL;
	child_close(&child->stream);
}

static int start_child(struct child *child, const struct command *command, int null_input)
{
	struct ends ends = {{-1, -1, -1}};
	int rc = make_pipes(child, &ends, null_input);

	rc = rc ?: start(child, command, &ends);
	for (int i = 0; i < 3; i++)
		close_fd(&ends.fd[i]);
	return rc;
}

/* Stack: argv, options. Pushes the child. */
static int spawn(lua_State *L, int null_input)
{
	struct child *child = new_child(L);
	struct command command = {0};
	int rc, self = lua_gettop(L);

	command.argv = push_argv(L);
	command.environment = push_environment(L);
	command.program = push_program(L, command.argv[0], search_path(command.environment));
	if (option(L, "cwd") != LUA_TNIL)
		command.folder = check_text(L, 2, "cwd");
	rc = start_child(child, &command, null_input);
	if (rc) {
		give_up(child);
		return refused(L, &command, rc);
	}
	child->pidfd = pidfd_open(child->leader->pid, 0);
	rc = child->pidfd < 0 ? errno : make_events(child);
	if (rc) {
		give_up(child);
		return error_raise(L, "connect", "%s cannot be watched: %s", command.program, strerror(rc));
	}
	lua_settop(L, self);
	return 1;
}

static void check_leave(lua_State *L, const char *what)
{
	if (!option_set(L, "reads"))
		task_may_change(L, what);
}

/*
 * process.spawn(argv [, { env = {NAME = text | secret | false}, clear_env = bool, cwd = folder, reads = bool, input = false }])
 *   -> stream
 * No shell: argv[1] is a path or a name looked up on PATH. It gets only its three descriptors; `input = false` is
 * /dev/null. Closing the stream ends the program and its group: TERM, KILL after 2 s. Changes, unless `reads`.
 */
static int process_spawn(lua_State *L)
{
	static const char *const options[] = {"env", "clear_env", "cwd", "reads", "input", NULL};
	int input;

	lua_settop(L, 2);
	error_check_options(L, 2, options);
	check_leave(L, "process.spawn");
	input = option(L, "input");
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
	lua_pushnumber(L, (option_set(L, "reads") ? READ_MS : CHANGE_MS) / 1000.0);
	lua_setfield(L, copy, "timeout");
	for (const char *const *name = names; *name; name++) {
		if (option(L, *name) != LUA_TNIL)
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
static int process_run(lua_State *L)
{
	static const char *const options[] = {"env", "clear_env", "cwd", "reads", STREAM_COLLECT_OPTIONS, NULL};
	int input;

	lua_settop(L, 2);
	error_check_options(L, 2, options);
	check_leave(L, "process.run");
	input = option(L, "input");
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

/* ---- this process and its machine ---- */

/* process.pid() -> number */
static int process_pid(lua_State *L)
{
	lua_pushinteger(L, getpid());
	return 1;
}

/* process.environ(name) -> text | nil */
static int process_environ(lua_State *L)
{
	lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
	return 1;
}

/* process.user() -> { name, uid, home }: who runs this; name is the number where the system knows none */
static int process_user(lua_State *L)
{
	const struct passwd *user = getpwuid(getuid());

	lua_createtable(L, 0, 3);
	lua_pushinteger(L, getuid());
	lua_setfield(L, -2, "uid");
	if (user)
		lua_pushstring(L, user->pw_name);
	else
		lua_pushfstring(L, "%d", (int)getuid());
	lua_setfield(L, -2, "name");
	lua_pushstring(L, user ? user->pw_dir : "/");
	lua_setfield(L, -2, "home");
	return 1;
}

/* process.hostname() -> text */
static int process_hostname(lua_State *L)
{
	char name[256] = "";

	gethostname(name, sizeof name - 1);
	lua_pushstring(L, name);
	return 1;
}

/* Reads a small file of /proc; returns whether it is there. */
static int read_proc(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t count;

	if (fd < 0)
		return 0;
	count = read(fd, text, size - 1);
	close(fd);
	text[count > 0 ? count : 0] = '\0';
	return count > 0;
}

/* process.boot_id() -> text: another one after each start of the machine */
static int process_boot_id(lua_State *L)
{
	char text[64];

	if (!read_proc("/proc/sys/kernel/random/boot_id", text, sizeof text))
		return error_raise(L, "missing", "/proc is not mounted: the machine's boot id is unknown");
	lua_pushlstring(L, text, strcspn(text, "\n"));
	return 1;
}

/* The fields of /proc/PID/stat behind the name, which may itself hold spaces and parentheses. NULL: no such process. */
static const char *process_fields(lua_State *L, char text[1024])
{
	lua_Integer pid = luaL_checkinteger(L, 1);
	char path[64], *end;

	snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
	if (pid <= 0 || !read_proc(path, text, 1024))
		return NULL;
	end = strrchr(text, ')');
	return end && end[1] == ' ' ? end + 2 : NULL;
}

/* process.start_time(pid) -> ticks since boot | nil: with the boot id it tells a process from a later one of the number */
static int process_start_time(lua_State *L)
{
	char text[1024];
	const char *field = process_fields(L, text);

	for (int i = 0; i < 19 && field; i++) {
		field = strchr(field, ' ');
		field = field ? field + 1 : NULL;
	}
	if (!field)
		return 0;
	lua_pushinteger(L, strtoll(field, NULL, 10));
	return 1;
}

/* process.alive(pid) -> boolean: a zombie is not */
static int process_alive(lua_State *L)
{
	char text[1024];
	const char *state = process_fields(L, text);

	lua_pushboolean(L, state && *state != 'Z' && *state != 'X');
	return 1;
}

/* process.executable() -> path of the program that this process runs */
static int process_executable(lua_State *L)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path);

	if (length <= 0)
		return error_raise(L, "missing", "/proc/self/exe: %s", strerror(errno));
	lua_pushlstring(L, path, (size_t)length);
	return 1;
}

/*
 * process.kill(pid, start_time) -> boolean: ends that process and no other, by SIGKILL; false where it is gone. For a
 * worker that its operator gives up; what it was doing is in doubt afterwards.
 */
static int process_kill(lua_State *L)
{
	lua_Integer wanted = luaL_checkinteger(L, 2);
	int pidfd, killed = 0;

	luaL_argcheck(L, luaL_checkinteger(L, 1) > 1, 1, "not a process id");
	pidfd = pidfd_open((pid_t)lua_tointeger(L, 1), 0);
	/* the number may be another's by now: look only once the descriptor holds it */
	if (pidfd >= 0 && process_start_time(L) == 1 && lua_tointeger(L, -1) == wanted)
		killed = pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0;
	if (pidfd >= 0)
		close(pidfd);
	lua_pushboolean(L, killed);
	return 1;
}

/* child:leave(): lets the program go on by itself; the stream is closed and nothing is ended. */
static int child_leave(lua_State *L)
{
	struct stream *s = stream_check(L, 1);
	struct child *child = (struct child *)s;

	free(child->leader);
	child->leader = NULL;
	s->ops = NULL;
	child_close(s);
	return 0;
}

static void make_leaving(lua_State *L)
{
	struct leader **list = lua_newuserdatauv(L, sizeof *list, 0);

	*list = NULL;
	luaL_newmetatable(L, LEAVING);
	lua_pushcfunction(L, leaving_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, LEAVING_LIST);
}

int luaopen_process(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"spawn", process_spawn},     {"run", process_run},
		{"pid", process_pid},         {"environ", process_environ},
		{"user", process_user},       {"hostname", process_hostname},
		{"boot_id", process_boot_id}, {"start_time", process_start_time},
		{"alive", process_alive},     {"executable", process_executable},
		{"kill", process_kill},       {NULL, NULL},
	};

	make_leaving(L);
	stream_newmetatable(L, TYPE);
	lua_pushcfunction(L, child_leave);
	lua_setfield(L, -2, "leave");
	luaL_newlib(L, functions);
	return 1;
}
