/* native.sftp: the names in a folder. What a server calls them is not trusted. */
#include "sftp.h"
#include "error.h"

#include <stdlib.h>
#include <string.h>

enum { PAGES = 4 }; /* questions in flight; a server answers each with some hundred names */

void listing_free(struct listing *l)
{
	sftp_drop(&l->request);
	for (int i = 0; i < PAGES; i++)
		sftp_drop(&l->pages[i]);
	if (l->files && l->handle_length)
		sftp_tell(l->files, FXP_CLOSE, "b", l->handle, l->handle_length);
	for (size_t i = 0; i < l->count; i++)
		free(l->entries[i].name);
	free(l->entries);
	*l = (struct listing){0};
}

/* A name must stay inside its folder and on its line. */
static int is_safe(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 127 || name[i] == '/')
			return 0;
	return length > 0;
}

static int is_dots(const char *name, size_t length)
{
	return (length == 1 || length == 2) && !memcmp(name, "..", length);
}

static struct entry *new_entry(struct listing *l)
{
	size_t size = l->size ? 2 * l->size : 64;
	struct entry *entries = l->entries;

	if (l->count == l->size) {
		entries = realloc(l->entries, size * sizeof *entries);
		if (!entries)
			return NULL;
		l->entries = entries;
		l->size = size;
	}
	entries[l->count] = (struct entry){0};
	return &entries[l->count++];
}

static enum outcome add_name(struct listing *l, const char *name, size_t length, const struct attributes *a)
{
	struct entry *entry;

	if (is_dots(name, length))
		return DONE;
	if (!is_safe(name, length))
		return sftp_fail(l->failure, "protocol",
				 "list %s: a name that is empty or holds '/' or control characters", l->path);
	if (l->count >= l->max)
		return sftp_fail(l->failure, "remote", "list %s: more than %zu names", l->path, l->max);
	entry = new_entry(l);
	if (entry)
		entry->name = strndup(name, length);
	if (!entry || !entry->name)
		return sftp_fail(l->failure, "lost", "not enough memory");
	entry->attributes = *a;
	return DONE;
}

static enum outcome take_page(struct listing *l, struct request *page)
{
	struct cursor c = sftp_answer(page);
	uint32_t count = cursor_u32(&c);

	if (sftp_status(page) == FX_EOF) {
		l->ended = 1;
		return DONE;
	}
	if (page->type != FXP_NAME)
		return sftp_refused(l->failure, page, "list", l->path);
	if (!count)
		return sftp_fail(l->failure, "protocol", "list %s: the server sent no name", l->path);
	for (; count && !c.bad; count--) {
		size_t length, unused;
		const char *name = cursor_bytes(&c, &length);
		struct attributes a;

		cursor_bytes(&c, &unused); /* the line that ls would print */
		a = cursor_attributes(&c);
		if (!c.bad && add_name(l, name, length, &a) == FAILED)
			return FAILED;
	}
	return c.bad ? sftp_fail(l->failure, "protocol", "list %s: the server's answer is cut", l->path) : DONE;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static enum outcome finish(struct listing *l)
{
	if (l->count)
		qsort(l->entries, l->count, sizeof *l->entries, by_name);
	for (size_t i = 1; i < l->count; i++)
		if (!strcmp(l->entries[i - 1].name, l->entries[i].name))
			return sftp_fail(l->failure, "protocol", "list %s: %s comes twice", l->path,
					 l->entries[i].name);
	return DONE;
}

static enum outcome reading(struct listing *l)
{
	int open = 0;

	for (int i = 0; i < PAGES; i++) {
		if (!sftp_answered(l->pages[i]))
			continue;
		if (take_page(l, l->pages[i]) == FAILED)
			return FAILED;
		sftp_drop(&l->pages[i]);
	}
	for (int i = 0; i < PAGES; i++) {
		if (!l->pages[i] && !l->ended)
			l->pages[i] = sftp_ask(l->files, l->task, FXP_READDIR, "b", l->handle, l->handle_length);
		open += l->pages[i] != NULL;
	}
	return open || !l->ended ? WORKING : finish(l);
}

static enum outcome opened(struct listing *l)
{
	if (!sftp_answered(l->request))
		return WORKING;
	if (sftp_take_handle(&l->request, l->handle, &l->handle_length, l->failure, "list", l->path) == FAILED)
		return FAILED;
	l->step = reading;
	return reading(l);
}

void listing_start(struct listing *l)
{
	l->request = sftp_ask(l->files, l->task, FXP_OPENDIR, "z", l->path);
	l->step = opened;
}

enum outcome listing_advance(struct listing *l)
{
	return l->step(l);
}

struct list {
	struct operation operation;
	struct listing listing;
};

static enum outcome list_advance(struct operation *o)
{
	return listing_advance(&((struct list *)o)->listing);
}

static void list_release(struct operation *o)
{
	listing_free(&((struct list *)o)->listing);
}

static int list_result(lua_State *L, struct operation *o)
{
	const struct listing *l = &((struct list *)o)->listing;

	lua_createtable(L, (int)l->count, 0);
	for (size_t i = 0; i < l->count; i++) {
		sftp_push_attributes(L, &l->entries[i].attributes);
		lua_pushstring(L, l->entries[i].name);
		lua_setfield(L, -2, "name");
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* files:list(path [, { timeout }]) -> { { name, type, size, mode, uid, gid, mtime }, … } by name; links are not
 * followed */
int sftp_list(lua_State *L)
{
	static const char *const options[] = {"timeout", NULL};
	const char *path = sftp_check_path(L, 2);
	struct list *list;

	lua_settop(L, 3);
	error_check_options(L, 3, options);
	list = sftp_new_operation(L, sizeof *list);
	list->listing = (struct listing){.files = list->operation.files,
					 .task = list->operation.task,
					 .failure = &list->operation.failure,
					 .path = path,
					 .max = SFTP_NAMES};
	list->operation.advance = list_advance;
	list->operation.result = list_result;
	list->operation.release = list_release;
	listing_start(&list->listing);
	return sftp_run(L, 4, SFTP_LONG_MS);
}
