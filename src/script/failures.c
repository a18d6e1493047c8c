/* failures.c -- see failures.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/failures.h"

#include "script/errors.h"

#include <stdlib.h>

static const double look_seconds = 1; /* between two looks at the script's */

void failure_forget(lua_State *L, struct failure *failure)
{
    list_remove(&failure->link);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, failure); /* allocates nothing */
    free(failure);
}

void failure_log(lua_State *L, struct failure *failure)
{
    struct request *req = failure->root == NULL ? NULL : failure->root->req;

    lua_rawgetp(L, LUA_REGISTRYINDEX, failure);
    errors_log(L, req);
    lua_pop(L, 1);
    failure_forget(L, failure);
}

bool failure_is_there(lua_State *L, const struct failure *failure)
{
    bool is_same;

    lua_rawgetp(L, LUA_REGISTRYINDEX, failure);
    is_same = lua_istable(L, -1) && lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is_same;
}

static void look(struct loop_timer *timer)
{
    struct script *script = list_entry(timer, struct script, failures_timer);
    struct list *link = script->failures.next;

    while (link != &script->failures) {
        struct failure *failure = list_entry(link, struct failure, link);

        link = link->next;
        if (failure->is_old)
            failure_log(script->L, failure);
        else
            failure->is_old = true;
    }
    if (!list_is_empty(&script->failures))
        loop_timer_start(script->loop, timer, look_seconds, look);
}

/* One whose root has ended, or that has none. */
static void give_to_script(struct script *script, struct failure *failure)
{
    failure->root = NULL;
    list_append(&script->failures, &failure->link);
    if (!loop_timer_is_running(&script->failures_timer))
        loop_timer_start(script->loop, &script->failures_timer, look_seconds,
                         look);
}

static int keep_call(lua_State *L)
{
    void *failure = lua_touserdata(L, 1);

    lua_rawsetp(L, LUA_REGISTRYINDEX, failure);
    return 0;
}

/* Puts the details, on top of the stack, into the registry; false: there is no
 * memory. */
static bool keep(lua_State *L, struct failure *failure)
{
    lua_pushcfunction(L, keep_call);
    lua_pushlightuserdata(L, failure);
    lua_pushvalue(L, -3);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK)
        return true;
    lua_pop(L, 1);
    return false;
}

struct failure *failure_new(lua_State *L)
{
    struct task *task = task_running(L);
    bool is_awaited = !list_is_empty(&task->joiners);
    struct failure *failure = NULL;

    if (!task->is_orphan || is_awaited)
        failure = malloc(sizeof(*failure));
    if (failure == NULL) {
        errors_log(L, task->req);
        lua_pop(L, 1);
        return NULL;
    }
    *failure = (struct failure){ .is_awaited = is_awaited };
    list_init(&failure->link);
    if (!keep(L, failure)) {
        free(failure);
        errors_log(L, task->req);
        lua_pop(L, 1);
        return NULL;
    }
    lua_pop(L, 1);
    failure->root = task->owner;
    if (task->owner != NULL)
        list_append(&task->owner->failures, &failure->link);
    else
        give_to_script(task->script, failure);
    return failure;
}

void failures_end(struct task *root)
{
    while (!list_is_empty(&root->failures)) {
        struct failure *failure =
            list_entry(root->failures.next, struct failure, link);

        if (failure->is_awaited) { /* by one that was woken, or gave up */
            list_remove(&failure->link);
            give_to_script(root->script, failure);
        } else {
            failure_log(root->script->L, failure);
        }
    }
}

void failures_log_all(struct script *script)
{
    while (!list_is_empty(&script->failures))
        failure_log(script->L,
                    list_entry(script->failures.next, struct failure, link));
}
