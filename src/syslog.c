/* native.syslog: lines in the machine's log of authorizations, which the runs' own group cannot rewrite. */
#include <lauxlib.h>
#include <syslog.h>

/* syslog.write(text): a line of the facility authpriv under the name neap. It waits for nobody and tells no failure. */
static int syslog_write(lua_State *L)
{
	const char *text = luaL_checkstring(L, 1);

	openlog("neap", LOG_PID, LOG_AUTHPRIV);
	syslog(LOG_AUTHPRIV | LOG_NOTICE, "%s", text);
	closelog();
	return 0;
}

int luaopen_syslog(lua_State *L)
{
	static const luaL_Reg functions[] = {{"write", syslog_write}, {NULL, NULL}};

	luaL_newlib(L, functions);
	return 1;
}
