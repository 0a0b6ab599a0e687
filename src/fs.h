#ifndef NEAP_FS_H
#define NEAP_FS_H

#include <lua.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * What the parts of native.fs share: fs.c (the module, names and links), fs_file.c (a file's bytes, and locks), fs_folder.c
 * (folders and what lies in them), fs_status.c (what the system says of a file, a file system, a user), fs_sync.c (many
 * files made durable at once).
 */

/* Raises what the system said; code is the name of the error number. */
int fs_fail(lua_State *L, int number, const char *verb, const char *path);

const char *fs_check_path(lua_State *L, int arg);

/* The text at arg, or of it, as permission bits: "0640". */
mode_t fs_check_mode(lua_State *L, int arg, const char *text);

/* Closes without losing the errno of what went wrong before. */
void fs_close_quietly(int fd);

/* Registers a metatable and leaves it on the stack: of what is released by that when it is closed or collected. */
void fs_add_type(lua_State *L, const char *name, lua_CFunction release);

/* The functions of those files, into the table on top. */
void fs_file_open(lua_State *L);
void fs_folder_open(lua_State *L);
void fs_status_open(lua_State *L);
void fs_sync_open(lua_State *L);

#endif
