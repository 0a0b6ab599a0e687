#ifndef NEAP_YAML_TREE_H
#define NEAP_YAML_TREE_H

#include "yaml.h"

#include <stdint.h>

/*
 * The nodes of a YAML text, each with the bytes where it stands, for edits that change no other byte: yaml_nodes.c makes
 * them of libyaml's events, yaml_place.c finds the bytes, yaml_tree.c says what is asked of them, yaml_value.c what they
 * stand for.
 */
#define YAML_TREE "yaml.tree"
#define YAML_NONE UINT32_MAX

enum kind { MAP, LIST, SCALAR, ALIAS };
enum style { PLAIN, SINGLE, DOUBLE, LITERAL, FOLDED, BLOCK, FLOW };

/* Nodes lie in the order in which they begin, so that those from a node to the one before `next` are its subtree. Of a map
 * the children are key, value, key, value. Positions are bytes from 0, `last` is behind the node's end. */
struct node {
	uint32_t next, parent;
	uint32_t first, content, last; /* content: behind anchor and tag */
	uint32_t line, column;         /* from 0; the column in characters */
	uint32_t text, length;         /* of a scalar, or an alias' name: in strings; length: a collection's children */
	uint32_t anchor, tag;          /* in strings, ended by a NUL; or YAML_NONE */
	uint32_t target;               /* of an alias */
	uint8_t kind, style;
};

struct document {
	uint32_t first; /* byte where it begins: its line of three dashes, if it has one */
	uint32_t root;  /* YAML_NONE: it has no node; only the first may be so */
};

/* user values: 1 the text's name, 2 anchors by name while it is read */
struct tree {
	yaml_parser_t parser;
	yaml_event_t event;
	bool reading;
	struct node *nodes;
	uint32_t count, capacity;
	struct document *documents;
	uint32_t document_count, document_capacity;
	char *strings;
	size_t used, size;
	const unsigned char *text; /* while it is read */
	uint32_t length;
	size_t index, byte; /* the cursor: a place counted in characters, as libyaml does, and in bytes */
	uint32_t open;      /* innermost collection that is being read; YAML_NONE: none is */
	int depth;
	size_t pushed; /* values that the call under way has pushed */
};

/* The text of a scalar, the name of an alias. */
static inline const char *yaml_text_of(const struct tree *t, const struct node *n)
{
	return t->strings + n->text;
}

static inline uint32_t yaml_value_of_key(const struct tree *t, uint32_t key)
{
	return t->nodes[key].next;
}

/* Raises "protocol" with the name of the text that the tree at index 1 is of. */
void yaml_refuse_at(lua_State *L, uint32_t line, uint32_t column, const char *what);

/* The tree at index 1, and the node of it whose number, from 1, is at arg. */
struct tree *yaml_check_tree(lua_State *L);
uint32_t yaml_check_node(lua_State *L, const struct tree *t, int arg);

int yaml_tree_free(lua_State *L);
int yaml_tree_value(lua_State *L);

/* ---- yaml_place.c ---- */

/* The byte of a place that libyaml counts in characters; its marks come nearly in order. */
uint32_t yaml_byte_of(struct tree *t, size_t index);

/* Behind the anchor and the tag at `at`. Before a node that is not empty a blank ends them. */
uint32_t yaml_skip_properties(const struct tree *t, uint32_t at);

/* A block scalar without the blank lines that libyaml counts in, unless it keeps them, and without its last line end. */
uint32_t yaml_end_of_block(const struct tree *t, uint32_t content, uint32_t last);

#endif
