/* lua_worker.c -- what a script sees of the process that it runs in:
 * fcgi.worker and fcgi.stats.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_worker.h"

#include "script/script_state.h"

#include <unistd.h>

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static int set_worker(lua_State *L)
{
    const struct script_worker *worker = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->module);
    lua_createtable(L, 0, 4);
    set_integer(L, "id", (lua_Integer)worker->id);
    set_integer(L, "pid", (lua_Integer)getpid());
    set_integer(L, "count", (lua_Integer)worker->count);
    set_integer(L, "generation", (lua_Integer)worker->generation);
    lua_setfield(L, -2, "worker");
    return 0;
}

bool script_set_worker(struct script *script,
                       const struct script_worker *worker)
{
    struct script_worker copy = *worker;
    bool is_set;

    lua_pushcfunction(script->L, set_worker);
    lua_pushlightuserdata(script->L, &copy);
    is_set = lua_pcall(script->L, 1, 0, 0) == LUA_OK;
    lua_settop(script->L, 0);
    return is_set;
}

/* fcgi.stats() -> table */
static int l_stats(lua_State *L)
{
    const struct script *script = script_of(L);
    const struct service *service = script->service;

    lua_createtable(L, 0, 8);
    set_integer(L, "memory", (lua_Integer)script->memory.used);
    set_integer(L, "tasks", (lua_Integer)script->task_count);
    if (service == NULL)
        return 1; /* nothing is served yet */
    set_integer(L, "requests", (lua_Integer)service->serial);
    set_integer(L, "active", (lua_Integer)service->active);
    set_integer(L, "accepted", (lua_Integer)service->accepted);
    set_integer(L, "started", (lua_Integer)service->started_at);
    lua_pushnumber(L, loop_now() - service->started);
    lua_setfield(L, -2, "uptime");
    return 1;
}

const luaL_Reg lua_worker[] = {
    { "stats", l_stats },
    { NULL, NULL },
};
