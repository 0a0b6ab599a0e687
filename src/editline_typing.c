/* The thread that edits: libedit's source of keys, and what is done between two of them. */
#include "editline.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

static void tell(struct editor *e, enum event_kind kind, char *left, char *right)
{
	uv_mutex_lock(&e->lock);
	free(e->left);
	free(e->right);
	e->event = kind;
	e->left = left;
	e->right = right;
	uv_mutex_unlock(&e->lock);
	uv_async_send(&e->told);
}

static void print(struct editor *e, const char *text)
{
	fputs(text, e->out);
	fflush(e->out);
}

static void print_above(struct editor *e, const char *text)
{
	editline_screen_erase(e);
	print(e, text);
	el_set(e->el, EL_REFRESH);
}

static void redraw(struct editor *e)
{
	el_resize(e->el);
	el_set(e->el, EL_PREP_TERM, 1); /* the shell had the terminal since, perhaps */
	el_set(e->el, EL_REFRESH);
}

static void keep(char **kept, char *text)
{
	free(*kept);
	*kept = text;
}

/* Takes the texts out of an order: a line, and the same with colours. */
static void take_colours(struct editor *e, struct order *order)
{
	keep(&e->answered, order->text);
	keep(&e->painted, order->list);
	order->text = order->list = NULL;
}

/* libedit would draw at the cursor. The terminal has wrapped what stands there anew. */
static void resize(struct editor *e)
{
	editline_screen_erase(e);
	fflush(e->out);
	redraw(e);
}

static void obey_drawing(struct editor *e, struct order *order)
{
	if (order->kind == PRINT && order->text)
		print_above(e, order->text);
	else if (order->kind == RESIZE)
		resize(e);
	else if (order->kind == REDRAW)
		redraw(e);
}

/* What may come while a line is edited, or has ended. Returns whether the editing goes on. */
static bool obey(struct editor *e, struct order *order)
{
	if (order->kind == PAINT)
		take_colours(e, order);
	else if (order->kind == STOP)
		e->stopped = true;
	else if (order->kind == QUIT)
		e->quitting = true;
	else if (!e->ended)
		obey_drawing(e, order);
	else if (order->kind == PRINT && order->text)
		print(e, order->text);
	editline_order_free(order);
	return !e->stopped && !e->quitting;
}

static bool is_line(const LineInfo *line, const char *text)
{
	size_t length = (size_t)(line->lastchar - line->buffer);

	return text && strlen(text) == length && !memcmp(text, line->buffer, length);
}

/* Asks Lua for the colours of the line, once. */
static void ask_colours(struct editor *e)
{
	const LineInfo *line = el_line(e->el);

	if (is_line(line, e->asked))
		return;
	keep(&e->asked, strndup(line->buffer, (size_t)(line->lastchar - line->buffer)));
	tell(e, CHANGED, strdup(e->asked), NULL);
}

/* Gives the line its colours, where they are known; else they are asked for. Returns whether nothing is awaited. */
static bool show_colours(struct editor *e)
{
	if (!e->tells_changes || !editline_screen_may_paint(e))
		return true;
	if (!is_line(el_line(e->el), e->answered)) {
		ask_colours(e);
		return false;
	}
	if (e->painted)
		editline_screen_paint(e, e->painted);
	return true;
}

/* Gives the line that Enter left on the screen its colours, however fast it came, unless something is printed below. */
static void settle_colours(struct editor *e)
{
	enum order_kind kind = PAINT;

	e->ended = true;
	while (kind == PAINT && !show_colours(e)) {
		struct order *order = editline_order_take(e);

		kind = order ? order->kind : PAINT;
		if (order)
			obey(e, order);
	}
}

/* One byte from the terminal; 0 where the editing is over. Where none has come yet the line gets its colours. */
static int read_byte(struct editor *e, char *byte)
{
	struct pollfd files[] = {{.fd = e->pipe[0], .events = POLLIN}, {.fd = fileno(e->in), .events = POLLIN}};

	for (;;) {
		int ready = poll(files, 2, 0);

		if (ready == 0) {
			show_colours(e);
			ready = poll(files, 2, -1);
		}
		if (ready < 0)
			continue;
		if (files[0].revents) {
			struct order *order = editline_order_take(e);

			if (order && !obey(e, order))
				return 0;
		} else if (files[1].revents) {
			ssize_t count = read(fileno(e->in), byte, 1);

			if (count == 1)
				return 1;
			if (count == 0 || (errno != EINTR && errno != EAGAIN))
				return 0;
		}
	}
}

/* libedit's source of characters. What is no character is passed over. */
static int read_key(EditLine *el, wchar_t *key)
{
	mbstate_t state = {0};
	struct editor *e;
	char byte;

	el_get(el, EL_CLIENTDATA, &e);
	while (!e->stopped && !e->quitting && read_byte(e, &byte)) {
		size_t step = mbrtowc(key, &byte, 1, &state);

		if (step <= 1)
			return 1;
		if (step == (size_t)-1)
			memset(&state, 0, sizeof state);
	}
	return 0;
}

static char *prompt_of(EditLine *el)
{
	struct editor *e;

	el_get(el, EL_CLIENTDATA, &e);
	return e->prompt;
}

/* Tab: asks Lua, and waits for its answer; what is typed meanwhile waits in the terminal. */
static unsigned char complete(EditLine *el, int key)
{
	const LineInfo *line = el_line(el);
	struct order *order;
	struct editor *e;

	(void)key;
	el_get(el, EL_CLIENTDATA, &e);
	keep(&e->asked, NULL); /* one event at a time: this one may take the place of that */
	tell(e, COMPLETE, strndup(line->buffer, (size_t)(line->cursor - line->buffer)),
			strndup(line->cursor, (size_t)(line->lastchar - line->cursor)));
	while (!(order = editline_order_take(e)) || order->kind != ANSWER)
		if (order && !obey(e, order))
			return CC_EOF;
	if (order->list)
		editline_screen_list(e, order->list);
	if (order->text && *order->text)
		el_insertstr(el, order->text);
	if (order->list)
		el_set(el, EL_REFRESH);
	editline_order_free(order);
	return CC_REFRESH;
}

void editline_typing_begin(struct editor *e)
{
	el_set(e->el, EL_GETCFN, read_key);
	el_set(e->el, EL_PROMPT_ESC, prompt_of, ESCAPE);
	el_wset(e->el, EL_ADDFN, L"neap-complete", L"completes names", complete); /* el_set would leak copies of them */
	el_set(e->el, EL_BIND, "^I", "neap-complete", NULL);
}

static void begin(struct editor *e, const char *prompt)
{
	el_resize(e->el); /* nobody told of it between two lines */
	keep(&e->prompt, strdup(prompt ? prompt : ""));
	keep(&e->asked, NULL);
	keep(&e->answered, NULL);
	keep(&e->painted, NULL);
	e->ended = e->stopped = false;
}

/* The line that was typed, with its end; NULL: at the end of input, or stopped. */
static char *type_line(struct editor *e)
{
	int count = 0;
	const char *typed = el_gets(e->el, &count);
	char *line;

	if (e->stopped)
		editline_screen_leave(e);
	if (e->stopped || !typed || count <= 0)
		return NULL;
	line = strndup(typed, (size_t)count);
	settle_colours(e);
	return line;
}

static void edit(struct editor *e, const char *prompt)
{
	char *line;

	begin(e, prompt);
	line = type_line(e);
	if (e->stopped)
		keep(&line, NULL);
	tell(e, e->stopped ? STOPPED : line ? LINE : END, line, NULL);
}

void editline_typing_thread(void *editor)
{
	struct editor *e = editor;

	while (!e->quitting) {
		struct order *order = editline_order_take(e);

		if (!order)
			continue;
		if (order->kind == READ)
			edit(e, order->text);
		else if (order->kind == QUIT)
			e->quitting = true;
		else if (order->kind == PRINT && order->text)
			print(e, order->text);
		editline_order_free(order);
	}
}

