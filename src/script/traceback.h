/* traceback.h -- private to this room: where coroutines are, as text, without
 * Lua's help: nothing is allocated, nothing is raised and no Lua runs.  So it
 * can be had in a hook, in a callback of the loop and where memory is short.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_TRACEBACK_H
#define SCRIPT_TRACEBACK_H

#include "script/task.h"

enum { TRACEBACK_MAX = 4096 };

struct traceback {
    char text[TRACEBACK_MAX]; /* lines that end with a newline */
    size_t len;
};

/* Adds a line; what does not fit is left out. */
void traceback_line(struct traceback *trace, const char *line);

/* Adds the coroutines that run, the innermost first. */
void traceback_frames(struct traceback *trace, const struct frame *frames);

/* Adds where a task waits: its innermost coroutine, then who resumed it. */
void traceback_task(struct traceback *trace, const struct task *task);

#endif
