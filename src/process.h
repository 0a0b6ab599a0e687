#ifndef NEAP_PROCESS_H
#define NEAP_PROCESS_H

#include "stream.h"

#include <lua.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

/*
 * What the parts of native.process share: process.c (the module, this process and its machine), process_spawn.c (starting a
 * program), process_command.c (what is started: arguments, environment, program), process_child.c (a started one as a
 * stream), process_group.c (its end, with all that it started).
 */

/* ---- process_group.c ---- */

/*
 * A process and its group. Owned by its child until that is closed, then by its timer, which ends the group and takes
 * the exit status without anybody waiting for it.
 */
struct leader {
	uv_timer_t timer;
	struct leader *next, **list; /* of all whose timer runs */
	pid_t pid;                   /* 0: not started */
	int ticks, status;           /* status as waitpid gives it */
	unsigned exited : 1, leaving : 1, owned : 1;
};

/* One that is not started yet, owned by the caller. */
struct leader *process_leader_new(lua_State *L);
bool process_leader_exited(struct leader *leader);

/* Begins to end the group: TERM, KILL after 2 s. */
void process_leader_end(struct leader *leader);

/* The same, by its owner, who gives it up. */
void process_leader_release(struct leader *leader);

void process_group_open(lua_State *L);

/* ---- process_child.c ---- */

struct child {
	struct stream stream;
	struct leader *leader; /* NULL once closed */
	int in, out[2];        /* out, error output; -1 once closed */
	int events, pidfd;     /* an epoll set of all these, to wait for several at once */
	const char *failure;
};

/* Pushes one that is not started yet; from here on close frees whatever there is. */
struct child *process_child_new(lua_State *L);

/* Makes what the loop waits for of one that is started; returns 0 or an errno. */
int process_child_watch(struct child *child);

/* Closes at once, not at some later collection, what a failed start leaves. */
void process_child_give_up(struct child *child);

void process_close_fd(int *fd); /* -1 afterwards */
void process_child_open(lua_State *L);

/* ---- process_command.c ---- */

struct command {
	const char *program, *folder; /* folder: NULL for that of this process */
	char **argv, **environment;
};

/* Fills it in by the argument list at index 1 and the options at index 2; pushes what holds it. */
void process_push_command(lua_State *L, struct command *command);

/* Pushes an option of the table at index 2, or nil; returns its type. */
int process_option(lua_State *L, const char *name);
bool process_option_set(lua_State *L, const char *name);

/* ---- process_spawn.c ---- */

int process_spawn(lua_State *L);
int process_run(lua_State *L);

#endif
