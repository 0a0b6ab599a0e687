/* native.yaml: the nodes of a YAML text, made of libyaml's events. */
#include "error.h"
#include "yaml_tree.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (64u << 20) /* bytes */
#define FEW 32 /* children of a map whose keys are compared each with each */

enum { NAME = 1, ANCHORS };

static void end_reading(struct tree *t)
{
	if (!t->reading)
		return;
	yaml_event_delete(&t->event);
	yaml_parser_delete(&t->parser);
	t->reading = false;
	t->text = NULL;
}

int yaml_tree_free(lua_State *L)
{
	struct tree *t = lua_touserdata(L, 1);

	end_reading(t);
	free(t->nodes);
	free(t->documents);
	free(t->strings);
	*t = (struct tree){0};
	return 0;
}

static void *grown(lua_State *L, void *list, uint32_t *capacity, size_t each)
{
	uint32_t wanted = *capacity ? *capacity * 2 : 64;
	void *larger = realloc(list, wanted * each);

	if (!larger)
		luaL_error(L, "not enough memory");
	*capacity = wanted;
	return larger;
}

static uint32_t keep_text(lua_State *L, struct tree *t, const void *bytes, size_t length)
{
	uint32_t at = (uint32_t)t->used;

	if (t->used + length + 1 > t->size) {
		size_t wanted = 2 * (t->used + length + 512);
		char *larger = realloc(t->strings, wanted);

		if (!larger)
			luaL_error(L, "not enough memory");
		t->strings = larger;
		t->size = wanted;
	}
	memcpy(t->strings + at, bytes, length);
	t->strings[at + length] = 0;
	t->used += length + 1;
	return at;
}

static const char *push_name(lua_State *L, int tree)
{
	lua_getiuservalue(L, tree, NAME);
	return lua_tostring(L, -1);
}

void yaml_refuse_at(lua_State *L, uint32_t line, uint32_t column, const char *what)
{
	yaml_refuse(L, push_name(L, 1), (yaml_mark_t){.line = line, .column = column}, what);
}

static void next_event(lua_State *L, struct tree *t)
{
	size_t mark = yaml_mark_length((const char *)t->text, t->length);

	yaml_event_delete(&t->event);
	memset(&t->event, 0, sizeof(t->event));
	if (yaml_parser_parse(&t->parser, &t->event))
		return;
	memset(&t->event, 0, sizeof(t->event));
	yaml_refuse_text(L, push_name(L, 1), &t->parser, (const char *)t->text + mark, t->length - mark);
}

/* ---- one node ---- */

static struct node *add_node(lua_State *L, struct tree *t, enum kind kind, enum style style)
{
	struct node *n;

	if (t->count >= YAML_NODES_MAX)
		yaml_refuse(L, push_name(L, 1), t->event.start_mark, "more than a million values");
	if (t->count == t->capacity)
		t->nodes = grown(L, t->nodes, &t->capacity, sizeof(*t->nodes));
	n = &t->nodes[t->count++];
	*n = (struct node){.kind = kind, .style = style, .parent = t->open, .next = t->count, .anchor = YAML_NONE, .tag = YAML_NONE,
			   .target = YAML_NONE, .line = (uint32_t)t->event.start_mark.line,
			   .column = (uint32_t)t->event.start_mark.column};
	n->first = n->content = yaml_byte_of(t, t->event.start_mark.index);
	n->last = yaml_byte_of(t, t->event.end_mark.index);
	if (t->open != YAML_NONE)
		t->nodes[t->open].length++;
	return n;
}

/* The names that the event gives the node added last. */
static void add_properties(lua_State *L, struct tree *t, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	struct node *n = &t->nodes[t->count - 1];

	if (!anchor && !tag)
		return;
	if (tag)
		n->tag = keep_text(L, t, tag, strlen((const char *)tag));
	if (anchor) {
		n->anchor = keep_text(L, t, anchor, strlen((const char *)anchor));
		lua_getiuservalue(L, 1, ANCHORS);
		lua_pushinteger(L, t->count - 1);
		lua_setfield(L, -2, (const char *)anchor);
		lua_pop(L, 1);
	}
	n->content = yaml_skip_properties(t, n->first);
}

static void add_scalar(lua_State *L, struct tree *t)
{
	static const enum style styles[] = {
		[YAML_SINGLE_QUOTED_SCALAR_STYLE] = SINGLE, [YAML_DOUBLE_QUOTED_SCALAR_STYLE] = DOUBLE,
		[YAML_LITERAL_SCALAR_STYLE] = LITERAL, [YAML_FOLDED_SCALAR_STYLE] = FOLDED,
	};
	size_t length = t->event.data.scalar.length;
	struct node *n = add_node(L, t, SCALAR, styles[t->event.data.scalar.style]);

	n->text = keep_text(L, t, t->event.data.scalar.value, length);
	n->length = (uint32_t)length;
	add_properties(L, t, t->event.data.scalar.anchor, t->event.data.scalar.tag);
	if (n->style == PLAIN && length == 0)
		n->content = n->last;
	else if (n->style == LITERAL || n->style == FOLDED)
		n->last = yaml_end_of_block(t, n->content, n->last);
}

static void add_alias(lua_State *L, struct tree *t)
{
	const char *name = (const char *)t->event.data.alias.anchor;
	struct node *n = add_node(L, t, ALIAS, PLAIN);

	lua_getiuservalue(L, 1, ANCHORS);
	if (lua_getfield(L, -1, name) == LUA_TNIL)
		yaml_refuse(L, push_name(L, 1), t->event.start_mark, lua_pushfstring(L, "no anchor &%s before it", name));
	n->target = (uint32_t)lua_tointeger(L, -1);
	n->text = keep_text(L, t, name, strlen(name));
	n->length = (uint32_t)strlen(name);
	lua_pop(L, 2);
}

static void open_collection(lua_State *L, struct tree *t)
{
	bool map = t->event.type == YAML_MAPPING_START_EVENT;
	bool flow = map ? t->event.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
			: t->event.data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;

	if (++t->depth > YAML_DEPTH_MAX)
		yaml_refuse(L, push_name(L, 1), t->event.start_mark, "nested deeper than 256 levels");
	add_node(L, t, map ? MAP : LIST, flow ? FLOW : BLOCK);
	if (map)
		add_properties(L, t, t->event.data.mapping_start.anchor, t->event.data.mapping_start.tag);
	else
		add_properties(L, t, t->event.data.sequence_start.anchor, t->event.data.sequence_start.tag);
	t->open = t->count - 1;
}

/* ---- keys that stand twice ---- */

static void refuse_twice(lua_State *L, const struct tree *t, const struct node *again, uint32_t line)
{
	lua_pushfstring(L, "'%s' is there already, in line %d", yaml_text_of(t, again), (int)line + 1);
	yaml_refuse_at(L, again->line, again->column, lua_tostring(L, -1));
}

static bool same_key(const struct tree *t, const struct node *a, const struct node *b)
{
	return a->kind == SCALAR && b->kind == SCALAR && a->length == b->length &&
	       !memcmp(yaml_text_of(t, a), yaml_text_of(t, b), a->length);
}

static void check_few_keys(lua_State *L, const struct tree *t, uint32_t map)
{
	const struct node *n = t->nodes;

	for (uint32_t key = map + 1; key < t->count; key = n[n[key].next].next)
		for (uint32_t before = map + 1; before < key; before = n[n[before].next].next)
			if (same_key(t, &n[key], &n[before]))
				refuse_twice(L, t, &n[key], n[before].line);
}

static void check_many_keys(lua_State *L, const struct tree *t, uint32_t map)
{
	lua_createtable(L, 0, (int)t->nodes[map].length / 2);
	for (uint32_t key = map + 1; key < t->count; key = t->nodes[yaml_value_of_key(t, key)].next) {
		const struct node *n = &t->nodes[key];

		if (n->kind != SCALAR)
			continue;
		lua_pushlstring(L, yaml_text_of(t, n), n->length);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, -3) != LUA_TNIL)
			refuse_twice(L, t, n, (uint32_t)lua_tointeger(L, -1));
		lua_pop(L, 1);
		lua_pushinteger(L, n->line);
		lua_rawset(L, -3);
	}
	lua_pop(L, 1);
}

/* ---- the events ---- */

/* A block collection ends where the last thing in it does; its own event's mark is at whatever comes next. */
static void close_collection(lua_State *L, struct tree *t)
{
	uint32_t id = t->open, child = id + 1;
	struct node *n = &t->nodes[id];

	n->next = t->count;
	if (n->style == FLOW) {
		n->last = yaml_byte_of(t, t->event.end_mark.index);
	} else {
		while (child < t->count && t->nodes[child].next < t->count)
			child = t->nodes[child].next;
		if (child < t->count)
			n->last = t->nodes[child].last;
	}
	if (n->kind == MAP) /* a key twice */
		(n->length <= FEW ? check_few_keys : check_many_keys)(L, t, id);
	t->open = n->parent;
	t->depth--;
}

/* Anchors are known within their document only. */
static void open_document(lua_State *L, struct tree *t)
{
	struct document *d;

	if (t->document_count == t->document_capacity)
		t->documents = grown(L, t->documents, &t->document_capacity, sizeof(*t->documents));
	d = &t->documents[t->document_count++];
	d->first = t->document_count == 1 ? 0 : yaml_byte_of(t, t->event.start_mark.index);
	d->root = t->count;
	lua_newtable(L);
	lua_setiuservalue(L, 1, ANCHORS);
}

static void take_event(lua_State *L, struct tree *t)
{
	switch (t->event.type) {
	case YAML_DOCUMENT_START_EVENT:
		open_document(L, t);
		break;
	case YAML_SCALAR_EVENT:
		add_scalar(L, t);
		break;
	case YAML_ALIAS_EVENT:
		add_alias(L, t);
		break;
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		open_collection(L, t);
		break;
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		close_collection(L, t);
		break;
	default:
		break;
	}
}

/* Leaves the name alone at index 2. */
static void check_options(lua_State *L)
{
	static const char *const names[] = {"name", NULL};

	lua_settop(L, 2);
	error_check_options(L, 2, names);
	if (lua_istable(L, 2))
		lua_getfield(L, 2, "name");
	else
		lua_pushnil(L);
	lua_replace(L, 2);
	if (lua_isnil(L, 2)) {
		lua_pushliteral(L, "yaml");
		lua_replace(L, 2);
	}
	luaL_checkstring(L, 2);
}

/* nodes(text [, {name = "file"}]) -> tree: all documents of the text, see the methods. Raises "protocol" with
 * "name:line:column: " in front on what is no YAML in UTF-8, keys that stand twice, aliases without their anchor, and
 * what is too deep or too much. */
int yaml_nodes(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	struct tree *t;

	luaL_argcheck(L, length <= TEXT_MAX, 1, "longer than 64 MiB");
	check_options(L);
	t = lua_newuserdatauv(L, sizeof(*t), 2);
	*t = (struct tree){.text = (const unsigned char *)text, .length = (uint32_t)length, .open = YAML_NONE};
	luaL_setmetatable(L, YAML_TREE);
	lua_insert(L, 1);
	lua_setiuservalue(L, 1, NAME); /* tree, text */
	if (!yaml_parser_initialize(&t->parser))
		return luaL_error(L, "not enough memory");
	t->reading = true;
	t->byte = yaml_mark_length(text, length);
	yaml_begin(&t->parser, text, length);
	do {
		next_event(L, t);
		take_event(L, t);
	} while (t->event.type != YAML_STREAM_END_EVENT);
	end_reading(t);
	lua_settop(L, 1);
	return 1;
}
