#ifndef NEAP_DATA_H
#define NEAP_DATA_H

#include <lua.h>

/* Metatable of a table that is a list even when it is empty. */
#define DATA_LIST "json.array"

/*
 * Whether the table on top is a list: it is marked as one, or its first key is an integer. -1: its content is behind a
 * metatable, which is no data; taken raw it would read as empty.
 */
int data_is_list(lua_State *L);

/*
 * Pushes the texts of the list at index arg as one, with `between` between them, and returns how many they are. Raises
 * where it is no list, or holds nothing, or what is no text.
 */
lua_Integer data_push_joined(lua_State *L, int arg, const char *between);

#endif
