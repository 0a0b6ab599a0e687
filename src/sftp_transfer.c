/* A file on its way, in either direction: its steps, its open questions, and what is left of it when it is freed. */
#include "sftp.h"

#include <stdlib.h>

enum outcome transfer_go(struct transfer *t, enum outcome (*step)(struct transfer *t))
{
	t->step = step;
	return step(t);
}

enum outcome transfer_advance(struct transfer *t)
{
	return t->step(t);
}

struct request *transfer_ask_path(struct transfer *t, int type, const char *path)
{
	return sftp_ask(t->files, t->task, type, "z", path);
}

void transfer_close(struct transfer *t)
{
	if (t->handle_length)
		sftp_tell(t->files, FXP_CLOSE, "b", t->handle, t->handle_length);
	t->handle_length = 0;
}

void transfer_free(struct transfer *t)
{
	for (int i = 0; i < SFTP_IN_FLIGHT; i++)
		sftp_drop(&t->slots[i].request);
	for (int i = 0; i < 4; i++)
		sftp_drop(&t->questions[i]);
	sftp_drop(&t->request);
	if (t->files) {
		transfer_close(t);
		/* after a rename that is still on its way this finds nothing to remove, for questions keep their order
		 */
		if (t->temporary_made)
			sftp_tell(t->files, FXP_REMOVE, "z", t->temporary_path);
	}
	free(t->memory);
	free(t->real);
	free(t->temporary_path);
	t->memory = t->real = t->temporary_path = NULL;
	t->temporary_made = 0;
}

struct slot *transfer_free_slot(struct transfer *t)
{
	for (int i = 0; i < SFTP_IN_FLIGHT; i++)
		if (!t->slots[i].request)
			return &t->slots[i];
	return NULL;
}
