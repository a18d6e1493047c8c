/* lua_ngx.h -- private to this room: what lua/fcgi/ngx.lua needs of C.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_NGX_H
#define SCRIPT_LUA_NGX_H

#include <lauxlib.h>
#include <lua.h>

/* Fields of the private table. */
extern const luaL_Reg lua_ngx[];

#endif
