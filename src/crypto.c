/* native.crypto: digests, random bytes and text forms of bytes, on libcrypto. */
#include "crypto.h"
#include "error.h"
#include "secret.h"

#include <lauxlib.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

#define RANDOM_MAX 65536

static void push_hex(lua_State *L, const unsigned char *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	luaL_Buffer text;
	char *out = luaL_buffinitsize(L, &text, length * 2);

	for (size_t i = 0; i < length; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	luaL_pushresultsize(&text, length * 2);
}

static const unsigned char *check_bytes(lua_State *L, int arg, size_t *length)
{
	return (const unsigned char *)luaL_checklstring(L, arg, length);
}

/* The algorithm, looked up once: EVP_sha256() is looked up anew by each use. */
static const EVP_MD *sha256(lua_State *L)
{
	static EVP_MD *algorithm;

	if (!algorithm)
		algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!algorithm)
		luaL_error(L, "SHA-256 is not to be had from libcrypto");
	return algorithm;
}

/* sha256(bytes or a secret) -> 64 hexadecimal digits */
static int crypto_sha256(lua_State *L)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size;
	size_t length;
	const unsigned char *bytes = (const unsigned char *)secret_check(L, 1, &length);

	if (!EVP_Digest(bytes, length, digest, &size, sha256(L), NULL))
		return luaL_error(L, "SHA-256 failed in libcrypto");
	push_hex(L, digest, size);
	return 1;
}

/* sha1(bytes) -> 40 hexadecimal digits. For formats that ask for it, as names of cached sign-ons do. */
static int crypto_sha1(lua_State *L)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	size_t length, size;
	const unsigned char *bytes = check_bytes(L, 1, &length);

	if (!EVP_Q_digest(NULL, "SHA1", NULL, bytes, length, digest, &size))
		return luaL_error(L, "SHA-1 is not to be had from libcrypto");
	push_hex(L, digest, size);
	return 1;
}

static bool is_hex_of(const char *text, size_t length, const unsigned char *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	if (length != size * 2)
		return false;
	for (size_t i = 0; i < size; i++)
		if (text[2 * i] != digits[bytes[i] >> 4] || text[2 * i + 1] != digits[bytes[i] & 15])
			return false;
	return true;
}

/* follows(head, bytes, digest) -> whether digest is sha256(head .. bytes): one link of a chain of records */
static int crypto_follows(lua_State *L)
{
	static EVP_MD_CTX *hasher; /* kept: making one takes longer than the hashing of a record */
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size;
	size_t head_length, length, expected_length;
	const unsigned char *head = check_bytes(L, 1, &head_length), *bytes = check_bytes(L, 2, &length);
	const char *expected = luaL_checklstring(L, 3, &expected_length);

	if (!hasher)
		hasher = EVP_MD_CTX_new();
	if (!hasher || !EVP_DigestInit_ex2(hasher, sha256(L), NULL) || !EVP_DigestUpdate(hasher, head, head_length) ||
	    !EVP_DigestUpdate(hasher, bytes, length) || !EVP_DigestFinal_ex(hasher, digest, &size))
		return luaL_error(L, "SHA-256 failed in libcrypto");
	lua_pushboolean(L, is_hex_of(expected, expected_length, digest, size));
	return 1;
}

static size_t hmac(lua_State *L, const char *algorithm, unsigned char digest[EVP_MAX_MD_SIZE])
{
	size_t key_length, length, size;
	const unsigned char *key = check_bytes(L, 1, &key_length);
	const unsigned char *bytes = check_bytes(L, 2, &length);

	if (!EVP_Q_mac(NULL, "HMAC", NULL, algorithm, NULL, key, key_length, bytes, length, digest, EVP_MAX_MD_SIZE,
		       &size))
		luaL_error(L, "HMAC with %s is not to be had from libcrypto", algorithm);
	return size;
}

/* hmac_sha256(key, bytes) -> 64 hexadecimal digits */
static int crypto_hmac_sha256(lua_State *L)
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	push_hex(L, digest, hmac(L, "SHA256", digest));
	return 1;
}

/* hmac_sha1(key, bytes) -> 20 bytes. For formats that ask for it, as hashed names in known_hosts do. */
static int crypto_hmac_sha1(lua_State *L)
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	lua_pushlstring(L, (const char *)digest, hmac(L, "SHA1", digest));
	return 1;
}

static EVP_MD_CTX *check_hasher(lua_State *L)
{
	EVP_MD_CTX **hasher = luaL_checkudata(L, 1, CRYPTO_HASHER);

	luaL_argcheck(L, *hasher, 1, "hasher is closed");
	return *hasher;
}

/* hasher() -> hasher: a SHA-256 over what comes in pieces */
static int crypto_hasher(lua_State *L)
{
	EVP_MD_CTX **hasher = lua_newuserdatauv(L, sizeof(*hasher), 0);

	*hasher = NULL;
	luaL_setmetatable(L, CRYPTO_HASHER);
	*hasher = EVP_MD_CTX_new();
	if (!*hasher || !EVP_DigestInit_ex(*hasher, EVP_sha256(), NULL))
		return luaL_error(L, "SHA-256 is not to be had from libcrypto");
	return 1;
}

/* hasher:update(bytes) -> hasher */
static int hasher_update(lua_State *L)
{
	EVP_MD_CTX *hasher = check_hasher(L);
	size_t length;
	const unsigned char *bytes = check_bytes(L, 2, &length);

	if (!EVP_DigestUpdate(hasher, bytes, length))
		return luaL_error(L, "SHA-256 failed in libcrypto");
	lua_settop(L, 1);
	return 1;
}

/* hasher:hex() -> digest of all bytes so far, as 64 hexadecimal digits; more may follow */
static int hasher_hex(lua_State *L)
{
	EVP_MD_CTX *hasher = check_hasher(L), *copy = EVP_MD_CTX_new();
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size;
	int good = copy && EVP_MD_CTX_copy_ex(copy, hasher) && EVP_DigestFinal_ex(copy, digest, &size);

	EVP_MD_CTX_free(copy);
	if (!good)
		return luaL_error(L, "SHA-256 failed in libcrypto");
	push_hex(L, digest, size);
	return 1;
}

static int hasher_free(lua_State *L)
{
	EVP_MD_CTX **hasher = luaL_checkudata(L, 1, CRYPTO_HASHER);

	EVP_MD_CTX_free(*hasher);
	*hasher = NULL;
	return 0;
}

/* random(count) -> that many unpredictable bytes, 0 to 65536 */
static int crypto_random(lua_State *L)
{
	lua_Integer count = luaL_checkinteger(L, 1);
	luaL_Buffer bytes;
	char *out;

	luaL_argcheck(L, count >= 0 && count <= RANDOM_MAX, 1, "0 to 65536 bytes");
	out = luaL_buffinitsize(L, &bytes, count);
	if (RAND_bytes((unsigned char *)out, (int)count) != 1)
		return luaL_error(L, "libcrypto has no random bytes");
	luaL_pushresultsize(&bytes, count);
	return 1;
}

/* base64(bytes) -> text in one line, padded */
static int crypto_base64(lua_State *L)
{
	size_t length;
	const unsigned char *bytes = check_bytes(L, 1, &length);
	luaL_Buffer text;
	char *out;

	luaL_argcheck(L, length < INT_MAX / 2, 1, "too long");
	out = luaL_buffinitsize(L, &text, (length + 2) / 3 * 4 + 1);
	luaL_pushresultsize(&text, EVP_EncodeBlock((unsigned char *)out, bytes, (int)length));
	return 1;
}

/* unbase64(text) -> bytes. Raises "protocol" on what base64 would not have written: other characters, spaces, line
 * breaks, missing padding, stray bits. libcrypto is lax here, so the result is encoded again and compared. */
static int crypto_unbase64(lua_State *L)
{
	size_t length;
	const unsigned char *text = check_bytes(L, 1, &length);
	unsigned char *bytes, *again;
	int count;

	luaL_argcheck(L, length < INT_MAX / 2, 1, "too long");
	if (length == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	bytes = lua_newuserdatauv(L, length, 0);
	again = lua_newuserdatauv(L, length + 4, 0);
	count = length % 4 ? -1 : EVP_DecodeBlock(bytes, text, (int)length);
	if (count > 0) {
		count -= (text[length - 1] == '=') + (text[length - 2] == '=');
		if (EVP_EncodeBlock(again, bytes, count) == (int)length && !memcmp(again, text, length)) {
			lua_pushlstring(L, (const char *)bytes, count);
			return 1;
		}
	}
	return error_raise(L, "protocol", "not base64");
}

/* hex(bytes) -> two lower-case digits a byte */
static int crypto_hex(lua_State *L)
{
	size_t length;
	const unsigned char *bytes = check_bytes(L, 1, &length);

	push_hex(L, bytes, length);
	return 1;
}

/* equal(a, b) -> boolean, in a time that tells nothing of where they differ */
static int crypto_equal(lua_State *L)
{
	size_t a_length, b_length;
	const unsigned char *a = check_bytes(L, 1, &a_length), *b = check_bytes(L, 2, &b_length);

	lua_pushboolean(L, a_length == b_length && CRYPTO_memcmp(a, b, a_length) == 0);
	return 1;
}

int luaopen_crypto(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"sha256", crypto_sha256},
		{"sha1", crypto_sha1},
		{"follows", crypto_follows},
		{"hasher", crypto_hasher},
		{"hmac_sha256", crypto_hmac_sha256},
		{"hmac_sha1", crypto_hmac_sha1},
		{"random", crypto_random},
		{"base64", crypto_base64},
		{"unbase64", crypto_unbase64},
		{"hex", crypto_hex},
		{"equal", crypto_equal},
		{NULL, NULL},
	};
	static const luaL_Reg methods[] = {
		{"update", hasher_update},
		{"update_file", crypto_update_file},
		{"hex", hasher_hex},
		{"__gc", hasher_free},
		{NULL, NULL},
	};

	crypto_open_files(L);
	luaL_newmetatable(L, CRYPTO_HASHER);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
