#ifndef NEAP_SECRET_H
#define NEAP_SECRET_H

#include <lua.h>
#include <stddef.h>

/*
 * A secret is a userdata over pages of its own, locked, left out of cores and wiped when it is freed. Lua never sees its
 * bytes; native modules open it. Each is known by its fingerprint, a keyed digest, and shown as "(secret a41c)".
 */

/* The bytes of a text or an open secret at arg, valid while that value is; raises for anything else, and where a secret
 * cannot be opened. */
const char *secret_check(lua_State *L, int arg, size_t *length);

/* The same for a step: NULL where there is neither; an index that was checked before. */
const char *secret_bytes(lua_State *L, int index, size_t *length);

/* Whether there is a secret at the index. */
int secret_is(lua_State *L, int index);

/* Pushes the source of the secret at the index, or nil, and its fingerprint. */
void secret_push_reference(lua_State *L, int index);

/* Pushes the bytes as a text in which every secret that was opened in this process is replaced, also where it is encoded. */
void secret_push_redacted(lua_State *L, const char *bytes, size_t length);

/* No core of this process, and nobody but root looks into it. */
void secret_harden(void);

/* ---- between the files of this module ---- */

#define SECRET "secret"
#define KEYRING "secret.keyring"

enum {
	SECRET_SHORTEST = 6, /* bytes; what is shorter is found everywhere, and so not looked for */
	SECRET_MARK = 4,     /* hexadecimal digits of a fingerprint that are shown */
	SECRET_KEY = 32,     /* bytes */
};

/* Memory that is locked, never dumped, and wiped by locked_free. bytes is NULL while there is none. */
struct locked {
	unsigned char *bytes;
	size_t length, size;
};

/* Makes room for that many bytes more; raises kind "denied" where so much cannot be locked. */
void locked_reserve(lua_State *L, struct locked *memory, size_t more);
void locked_add(lua_State *L, struct locked *memory, const void *bytes, size_t length);
void locked_free(struct locked *memory);

/* A part of a text that is secret: what its mark stands for. */
struct span {
	size_t at, length;
	char mark[SECRET_MARK + 1];
};

struct spans {
	struct span *list;
	size_t count;
};

void spans_add(lua_State *L, struct spans *spans, size_t at, size_t length, const char *mark);

/* user values: 1 its keyring, 2 its source or nil, 3 its sealed form or nil */
struct secret {
	struct locked memory; /* of an open one */
	struct spans spans;   /* in order; of an open one */
	int open;
	char fingerprint[2 * SECRET_KEY + 1];
};

enum { SECRET_KEYRING = 1, SECRET_SOURCE, SECRET_SEALED };

/* Pushes an empty one whose bytes are not at hand; source: an index, or 0. */
struct secret *secret_new_closed(lua_State *L, int keyring, int source);

/* Pushes an empty one that is open; secret_close_off gives it its fingerprint when its bytes are there. */
struct secret *secret_new(lua_State *L, int keyring, int source);
void secret_close_off(lua_State *L, struct secret *s);

/* Closes off one on top that is secret from its first byte to its last, and looked for from now on; returns 1. */
int secret_finish(lua_State *L, struct secret *s);

/* Adds the bytes of an open one, and which parts of them are secret. */
void secret_append(lua_State *L, struct secret *into, const struct secret *s);

/* Pushes how one is shown: "(secret a41c)", by the first digits of its fingerprint. */
const char *secret_push_mark(lua_State *L, const char *fingerprint);

/* The secret at the index, opened. */
struct secret *secret_opened(lua_State *L, int index);

/* Whether the secret at the index is open, or can be: whether it is sealed. */
int secret_can_open(lua_State *L, int index);

/* Opens a sealed one at the index; raises "missing" where there is no sealed form. */
void secret_open_sealed(lua_State *L, struct secret *s, int index);

/* Lua functions in files of their own. */
int secret_like(lua_State *L);
int secret_pick(lua_State *L);
int secret_plain(lua_State *L);
int secret_ini(lua_State *L);
int secret_quote(lua_State *L);

/* The functions of those files, into the table on top. */
void secret_source_open(lua_State *L);
void secret_closed_open(lua_State *L);
void secret_encode_open(lua_State *L);

/* Writes the fingerprint of the bytes by the keyring at the index. */
void keyring_fingerprint(lua_State *L, int keyring, const void *bytes, size_t length, char *fingerprint);

/* Pushes the sealed form of the text or open secret at the index. */
void keyring_seal(lua_State *L, int keyring, int index);

/* Opens a sealed form: into s, or, if that is NULL, pushes the text it was. */
void keyring_unseal(lua_State *L, int keyring, const char *sealed, size_t length, struct secret *s);

void keyring_open(lua_State *L); /* its metatable and functions, into the table on top */

/* From now on every text is searched for these bytes and what they are encoded. */
void redact_register(lua_State *L, const unsigned char *bytes, size_t length, const char *mark);

/* Adds what is found of registered secrets in the bytes. */
void redact_find(lua_State *L, const unsigned char *bytes, size_t length, struct spans *spans);

void redact_open(lua_State *L);

#endif
