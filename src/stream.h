#ifndef NEAP_STREAM_H
#define NEAP_STREAM_H

#include <lua.h>
#include <sys/types.h>

/*
 * A running program seen through its input, output and error output, wherever it runs: a child of this process or a
 * channel of an ssh session. It stands at the start of a userdata; whoever makes one fills in the operations last, when
 * all of them work. No operation but `wait` may touch Lua, and none blocks.
 */
enum { STREAM_AGAIN = -1, STREAM_LOST = -2 };

struct stream;

struct stream_ops {
	/* > 0: that many bytes; 0: end; STREAM_AGAIN; STREAM_LOST. err: 1 reads the error output, 0 the output */
	ssize_t (*read)(struct stream *s, int err, char *buf, size_t n);
	/* >= 0: that many bytes taken; STREAM_AGAIN; STREAM_LOST, also when the program has closed its input */
	ssize_t (*write)(struct stream *s, const char *buf, size_t n);
	/* 0, STREAM_AGAIN, STREAM_LOST. May be called twice. */
	int (*close_input)(struct stream *s);
	/* 1: known, and either *status or signal_name ("TERM") is set; 0: not yet; STREAM_LOST: it will never be known
	 */
	int (*exited)(struct stream *s, int *status, char signal_name[16]);
	/*
	 * A task_wait or task_park until one of these may do more: TASK_READ output, error output or exit, TASK_WRITE
	 * input. Called only after the operation in question said STREAM_AGAIN (or 0, for `exited`). Several tasks may
	 * wait.
	 */
	int (*wait)(lua_State *L, struct stream *s, int events, lua_CFunction step);
	/* Wakes all tasks that wait: one of them took bytes that are another's. */
	void (*wake)(struct stream *s);
	/* Ends the program as well as can be done without waiting. What it still says may be read. */
	void (*cancel)(struct stream *s);
	/* Cancels what still runs, wakes all who wait, frees all. Called once; no other operation follows it. */
	void (*close)(struct stream *s);
	/* Text of the last STREAM_LOST; valid until the next operation. */
	const char *(*failure)(struct stream *s);
};

struct stream {
	const struct stream_ops *ops; /* NULL: not open yet, or closed */
};

/*
 * Pushes a new metatable of that name with the methods that all streams share: read, read_error, write, close_input,
 * wait, collect, close, and __index, __gc, __close. More may be added to it.
 */
void stream_newmetatable(lua_State *L, const char *type);

/* The open stream at arg, any userdata with such a metatable; else raises a mistake. */
struct stream *stream_check(lua_State *L, int arg);

/* collect { … } of the stream at index 1 with the options (a table, or nil) at index 2, their keys not checked. */
int stream_collect(lua_State *L);

/* The options that collect knows, for those who pass more on to it. */
#define STREAM_COLLECT_OPTIONS "input", "limit", "on_output", "timeout"

#endif
