/* status_plain.c -- the status page as text and as JSON: the same names.
 *
 * Those of php-fpm's come first, so that what reads its page reads this one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/status_view.h"

#include <stdio.h>
#include <stdlib.h>

struct plain {
    struct buffer *page;
    bool is_json;
    bool is_first; /* of an object's fields */
};

static void put_name(struct plain *plain, struct slice name)
{
    if (plain->is_json) {
        page_put(plain->page, plain->is_first ? "\"" : ",\"");
        page_put_json(plain->page, name);
        page_put(plain->page, "\":");
        plain->is_first = false;
        return;
    }
    page_put_slice(plain->page, name);
    page_put(plain->page, ":");
    for (size_t n = name.len + 1; n < 22; n++)
        page_put(plain->page, " ");
    if (name.len + 1 >= 22)
        page_put(plain->page, " ");
}

static void end_value(struct plain *plain)
{
    if (!plain->is_json)
        page_put(plain->page, "\n");
}

static void put_number(struct plain *plain, const char *name, uint64_t number)
{
    put_name(plain, slice_of(name));
    page_printf(plain->page, "%llu", (unsigned long long)number);
    end_value(plain);
}

static void put_seconds(struct plain *plain, const char *name, double seconds)
{
    put_name(plain, slice_of(name));
    page_printf(plain->page, "%.3f", seconds > 0 ? seconds : 0);
    end_value(plain);
}

/* Nothing is a dash in text, as in php-fpm's, and an empty string in JSON. */
static void put_slice(struct plain *plain, const char *name, struct slice text)
{
    put_name(plain, slice_of(name));
    if (plain->is_json) {
        page_put(plain->page, "\"");
        page_put_json(plain->page, text);
        page_put(plain->page, "\"");
    } else if (text.len == 0) {
        page_put(plain->page, "-");
    } else {
        page_put_escaped(plain->page, text);
    }
    end_value(plain);
}

static void put_text(struct plain *plain, const char *name, const char *text)
{
    put_slice(plain, name, slice_of(text));
}

/* For programs in seconds since the epoch. */
static void put_time(struct plain *plain, const char *name, time_t time)
{
    char text[64];
    struct tm tm;

    if (plain->is_json) {
        put_number(plain, name, (uint64_t)time);
        return;
    }
    localtime_r(&time, &tm);
    strftime(text, sizeof(text), "%d/%b/%Y:%H:%M:%S %z", &tm);
    put_text(plain, name, text);
}

static uint64_t since(time_t now, time_t then)
{
    return now > then ? (uint64_t)(now - then) : 0;
}

/* --- the service ---------------------------------------------------------- */

static void put_ends(struct plain *plain, const struct status_view *view)
{
    char name[64];

    for (int i = 0; i < BOARD_ENDS; i++) {
        snprintf(name, sizeof(name), "workers ended (%s)", board_end_names[i]);
        put_number(plain, name, view->board->ends[i]);
    }
}

static void put_metrics(struct plain *plain, const struct metrics *metrics)
{
    char name[VIEW_NAME_MAX], number[VIEW_NUMBER_MAX];
    uint32_t count = metrics->count;

    for (uint32_t i = 0; i < count; i++) {
        const struct metric *metric = &metrics->items[i];
        const char *text = view_number(metric_value(metric), number);

        put_name(plain, slice_of(view_metric_name(metric, name)));
        if (plain->is_json && (text[0] == 'N' || text[1] == 'I'))
            page_put(plain->page, "null"); /* JSON has no such numbers */
        else
            page_put(plain->page, text);
        end_value(plain);
    }
}

static void put_service(struct plain *plain, const struct status_view *view)
{
    const uint64_t *sums = view->sums;
    const struct board *board = view->board;

    put_text(plain, "pool", view->status->pool);
    put_text(plain, "process manager", view->status->manager);
    put_time(plain, "start time", view->started);
    put_number(plain, "start since", since(view->now, view->started));
    put_number(plain, "accepted conn", sums[COUNT_ACCEPTED]);
    put_number(plain, "listen queue", view->queue.waiting);
    put_number(plain, "max listen queue", view->queue_max);
    put_number(plain, "listen queue len", view->queue.most);
    put_number(plain, "idle processes", view->idle);
    put_number(plain, "active processes", view->active);
    put_number(plain, "total processes", view->count);
    put_number(plain, "max active processes", view->active_max);
    put_number(plain, "max children reached", sums[COUNT_FULL]);
    put_number(plain, "slow requests", sums[COUNT_SLOW]);
    put_number(plain, "memory peak", view->memory_max);

    put_text(plain, "version", view->status->version);
    put_number(plain, "generation", board->generation);
    put_number(plain, "reloads", board->reloads);
    put_number(plain, "failed reloads", board->failed_reloads);
    put_number(plain, "connections", view->conns);
    put_number(plain, "requests", sums[COUNT_REQUESTS]);
    put_number(plain, "active requests", view->requests_active);
    put_number(plain, "requests without answer", sums[COUNT_STATUS_NONE]);
    put_number(plain, "requests 2xx", sums[COUNT_STATUS_2XX]);
    put_number(plain, "requests 3xx", sums[COUNT_STATUS_3XX]);
    put_number(plain, "requests 4xx", sums[COUNT_STATUS_4XX]);
    put_number(plain, "requests 5xx", sums[COUNT_STATUS_5XX]);
    put_number(plain, "aborted requests", sums[COUNT_ABORTED]);
    put_number(plain, "timed out requests", sums[COUNT_TIMEOUTS]);
    put_number(plain, "refused requests", sums[COUNT_REFUSED]);
    put_number(plain, "status requests", sums[COUNT_PAGES]);
    put_number(plain, "bytes received", sums[COUNT_BYTES_IN]);
    put_number(plain, "bytes sent", sums[COUNT_BYTES_OUT]);
    put_seconds(plain, "request seconds",
                (double)sums[COUNT_NANOSECONDS] * 1e-9);
    put_seconds(plain, "cpu seconds", (double)sums[COUNT_CPU] * 1e-6);
    put_number(plain, "memory", view->memory);
    put_number(plain, "tasks", view->tasks);
    put_ends(plain, view);
}

/* --- in full -------------------------------------------------------------- */

static void begin_block(struct plain *plain, bool *is_first)
{
    if (plain->is_json)
        page_put(plain->page, *is_first ? "{" : ",{");
    else
        page_put(plain->page, "\n************************\n");
    *is_first = false;
    plain->is_first = true;
}

static void end_block(struct plain *plain)
{
    if (plain->is_json)
        page_put(plain->page, "}");
}

static void put_worker(struct plain *plain, const struct status_view *view,
                       const struct view_worker *worker,
                       const struct snapshot *snapshot)
{
    put_number(plain, "pid", worker->pid);
    put_text(plain, "state", worker->state);
    put_time(plain, "start time", worker->started);
    put_number(plain, "start since", since(view->now, worker->started));
    put_number(plain, "requests", worker->requests);
    put_number(plain, "worker", worker->id);
    put_number(plain, "generation", worker->generation);
    put_number(plain, "accepted conn", worker->accepted);
    put_number(plain, "connections", worker->conns);
    put_number(plain, "active requests", worker->active);
    put_number(plain, "max active requests", worker->active_max);
    put_number(plain, "tasks", worker->tasks);
    put_number(plain, "memory", worker->memory);
    put_seconds(plain, "cpu seconds", (double)worker->cpu * 1e-6);
    put_seconds(plain, "blocked seconds", worker->blocked);
    /* Of a worker that did not answer it is the last one. */
    put_seconds(plain, "snapshot age",
                snapshot->taken > 0 && view->now_ms > snapshot->taken
                    ? (double)(view->now_ms - snapshot->taken) / 1000
                    : 0);
    put_number(plain, "requests shown", snapshot->count);
    put_number(plain, "requests left out", snapshot->left_out);
}

static void put_request(struct plain *plain, const struct status_view *view,
                        const struct view_worker *worker,
                        const struct snapshot_request *request)
{
    double age = (double)view->now_ms / 1000 - request->started;

    if (age < 0)
        age = 0;
    put_number(plain, "pid", worker->pid);
    put_text(plain, "state", snapshot_states[request->state]);
    put_number(plain, "request duration", (uint64_t)(age * 1e6));
    put_slice(plain, "request method", request->method);
    put_slice(plain, plain->is_json ? "request uri" : "request URI",
              request->uri);
    put_number(plain, "content length", request->content_length);
    put_slice(plain, "user", request->user);
    put_slice(plain, "script", request->script);
    put_number(plain, "worker", worker->id);
    put_slice(plain, "id", request->id);
    put_seconds(plain, "age", age);
    put_slice(plain, "remote", request->remote);
    put_slice(plain, "where", request->where);
}

static void put_requests(struct plain *plain, const struct status_view *view,
                         const struct view_worker *worker,
                         const struct snapshot *snapshot, bool *is_first)
{
    struct slice rest = { snapshot->bytes, snapshot->len };
    struct snapshot_request request;

    while (view_has_room(plain->page) && snapshot_next(&rest, &request)) {
        begin_block(plain, is_first);
        put_request(plain, view, worker, &request);
        end_block(plain);
    }
}

static void read_snapshot(const struct status_view *view,
                          const struct view_worker *worker,
                          struct snapshot *snapshot)
{
    snapshot_read(&view->board->snapshots[worker->slot - view->board->slots],
                  snapshot);
}

/* Workers, then the requests of all of them. */
static void put_full(struct plain *plain, const struct status_view *view)
{
    struct snapshot snapshot;
    bool is_first = true;

    if (plain->is_json)
        page_put(plain->page, ",\"processes\":[");
    for (unsigned i = 0; i < view->count; i++) {
        read_snapshot(view, &view->workers[i], &snapshot);
        begin_block(plain, &is_first);
        put_worker(plain, view, &view->workers[i], &snapshot);
        end_block(plain);
        free(snapshot.bytes);
    }
    is_first = true;
    if (plain->is_json)
        page_put(plain->page, "],\"running\":[");
    for (unsigned i = 0; i < view->count; i++) {
        read_snapshot(view, &view->workers[i], &snapshot);
        put_requests(plain, view, &view->workers[i], &snapshot, &is_first);
        free(snapshot.bytes);
    }
    if (plain->is_json)
        page_put(plain->page, "]");
}

void status_text(const struct status_view *view, struct buffer *page)
{
    struct plain plain = { .page = page };

    put_service(&plain, view);
    put_metrics(&plain, &view->board->metrics);
    if (view->is_full)
        put_full(&plain, view);
}

void status_json(const struct status_view *view, struct buffer *page)
{
    struct plain plain = { .page = page, .is_json = true, .is_first = true };

    page_put(page, "{");
    put_service(&plain, view);
    page_put(page, ",\"metrics\":{");
    plain.is_first = true;
    put_metrics(&plain, &view->board->metrics);
    page_put(page, "}");
    plain.is_first = false;
    if (view->is_full)
        put_full(&plain, view);
    page_put(page, "}\n");
}
