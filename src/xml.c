/* native.xml: XML documents of servers to plain data, by expat. What declares a document type is refused, and with it
 * every entity of its own. */
#include "error.h"

#include <expat.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define READING "xml.reading"

enum { DEPTH_MAX = 256, NODES_MAX = 1000000 };

/* One document under way. A userdata, so that an error frees what expat holds. The element that is open is on top of the
 * Lua stack, those round it below; nothing in a callback raises. */
struct reading {
	XML_Parser parser;
	lua_State *L;
	int depth;
	long nodes;
	const char *refused; /* why no more is taken in; NULL as long as all is well */
	char *text;          /* since the last tag; its own allocation, NULL before the first */
	size_t length, size;
};

static int reading_free(lua_State *L)
{
	struct reading *r = lua_touserdata(L, 1);

	if (r->parser)
		XML_ParserFree(r->parser);
	free(r->text);
	r->parser = NULL;
	r->text = NULL;
	return 0;
}

static void refuse(struct reading *r, const char *why)
{
	if (!r->refused)
		r->refused = why;
	XML_StopParser(r->parser, XML_FALSE);
}

/*
 * The name without the prefix of a namespace: what servers of AWS send is told apart by its names alone. NULL for what is
 * no qualified name (Namespaces in XML 1.0, section 4: at most one colon, and something on both sides of it).
 */
static const char *local_name(const char *name)
{
	const char *colon = strchr(name, ':');

	if (!colon)
		return name;
	return colon == name || !colon[1] || strchr(colon + 1, ':') ? NULL : colon + 1;
}

/* An element is { name =, attributes =, its elements… }, and text = where it has none. */
static void element_began(void *context, const char *name, const char **attributes)
{
	struct reading *r = context;
	lua_State *L = r->L;
	const char *local = local_name(name);

	if (r->refused)
		return;
	if (!local) {
		refuse(r, "an element's name has a colon too many, or nothing beside it");
		return;
	}
	if (++r->depth > DEPTH_MAX || ++r->nodes > NODES_MAX) {
		refuse(r, r->depth > DEPTH_MAX ? "elements lie too deep in one another" : "it has too many elements");
		return;
	}
	if (!lua_checkstack(L, 8)) {
		refuse(r, "not enough memory");
		return;
	}
	lua_createtable(L, 0, 3);
	lua_pushstring(L, local);
	lua_setfield(L, -2, "name");
	r->length = 0;
	if (!attributes[0])
		return;
	lua_newtable(L);
	for (; attributes[0]; attributes += 2) {
		lua_pushstring(L, attributes[1]);
		lua_setfield(L, -2, attributes[0]);
	}
	lua_setfield(L, -2, "attributes");
}

static void text_came(void *context, const char *text, int length)
{
	struct reading *r = context;

	if (r->refused)
		return;
	if (r->length + (size_t)length > r->size) {
		size_t size = 2 * (r->length + (size_t)length);
		char *more = realloc(r->text, size);

		if (!more) {
			refuse(r, "not enough memory");
			return;
		}
		r->text = more;
		r->size = size;
	}
	memcpy(r->text + r->length, text, (size_t)length);
	r->length += (size_t)length;
}

static void element_ended(void *context, const char *name)
{
	struct reading *r = context;
	lua_State *L = r->L;

	(void)name;
	if (r->refused) /* an empty element ends, too, when its beginning was refused */
		return;
	if (lua_rawlen(L, -1) == 0) {
		lua_pushlstring(L, r->text ? r->text : "", r->length);
		lua_setfield(L, -2, "text");
	}
	r->length = 0;
	if (--r->depth > 0)
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static void type_declared(void *context, const char *name, const char *system, const char *public, int internal)
{
	(void)name, (void)system, (void)public, (void)internal;
	refuse(context, "it declares a document type");
}

/*
 * xml.parse(text) -> { name =, attributes =, text =, elements… }: names without prefixes, attributes only where there are
 * some, text of elements that hold no others. Raises "protocol" with "line:column: " in front on what is not one document,
 * and on what is too deep or large.
 */
static int xml_parse(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	struct reading *r = lua_newuserdatauv(L, sizeof *r, 0);
	int bottom = lua_gettop(L);

	luaL_argcheck(L, length < INT_MAX, 1, "too long");
	*r = (struct reading){.L = L};
	luaL_setmetatable(L, READING);
	r->parser = XML_ParserCreate(NULL);
	if (!r->parser)
		return luaL_error(L, "not enough memory");
	XML_SetUserData(r->parser, r);
	XML_SetElementHandler(r->parser, element_began, element_ended);
	XML_SetCharacterDataHandler(r->parser, text_came);
	XML_SetStartDoctypeDeclHandler(r->parser, type_declared);
	if (XML_Parse(r->parser, text, (int)length, 1) != XML_STATUS_OK || r->refused)
		return error_raise(L, "protocol", "%d:%d: %s", (int)XML_GetCurrentLineNumber(r->parser),
				(int)XML_GetCurrentColumnNumber(r->parser) + 1,
				r->refused ? r->refused : XML_ErrorString(XML_GetErrorCode(r->parser)));
	lua_settop(L, bottom + 1);
	return 1;
}

int luaopen_xml(lua_State *L)
{
	static const luaL_Reg functions[] = {{"parse", xml_parse}, {NULL, NULL}};

	luaL_newmetatable(L, READING);
	lua_pushcfunction(L, reading_free);
	lua_setfield(L, -2, "__gc");
	luaL_newlib(L, functions);
	return 1;
}
