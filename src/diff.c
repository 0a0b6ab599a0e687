/* native.diff: what differs between two texts, line by line. Myers' algorithm in linear space: from both ends at
 * once the furthest points that each number of edits reaches, split where the two meet, and again for both parts. */
#include "error.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define COMPARISON "diff.comparison"
#define CONTEXT_DEFAULT 3
#define EDITS_MAX 256 /* of one search from each end; beyond it any good split will do, not the best */

struct line {
	const char *start;
	int length; /* with its newline: a last line without one is another line */
	int class;  /* the same for lines that are the same */
};

struct side {
	struct line *lines;
	int count;
	bool *changed; /* by line: deleted here, or inserted */
	int *kept;     /* lines that may be common to both sides */
	int kept_count;
};

/* A userdata, so that an error frees it. */
struct comparison {
	struct side a, b;
	struct line **sorted;
	int *reach; /* for both searches: how far each diagonal x - y is reached */
};

/* A part of the two lists of kept lines. */
struct part {
	int a_low, a_high, b_low, b_high;
};

/* Lines from low up to high on each side. */
struct hunk {
	int a_low, a_high, b_low, b_high;
};

static int comparison_free(lua_State *L)
{
	struct comparison *c = lua_touserdata(L, 1);

	for (struct side *s = &c->a; s; s = s == &c->a ? &c->b : NULL) {
		free(s->lines);
		free(s->changed);
		free(s->kept);
	}
	free(c->sorted);
	free(c->reach);
	memset(c, 0, sizeof(*c));
	return 0;
}

static void *allocate(lua_State *L, size_t count, size_t size)
{
	void *room = calloc(count + 1, size);

	if (!room)
		luaL_error(L, "not enough memory");
	return room;
}

static int count_lines(const char *text, size_t length)
{
	int count = length > 0 && text[length - 1] != '\n';

	for (size_t i = 0; i < length; i++)
		count += text[i] == '\n';
	return count;
}

static void split_lines(lua_State *L, struct side *s, int arg)
{
	size_t length;
	const char *text = luaL_checklstring(L, arg, &length), *end = text + length;

	luaL_argcheck(L, length < INT_MAX / 4, arg, "too long to compare");
	s->count = count_lines(text, length);
	s->lines = allocate(L, s->count, sizeof(*s->lines));
	s->changed = allocate(L, s->count, sizeof(*s->changed));
	s->kept = allocate(L, s->count, sizeof(*s->kept));
	for (int i = 0; i < s->count; i++) {
		const char *newline = memchr(text, '\n', end - text);

		s->lines[i].start = text;
		s->lines[i].length = (int)((newline ? newline + 1 : end) - text);
		text += s->lines[i].length;
	}
}

static int compare_lines(const void *left, const void *right)
{
	const struct line *a = *(struct line *const *)left, *b = *(struct line *const *)right;

	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	return memcmp(a->start, b->start, a->length);
}

static bool is_in(const struct side *s, const struct line *line)
{
	return line >= s->lines && line < s->lines + s->count;
}

/* Gives the lines of sorted from low to high, which are all the same, their class. Those that one side alone has are
 * changed in any case. */
static void set_class(struct comparison *c, int low, int high)
{
	int in_a = 0;

	for (int i = low; i < high; i++) {
		c->sorted[i]->class = low;
		in_a += is_in(&c->a, c->sorted[i]);
	}
	for (int i = low; i < high; i++)
		if (in_a == high - low)
			c->a.changed[c->sorted[i] - c->a.lines] = true;
		else if (in_a == 0)
			c->b.changed[c->sorted[i] - c->b.lines] = true;
}

/* By sorting, not by hashing: no text can make it slow. */
static void classify(lua_State *L, struct comparison *c)
{
	int total = c->a.count + c->b.count, low = 0;

	c->sorted = allocate(L, total, sizeof(*c->sorted));
	for (int i = 0; i < total; i++)
		c->sorted[i] = i < c->a.count ? &c->a.lines[i] : &c->b.lines[i - c->a.count];
	qsort(c->sorted, total, sizeof(*c->sorted), compare_lines);
	for (int i = 1; i <= total; i++)
		if (i == total || compare_lines(&c->sorted[i - 1], &c->sorted[i])) {
			set_class(c, low, i);
			low = i;
		}
}

static void keep_lines(struct side *s)
{
	for (int i = 0; i < s->count; i++)
		if (!s->changed[i])
			s->kept[s->kept_count++] = i;
}

static bool same(const struct comparison *c, int x, int y)
{
	return c->a.lines[c->a.kept[x]].class == c->b.lines[c->b.kept[y]].class;
}

/* One search: the diagonals it has reached, and how far along each. */
struct search {
	int *reach; /* by diagonal, from -(kept lines of b) - 1 on */
	int low, high;
};

/* Widens the search by a diagonal on either side, or narrows it where the part ends. beyond is a reach that no
 * neighbour will prefer. */
static void widen(struct search *s, const struct part *p, int beyond)
{
	if (s->low > p->a_low - p->b_high)
		s->reach[--s->low - 1] = beyond;
	else
		s->low++;
	if (s->high < p->a_high - p->b_low)
		s->reach[++s->high + 1] = beyond;
	else
		s->high--;
}

/* One edit more from the low end. True with the split at which it meets the other search. */
static bool go_forward(const struct comparison *c, const struct part *p, struct search *f, const struct search *other,
		       int *x, int *y)
{
	bool odd = ((p->a_low - p->b_low) - (p->a_high - p->b_high)) & 1;

	widen(f, p, -1);
	for (int d = f->high; d >= f->low; d -= 2) {
		*x = f->reach[d - 1] < f->reach[d + 1] ? f->reach[d + 1] : f->reach[d - 1] + 1;
		*y = *x - d;
		while (*x < p->a_high && *y < p->b_high && same(c, *x, *y)) {
			++*x;
			++*y;
		}
		f->reach[d] = *x;
		if (odd && d >= other->low && d <= other->high && other->reach[d] <= *x)
			return true;
	}
	return false;
}

/* One edit more from the high end. */
static bool go_backward(const struct comparison *c, const struct part *p, struct search *b, const struct search *other,
			int *x, int *y)
{
	bool odd = ((p->a_low - p->b_low) - (p->a_high - p->b_high)) & 1;

	widen(b, p, INT_MAX);
	for (int d = b->high; d >= b->low; d -= 2) {
		*x = b->reach[d - 1] < b->reach[d + 1] ? b->reach[d - 1] : b->reach[d + 1] - 1;
		*y = *x - d;
		while (*x > p->a_low && *y > p->b_low && same(c, *x - 1, *y - 1)) {
			--*x;
			--*y;
		}
		b->reach[d] = *x;
		if (!odd && d >= other->low && d <= other->high && *x <= other->reach[d])
			return true;
	}
	return false;
}

/* The point furthest from the low end that the search has reached. */
static void furthest(const struct part *p, const struct search *f, int *x, int *y)
{
	int best = INT_MIN;

	for (int d = f->high; d >= f->low; d -= 2) {
		int here = f->reach[d];

		if (here <= p->a_high && here - d <= p->b_high && here + here - d > best) {
			best = here + here - d;
			*x = here;
			*y = here - d;
		}
	}
}

/* A point on a way through the part with the fewest edits; when that takes too many to look for, on a good way. */
static void find_split(const struct comparison *c, const struct part *p, int *x, int *y)
{
	int *zero = c->reach + c->b.kept_count + 1, room = c->a.kept_count + c->b.kept_count + 3;
	struct search forward = {zero, p->a_low - p->b_low, p->a_low - p->b_low};
	struct search backward = {zero + room, p->a_high - p->b_high, p->a_high - p->b_high};

	forward.reach[forward.low] = p->a_low;
	backward.reach[backward.low] = p->a_high;
	for (int edits = 1; edits <= EDITS_MAX; edits++)
		if (go_forward(c, p, &forward, &backward, x, y) || go_backward(c, p, &backward, &forward, x, y))
			return;
	furthest(p, &forward, x, y);
}

/* Leaves out what is the same at both ends. */
static void trim(const struct comparison *c, struct part *p)
{
	while (p->a_low < p->a_high && p->b_low < p->b_high && same(c, p->a_low, p->b_low)) {
		p->a_low++;
		p->b_low++;
	}
	while (p->a_low < p->a_high && p->b_low < p->b_high && same(c, p->a_high - 1, p->b_high - 1)) {
		p->a_high--;
		p->b_high--;
	}
}

static void mark(struct side *s, int low, int high)
{
	for (; low < high; low++)
		s->changed[s->kept[low]] = true;
}

static void compare(struct comparison *c, struct part p)
{
	for (trim(c, &p); p.a_low < p.a_high && p.b_low < p.b_high; trim(c, &p)) {
		int x = p.a_high, y = p.b_low;

		find_split(c, &p, &x, &y);
		compare(c, (struct part){p.a_low, x, p.b_low, y});
		p.a_low = x;
		p.b_low = y;
	}
	mark(&c->a, p.a_low, p.a_high);
	mark(&c->b, p.b_low, p.b_high);
}

/* Moves the run of changed lines that ends before end down as long as the line it leaves is the one it takes, and
 * nothing is changed there on the other side. Which of some equal lines is new is a matter of taste; this is what
 * people expect. */
static void slide_run(struct side *s, const struct side *other, int start, int end, int beside)
{
	while (end < s->count && !s->changed[end] && beside < other->count && !other->changed[beside] &&
	       s->lines[start].class == s->lines[end].class) {
		s->changed[start++] = false;
		s->changed[end++] = true;
		beside++;
	}
}

static int end_of_run(const struct side *s, int start)
{
	while (start < s->count && s->changed[start])
		start++;
	return start;
}

static void slide(struct comparison *c)
{
	struct side *a = &c->a, *b = &c->b;

	for (int x = 0, y = 0; x < a->count || y < b->count; x++, y++) {
		int x_end = end_of_run(a, x), y_end = end_of_run(b, y);

		if (x_end > x && y_end == y)
			slide_run(a, b, x, x_end, y);
		else if (y_end > y && x_end == x)
			slide_run(b, a, y, y_end, x);
		x = end_of_run(a, x);
		y = end_of_run(b, y);
	}
}

/* Pushes a comparison of the texts at indices 1 and 2. */
static struct comparison *comparison_new(lua_State *L)
{
	struct comparison *c = lua_newuserdatauv(L, sizeof(*c), 0);

	*c = (struct comparison){0};
	luaL_setmetatable(L, COMPARISON);
	lua_toclose(L, -1);
	split_lines(L, &c->a, 1);
	split_lines(L, &c->b, 2);
	classify(L, c);
	keep_lines(&c->a);
	keep_lines(&c->b);
	c->reach = allocate(L, 2 * ((size_t)c->a.kept_count + c->b.kept_count + 3), sizeof(*c->reach));
	compare(c, (struct part){0, c->a.kept_count, 0, c->b.kept_count});
	slide(c);
	return c;
}

static int unchanged_from(const struct comparison *c, int x, int y, int most)
{
	int count = 0;

	while (count < most && x + count < c->a.count && y + count < c->b.count && !c->a.changed[x + count] &&
	       !c->b.changed[y + count])
		count++;
	return count;
}

/* Finds the hunk after the one in h, which is all zero at first. Changes closer than twice the context share a hunk. */
static bool next_hunk(const struct comparison *c, struct hunk *h, int context)
{
	int before = unchanged_from(c, h->a_high, h->b_high, INT_MAX), after;
	int x = h->a_high + before, y = h->b_high + before;

	if (x == c->a.count && y == c->b.count)
		return false;
	before = before < context ? before : context;
	h->a_low = x - before;
	h->b_low = y - before;
	for (;;) {
		x = end_of_run(&c->a, x);
		y = end_of_run(&c->b, y);
		after = unchanged_from(c, x, y, 2 * context + 1);
		if (after > 2 * context || (x + after == c->a.count && y + after == c->b.count))
			break;
		x += after;
		y += after;
	}
	after = after < context ? after : context;
	h->a_high = x + after;
	h->b_high = y + after;
	return true;
}

/* Takes the next line of the hunk, whose low ends move on. Deleted lines come before those inserted in their place. */
static const struct line *next_line(const struct comparison *c, struct hunk *h, char *sign)
{
	if (h->a_low < h->a_high && c->a.changed[h->a_low]) {
		*sign = '-';
		return &c->a.lines[h->a_low++];
	}
	if (h->b_low < h->b_high && c->b.changed[h->b_low]) {
		*sign = '+';
		return &c->b.lines[h->b_low++];
	}
	if (h->a_low == h->a_high)
		return NULL;
	*sign = ' ';
	h->b_low++;
	return &c->a.lines[h->a_low++];
}

static bool has_newline(const struct line *line)
{
	return line->start[line->length - 1] == '\n';
}

/* Where a hunk starts, as people count; one without lines stands after the line before it. */
static int first_line(int low, int high)
{
	return low < high ? low + 1 : low;
}

static int check_context(lua_State *L)
{
	lua_Integer context = CONTEXT_DEFAULT;

	if (!lua_isnil(L, 3)) {
		lua_getfield(L, 3, "context");
		context = luaL_optinteger(L, -1, context);
		luaL_argcheck(L, context >= 0 && context <= INT_MAX / 4, 3, "context is a number of lines");
		lua_pop(L, 1);
	}
	return (int)context;
}

static void push_line(lua_State *L, const struct line *line, char sign)
{
	lua_createtable(L, 2, !has_newline(line));
	lua_pushlstring(L, &sign, 1);
	lua_rawseti(L, -2, 1);
	lua_pushlstring(L, line->start, line->length - has_newline(line));
	lua_rawseti(L, -2, 2);
	if (!has_newline(line)) {
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, "no_newline");
	}
}

static void set_integer(lua_State *L, const char *key, int value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, key);
}

static void push_hunk(lua_State *L, const struct comparison *c, struct hunk h)
{
	const struct line *line;
	char sign;

	lua_createtable(L, 0, 5);
	set_integer(L, "a_start", first_line(h.a_low, h.a_high));
	set_integer(L, "a_count", h.a_high - h.a_low);
	set_integer(L, "b_start", first_line(h.b_low, h.b_high));
	set_integer(L, "b_count", h.b_high - h.b_low);
	lua_newtable(L);
	for (lua_Integer i = 1; (line = next_line(c, &h, &sign)); i++) {
		push_line(L, line, sign);
		lua_rawseti(L, -2, i);
	}
	lua_setfield(L, -2, "lines");
}

/* lines(a, b [, {context = 3}]) -> hunks {a_start, a_count, b_start, b_count, lines = {{" "|"-"|"+", text, no_newline =
 * true?}…}}. Texts come without their newline; starts are as in a unified diff. */
static int diff_lines(lua_State *L)
{
	static const char *const names[] = {"context", NULL};
	struct comparison *c;
	struct hunk h = {0};
	int context;

	lua_settop(L, 3);
	error_check_options(L, 3, names);
	context = check_context(L);
	c = comparison_new(L);
	lua_newtable(L);
	for (lua_Integer i = 1; next_hunk(c, &h, context); i++) {
		push_hunk(L, c, h);
		lua_rawseti(L, -2, i);
	}
	return 1;
}

/* Adds "start,count", or the start alone of one line. */
static void add_range(luaL_Buffer *text, int low, int high)
{
	lua_pushfstring(text->L, high - low == 1 ? "%d" : "%d,%d", first_line(low, high), high - low);
	luaL_addvalue(text);
}

static void add_hunk(luaL_Buffer *text, const struct comparison *c, struct hunk h)
{
	const struct line *line;
	char sign;

	luaL_addstring(text, "@@ -");
	add_range(text, h.a_low, h.a_high);
	luaL_addstring(text, " +");
	add_range(text, h.b_low, h.b_high);
	luaL_addstring(text, " @@\n");
	while ((line = next_line(c, &h, &sign))) {
		luaL_addchar(text, sign);
		luaL_addlstring(text, line->start, line->length);
		if (!has_newline(line))
			luaL_addstring(text, "\n\\ No newline at end of file\n");
	}
}

/* The name of one side: what ends a line or a name in a patch cannot be part of it. */
static const char *check_name(lua_State *L, const char *option, const char *otherwise)
{
	const char *name = otherwise;

	if (!lua_isnil(L, 3) && lua_getfield(L, 3, option) != LUA_TNIL) {
		name = luaL_checkstring(L, -1);
		luaL_argcheck(L, *name && !strpbrk(name, "\t\n\r\"\\") && strlen(name) == lua_rawlen(L, -1), 3,
			"a name with a tab, a newline, a quote or a backslash");
	}
	return name;
}

/* A tab ends a name that holds a space. */
static void add_name(luaL_Buffer *text, const char *sign, const char *name)
{
	luaL_addstring(text, sign);
	luaL_addstring(text, name);
	luaL_addstring(text, strchr(name, ' ') ? "\t\n" : "\n");
}

/* unified(a, b [, {from = "a", to = "b", context = 3}]) -> a unified diff, for people, patch and git apply; "" when the
 * two are the same */
static int diff_unified(lua_State *L)
{
	static const char *const names[] = {"from", "to", "context", NULL};
	const char *from, *to;
	struct comparison *c;
	struct hunk h = {0};
	luaL_Buffer text;
	int context;

	lua_settop(L, 3);
	error_check_options(L, 3, names);
	context = check_context(L);
	from = check_name(L, "from", "a");
	to = check_name(L, "to", "b");
	c = comparison_new(L);
	luaL_buffinit(L, &text);
	for (bool first = true; next_hunk(c, &h, context); first = false) {
		if (first) {
			add_name(&text, "--- ", from);
			add_name(&text, "+++ ", to);
		}
		add_hunk(&text, c, h);
	}
	luaL_pushresult(&text);
	return 1;
}

int luaopen_diff(lua_State *L)
{
	static const luaL_Reg functions[] = {{"lines", diff_lines}, {"unified", diff_unified}, {NULL, NULL}};
	static const luaL_Reg comparison[] = {{"__gc", comparison_free}, {"__close", comparison_free}, {NULL, NULL}};

	luaL_newmetatable(L, COMPARISON);
	luaL_setfuncs(L, comparison, 0);
	luaL_newlib(L, functions);
	return 1;
}
