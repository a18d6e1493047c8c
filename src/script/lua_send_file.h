/* lua_send_file.h -- private to this room: what lua/fcgi/send_file.lua needs of
 * the system.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_SEND_FILE_H
#define SCRIPT_LUA_SEND_FILE_H

#include <lua.h>

/* Pushes a table with open(path, root), take(file) and copy(req, file, at, n);
 * class is the index of the request class. */
void lua_send_file_push(lua_State *L, int class);

#endif
