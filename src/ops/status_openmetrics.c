/* status_openmetrics.c -- the status page for Prometheus and its kin, as
 * OpenMetrics 1.0 has it: our families, then the script's, each in one piece.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/status_view.h"

#include <stdlib.h>

/* Without the prefix; unit may be NULL. */
static void family(struct buffer *page, const char *name, const char *type,
                   const char *unit, const char *help)
{
    page_printf(page, "# TYPE fcgi_lua_%s %s\n", name, type);
    if (unit != NULL)
        page_printf(page, "# UNIT fcgi_lua_%s %s\n", name, unit);
    page_printf(page, "# HELP fcgi_lua_%s %s\n", name, help);
}

static void number(struct buffer *page, double value)
{
    char text[VIEW_NUMBER_MAX];

    page_printf(page, " %s\n", view_number(value, text));
}

static void gauge(struct buffer *page, const char *name, const char *unit,
                  const char *help, double value)
{
    family(page, name, "gauge", unit, help);
    page_printf(page, "fcgi_lua_%s", name);
    number(page, value);
}

static void counter(struct buffer *page, const char *name, const char *unit,
                    const char *help, double value)
{
    family(page, name, "counter", unit, help);
    page_printf(page, "fcgi_lua_%s_total", name);
    number(page, value);
}

/* One sample of a family with a label. */
static void labelled(struct buffer *page, const char *name, const char *label,
                     const char *value, double worth)
{
    page_printf(page, "fcgi_lua_%s{%s=\"%s\"}", name, label, value);
    number(page, worth);
}

/* --- the service ---------------------------------------------------------- */

static void put_info(struct buffer *page, const struct status_view *view)
{
    family(page, "server", "info", NULL, "What is served, and how.");
    page_put(page, "fcgi_lua_server_info{version=\"");
    page_put_label(page, slice_of(view->status->version));
    page_put(page, "\",pool=\"");
    page_put_label(page, slice_of(view->status->pool));
    page_printf(page, "\",process_manager=\"%s\"} 1\n", view->status->manager);
    gauge(page, "start_time_seconds", "seconds",
          "When the service began, in seconds since the epoch.",
          view->board->started);
    gauge(page, "generation", NULL, "The generation of the script.",
          view->board->generation);
    family(page, "reloads", "counter", NULL, "Reloads of the script.");
    labelled(page, "reloads_total", "result", "ok",
             (double)view->board->reloads);
    labelled(page, "reloads_total", "result", "failed",
             (double)view->board->failed_reloads);
}

static void put_connections(struct buffer *page, const struct status_view *view)
{
    counter(page, "accepted_connections", NULL, "Connections accepted.",
            (double)view->sums[COUNT_ACCEPTED]);
    gauge(page, "connections", NULL, "Connections open now.",
          (double)view->conns);
    gauge(page, "listen_queue", NULL, "Connections that wait to be accepted.",
          view->queue.waiting);
    gauge(page, "listen_queue_max", NULL,
          "The most connections that were seen waiting.", view->queue_max);
    gauge(page, "listen_queue_length", NULL,
          "Connections that the queues can hold.", view->queue.most);
}

static void put_workers(struct buffer *page, const struct status_view *view)
{
    family(page, "workers", "gauge", NULL, "Worker processes.");
    labelled(page, "workers", "state", "idle", view->idle);
    labelled(page, "workers", "state", "active", view->active);
    gauge(page, "active_workers_max", NULL,
          "The most workers that were seen with a request.", view->active_max);
    family(page, "worker_ends", "counter", NULL,
           "Worker processes that have ended, by reason.");
    for (int i = 0; i < BOARD_ENDS; i++)
        labelled(page, "worker_ends_total", "reason", board_end_names[i],
                 (double)view->board->ends[i]);
    gauge(page, "tasks", NULL, "Lua tasks that have not ended.",
          (double)view->tasks);
    gauge(page, "lua_memory_bytes", "bytes", "Memory of Lua in all workers.",
          (double)view->memory);
    gauge(page, "lua_memory_max_bytes", "bytes",
          "The most memory of Lua that was seen in a worker.",
          (double)view->memory_max);
    counter(page, "cpu_seconds", "seconds", "CPU time of the workers.",
            (double)view->sums[COUNT_CPU] * 1e-6);
}

static void put_durations(struct buffer *page, const uint64_t *sums)
{
    char end[VIEW_NUMBER_MAX];
    uint64_t count = 0;

    family(page, "request_duration_seconds", "histogram", "seconds",
           "Time from the first byte of a request to the end of its answer.");
    for (int i = 0; i < BOARD_BUCKETS; i++) {
        count += sums[COUNT_BUCKET + i];
        if (i < BOARD_BUCKETS - 1)
            view_number(board_buckets[i], end);
        page_printf(page,
                    "fcgi_lua_request_duration_seconds_bucket{le=\"%s%s\"}"
                    " %llu\n",
                    i < BOARD_BUCKETS - 1 ? end : "+Inf",
                    /* a float, as the format wants it */
                    i < BOARD_BUCKETS - 1 && board_buckets[i] >= 1 &&
                            slice_find(slice_of(end), '.') == NULL
                        ? ".0"
                        : "",
                    (unsigned long long)count);
    }
    page_printf(page, "fcgi_lua_request_duration_seconds_count %llu\n",
                (unsigned long long)count);
    page_put(page, "fcgi_lua_request_duration_seconds_sum");
    number(page, (double)sums[COUNT_NANOSECONDS] * 1e-9);
}

static void put_requests(struct buffer *page, const struct status_view *view)
{
    static const struct {
        const char *name;
        enum board_count count;
    } classes[] = {
        { "none", COUNT_STATUS_NONE }, { "2xx", COUNT_STATUS_2XX },
        { "3xx", COUNT_STATUS_3XX },   { "4xx", COUNT_STATUS_4XX },
        { "5xx", COUNT_STATUS_5XX },
    };
    const uint64_t *sums = view->sums;

    family(page, "requests", "counter", NULL,
           "Requests that have ended, by the class of their status.");
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        labelled(page, "requests_total", "status", classes[i].name,
                 (double)sums[classes[i].count]);
    gauge(page, "active_requests", NULL, "Requests under way.",
          (double)view->requests_active);
    counter(page, "aborted_requests", NULL,
            "Requests whose client had gone before their end.",
            (double)sums[COUNT_ABORTED]);
    counter(page, "timed_out_requests", NULL,
            "Requests that --timeout cancelled.", (double)sums[COUNT_TIMEOUTS]);
    counter(page, "refused_requests", NULL,
            "Requests for which there was no place or no memory.",
            (double)sums[COUNT_REFUSED]);
    counter(page, "request_limit_reached", NULL,
            "Times that a worker had reached --max-reqs.",
            (double)sums[COUNT_FULL]);
    counter(page, "slow_requests", NULL, "Requests slower than --slow.",
            (double)sums[COUNT_SLOW]);
    counter(page, "status_requests", NULL,
            "Requests for the status page and the ping page.",
            (double)sums[COUNT_PAGES]);
    counter(page, "received_bytes", "bytes", "Bytes of request bodies.",
            (double)sums[COUNT_BYTES_IN]);
    counter(page, "sent_bytes", "bytes", "Bytes of the bodies of answers.",
            (double)sums[COUNT_BYTES_OUT]);
    put_durations(page, sums);
}

/* --- in full -------------------------------------------------------------- */

/* A family with a sample for each worker. */
static void per_worker(struct buffer *page, const struct status_view *view,
                       const char *name, const char *type, const char *unit,
                       const char *help,
                       double (*value)(const struct view_worker *worker))
{
    family(page, name, type, unit, help);
    for (unsigned i = 0; i < view->count; i++) {
        const struct view_worker *worker = &view->workers[i];

        page_printf(page, "fcgi_lua_%s%s{worker=\"%u\",pid=\"%u\"}", name,
                    type[0] == 'c' ? "_total" : "", worker->id, worker->pid);
        number(page, value(worker));
    }
}

static double requests_of(const struct view_worker *worker)
{
    return (double)worker->requests;
}

static double active_of(const struct view_worker *worker)
{
    return worker->active;
}

static double conns_of(const struct view_worker *worker)
{
    return worker->conns;
}

static double memory_of(const struct view_worker *worker)
{
    return (double)worker->memory;
}

static double cpu_of(const struct view_worker *worker)
{
    return (double)worker->cpu * 1e-6;
}

static double start_of(const struct view_worker *worker)
{
    return (double)worker->started;
}

static double blocked_of(const struct view_worker *worker)
{
    return worker->blocked;
}

static void put_label(struct buffer *page, const char *name, struct slice value)
{
    page_printf(page, ",%s=\"", name);
    page_put_label(page, value);
    page_put(page, "\"");
}

static void put_running(struct buffer *page, const struct status_view *view,
                        const struct view_worker *worker)
{
    struct snapshot snapshot;
    struct snapshot_request request;
    struct slice rest;

    snapshot_read(&view->board->snapshots[worker->slot - view->board->slots],
                  &snapshot);
    rest = (struct slice){ snapshot.bytes, snapshot.len };
    while (view_has_room(page) && snapshot_next(&rest, &request)) {
        double age = (double)view->now_ms / 1000 - request.started;

        page_printf(page,
                    "fcgi_lua_running_request_age_seconds{worker=\"%u\","
                    "pid=\"%u\",state=\"%s\"",
                    worker->id, worker->pid, snapshot_states[request.state]);
        put_label(page, "id", request.id);
        put_label(page, "method", request.method);
        put_label(page, "uri", request.uri);
        put_label(page, "script", request.script);
        put_label(page, "where", request.where);
        page_put(page, "}");
        number(page, age > 0 ? age : 0);
    }
    free(snapshot.bytes);
}

static void put_full(struct buffer *page, const struct status_view *view)
{
    per_worker(page, view, "worker_requests", "counter", NULL,
               "Requests that have ended.", requests_of);
    per_worker(page, view, "worker_active_requests", "gauge", NULL,
               "Requests under way.", active_of);
    per_worker(page, view, "worker_connections", "gauge", NULL,
               "Connections open now.", conns_of);
    per_worker(page, view, "worker_lua_memory_bytes", "gauge", "bytes",
               "Memory of Lua.", memory_of);
    per_worker(page, view, "worker_cpu_seconds", "counter", "seconds",
               "CPU time.", cpu_of);
    per_worker(page, view, "worker_start_time_seconds", "gauge", "seconds",
               "When the worker began, in seconds since the epoch.", start_of);
    per_worker(page, view, "worker_blocked_seconds", "gauge", "seconds",
               "Time for which its loop has not turned.", blocked_of);
    family(page, "running_request_age_seconds", "gauge", "seconds",
           "Requests under way, and where they wait.");
    for (unsigned i = 0; i < view->count; i++)
        put_running(page, view, &view->workers[i]);
}

/* --- the script's own ----------------------------------------------------- */

static void put_help(struct buffer *page, const char *help)
{
    for (; *help != '\0'; help++) {
        if (*help == '\\')
            page_put(page, "\\\\");
        else if (*help == '\n')
            page_put(page, "\\n");
        else if (*help == '"')
            page_put(page, "\\\"");
        else
            page_put_slice(page, (struct slice){ help, 1 });
    }
}

static void put_family(struct buffer *page, const struct metrics *metrics,
                       uint32_t first, uint32_t count)
{
    const struct metric *head = &metrics->items[first];
    bool is_counter = head->kind == METRIC_COUNTER;
    int len = (int)metric_family(head->kind, head->name);

    page_printf(page, "# TYPE %.*s %s\n", len, head->name,
                is_counter ? "counter" : "gauge");
    if (head->help[0] != '\0') {
        page_printf(page, "# HELP %.*s ", len, head->name);
        put_help(page, head->help);
        page_put(page, "\n");
    }
    for (uint32_t i = first; i < count; i++) {
        const struct metric *metric = &metrics->items[i];

        if (strcmp(metric->name, head->name) != 0)
            continue;
        page_printf(page, "%.*s%s", len, metric->name,
                    is_counter ? "_total" : "");
        if (metric->labels[0] != '\0')
            page_printf(page, "{%s}", metric->labels);
        number(page, metric_value(metric));
    }
}

static bool is_first(const struct metrics *metrics, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(metrics->items[i].name, metrics->items[index].name) == 0)
            return false;
    return true;
}

void status_openmetrics(const struct status_view *view, struct buffer *page)
{
    const struct metrics *metrics = &view->board->metrics;
    uint32_t count = metrics->count;

    put_info(page, view);
    put_connections(page, view);
    put_workers(page, view);
    put_requests(page, view);
    for (uint32_t i = 0; i < count; i++)
        if (is_first(metrics, i))
            put_family(page, metrics, i, count);
    if (view->is_full)
        put_full(page, view);
    page_put(page, "# EOF\n");
}
