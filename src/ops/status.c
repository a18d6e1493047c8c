/* status.c -- see status.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/status.h"

#include "core/response.h"
#include "ops/status_view.h"

#include <stdlib.h>

/* What a snapshot may take: a loop that does not turn meanwhile is shown as
 * blocked. */
static const uint64_t patience_ms = 300;

/* The first is what is sent when none is asked for. */
static const struct format {
    const char *name;
    const char *type;
    void (*write)(const struct status_view *view, struct buffer *page);
} formats[] = {
    { "text", "text/plain; charset=utf-8", status_text },
    { "json", "application/json", status_json },
    { "openmetrics",
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
      status_openmetrics },
    { "html", "text/html; charset=utf-8", status_html },
};

/* Seconds after which the page for people is asked for again. */
enum { REFRESH = 5, REFRESH_MAX = 3600 };

enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

struct question {
    const struct format *format;
    bool is_full;
    unsigned refresh;
};

/* A request that waits for snapshots. */
struct waiting {
    struct list link;
    struct request *req; /* with a reference */
    struct question question;
    uint64_t wish;
    uint64_t until; /* ms of the monotonic clock */
};

void status_init(struct status *status, struct board *board, const char *pool,
                 bool is_single, const char *version,
                 const struct status_ops *ops, void *arg)
{
    *status = (struct status){
        .board = board,
        .pool = pool,
        .manager = is_single ? "single" : "static",
        .version = version,
        .ops = ops,
        .arg = arg,
    };
    list_init(&status->waiting);
}

static void name_format(struct question *question, struct slice name)
{
    for (int i = 0; i < FORMATS; i++)
        if (slice_equal(name, slice_of(formats[i].name)))
            question->format = &formats[i];
}

static void read_field(struct question *question, struct slice field)
{
    const char *equals = slice_find(field, '=');
    struct slice value = field;
    unsigned long long seconds;

    if (equals != NULL) {
        field.len = (size_t)(equals - field.data);
        slice_take(&value, field.len + 1);
        if (slice_equal(field, slice_of("refresh")) &&
            slice_to_number(value, REFRESH_MAX, &seconds))
            question->refresh = (unsigned)seconds;
    }
    if (slice_equal(field, slice_of("full")))
        question->is_full = true;
    name_format(question, field);
}

static void read_query(const struct request *req, struct question *question)
{
    struct slice query;

    if (!request_param(req, slice_of("QUERY_STRING"), &query))
        return;
    while (query.len > 0) {
        const char *end = slice_find(query, '&');
        size_t len = end == NULL ? query.len : (size_t)(end - query.data);

        read_field(question, slice_take(&query, len));
        slice_take(&query, 1);
    }
}

/* Answers 405 to what is neither GET nor HEAD. */
static bool is_allowed(struct request *req)
{
    static const char fields[] = "Allow: GET, HEAD\r\n"
                                 "Content-Type: text/plain\r\n"
                                 "Cache-Control: no-store\r\n";
    struct slice method;

    if (req->is_head ||
        !request_param(req, slice_of("REQUEST_METHOD"), &method) ||
        method.len == 0 || slice_equal(method, slice_of("GET")))
        return true;
    response_answer(req, 405, slice_of(fields),
                    slice_of("405 Method Not Allowed\n"));
    return false;
}

static void answer(struct status *status, struct request *req,
                   const struct question *question, uint64_t wish)
{
    struct status_view view;
    struct buffer page, fields;

    buffer_init(&page, STATUS_PAGE_MAX);
    buffer_init(&fields, 1024);
    page_printf(&fields, "Content-Type: %s\r\nCache-Control: no-store\r\n",
                question->format->type);
    if (question->format->write == status_html)
        page_printf(&fields,
                    "Content-Security-Policy: %s\r\n"
                    "X-Content-Type-Options: nosniff\r\n"
                    "Referrer-Policy: no-referrer\r\n",
                    status_policy);
    if (view_take(&view, status, question->is_full, wish)) {
        view.refresh = question->refresh;
        question->format->write(&view, &page);
    }
    if (page.len > 0 && fields.len > 0)
        response_answer(req, 200, buffer_slice(&fields), buffer_slice(&page));
    else
        response_fail(req, 503); /* there is no memory */
    view_free(&view);
    buffer_free(&fields);
    buffer_free(&page);
}

/* Asks for snapshots.  false: there is no memory to wait. */
static bool begin_to_wait(struct status *status, struct request *req,
                          const struct question *question)
{
    struct waiting *waiting = calloc(1, sizeof(*waiting));

    if (waiting == NULL)
        return false;
    waiting->req = request_ref(req);
    waiting->question = *question;
    waiting->wish = ++status->board->wish;
    waiting->until = snapshot_now() + patience_ms;
    list_init(&waiting->link);
    list_append(&status->waiting, &waiting->link);
    status->ops->gather(status->arg);
    return true;
}

void status_answer(struct status *status, struct request *req)
{
    status_answer_as(status, req, formats[0].name);
}

void status_answer_as(struct status *status, struct request *req,
                      const char *format)
{
    struct question question = { .format = &formats[0], .refresh = REFRESH };

    if (!is_allowed(req))
        return;
    name_format(&question, slice_of(format));
    read_query(req, &question);
    if (!question.is_full || !begin_to_wait(status, req, &question))
        answer(status, req, &question, 0);
}

/* Have all workers written down what they have? */
static bool is_fulfilled(const struct board *board, uint64_t wish)
{
    unsigned seen = board->slots_seen;

    for (unsigned i = 0; i < seen; i++)
        if (board->slots[i].is_used && board->slots[i].pid != 0 &&
            board->snapshots[i].number < wish)
            return false;
    return true;
}

static void forget(struct waiting *waiting)
{
    list_remove(&waiting->link);
    request_unref(waiting->req);
    free(waiting);
}

bool status_step(struct status *status)
{
    uint64_t now = snapshot_now();
    struct list *link = status->waiting.next;

    while (link != &status->waiting) {
        struct waiting *waiting = list_entry(link, struct waiting, link);

        link = link->next;
        if (waiting->req->exchange != NULL && waiting->until > now &&
            !is_fulfilled(status->board, waiting->wish))
            continue;
        if (waiting->req->exchange != NULL)
            answer(status, waiting->req, &waiting->question, waiting->wish);
        forget(waiting);
    }
    return !list_is_empty(&status->waiting);
}

void status_end(struct status *status)
{
    while (!list_is_empty(&status->waiting))
        forget(list_entry(status->waiting.next, struct waiting, link));
}

void status_pong(struct request *req)
{
    static const char fields[] = "Content-Type: text/plain\r\n"
                                 "Cache-Control: no-store\r\n";

    if (is_allowed(req))
        response_answer(req, 200, slice_of(fields), slice_of("pong"));
}
