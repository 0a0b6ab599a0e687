/* Secrets as they are encoded for another format: what comes out is secret as well. A text comes out as a text. */
#include "secret.h"

#include <ctype.h>
#include <lauxlib.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

typedef size_t encoding(char *out, const unsigned char *bytes, size_t length);

static size_t write_base64(char *out, const unsigned char *bytes, size_t length)
{
	return (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)length);
}

/* Only what needs no encoding in any part of a URL stays as it is (RFC 3986, 2.3). */
static size_t write_percent(char *out, const unsigned char *bytes, size_t length)
{
	char *start = out;

	for (size_t i = 0; i < length; i++) {
		if (isalnum(bytes[i]) || (bytes[i] && strchr("-._~", bytes[i])))
			*out++ = (char)bytes[i];
		else
			out += sprintf(out, "%%%02X", bytes[i]);
	}
	return (size_t)(out - start);
}

/* As it stands within the quotes of a JSON text (RFC 8259, 7). */
static size_t write_json(char *out, const unsigned char *bytes, size_t length)
{
	char *start = out;

	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == '"' || bytes[i] == '\\') {
			*out++ = '\\';
			*out++ = (char)bytes[i];
		} else if (bytes[i] < 0x20) {
			out += sprintf(out, "\\u%04x", bytes[i]);
		} else {
			*out++ = (char)bytes[i];
		}
	}
	return (size_t)(out - start);
}

/* Pushes the secret or text at index 1, encoded; it takes at most `times` its length, and 8 bytes. */
static int push_encoded(lua_State *L, encoding *write, size_t times)
{
	struct secret *s = secret_is(L, 1) ? secret_opened(L, 1) : NULL, *encoded;
	size_t length;
	const unsigned char *bytes = (const unsigned char *)secret_check(L, 1, &length);

	luaL_argcheck(L, length < (size_t)1 << 28, 1, "too long");
	if (!s) {
		luaL_Buffer text;
		char *out = luaL_buffinitsize(L, &text, length * times + 8);

		luaL_pushresultsize(&text, write(out, bytes, length));
		return 1;
	}
	lua_getiuservalue(L, 1, SECRET_KEYRING);
	encoded = secret_new(L, lua_gettop(L), 0);
	locked_reserve(L, &encoded->memory, length * times + 8);
	encoded->memory.length = write((char *)encoded->memory.bytes, bytes, length);
	secret_close_off(L, encoded);
	spans_add(L, &encoded->spans, 0, encoded->memory.length, s->fingerprint);
	return 1;
}

/* secret.base64(secret or text) -> secret, or text */
static int secret_base64(lua_State *L)
{
	return push_encoded(L, write_base64, 2);
}

/* secret.percent(secret or text) -> secret, or text: as a part of a URL, or of a web form */
static int secret_percent(lua_State *L)
{
	return push_encoded(L, write_percent, 3);
}

/* secret.json(secret or text) -> secret, or text: as within the quotes of a JSON text */
static int secret_json(lua_State *L)
{
	return push_encoded(L, write_json, 6);
}

void secret_encode_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"base64", secret_base64}, {"percent", secret_percent}, {"json", secret_json}, {NULL, NULL},
	};

	luaL_setfuncs(L, functions, 0);
}
