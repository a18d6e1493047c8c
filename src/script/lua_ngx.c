/* lua_ngx.c -- see lua_ngx.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_ngx.h"

#include "script/task.h"

#include <limits.h>
#include <time.h>

/* The values of a handler's coroutine that no function of Lua sees: handler.c
 * has the request there. */
enum { AT_REQUEST = 2 };

/* request() -> the request of the running task | nil.  The handler's coroutine
 * anchors the object, at the bottom of its stack: nothing is kept for the
 * scripts that never ask. */
static int l_request(lua_State *L)
{
    const struct task *task = task_running(L);
    const struct task *root =
        task == NULL || task->req == NULL ? NULL : task->req->handler;
    lua_Debug ar;
    int level = 0;

    if (root == NULL || root->handle == NULL || !lua_checkstack(root->co, 1))
        return 0;
    while (lua_getstack(root->co, level, &ar))
        level++;
    if (level == 0 || !lua_getstack(root->co, level - 1, &ar) ||
        lua_getlocal(root->co, &ar, AT_REQUEST) == NULL)
        return 0;
    if (root->co != L)
        lua_xmove(root->co, L, 1);
    return 1;
}

/* coroutine() -> that of the running task | nil.  It is not used again. */
static int l_coroutine(lua_State *L)
{
    struct task *task = task_running(L);

    if (task == NULL || !lua_checkstack(task->co, 1))
        return 0;
    task->co_is_known = true;
    lua_pushthread(task->co);
    if (task->co != L)
        lua_xmove(task->co, L, 1);
    return 1;
}

/* phase() -> as nginx names what is going on */
static int l_phase(lua_State *L)
{
    const struct task *task = task_running(L);

    if (task == NULL)
        lua_pushliteral(L, "init");
    else if (task->hook_run != NULL)
        lua_pushstring(L, task->hook_run->hook == HOOK_WORKER ? "init_worker"
                                                              : "exit_worker");
    else
        lua_pushstring(L, task->req != NULL ? "content" : "timer");
    return 1;
}

/* is_exiting() -> has the last request of the worker, or of this generation of
 * the script, ended? */
static int l_is_exiting(lua_State *L)
{
    lua_pushboolean(L, script_of(L)->on_exit.done != NULL);
    return 1;
}

/* clock() -> seconds since 1970, with fractions */
static int l_clock(lua_State *L)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec * 1e-9);
    return 1;
}

/* new_table(items, names) -> table with room for as many */
static int l_new_table(lua_State *L)
{
    lua_Integer items = luaL_optinteger(L, 1, 0);
    lua_Integer names = luaL_optinteger(L, 2, 0);

    luaL_argcheck(L, items >= 0 && items <= INT_MAX, 1, "not a size");
    luaL_argcheck(L, names >= 0 && names <= INT_MAX, 2, "not a size");
    lua_createtable(L, (int)items, (int)names);
    return 1;
}

/* null() -> the light userdata that cjson has, too */
static int l_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
    return 1;
}

const luaL_Reg lua_ngx[] = {
    { "request", l_request }, { "coroutine", l_coroutine },
    { "phase", l_phase },     { "is_exiting", l_is_exiting },
    { "clock", l_clock },     { "new_table", l_new_table },
    { "null", l_null },       { NULL, NULL },
};
