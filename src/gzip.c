/* native.gzip: files that gzip has compressed, unpacked as a whole. */
#include "error.h"

#include <lauxlib.h>
#include <string.h>
#include <zlib.h>

#define STREAM "gzip.stream"
#define STEP 262144 /* bytes */

/* A userdata, so that an error frees what zlib holds. */
struct stream {
	z_stream z;
	int open;
};

static int stream_free(lua_State *L)
{
	struct stream *s = lua_touserdata(L, 1);

	if (s->open)
		inflateEnd(&s->z);
	s->open = 0;
	return 0;
}

/* gzip.unpack(bytes, max_bytes) -> bytes. Raises "protocol" on what is no gzip file, is damaged, or holds more. */
static int gzip_unpack(lua_State *L)
{
	size_t length, total = 0;
	const char *bytes = luaL_checklstring(L, 1, &length);
	lua_Integer most = luaL_checkinteger(L, 2);
	struct stream *s = lua_newuserdatauv(L, sizeof *s, 0);
	luaL_Buffer out;
	int code;

	luaL_argcheck(L, length < (size_t)1 << 30, 1, "too long");
	memset(s, 0, sizeof *s);
	luaL_setmetatable(L, STREAM);
	if (inflateInit2(&s->z, 16 + MAX_WBITS) != Z_OK)
		return luaL_error(L, "not enough memory");
	s->open = 1;
	s->z.next_in = (unsigned char *)bytes;
	s->z.avail_in = (unsigned)length;
	luaL_buffinit(L, &out);
	do {
		s->z.next_out = (unsigned char *)luaL_prepbuffsize(&out, STEP);
		s->z.avail_out = STEP;
		code = inflate(&s->z, Z_NO_FLUSH);
		luaL_addsize(&out, STEP - s->z.avail_out);
		total += STEP - s->z.avail_out;
		if (total > (size_t)most)
			return error_raise(L, "protocol", "it unpacks to more than %I bytes", most);
	} while (code == Z_OK);
	if (code != Z_STREAM_END)
		return error_raise(L, "protocol", "the gzip file is damaged or cut short");
	luaL_pushresult(&out);
	return 1;
}

int luaopen_gzip(lua_State *L)
{
	static const luaL_Reg functions[] = {{"unpack", gzip_unpack}, {NULL, NULL}};

	luaL_newmetatable(L, STREAM);
	lua_pushcfunction(L, stream_free);
	lua_setfield(L, -2, "__gc");
	luaL_newlib(L, functions);
	return 1;
}
