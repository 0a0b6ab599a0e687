/* Who is woken when: a heap of the tasks that wait for a time. */
#include "task_state.h"

#include <stdlib.h>

static struct {
	struct task **tasks; /* from index 1, by wake_at */
	size_t count, slots;
} heap;

static void heap_set(size_t i, struct task *t)
{
	heap.tasks[i] = t;
	t->heap_index = i;
}

static void heap_up(size_t i)
{
	struct task *t = heap.tasks[i];

	for (; i > 1 && heap.tasks[i / 2]->wake_at > t->wake_at; i /= 2)
		heap_set(i, heap.tasks[i / 2]);
	heap_set(i, t);
}

static void heap_down(size_t i)
{
	struct task *t = heap.tasks[i];

	for (;;) {
		size_t child = 2 * i;

		if (child > heap.count)
			break;
		if (child < heap.count && heap.tasks[child + 1]->wake_at < heap.tasks[child]->wake_at)
			child++;
		if (heap.tasks[child]->wake_at >= t->wake_at)
			break;
		heap_set(i, heap.tasks[child]);
		i = child;
	}
	heap_set(i, t);
}

void task_timer_add(struct task *t)
{
	if (heap.count + 2 > heap.slots) {
		heap.slots = heap.slots ? heap.slots * 2 : 64;
		heap.tasks = task_grow(heap.tasks, heap.slots * sizeof *heap.tasks);
	}
	heap_set(++heap.count, t);
	heap_up(heap.count);
}

void task_timer_remove(struct task *t)
{
	size_t i = t->heap_index;
	struct task *last;

	if (!i)
		return;
	t->heap_index = 0;
	last = heap.tasks[heap.count--];
	if (last == t)
		return;
	heap_set(i, last);
	heap_up(i);
	heap_down(last->heap_index);
}

struct task *task_timer_first(void)
{
	return heap.count ? heap.tasks[1] : NULL;
}

void task_timers_free(void)
{
	free(heap.tasks);
}
