/* Orders from the loop to the thread that edits, through a pipe that wakes its wait for a key. */
#include "editline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct order *new_order(enum order_kind kind, const char *text, const char *list)
{
	struct order *order = calloc(1, sizeof *order);

	if (!order)
		return NULL;
	*order = (struct order){.kind = kind, .text = text ? strdup(text) : NULL, .list = list ? strdup(list) : NULL};
	return order;
}

void editline_order_free(struct order *order)
{
	free(order->text);
	free(order->list);
	free(order);
}

void editline_order_give(struct editor *e, enum order_kind kind, const char *text, const char *list)
{
	struct order *order = new_order(kind, text, list), **last = &e->orders;

	if (!order)
		return;
	uv_mutex_lock(&e->lock);
	while (*last)
		last = &(*last)->next;
	*last = order;
	uv_mutex_unlock(&e->lock);
	while (write(e->pipe[1], "", 1) < 0 && errno == EINTR)
		;
}

struct order *editline_order_take(struct editor *e)
{
	struct order *order;
	char byte;

	while (read(e->pipe[0], &byte, 1) < 0 && errno == EINTR)
		;
	uv_mutex_lock(&e->lock);
	order = e->orders;
	if (order)
		e->orders = order->next;
	uv_mutex_unlock(&e->lock);
	return order;
}
