/* native.yaml: what a node stands for, as parse has it: with aliases unpacked. */
#include "yaml_tree.h"
#include "data.h"

#include <lauxlib.h>
#include <string.h>

static void push_value(lua_State *L, struct tree *t, uint32_t id, int depth);

static void check_tag(lua_State *L, const struct tree *t, const struct node *n, const char *expected)
{
	if (n->tag != YAML_NONE && strcmp(t->strings + n->tag, expected))
		yaml_refuse_at(L, n->line, n->column, lua_pushfstring(L, "the tag %s is not known", t->strings + n->tag));
}

static void push_scalar(lua_State *L, struct tree *t, const struct node *n)
{
	check_tag(L, t, n, YAML_STR_TAG);
	if (n->tag != YAML_NONE || n->style != PLAIN)
		lua_pushlstring(L, yaml_text_of(t, n), n->length);
	else if (!yaml_push_plain(L, yaml_text_of(t, n), n->length))
		yaml_refuse_at(L, n->line, n->column, YAML_TOO_LONG);
}

static void push_map(lua_State *L, struct tree *t, uint32_t id, int depth)
{
	const struct node *n = &t->nodes[id];

	check_tag(L, t, n, YAML_MAP_TAG);
	for (uint32_t key = id + 1; key < n->next; key = t->nodes[yaml_value_of_key(t, key)].next) {
		const struct node *k = &t->nodes[key];

		if (k->kind != SCALAR)
			yaml_refuse_at(L, k->line, k->column, "a key that is not plain text");
		if (k->style == PLAIN && !strcmp(yaml_text_of(t, k), "<<"))
			yaml_refuse_at(L, k->line, k->column, "merge keys are not known; quote '<<' if it is a name");
		lua_pushlstring(L, yaml_text_of(t, k), k->length);
		push_value(L, t, yaml_value_of_key(t, key), depth + 1);
		lua_rawset(L, -3);
	}
}

static void push_list(lua_State *L, struct tree *t, uint32_t id, int depth)
{
	lua_Integer index = 0;

	check_tag(L, t, &t->nodes[id], YAML_SEQ_TAG);
	luaL_setmetatable(L, DATA_LIST);
	for (uint32_t child = id + 1; child < t->nodes[id].next; child = t->nodes[child].next) {
		push_value(L, t, child, depth + 1);
		lua_rawseti(L, -2, ++index);
	}
}

/* Whether the alias lies in what it stands for. */
static bool is_circular(const struct tree *t, uint32_t alias)
{
	uint32_t target = t->nodes[alias].target;

	return alias > target && alias < t->nodes[target].next;
}

static void push_value(lua_State *L, struct tree *t, uint32_t id, int depth)
{
	const struct node *n = &t->nodes[id];

	t->pushed += n->kind == SCALAR ? n->length + 1 : 1;
	if (t->pushed > YAML_ALIAS_RATIO * (size_t)t->length)
		yaml_refuse_at(L, n->line, n->column, "aliases unpack to more than 100 times the text");
	if (depth >= YAML_DEPTH_MAX)
		yaml_refuse_at(L, n->line, n->column, "nested deeper than 256 levels");
	luaL_checkstack(L, 8, NULL);
	if (n->kind == ALIAS && is_circular(t, id))
		yaml_refuse_at(L, n->line, n->column, lua_pushfstring(L, "&%s holds itself", yaml_text_of(t, n)));
	if (n->kind == ALIAS) {
		push_value(L, t, n->target, depth);
	} else if (n->kind == SCALAR) {
		push_scalar(L, t, n);
	} else {
		lua_newtable(L);
		(n->kind == MAP ? push_map : push_list)(L, t, id, depth);
	}
}

/* value(id) -> plain data, as parse has it. Raises "protocol" for tags, merge keys, and aliases that unpack too far. */
int yaml_tree_value(lua_State *L)
{
	struct tree *t = yaml_check_tree(L);
	uint32_t id = yaml_check_node(L, t, 2);

	t->pushed = 0;
	push_value(L, t, id, 0);
	return 1;
}
