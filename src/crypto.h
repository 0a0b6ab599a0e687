#ifndef NEAP_CRYPTO_H
#define NEAP_CRYPTO_H

#include <lua.h>

#define CRYPTO_HASHER "crypto.hasher" /* userdata: EVP_MD_CTX *, NULL once freed */

int crypto_update_file(lua_State *L);
void crypto_open_files(lua_State *L);

#endif
