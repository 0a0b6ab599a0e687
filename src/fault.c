/*
 * native.fault: fail points, for the tests of what a crash leaves. There are two sites, the journal's append ("journal")
 * and the call to a target ("call"); NEAP_FAULT=SITE:ORDINAL:before|after=kill|stop|error names one. Waits whose
 * length the world dictates can be told another by a variable. Only a build with -DFAULTS has them; in a release the
 * functions do nothing.
 */
#include "error.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef FAULTS

static struct {
	char site[16], when[8], action[8];
	int ordinal;
	int read;
	int passed[2][2]; /* by site (journal, call) and moment (before, after) */
} fault;

static void read_fault(void)
{
	const char *text = getenv("NEAP_FAULT");

	fault.read = 1;
	if (text && sscanf(text, "%15[^:]:%d:%7[^=]=%7s", fault.site, &fault.ordinal, fault.when, fault.action) != 4) {
		fprintf(stderr, "neap: NEAP_FAULT=%s is not SITE:ORDINAL:before|after=kill|stop|error\n", text);
		exit(2);
	}
}

static void count(const char *site, const char *when)
{
	const char *path = getenv("NEAP_FAULT_COUNT"); /* a file that gets a line for each point passed */
	FILE *out = path ? fopen(path, "ae") : NULL;

	if (!out)
		return;
	fprintf(out, "%s %s\n", site, when);
	fclose(out);
}

static int point(lua_State *L, const char *when)
{
	const char *site = luaL_checkstring(L, 1);
	int ordinal = ++fault.passed[!strcmp(site, "call")][!strcmp(when, "after")];

	if (!fault.read)
		read_fault();
	count(site, when);
	if (ordinal != fault.ordinal || strcmp(site, fault.site) || strcmp(when, fault.when))
		return 0;
	if (!strcmp(fault.action, "error"))
		return error_raise(L, "lost", "the connection broke (fail point %s:%d:%s)", site, ordinal, when);
	raise(!strcmp(fault.action, "stop") ? SIGSTOP : SIGKILL);
	return 0;
}

static const char *variable(const char *name)
{
	return getenv(name);
}

#else

static int point(lua_State *L, const char *when)
{
	(void)L, (void)when;
	return 0;
}

static const char *variable(const char *name)
{
	(void)name;
	return NULL;
}

#endif

/* fault.before(site) */
static int before(lua_State *L)
{
	return point(L, "before");
}

/* fault.after(site) */
static int after(lua_State *L)
{
	return point(L, "after");
}

/* fault.seconds(name, seconds) -> seconds: of the environment's variable of that name, where it is set, else as given */
static int seconds(lua_State *L)
{
	const char *text = variable(luaL_checkstring(L, 1));
	lua_Number given = luaL_checknumber(L, 2);

	lua_pushnumber(L, text ? strtod(text, NULL) : given);
	return 1;
}

int luaopen_fault(lua_State *L)
{
	static const luaL_Reg functions[] = {{"before", before}, {"after", after}, {"seconds", seconds}, {NULL, NULL}};

	luaL_newlib(L, functions);
	return 1;
}
