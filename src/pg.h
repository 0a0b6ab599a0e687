#ifndef NEAP_PG_H
#define NEAP_PG_H

#include <lua.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * What the parts of native.pg share: pg.c (connections), pg_connect.c (settings, names, the first exchange),
 * pg_talk.c (an exchange with the server, and its errors), pg_query.c (statements), pg_series.c (many at once),
 * pg_copy.c (COPY), pg_parameter.c and pg_value.c (values on their way there and back).
 *
 * A connection serves one operation at a time. An operation that is left before its end (a timeout, a cancel, a loop
 * that is broken off) gives the connection up: the server is asked to end the statement, and the connection is
 * closed. So what is open is always at rest, and nothing that was given up goes on.
 */
#define PG_CONNECTION "pg.connection"

enum { PG_READ_MS = 60 * 1000, PG_CHANGE_MS = 3600 * 1000, PG_CONNECT_MS = 15 * 1000, PG_NOTICES_MOST = 1000 };

struct pg_connection;

/* What an exchange calls; returns how many values on the stack go to the caller. */
typedef int pg_callback(lua_State *L, struct pg_connection *c);

struct pg_connection {
	PGconn *pg;       /* NULL once closed */
	PGresult *result; /* kept here, not in a local: a Lua error would leak a local */
	PGresult *failed; /* the first error of the operation, or NULL */
	int fd;           /* of the socket while the loop may watch it, else -1 */
	int silence_ms;   /* that the peer may leave unacknowledged once connected; -1: as it was set from the beginning */
	bool busy;        /* an operation is under way */
	bool talking;     /* a task waits for the server's answer, or was to */
	bool waiting;     /* the server has something to do, so that it is asked to stop when the operation is given up */

	/* of the exchange under way; see pg_talk */
	pg_callback *on_result, *then;

	/* of the operation under way */
	bool own_transaction; /* the statement stands in `begin read only` of its own */
	bool changing;
	lua_Integer rows, bytes, most_rows, most_bytes;
	int results, timeout_ms;

	/* of a copy */
	char *row;        /* of libpq, while it is taken over; else NULL */
	size_t sent;      /* bytes of the chunk */
	bool copied;      /* `rows` of them, as the server says */
	bool broken_off;  /* the rows could not be had */

	char *notices[PG_NOTICES_MOST];
	size_t notice_count, notices_lost;
};

/* ---- pg.c ---- */

/* The open connection at index 1; raises a mistake where it is closed. */
struct pg_connection *pg_check(lua_State *L);

/* The same for a step: raises "lost" where another task has closed it meanwhile. */
struct pg_connection *pg_open(lua_State *L);

/*
 * Begins an operation: pushes a guard that gives the connection up unless pg_end comes first. Raises a mistake where
 * another task uses the connection. The guard closes when the C function returns.
 */
void pg_begin(lua_State *L, struct pg_connection *c);
void pg_end(struct pg_connection *c);

/* The guard at the index guards no longer: whoever goes on with the operation has taken over. */
void pg_disarm(lua_State *L, int guard);

/* Whether a transaction is open, also one that has failed. */
bool pg_in_transaction(const struct pg_connection *c);

/* Asks the server to end what runs and closes the connection, without waiting. */
void pg_give_up(struct pg_connection *c);

/* Keeps c->fd to the socket that libpq has: it closes it by itself. To be called after each of its calls that talk. */
void pg_follow_socket(struct pg_connection *c);

/* Keeps a notice of the connection: a PQnoticeReceiver. */
void pg_noticed(void *connection, const PGresult *notice);

/* ---- pg_connect.c ---- */

int pg_connect(lua_State *L);
void pg_connect_open(lua_State *L);

/* ---- pg_talk.c ---- */

/*
 * Waits for the results of what was sent; a step, with the connection at index 1. on_result gets each of them in
 * c->result and says how many values on the stack go to the caller at once, 0: go on. Errors are kept in c->failed.
 * When all are in, `then` is called and its return value returned.
 */
int pg_talk(lua_State *L);

/* The same for what was sent just now: nothing can have come yet, so nothing is read before the wait. */
int pg_await(lua_State *L, struct pg_connection *c);

/* A task_wait for the connection's socket. */
int pg_wait(lua_State *L, struct pg_connection *c, int events, lua_CFunction step);

/* Sends by the simple protocol, in which a text without parameters goes, and talks. */
int pg_say(lua_State *L, struct pg_connection *c, const char *text, pg_callback *then);

/* Whether what c->failed says ends the session. */
bool pg_is_lost(const struct pg_connection *c);

/* Pushes what c->failed says, with its place in sql, of which position counts the characters; NULL or 0: without. */
void pg_push_failed(lua_State *L, struct pg_connection *c, const char *sql, long position);

/* Where in the statement the server found fault: counts its characters from 1; 0: it does not say. */
long pg_position(const struct pg_connection *c);

/* Raises what c->failed says; sql: the statement, by which a position becomes a line and a column, or NULL. */
int pg_raise_failed(lua_State *L, struct pg_connection *c, const char *sql);

/* Raises "lost" with libpq's own message. */
int pg_raise_lost(lua_State *L, struct pg_connection *c);

/*
 * Pushes the lines of libpq's message as one, without those that only say where in the server it was written, and
 * the SQLSTATE in it, or nil.
 */
void pg_push_message(lua_State *L, const char *message);

/* ---- pg_query.c ---- */

int pg_query(lua_State *L);
int pg_execute(lua_State *L);
int pg_simple(lua_State *L);
int pg_rows(lua_State *L);
void pg_query_open(lua_State *L);

/*
 * What reads needs leave to change, too, inside a transaction that was begun before: that may write. Raises
 * "denied".
 */
void pg_may_read(lua_State *L, const char *what);

/* Begins a transaction that cannot write, by that text, unless one is open; then `start`. */
int pg_start_reading(lua_State *L, struct pg_connection *c, const char *begin, pg_callback *start);

/* Ends a transaction of its own and goes on with `then`. */
int pg_end_reading(lua_State *L, struct pg_connection *c, pg_callback *then);

/* The text at arg, which libpq takes up to a NUL: raises a mistake where there is one. */
const char *pg_check_text(lua_State *L, int arg);

/* ---- pg_series.c ---- */

int pg_series(lua_State *L);

/* ---- pg_copy.c ---- */

int pg_copy_out(lua_State *L);
int pg_copy_in(lua_State *L);

/* ---- pg_parameter.c ---- */

/* Parameters as libpq takes them; a userdata that holds and wipes them. */
struct pg_parameters {
	int count;
	char **values; /* owned */
	int *lengths, *formats;
	Oid *types;
	size_t *sizes; /* of the values, for wiping */
};

/* Pushes those of the list at arg, or of none. Raises a mistake that names the first that has no form. */
struct pg_parameters *pg_push_parameters(lua_State *L, int arg);
int pg_bytes(lua_State *L);
int pg_array(lua_State *L);
void pg_parameter_open(lua_State *L);

/* ---- pg_value.c ---- */

/* Pushes the value at row, column of the result. */
void pg_push_value(lua_State *L, const PGresult *result, int row, int column);

/* Pushes a type's name, or its number where the name is not known here. */
void pg_push_type(lua_State *L, Oid type);

#endif
