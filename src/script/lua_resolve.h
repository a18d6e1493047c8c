/* lua_resolve.h -- private to this room: fcgi.resolve.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_RESOLVE_H
#define SCRIPT_LUA_RESOLVE_H

#include <lua.h>

/* Adds it to the module on top of the stack.  May raise. */
void lua_resolve_open(lua_State *L);

#endif
