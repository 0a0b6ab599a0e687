/* native.process: programs of this machine, started without a shell; and this process and its machine. */
#include "error.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

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

/* ---- what /proc tells ---- */

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

	process_group_open(L);
	process_child_open(L);
	luaL_newlib(L, functions);
	return 1;
}
