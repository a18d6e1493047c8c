/* compat.h -- what differs between the 5.4 releases of Lua.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_COMPAT_H
#define SCRIPT_COMPAT_H

#include <lauxlib.h>
#include <lua.h>

/* Closes what a coroutine has open and makes it fit for reuse; the name
 * changed with 5.4.6. */
static inline int compat_closethread(lua_State *L, lua_State *from)
{
#if LUA_VERSION_RELEASE_NUM >= 50406
    return lua_closethread(L, from);
#else
    (void)from;
    return lua_resetthread(L);
#endif
}

#endif
