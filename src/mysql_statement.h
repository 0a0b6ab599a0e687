#ifndef NEAP_MYSQL_STATEMENT_H
#define NEAP_MYSQL_STATEMENT_H

#include "mysql.h"

/* Stack of every step. */
enum { STATEMENT = 1, GUARD, ROWS };

/* User values of a statement; those of a connection. */
enum { CONNECTION = 1, SQL, PARAMETERS, BINDS, COLUMNS, RESULT, USES = RESULT };
enum { NOTICES = 1 };

/* In the order in which they come; those between STARTING and DONE may be left out. CLEARING may come before any call. */
enum phase {
	STARTING,
	CLEARING,
	BEGINNING,
	PREPARING,
	ALLOWING,
	SENDING,
	READING,
	NEXT,
	FORBIDDING,
	WARNING,
	READING_WARNINGS,
	ENDING,
	DONE
};

struct statement {
	struct mysql_session **slot; /* in the connection's userdata */
	enum phase phase, then;      /* then: what comes after CLEARING */
	int wanted;                  /* what the call that is under way waits for; 0: none is */
	int code;                    /* what it returned */
	MYSQL_ROW row;
	const char *sql;
	size_t length;
	MYSQL_BIND *binds; /* NULL: sent as text */
	int parameters;
	struct mysql_row *columns;
	struct mysql_problem problem;
	int reads;
	int apart;     /* in a transaction of its own, which only reads */
	int own;       /* which has begun */
	int streaming; /* rows are handed out one by one */
	int opening;   /* until there may be a first one */
	int leaving;   /* nobody wants the rest */
	int settled;   /* the result has its rows; what still comes is left out */
	int series;    /* statements without their rows and warnings */
	int several;   /* in one text, which the server is allowed meanwhile */
	int ended;     /* results that came whole */
	int cut;       /* ended before its rows were: what the server says of that is no problem */
	int stepping;  /* a task waits in it */
	char too_much[64], mistake[128];
	int timeout_ms;
	lua_Integer rows, max_rows;
	lua_Unsigned bytes, max_bytes;
	lua_Integer affected, insert_id;
};

/* mysql_phase.c */

/* Begins the call of the phase or goes on with it; returns what it waits for, or 0 when it has ended. */
int mysql_phase_call(struct mysql_session *s, struct statement *st);

/* After that. Returns 1 where a row is handed out; it and its columns are on top then. */
int mysql_phase_ended(lua_State *L, struct mysql_session *s, struct statement *st);

/* Ends what the server still does of it; its rows are read and left out. */
void mysql_phase_cut_off(lua_State *L, struct mysql_session *s, struct statement *st);

#endif
