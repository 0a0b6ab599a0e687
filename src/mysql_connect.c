/* Connecting to MariaDB and MySQL. The library asks for names in a way that blocks, so a worker thread connects; a second
 * worker's connection ends what runs on the first. */
#include "mysql.h"
#include "error.h"
#include "task.h"
#include "tcp.h"

#include <errmsg.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KILL_S = 10, PORT_MOST = 65535, PACKET_MOST = 256 * 1024 * 1024 };

/* Without a certificate that was looked at, no server gets a password in a form it could use elsewhere. */
#define PLUGINS "mysql_native_password,client_ed25519,caching_sha2_password,sha256_password,parsec"

/* ---- the login ---- */

static void set_text(lua_State *L, struct mysql_login *login, int settings, const char *name, int which)
{
	const char *text;
	size_t length;

	if (lua_getfield(L, settings, name) != LUA_TNIL) {
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "%s is a text", name);
		text = lua_tolstring(L, -1, &length);
		if (strlen(text) != length)
			luaL_error(L, "%s holds a NUL", name);
		login->texts[which] = strdup(text);
		if (!login->texts[which])
			luaL_error(L, "not enough memory");
	}
	lua_pop(L, 1);
}

static void set_password(lua_State *L, struct mysql_login *login, int settings)
{
	size_t length;
	const char *bytes;

	if (lua_getfield(L, settings, "password") != LUA_TNIL) {
		if (!secret_is(L, -1) && lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "password is a text or a secret");
		bytes = secret_check(L, lua_gettop(L), &length);
		if (memchr(bytes, 0, length))
			luaL_error(L, "password holds a NUL");
		locked_add(L, &login->password, bytes, length);
		locked_add(L, &login->password, "", 1);
	}
	lua_pop(L, 1);
}

static int boolean(lua_State *L, int settings, const char *name, int otherwise)
{
	int value = otherwise;

	if (lua_getfield(L, settings, name) != LUA_TNIL) {
		if (!lua_isboolean(L, -1))
			luaL_error(L, "%s is true or false", name);
		value = lua_toboolean(L, -1);
	}
	lua_pop(L, 1);
	return value;
}

/* TLS where a certificate is named or the server has it; looked at where it is required, which a name makes it. */
static void set_tls(lua_State *L, struct mysql_login *login, int settings)
{
	static const char *const modes[] = {"off", "prefer", "require", NULL};
	int named = login->texts[LOGIN_CA] || login->texts[LOGIN_CERT] || login->texts[LOGIN_KEY];
	int top = lua_gettop(L);

	lua_getfield(L, settings, "ssl");
	if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "ssl is \"off\", \"prefer\" or \"require\"");
	login->tls = luaL_checkoption(L, top + 1, named ? "require" : "prefer", modes);
	lua_settop(L, top);
	login->verify = boolean(L, settings, "ssl_verify", login->tls == MYSQL_TLS_REQUIRE);
	if (login->verify && login->tls == MYSQL_TLS_PREFER)
		login->tls = MYSQL_TLS_REQUIRE;
	if (login->verify && login->tls == MYSQL_TLS_OFF)
		luaL_error(L, "ssl_verify without TLS");
}

/* What is said nowhere else comes from ~/.my.cnf, as for every client; false is no file. */
static void set_defaults(lua_State *L, struct mysql_login *login, int settings)
{
	const char *home = getenv("HOME");
	struct stat found;
	char path[4096];

	lua_getfield(L, settings, "defaults_file");
	if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		return;
	}
	lua_pop(L, 1);
	set_text(L, login, settings, "defaults_file", LOGIN_DEFAULTS);
	if (!login->texts[LOGIN_DEFAULTS]) {
		if (!home || snprintf(path, sizeof path, "%s/.my.cnf", home) >= (int)sizeof path || access(path, F_OK))
			return;
		login->texts[LOGIN_DEFAULTS] = strdup(path);
	}
	if (!login->texts[LOGIN_DEFAULTS] || stat(login->texts[LOGIN_DEFAULTS], &found) < 0)
		error_raise(L, "missing", "%s: %s", login->texts[LOGIN_DEFAULTS], strerror(errno));
	if (found.st_mode & (S_IWGRP | S_IWOTH))
		error_raise(L, "denied", "%s may be written by others", login->texts[LOGIN_DEFAULTS]);
}

static void set_port(lua_State *L, struct mysql_login *login, int settings)
{
	lua_Integer port;
	int is = 1;

	if (lua_getfield(L, settings, "port") != LUA_TNIL) {
		port = lua_tointegerx(L, -1, &is);
		if (!is || port < 1 || port > PORT_MOST)
			luaL_error(L, "port is a number from 1 to 65535");
		login->port = (unsigned)port;
	}
	lua_pop(L, 1);
}

void mysql_login_read(lua_State *L, struct mysql_login *login, int settings)
{
	static const char *const names[] = {"host", "port", "socket", "database", "user", "password", "ssl", "ssl_ca",
					    "ssl_cert", "ssl_key", "ssl_verify", "defaults_file", NULL};

	luaL_checktype(L, settings, LUA_TTABLE);
	error_check_options(L, settings, names);
	set_text(L, login, settings, "host", LOGIN_HOST);
	set_text(L, login, settings, "socket", LOGIN_SOCKET);
	set_text(L, login, settings, "database", LOGIN_DATABASE);
	set_text(L, login, settings, "user", LOGIN_USER);
	set_text(L, login, settings, "ssl_ca", LOGIN_CA);
	set_text(L, login, settings, "ssl_cert", LOGIN_CERT);
	set_text(L, login, settings, "ssl_key", LOGIN_KEY);
	set_port(L, login, settings);
	set_password(L, login, settings);
	set_tls(L, login, settings);
	set_defaults(L, login, settings);
}

static void login_free(struct mysql_login *login)
{
	for (int i = 0; i < LOGIN_TEXTS; i++)
		free(login->texts[i]);
	locked_free(&login->password);
	*login = (struct mysql_login){0};
}

/* ---- connecting, in a worker thread ---- */

static void note_handle(struct mysql_problem *p, MYSQL *m)
{
	mysql_note(p, mysql_errno(m), mysql_sqlstate(m), mysql_error(m));
}

/* A server that asks for a file of this machine gets none, whatever a defaults file allows. */
static int refuse_file(void **state, const char *name, void *unused)
{
	(void)name, (void)unused;
	*state = NULL;
	return 1;
}

static int refuse_read(void *state, char *bytes, unsigned int length)
{
	(void)state, (void)bytes, (void)length;
	return -1;
}

static void refuse_end(void *state)
{
	(void)state;
}

static int refuse_error(void *state, char *text, unsigned int length)
{
	(void)state;
	snprintf(text, length, "Load data local infile forbidden"); /* as the library says it */
	return CR_UNKNOWN_ERROR;
}

static void set_tls_options(MYSQL *m, const struct mysql_login *login)
{
	my_bool yes = 1, verify = login->verify != 0;

	if (login->tls == MYSQL_TLS_OFF)
		return;
	mysql_ssl_set(m, login->texts[LOGIN_KEY], login->texts[LOGIN_CERT], login->texts[LOGIN_CA], NULL, NULL);
	mysql_options(m, MYSQL_OPT_SSL_ENFORCE, &yes);
	mysql_options(m, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
	mysql_optionsv(m, MARIADB_OPT_TLS_VERSION, "TLSv1.2,TLSv1.3");
}

static void set_options(MYSQL *m, const struct mysql_login *login)
{
	const char *host = login->texts[LOGIN_HOST];
	unsigned off = 0, tcp = MYSQL_PROTOCOL_TCP;
	size_t packet = PACKET_MOST;

	mysql_options(m, MYSQL_OPT_NONBLOCK, 0);
	mysql_options(m, MYSQL_OPT_CONNECT_TIMEOUT, &login->timeout_s);
	mysql_options(m, MYSQL_OPT_READ_TIMEOUT, &login->timeout_s);
	mysql_options(m, MYSQL_OPT_WRITE_TIMEOUT, &login->timeout_s);
	mysql_options(m, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	mysql_options(m, MYSQL_OPT_LOCAL_INFILE, &off);
	mysql_options(m, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
	mysql_options4(m, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "neap");
	if (host && !login->texts[LOGIN_SOCKET] && (login->port || strcmp(host, "localhost") != 0))
		mysql_options(m, MYSQL_OPT_PROTOCOL, &tcp);
	if (login->texts[LOGIN_DEFAULTS]) {
		mysql_options(m, MYSQL_READ_DEFAULT_FILE, login->texts[LOGIN_DEFAULTS]);
		mysql_options(m, MYSQL_READ_DEFAULT_GROUP, "neap");
	}
	if (!login->verify)
		mysql_optionsv(m, MARIADB_OPT_RESTRICTED_AUTH, PLUGINS);
	set_tls_options(m, login);
}

/* A defaults file may have said otherwise, and is read after all that was said before. Returns what is wrong. */
static const char *enforce(MYSQL *m, const struct mysql_login *login)
{
	my_bool no = 0, verify = 0;
	unsigned off = 0;

	mysql_options(m, MYSQL_OPT_RECONNECT, &no);
	mysql_options(m, MYSQL_OPT_LOCAL_INFILE, &off);
	mysql_set_local_infile_handler(m, refuse_file, refuse_read, refuse_end, refuse_error, NULL);
	mysql_get_optionv(m, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
	if (login->tls == MYSQL_TLS_REQUIRE && !mysql_get_ssl_cipher(m))
		return "TLS is required, and the server does not have it";
	if (login->verify && !verify)
		return "the defaults file lets the server's certificate go unseen, and it is to be verified";
	if (m->client_flag & CLIENT_MULTI_STATEMENTS)
		mysql_set_server_option(m, MYSQL_OPTION_MULTI_STATEMENTS_OFF);
	if (strcmp(mysql_character_set_name(m), "utf8mb4") != 0 && mysql_set_character_set(m, "utf8mb4"))
		return "the server does not know utf8mb4";
	return NULL;
}

static void wipe_text(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
}

/* A connection, or NULL and why there is none. */
static MYSQL *login_connect(const struct mysql_login *login, struct mysql_problem *p)
{
	char *const *texts = login->texts;
	const char *host = texts[LOGIN_SOCKET] ? NULL : texts[LOGIN_HOST]; /* the library would rather take the host */
	MYSQL *m = mysql_init(NULL);
	const char *wrong;

	if (!m) {
		mysql_note(p, CR_OUT_OF_MEMORY, "HY000", "not enough memory");
		return NULL;
	}
	set_options(m, login);
	if (!mysql_real_connect(m, host, texts[LOGIN_USER], (const char *)login->password.bytes,
				texts[LOGIN_DATABASE], login->port, texts[LOGIN_SOCKET], 0)) {
		note_handle(p, m);
	} else {
		wipe_text(m->passwd);
		fcntl((int)mysql_get_socket(m), F_SETFD, FD_CLOEXEC);
		tcp_tune((int)mysql_get_socket(m));
		wrong = enforce(m, login);
		if (wrong)
			mysql_note(p, CR_SSL_CONNECTION_ERROR, "HY000", wrong);
	}
	wipe_text(m->options.password);
	if (!p->number)
		return m;
	mysql_close(m);
	return NULL;
}

/*
 * Which server this is and whom it sees at the other end of that connection: a second connection behind the same address
 * may reach another server, where the number is somebody else's.
 */
static void read_identity(MYSQL *m, unsigned long thread, char *identity, size_t size)
{
	char text[256];
	MYSQL_RES *result;
	MYSQL_ROW row;

	*identity = 0;
	snprintf(text, sizeof text,
		 "select concat(@@hostname, ' ', @@port, ' ', @@server_id, ' ', user, ' ', host)"
		 " from information_schema.processlist where id = %lu", thread);
	if (mysql_query(m, text) || !(result = mysql_store_result(m)))
		return;
	row = mysql_fetch_row(result);
	if (row && row[0])
		snprintf(identity, size, "%s", row[0]);
	mysql_free_result(result);
}

/* What the libraries keep for a thread, from and for its other work. */
static void begin_thread(void)
{
	mysql_thread_init();
	ERR_clear_error();
}

static void end_thread(void)
{
	mysql_thread_end();
	OPENSSL_thread_stop();
}

struct connecting {
	uv_work_t work;
	struct mysql_session *session;
	MYSQL *handle;
};

static void connect_work(uv_work_t *work)
{
	struct connecting *c = work->data;
	struct mysql_session *s = c->session;

	begin_thread();
	c->handle = login_connect(&s->login, &s->problem);
	if (c->handle)
		read_identity(c->handle, mysql_thread_id(c->handle), s->identity, sizeof s->identity);
	end_thread();
}

static void connect_done(uv_work_t *work, int status)
{
	struct connecting *c = work->data;
	struct mysql_session *s = c->session;

	s->connecting = 0;
	s->world->workers--;
	if (status < 0)
		mysql_note(&s->problem, CR_CONN_HOST_ERROR, "HY000", uv_strerror(status));
	s->handle = c->handle;
	if (s->handle && !s->closed) {
		s->thread = mysql_thread_id(s->handle);
		s->fd = fcntl((int)mysql_get_socket(s->handle), F_DUPFD_CLOEXEC, 0);
	}
	if (s->fd >= 0 && mysql_get_ssl_cipher(s->handle)) /* TLS reads without saying that it must not wait */
		fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
	free(c);
	task_wake_fd(s->bell);
	mysql_session_release(s);
}

void mysql_session_connect(lua_State *L, struct mysql_session *s)
{
	struct connecting *c = calloc(1, sizeof *c);

	if (!c)
		luaL_error(L, "not enough memory");
	c->work.data = c;
	c->session = s;
	s->uses++;
	s->connecting = 1;
	if (uv_queue_work(task_loop(), &c->work, connect_work, connect_done) == 0) {
		s->world->workers++;
		return;
	}
	free(c);
	s->uses--;
	s->connecting = 0;
	luaL_error(L, "no worker thread");
}

/* ---- killing ---- */

struct killing {
	uv_work_t work;
	struct mysql_session *session;
	unsigned long thread;
	int connection;
	char identity[512];
	struct mysql_login login; /* borrowed from the session */
};

static void kill_work(uv_work_t *work)
{
	struct killing *k = work->data;
	struct mysql_problem problem = {0};
	char identity[512], text[64];
	MYSQL *m;

	begin_thread();
	m = login_connect(&k->login, &problem);
	if (m) {
		read_identity(m, k->thread, identity, sizeof identity);
		snprintf(text, sizeof text, "kill %s%lu", k->connection ? "" : "query ", k->thread);
		if (*identity && !strcmp(identity, k->identity))
			mysql_query(m, text);
		mysql_close(m);
	}
	end_thread();
}

static void kill_done(uv_work_t *work, int status)
{
	struct killing *k = work->data;
	struct mysql_session *s = k->session;

	(void)status;
	s->killings--;
	s->world->workers--;
	s->stale_kill |= !k->connection;
	free(k);
	task_wake_fd(s->bell);
	mysql_session_release(s);
}

int mysql_session_kill(struct mysql_session *s, int connection)
{
	struct killing *k;

	if (!*s->identity)
		return 0;
	k = calloc(1, sizeof *k);
	if (!k)
		return 0;
	k->work.data = k;
	k->session = s;
	k->thread = s->thread;
	k->connection = connection;
	memcpy(k->identity, s->identity, sizeof k->identity);
	k->login = s->login;
	if (k->login.timeout_s > KILL_S)
		k->login.timeout_s = KILL_S;
	if (uv_queue_work(task_loop(), &k->work, kill_work, kill_done) != 0) {
		free(k);
		return 0;
	}
	s->uses++;
	s->killings++;
	s->world->workers++;
	return 1;
}

/* ---- the end ---- */

/* In this order: the result would be read to its end, and the statement be taken leave of on the wire. */
static void close_handle(struct mysql_session *s)
{
	if (s->fd >= 0) {
		if (s->busy)
			shutdown(s->fd, SHUT_RDWR); /* else the library might wait for room to say goodbye */
		task_unwatch(s->fd);
		close(s->fd);
	}
	s->fd = -1;
	if (s->result) {
		s->handle->status = MYSQL_STATUS_READY;
		mysql_free_result(s->result);
	}
	if (s->handle)
		mysql_close(s->handle);
	if (s->stmt)
		mysql_stmt_close(s->stmt);
	s->result = NULL;
	s->handle = NULL;
	s->stmt = NULL;
}

void mysql_session_break(struct mysql_session *s, const char *why)
{
	if (!*s->broken)
		snprintf(s->broken, sizeof s->broken, "%s", why);
	if (!s->connecting)
		close_handle(s);
}

void mysql_session_release(struct mysql_session *s)
{
	if (--s->uses > 0)
		return;
	close_handle(s);
	login_free(&s->login);
	if (s->bell >= 0)
		close(s->bell);
	free(s);
}
