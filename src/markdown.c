/* native.markdown: the blocks of a CommonMark text with the lines that they stand on, by cmark. */
#include "error.h"

#include <cmark.h>
#include <lauxlib.h>
#include <string.h>

#define DOCUMENT "markdown.document"

enum { DEPTH_MAX = 100 };

/* A userdata, so that an error frees it. */
struct document {
	cmark_node *root; /* NULL before it is parsed and once it is freed */
};

static int document_free(lua_State *L)
{
	struct document *d = luaL_checkudata(L, 1, DOCUMENT);

	if (d->root)
		cmark_node_free(d->root);
	d->root = NULL;
	return 0;
}

static const char *name_of(cmark_node *node)
{
	switch (cmark_node_get_type(node)) {
	case CMARK_NODE_LIST:
		return "list";
	case CMARK_NODE_ITEM:
		return "item";
	case CMARK_NODE_HEADING:
		return "heading";
	case CMARK_NODE_PARAGRAPH:
		return "paragraph";
	case CMARK_NODE_CODE_BLOCK:
		return "code";
	case CMARK_NODE_BLOCK_QUOTE:
		return "quote";
	case CMARK_NODE_THEMATIC_BREAK:
		return "rule";
	default:
		return "html";
	}
}

static int is_block(cmark_node *node)
{
	return cmark_node_get_type(node) <= CMARK_NODE_LAST_BLOCK;
}

/* The next node below root, in the order of the text; NULL: there is none. */
static cmark_node *next_below(cmark_node *root, cmark_node *node)
{
	if (cmark_node_first_child(node))
		return cmark_node_first_child(node);
	while (node != root && !cmark_node_next(node))
		node = cmark_node_parent(node);
	return node == root ? NULL : cmark_node_next(node);
}

/* Pushes what a heading or paragraph says, without its marks; lines that are only wrapped are one. */
static void push_text(lua_State *L, cmark_node *block)
{
	luaL_Buffer text;

	luaL_buffinit(L, &text);
	for (cmark_node *node = next_below(block, block); node; node = next_below(block, node)) {
		const char *literal = cmark_node_get_literal(node);

		if (literal && cmark_node_get_type(node) != CMARK_NODE_HTML_INLINE)
			luaL_addstring(&text, literal);
		else if (cmark_node_get_type(node) == CMARK_NODE_SOFTBREAK || cmark_node_get_type(node) == CMARK_NODE_LINEBREAK)
			luaL_addchar(&text, ' ');
	}
	luaL_pushresult(&text);
}

static void set_text(lua_State *L, const char *key, const char *value)
{
	lua_pushstring(L, value ? value : "");
	lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, int value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, key);
}

/* Pushes a block without those that it holds. */
static void push_block(lua_State *L, cmark_node *node)
{
	cmark_node_type type = cmark_node_get_type(node);

	lua_createtable(L, 0, 6);
	set_text(L, "type", name_of(node));
	set_number(L, "first", cmark_node_get_start_line(node));
	set_number(L, "last", cmark_node_get_end_line(node));
	if (type == CMARK_NODE_HEADING)
		set_number(L, "level", cmark_node_get_heading_level(node));
	if (type == CMARK_NODE_LIST) {
		lua_pushboolean(L, cmark_node_get_list_type(node) == CMARK_ORDERED_LIST);
		lua_setfield(L, -2, "ordered");
	}
	if (type == CMARK_NODE_CODE_BLOCK) {
		set_text(L, "info", cmark_node_get_fence_info(node));
		set_text(L, "text", cmark_node_get_literal(node));
	}
	if (type == CMARK_NODE_HEADING || type == CMARK_NODE_PARAGRAPH) {
		push_text(L, node);
		lua_setfield(L, -2, "text");
	}
}

/* Adds the blocks that a node holds to the table on top. */
static void add_children(lua_State *L, cmark_node *parent, int depth)
{
	lua_Integer count = 0;

	if (depth > DEPTH_MAX)
		error_raise(L, "protocol", "blocks lie too deep in one another");
	luaL_checkstack(L, 8, "blocks lie too deep in one another");
	for (cmark_node *node = cmark_node_first_child(parent); node; node = cmark_node_next(node)) {
		if (!is_block(node))
			continue;
		push_block(L, node);
		add_children(L, node, depth + 1);
		lua_rawseti(L, -2, ++count);
	}
}

/*
 * markdown.blocks(text) -> { { type =, first =, last =, blocks… } }: type is heading (level, text), paragraph (text), list
 * (ordered), item, code (info, text), quote, rule or html; lines count from 1. Raises "protocol" where they lie deeper than
 * a hundred in one another.
 */
static int markdown_blocks(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	struct document *d = lua_newuserdatauv(L, sizeof *d, 0);

	*d = (struct document){0};
	luaL_setmetatable(L, DOCUMENT);
	lua_toclose(L, -1);
	d->root = cmark_parse_document(text, length, CMARK_OPT_DEFAULT);
	if (!d->root)
		return luaL_error(L, "not enough memory");
	lua_newtable(L);
	add_children(L, d->root, 1);
	return 1;
}

int luaopen_markdown(lua_State *L)
{
	static const luaL_Reg functions[] = {{"blocks", markdown_blocks}, {NULL, NULL}};
	static const luaL_Reg methods[] = {{"__gc", document_free}, {"__close", document_free}, {NULL, NULL}};

	luaL_newmetatable(L, DOCUMENT);
	luaL_setfuncs(L, methods, 0);
	luaL_newlib(L, functions);
	return 1;
}
