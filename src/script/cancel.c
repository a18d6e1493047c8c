/* cancel.c -- see cancel.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/cancel.h"

#include "script/wait.h"

static const char cancelled_class[] = "fcgi.cancelled";

/* --- the error value ------------------------------------------------------ */

static int cancelled_tostring(lua_State *L)
{
    const char *reason = task_cancelled_reason(L, 1);

    lua_pushfstring(L, "cancelled: %s", reason != NULL ? reason : "?");
    return 1;
}

/* Scripts write "failed: " .. err, which with most errors works. */
static int cancelled_concat(lua_State *L)
{
    lua_settop(L, 2);
    for (int i = 1; i <= 2; i++) {
        if (lua_isstring(L, i))
            lua_pushvalue(L, i);
        else if (luaL_testudata(L, i, cancelled_class) != NULL)
            luaL_tolstring(L, i, NULL);
        else
            return luaL_error(L, "attempt to concatenate a %s value",
                              luaL_typename(L, i));
    }
    lua_concat(L, 2);
    return 1;
}

/* The reason is its user value. */
void task_push_cancelled(lua_State *L, const char *reason)
{
    lua_newuserdatauv(L, 0, 1);
    lua_pushstring(L, reason);
    lua_setiuservalue(L, -2, 1);
    if (luaL_newmetatable(L, cancelled_class)) {
        lua_pushcfunction(L, cancelled_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushcfunction(L, cancelled_concat);
        lua_setfield(L, -2, "__concat");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

const char *task_cancelled_reason(lua_State *L, int index)
{
    const char *reason;

    if (luaL_testudata(L, index, cancelled_class) == NULL)
        return NULL;
    lua_getiuservalue(L, index, 1);
    reason = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1); /* a number's text would not outlive this */
    return reason;
}

int task_raise_cancelled(lua_State *L, struct task *task)
{
    task->is_interrupted = false;
    task->cancel_pending = true; /* if there is no memory for the value */
    task_push_cancelled(L, task->cancel_reason);
    task->cancel_pending = false;
    return lua_error(L);
}

/* --- cancelling ----------------------------------------------------------- */

static void interrupt(struct task *task)
{
    if (task->state == TASK_WAITING && !task->is_woken) {
        task->is_interrupted = true;
        task_wake(task);
    } else {
        task->cancel_pending = true;
    }
}

static void patience_ends(struct loop_timer *timer)
{
    struct task *task = list_entry(timer, struct task, deadline);

    task->out_of_patience = true;
    interrupt(task);
}

void task_cancel(struct task *task, const char *reason)
{
    if (task->cancel_reason != NULL || task->state == TASK_ENDED)
        return;
    task->cancel_reason = reason;
    if (task->script->loop != NULL)
        loop_timer_start(task->script->loop, &task->deadline, TASK_PATIENCE,
                         patience_ends);
    interrupt(task);
}

static void time_is_up(struct loop_timer *timer)
{
    struct task *task = list_entry(timer, struct task, deadline);

    if (task->req != NULL && task->req->handler == task &&
        task->cancel_reason == NULL)
        task->script->service->timeouts++;
    task_cancel(task, "timeout");
}

void task_set_deadline(struct task *task, double seconds)
{
    loop_timer_start(task->script->loop, &task->deadline, seconds, time_is_up);
}
