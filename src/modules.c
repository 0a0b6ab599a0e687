/* The list of native modules, and neap's own Lua and manual, which are embedded: native.embedded. */
#include "modules.h"
#include "error.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULES(X) \
	X(clock) X(crypto) X(diff) X(error) X(fault) X(fs) X(gzip) X(json) X(markdown) X(memory) X(process) X(secret) \
	X(sftp) X(signal) X(sigv4) X(socket) X(sqlite) X(sqlite_chain) X(ssh) X(syslog) X(task) X(terminal) X(xml) X(yaml) \
	X(zstd)

#define DECLARE(name) int luaopen_##name(lua_State *L) __attribute__((weak));
#define ENTRY(name) {"native." #name, luaopen_##name},

MODULES(DECLARE)

static const luaL_Reg natives[] = {MODULES(ENTRY){NULL, NULL}};

/* Those that bring a heavy library along: NAME.so in lib/neap beside the program or beside its folder. */
static const char *const loaded[] = {LOADED_MODULES NULL};

/* Made by embed.lua from lua/: path below lua/, text, and compiled code, NULL where it is no module; ended by a NULL path. */
struct lua_file {
	const char *path, *text;
	size_t length;
	const char *code;
	size_t code_length;
};
extern const struct lua_file lua_files[];

static const struct lua_file *find(const char *path)
{
	for (const struct lua_file *file = lua_files; file->path; file++)
		if (!strcmp(file->path, path))
			return file;
	return NULL;
}

/* Reads folder/path and pushes its text; returns 0 and pushes nothing where it is not there. */
static int push_file(lua_State *L, const char *folder, const char *path)
{
	FILE *in = fopen(lua_pushfstring(L, "%s/%s", folder, path), "re");
	luaL_Buffer text;
	size_t count;

	lua_pop(L, 1);
	if (!in)
		return 0;
	luaL_buffinit(L, &text);
	while ((count = fread(luaL_prepbuffer(&text), 1, LUAL_BUFFERSIZE, in)) > 0)
		luaL_addsize(&text, count);
	fclose(in);
	luaL_pushresult(&text);
	return 1;
}

/* Pushes the text of lua/PATH in the folder of NEAP_LUA and returns 1; 0: it is not there, or no such folder is named. */
static int push_text_of_folder(lua_State *L, const char *path)
{
	const char *folder = getenv("NEAP_LUA");

	return folder && push_file(L, folder, path);
}

/*
 * Pushes the text of lua/PATH and returns 1, or 0 where it is not there. What the folder of NEAP_LUA lacks (argparse,
 * another's file) is taken from the binary.
 */
static int push_text(lua_State *L, const char *path)
{
	const struct lua_file *file;

	if (push_text_of_folder(L, path))
		return 1;
	file = find(path);
	if (!file)
		return 0;
	lua_pushlstring(L, file->text, file->length);
	return 1;
}

/* Loads lua/PATH under the chunk name "=PATH", by which errors know neap's own code. 0: no such module is there. */
static int load_file(lua_State *L, const char *path)
{
	const char *chunk = lua_pushfstring(L, "=%s", path);
	const struct lua_file *file;
	int status;

	if (push_text_of_folder(L, path)) {
		status = luaL_loadbufferx(L, lua_tostring(L, -1), lua_rawlen(L, -1), chunk, "t");
	} else {
		file = find(path);
		if (!file || !file->code)
			return 0;
		status = luaL_loadbufferx(L, file->code, file->code_length, chunk, "b");
	}
	if (status != LUA_OK)
		lua_error(L);
	return 1;
}

/* A package searcher: "neap.engine.run" is neap/engine/run.lua, or neap/engine/run/init.lua. */
static int search(lua_State *L)
{
	const char *name = luaL_gsub(L, luaL_checkstring(L, 1), ".", "/");

	if (load_file(L, lua_pushfstring(L, "%s.lua", name)) || load_file(L, lua_pushfstring(L, "%s/init.lua", name)))
		return 1;
	lua_pushfstring(L, "no %s in neap", name);
	return 1;
}

/* ---- native.embedded: neap's own texts ---- */

/* embedded.text(path) -> the text of lua/PATH, or nil. */
static int embedded_text(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);

	luaL_argcheck(L, !strstr(path, ".."), 1, "leads out of neap");
	if (!push_text(L, path))
		lua_pushnil(L);
	return 1;
}

/* embedded.paths() -> all paths below lua/, as they were when neap was built. */
static int embedded_paths(lua_State *L)
{
	lua_newtable(L);
	for (int i = 0; lua_files[i].path; i++) {
		lua_pushstring(L, lua_files[i].path);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

static int open_embedded(lua_State *L)
{
	static const luaL_Reg functions[] = {{"text", embedded_text}, {"paths", embedded_paths}, {NULL, NULL}};

	luaL_newlib(L, functions);
	return 1;
}

/* ---- modules with a library of their own ---- */

/* Pushes the path of the program's folder, without a slash at its end. */
static void push_program_folder(lua_State *L)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path));

	if (length < 0 || length == sizeof(path))
		luaL_error(L, "/proc/self/exe does not say where neap lies");
	while (length > 0 && path[--length] != '/')
		;
	lua_pushlstring(L, path, (size_t)length);
}

static void *open_library(lua_State *L, const char *name)
{
	void *library;

	push_program_folder(L);
	library = dlopen(lua_pushfstring(L, "%s/lib/neap/%s.so", lua_tostring(L, -1), name), RTLD_NOW | RTLD_LOCAL);
	lua_pop(L, 1);
	if (!library && access(lua_pushfstring(L, "%s/lib/neap/%s.so", lua_tostring(L, -1), name), F_OK) == -1)
		library = dlopen(lua_pushfstring(L, "%s/../lib/neap/%s.so", lua_tostring(L, -2), name),
				RTLD_NOW | RTLD_LOCAL);
	return library;
}

/* Opens the module named in the first upvalue. It is not closed again: its library may hold threads and handlers. */
static int open_loaded(lua_State *L)
{
	const char *name = lua_tostring(L, lua_upvalueindex(1));
	void *library = open_library(L, name);
	lua_CFunction open = NULL;

	if (library)
		*(void **)&open = dlsym(library, lua_pushfstring(L, "luaopen_%s", name));
	if (!open)
		return error_raise(L, "missing", "native.%s cannot be opened: %s", name, dlerror());
	lua_settop(L, 0);
	return open(L);
}

/* package is kept for neap's own Lua; its paths are emptied, so that nothing is loaded from outside. */
static void open_modules(lua_State *L)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	for (const luaL_Reg *native = natives; native->name; native++) {
		if (!native->func)
			continue;
		lua_pushcfunction(L, native->func);
		lua_setfield(L, -2, native->name);
	}
	for (const char *const *name = loaded; *name; name++) {
		lua_pushfstring(L, "native.%s", *name);
		lua_pushstring(L, *name);
		lua_pushcclosure(L, open_loaded, 1);
		lua_rawset(L, -3);
	}
	lua_pushcfunction(L, open_embedded);
	lua_setfield(L, -2, "native.embedded");
	lua_pop(L, 1);
	lua_pushliteral(L, "");
	lua_setfield(L, -2, "path");
	lua_pushliteral(L, "");
	lua_setfield(L, -2, "cpath");
	lua_getfield(L, -1, "searchers");
	lua_pushcfunction(L, search);
	lua_rawseti(L, -2, 2);
	lua_pop(L, 2);
}

lua_State *modules_new_state(void)
{
	lua_State *L = luaL_newstate();

	if (!L)
		return NULL;
	*(void **)lua_getextraspace(L) = NULL; /* no task yet */
	luaL_openlibs(L);
	open_modules(L);
	lua_settop(L, 0);
	luaL_requiref(L, "native.task", luaopen_task, 0);
	lua_pop(L, 1);
	return L;
}
