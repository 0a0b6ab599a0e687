#ifndef NEAP_EDITLINE_H
#define NEAP_EDITLINE_H

#include <histedit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <uv.h>

#define ESCAPE '\1' /* stands round what takes no column, in a prompt and in a line with colours */

enum order_kind { READ, ANSWER, PAINT, PRINT, STOP, RESIZE, REDRAW, QUIT };

struct order {
	enum order_kind kind;
	char *text, *list; /* each may be NULL; freed with the order */
	struct order *next;
};

enum event_kind { NONE, LINE, END, STOPPED, COMPLETE, CHANGED };

struct editor {
	EditLine *el;
	History *history;
	FILE *in, *out;
	int pipe[2];
	uv_thread_t thread;
	uv_async_t told;
	uv_signal_t resized, continued;
	int handles;          /* of the loop that are not closed yet; the last one to close frees all */
	uv_mutex_t lock;
	struct order *orders; /* under the lock, as are event, left and right */
	enum event_kind event;
	char *left, *right;   /* a line that was typed; or what stands at both sides of the cursor */
	char *prompt;         /* the thread's while it reads */
	bool tells_changes;   /* the line is painted; set once */
	char *asked;          /* the thread's, as are the next five: the line whose colours were asked for; NULL: none */
	char *answered, *painted; /* a line, and the same with colours; NULL: none came yet */
	bool ended;           /* by Enter: the cursor stands in the row below the line */
	bool stopped, quitting;
	bool reading;         /* between READ and LINE, END or STOPPED; the loop's, as is the next */
	struct task *waiting; /* NULL while nobody waits for an event */
};

/* editline_order.c: what the loop tells the thread */

/* Adds an order and wakes the thread. Each text may be NULL, and is copied. */
void editline_order_give(struct editor *e, enum order_kind kind, const char *text, const char *list);

/* Waits for the next order, which may be NULL; to be freed. */
struct order *editline_order_take(struct editor *e);

void editline_order_free(struct order *order);

/* editline_typing.c: the thread */

/* Gives libedit its source of keys, the prompt, and Tab. */
void editline_typing_begin(struct editor *e);

void editline_typing_thread(void *editor);

/* editline_screen.c: what stands on the screen while the thread reads a key */

/* Takes prompt and line off it: the cursor then stands where the prompt began. */
void editline_screen_erase(struct editor *e);

/* Puts the cursor behind the line. */
void editline_screen_leave(struct editor *e);

/* The candidates, below the line as it stands; what is edited is then to be drawn anew. */
void editline_screen_list(struct editor *e, const char *list);

/* Whether the line can be written over with colours: it fits, and libedit counts its columns as the terminal does. */
bool editline_screen_may_paint(struct editor *e);

/* Writes a line with colours over itself, where it still is that line. */
void editline_screen_paint(struct editor *e, const char *painted);

#endif
