/* refusal.c -- see refusal.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/refusal.h"

#include <lauxlib.h>

static const char refusal_class[] = "fcgi.refusal";

/* The text is its user value. */
static int refusal_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, refusal_class);
    lua_getiuservalue(L, 1, 1);
    return 1;
}

/* Scripts write "failed: " .. err, which with most errors works. */
static int refusal_concat(lua_State *L)
{
    lua_settop(L, 2);
    for (int i = 1; i <= 2; i++) {
        if (!lua_isstring(L, i) && luaL_testudata(L, i, refusal_class) == NULL)
            return luaL_error(L, "attempt to concatenate a %s value",
                              luaL_typename(L, i));
        luaL_tolstring(L, i, NULL);
    }
    lua_concat(L, 2);
    return 1;
}

void refusal_push(lua_State *L, int status, const char *text)
{
    int *self = lua_newuserdatauv(L, sizeof(*self), 1);

    *self = status;
    lua_pushstring(L, text);
    lua_setiuservalue(L, -2, 1);
    if (luaL_newmetatable(L, refusal_class)) {
        lua_pushcfunction(L, refusal_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushcfunction(L, refusal_concat);
        lua_setfield(L, -2, "__concat");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

int refusal_status(lua_State *L, int index)
{
    const int *self = luaL_testudata(L, index, refusal_class);

    return self != NULL && lua_rawlen(L, index) == sizeof(*self) ? *self : 0;
}
