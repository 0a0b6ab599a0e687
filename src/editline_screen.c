/*
 * What stands on the screen while a line is edited. libedit draws without colours, and has drawn all when it asks for a
 * key: so the line can be written over itself with colours then. Its glyphs stay, and the cursor comes back.
 */
#include "editline.h"

#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>
#include <wctype.h>

#define TAB 8
#define SAVE "\0337" /* the cursor */
#define RESTORE "\0338"

/* Counted from where the prompt begins. */
struct place {
	int row, column;
};

/* ---- where libedit puts what ---- */

/* Bytes of the character at text, at least 1; what is none counts as unprintable. */
static size_t decode(const char *text, size_t length, wchar_t *character)
{
	mbstate_t state = {0};
	size_t step = mbrtowc(character, text, length, &state);

	if (step == (size_t)-1 || step == (size_t)-2)
		*character = WEOF;
	return step == 0 || step > length ? 1 : step;
}

static bool is_control(wchar_t character)
{
	return (character > 0 && character < ' ') || character == '\177';
}

/* Past a glyph, which begins in the next row where it would not fit. */
static void pass(struct place *at, int glyph, int width)
{
	if (at->column + glyph > width)
		*at = (struct place){at->row + 1, 0};
	at->column += glyph;
	if (at->column >= width)
		*at = (struct place){at->row + 1, 0};
}

/* Past a character. False where libedit's columns and the terminal's differ: it has no width of its own. */
static bool pass_character(struct place *at, wchar_t character, int width)
{
	if (character == '\n') {
		*at = (struct place){at->row + 1, 0};
	} else if (character == '\t') {
		do
			pass(at, 1, width);
		while (at->column % TAB);
	} else if (is_control(character)) { /* ^X */
		pass(at, 1, width);
		pass(at, 1, width);
	} else if (wcwidth(character) < 1) {
		return false;
	} else {
		pass(at, wcwidth(character), width);
	}
	return true;
}

/* Past a text, in which `hides` says that what stands between two ESCAPEs takes no column. */
static bool pass_text(struct place *at, const char *text, size_t length, bool hides, int width)
{
	bool hidden = false, all = true;
	wchar_t character;

	for (size_t i = 0; i < length;) {
		i += decode(text + i, length - i, &character);
		if (hides && character == ESCAPE)
			hidden = !hidden;
		else if (!hidden)
			all = pass_character(at, character, width) && all;
	}
	return all;
}

static int width_of(struct editor *e)
{
	struct winsize size;

	return ioctl(fileno(e->out), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static struct place begin_of(struct editor *e, int width)
{
	struct place at = {0, 0};

	pass_text(&at, e->prompt, strlen(e->prompt), true, width);
	return at;
}

/* Behind the line. Where `regular` is not NULL it says whether libedit and the terminal count the same columns. */
static struct place end_of(struct editor *e, int width, bool *regular)
{
	const LineInfo *line = el_line(e->el);
	struct place at = begin_of(e, width);
	bool all = pass_text(&at, line->buffer, (size_t)(line->lastchar - line->buffer), false, width);

	if (regular)
		*regular = all;
	return at;
}

static struct place cursor_of(struct editor *e, int width)
{
	const LineInfo *line = el_line(e->el);
	struct place at = begin_of(e, width);
	wchar_t next;

	if (e->ended)
		return end_of(e, width, NULL);
	pass_text(&at, line->buffer, (size_t)(line->cursor - line->buffer), false, width);
	if (line->cursor == line->lastchar)
		return at;
	decode(line->cursor, (size_t)(line->lastchar - line->cursor), &next);
	if (wcwidth(next) > 1 && at.column + wcwidth(next) > width) /* it stands in the next row */
		return (struct place){at.row + 1, 0};
	return at;
}

/* To a place from the row in which the cursor is. Its column is no matter: libedit miscounts some that are wide. */
static void move(struct editor *e, int row, struct place to)
{
	fputc('\r', e->out);
	if (row > to.row)
		fprintf(e->out, "\033[%dA", row - to.row);
	else if (row < to.row)
		fprintf(e->out, "\033[%dB", to.row - row);
	if (to.column)
		fprintf(e->out, "\033[%dC", to.column);
}

void editline_screen_erase(struct editor *e)
{
	move(e, cursor_of(e, width_of(e)).row, (struct place){0, 0});
	fputs("\033[J", e->out);
}

void editline_screen_leave(struct editor *e)
{
	int width = width_of(e);

	move(e, cursor_of(e, width).row, end_of(e, width, NULL));
	fflush(e->out);
}

/* ---- writing it ---- */

static bool has_room(struct editor *e, struct place last)
{
	int columns = 0, rows = 0;
	const char *wraps = NULL;

	el_get(e->el, EL_GETTC, "co", &columns);
	el_get(e->el, EL_GETTC, "li", &rows);
	el_get(e->el, EL_GETTC, "am", &wraps);
	return columns == width_of(e) && last.row < rows && wraps && !strcmp(wraps, "yes");
}

bool editline_screen_may_paint(struct editor *e)
{
	const LineInfo *line = el_line(e->el);
	struct place end;
	bool regular;

	if (line->buffer == line->lastchar || strchr(e->prompt, '\n'))
		return false;
	end = end_of(e, width_of(e), &regular);
	return regular && has_room(e, end);
}

/* Whether it is the line without what is hidden. A line that holds an ESCAPE itself never is. */
static bool is_same(const char *painted, const char *line, size_t length)
{
	bool hidden = false;
	size_t count = 0;

	for (; *painted; painted++)
		if (*painted == ESCAPE)
			hidden = !hidden;
		else if (!hidden && (count >= length || line[count++] != *painted))
			return false;
	return count == length && !hidden;
}

/* As libedit shows it: nothing that was typed reaches the terminal as a control character. */
static void write_character(struct editor *e, const char *bytes, size_t length, int columns)
{
	if (*bytes == '\t')
		fprintf(e->out, "%*s", columns, "");
	else if (is_control(*bytes))
		fprintf(e->out, "^%c", *bytes ^ 0x40);
	else
		fwrite(bytes, 1, length, e->out);
}

/* A text from a place on, hidden parts as they are; up to a line end, behind which libedit says what it searches. */
static void write_text(struct editor *e, struct place *at, const char *text, size_t length, bool hides)
{
	int width = width_of(e);
	bool hidden = false;
	wchar_t character;

	for (size_t step; length && *text != '\n'; text += step, length -= step) {
		int before = at->column;

		step = decode(text, length, &character);
		if (hides && character == ESCAPE) {
			hidden = !hidden;
		} else if (hidden) {
			fwrite(text, 1, step, e->out);
		} else {
			pass_character(at, character, width);
			write_character(e, text, step, (at->column ? at->column : width) - before);
		}
	}
}

void editline_screen_paint(struct editor *e, const char *painted)
{
	const LineInfo *line = el_line(e->el);
	struct place at = {0, 0};

	if (!is_same(painted, line->buffer, (size_t)(line->lastchar - line->buffer)))
		return;
	fputs(SAVE, e->out);
	move(e, cursor_of(e, width_of(e)).row, at);
	write_text(e, &at, e->prompt, strlen(e->prompt), true); /* libedit moves the cursor by writing parts of it */
	write_text(e, &at, painted, strlen(painted), true);
	fputs(RESTORE, e->out);
	fflush(e->out);
}

void editline_screen_list(struct editor *e, const char *list)
{
	const LineInfo *line = el_line(e->el);
	size_t length = (size_t)(line->lastchar - line->buffer);
	struct place at = {0, 0};

	editline_screen_erase(e);
	write_text(e, &at, e->prompt, strlen(e->prompt), true);
	if (e->painted && is_same(e->painted, line->buffer, length))
		write_text(e, &at, e->painted, strlen(e->painted), true);
	else
		write_text(e, &at, line->buffer, length, false);
	fprintf(e->out, "\n%s", list);
	fflush(e->out);
}
