/* lua_headers.h -- private to this room: a request's headers, as they are found
 * among its parameters.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_HEADERS_H
#define SCRIPT_LUA_HEADERS_H

#include <lua.h>

/* req:header(name) -> string | nil;  req:header() -> table.  A method: the
 * class is upvalue 1. */
int lua_headers_get(lua_State *L);

#endif
