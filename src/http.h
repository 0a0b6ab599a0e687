#ifndef NEAP_HTTP_H
#define NEAP_HTTP_H

#include <lua.h>

/* Lua's http.mail, and the metatable of what it returns. */
int http_mail(lua_State *L);
void http_mail_open(lua_State *L);

#endif
