#ifndef NEAP_YAML_H
#define NEAP_YAML_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

/* What the files of native.yaml share. */

#define YAML_TOO_LONG "an integer of more than 64 bits; quote it"

enum {
	YAML_DEPTH_MAX = 256,
	YAML_NODES_MAX = 1000000,
	YAML_ALIAS_RATIO = 100, /* aliases may unpack to this many times the text */
};

/* Raises "protocol" with name:line:column in front. */
void yaml_refuse(lua_State *L, const char *name, yaml_mark_t mark, const char *what);

/* The same with what the parser says; the text is the one it was given. */
void yaml_refuse_text(lua_State *L, const char *name, const yaml_parser_t *p, const char *text, size_t length);

/* Gives the parser a text, without the byte order mark that it may begin with. */
void yaml_begin(yaml_parser_t *parser, const char *text, size_t length);

/* The bytes of the byte order mark that the text begins with. */
size_t yaml_mark_length(const char *text, size_t length);

/* Pushes what a plain scalar is: YAML 1.2's core schema, without numbers that begin with a zero, for modes, accounts and
 * zip codes are text. False, with nothing pushed: an integer of more than 64 bits. The text ends with a NUL. */
bool yaml_push_plain(lua_State *L, const char *text, size_t length);

int yaml_nodes(lua_State *L);
int yaml_emit(lua_State *L);
void yaml_open_nodes(lua_State *L);
void yaml_open_emit(lua_State *L);

#endif
