/* lua_task.h -- private to this room: the tasks that a script spawns.
 *
 *     handler --.-- owns --> tasks of the request, whoever of them spawned them
 *               `-- ends: they are cancelled, what they failed of is logged
 *     worker  ----- tasks of the top level, and detached ones
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_TASK_H
#define SCRIPT_LUA_TASK_H

#include "script/task.h"

/* How a spawned task ended. */
enum task_end {
    TASK_END_NONE,      /* it has not */
    TASK_END_RETURNED,  /* its results are a list in the user value */
    TASK_END_RAISED,    /* the user value is the error, or errors.h's table */
    TASK_END_CANCELLED, /* reason says why */
    TASK_END_FAILED     /* so does reason, in static text */
};

/* What a script holds of a task: it outlives the task, for whoever joins it
 * later.  While the task lives its coroutine keeps this alive. */
struct lua_task {
    unsigned magic;
    enum task_end end;
    struct task *task; /* NULL: it has ended */
    const char *reason;
    int count;               /* of results */
    bool has_details;        /* of an error: the user value is such a table */
    struct failure *failure; /* of an error that nobody has joined; or gone */
};

/* Adds spawn to the module, at the top of the stack, and what lua/fcgi needs of
 * tasks to the table below it.  May raise. */
void lua_task_open(lua_State *L);

/* A root has ended: cancels what it owns and logs the errors that nobody has
 * joined. */
void lua_task_end_children(struct task *root);

/* A Lua function: calls its first argument with the others; an error is
 * logged, but a cancellation passes.  Returns nothing. */
int lua_task_guard(lua_State *L);

#endif
