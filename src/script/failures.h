/* failures.h -- private to this room: errors of tasks that nobody has joined.
 *
 * An error that somebody will join is no news for the log, and one that nobody
 * joins must not be lost.  So errors wait, on the list of the root whose task
 * failed, or on the script's; they are logged when the root ends, when the
 * task's object is collected, or, for the worker's tasks, a second or two
 * later.
 *
 * A failure knows nothing of the object: Lua may free that without calling its
 * finalizer.  Its details, errors.h's table, lie in the registry under its
 * address; whoever has them at hand can tell whether it is still there.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_FAILURES_H
#define SCRIPT_FAILURES_H

#include "script/task.h"

struct failure {
    struct list link;
    struct task *root; /* on whose list it is; NULL: the script's */
    bool is_awaited;   /* somebody waited for the task to end */
    bool is_old;       /* one look has passed */
};

/* The task that runs has failed of the details on top of the stack, which are
 * popped.  NULL: they were logged, as nobody will join them or there is no
 * memory to wait. */
struct failure *failure_new(lua_State *L);

/* Is it still there, with the details on top of the stack, which are popped? */
bool failure_is_there(lua_State *L, const struct failure *failure);

/* Frees it; after that it is not there any more. */
void failure_forget(lua_State *L, struct failure *failure);

/* Logs it, with its request if the root still has one, and frees it. */
void failure_log(lua_State *L, struct failure *failure);

/* The root has ended: logs what nobody has joined, but what somebody was woken
 * to join goes to the script's list. */
void failures_end(struct task *root);

/* Logs all on the script's list. */
void failures_log_all(struct script *script);

#endif
