/*
 * Fuzzing: libFuzzer with neap's Lua in it. FUZZ names a target, tests/fuzz/targets/NAME.lua, whose `run` gets each
 * input. Lines of Lua that are reached count for libFuzzer as branches of C do. An input fails by a string error, by a
 * property that does not hold, by memory and time, and by more instructions of Lua than its size explains. With FUZZ_LINES
 * a file is written at the end: of each of the target's `parsers` the lines that were reached.
 */
#include "modules.h"
#include "task.h"

#include <lauxlib.h>
#include <locale.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	STEP = 10000,		     /* instructions between two looks at the budget */
	ALWAYS = 3000000, BYTE = 2000, /* instructions that an input may take: so many, and so many a byte */
	COUNTERS = 1 << 15,
	FILES = 512, /* of a table by the address of a chunk's name */
	PARSERS = 16,
	LINES = 1024,
};

/* libFuzzer looks into this section, and clears it before each input. */
static uint8_t counters[COUNTERS] __attribute__((section("__libfuzzer_extra_counters"), used));

struct parser {
	const char *path;
	uint64_t reached[LINES / 64];
};

struct file {
	const char *source; /* NULL: none yet */
	uint32_t hash;
	struct parser *parser; /* NULL: none of the target's */
};

static struct {
	lua_State *L;
	long spent, budget; /* instructions */
	struct file files[FILES];
	struct parser parsers[PARSERS];
} fuzz;

extern int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*run)(const uint8_t *data, size_t size));

static uint32_t hash_of(const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return hash;
}

static struct parser *parser_of(const char *source)
{
	for (struct parser *parser = fuzz.parsers; parser < fuzz.parsers + PARSERS && parser->path; parser++)
		if (source[0] == '=' && !strcmp(parser->path, source + 1))
			return parser;
	return NULL;
}

/* The name of a chunk lies at one address as long as its code is there. */
static struct file *file_of(const char *source)
{
	struct file *file = &fuzz.files[(uintptr_t)source / 16 % FILES];

	if (file->source != source)
		*file = (struct file){source, hash_of(source), parser_of(source)};
	return file;
}

static void at_line(lua_State *L, lua_Debug *at)
{
	struct file *file;
	uint8_t *counter;

	lua_getinfo(L, "S", at);
	file = file_of(at->source);
	counter = &counters[(file->hash ^ (uint32_t)at->currentline * 2654435761u) % COUNTERS];
	if (*counter < UINT8_MAX)
		++*counter;
	if (file->parser && at->currentline < LINES)
		file->parser->reached[at->currentline / 64] |= 1ull << at->currentline % 64;
}

/* Not by an error, which the code under test may catch. */
static void at_count(lua_State *L)
{
	fuzz.spent += STEP;
	if (fuzz.spent <= fuzz.budget)
		return;
	luaL_traceback(L, L, "more than its budget of instructions", 0);
	fprintf(stderr, "== %s\n", lua_tostring(L, -1));
	abort();
}

static void hook(lua_State *L, lua_Debug *at)
{
	if (at->event == LUA_HOOKLINE)
		at_line(L, at);
	else
		at_count(L);
}

static int ended(lua_State *L, int status, lua_KContext context)
{
	(void)L, (void)status, (void)context;
	return 0;
}

/* In place of the hook by which tasks give way to one another. */
static int hooked(lua_State *L)
{
	lua_sethook(L, hook, LUA_MASKLINE | LUA_MASKCOUNT, STEP);
	lua_getfield(L, LUA_REGISTRYINDEX, "fuzz.run");
	lua_insert(L, 1);
	lua_callk(L, 1, 0, 0, ended);
	return 0;
}

/* In a task of its own: what waits may be called, and what it leaves is cancelled. */
static int run_input(const uint8_t *data, size_t size)
{
	lua_State *L = fuzz.L;

	fuzz.spent = 0;
	fuzz.budget = ALWAYS + BYTE * (long)size;
	lua_pushcfunction(L, hooked);
	lua_pushlstring(L, (const char *)data, size);
	if (task_run_main(L, 1) != LUA_OK) {
		fprintf(stderr, "== %s\n", luaL_tolstring(L, -1, NULL));
		abort();
	}
	lua_settop(L, 0);
	return 0;
}

static void write_lines(void)
{
	FILE *out = fopen(getenv("FUZZ_LINES"), "w");

	if (!out)
		return;
	for (struct parser *parser = fuzz.parsers; parser < fuzz.parsers + PARSERS && parser->path; parser++)
		for (int line = 0; line < LINES; line++)
			if (parser->reached[line / 64] >> line % 64 & 1)
				fprintf(out, "%s %d\n", parser->path, line);
	fclose(out);
}

/* Of the target on top. */
static void take_parsers(lua_State *L)
{
	int target = lua_gettop(L);

	if (lua_getfield(L, target, "parsers") == LUA_TTABLE)
		for (int i = 0; i < PARSERS && lua_rawgeti(L, target + 1, i + 1) == LUA_TSTRING; i++)
			fuzz.parsers[i].path = strdup(lua_tostring(L, -1));
	lua_settop(L, target);
}

static void load(lua_State *L, const char *path)
{
	if (luaL_loadfile(L, path) != LUA_OK)
		lua_error(L);
	lua_call(L, 0, 1);
}

/* The words give a function that makes of a target what runs one input. */
static int load_target(lua_State *L)
{
	const char *name = getenv("FUZZ");

	if (!name)
		return luaL_error(L, "FUZZ is to name a target");
	load(L, "tests/fuzz/words.lua");
	load(L, lua_pushfstring(L, "tests/fuzz/targets/%s.lua", name));
	lua_remove(L, -2); /* the path */
	take_parsers(L);
	lua_call(L, 1, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "fuzz.run");
	return 0;
}

int main(int argc, char **argv)
{
	lua_State *L = modules_new_state();

	setlocale(LC_CTYPE, "C.UTF-8");
	signal(SIGPIPE, SIG_IGN);
	lua_pushcfunction(L, load_target);
	if (task_run_main(L, 0) != LUA_OK) {
		fprintf(stderr, "== %s\n", luaL_tolstring(L, -1, NULL));
		return 1;
	}
	lua_settop(L, 0);
	if (getenv("FUZZ_LINES"))
		atexit(write_lines);
	fuzz.L = L;
	return LLVMFuzzerRunDriver(&argc, &argv, run_input);
}
