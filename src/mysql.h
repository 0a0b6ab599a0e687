#ifndef NEAP_MYSQL_H
#define NEAP_MYSQL_H

#include "secret.h"

#include <lua.h>
#include <mysql.h>

/* ---- between the files of this module ---- */

#define MYSQL_CONNECTION "mysql.connection"
#define MYSQL_STATEMENT  "mysql.statement"
#define MYSQL_BYTES      "mysql.bytes"

/* An error of the server or of the library; number 0: there is none. */
struct mysql_problem {
	unsigned number;
	char state[8]; /* SQLSTATE */
	char text[512];
};

enum mysql_tls { MYSQL_TLS_OFF, MYSQL_TLS_PREFER, MYSQL_TLS_REQUIRE };

enum {
	LOGIN_HOST,
	LOGIN_SOCKET,
	LOGIN_DATABASE,
	LOGIN_USER,
	LOGIN_CA,
	LOGIN_CERT,
	LOGIN_KEY,
	LOGIN_DEFAULTS,
	LOGIN_TEXTS
};

/* What it takes to connect, and to connect once more for ending a statement. Read by worker threads, changed by none. */
struct mysql_login {
	char *texts[LOGIN_TEXTS]; /* NULL where none is given */
	struct locked password;   /* ends with a NUL; bytes is NULL where none is given */
	unsigned port;            /* 0: none is given */
	unsigned timeout_s;
	enum mysql_tls tls;
	int verify;
};

/* A userdata in the registry: how many workers are at work. At the end of the Lua state they are waited for. */
struct mysql_world {
	int workers;
};

/* Lives on the heap, for a worker may still use it when its userdata is gone. */
struct mysql_session {
	struct mysql_world *world;
	MYSQL *handle;      /* NULL before it is connected and once it is closed */
	MYSQL_STMT *stmt;   /* of the statement that runs; both NULL between statements */
	MYSQL_RES *result;
	struct mysql_login login;
	struct mysql_problem problem; /* of connecting, by the worker */
	int uses;                     /* the userdata and each worker */
	int bell;                     /* a descriptor that is never ready: who waits for a worker waits for it */
	int fd;                       /* a copy of the socket, for the library closes its own when it likes; or -1 */
	unsigned long thread;         /* the server's number of the connection */
	char identity[512];           /* which server, and which client it sees; empty where it does not say */
	int connecting, killings;     /* workers under way */
	int busy;                     /* a statement is under way */
	int killed;                   /* the statement under way was cancelled, whatever the server says of it */
	int stale_kill;               /* a KILL QUERY may still lie there, for the next statement */
	int notices, notices_lost;    /* how many warnings are kept, and how many there were besides */
	int closed;                   /* by its owner */
	char broken[512];             /* why it can be used no more; empty while it can */
};

/* mysql_connect.c: the login, the connection made by a worker thread, and the second one that kills */
void mysql_login_read(lua_State *L, struct mysql_login *login, int settings);
void mysql_session_connect(lua_State *L, struct mysql_session *s);
/* Ends the statement under way, or with it the connection, in the background. 0: no worker could be had. */
int mysql_session_kill(struct mysql_session *s, int connection);
/* Closes the connection at once. why: what is said of it from now on. */
void mysql_session_break(struct mysql_session *s, const char *why);
void mysql_session_release(struct mysql_session *s);

/* mysql_statement.c and mysql_phase.c */
int mysql_connection_query(lua_State *L);
int mysql_connection_execute(lua_State *L);
int mysql_connection_rows(lua_State *L);
int mysql_connection_series(lua_State *L);
void mysql_statement_register(lua_State *L);

/* mysql_value.c: values to the server and back */
struct mysql_row; /* where a prepared statement puts a row */
/* Pushes a userdata with the values of the list at the index, and a list that keeps them alive. */
MYSQL_BIND *mysql_bind_parameters(lua_State *L, int list, int count);
/* Pushes a userdata for the columns of a result. */
struct mysql_row *mysql_row_new(lua_State *L, MYSQL_FIELD *fields, unsigned count);
MYSQL_BIND *mysql_row_binds(struct mysql_row *row);
/* Pushes the list of a row's values; returns how many bytes they take. */
size_t mysql_push_text_row(lua_State *L, MYSQL_RES *result, MYSQL_ROW row);
size_t mysql_push_bound_row(lua_State *L, MYSQL_STMT *stmt, struct mysql_row *row);
/* Pushes the lists of the columns' names and of their types. */
void mysql_push_columns(lua_State *L, const MYSQL_FIELD *fields, unsigned count);

/* mysql_reads.c: NULL where the statement is one of those that can only read, else why it is not. backslashes: in texts */
const char *mysql_not_a_read(lua_State *L, const char *sql, size_t length, int backslashes);

/* mysql.c: error objects */
void mysql_note(struct mysql_problem *p, unsigned number, const char *state, const char *text);
int mysql_problem_is_lost(const struct mysql_problem *p);
void mysql_problem_push(lua_State *L, const struct mysql_problem *p, int connecting);
int mysql_problem_raise(lua_State *L, const struct mysql_problem *p, int connecting);
struct mysql_session *mysql_session_check(lua_State *L);

#endif
