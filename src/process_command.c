/* What is to be started, as the kernel takes it: argument list, environment, and the program found on PATH. */
#include "error.h"
#include "process.h"
#include "secret.h"

#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

int process_option(lua_State *L, const char *name)
{
	if (lua_istable(L, 2))
		return lua_getfield(L, 2, name);
	lua_pushnil(L);
	return LUA_TNIL;
}

bool process_option_set(lua_State *L, const char *name)
{
	bool set;

	process_option(L, name);
	set = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return set;
}

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

/* ---- environment ---- */

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
	char **vector, **own = process_option_set(L, "clear_env") ? (char *[]){NULL} : environ;
	int env, kept;

	process_option(L, "env");
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

/* ---- program ---- */

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

void process_push_command(lua_State *L, struct command *command)
{
	*command = (struct command){0};
	command->argv = push_argv(L);
	command->environment = push_environment(L);
	command->program = push_program(L, command->argv[0], search_path(command->environment));
	if (process_option(L, "cwd") != LUA_TNIL)
		command->folder = check_text(L, 2, "cwd");
}
