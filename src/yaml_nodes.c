/* native.yaml: the nodes of a YAML text, each with the bytes where it stands. For edits that change no other byte. */
#include "yaml.h"
#include "error.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TYPE "yaml.tree"
#define TEXT_MAX (64u << 20) /* bytes */
#define NONE UINT32_MAX
#define FEW 32 /* children of a map whose keys are compared each with each */

enum kind { MAP, LIST, SCALAR, ALIAS };
enum style { PLAIN, SINGLE, DOUBLE, LITERAL, FOLDED, BLOCK, FLOW };

static const char *const kind_names[] = {"map", "list", "scalar", "alias"};
static const char *const style_names[] = {"plain", "single", "double", "literal", "folded", "block", "flow"};

/* Nodes lie in the order in which they begin, so that those from a node to the one before `next` are its subtree. Of a map
 * the children are key, value, key, value. Positions are bytes from 0, `last` is behind the node's end. */
struct node {
	uint32_t next, parent;
	uint32_t first, content, last; /* content: behind anchor and tag */
	uint32_t line, column;         /* from 0; the column in characters */
	uint32_t text, length;         /* of a scalar, or an alias' name: in strings; length: a collection's children */
	uint32_t anchor, tag;          /* in strings, ended by a NUL; or NONE */
	uint32_t target;               /* of an alias */
	uint8_t kind, style;
};

struct document {
	uint32_t first; /* byte where it begins: its line of three dashes, if it has one */
	uint32_t root;  /* NONE: it has no node; only the first may be so */
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
	uint32_t open;      /* innermost collection that is being read; NONE: none is */
	int depth;
	size_t pushed; /* values that the call under way has pushed */
};

enum { NAME = 1, ANCHORS };

/* ---- reading ---- */

static void end_reading(struct tree *t)
{
	if (!t->reading)
		return;
	yaml_event_delete(&t->event);
	yaml_parser_delete(&t->parser);
	t->reading = false;
	t->text = NULL;
}

static int tree_free(lua_State *L)
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

static void refuse(lua_State *L, uint32_t line, uint32_t column, const char *what)
{
	yaml_refuse(L, push_name(L, 1), (yaml_mark_t){.line = line, .column = column}, what);
}

static bool is_lead(unsigned char byte)
{
	return (byte & 0xC0) != 0x80;
}

/* libyaml counts characters; its marks come nearly in order. */
static uint32_t byte_of(struct tree *t, size_t index)
{
	while (t->index < index && t->byte < t->length) {
		do
			t->byte++;
		while (t->byte < t->length && !is_lead(t->text[t->byte]));
		t->index++;
	}
	while (t->index > index) {
		do
			t->byte--;
		while (!is_lead(t->text[t->byte]));
		t->index--;
	}
	return (uint32_t)t->byte;
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

static bool is_blank(unsigned char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Behind blanks, line ends and comments. */
static uint32_t skip_blank(const struct tree *t, uint32_t at)
{
	while (at < t->length && (is_blank(t->text[at]) || t->text[at] == '#'))
		if (t->text[at] == '#')
			while (at < t->length && t->text[at] != '\n')
				at++;
		else
			at++;
	return at;
}

/* Behind the anchor and the tag at `at`. Before a node that is not empty a blank ends them. */
static uint32_t skip_properties(const struct tree *t, uint32_t at)
{
	while (at < t->length && (t->text[at] == '&' || t->text[at] == '!')) {
		while (at < t->length && !is_blank(t->text[at]))
			at++;
		at = skip_blank(t, at);
	}
	return at;
}

/* A block scalar without the blank lines that libyaml counts in, unless it keeps them, and without its last line end. */
static uint32_t end_of_block(const struct tree *t, uint32_t content, uint32_t last)
{
	uint32_t header = content, line;
	bool keeps = false;

	while (header < last && t->text[header] != '\n' && t->text[header] != ' ')
		keeps |= t->text[header++] == '+';
	while (!keeps && last > content && t->text[last - 1] == '\n') {
		for (line = last - 1; line > content && is_blank(t->text[line - 1]) && t->text[line - 1] != '\n'; line--)
			;
		if (line == content || t->text[line - 1] != '\n')
			break;
		last = line;
	}
	if (last > content && t->text[last - 1] == '\n')
		last--;
	if (last > content && t->text[last - 1] == '\r')
		last--;
	return last;
}

static struct node *add_node(lua_State *L, struct tree *t, enum kind kind, enum style style)
{
	struct node *n;

	if (t->count >= YAML_NODES_MAX)
		yaml_refuse(L, push_name(L, 1), t->event.start_mark, "more than a million values");
	if (t->count == t->capacity)
		t->nodes = grown(L, t->nodes, &t->capacity, sizeof(*t->nodes));
	n = &t->nodes[t->count++];
	*n = (struct node){.kind = kind, .style = style, .parent = t->open, .next = t->count, .anchor = NONE, .tag = NONE,
			   .target = NONE, .line = (uint32_t)t->event.start_mark.line,
			   .column = (uint32_t)t->event.start_mark.column};
	n->first = n->content = byte_of(t, t->event.start_mark.index);
	n->last = byte_of(t, t->event.end_mark.index);
	if (t->open != NONE)
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
	n->content = skip_properties(t, n->first);
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
		n->last = end_of_block(t, n->content, n->last);
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

static const char *text_of(const struct tree *t, const struct node *n)
{
	return t->strings + n->text;
}

static uint32_t value_of_key(const struct tree *t, uint32_t key)
{
	return t->nodes[key].next;
}

static void refuse_twice(lua_State *L, const struct tree *t, const struct node *again, uint32_t line)
{
	lua_pushfstring(L, "'%s' is there already, in line %d", text_of(t, again), (int)line + 1);
	refuse(L, again->line, again->column, lua_tostring(L, -1));
}

static bool same_key(const struct tree *t, const struct node *a, const struct node *b)
{
	return a->kind == SCALAR && b->kind == SCALAR && a->length == b->length &&
	       !memcmp(text_of(t, a), text_of(t, b), a->length);
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
	for (uint32_t key = map + 1; key < t->count; key = t->nodes[value_of_key(t, key)].next) {
		const struct node *n = &t->nodes[key];

		if (n->kind != SCALAR)
			continue;
		lua_pushlstring(L, text_of(t, n), n->length);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, -3) != LUA_TNIL)
			refuse_twice(L, t, n, (uint32_t)lua_tointeger(L, -1));
		lua_pop(L, 1);
		lua_pushinteger(L, n->line);
		lua_rawset(L, -3);
	}
	lua_pop(L, 1);
}

/* A block collection ends where the last thing in it does; its own event's mark is at whatever comes next. */
static void close_collection(lua_State *L, struct tree *t)
{
	uint32_t id = t->open, child = id + 1;
	struct node *n = &t->nodes[id];

	n->next = t->count;
	if (n->style == FLOW) {
		n->last = byte_of(t, t->event.end_mark.index);
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
	d->first = t->document_count == 1 ? 0 : byte_of(t, t->event.start_mark.index);
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
	*t = (struct tree){.text = (const unsigned char *)text, .length = (uint32_t)length, .open = NONE};
	luaL_setmetatable(L, TYPE);
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

/* ---- what is asked of a tree; nodes have numbers from 1 ---- */

static struct tree *check_tree(lua_State *L)
{
	return luaL_checkudata(L, 1, TYPE);
}

static uint32_t check_node(lua_State *L, const struct tree *t, int arg)
{
	lua_Integer id = luaL_checkinteger(L, arg);

	luaL_argcheck(L, id >= 1 && id <= (lua_Integer)t->count, arg, "no node of this tree");
	return (uint32_t)id - 1;
}

static void push_string(lua_State *L, const struct tree *t, uint32_t at)
{
	lua_pushstring(L, at == NONE ? NULL : t->strings + at);
}

/* documents() -> { {root = node or nil, first = byte}, … }, at least one */
static int tree_documents(lua_State *L)
{
	struct tree *t = check_tree(L);

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
	struct tree *t = check_tree(L);
	const struct node *n = &t->nodes[check_node(L, t, 2)];

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
	struct tree *t = check_tree(L);
	uint32_t id = check_node(L, t, 2), i = 0;
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
	struct tree *t = check_tree(L);
	const struct node *n = &t->nodes[check_node(L, t, 2)];

	if (n->kind <= LIST)
		return 0;
	lua_pushlstring(L, text_of(t, n), n->length);
	return 1;
}

/* aliases() -> { alias, the node it stands for, alias, … } */
static int tree_aliases(lua_State *L)
{
	struct tree *t = check_tree(L);
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
	struct tree *t = check_tree(L);
	lua_Integer step = 0;
	int flush = -1;

	for (uint32_t i = 0; i < t->count && (step == 0 || flush < 0); i++) {
		const struct node *n = &t->nodes[i], *parent = n->parent == NONE ? NULL : &t->nodes[n->parent];

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
	if (at == NONE || bt == NONE)
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
	if (n->length != m->length || memcmp(text_of(a, n), text_of(b, m), n->length))
		return false;
	return n->kind == SCALAR || n->target < a_root || n->target - a_root == m->target - b_root;
}

/* same(id, other, other_id) -> true; or false and the line in the other text where it differs */
static int tree_same(lua_State *L)
{
	struct tree *a = check_tree(L), *b = luaL_checkudata(L, 3, TYPE);
	uint32_t i = check_node(L, a, 2), j = check_node(L, b, 4);

	for (uint32_t k = 0; i + k < a->nodes[i].next; k++)
		if (j + k >= b->count || !same_node(a, i + k, i, b, j + k, j)) {
			lua_pushboolean(L, 0);
			lua_pushinteger(L, b->nodes[j + k < b->count ? j + k : j].line + 1);
			return 2;
		}
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- values ---- */

static void push_value(lua_State *L, struct tree *t, uint32_t id, int depth);

static void check_tag(lua_State *L, const struct tree *t, const struct node *n, const char *expected)
{
	if (n->tag != NONE && strcmp(t->strings + n->tag, expected))
		refuse(L, n->line, n->column, lua_pushfstring(L, "the tag %s is not known", t->strings + n->tag));
}

static void push_scalar(lua_State *L, struct tree *t, const struct node *n)
{
	check_tag(L, t, n, YAML_STR_TAG);
	if (n->tag != NONE || n->style != PLAIN)
		lua_pushlstring(L, text_of(t, n), n->length);
	else if (!yaml_push_plain(L, text_of(t, n), n->length))
		refuse(L, n->line, n->column, YAML_TOO_LONG);
}

static void push_map(lua_State *L, struct tree *t, uint32_t id, int depth)
{
	const struct node *n = &t->nodes[id];

	check_tag(L, t, n, YAML_MAP_TAG);
	for (uint32_t key = id + 1; key < n->next; key = t->nodes[value_of_key(t, key)].next) {
		const struct node *k = &t->nodes[key];

		if (k->kind != SCALAR)
			refuse(L, k->line, k->column, "a key that is not plain text");
		if (k->style == PLAIN && !strcmp(text_of(t, k), "<<"))
			refuse(L, k->line, k->column, "merge keys are not known; quote '<<' if it is a name");
		lua_pushlstring(L, text_of(t, k), k->length);
		push_value(L, t, value_of_key(t, key), depth + 1);
		lua_rawset(L, -3);
	}
}

static void push_list(lua_State *L, struct tree *t, uint32_t id, int depth)
{
	lua_Integer index = 0;

	check_tag(L, t, &t->nodes[id], YAML_SEQ_TAG);
	luaL_setmetatable(L, YAML_ARRAY);
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
		refuse(L, n->line, n->column, "aliases unpack to more than 100 times the text");
	if (depth >= YAML_DEPTH_MAX)
		refuse(L, n->line, n->column, "nested deeper than 256 levels");
	luaL_checkstack(L, 8, NULL);
	if (n->kind == ALIAS && is_circular(t, id))
		refuse(L, n->line, n->column, lua_pushfstring(L, "&%s holds itself", text_of(t, n)));
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
static int tree_value(lua_State *L)
{
	struct tree *t = check_tree(L);
	uint32_t id = check_node(L, t, 2);

	t->pushed = 0;
	push_value(L, t, id, 0);
	return 1;
}

void yaml_open_nodes(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"documents", tree_documents}, {"node", tree_node},       {"children", tree_children},
		{"text", tree_text},           {"aliases", tree_aliases}, {"indent", tree_indent},
		{"same", tree_same},           {"value", tree_value},     {"__gc", tree_free},
		{NULL, NULL},
	};

	luaL_newmetatable(L, TYPE);
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
