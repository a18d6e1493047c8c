/* slow.h -- private to this room: the slow log.
 *
 * A handler that takes longer than --slow is told of once while it still runs,
 * with where it waits, and once when it has ended.  One timer for all: it is
 * set to when the oldest that was not told of is due.  What blocked the loop is
 * measured by the watchdog.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_SLOW_H
#define SCRIPT_SLOW_H

#include "script/task.h"

/* A handler begins, where --slow is set. */
void slow_begun(struct script *script);

/* It has ended. */
void slow_ended(const struct task *task);

/* The stretch of Lua that the task has just run was a long one: see
 * watchdog_leave. */
void slow_blocked(const struct task *task);

#endif
