/* Which statements can only read. A read-only transaction refuses what writes to tables, and lets through what needs none. */
#include "mysql.h"

#include <ctype.h>
#include <string.h>

enum { WORD = 16 };

struct scan {
	const char *at, *end;
	int backslashes; /* in texts */
};

static int begins(const struct scan *s, const char *text)
{
	size_t length = strlen(text);

	return (size_t)(s->end - s->at) >= length && !memcmp(s->at, text, length);
}

static void skip_past(struct scan *s, const char *text)
{
	const char *found = memmem(s->at, (size_t)(s->end - s->at), text, strlen(text));

	s->at = found ? found + strlen(text) : s->end;
}

static int is_dashes(const struct scan *s)
{
	return begins(s, "--") && (s->at + 2 == s->end || (unsigned char)s->at[2] <= ' ');
}

static int skip_space(struct scan *s)
{
	const char *from = s->at;

	if (begins(s, "/*"))
		skip_past(s, "*/");
	else if (begins(s, "#") || is_dashes(s))
		skip_past(s, "\n");
	else
		while (s->at < s->end && isspace((unsigned char)*s->at))
			s->at++;
	return s->at > from;
}

static void skip_quoted(struct scan *s)
{
	char quote = *s->at++;

	while (s->at < s->end && *s->at != quote)
		s->at += 1 + (*s->at == '\\' && quote != '`' && s->backslashes && s->at + 1 < s->end);
	s->at += s->at < s->end; /* one that is doubled begins another */
}

static int is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* The next word in small letters, cut to fit, or one other character; empty at the end and for what is quoted. */
static int next(struct scan *s, char word[WORD])
{
	size_t length = 0;

	memset(word, 0, WORD);
	while (skip_space(s))
		;
	if (s->at == s->end)
		return 0;
	if (strchr("'\"`", *s->at) && *s->at) {
		skip_quoted(s);
		return 1;
	}
	if (!is_word(*s->at)) {
		word[0] = *s->at++;
		return 1;
	}
	for (; s->at < s->end && is_word(*s->at); s->at++)
		if (length < WORD - 1)
			word[length++] = (char)tolower((unsigned char)*s->at);
	return 1;
}

static int reads(const char *word)
{
	static const char *const all[] = {"select", "show", "describe", "desc", "explain", "with", "table", "values", NULL};

	for (int i = 0; all[i]; i++)
		if (!strcmp(all[i], word))
			return 1;
	return 0;
}

const char *mysql_not_a_read(lua_State *L, const char *sql, size_t length, int backslashes)
{
	struct scan s = {sql, sql + length, backslashes};
	char word[WORD], before[WORD] = "";

	if (memmem(sql, length, "/*!", 3) || memmem(sql, length, "/*M!", 4))
		return "it has a comment that the server executes";
	while (next(&s, word) && *word == '(')
		;
	if (!reads(word))
		return lua_pushfstring(L, "it begins with '%s'", word);
	for (; next(&s, word); memcpy(before, word, WORD))
		if (!strcmp(before, "into") && (!strcmp(word, "outfile") || !strcmp(word, "dumpfile")))
			return "it writes a file";
	return NULL;
}
