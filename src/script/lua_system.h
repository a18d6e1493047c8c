/* lua_system.h -- private to this room: what lua/fcgi needs of the system.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_SYSTEM_H
#define SCRIPT_LUA_SYSTEM_H

#include <lauxlib.h>

/* Functions that only lua/fcgi gets:
 *     duplicate(fd)     -> another descriptor for the same; or nil, err
 *     close(fd)
 *     is_hashed(folder) -> are there certificates under OpenSSL's hashed names?
 */
extern const luaL_Reg lua_system[];

#endif
