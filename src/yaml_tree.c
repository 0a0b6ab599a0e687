/* native.yaml: what is asked of a tree. Its nodes have numbers from 1. */
#include "yaml_tree.h"

#include <lauxlib.h>
#include <string.h>

static const char *const kind_names[] = {"map", "list", "scalar", "alias"};
static const char *const style_names[] = {"plain", "single", "double", "literal", "folded", "block", "flow"};

struct tree *yaml_check_tree(lua_State *L)
{
	return luaL_checkudata(L, 1, YAML_TREE);
}

uint32_t yaml_check_node(lua_State *L, const struct tree *t, int arg)
{
	lua_Integer id = luaL_checkinteger(L, arg);

	luaL_argcheck(L, id >= 1 && id <= (lua_Integer)t->count, arg, "no node of this tree");
	return (uint32_t)id - 1;
}

static void push_string(lua_State *L, const struct tree *t, uint32_t at)
{
	lua_pushstring(L, at == YAML_NONE ? NULL : t->strings + at);
}

/* documents() -> { {root = node or nil, first = byte}, … }, at least one */
static int tree_documents(lua_State *L)
{
	struct tree *t = yaml_check_tree(L);

	lua_createtable(L, (int)t->document_count, 0);
	for (uint32_t i = 0; i == 0 || i < t->document_count; i++) {
		lua_createtable(L, 0, 2);
		lua_pushinteger(L, t->document_count ? t->documents[i].first + 1 : 1);
		lua_setfield(L, -2, "first");
		if (t->document_count) {
			lua_pushinteger(L, t->documents[i].root + 1);
			lua_setfield(L, -2, "root");
		}
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* node(id) -> kind, style, first, content, last, line, column, next, anchor, tag */
static int tree_node(lua_State *L)
{
	struct tree *t = yaml_check_tree(L);
	const struct node *n = &t->nodes[yaml_check_node(L, t, 2)];

	lua_pushstring(L, kind_names[n->kind]);
	lua_pushstring(L, style_names[n->style]);
	lua_pushinteger(L, n->first + 1);
	lua_pushinteger(L, n->content + 1);
	lua_pushinteger(L, n->last);
	lua_pushinteger(L, n->line + 1);
	lua_pushinteger(L, n->column);
	lua_pushinteger(L, n->next + 1);
	push_string(L, t, n->anchor);
	push_string(L, t, n->tag);
	return 10;
}

/* children(id) -> { id, … }: of a map keys and values in turn */
static int tree_children(lua_State *L)
{
	struct tree *t = yaml_check_tree(L);
	uint32_t id = yaml_check_node(L, t, 2), i = 0;
	const struct node *n = &t->nodes[id];

	lua_createtable(L, n->kind <= LIST ? (int)n->length : 0, 0);
	for (uint32_t child = id + 1; child < n->next; child = t->nodes[child].next) {
		lua_pushinteger(L, child + 1);
		lua_rawseti(L, -2, ++i);
	}
	return 1;
}

/* text(id) -> the text of a scalar, the name of an alias; nil of a collection */
static int tree_text(lua_State *L)
{
	struct tree *t = yaml_check_tree(L);
	const struct node *n = &t->nodes[yaml_check_node(L, t, 2)];

	if (n->kind <= LIST)
		return 0;
	lua_pushlstring(L, yaml_text_of(t, n), n->length);
	return 1;
}

/* aliases() -> { alias, the node it stands for, alias, … } */
static int tree_aliases(lua_State *L)
{
	struct tree *t = yaml_check_tree(L);
	lua_Integer count = 0;

	lua_newtable(L);
	for (uint32_t i = 0; i < t->count; i++)
		if (t->nodes[i].kind == ALIAS) {
			lua_pushinteger(L, i + 1);
			lua_rawseti(L, -2, ++count);
			lua_pushinteger(L, t->nodes[i].target + 1);
			lua_rawseti(L, -2, ++count);
		}
	return 1;
}

/* indent() -> spaces by which the first map within a map is indented, or nil; whether lists of maps stand in the column
 * of their keys, nil where there are none */
static int tree_indent(lua_State *L)
{
	struct tree *t = yaml_check_tree(L);
	lua_Integer step = 0;
	int flush = -1;

	for (uint32_t i = 0; i < t->count && (step == 0 || flush < 0); i++) {
		const struct node *n = &t->nodes[i], *parent = n->parent == YAML_NONE ? NULL : &t->nodes[n->parent];

		if (n->style != BLOCK || !parent || parent->style != BLOCK || parent->kind != MAP || n->content != n->first)
			continue;
		if (n->kind == MAP && step == 0 && n->column > parent->column)
			step = n->column - parent->column;
		else if (n->kind == LIST && flush < 0)
			flush = n->column == parent->column;
	}
	if (step == 0)
		lua_pushnil(L);
	else
		lua_pushinteger(L, step);
	if (flush < 0)
		lua_pushnil(L);
	else
		lua_pushboolean(L, flush);
	return 2;
}

static bool same_string(const struct tree *a, uint32_t at, const struct tree *b, uint32_t bt)
{
	if (at == YAML_NONE || bt == YAML_NONE)
		return at == bt;
	return !strcmp(a->strings + at, b->strings + bt);
}

/* Without their children. Where both aliases lead into the subtrees that begin at a_root and b_root, they lead to the same
 * place in them. */
static bool same_node(const struct tree *a, uint32_t i, uint32_t a_root, const struct tree *b, uint32_t j,
		      uint32_t b_root)
{
	const struct node *n = &a->nodes[i], *m = &b->nodes[j];

	if (n->kind != m->kind || n->next - i != m->next - j || (n->style == PLAIN) != (m->style == PLAIN) ||
	    !same_string(a, n->anchor, b, m->anchor) || !same_string(a, n->tag, b, m->tag))
		return false;
	if (n->kind <= LIST)
		return true;
	if (n->length != m->length || memcmp(yaml_text_of(a, n), yaml_text_of(b, m), n->length))
		return false;
	return n->kind == SCALAR || n->target < a_root || n->target - a_root == m->target - b_root;
}

/* same(id, other, other_id) -> true; or false and the line in the other text where it differs */
static int tree_same(lua_State *L)
{
	struct tree *a = yaml_check_tree(L), *b = luaL_checkudata(L, 3, YAML_TREE);
	uint32_t i = yaml_check_node(L, a, 2), j = yaml_check_node(L, b, 4);

	for (uint32_t k = 0; i + k < a->nodes[i].next; k++)
		if (j + k >= b->count || !same_node(a, i + k, i, b, j + k, j)) {
			lua_pushboolean(L, 0);
			lua_pushinteger(L, b->nodes[j + k < b->count ? j + k : j].line + 1);
			return 2;
		}
	lua_pushboolean(L, 1);
	return 1;
}

void yaml_open_nodes(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"documents", tree_documents}, {"node", tree_node},       {"children", tree_children},
		{"text", tree_text},           {"aliases", tree_aliases}, {"indent", tree_indent},
		{"same", tree_same},           {"value", yaml_tree_value},     {"__gc", yaml_tree_free},
		{NULL, NULL},
	};

	luaL_newmetatable(L, YAML_TREE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
