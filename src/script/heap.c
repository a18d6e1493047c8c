/* heap.c -- what the Lua heap holds once it has been collected.
 *
 * The allocator counts garbage, too: by that number a heap doubles and halves
 * as the collector comes and goes.  So the count is taken at the end of each
 * collection, in the finalizer of an object that nobody refers to and that asks
 * for the next one each time.  It costs nothing in between.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/script_state.h"

static int l_gc(lua_State *L)
{
    struct script *script = script_of(L);

    if (script->is_closing)
        return 0;
    script->heap = script->memory.used;
    lua_getmetatable(L, 1);
    lua_setmetatable(L, 1); /* marks it for the next collection */
    return 0;
}

static int watch(lua_State *L)
{
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return 0;
}

bool script_watch_heap(struct script *script)
{
    bool is_done;

    lua_pushcfunction(script->L, watch);
    is_done = lua_pcall(script->L, 0, 0, 0) == LUA_OK;
    lua_settop(script->L, 0);
    return is_done;
}

size_t script_heap(const struct script *script)
{
    return script->heap;
}
