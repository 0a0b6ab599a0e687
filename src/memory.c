/* native.memory: how much Lua may take, so that code that runs away is refused before the machine is out of memory. */
#include <lauxlib.h>
#include <stdint.h>

/* Stands before the allocator that Lua was made with; of the whole program, as that is. */
static struct {
	lua_Alloc allocate; /* NULL: never limited yet */
	void *of_allocate;
	size_t used, most; /* bytes; used is what was there at the last `limit`, and what came and went since */
} guard;

/* Lua asks once more after a collection, and raises "not enough memory" when it is refused again. */
static void *allocate(void *unused, void *block, size_t before, size_t after)
{
	size_t had = block ? before : 0;
	void *got;

	(void)unused;
	if (after > had && guard.used + (after - had) > guard.most)
		return NULL;
	got = guard.allocate(guard.of_allocate, block, before, after);
	if (got || after == 0)
		guard.used += after - had;
	return got;
}

/* memory.used() -> bytes that Lua holds. */
static int memory_used(lua_State *L)
{
	lua_pushinteger(L, ((lua_Integer)lua_gc(L, LUA_GCCOUNT) << 10) + lua_gc(L, LUA_GCCOUNTB));
	return 1;
}

/* memory.limit([bytes]): from now on Lua may hold so many bytes; without an argument any number. */
static int memory_limit(lua_State *L)
{
	lua_Integer most = luaL_optinteger(L, 1, 0);

	luaL_argcheck(L, most >= 0, 1, "bytes are positive");
	if (!guard.allocate) {
		guard.most = SIZE_MAX;
		guard.allocate = lua_getallocf(L, &guard.of_allocate);
		lua_setallocf(L, allocate, NULL);
	}
	memory_used(L);
	guard.used = (size_t)lua_tointeger(L, -1);
	guard.most = most ? (size_t)most : SIZE_MAX;
	return 0;
}

int luaopen_memory(lua_State *L)
{
	static const luaL_Reg functions[] = {{"limit", memory_limit}, {"used", memory_used}, {NULL, NULL}};

	luaL_newlib(L, functions);
	return 1;
}
