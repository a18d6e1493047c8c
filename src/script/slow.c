/* slow.c -- see slow.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/slow.h"

#include "script/report.h"
#include "script/traceback.h"

#include <stdio.h>

enum { SHOWN_CHILDREN = 8 };

/* libev's clock and ours may differ by a little. */
static const double least_wait = 0.001;

static void tell(const struct task *task, const char *what,
                 const struct traceback *trace)
{
    struct slice detail = { NULL, 0 };

    if (trace != NULL)
        detail = (struct slice){ trace->text, trace->len };
    report_log(LOG_LEVEL_WARN, task->req, slice_of(what), detail);
}

/* "3.2 s", and of what is short more of it. */
static void print_seconds(char *out, size_t room, const char *format,
                          double seconds)
{
    char number[32];

    snprintf(number, sizeof(number), "%.*f", seconds < 1 ? 3 : 1, seconds);
    snprintf(out, room, format, number);
}

static void tell_where(const struct task *task, double seconds)
{
    struct traceback trace = { .len = 0 };
    char line[64];
    int n = 0;

    traceback_line(&trace, "stack traceback:");
    traceback_task(&trace, task);
    for (struct list *link = task->children.next; link != &task->children;
         link = link->next) {
        if (n++ == SHOWN_CHILDREN) {
            traceback_line(&trace, "...");
            break;
        }
        traceback_line(&trace, "task of the request:");
        traceback_task(&trace, list_entry(link, struct task, sibling));
    }
    print_seconds(line, sizeof(line), "slow: %s s so far", seconds);
    tell(task, line, &trace);
}

static void look(struct loop_timer *timer)
{
    struct script *script = list_entry(timer, struct script, slow_timer);
    double now = *script->service->now, next = 0;

    for (struct list *link = script->tasks.next; link != &script->tasks;
         link = link->next) {
        struct task *task = list_entry(link, struct task, link);
        double due;

        if (task->is_slow || task->req == NULL || task->req->handler != task)
            continue;
        due = task->req->started + script->limits.slow;
        if (due <= now) {
            task->is_slow = true;
            script->service->slow++;
            tell_where(task, now - task->req->started);
        } else if (next <= 0 || due < next) {
            next = due;
        }
    }
    if (next > 0)
        loop_timer_start(script->loop, timer,
                         next - now > least_wait ? next - now : least_wait,
                         look);
}

void slow_begun(struct script *script)
{
    if (!loop_timer_is_running(&script->slow_timer))
        loop_timer_start(script->loop, &script->slow_timer, script->limits.slow,
                         look);
}

void slow_ended(const struct task *task)
{
    double took = loop_now() - task->req->started;
    char line[64];

    if (took < task->script->limits.slow)
        return;
    if (!task->is_slow) /* nobody had looked while it ran */
        task->script->service->slow++;
    print_seconds(line, sizeof(line), "slow: took %s s", took);
    tell(task, line, NULL);
}

void slow_blocked(const struct task *task)
{
    const struct watchdog *watchdog = &task->script->watchdog;
    char line[64];

    snprintf(line, sizeof(line), "blocked the loop for %.0f ms",
             watchdog->blocked * 1000);
    tell(task, line, watchdog->sample);
}
