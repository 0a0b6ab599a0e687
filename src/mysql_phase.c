/* What a statement's phases do: the library's calls, where each leads, and what comes back. */
#include "mysql_statement.h"
#include "error.h"

#include <lauxlib.h>
#include <mysqld_error.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

enum {
	NOTICES_MOST = 1000,
	NOTICE_LONGEST = 4096, /* bytes */
	LEFT_MOST = 1000,      /* rows that are rather read than killed */
};

/* ---- the library's calls ---- */

static int query_call(struct mysql_session *s, struct statement *st, const char *sql, size_t length)
{
	if (st->wanted)
		return mysql_real_query_cont(&st->code, s->handle, st->wanted);
	return mysql_real_query_start(&st->code, s->handle, sql, length);
}

static int text_call(struct mysql_session *s, struct statement *st, const char *sql)
{
	return query_call(s, st, sql, strlen(sql));
}

static int send_call(struct mysql_session *s, struct statement *st)
{
	if (!st->binds)
		return query_call(s, st, st->sql, st->length);
	if (st->wanted)
		return mysql_stmt_execute_cont(&st->code, s->stmt, st->wanted);
	return mysql_stmt_execute_start(&st->code, s->stmt);
}

static int prepare_call(struct mysql_session *s, struct statement *st)
{
	if (st->wanted)
		return mysql_stmt_prepare_cont(&st->code, s->stmt, st->wanted);
	return mysql_stmt_prepare_start(&st->code, s->stmt, st->sql, st->length);
}

static int row_call(struct mysql_session *s, struct statement *st)
{
	if (st->binds && st->phase == READING)
		return st->wanted ? mysql_stmt_fetch_cont(&st->code, s->stmt, st->wanted)
				  : mysql_stmt_fetch_start(&st->code, s->stmt);
	return st->wanted ? mysql_fetch_row_cont(&st->row, s->result, st->wanted)
			  : mysql_fetch_row_start(&st->row, s->result);
}

static int next_call(struct mysql_session *s, struct statement *st)
{
	if (st->binds)
		return st->wanted ? mysql_stmt_next_result_cont(&st->code, s->stmt, st->wanted)
				  : mysql_stmt_next_result_start(&st->code, s->stmt);
	return st->wanted ? mysql_next_result_cont(&st->code, s->handle, st->wanted)
			  : mysql_next_result_start(&st->code, s->handle);
}

static int option_call(struct mysql_session *s, struct statement *st, enum enum_mysql_set_option option)
{
	return st->wanted ? mysql_set_server_option_cont(&st->code, s->handle, st->wanted)
			  : mysql_set_server_option_start(&st->code, s->handle, option);
}

int mysql_phase_call(struct mysql_session *s, struct statement *st)
{
	ERR_clear_error(); /* what another connection left there would be taken for this one's end */
	switch (st->phase) {
	case CLEARING: return text_call(s, st, "do 0");
	case BEGINNING: return text_call(s, st, "start transaction read only");
	case PREPARING: return prepare_call(s, st);
	case ALLOWING: return option_call(s, st, MYSQL_OPTION_MULTI_STATEMENTS_ON);
	case SENDING: return send_call(s, st);
	case READING:
	case READING_WARNINGS: return row_call(s, st);
	case NEXT: return next_call(s, st);
	case FORBIDDING: return option_call(s, st, MYSQL_OPTION_MULTI_STATEMENTS_OFF);
	case WARNING: return text_call(s, st, "show warnings");
	case ENDING: return text_call(s, st, st->problem.number ? "rollback" : "commit");
	case STARTING:
	case DONE: break;
	}
	return 0;
}

/* ---- from phase to phase ---- */

static void free_result(struct mysql_session *s)
{
	if (s->result)
		mysql_free_result(s->result);
	s->result = NULL;
}

static void close_statement(struct mysql_session *s)
{
	free_result(s);
	if (s->stmt)
		mysql_stmt_close(s->stmt);
	s->stmt = NULL;
}

static void read_problem(const struct mysql_session *s, const struct statement *st, struct mysql_problem *p)
{
	int of_statement = st->binds && s->stmt && st->phase >= PREPARING && st->phase <= NEXT;

	if (of_statement && mysql_stmt_errno(s->stmt)) /* what breaks a row off is told of the connection */
		mysql_note(p, mysql_stmt_errno(s->stmt), mysql_stmt_sqlstate(s->stmt), mysql_stmt_error(s->stmt));
	else
		mysql_note(p, mysql_errno(s->handle), mysql_sqlstate(s->handle), mysql_error(s->handle));
}

/* Notes what went wrong; where that was the connection's end, raises it. */
static void note_failure(lua_State *L, struct mysql_session *s, struct statement *st)
{
	struct mysql_problem now = {0};

	read_problem(s, st, &now);
	if (!st->problem.number)
		st->problem = now;
	if (!mysql_problem_is_lost(&now))
		return;
	mysql_session_break(s, now.text);
	mysql_problem_raise(L, &now, 0);
}

static void end(struct statement *st)
{
	st->phase = st->several ? FORBIDDING : st->own ? ENDING : DONE;
}

/* What we have killed is killed, also where the server made a success of it. */
static void note_cancel(struct mysql_session *s, struct statement *st)
{
	if (!s->killed || st->cut)
		return;
	mysql_note(&st->problem, ER_QUERY_INTERRUPTED, "70100", "the statement was cancelled");
}

/* The statement itself has ended, well or not. */
static void statement_ended(struct mysql_session *s, struct statement *st)
{
	int warnings = (int)mysql_warning_count(s->handle);

	if (s->stmt && mysql_stmt_warning_count(s->stmt) > warnings)
		warnings = mysql_stmt_warning_count(s->stmt);
	close_statement(s);
	note_cancel(s, st);
	if (st->cut)
		st->problem = (struct mysql_problem){0};
	end(st);
	if (!warnings || st->problem.number || st->cut || st->series)
		return;
	s->notices_lost += warnings; /* until they are read: the server keeps the first of them alone */
	if (s->notices < NOTICES_MOST)
		st->phase = WARNING;
}

static void statement_failed(lua_State *L, struct mysql_session *s, struct statement *st)
{
	note_failure(L, s, st);
	statement_ended(s, st);
}

static void result_ended(struct mysql_session *s, struct statement *st)
{
	int more = st->binds ? mysql_stmt_more_results(s->stmt) : mysql_more_results(s->handle);

	free_result(s);
	st->ended++;
	if (st->series) /* the server keeps them of its last statement alone */
		s->notices_lost += (int)mysql_warning_count(s->handle);
	if (more)
		st->phase = NEXT;
	else
		statement_ended(s, st);
}

/* ---- what comes back ---- */

static void note_counts(struct mysql_session *s, struct statement *st)
{
	my_ulonglong affected = st->binds ? mysql_stmt_affected_rows(s->stmt) : mysql_affected_rows(s->handle);
	my_ulonglong id = st->binds ? mysql_stmt_insert_id(s->stmt) : mysql_insert_id(s->handle);

	if (affected != (my_ulonglong)-1)
		st->affected += (lua_Integer)affected;
	if (id)
		st->insert_id = (lua_Integer)id;
}

/* The columns of the first result that has some are the statement's. */
static void keep_columns(lua_State *L, struct mysql_session *s, struct statement *st, MYSQL_RES *about)
{
	unsigned count = mysql_num_fields(about);

	lua_getiuservalue(L, STATEMENT, RESULT);
	mysql_push_columns(L, mysql_fetch_fields(about), count);
	lua_setfield(L, -3, "types");
	lua_setfield(L, -2, "columns");
	lua_pop(L, 1);
	if (!st->binds)
		return;
	st->columns = mysql_row_new(L, mysql_fetch_fields(about), count);
	lua_setiuservalue(L, STATEMENT, COLUMNS);
	if (mysql_stmt_bind_result(s->stmt, mysql_row_binds(st->columns)))
		note_failure(L, s, st);
}

/* A result has begun: with columns its rows come next. */
static void result_began(lua_State *L, struct mysql_session *s, struct statement *st)
{
	unsigned count = st->binds ? mysql_stmt_field_count(s->stmt) : mysql_field_count(s->handle);

	if (count == 0) {
		note_counts(s, st);
		result_ended(s, st);
		return;
	}
	s->result = st->binds ? mysql_stmt_result_metadata(s->stmt) : mysql_use_result(s->handle);
	if (!s->result) {
		note_failure(L, s, st);
		error_raise(L, "protocol", "%s", st->problem.text);
	}
	st->phase = READING;
	if (!st->settled)
		keep_columns(L, s, st, s->result);
}

void mysql_phase_cut_off(lua_State *L, struct mysql_session *s, struct statement *st)
{
	st->settled = st->cut = 1;
	if (s->killed || mysql_session_kill(s, 0))
		s->killed = 1;
	else
		error_raise(L, "lost", "a statement was left before its end");
}

/* The row on top goes where it belongs. Returns 1 where it is handed out, with its columns. */
static int keep_row(lua_State *L, struct mysql_session *s, struct statement *st, size_t bytes)
{
	if (st->streaming) {
		lua_getiuservalue(L, STATEMENT, RESULT);
		return 1;
	}
	st->bytes += bytes;
	if (++st->rows <= st->max_rows && st->bytes <= st->max_bytes) {
		lua_rawseti(L, ROWS, st->rows);
		return 0;
	}
	lua_pop(L, 1);
	if (st->rows > st->max_rows)
		snprintf(st->too_much, sizeof st->too_much, "more than %lld rows", (long long)st->max_rows);
	else
		snprintf(st->too_much, sizeof st->too_much, "more than %llu bytes", (unsigned long long)st->max_bytes);
	if (st->reads)
		mysql_phase_cut_off(L, s, st);
	st->settled = 1; /* what changes something is not ended for its many rows */
	return 0;
}

static int row_came(lua_State *L, struct mysql_session *s, struct statement *st)
{
	int none = st->binds ? st->code == MYSQL_NO_DATA : !st->row && !mysql_errno(s->handle);
	int failed = st->binds ? st->code == 1 : !st->row;

	if (none) {
		st->settled = 1;
		result_ended(s, st);
		return 0;
	}
	if (failed) {
		statement_failed(L, s, st);
		return 0;
	}
	if (st->settled) {
		if (st->leaving && !st->cut && ++st->rows > LEFT_MOST)
			mysql_phase_cut_off(L, s, st);
		return 0;
	}
	return keep_row(L, s, st, st->binds ? mysql_push_bound_row(L, s->stmt, st->columns)
					    : mysql_push_text_row(L, s->result, st->row));
}

static void keep_warning(lua_State *L, struct mysql_session *s, struct statement *st)
{
	if (s->notices >= NOTICES_MOST || mysql_num_fields(s->result) < 3 || !st->row[0] || !st->row[1] || !st->row[2])
		return;
	lua_getiuservalue(L, STATEMENT, CONNECTION);
	lua_getiuservalue(L, -1, NOTICES);
	lua_pushfstring(L, "%s: %s (%s)", st->row[0], st->row[2], st->row[1]);
	if (lua_rawlen(L, -1) > NOTICE_LONGEST) {
		lua_pushlstring(L, lua_tostring(L, -1), NOTICE_LONGEST);
		lua_replace(L, -2);
	}
	lua_rawseti(L, -2, ++s->notices);
	s->notices_lost--;
	lua_pop(L, 2);
}

static void warning_came(lua_State *L, struct mysql_session *s, struct statement *st)
{
	if (st->row) {
		keep_warning(L, s, st);
		return;
	}
	if (mysql_errno(s->handle))
		note_failure(L, s, st);
	free_result(s);
	end(st);
}

static void warnings_began(lua_State *L, struct mysql_session *s, struct statement *st)
{
	if (!st->code)
		s->result = mysql_use_result(s->handle);
	if (s->result) {
		st->phase = READING_WARNINGS;
		return;
	}
	note_failure(L, s, st);
	end(st);
}

/* The statement was understood. */
static void prepared(lua_State *L, struct mysql_session *s, struct statement *st)
{
	int wanted = (int)mysql_stmt_param_count(s->stmt);

	if (wanted != st->parameters) {
		snprintf(st->mistake, sizeof st->mistake, "the statement takes %d values, got %d", wanted,
			 st->parameters);
		statement_ended(s, st);
		return;
	}
	if (mysql_stmt_bind_param(s->stmt, st->binds))
		note_failure(L, s, st);
	st->phase = SENDING;
}

/* The first call with the statement itself. */
static void take_up(lua_State *L, struct mysql_session *s, struct statement *st)
{
	st->phase = st->binds ? PREPARING : st->several ? ALLOWING : SENDING;
	if (!st->binds)
		return;
	s->stmt = mysql_stmt_init(s->handle);
	if (!s->stmt)
		luaL_error(L, "not enough memory");
}

int mysql_phase_ended(lua_State *L, struct mysql_session *s, struct statement *st)
{
	switch (st->phase) {
	case STARTING:
		if (st->apart)
			st->phase = BEGINNING;
		else
			take_up(L, s, st);
		break;
	case CLEARING:
		if (st->code && mysql_errno(s->handle) != ER_QUERY_INTERRUPTED)
			note_failure(L, s, st);
		st->phase = st->then;
		break;
	case BEGINNING:
		if (st->code) {
			note_failure(L, s, st);
			st->phase = DONE;
		} else {
			st->own = 1;
			take_up(L, s, st);
		}
		break;
	case PREPARING:
		if (st->code)
			statement_failed(L, s, st);
		else
			prepared(L, s, st);
		break;
	case ALLOWING:
		if (st->code)
			note_failure(L, s, st);
		st->phase = st->code ? DONE : SENDING;
		break;
	case SENDING:
	case NEXT:
		if (st->code)
			statement_failed(L, s, st);
		else
			result_began(L, s, st);
		break;
	case READING:
		return row_came(L, s, st);
	case WARNING:
		warnings_began(L, s, st);
		break;
	case READING_WARNINGS:
		warning_came(L, s, st);
		break;
	case FORBIDDING:
	case ENDING:
		if (st->code)
			note_failure(L, s, st);
		st->phase = DONE;
		break;
	case DONE:
		break;
	}
	return 0;
}
