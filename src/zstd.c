/* native.zstd: single compressed blobs that state their size. */
#include "error.h"

#include <lauxlib.h>
#include <zstd.h>

#define LEVEL_DEFAULT 3
#define LEVEL_MAX 19 /* above it takes memory by the hundred megabytes, also to read */

/* compress(bytes [, level]) -> bytes. Level 1 to 19, 3 by default. */
static int zstd_compress(lua_State *L)
{
	size_t length, written;
	const char *bytes = luaL_checklstring(L, 1, &length);
	lua_Integer level = luaL_optinteger(L, 2, LEVEL_DEFAULT);
	luaL_Buffer out;
	char *room;

	luaL_argcheck(L, level >= 1 && level <= LEVEL_MAX, 2, "a level is 1 to 19");
	room = luaL_buffinitsize(L, &out, ZSTD_compressBound(length));
	written = ZSTD_compress(room, ZSTD_compressBound(length), bytes, length, (int)level);
	if (ZSTD_isError(written))
		return luaL_error(L, "zstd: %s", ZSTD_getErrorName(written));
	luaL_pushresultsize(&out, written);
	return 1;
}

/* The size that the one frame in bytes says it unpacks to. Raises "protocol" on anything else, before any memory is
 * taken. */
static size_t stated_size(lua_State *L, const char *bytes, size_t length, lua_Integer max)
{
	unsigned long long size = ZSTD_getFrameContentSize(bytes, length);

	if (size == ZSTD_CONTENTSIZE_ERROR)
		error_raise(L, "protocol", "not compressed with zstd");
	if (size == ZSTD_CONTENTSIZE_UNKNOWN)
		error_raise(L, "protocol", "the compressed data does not state its size");
	if (size > (unsigned long long)max)
		error_raise(L, "protocol", "the compressed data unpacks to more than %I bytes", max);
	if (ZSTD_findFrameCompressedSize(bytes, length) != length)
		error_raise(L, "protocol", "the compressed data is cut short or goes on after its end");
	return size;
}

/* decompress(bytes, max_bytes) -> bytes. Raises "protocol" when bytes is not one whole frame that says it unpacks to at
 * most max_bytes, or does not unpack to what it says. */
static int zstd_decompress(lua_State *L)
{
	size_t length, size, written;
	const char *bytes = luaL_checklstring(L, 1, &length);
	lua_Integer max = luaL_checkinteger(L, 2);
	luaL_Buffer out;
	char *room;

	luaL_argcheck(L, max >= 0, 2, "max_bytes is negative");
	size = stated_size(L, bytes, length, max);
	room = luaL_buffinitsize(L, &out, size + 1);
	written = ZSTD_decompress(room, size, bytes, length);
	if (ZSTD_isError(written) || written != size)
		return error_raise(L, "protocol", "the compressed data is damaged");
	luaL_pushresultsize(&out, size);
	return 1;
}

int luaopen_zstd(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"compress", zstd_compress},
		{"decompress", zstd_decompress},
		{NULL, NULL},
	};

	luaL_newlib(L, functions);
	return 1;
}
