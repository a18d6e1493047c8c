/* running.c -- the requests that a script has under way, for the status page.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/task.h"
#include "script/traceback.h"

static enum script_request_state state_of(const struct task *task)
{
    if (task->req->is_aborted)
        return SCRIPT_REQUEST_ABORTED;
    if (task->req->is_ended)
        return SCRIPT_REQUEST_FINISHING;
    switch (task->state) {
    case TASK_NEW:
        return SCRIPT_REQUEST_STARTING;
    case TASK_WAITING:
        return task->is_woken ? SCRIPT_REQUEST_READY : SCRIPT_REQUEST_WAITING;
    case TASK_RUNNING:
    case TASK_ENDED:
        break;
    }
    return SCRIPT_REQUEST_RUNNING;
}

/* The innermost line of Lua in a traceback, or its innermost line. */
static struct slice place_in(const struct traceback *trace)
{
    struct slice rest = { trace->text, trace->len }, best = { NULL, 0 };

    while (rest.len > 0) {
        const char *newline = slice_find(rest, '\n');
        size_t len = newline != NULL ? (size_t)(newline - rest.data) : rest.len;
        struct slice line = slice_trim(slice_take(&rest, len));

        slice_take(&rest, 1);
        if (best.len == 0)
            best = line;
        if (line.len > 0 && line.data[0] != '[' && line.data[0] != '(')
            return line;
    }
    return best;
}

void script_each_running(const struct script *script, script_running_fn *fn,
                         void *arg)
{
    struct traceback trace;

    for (struct list *link = script->tasks.next; link != &script->tasks;
         link = link->next) {
        const struct task *task = list_entry(link, struct task, link);
        struct script_running running;

        if (task->req == NULL || task->req->handler != task)
            continue;
        trace.len = 0;
        traceback_task(&trace, task);
        running = (struct script_running){ .req = task->req,
                                           .state = state_of(task),
                                           .where = place_in(&trace) };
        fn(arg, &running);
    }
}
