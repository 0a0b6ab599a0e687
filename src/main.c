/* neap: opens Lua, runs neap.cli as the first task, and exits with the status it returns. */
#include "modules.h"
#include "secret.h"
#include "task.h"

#include <lauxlib.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#define INTERNAL_ERROR 70 /* EX_SOFTWARE: neap.cli itself could not be run */

static int report(lua_State *L)
{
	size_t length;
	const char *text = luaL_tolstring(L, -1, &length);

	secret_push_redacted(L, text, length);
	fprintf(stderr, "neap: internal error: %s\n", lua_tostring(L, -1));
	return INTERNAL_ERROR;
}

static int cli_returned(lua_State *L, int status, lua_KContext context)
{
	(void)L, (void)status, (void)context;
	return 1;
}

/* In the task: require "neap.cli"(arguments). */
static int call_cli(lua_State *L)
{
	lua_getglobal(L, "require");
	lua_pushliteral(L, "neap.cli");
	lua_call(L, 1, 1);
	lua_insert(L, 1);
	lua_callk(L, 1, 1, 0, cli_returned);
	return 1;
}

static int run(lua_State *L, int argc, char **argv)
{
	lua_pushcfunction(L, call_cli);
	lua_createtable(L, argc, 0);
	for (int i = 0; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i);
	}
	if (task_run_main(L, 1) != LUA_OK)
		return report(L);
	return (int)lua_tointeger(L, -1);
}

int main(int argc, char **argv)
{
	lua_State *L;
	int status;

	secret_harden();
	L = modules_new_state();
	if (!L)
		return INTERNAL_ERROR;
	setlocale(LC_CTYPE, ""); /* that alone: numbers, order and messages are the same in every country */
	signal(SIGPIPE, SIG_IGN);
	status = run(L, argc, argv);
	lua_close(L);
	return status;
}
