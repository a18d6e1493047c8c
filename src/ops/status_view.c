/* status_view.c -- see status_view.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/status_view.h"

#include "ops/text_out.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *state_of(const struct board_slot *slot,
                            const struct view_worker *worker)
{
    if (worker->blocked > 0)
        return "Blocked";
    if (!slot->accepts)
        return "Draining";
    return worker->active > 0 ? "Running" : "Idle";
}

static void take_worker(struct view_worker *worker,
                        const struct board_slot *slot, uint64_t now_ms)
{
    *worker = (struct view_worker){
        .slot = slot,
        .id = slot->id,
        .pid = slot->pid,
        .generation = slot->generation,
        .conns = slot->conns,
        .active = slot->active,
        .active_max = slot->active_max,
        .tasks = slot->tasks,
        .memory = slot->memory,
        .requests = slot->counters.n[COUNT_REQUESTS],
        .accepted = slot->counters.n[COUNT_ACCEPTED],
        .cpu = slot->counters.n[COUNT_CPU],
        .started = (time_t)(slot->started / 1000),
    };
    worker->blocked = (double)board_blocked(slot, now_ms) / 1000;
    worker->state = state_of(slot, worker);
}

static int by_id(const void *a, const void *b)
{
    const struct view_worker *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    if (x->generation != y->generation)
        return x->generation < y->generation ? -1 : 1;
    return x->pid < y->pid ? -1 : x->pid > y->pid ? 1 : 0;
}

static bool take_workers(struct status_view *view)
{
    unsigned seen = view->board->slots_seen;

    view->workers = calloc(seen + 1, sizeof(*view->workers));
    if (view->workers == NULL)
        return false;
    for (unsigned i = 0; i < seen; i++) {
        const struct board_slot *slot = &view->board->slots[i];
        struct view_worker *worker = &view->workers[view->count];

        if (!slot->is_used || slot->pid == 0)
            continue;
        take_worker(worker, slot, view->now_ms);
        view->count++;
        if (worker->active > 0 || worker->blocked > 0)
            view->active++;
        else
            view->idle++;
        view->conns += worker->conns;
        view->requests_active += worker->active;
        view->tasks += worker->tasks;
        view->memory += worker->memory;
    }
    qsort(view->workers, view->count, sizeof(*view->workers), by_id);
    return true;
}

bool view_take(struct status_view *view, struct status *status, bool is_full,
               uint64_t wish)
{
    struct board *board = status->board;

    *view = (struct status_view){ .status = status,
                                  .board = board,
                                  .is_full = is_full,
                                  .now = time(NULL),
                                  .now_ms = snapshot_now(),
                                  .started = (time_t)board->started,
                                  .wish = wish };
    status->ops->queue(status->arg, &view->queue);
    board_look(board, view->queue.waiting);
    board_sum(board, view->sums);
    view->queue_max = board->queue_max;
    view->active_max = board->active_max;
    view->memory_max = board->memory_max;
    return take_workers(view);
}

void view_free(struct status_view *view)
{
    free(view->workers);
    view->workers = NULL;
}

const char *view_metric_name(const struct metric *metric,
                             char out[VIEW_NAME_MAX])
{
    const char *format = metric->labels[0] != '\0' ? "%s{%s}" : "%s";

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(out, VIEW_NAME_MAX, format, metric->name, metric->labels);
#pragma GCC diagnostic pop
    return out;
}

const char *view_number(double number, char out[VIEW_NUMBER_MAX])
{
    if (isnan(number))
        return "NaN";
    if (isinf(number))
        return number > 0 ? "+Inf" : "-Inf";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, VIEW_NUMBER_MAX, "%.*g", digits, number);
        if (strtod(out, NULL) >= number && strtod(out, NULL) <= number)
            break;
    }
    return out;
}

/* --- putting a page together ---------------------------------------------- */

void page_put_slice(struct buffer *page, struct slice text)
{
    if (text.len > 0 && buffer_append(page, text) != BUFFER_OK)
        page->max = page->len; /* nothing follows what is missing */
}

void page_put(struct buffer *page, const char *text)
{
    page_put_slice(page, slice_of(text));
}

void page_printf(struct buffer *page, const char *format, ...)
{
    char text[1024];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n > 0)
        page_put_slice(page, (struct slice){ text, (size_t)n < sizeof(text)
                                                       ? (size_t)n
                                                       : sizeof(text) - 1 });
}

enum { ESCAPED_MAX = 8 * 1024 };

void page_put_escaped(struct buffer *page, struct slice text)
{
    char bytes[ESCAPED_MAX];
    struct text_out out = { bytes, sizeof(bytes), 0 };

    text_put_escaped(&out, text, sizeof(bytes), false);
    page_put_slice(page, (struct slice){ bytes, out.len });
}

void page_put_json(struct buffer *page, struct slice text)
{
    char bytes[ESCAPED_MAX];
    struct text_out out = { bytes, sizeof(bytes), 0 };

    text_put_json(&out, text, sizeof(bytes));
    page_put_slice(page, (struct slice){ bytes, out.len });
}

/* Bytes that are not plain ASCII become \\xHH, which needs no escape but that
 * of its backslash. */
void page_put_label(struct buffer *page, struct slice text)
{
    char bytes[ESCAPED_MAX];
    struct text_out out = { bytes, sizeof(bytes), 0 };

    text_put_escaped(&out, text, sizeof(bytes), false);
    for (size_t i = 0; i < out.len; i++) {
        if (bytes[i] == '\\')
            page_put(page, "\\");
        page_put_slice(page, (struct slice){ bytes + i, 1 });
    }
}
