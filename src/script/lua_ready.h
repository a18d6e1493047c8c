/* lua_ready.h -- private to this room: fcgi.wait.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_READY_H
#define SCRIPT_LUA_READY_H

#include <lauxlib.h>

/* What it adds to the module. */
extern const luaL_Reg lua_ready[];

#endif
