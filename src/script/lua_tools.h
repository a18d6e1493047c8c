/* lua_tools.h -- private to this room: the small tools of the module fcgi that
 * Lua cannot say itself.  The others stand in lua/fcgi/tools.lua.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_TOOLS_H
#define SCRIPT_LUA_TOOLS_H

#include <lauxlib.h>

/* equal and random; ends with an empty entry. */
extern const luaL_Reg lua_tools[];

#endif
