/* Locked memory, and the key of an environment: what fingerprints secrets and what seals them at rest. */
#include "error.h"
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	SMALL = 64 * 1024, /* what must be locked; larger texts that hold a secret are locked where the limit allows it */
	NONCE = 12,
	TAG = 16,
};

/* ---- locked memory ---- */

static unsigned char *map(lua_State *L, size_t size)
{
	unsigned char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		luaL_error(L, "not enough memory");
	madvise(bytes, size, MADV_DONTDUMP);
	if (mlock(bytes, size) == 0)
		return bytes;
	lua_gc(L, LUA_GCCOLLECT); /* secrets that nobody uses any more still hold their pages */
	if (mlock(bytes, size) == 0 || size > SMALL)
		return bytes;
	munmap(bytes, size);
	error_raise(L, "denied", "no memory can be locked for a secret: %s; see `ulimit -l`", strerror(errno));
	return NULL;
}

void locked_reserve(lua_State *L, struct locked *memory, size_t more)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = memory->size ? memory->size : page;
	struct locked larger = {.length = memory->length};

	while (size < memory->length + more)
		size *= 2;
	if (size == memory->size)
		return;
	larger.bytes = map(L, size);
	larger.size = size;
	if (memory->length)
		memcpy(larger.bytes, memory->bytes, memory->length);
	locked_free(memory);
	*memory = larger;
}

void locked_add(lua_State *L, struct locked *memory, const void *bytes, size_t length)
{
	locked_reserve(L, memory, length);
	if (length)
		memcpy(memory->bytes + memory->length, bytes, length);
	memory->length += length;
}

void locked_free(struct locked *memory)
{
	if (memory->bytes) {
		explicit_bzero(memory->bytes, memory->size);
		munmap(memory->bytes, memory->size);
	}
	*memory = (struct locked){0};
}

/* ---- the key ---- */

/* user value 1: the path of the file, or nil: a key of this process alone */
struct keyring {
	struct locked keys; /* for fingerprints, for sealing; empty until they are needed */
};

static int keyring_gc(lua_State *L)
{
	locked_free(&((struct keyring *)luaL_checkudata(L, 1, KEYRING))->keys);
	return 0;
}

static int cannot(lua_State *L, const char *what, const char *path)
{
	return error_raise(L, errno == ENOENT ? "missing" : "denied", "the key %s cannot be %s: %s", path, what,
			   strerror(errno));
}

/* In a folder that belongs to a group the key does, too. */
static mode_t key_mode(const char *path)
{
	char folder[4096];
	struct stat found;
	const char *slash = strrchr(path, '/');

	snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	return stat(folder, &found) == 0 && found.st_mode & S_ISGID ? 0660 : 0600;
}

static int write_whole(int fd, const unsigned char *bytes, size_t length, mode_t mode)
{
	return fchmod(fd, mode) == 0 && write(fd, bytes, length) == (ssize_t)length && fsync(fd) == 0;
}

/* Puts a key there unless there is one: whole or not at all, and never over another's. */
static void put_key(lua_State *L, const char *path, const unsigned char *key)
{
	const char *temporary = lua_pushfstring(L, "%s.new-%d", path, (int)getpid());
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), good, error;

	if (fd < 0)
		cannot(L, "made", path);
	good = write_whole(fd, key, SECRET_KEY, key_mode(path)) && link(temporary, path) == 0;
	error = errno;
	close(fd);
	unlink(temporary);
	errno = error;
	if (!good && errno != EEXIST)
		cannot(L, "made", path);
	lua_pop(L, 1);
}

static void make_key(lua_State *L, const char *path, unsigned char *key)
{
	if (RAND_bytes(key, SECRET_KEY) != 1)
		luaL_error(L, "libcrypto has no random bytes");
	if (path)
		put_key(L, path, key);
}

/* Reads the key; returns 0 where there is none. */
static int read_key(lua_State *L, const char *path, unsigned char *key)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat found;
	ssize_t count;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return cannot(L, "read", path);
	if (fstat(fd, &found) != 0 || found.st_mode & 07) {
		close(fd);
		return error_raise(L, "denied", "the key %s is open to everybody: chmod 0600 %s", path, path);
	}
	count = read(fd, key, SECRET_KEY);
	close(fd);
	if (count != SECRET_KEY || found.st_size != SECRET_KEY)
		return error_raise(L, "denied", "the key %s is not one: it has %d bytes instead of %d", path,
				   (int)found.st_size, SECRET_KEY);
	return 1;
}

static void derive(lua_State *L, const unsigned char *key, const char *purpose, unsigned char *derived)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string("digest", "SHA256", 0),
		OSSL_PARAM_construct_octet_string("key", (void *)key, SECRET_KEY),
		OSSL_PARAM_construct_octet_string("info", (void *)purpose, strlen(purpose)),
		OSSL_PARAM_construct_end(),
	};
	int good = context && EVP_KDF_derive(context, derived, SECRET_KEY, parameters) == 1;

	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	if (!good)
		luaL_error(L, "HKDF is not to be had from libcrypto");
}

/* The two keys, read or made now if they were not needed before. The master key is kept behind them no longer than this. */
static const unsigned char *keys_of(lua_State *L, int index)
{
	struct keyring *ring = luaL_checkudata(L, index, KEYRING);
	unsigned char *key;
	const char *path;

	if (ring->keys.length)
		return ring->keys.bytes;
	locked_reserve(L, &ring->keys, 3 * SECRET_KEY);
	key = ring->keys.bytes + 2 * SECRET_KEY;
	lua_getiuservalue(L, index, 1);
	path = lua_tostring(L, -1);
	if (!path || !read_key(L, path, key)) {
		make_key(L, path, key);
		if (path && !read_key(L, path, key)) /* what stands there now may be another process's */
			cannot(L, "read", path);
	}
	lua_pop(L, 1);
	derive(L, key, "neap fingerprint 1", ring->keys.bytes);
	derive(L, key, "neap seal 1", ring->keys.bytes + SECRET_KEY);
	explicit_bzero(key, SECRET_KEY);
	ring->keys.length = 2 * SECRET_KEY;
	return ring->keys.bytes;
}

/* Pushes one over the path at index 1, or nil there. */
static void push_keyring(lua_State *L)
{
	struct keyring *ring = lua_newuserdatauv(L, sizeof *ring, 1);

	*ring = (struct keyring){0};
	luaL_setmetatable(L, KEYRING);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
}

/*
 * secret.keyring([path]) -> keyring: over the key in that file, which is made when it is first needed; without a path over
 * a key of this process alone. Using it raises "denied" where the file cannot be read, or is open to everybody.
 */
static int secret_keyring(lua_State *L)
{
	luaL_optstring(L, 1, NULL);
	lua_settop(L, 1);
	push_keyring(L);
	return 1;
}

/*
 * secret.copy_key(from, to): puts the key of one file into another, which is made. Raises "missing" and "denied" as the use
 * of a key does, "conflict" where another key stands there already: what that one sealed could not be opened any more.
 */
static int secret_copy_key(lua_State *L)
{
	const char *from = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
	struct keyring *ring;
	unsigned char *key;
	int there;

	lua_settop(L, 2);
	push_keyring(L);
	ring = lua_touserdata(L, -1);
	locked_reserve(L, &ring->keys, 2 * SECRET_KEY);
	key = ring->keys.bytes;
	errno = ENOENT;
	if (!read_key(L, from, key))
		return cannot(L, "read", from);
	there = read_key(L, to, key + SECRET_KEY);
	if (there && memcmp(key, key + SECRET_KEY, SECRET_KEY) != 0)
		return error_raise(L, "conflict", "%s is another key: what it sealed could not be opened any more", to);
	if (!there)
		put_key(L, to, key);
	return 0;
}

void keyring_fingerprint(lua_State *L, int keyring, const void *bytes, size_t length, char *fingerprint)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *key = keys_of(L, keyring);
	unsigned char digest[SECRET_KEY];
	size_t size;

	if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, SECRET_KEY, bytes, length, digest, sizeof digest, &size))
		luaL_error(L, "HMAC is not to be had from libcrypto");
	for (size_t i = 0; i < SECRET_KEY; i++) {
		fingerprint[2 * i] = digits[digest[i] >> 4];
		fingerprint[2 * i + 1] = digits[digest[i] & 15];
	}
	fingerprint[2 * SECRET_KEY] = '\0';
}

/* ---- sealing: version, kind ('s' a secret, 't' a text), nonce, tag, and encrypted the spans and the bytes ---- */

enum { VERSION, KIND, NONCE_AT, TAG_AT = NONCE_AT + NONCE, BODY = TAG_AT + TAG };

struct sealed_span {
	uint64_t at, length;
	char mark[8];
};

/* Encrypts or decrypts length bytes from in to out; the header's first two bytes are authenticated with them. */
static int encipher(int encrypt, const unsigned char *key, unsigned char *header, const unsigned char *in,
		    size_t length, unsigned char *out)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int count, good = context && length < INT32_MAX &&
			  EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, key, header + NONCE_AT, encrypt) &&
			  (encrypt || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG, header + TAG_AT)) &&
			  EVP_CipherUpdate(context, NULL, &count, header, NONCE_AT) &&
			  EVP_CipherUpdate(context, out, &count, in, (int)length) &&
			  EVP_CipherFinal_ex(context, out + count, &count) == 1 &&
			  (!encrypt || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG, header + TAG_AT));

	EVP_CIPHER_CTX_free(context);
	return good;
}

/* A secret userdata on top of the stack takes what is to be sealed: so nothing is left where something raises. */
static struct locked *scratch(lua_State *L, int keyring)
{
	lua_pushvalue(L, keyring);
	return &secret_new(L, lua_gettop(L), 0)->memory;
}

static void write_body(lua_State *L, struct locked *body, const struct spans *spans, const void *bytes, size_t length)
{
	uint64_t count = spans->count;

	locked_add(L, body, &count, sizeof count);
	for (size_t i = 0; i < spans->count; i++) {
		struct sealed_span one = {spans->list[i].at, spans->list[i].length, ""};

		memcpy(one.mark, spans->list[i].mark, SECRET_MARK);
		locked_add(L, body, &one, sizeof one);
	}
	locked_add(L, body, bytes, length);
}

void keyring_seal(lua_State *L, int keyring, int index)
{
	const unsigned char *key = keys_of(L, keyring);
	struct secret *holder = NULL, *s = secret_is(L, index) ? secret_opened(L, index) : NULL;
	struct locked *body;
	unsigned char *out;
	luaL_Buffer sealed;
	size_t length;
	const char *bytes = secret_check(L, index, &length);

	keyring = lua_absindex(L, keyring);
	if (!s) {
		lua_pushvalue(L, keyring);
		holder = secret_new(L, lua_gettop(L), 0);
		redact_find(L, (const unsigned char *)bytes, length, &holder->spans);
	}
	body = scratch(L, keyring);
	write_body(L, body, s ? &s->spans : &holder->spans, bytes, length);
	out = (unsigned char *)luaL_buffinitsize(L, &sealed, BODY + body->length);
	out[VERSION] = 1;
	out[KIND] = s ? 's' : 't';
	if (RAND_bytes(out + NONCE_AT, NONCE) != 1 || !encipher(1, key, out, body->bytes, body->length, out + BODY))
		luaL_error(L, "AES-256-GCM is not to be had from libcrypto");
	luaL_pushresultsize(&sealed, BODY + body->length);
}

static int damaged(lua_State *L)
{
	return error_raise(L, "journal",
			   "what the journal has sealed cannot be opened with this key; see `neap env key import`");
}

/* Reads the spans at the beginning of the body; returns where the bytes begin, 0: it is none. */
static size_t read_spans(lua_State *L, const struct locked *body, struct spans *spans)
{
	uint64_t count;
	size_t at = sizeof count;
	struct sealed_span one;

	if (body->length < at)
		return 0;
	memcpy(&count, body->bytes, sizeof count);
	if (count > (body->length - at) / sizeof one)
		return 0;
	for (; count; count--, at += sizeof one) {
		size_t rest = body->length - sizeof count;

		memcpy(&one, body->bytes + at, sizeof one);
		if (one.at > rest || one.length > rest - one.at)
			return 0;
		spans_add(L, spans, one.at, one.length, one.mark);
	}
	return at;
}

void keyring_unseal(lua_State *L, int keyring, const char *sealed, size_t length, struct secret *s)
{
	const unsigned char *key = keys_of(L, keyring);
	unsigned char header[BODY];
	struct secret *holder;
	size_t at, rest;

	if (length < BODY || sealed[VERSION] != 1 || sealed[KIND] != (s ? 's' : 't'))
		damaged(L);
	memcpy(header, sealed, BODY);
	lua_pushvalue(L, keyring);
	holder = secret_new(L, lua_gettop(L), 0);
	locked_reserve(L, &holder->memory, length - BODY + 1);
	if (!encipher(0, key, header, (const unsigned char *)sealed + BODY, length - BODY, holder->memory.bytes))
		damaged(L);
	holder->memory.length = length - BODY;
	at = read_spans(L, &holder->memory, &holder->spans);
	if (!at)
		damaged(L);
	rest = holder->memory.length - at;
	for (size_t i = 0; i < holder->spans.count; i++) {
		const struct span *span = &holder->spans.list[i];

		if (span->length <= rest && span->at <= rest - span->length)
			redact_register(L, holder->memory.bytes + at + span->at, span->length, span->mark);
	}
	if (s) {
		locked_add(L, &s->memory, holder->memory.bytes + at, rest);
		s->spans = holder->spans;
		holder->spans = (struct spans){0};
	} else {
		lua_pushlstring(L, (const char *)holder->memory.bytes + at, rest);
		lua_insert(L, -3);
	}
	lua_pop(L, 2);
}

void keyring_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"keyring", secret_keyring}, {"copy_key", secret_copy_key}, {NULL, NULL}};

	luaL_newmetatable(L, KEYRING);
	lua_pushcfunction(L, keyring_gc);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	luaL_setfuncs(L, functions, 0);
}
