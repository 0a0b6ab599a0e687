#ifndef NEAP_SQLITE_H
#define NEAP_SQLITE_H

#include <sqlite3.h>

/* Opens a file as native.sqlite does: a link in its place is refused, and its schema is not trusted. May be called in any
 * thread. *sqlite is to be closed in any case. */
int sqlite_connect(const char *path, int flags, int timeout_ms, sqlite3 **sqlite);

/* "SQLITE_FULL" and the like; NULL: a code without a name. */
const char *sqlite_code_name(int code);

#endif
