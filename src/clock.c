/* native.clock: what time it is, for people and for the journal; and the tests' virtual clock. */
#include "task.h"

#include <lauxlib.h>
#include <stdio.h>
#include <time.h>

/* In virtual time the wall clock begins here, so that golden texts hold: 2026-11-21T02:00:00Z. */
#define VIRTUAL_EPOCH 1795226400.0

static double virtual_start = -1; /* task_now() when the virtual clock was set; below 0: real time */

static double wall(void)
{
	struct timespec now;

	if (virtual_start >= 0)
		return VIRTUAL_EPOCH + task_now() - virtual_start;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* clock.now() -> seconds since 1970, with fraction */
static int l_now(lua_State *L)
{
	lua_pushnumber(L, wall());
	return 1;
}

/* clock.utc([seconds]) -> "2026-11-21T02:21:42.123Z" */
static int l_utc(lua_State *L)
{
	double seconds = luaL_optnumber(L, 1, wall());
	time_t whole = (time_t)seconds;
	struct tm parts;
	char text[64];

	gmtime_r(&whole, &parts);
	snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
	         parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, (int)((seconds - (double)whole) * 1000));
	lua_pushstring(L, text);
	return 1;
}

/* clock.local_time(seconds [, format = "%Y-%m-%d %H:%M:%S"]) -> text in the machine's zone, by strftime */
static int l_local_time(lua_State *L)
{
	time_t whole = (time_t)luaL_checknumber(L, 1);
	struct tm parts;
	char text[128];

	localtime_r(&whole, &parts);
	if (!strftime(text, sizeof text, luaL_optstring(L, 2, "%Y-%m-%d %H:%M:%S"), &parts))
		text[0] = '\0';
	lua_pushstring(L, text);
	return 1;
}

/* clock.parse("2026-11-21T02:21:42.123Z") -> seconds since 1970, or nil if the text has another form */
static int l_parse(lua_State *L)
{
	struct tm parts = {0};
	double seconds;
	int end = 0;

	if (sscanf(luaL_checkstring(L, 1), "%4d-%2d-%2dT%2d:%2d:%lfZ%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
	           &parts.tm_hour, &parts.tm_min, &seconds, &end) != 6 || !end)
		return 0;
	parts.tm_year -= 1900;
	parts.tm_mon -= 1;
	lua_pushnumber(L, (double)timegm(&parts) + seconds);
	return 1;
}

/* clock.virtual(on): sleeps and deadlines pass at once, and time stands still between them. */
static int l_virtual(lua_State *L)
{
	int on = lua_toboolean(L, 1);

	task_set_virtual(on);
	virtual_start = on ? task_now() : -1;
	return 0;
}

/* clock.advance(seconds): the virtual clock only. */
static int l_advance(lua_State *L)
{
	task_advance(luaL_checknumber(L, 1));
	return 0;
}

int luaopen_clock(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"now", l_now},
		{"utc", l_utc},
		{"local_time", l_local_time},
		{"parse", l_parse},
		{"virtual", l_virtual},
		{"advance", l_advance},
		{NULL, NULL},
	};

	luaL_newlib(L, functions);
	return 1;
}
