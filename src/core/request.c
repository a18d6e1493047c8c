/* request.c -- see request.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/request.h"

#include "core/limits.h"
#include "core/params.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A pooled request keeps the memory of its parameters for the next one. */
struct request *request_new(struct service *service, enum request_role role,
                            struct exchange *exchange)
{
    bool kept = service->requests.kept > 0;
    struct request *req = pool_get(&service->requests);
    struct buffer params;

    if (req == NULL)
        return NULL;
    if (kept)
        params = req->params;
    else
        buffer_init(&params, 0);
    memset(req, 0, offsetof(struct request, noted));
    req->refs = 1;
    req->role = role;
    req->serial = ++service->serial;
    req->service = service;
    req->exchange = exchange;
    req->started = *service->now;
    req->params = params;
    req->params.max = service->limits.max_params;
    list_init(&req->waiters);
    body_init(&req->body);
    body_init(&req->data);
    response_init(&req->response);
    service->active++;
    return req;
}

void request_mark_surplus(struct request *req)
{
    req->is_surplus = true;
    req->service->surplus++;
}

/* It counts no more. */
static void leave(struct request *req)
{
    struct service *service = req->service;

    service->active--;
    if (req->is_page)
        service->on_pages--;
    else if (req->is_surplus)
        service->surplus--;
}

void request_unref(struct request *req)
{
    struct service *service = req->service;

    if (--req->refs > 0)
        return;
    body_free(&req->body, service);
    body_free(&req->data, service);
    response_free(&req->response);
    if (service->requests.kept < service->requests.most)
        buffer_reset(&req->params, PARAMS_KEEP);
    else
        buffer_free(&req->params);
    pool_put(&service->requests, req);
}

void request_pool_free(struct pool *pool)
{
    while (pool->kept > 0) {
        struct request *req = pool_get(pool);

        buffer_free(&req->params);
        free(req);
    }
}

void request_wake(struct request *req)
{
    struct list woken;

    if (list_is_empty(&req->waiters))
        return;
    list_init(&woken); /* who waits again waits for the next news */
    list_move_all(&req->waiters, &woken);
    while (!list_is_empty(&woken)) {
        struct request_waiter *waiter =
            list_entry(list_take(&woken), struct request_waiter, link);

        waiter->wake(waiter);
    }
}

void request_wait(struct request *req, struct request_waiter *waiter)
{
    list_append(&req->waiters, &waiter->link);
}

/* Both names that matter have as many bytes. */
enum { LEN_OF_INTEREST = sizeof("REQUEST_METHOD") - 1 };

static void note_length(struct request *req, struct slice value)
{
    unsigned long long length;

    if (req->role != REQUEST_AUTHORIZER &&
        slice_to_number(value, INT64_MAX, &length))
        req->body.expected = length;
}

static void note_param(void *arg, struct slice name, struct slice value)
{
    struct request *req = arg;

    if (memcmp(name.data, "REQUEST_METHOD", LEN_OF_INTEREST) == 0)
        req->is_head = slice_equal(value, slice_of("HEAD"));
    else if (memcmp(name.data, "CONTENT_LENGTH", LEN_OF_INTEREST) == 0)
        note_length(req, value);
}

/* One pass finds out whether the pairs are whole and what is needed of them. */
static bool read_params(struct request *req)
{
    const struct service *service = req->service;
    const struct params_wanted *wanted = service->wanted;
    struct slice params = buffer_slice(&req->params);
    bool repeats = false;

    if (wanted == NULL)
        return params_scan(params, LEN_OF_INTEREST, note_param, req);
    req->is_noted = true;
    memset(req->noted, 0, wanted->count * sizeof(req->noted[0]));
    if (!params_scan_wanted(params, wanted, req->noted, &repeats))
        return false;
    if (repeats) /* what is said last counts, as for everybody */
        return params_scan(params, LEN_OF_INTEREST, note_param, req);
    req->is_head =
        slice_equal(req->noted[service->wanted_method], slice_of("HEAD"));
    note_length(req, req->noted[service->wanted_length]);
    return true;
}

bool request_is_for_page(const struct request *req)
{
    const struct service_pages *pages = req->service->pages;

    return pages != NULL && req->role == REQUEST_RESPONDER &&
           !req->params_too_large && pages->wants(pages, req);
}

static void answer_page(struct request *req)
{
    struct service *service = req->service;

    if (req->is_surplus)
        service->surplus--;
    req->is_page = true;
    service->on_pages++;
    service->paged++;
    service->pages->answer(service->pages, req);
}

void request_ready(struct request *req)
{
    uint64_t max = req->service->limits.max_body;

    if (req->params_too_large) {
        service_note_refusal(req->service, "parameters over --max-params");
        response_fail(req, 431);
    } else if (!read_params(req)) {
        response_fail(req, 400);
    } else if (req->service->pages != NULL && request_is_for_page(req)) {
        answer_page(req);
    } else if (max > 0 && req->body.expected > max) {
        service_note_refusal(req->service, "a body over --max-body");
        response_fail(req, 413);
    } else {
        if (req->role == REQUEST_AUTHORIZER)
            body_end(&req->body); /* spec 6.3: it gets none */
        if (req->role != REQUEST_FILTER)
            body_end(&req->data);
        req->is_ready = true;
        if (service_active(req->service) > req->service->active_max)
            req->service->active_max = service_active(req->service);
        req->service->ops->ready(req->service, req);
    }
}

void request_abort(struct request *req)
{
    if (req->is_aborted || req->is_ended)
        return;
    req->is_aborted = true;
    if (req->is_ready)
        req->service->ops->aborted(req->service, req);
    request_wake(req);
}

/* The service's clock stands still while a handler computes. */
static double precise_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void tell_observers(struct request *req)
{
    struct service *service = req->service;
    struct service_observer *observer = service->observers;

    if (observer == NULL)
        return;
    req->ended = precise_now();
    if (service->measures_cpu && service->ops->measure != NULL)
        service->ops->measure(service, req);
    for (; observer != NULL; observer = observer->next)
        observer->ended(observer, req);
}

void request_detach(struct request *req)
{
    if (req->exchange == NULL)
        return;
    req->exchange = NULL;
    leave(req);
    request_abort(req);
    tell_observers(req);
}

void request_disown(struct request *req)
{
    req->exchange = NULL;
    leave(req);
    req->is_aborted = true;
}

void request_refused(struct service *service, double started, bool is_aborted,
                     uint64_t body_bytes)
{
    struct request req = { .service = service,
                           .serial = ++service->serial,
                           .role = REQUEST_RESPONDER,
                           .started = started,
                           .is_aborted = is_aborted,
                           .is_ended = !is_aborted };

    req.response.is_head_sent = !is_aborted;
    req.response.status = 503;
    req.response.body_bytes = body_bytes;
    if (!is_aborted)
        service->refused++;
    tell_observers(&req);
}

void request_ended(struct request *req)
{
    req->exchange = NULL;
    req->is_ended = true;
    leave(req);
    tell_observers(req);
    if (!req->is_aborted) /* else a reader still gets what had arrived */
        request_drop_input(req);
    request_wake(req);
}

void request_drop_input(struct request *req)
{
    body_drop(&req->body, req->service);
    body_drop(&req->data, req->service);
    if (req->exchange != NULL) /* reading may go on */
        req->exchange->ops->body_consumed(req->exchange);
}

static void refuse_body(struct request *req, const char *why)
{
    req->is_too_large = true;
    if (why != NULL)
        req->service->ops->complain(req->service, req, why);
    response_fail(req, 413);
}

void request_input(struct request *req, struct body *body, struct block *block,
                   struct slice bytes, bool to_file)
{
    if (req->is_ended)
        return;
    switch (body_add(body, req->service, block, bytes, to_file)) {
    case BODY_OK:
        request_wake(req);
        break;
    case BODY_TOO_LARGE:
        service_note_refusal(req->service, "a body over --max-body");
        refuse_body(req, NULL);
        break;
    case BODY_NO_SPACE:
        refuse_body(req, "no space for the body: --max-spool is reached or "
                         "--tmpdir cannot be written");
        break;
    case BODY_NO_MEMORY:
        response_fail(req, 503);
        break;
    }
}

void request_input_end(struct request *req, struct body *body)
{
    if (body->ended || req->is_ended)
        return;
    body_end(body);
    request_wake(req);
}

/* What a reader is told where there is nothing to read. */
static enum request_status why_nothing(const struct request *req,
                                       const struct body *body)
{
    if (req->is_too_large)
        return REQUEST_TOO_LARGE;
    if (req->is_aborted)
        return REQUEST_ABORTED;
    if (req->is_ended)
        return REQUEST_FINISHED;
    if (!body->ended)
        return REQUEST_WAIT;
    return body->truncated ? REQUEST_ABORTED : REQUEST_EOF;
}

enum request_status request_peek(struct request *req, struct body *body,
                                 size_t max, struct slice *got)
{
    if (body_available(body) == 0)
        return why_nothing(req, body);
    if (body_peek(body, req->service, got) != BODY_OK) {
        response_fail(req, 503);
        return REQUEST_ABORTED;
    }
    *got = slice_take(got, max);
    return REQUEST_DATA;
}

enum request_status request_peek_all(struct request *req, struct body *body,
                                     uint64_t max, uint64_t *size)
{
    enum request_status status;

    *size = body_available(body);
    if (*size > max)
        return REQUEST_TOO_LARGE;
    status = why_nothing(req, body);
    if (status == REQUEST_WAIT && body->expected > 0 &&
        body->expected - body->received > max - *size)
        return REQUEST_TOO_LARGE; /* it will be */
    return status == REQUEST_EOF ? REQUEST_DATA : status;
}

void request_consume(struct request *req, struct body *body, size_t n)
{
    body_consume(body, req->service, n);
    if (req->exchange != NULL)
        req->exchange->ops->body_consumed(req->exchange);
}

bool request_param(const struct request *req, struct slice name,
                   struct slice *value)
{
    return params_find(buffer_slice(&req->params), name, value);
}

static bool is_sound_id(struct slice id)
{
    if (id.len == 0 || id.len > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] <= ' ' || id.data[i] > '~')
            return false;
    return true;
}

struct slice request_id_of(const struct request *req, struct slice given,
                           char buffer[REQUEST_ID_MAX])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t rest = req->serial;
    size_t at = REQUEST_ID_MAX;

    if (is_sound_id(given))
        return given;
    do {
        buffer[--at] = digits[rest & 15];
        rest >>= 4;
    } while (rest > 0);
    return (struct slice){ buffer + at, REQUEST_ID_MAX - at };
}

struct slice request_id(const struct request *req, char buffer[REQUEST_ID_MAX])
{
    struct slice given = { NULL, 0 };

    request_param(req, slice_of("HTTP_X_REQUEST_ID"), &given);
    return request_id_of(req, given, buffer);
}
