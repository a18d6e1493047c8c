/* cancel.h -- private to this room: how a task is cancelled.
 *
 * The wait under way raises once; later waits work for five seconds, so that
 * to-be-closed variables and pcall can clean up.  After that every wait raises,
 * and at last the coroutine is closed by force.  A wait that is over by then
 * returns what it waited for, so nothing that was handed over is lost: the next
 * one raises.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_CANCEL_H
#define SCRIPT_CANCEL_H

#include "script/task.h"

enum {
    TASK_PATIENCE = 5,    /* s for cleaning up after a cancellation */
    REFUSED_WAITS_MAX = 8 /* after which a task is closed by force */
};

/* Cancels a task, once; one that has not begun never does.  The reason must
 * last as long as the task. */
void task_cancel(struct task *task, const char *reason);

/* Limits the time of a task: then it is cancelled with "timeout". */
void task_set_deadline(struct task *task, double seconds);

/* Raises the cancellation of the task that runs. */
int task_raise_cancelled(lua_State *L, struct task *task);

/* Pushes the error value of a cancellation. */
void task_push_cancelled(lua_State *L, const char *reason);

/* The reason, if the value at index is one of those; else NULL.  It lasts as
 * long as the value. */
const char *task_cancelled_reason(lua_State *L, int index);

#endif
