#ifndef NEAP_JSON_H
#define NEAP_JSON_H

#include <lua.h>

/* Metatable of a table that is a list even when it is empty; native.yaml and native.pg set it, too. */
#define JSON_LIST "json.array"

/*
 * Whether the table on top is a list: it is marked as one, or its first key is an integer. -1: its content is behind a
 * metatable, which is no data; taken raw it would read as empty.
 */
int json_is_list(lua_State *L);

#endif
