#ifndef NEAP_SFTP_H
#define NEAP_SFTP_H

#include "task.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What the files of native.sftp share: one connection to a server of the file protocol (version 3), questions by id,
 * and operations that wait for answers. Only operations know Lua; connection, questions and the parts of operations do
 * not.
 */
enum {
	FXP_INIT = 1,
	FXP_VERSION = 2,
	FXP_OPEN = 3,
	FXP_CLOSE = 4,
	FXP_READ = 5,
	FXP_WRITE = 6,
	FXP_LSTAT = 7,
	FXP_FSTAT = 8,
	FXP_SETSTAT = 9,
	FXP_FSETSTAT = 10,
	FXP_OPENDIR = 11,
	FXP_READDIR = 12,
	FXP_REMOVE = 13,
	FXP_MKDIR = 14,
	FXP_RMDIR = 15,
	FXP_REALPATH = 16,
	FXP_STAT = 17,
	FXP_RENAME = 18,
	FXP_READLINK = 19,
	FXP_SYMLINK = 20,
	FXP_STATUS = 101,
	FXP_HANDLE = 102,
	FXP_DATA = 103,
	FXP_NAME = 104,
	FXP_ATTRS = 105,
	FXP_EXTENDED = 200,
	FXP_EXTENDED_REPLY = 201,
};

enum { FX_OK = 0, FX_EOF = 1, FX_MISSING = 2, FX_DENIED = 3, FX_FAILURE = 4 };

enum { FXF_READ = 1, FXF_WRITE = 2, FXF_CREAT = 8, FXF_EXCL = 32 };

enum { ATTR_SIZE = 1, ATTR_OWNER = 2, ATTR_MODE = 4, ATTR_TIMES = 8 };
#define ATTR_EXTENDED 0x80000000u

enum {
	SFTP_IN_FLIGHT = 64,        /* questions of one operation that may be open at a time */
	SFTP_CHUNK = 32 * 1024,     /* bytes of a file in one question */
	SFTP_HANDLE = 256,          /* the protocol's longest handle */
	SFTP_NAMES = 1000 * 1000,   /* in one listing or tree */
	SFTP_QUICK_MS = 60 * 1000,  /* deadline of a question */
	SFTP_LONG_MS = 3600 * 1000, /* deadline of a transfer */
	SFTP_ERROR_TEXT = 4096,     /* bytes kept of the error output */
};

/* A question and, once answered, what the server said. Belongs to who asked; see sftp_drop. */
struct request {
	struct request *next;
	struct files *files;
	struct task *task; /* woken when the answer is there */
	uint32_t id;
	unsigned answered : 1, dropped : 1;
	char *made; /* a path, malloc'ed, or NULL: the file that the answer's handle is of, removed if nobody takes it
		     */
	int type;
	unsigned char *body; /* behind the id */
	size_t length;
};

/* A connection: userdata, whose user value is the stream. Its bytes are moved by sftp_pump alone (sftp_wire.c). */
struct files {
	struct stream *stream;
	struct request *open, **open_end; /* in the order they were asked */
	struct request *limits;           /* asked at once, needed whenever it comes */
	uint32_t next_id;
	unsigned char *out; /* from out_start out_length bytes are to be written */
	size_t out_start, out_length, out_size;
	unsigned char *in;
	size_t in_length;
	char error_text[SFTP_ERROR_TEXT]; /* the end of the error output */
	size_t error_length;
	const char *broken_kind; /* NULL while it works */
	char broken[512];
	uint32_t read_size, write_size;
	int extensions;
	unsigned greeted : 1, queued : 1, ended : 1, error_ended : 1;
	struct task *running; /* who moves the bytes now, and needs no waking */
};

/* Reads what a server sent; once something does not fit, `bad` stays set and all else reads as 0. */
struct cursor {
	const unsigned char *at;
	size_t left;
	int bad;
};

struct attributes {
	uint32_t flags, uid, gid, mode, mtime;
	uint64_t size;
};

/* Why a part failed; kind NULL: it has not. */
struct failure {
	const char *kind;
	int code; /* the server's status, or -1 */
	char message[1024];
};

enum outcome { WORKING, DONE, FAILED };

/*
 * One Lua call that waits, at the start of its userdata (index 1 of its stack). `advance` asks and takes answers;
 * FAILED has filled in `failure`. `result` pushes what the call returns. `release` frees, and drops open questions.
 */
struct operation {
	struct files *files;
	struct task *task;
	struct failure failure;
	enum outcome (*advance)(struct operation *o);
	int (*result)(lua_State *L, struct operation *o);
	void (*release)(struct operation *o);
	double deadline, told;
	int callback; /* stack index of on_progress, or 0 */
	uint64_t done, total;
};

/*
 * Asks the server. fmt: z text ending in NUL, b bytes and their size_t, u uint32_t, q uint64_t. Returns NULL if there
 * is no memory; the connection is then broken, which ends the operation.
 */
struct request *sftp_ask(struct files *files, struct task *task, int type, const char *fmt, ...);

/*
 * Frees the question and sets *request to NULL. One that is still open is forgotten once it is answered. A handle that
 * nobody took is closed.
 */
void sftp_drop(struct request **request);

/* Asks without wanting to know. */
#define sftp_tell(files, type, ...)                                                   \
	do {                                                                          \
		struct request *told_ = sftp_ask((files), NULL, (type), __VA_ARGS__); \
		sftp_drop(&told_);                                                    \
	} while (0)

/* Allocates what a zeroed connection needs over that stream, and greets; false if there is no memory. */
int sftp_begin(struct files *files, struct stream *stream);
void sftp_end(struct files *files);

/* Moves the bytes that can be moved now, and wakes those whose answers come; returns whether there were any. */
int sftp_pump(struct files *files);

/* Only the writing half. */
int sftp_flush(struct files *files);

/* Nothing more can be asked or answered; the first reason counts. */
void sftp_break(struct files *files, const char *kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Whether bytes may be queued now: what is not yet written is kept small. */
int sftp_has_room(const struct files *files);

/* What the server can do beyond version 3. */
enum { SFTP_POSIX_RENAME = 1, SFTP_FSYNC = 2 };

struct cursor sftp_answer(const struct request *r);
uint32_t cursor_u32(struct cursor *c);
const char *cursor_bytes(struct cursor *c, size_t *length);
struct attributes cursor_attributes(struct cursor *c);

static inline int sftp_answered(const struct request *r)
{
	return r && r->answered;
}

/* Takes the handle that the answer to "WHAT PATH" brings, and drops the question; DONE or FAILED. */
enum outcome sftp_take_handle(struct request **request, char handle[SFTP_HANDLE], size_t *length, struct failure *f,
			      const char *what, const char *path);

/* The status of an answer; UINT32_MAX if it is none. */
uint32_t sftp_status(const struct request *r);

/* Fill in a failure and return FAILED. sftp_refused says what the server's answer to "WHAT PATH" was. */
enum outcome sftp_fail(struct failure *f, const char *kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
enum outcome sftp_refused(struct failure *f, const struct request *r, const char *what, const char *path);
enum outcome sftp_local_failed(struct failure *f, const char *what, const char *path); /* by errno */

/* "file", "directory", "link" or "other" */
const char *sftp_type(const struct attributes *a);
void sftp_push_attributes(lua_State *L, const struct attributes *a);

const char *sftp_check_path(lua_State *L, int arg);

/* Permission bits of option `name` ("0644") at table index arg; -1 if it is not there. */
int sftp_mode_option(lua_State *L, int arg, const char *name);

/* The number of option `name`, or -1. */
int sftp_owner_option(lua_State *L, int arg, const char *name);

/*
 * For a Lua call whose arguments are on the stack: puts a new operation of that size below them, zeroed but for files
 * (those at index 1) and task, closed when the call ends. sftp_run then waits for it.
 */
void *sftp_new_operation(lua_State *L, size_t size);
int sftp_run(lua_State *L, int options, int default_ms);

/* ---- one file's bytes (sftp_transfer.c; sftp_down.c, sftp_up.c; the calls in sftp_file.c) ---- */

struct slot {
	struct request *request;
	uint64_t offset;
	uint32_t length;
};

/*
 * A file on its way. Fill in the first group, and what its direction needs; then start it and advance it until it is
 * DONE or FAILED, and free it in any case. Names and descriptor stay the caller's.
 */
struct transfer {
	struct files *files;
	struct task *task;
	struct failure *failure;
	const char *path;       /* at the server */
	const char *local_path; /* for messages */
	int fd;                 /* here; -1: memory */

	/* down */
	uint64_t max; /* more bytes than that are refused */
	char *memory; /* where fd is -1; `end` bytes */
	size_t memory_size;

	/* up */
	const char *bytes;     /* where fd is -1 */
	const char *temporary; /* name in the folder of path */
	int mode, uid, gid;    /* -1: as the file that is there; else 0644, and whoever logs in */
	unsigned sync : 1, follow : 1;

	/* its own */
	enum outcome (*step)(struct transfer *t);
	struct request *request, *questions[4];
	struct attributes remote; /* what is there; up: flags 0 if nothing is */
	char handle[SFTP_HANDLE];
	size_t handle_length; /* 0: not open */
	char *real, *temporary_path;
	unsigned temporary_made : 1;
	struct slot slots[SFTP_IN_FLIGHT];
	int in_flight;
	uint64_t size, next, end, done; /* next: to be asked; end: where the server says it ends; done: bytes moved */
};

void transfer_start_down(struct transfer *t);
void transfer_start_up(struct transfer *t);
enum outcome transfer_advance(struct transfer *t);
void transfer_free(struct transfer *t);

/* For its directions. Makes this its step from now on, and calls it. */
enum outcome transfer_go(struct transfer *t, enum outcome (*step)(struct transfer *t));
struct request *transfer_ask_path(struct transfer *t, int type, const char *path);

/* Tells the server to close the handle, if there is one. */
void transfer_close(struct transfer *t);

/* One that has no question, or NULL. */
struct slot *transfer_free_slot(struct transfer *t);

/* Where a file from the server is made here: under a random name in its folder until it is complete. */
struct destination {
	int folder, fd; /* -1: not open */
	char temporary[32];
};

/* Makes the file; false and errno. */
int destination_make(struct destination *d);
/* Gives it length, the remote mode without setuid bits, and its name; false and errno. */
int destination_finish(struct destination *d, const struct transfer *t, const char *name);
/* Closes what is open; removes what is not finished. */
void destination_free(struct destination *d);

/* ---- one folder's names (sftp_list.c) ---- */

struct entry {
	char *name;
	struct attributes attributes;
};

/* Fill in the first group, start it, advance it until it is DONE (entries sorted by name) or FAILED, and free it. */
struct listing {
	struct files *files;
	struct task *task;
	struct failure *failure;
	const char *path;
	size_t max; /* names */

	enum outcome (*step)(struct listing *l);
	struct request *request, *pages[4];
	char handle[SFTP_HANDLE];
	size_t handle_length;
	struct entry *entries;
	size_t count, size;
	int ended;
};

void listing_start(struct listing *l);
enum outcome listing_advance(struct listing *l);
void listing_free(struct listing *l);

/* Methods of other files. */
int sftp_read(lua_State *L);
int sftp_download(lua_State *L);
int sftp_write(lua_State *L);
int sftp_upload(lua_State *L);
int sftp_list(lua_State *L);
int sftp_download_tree(lua_State *L);
int sftp_upload_tree(lua_State *L);

#endif
