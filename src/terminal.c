/* native.terminal: what a terminal is, how wide text is on it, and the one way for foreign bytes to get there. */
#include "error.h"
#include "secret.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <utf8proc.h>

#define TYPE "terminal.side"
#define LONGEST_LINE 8192
#define TAB 8

/*
 * One use of a standard descriptor. The loop makes what it watches non-blocking, and a terminal's description is shared
 * with the shell: so a terminal or pipe is opened anew, which gives a description of neap's own.
 */
struct side {
	int fd;        /* what is read or written; -1 once closed */
	int own;       /* fd was opened here, and never blocks */
	size_t done;   /* bytes written */
	int restore;   /* the terminal's echo is off */
	struct termios before;
};

static int side_close(lua_State *L)
{
	struct side *s = luaL_checkudata(L, 1, TYPE);

	if (s->restore)
		tcsetattr(s->fd, TCSAFLUSH, &s->before);
	if (s->own && s->fd >= 0) {
		task_unwatch(s->fd);
		close(s->fd);
	}
	*s = (struct side){.fd = -1};
	return 0;
}

/* A regular file is never waited for, and a second description of it would have a position of its own. */
static int may_block(int fd)
{
	struct stat file;

	return fstat(fd, &file) == 0 && (S_ISCHR(file.st_mode) || S_ISFIFO(file.st_mode));
}

/* Puts a side at index 1, closed when the call ends. Where it cannot be opened anew, it is used as it is. */
static struct side *open_side(lua_State *L, int fd, int flags)
{
	struct side *s = lua_newuserdata(L, sizeof *s);
	char path[32];

	*s = (struct side){.fd = fd};
	luaL_setmetatable(L, TYPE);
	lua_insert(L, 1);
	lua_toclose(L, 1);
	if (may_block(fd)) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0)
			*s = (struct side){.fd = fd, .own = 1};
	}
	return s;
}

/* terminal.is_terminal(fd) -> boolean */
static int terminal_is_terminal(lua_State *L)
{
	lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

/* terminal.size() -> columns, rows of the first of the standard descriptors that is a terminal; nil without one */
static int terminal_size(lua_State *L)
{
	struct winsize size;

	for (int fd = 2; fd >= 0; fd--)
		if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
			lua_pushinteger(L, size.ws_col);
			lua_pushinteger(L, size.ws_row);
			return 2;
		}
	lua_pushnil(L);
	return 1;
}

/* terminal.utf8() -> boolean: whether the locale's characters are UTF-8 */
static int terminal_utf8(lua_State *L)
{
	lua_pushboolean(L, !strcmp(nl_langinfo(CODESET), "UTF-8"));
	return 1;
}

/* Decodes the character at text; returns its length in bytes, or 0 where it is not UTF-8. */
static size_t decode(const char *text, size_t length, utf8proc_int32_t *point)
{
	utf8proc_ssize_t count = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, point);

	return count > 0 ? (size_t)count : 0;
}

/* terminal.width(text) -> columns that clean text takes; a tab reaches to the next eighth column */
static int terminal_width(lua_State *L)
{
	size_t length, step;
	const char *text = luaL_checklstring(L, 1, &length);
	utf8proc_int32_t point;
	lua_Integer columns = 0;

	for (size_t at = 0; at < length; at += step) {
		step = decode(text + at, length - at, &point);
		if (!step) {
			step = 1;
			columns++;
		} else if (point == '\t') {
			columns += TAB - columns % TAB;
		} else {
			columns += utf8proc_charwidth(point);
		}
	}
	lua_pushinteger(L, columns);
	return 1;
}

/* Characters that change the order, the lines or the state of what stands around them. */
static int is_unsafe(utf8proc_int32_t point)
{
	return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x061c || point == 0x200e || point == 0x200f ||
	       (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) || point == 0xfeff ||
	       (point >= 0xfff9 && point <= 0xfffb) || (point >= 0xe0000 && point <= 0xe007f);
}

static void add_escaped(luaL_Buffer *out, utf8proc_int32_t point)
{
	char text[16];

	if (point == '\n' || point == '\r' || point == '\t')
		snprintf(text, sizeof text, "\\%c", point == '\n' ? 'n' : point == '\r' ? 'r' : 't');
	else
		snprintf(text, sizeof text, point < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)point);
	luaL_addstring(out, text);
}

static int option(lua_State *L, const char *name)
{
	int set;

	if (lua_isnoneornil(L, 2))
		return 0;
	lua_getfield(L, 2, name);
	set = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return set;
}

/*
 * terminal.clean(bytes [, {newline, ascii}]) -> text that changes nothing on a terminal but to stand there. Bytes that
 * are not UTF-8, control characters and those that turn the direction of writing are shown as \x1b, \u{202e}. newline:
 * line ends and tabs stay. ascii: whatever is not ASCII is shown so too. Secrets are replaced.
 */
static int terminal_clean(lua_State *L)
{
	static const char *const names[] = {"newline", "ascii", NULL};
	size_t length, step;
	const char *bytes = luaL_checklstring(L, 1, &length);
	utf8proc_int32_t point;
	luaL_Buffer out;
	int newline, ascii;

	error_check_options(L, 2, names);
	lua_settop(L, 2);
	secret_push_redacted(L, bytes, length);
	bytes = lua_tolstring(L, -1, &length);
	newline = option(L, "newline");
	ascii = option(L, "ascii");
	luaL_buffinitsize(L, &out, length);
	for (size_t at = 0; at < length; at += step) {
		step = decode(bytes + at, length - at, &point);
		if (!step) {
			char text[8];

			step = 1;
			snprintf(text, sizeof text, "\\x%02x", (unsigned char)bytes[at]);
			luaL_addstring(&out, text);
		} else if ((newline && (point == '\n' || point == '\t')) ||
			   (!is_unsafe(point) && (!ascii || point < 0x80))) {
			luaL_addlstring(&out, bytes + at, step);
		} else {
			add_escaped(&out, point);
		}
	}
	luaL_pushresult(&out);
	return 1;
}

/* At index 1 the side, at 2 the text. */
static int write_step(lua_State *L)
{
	struct side *s = lua_touserdata(L, 1);
	size_t length;
	const char *text = lua_tolstring(L, 2, &length);
	ssize_t count;

	while (s->done < length) {
		count = write(s->fd, text + s->done, length - s->done);
		if (count >= 0)
			s->done += (size_t)count;
		else if (errno == EAGAIN && s->own)
			return task_wait(L, s->fd, TASK_WRITE, write_step);
		else if (errno == EPIPE || errno == EIO)
			break; /* whoever read has gone */
		else if (errno != EINTR && errno != EAGAIN)
			return error_raise(L, "remote", "cannot write to descriptor %d: %s", s->fd, strerror(errno));
	}
	lua_pushboolean(L, s->done == length);
	return 1;
}

/* terminal.write(fd, text) -> boolean: writes all of it; false when nobody reads any more. Deadline: an hour. */
static int terminal_write(lua_State *L)
{
	int fd = (int)luaL_checkinteger(L, 1);
	size_t length;
	const char *text = luaL_checklstring(L, 2, &length);

	lua_settop(L, 2);
	secret_push_redacted(L, text, length);
	lua_replace(L, 2);
	lua_remove(L, 1);
	open_side(L, fd, O_WRONLY);
	task_deadline(L, 3, 3600000);
	return write_step(L);
}

static void hide_input(struct side *s)
{
	struct termios silent;

	if (tcgetattr(s->fd, &s->before))
		return;
	silent = s->before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	silent.c_lflag |= ECHONL;
	s->restore = tcsetattr(s->fd, TCSAFLUSH, &silent) == 0;
}

/* Byte by byte: what comes after the line belongs to the next reader. At index 1 the side, at 2 the bytes so far. */
static int read_step(lua_State *L)
{
	struct side *s = lua_touserdata(L, 1);
	char byte;
	ssize_t count;

	while ((count = read(s->fd, &byte, 1)) != 0) {
		if (count < 0 && errno == EAGAIN && s->own)
			return task_wait(L, s->fd, TASK_READ, read_step);
		if (count < 0 && errno != EINTR && errno != EAGAIN)
			break;
		if (count < 0)
			continue;
		if (byte == '\n')
			return 1;
		if (lua_rawlen(L, 2) >= LONGEST_LINE)
			return error_raise(L, "protocol", "the line is longer than %d bytes", LONGEST_LINE);
		lua_pushlstring(L, &byte, 1);
		lua_concat(L, 2);
	}
	if (lua_rawlen(L, 2) == 0)
		lua_pushnil(L);
	return 1;
}

/*
 * terminal.read_line([prompt [, {secret, timeout}]]) -> the next line of the standard input without its end; nil at the
 * end of input. The prompt goes to the error output. secret: nothing is echoed. Deadline: 24 days, for a
 * person.
 */
static int terminal_read_line(lua_State *L)
{
	static const char *const names[] = {"secret", "timeout", NULL};
	const char *prompt = luaL_optstring(L, 1, "");
	struct side *s;
	int secret;

	error_check_options(L, 2, names);
	lua_settop(L, 2);
	secret = option(L, "secret");
	task_deadline(L, 2, 24 * 86400 * 1000);
	fputs(prompt, stderr);
	fflush(stderr);
	lua_settop(L, 0);
	lua_pushliteral(L, "");
	s = open_side(L, STDIN_FILENO, O_RDONLY);
	if (secret)
		hide_input(s);
	return read_step(L);
}

/* terminal.drop_input(): what was typed and not yet read is forgotten. Nothing happens where the input is no terminal. */
static int terminal_drop_input(lua_State *L)
{
	(void)L;
	tcflush(STDIN_FILENO, TCIFLUSH);
	return 0;
}

int luaopen_terminal(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"is_terminal", terminal_is_terminal},
		{"size", terminal_size},
		{"utf8", terminal_utf8},
		{"width", terminal_width},
		{"clean", terminal_clean},
		{"write", terminal_write},
		{"read_line", terminal_read_line},
		{"drop_input", terminal_drop_input},
		{NULL, NULL},
	};

	luaL_newmetatable(L, TYPE);
	lua_pushcfunction(L, side_close);
	lua_setfield(L, -2, "__gc");
	lua_pushcfunction(L, side_close);
	lua_setfield(L, -2, "__close");
	luaL_newlib(L, functions);
	return 1;
}
