/* traceback.c -- see traceback.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/traceback.h"

#include "script/wait.h"

#include <string.h>

enum { SHOWN_LEVELS = 20, SHOWN_COROUTINES = 8 };

__attribute__((format(printf, 2, 3))) static void add(struct traceback *trace,
                                                      const char *format, ...)
{
    size_t room = sizeof(trace->text) - trace->len;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(trace->text + trace->len, room, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < room)
        trace->len += (size_t)n;
}

void traceback_line(struct traceback *trace, const char *line)
{
    add(trace, "%s\n", line);
}

/* One level in the words of Lua's own tracebacks; in C only what has a name. */
static void add_level(struct traceback *trace, const lua_Debug *ar)
{
    char where[LUA_IDSIZE + 32] = "[C]";

    if (ar->currentline > 0)
        snprintf(where, sizeof(where), "%s:%d", ar->short_src, ar->currentline);
    else if (*ar->what != 'C')
        snprintf(where, sizeof(where), "%s", ar->short_src);
    if (*ar->what == 'm')
        add(trace, "\t%s: in main chunk\n", where);
    else if (ar->name != NULL && *ar->namewhat != '\0')
        add(trace, "\t%s: in %s '%s'\n", where,
            strcmp(ar->namewhat, "global") == 0 ? "function" : ar->namewhat,
            ar->name);
    else if (*ar->what != 'C')
        add(trace, "\t%s: in function <%s:%d>\n", where, ar->short_src,
            ar->linedefined);
}

static void add_levels(struct traceback *trace, lua_State *co)
{
    lua_Debug ar;

    for (int level = 0; lua_getstack(co, level, &ar); level++) {
        if (level == SHOWN_LEVELS) {
            traceback_line(trace, "\t...");
            return;
        }
        if (lua_getinfo(co, "Sln", &ar))
            add_level(trace, &ar);
    }
}

void traceback_frames(struct traceback *trace, const struct frame *frames)
{
    for (int n = 0; frames != NULL; frames = frames->outer, n++) {
        if (n == SHOWN_COROUTINES) {
            traceback_line(trace, "\t...");
            return;
        }
        if (n > 0)
            traceback_line(trace, "\t(resumed by)");
        add_levels(trace, frames->L);
    }
}

void traceback_task(struct traceback *trace, const struct task *task)
{
    lua_State *chain[SHOWN_COROUTINES];
    size_t n = 0;

    if (task->state == TASK_NEW || task->co == NULL) {
        traceback_line(trace, "\t(has not begun)");
        return;
    }
    /* Of too many the outermost are left out. */
    for (lua_State *co = task->co; co != NULL; co = task_inner(co)) {
        if (n == SHOWN_COROUTINES) {
            memmove(chain, chain + 1, (n - 1) * sizeof(chain[0]));
            n--;
        }
        chain[n++] = co;
    }
    for (size_t i = n; i > 0; i--) {
        if (i < n)
            traceback_line(trace, "\t(resumed by)");
        add_levels(trace, chain[i - 1]);
    }
}
