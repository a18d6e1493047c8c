/* lua_worker.h -- private to this room: what a script sees of its process.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_WORKER_H
#define SCRIPT_LUA_WORKER_H

#include <lauxlib.h>

/* Functions of the module `fcgi`. */
extern const luaL_Reg lua_worker[];

#endif
