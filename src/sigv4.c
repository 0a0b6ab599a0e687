/* native.sigv4: the part of AWS Signature Version 4 that needs the secret key. The text that is signed is made in Lua. */
#include "error.h"
#include "secret.h"

#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX 1024
#define DIGEST 32 /* bytes of SHA-256 */

static void hmac(lua_State *L, const void *key, size_t key_length, const char *bytes, size_t length,
		 unsigned char digest[DIGEST])
{
	size_t size;

	if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_length, (const unsigned char *)bytes, length, digest,
		       DIGEST, &size))
		luaL_error(L, "HMAC with SHA256 is not to be had from libcrypto");
}

/*
 * sigv4.sign(secret, date, region, service, text) -> 64 hexadecimal digits. secret: the secret access key, a text or a
 * secret; date: "20150830". Amazon's "Create a signed AWS API request", steps 3 and 4.
 */
static int sigv4_sign(lua_State *L)
{
	unsigned char key[4 + KEY_MAX] = "AWS4", digest[DIGEST];
	char hex[2 * DIGEST + 1];
	size_t length;
	const char *secret = secret_check(L, 1, &length), *part;

	luaL_argcheck(L, length <= KEY_MAX, 1, "a secret access key is not so long");
	memcpy(key + 4, secret, length);
	part = luaL_checkstring(L, 2);
	hmac(L, key, 4 + length, part, strlen(part), digest);
	OPENSSL_cleanse(key, sizeof key);
	for (int i = 3; i <= 4; i++) { /* region, service */
		part = luaL_checklstring(L, i, &length);
		hmac(L, digest, DIGEST, part, length, digest);
	}
	hmac(L, digest, DIGEST, "aws4_request", 12, digest);
	part = luaL_checklstring(L, 5, &length);
	hmac(L, digest, DIGEST, part, length, digest);
	for (int i = 0; i < DIGEST; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	OPENSSL_cleanse(digest, sizeof digest);
	lua_pushlstring(L, hex, sizeof hex - 1);
	return 1;
}

int luaopen_sigv4(lua_State *L)
{
	static const luaL_Reg functions[] = {{"sign", sigv4_sign}, {NULL, NULL}};

	luaL_newlib(L, functions);
	return 1;
}
