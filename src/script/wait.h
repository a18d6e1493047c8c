/* wait.h -- private to this room: how a task waits.
 *
 * A task has at most one wait under way.  To wait:
 *
 *     struct task *task = task_begin_wait(L);      raises if it cannot wait
 *     ... register, so that task_wake(task) is called ...
 *     return task_yield(L, undo, ctx, k);          k goes on
 *
 * Registering allocates nothing, so nothing is held when the yield jumps.  The
 * coroutine that waits yields a private marker; a coroutine of the script that
 * resumed it yields another on, with the inner one at index 1 of its stack:
 * so the way from a task to the innermost coroutine can be followed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_WAIT_H
#define SCRIPT_WAIT_H

#include "script/task.h"

/* Raises "cannot wait here" where Lua cannot be left, and the cancellation if
 * there is one to be raised. */
struct task *task_begin_wait(lua_State *L);

/* Would it not raise for the former? */
bool task_can_wait(lua_State *L);

int task_yield(lua_State *L, void (*undo)(struct task *task), lua_KContext ctx,
               lua_KFunction k);

/* Would a wait of us for the task never end?  Only waits without a limit are
 * followed. */
bool task_waits_for(const struct task *task, const struct task *us);

/* Something happened that the task waits for. */
void task_wake(struct task *task);

/* Takes back what the task has registered: nothing wakes it any more. */
void task_stop_waiting(struct task *task);

/* Waits for news of the request. */
int task_wait_request(lua_State *L, struct request *req, lua_KContext ctx,
                      lua_KFunction k);

/* What wakes a task that waits for that. */
void task_wake_waiter(struct request_waiter *waiter);

/* Waits for time to pass; k goes on. */
int task_sleep(lua_State *L, double seconds, lua_KFunction k);

/* Waits in a list until task_wake_list, or for so many seconds unless they are
 * negative. */
int task_wait_in(lua_State *L, struct list *list, double seconds,
                 lua_KContext ctx, lua_KFunction k);

/* Wakes all who wait in a list, in the order in which they came. */
void task_wake_list(struct list *list);

/* Is it what a waiting task has yielded, on top of co's stack? */
bool task_is_waiting(lua_State *co);

/* Yields on from a coroutine that has resumed the one at index 1, in which
 * something waits; k goes on. */
int task_yield_on(lua_State *L, lua_KFunction k);

/* The coroutine that a waiting one has resumed; NULL: it waits itself, or does
 * not wait. */
lua_State *task_inner(lua_State *co);

/* The task that waits in a coroutine, its own or one of the script that it has
 * resumed; NULL when none does. */
struct task *task_waiting_in(struct script *script, lua_State *co);

/* Closes a coroutine in which something waits, and those that it has resumed,
 * the innermost first.  Returns what task_close_thread does. */
int task_close_chain(lua_State *co, lua_State *from);

/* The same for one of the script: the wait of the task is taken back, and it
 * goes on where it had resumed co. */
int task_close_waiting(struct task *task, lua_State *co, lua_State *from);

#endif
