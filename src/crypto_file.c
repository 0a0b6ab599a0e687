/* native.crypto: digests of files, in a thread, so that other tasks go on meanwhile. */
#include "crypto.h"
#include "error.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAITER "crypto.waiter"

enum { HASHER = 1, PATH, WAITING = 5, PIECE = 256 * 1024, READ_MS = 3600000 };

/* One piece of a file that is being read. Whoever is last frees it: the thread's end, or its waiter. */
struct reading {
	uv_work_t work;
	EVP_MD_CTX *context; /* a copy, which the hasher takes over at the end: it may be dropped meanwhile */
	int fd, problem;     /* errno; 0: none */
	off_t at, end;
	bool running;
	atomic_bool unwanted;
	struct task *task; /* NULL once nobody waits */
};

static void reading_free(struct reading *r)
{
	if (r->fd >= 0)
		close(r->fd);
	EVP_MD_CTX_free(r->context);
	free(r);
}

/* In the thread. A file that ends too early leaves `at` before `end`. */
static void read_pieces(uv_work_t *work)
{
	struct reading *r = work->data;
	char *piece = malloc(PIECE);

	r->problem = piece ? 0 : ENOMEM;
	while (!r->problem && r->at < r->end && !r->unwanted) {
		size_t wanted = r->end - r->at < PIECE ? (size_t)(r->end - r->at) : PIECE;
		ssize_t count = pread(r->fd, piece, wanted, r->at);

		if (count == 0)
			break;
		if (count < 0 && errno != EINTR)
			r->problem = errno;
		if (count > 0 && !EVP_DigestUpdate(r->context, piece, (size_t)count))
			r->problem = EIO;
		r->at += count > 0 ? count : 0;
	}
	free(piece);
	OPENSSL_thread_stop();
}

static void reading_ended(uv_work_t *work, int status)
{
	struct reading *r = work->data;

	(void)status;
	r->running = false;
	if (r->task)
		task_wake(r->task);
	else
		reading_free(r);
}

static int waiter_close(lua_State *L)
{
	struct reading **waiter = lua_touserdata(L, 1), *r = *waiter;

	*waiter = NULL;
	if (!r)
		return 0;
	r->task = NULL;
	r->unwanted = true;
	if (!r->running)
		reading_free(r);
	return 0;
}

static int update_step(lua_State *L)
{
	struct reading *r = *(struct reading **)lua_touserdata(L, WAITING);
	EVP_MD_CTX **hasher = lua_touserdata(L, HASHER), *before = *hasher;

	if (r->running)
		return task_park(L, update_step);
	if (r->problem)
		return error_raise(L, "denied", "cannot read %s: %s", lua_tostring(L, PATH), strerror(r->problem));
	if (r->at < r->end)
		return error_raise(L, "conflict", "%s has %I bytes, fewer than are to be read", lua_tostring(L, PATH),
				(LUAI_UACINT)r->at);
	*hasher = r->context;
	r->context = before;
	lua_pushvalue(L, HASHER);
	return 1;
}

static void open_file(lua_State *L, struct reading *r)
{
	const char *path = lua_tostring(L, PATH);
	struct stat found;

	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (r->fd < 0)
		error_raise(L, errno == ENOENT ? "missing" : "denied", "cannot read %s: %s", path, strerror(errno));
	if (fstat(r->fd, &found) != 0 || !S_ISREG(found.st_mode))
		error_raise(L, "denied", "%s is no regular file", path);
}

/* hasher:update_file(path, offset, length [, {timeout}]) -> hasher. Raises "conflict" where the file is shorter. */
int crypto_update_file(lua_State *L)
{
	EVP_MD_CTX **hasher = luaL_checkudata(L, HASHER, CRYPTO_HASHER);
	lua_Integer offset = luaL_checkinteger(L, 3), length = luaL_checkinteger(L, 4);
	struct reading **waiter, *r;

	luaL_checkstring(L, PATH);
	luaL_argcheck(L, offset >= 0, 3, "offset is negative");
	luaL_argcheck(L, length >= 0, 4, "length is negative");
	task_deadline(L, 5, READ_MS);
	lua_settop(L, 4);
	waiter = lua_newuserdatauv(L, sizeof *waiter, 0);
	*waiter = NULL;
	luaL_setmetatable(L, WAITER);
	lua_toclose(L, WAITING);
	*waiter = r = calloc(1, sizeof *r);
	if (!r)
		return luaL_error(L, "not enough memory");
	r->work.data = r;
	r->fd = -1;
	r->at = offset;
	r->end = offset + length;
	open_file(L, r);
	r->context = EVP_MD_CTX_new();
	if (!r->context || !EVP_MD_CTX_copy_ex(r->context, *hasher))
		return luaL_error(L, "SHA-256 failed in libcrypto");
	if (uv_queue_work(task_loop(), &r->work, read_pieces, reading_ended) != 0)
		return luaL_error(L, "no worker thread");
	r->running = true;
	r->task = task_current(L);
	return update_step(L);
}

void crypto_open_files(lua_State *L)
{
	static const luaL_Reg methods[] = {{"__gc", waiter_close}, {"__close", waiter_close}, {NULL, NULL}};

	luaL_newmetatable(L, WAITER);
	luaL_setfuncs(L, methods, 0);
	lua_pop(L, 1);
}
