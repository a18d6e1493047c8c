/* status_html.c -- the status page for people.
 *
 * It needs no script: the browser asks for it again by itself.  Whatever came
 * from outside goes through put_text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/status_chart.h"
#include "ops/status_view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Plain bytes, and \xHH for all others; none of them is markup. */
static void put_text(struct buffer *page, struct slice text)
{
    struct buffer plain;

    buffer_init(&plain, STATUS_PAGE_MAX);
    page_put_escaped(&plain, text);
    for (size_t i = 0; i < plain.len; i++) {
        switch (plain.data[i]) {
        case '<':
            page_put(page, "&lt;");
            break;
        case '>':
            page_put(page, "&gt;");
            break;
        case '&':
            page_put(page, "&amp;");
            break;
        case '\'':
            page_put(page, "&#39;");
            break;
        default:
            page_put_slice(page, (struct slice){ plain.data + i, 1 });
        }
    }
    buffer_free(&plain);
}

/* The page again, in another way. */
static void put_link(struct buffer *page, const char *query, const char *text)
{
    page_printf(page, "<a href=\"?%s\">%s</a>\n", query, text);
}

/* --- the head ---------------------------------------------------------------
 */

static void put_links(struct buffer *page, const struct status_view *view)
{
    bool refreshes = view->refresh > 0;

    page_put(page, "<nav aria-label=\"Formats\">\n");
    if (view->is_full)
        put_link(page, refreshes ? "html" : "html&amp;refresh=0",
                 "without requests");
    else
        put_link(page,
                 refreshes ? "html&amp;full"
                           : "html&amp;full&amp;"
                             "refresh=0",
                 "with running requests");
    if (refreshes)
        put_link(page,
                 view->is_full ? "html&amp;full&amp;refresh=0"
                               : "html&amp;refresh=0",
                 "pause");
    else
        put_link(page, view->is_full ? "html&amp;full" : "html", "go on");
    put_link(page, "text", "text");
    put_link(page, "json", "JSON");
    put_link(page, "openmetrics", "OpenMetrics");
    page_put(page, "</nav>\n");
}

static void put_head(struct buffer *page, const struct status_view *view)
{
    page_put(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
                   "<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width, "
                   "initial-scale=1\">\n");
    if (view->refresh > 0)
        page_printf(page, "<meta http-equiv=\"refresh\" content=\"%u\">\n",
                    view->refresh);
    page_put(page, "<title>");
    put_text(page, slice_of(view->status->pool));
    page_put(page, " \xe2\x80\x93 fcgi-lua</title>\n<style>");
    page_put(page, status_style);
    page_put(page, "</style>\n</head>\n<body>\n");
}

static void put_header(struct buffer *page, const struct status_view *view)
{
    char text[CHART_TEXT_MAX];
    struct tm tm;

    page_put(page, "<header><h1>");
    put_text(page, slice_of(view->status->pool));
    page_put(page, "</h1>\n<p>fcgi-lua ");
    put_text(page, slice_of(view->status->version));
    page_printf(page, ", up <span id=\"uptime\">%s</span>",
                chart_time(view->now - view->started, text));
    if (localtime_r(&view->now, &tm) != NULL &&
        strftime(text, sizeof(text), "%H:%M:%S", &tm) > 0)
        page_printf(page, ", as of <time>%s</time>", text);
    page_put(page, "</p>\n");
    put_links(page, view);
    page_put(page, "</header>\n");
}

/* --- how it is now ----------------------------------------------------------
 */

/* What makes a reload, as far as the workers show it. */
static void put_reload(struct buffer *page, const struct status_view *view)
{
    unsigned current = view->board->generation, before = 0, behind = 0;

    for (unsigned i = 0; i < view->count; i++) {
        before += view->workers[i].generation < current ? 1 : 0;
        behind += view->workers[i].generation > current ? 1 : 0;
    }
    if (behind > 0)
        page_printf(page,
                    "<p class=\"notice\" id=\"reload\">Generation %u is "
                    "starting; its workers so far: %u.</p>\n",
                    current + 1, behind);
    else if (before > 0)
        page_printf(page,
                    "<p class=\"notice\" id=\"reload\">Generation %u serves; "
                    "workers of earlier ones that finish their requests: "
                    "%u.</p>\n",
                    current, before);
}

static void put_blocked(struct buffer *page, const struct status_view *view)
{
    unsigned blocked = 0;

    for (unsigned i = 0; i < view->count; i++)
        blocked += view->workers[i].blocked > 0 ? 1 : 0;
    if (blocked > 0)
        page_printf(page,
                    "<p class=\"notice bad\" role=\"alert\">%u of %u workers "
                    "%s blocked: Lua or C code there has not let the loop go "
                    "on.</p>\n",
                    blocked, view->count, blocked == 1 ? "is" : "are");
    if (view->count == 0)
        page_put(page, "<p class=\"notice bad\" role=\"alert\">No worker "
                       "runs.</p>\n");
}

static void begin_card(struct buffer *page, const char *id, const char *name)
{
    page_printf(page, "<div><dt>%s</dt><dd id=\"%s\">", name, id);
}

static void put_card(struct buffer *page, const char *id, const char *name,
                     const char *value, const char *more)
{
    begin_card(page, id, name);
    page_printf(page, "%s<small>%s</small></dd></div>\n", value, more);
}

static void put_number_card(struct buffer *page, const char *id,
                            const char *name, uint64_t value, const char *more)
{
    char text[CHART_TEXT_MAX];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    put_card(page, id, name, text, more);
}

static void put_cards(struct buffer *page, const struct status_view *view,
                      const struct chart_now *now)
{
    const uint64_t *sums = view->sums;
    char text[CHART_TEXT_MAX], more[CHART_TEXT_MAX], line[128];

    page_put(page, "<dl class=\"now\">\n");
    snprintf(line, sizeof(line), "%s now", chart_rate(now->requests, more));
    put_number_card(page, "total", "Requests", sums[COUNT_REQUESTS], line);
    snprintf(line, sizeof(line), "%llu timed out, %llu refused",
             (unsigned long long)sums[COUNT_TIMEOUTS],
             (unsigned long long)sums[COUNT_REFUSED]);
    put_number_card(page, "errors", "Answered with 5xx", sums[COUNT_STATUS_5XX],
                    line);
    snprintf(line, sizeof(line), "95 %%: %s", chart_duration(now->p95, more));
    put_card(page, "mean", "Mean latency", chart_duration(now->mean, text),
             line);
    snprintf(line, sizeof(line), "%llu tasks", (unsigned long long)view->tasks);
    put_number_card(page, "active", "Running requests", view->requests_active,
                    line);
    snprintf(line, sizeof(line), "%u waiting, %u at most", view->queue.waiting,
             view->queue_max);
    put_number_card(page, "connections", "Connections", view->conns, line);
    snprintf(line, sizeof(line), "%u idle, %u active", view->idle,
             view->active);
    put_number_card(page, "workers", "Workers", view->count, line);
    snprintf(line, sizeof(line), "%s in one at most",
             chart_bytes((double)view->memory_max, more));
    put_card(page, "lua", "Lua memory", chart_bytes((double)view->memory, text),
             line);
    snprintf(line, sizeof(line), "%llu reloads, %llu failed",
             (unsigned long long)view->board->reloads,
             (unsigned long long)view->board->failed_reloads);
    put_number_card(page, "generation", "Generation", view->board->generation,
                    line);
    page_put(page, "</dl>\n");
}

/* --- tables -----------------------------------------------------------------
 */

/* Wide ones scroll by themselves, so that the page does not. */
static void begin_table(struct buffer *page, const char *id, const char *title,
                        const char *const *columns, size_t count)
{
    page_printf(page,
                "<section class=\"table\"><h2 id=\"%s-h\">%s</h2>\n"
                "<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                "aria-labelledby=\"%s-h\">\n"
                "<table id=\"%s\">\n<thead><tr>",
                id, title, id, id);
    for (size_t i = 0; i < count; i++)
        page_printf(page, "<th scope=\"col\"%s>%s</th>",
                    columns[i][0] == '-' ? " class=\"t\"" : "",
                    columns[i] + (columns[i][0] == '-' ? 1 : 0));
    page_put(page, "</tr></thead>\n<tbody>\n");
}

static void end_table(struct buffer *page)
{
    page_put(page, "</tbody></table></div></section>\n");
}

static void put_worker(struct buffer *page, const struct status_view *view,
                       const struct view_worker *worker)
{
    char text[CHART_TEXT_MAX];

    page_printf(page,
                "<tr><th scope=\"row\">%u</th><td>%u</td><td>%u</td>"
                "<td class=\"t %s\">%s</td><td>%u</td><td>%u</td>"
                "<td>%llu</td>",
                worker->id, worker->pid, worker->generation, worker->state,
                worker->state, worker->conns, worker->active,
                (unsigned long long)worker->requests);
    page_printf(page, "<td>%s</td>", chart_bytes((double)worker->memory, text));
    page_printf(page, "<td>%s</td>",
                chart_duration((double)worker->cpu * 1e-6, text));
    page_printf(
        page, "<td>%s</td><td%s>%s</td></tr>\n",
        chart_time(view->now - worker->started, text),
        worker->blocked > 0 ? " class=\"bad\"" : "",
        worker->blocked > 0
            ? chart_duration(worker->blocked, (char[CHART_TEXT_MAX]){ 0 })
            : "\xe2\x80\x93");
}

static void put_workers(struct buffer *page, const struct status_view *view)
{
    static const char *const columns[] = {
        "-Worker",  "PID",    "Generation", "-State", "Connections", "Running",
        "Requests", "Memory", "CPU time",   "Up",     "Blocked for"
    };

    begin_table(page, "worker-table", "Workers", columns,
                sizeof(columns) / sizeof(columns[0]));
    for (unsigned i = 0; i < view->count; i++)
        put_worker(page, view, &view->workers[i]);
    end_table(page);
}

static void put_request(struct buffer *page, const struct status_view *view,
                        const struct view_worker *worker,
                        const struct snapshot_request *request)
{
    char text[CHART_TEXT_MAX];
    double age = (double)view->now_ms / 1000 - request->started;

    page_printf(page,
                "<tr><th scope=\"row\">%u</th><td>%s</td><td class=\"t\">%s"
                "</td><td class=\"t\">",
                worker->id, chart_duration(age > 0 ? age : 0, text),
                snapshot_states[request->state]);
    put_text(page, request->method);
    page_put(page, "</td><td class=\"w\"><code>");
    put_text(page, request->uri);
    page_put(page, "</code></td><td class=\"w\"><code>");
    put_text(page, request->where);
    page_put(page, "</code></td><td class=\"t\">");
    put_text(page, request->remote);
    page_put(page, "</td><td class=\"t\">");
    put_text(page, request->user);
    page_put(page, "</td><td class=\"t\"><code>");
    put_text(page, request->id);
    page_put(page, "</code></td></tr>\n");
}

/* Returns how many were left out. */
static unsigned put_requests_of(struct buffer *page,
                                const struct status_view *view,
                                const struct view_worker *worker)
{
    struct snapshot snapshot = { .bytes = NULL };
    struct snapshot_request request;
    struct slice rest;
    unsigned shown = 0, all;

    snapshot_read(&view->board->snapshots[worker->slot - view->board->slots],
                  &snapshot);
    rest = (struct slice){ snapshot.bytes, snapshot.len };
    for (; view_has_room(page) && snapshot_next(&rest, &request); shown++)
        put_request(page, view, worker, &request);
    all = snapshot.count + snapshot.left_out;
    free(snapshot.bytes);
    return all > shown ? all - shown : 0;
}

static void put_requests(struct buffer *page, const struct status_view *view)
{
    static const char *const columns[] = { "-Worker", "Age",   "-State",
                                           "-Method", "-URI",  "-Where",
                                           "-Remote", "-User", "-Id" };
    unsigned left_out = 0;

    begin_table(page, "request-table", "Running requests", columns,
                sizeof(columns) / sizeof(columns[0]));
    for (unsigned i = 0; i < view->count; i++)
        left_out += put_requests_of(page, view, &view->workers[i]);
    end_table(page);
    if (left_out > 0)
        page_printf(page, "<p class=\"none\">%u more are not shown.</p>\n",
                    left_out);
}

static void put_row(struct buffer *page, const char *name, uint64_t value)
{
    page_printf(page, "<tr><th scope=\"row\">%s</th><td>%llu</td></tr>\n", name,
                (unsigned long long)value);
}

static void put_counters(struct buffer *page, const struct status_view *view)
{
    static const char *const columns[] = { "-Counter", "Since the start" };
    static const struct {
        const char *name;
        enum board_count count;
    } rows[] = {
        { "connections accepted", COUNT_ACCEPTED },
        { "answered with 2xx", COUNT_STATUS_2XX },
        { "answered with 3xx", COUNT_STATUS_3XX },
        { "answered with 4xx", COUNT_STATUS_4XX },
        { "answered with 5xx", COUNT_STATUS_5XX },
        { "without an answer", COUNT_STATUS_NONE },
        { "aborted by the client", COUNT_ABORTED },
        { "cancelled by --timeout", COUNT_TIMEOUTS },
        { "refused", COUNT_REFUSED },
        { "times --max-reqs was reached", COUNT_FULL },
        { "slower than --slow", COUNT_SLOW },
        { "for the status page", COUNT_PAGES },
        { "bytes of bodies received", COUNT_BYTES_IN },
        { "bytes of bodies sent", COUNT_BYTES_OUT },
    };
    char name[64];

    page_put(page, "<details><summary>All counters</summary>\n");
    begin_table(page, "counter-table", "Counters", columns, 2);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        put_row(page, rows[i].name, view->sums[rows[i].count]);
    for (int i = 0; i < BOARD_ENDS; i++) {
        snprintf(name, sizeof(name), "workers ended: %s", board_end_names[i]);
        put_row(page, name, view->board->ends[i]);
    }
    end_table(page);
    page_put(page, "</details>\n");
}

static void put_metrics(struct buffer *page, const struct metrics *metrics)
{
    static const char *const columns[] = { "-Metric", "Value", "-Meaning" };
    char name[VIEW_NAME_MAX], number[VIEW_NUMBER_MAX];
    uint32_t count = metrics->count;

    if (count == 0)
        return;
    begin_table(page, "metric-table", "Metrics of the script", columns, 3);
    for (uint32_t i = 0; i < count; i++) {
        const struct metric *metric = &metrics->items[i];

        page_put(page, "<tr><th scope=\"row\"><code>");
        put_text(page, slice_of(view_metric_name(metric, name)));
        page_printf(page, "</code></th><td>%s</td><td class=\"w\">",
                    view_number(metric_value(metric), number));
        put_text(page, slice_of(metric->help));
        page_put(page, "</td></tr>\n");
    }
    end_table(page);
}

void status_html(const struct status_view *view, struct buffer *page)
{
    struct buffer charts;
    struct chart_now now;

    buffer_init(&charts, STATUS_PAGE_MAX);
    status_charts(view->board, &charts, &now);
    put_head(page, view);
    put_header(page, view);
    page_put(page, "<main>\n");
    put_blocked(page, view);
    put_reload(page, view);
    put_cards(page, view, &now);
    page_put_slice(page, buffer_slice(&charts));
    put_workers(page, view);
    if (view->is_full)
        put_requests(page, view);
    put_metrics(page, &view->board->metrics);
    put_counters(page, view);
    page_put(page, "</main>\n<footer>");
    if (view->refresh > 0)
        page_printf(page, "This page is new every %u seconds.", view->refresh);
    else
        page_put(page, "This page stays as it is.");
    page_put(page, "</footer>\n</body>\n</html>\n");
    buffer_free(&charts);
}
