/* require.h -- private to this room: require as Lua's own, but what it runs may
 * wait.
 *
 * Loading a module becomes something that takes time, so tasks can meet in it:
 *
 *     a task requires a module that           it gets
 *     another one loads                       the module when that has ended,
 *                                             or the error that ended it
 *     it loads itself; or one that waits      an error: it would never end; or
 *     for this task loads                     what package.loaded has by then
 *
 * A load that was cancelled failed for nobody else: who waited loads it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_REQUIRE_H
#define SCRIPT_REQUIRE_H

#include "script/task.h"

/* Replaces the global require.  May raise. */
void require_open(lua_State *L);

/* The coroutine died of an error, or the task has ended: so have the loads that
 * were under way in it. */
void require_died(struct script *script, const lua_State *co);
void require_ended(struct task *task);

/* Raises what Lua does when a coroutine yields, by itself, in a module that it
 * loads. */
void require_check_yield(lua_State *L);

#endif
