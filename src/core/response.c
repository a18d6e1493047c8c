/* response.c -- see response.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/response.h"

#include "core/head.h"
#include "core/limits.h"
#include "core/request.h"

#include <assert.h>
#include <stdio.h>

enum { FIELDS_MAX = 800 }; /* of an answer that is not the script's */

void response_init(struct response *response)
{
    *response = (struct response){ 0 };
    buffer_init(&response->head, RESPONSE_HEAD_MAX);
    buffer_init(&response->reason, RESPONSE_REASON_MAX);
    buffer_init(&response->sent_head, RESPONSE_HEAD_MAX + RESPONSE_REASON_MAX);
}

void response_free(struct response *response)
{
    buffer_free(&response->head);
    buffer_free(&response->reason);
    buffer_free(&response->sent_head);
}

static enum response_result to_result(enum buffer_status status)
{
    switch (status) {
    case BUFFER_OK:
        break;
    case BUFFER_FULL:
        return RESPONSE_FULL;
    case BUFFER_NO_MEMORY:
        return RESPONSE_NO_MEMORY;
    }
    return RESPONSE_OK;
}

/* A head can be changed while nothing was written. */
static enum response_result may_change(struct request *req)
{
    if (req->is_ended)
        return RESPONSE_FINISHED;
    return req->response.state == RESPONSE_NEW ? RESPONSE_OK : RESPONSE_LATE;
}

enum response_result response_set_status(struct request *req, int status,
                                         struct slice reason)
{
    struct response *response = &req->response;
    enum response_result result = may_change(req);

    if (result != RESPONSE_OK)
        return result;
    response->reason.len = 0;
    result = to_result(buffer_append(&response->reason, reason));
    if (result == RESPONSE_OK) {
        response->status = status;
        response->is_built = true;
    }
    return result;
}

enum response_result response_add_header(struct request *req, struct slice name,
                                         struct slice value)
{
    struct buffer *head = &req->response.head;
    enum response_result result = may_change(req);

    if (result != RESPONSE_OK)
        return result;
    if (name.len > RESPONSE_HEAD_MAX || value.len > RESPONSE_HEAD_MAX)
        return RESPONSE_FULL;
    result = to_result(buffer_reserve(head, name.len + value.len + 4));
    if (result != RESPONSE_OK)
        return result;
    req->response.is_built = true;
    if (head_is_hop_by_hop(name))
        return RESPONSE_OK;
    buffer_append(head, name);
    buffer_append(head, slice_of(": "));
    buffer_append(head, value);
    buffer_append(head, slice_of("\r\n"));
    return RESPONSE_OK;
}

/* Finds the first line of that name at or after *at; *end is behind it. */
static bool find_header(const struct buffer *head, struct slice name,
                        size_t *at, size_t *end)
{
    while (*at < head->len) {
        struct slice rest = { head->data + *at, head->len - *at };
        const char *newline = slice_find(rest, '\n');

        *end = (size_t)(newline + 1 - head->data);
        if (rest.len > name.len && rest.data[name.len] == ':' &&
            slice_equal_nocase((struct slice){ rest.data, name.len }, name))
            return true;
        *at = *end;
    }
    return false;
}

enum response_result response_remove_header(struct request *req,
                                            struct slice name)
{
    struct buffer *head = &req->response.head;
    enum response_result result = may_change(req);
    size_t at = 0, end;

    if (result != RESPONSE_OK)
        return result;
    req->response.is_built = true;
    while (find_header(head, name, &at, &end)) {
        memmove(head->data + at, head->data + end, head->len - end);
        head->len -= end - at;
    }
    return RESPONSE_OK;
}

bool response_has_header(const struct request *req, struct slice name)
{
    size_t at = 0, end;

    return find_header(&req->response.head, name, &at, &end);
}

enum response_result response_admit(struct request *req)
{
    struct response *response = &req->response;
    enum response_result result = may_change(req);

    if (result != RESPONSE_OK)
        return result;
    if (response->status != 0 && response->status != 200)
        return RESPONSE_LATE;
    response->status = 200;
    response->is_built = response->admits = true;
    return RESPONSE_OK;
}

/* A web server takes an authorizer's 200, and some take a head without status,
 * as leave to come in.  What the script did not mean as that must not be it. */
static bool admits_unasked(const struct request *req, int status)
{
    return req->role == REQUEST_AUTHORIZER && status < 300 &&
           !req->response.admits;
}

static enum response_result refuse_admission(struct request *req)
{
    req->service->ops->complain(req->service, req,
                                "an authorizer answered with a status below "
                                "300; only returning true lets a client in");
    response_fail(req, 500);
    return RESPONSE_FINISHED;
}

static void send_head(struct request *req, int status, struct slice lines)
{
    struct response *response = &req->response;

    response->status = status;
    response->state = RESPONSE_BODY;
    response->is_head_sent = true;
    response->drops_body = req->is_head || !head_allows_body(status);
    if (req->service->keeps_heads) /* without memory it is not known */
        buffer_append(&response->sent_head, lines);
    req->exchange->ops->head(req->exchange, lines);
}

/* The head that set_status and set_header described. */
static enum response_result send_built_head(struct request *req)
{
    struct response *response = &req->response;
    struct buffer whole;
    char line[64 + RESPONSE_REASON_MAX];
    int status = response->status, n = 0;
    enum response_result result;

    if (status == 0 && response_has_header(req, slice_of("Location")))
        status = 302;
    else if (status == 0)
        status = req->role == REQUEST_AUTHORIZER ? 403 : 200;
    if (admits_unasked(req, status))
        return refuse_admission(req);
    if (response->reason.len > 0)
        n = snprintf(line, sizeof(line), "Status: %d %.*s\r\n", status,
                     (int)response->reason.len, response->reason.data);
    else if (response->status != 0 || status != 200 || response->head.len == 0)
        n = snprintf(line, sizeof(line), "Status: %d %s\r\n", status,
                     head_reason(status));
    buffer_init(&whole, RESPONSE_HEAD_MAX + sizeof(line));
    result =
        to_result(buffer_reserve(&whole, (size_t)n + response->head.len + 2));
    if (result != RESPONSE_OK)
        return result;
    buffer_append(&whole, (struct slice){ line, (size_t)n });
    buffer_append(&whole, buffer_slice(&response->head));
    buffer_append(&whole, slice_of("\r\n"));
    send_head(req, status, buffer_slice(&whole));
    buffer_free(&whole);
    return RESPONSE_OK;
}

static enum response_result bad_head(struct request *req, const char *why)
{
    char line[320];

    snprintf(line, sizeof(line),
             "the head of the answer is not valid: %s (the first write begins "
             "the head, unless req:set_header or req:set_status came before: "
             "\"Content-Type: text/plain\", an empty line, then the body)",
             why);
    req->service->ops->complain(req->service, req, line);
    response_fail(req, 500);
    return RESPONSE_FINISHED;
}

static void remember_head(struct service *service, struct slice raw, int status)
{
    struct service_head *last = &service->last_head;

    if (raw.len > sizeof(last->bytes))
        return;
    memcpy(last->bytes, raw.data, raw.len);
    last->len = raw.len;
    last->status = status;
}

/* Sends the head that bytes begin with if it is known to be right. */
static bool send_known_head(struct request *req, struct slice *bytes)
{
    const struct service_head *last = &req->service->last_head;

    if (last->len == 0 || bytes->len < last->len ||
        memcmp(bytes->data, last->bytes, last->len) != 0 ||
        admits_unasked(req, last->status))
        return false;
    send_head(req, last->status, slice_take(bytes, last->len));
    return true;
}

/* The script's own head is complete: checks and sends it. */
static enum response_result send_raw_head(struct request *req, struct slice raw)
{
    struct buffer normal;
    const char *why = NULL;
    int status = 200;

    buffer_init(&normal, RESPONSE_HEAD_MAX);
    switch (head_normalise(raw, &normal, &status, &why)) {
    case HEAD_AS_IS:
        if (admits_unasked(req, status))
            return refuse_admission(req);
        remember_head(req->service, raw, status);
        send_head(req, status, raw);
        break;
    case HEAD_REBUILT:
        if (admits_unasked(req, status)) {
            buffer_free(&normal);
            return refuse_admission(req);
        }
        send_head(req, status, buffer_slice(&normal));
        break;
    case HEAD_INVALID:
        return bad_head(req, why);
    case HEAD_NO_MEMORY:
        buffer_free(&normal);
        return bad_head(req, "it is too large");
    }
    buffer_free(&normal);
    return RESPONSE_OK;
}

/* Adds bytes to the head that the script is writing, up to its end. */
static enum response_result collect_head(struct request *req,
                                         struct slice *bytes)
{
    struct response *response = &req->response;
    struct buffer *head = &response->head;
    struct slice rest = *bytes;
    size_t before = head->len, len, from;
    enum response_result result;

    if (before == 0 && send_known_head(req, bytes))
        return RESPONSE_OK;
    if (before == 0 && (len = head_length(*bytes)) > 0 &&
        len <= RESPONSE_HEAD_MAX)
        return send_raw_head(req, slice_take(bytes, len)); /* nearly always */
    response->state = RESPONSE_HEAD;
    if (buffer_append(head, slice_take(&rest, RESPONSE_HEAD_MAX - before)) !=
        BUFFER_OK)
        return bad_head(req, "there is no memory for it");
    /* The empty line may have begun in what came before; but a script that
     * writes byte by byte must not make us read all of it each time. */
    from = before > 3 ? before - 3 : 0;
    len = 0;
    for (size_t i = from; i < head->len && len == 0; i++) {
        if (head->data[i] != '\n')
            continue;
        if (i == 0 || (i == 1 && head->data[0] == '\r') ||
            head->data[i - 1] == '\n' ||
            (i > 1 && head->data[i - 1] == '\r' && head->data[i - 2] == '\n'))
            len = i + 1;
    }
    if (len == 0 && head->len == RESPONSE_HEAD_MAX)
        return bad_head(req, "it is too large, or has no empty line");
    if (len == 0) {
        slice_take(bytes, bytes->len);
        return RESPONSE_OK;
    }
    slice_take(bytes, len - before);
    result = send_raw_head(req, (struct slice){ head->data, len });
    buffer_free(head);
    return result;
}

/* Sends what head there can be; *bytes loses what belonged to it. */
static enum response_result begin(struct request *req, struct slice *bytes)
{
    enum response_result result;

    if (!req->response.is_built)
        return collect_head(req, bytes);
    result = send_built_head(req);
    if (result == RESPONSE_OK)
        buffer_free(&req->response.head);
    return result;
}

static enum response_result may_write(const struct request *req)
{
    if (req->is_aborted)
        return RESPONSE_ABORTED;
    if (req->is_ended)
        return RESPONSE_FINISHED;
    return RESPONSE_OK;
}

enum response_result response_write(struct request *req, struct slice *bytes)
{
    struct response *response = &req->response;
    enum response_result result = may_write(req);

    if (result == RESPONSE_OK && !response_is_begun(response) && bytes->len > 0)
        result = begin(req, bytes);
    while (result == RESPONSE_OK && bytes->len > 0) {
        size_t room = SIZE_MAX;

        if (!response->drops_body)
            room = req->exchange->ops->room(req->exchange);
        if (room == 0)
            return RESPONSE_WAIT;
        if (!response->drops_body) {
            struct slice part = slice_take(bytes, room);

            response->body_bytes += part.len;
            req->exchange->ops->body(req->exchange, part);
        } else {
            response->dropped += slice_take(bytes, bytes->len).len;
        }
        result = may_write(req); /* no memory ends a connection */
    }
    return result;
}

bool response_takes_files(const struct request *req)
{
    const struct response *response = &req->response;

    return req->exchange != NULL && req->exchange->ops->takes_files != NULL &&
           req->exchange->ops->takes_files(req->exchange) &&
           !response->drops_body && !req->is_head &&
           (response_is_begun(response) || response->is_built);
}

enum response_result response_write_file(struct request *req,
                                         struct shared_fd *file, off_t offset,
                                         size_t *n)
{
    struct slice nothing = { NULL, 0 };
    enum response_result result = may_write(req);
    size_t room;

    if (result == RESPONSE_OK && !response_is_begun(&req->response))
        result = begin(req, &nothing);
    if (result == RESPONSE_OK && req->response.drops_body)
        *n = 0; /* which only its head tells */
    if (result != RESPONSE_OK || *n == 0)
        return result;
    room = req->exchange->ops->room(req->exchange);
    if (room == 0)
        return RESPONSE_WAIT;
    if (room > *n)
        room = *n;
    req->response.body_bytes += room;
    req->exchange->ops->file(req->exchange, file, offset, room);
    *n -= room;
    result = may_write(req); /* no memory ends a connection */
    return result == RESPONSE_OK && *n > 0 ? RESPONSE_WAIT : result;
}

enum response_result response_write_err(struct request *req, struct slice bytes)
{
    enum response_result result = may_write(req);

    if (result != RESPONSE_OK)
        return result;
    if (req->exchange->ops->room(req->exchange) == 0)
        return RESPONSE_WAIT;
    req->exchange->ops->err(req->exchange, bytes);
    return RESPONSE_OK;
}

enum response_result response_flush(struct request *req)
{
    struct slice nothing = { NULL, 0 };
    enum response_result result = may_write(req);

    if (result == RESPONSE_OK && req->response.state == RESPONSE_NEW &&
        req->response.is_built)
        result = begin(req, &nothing);
    if (result == RESPONSE_OK && !req->exchange->ops->is_flushed(req->exchange))
        return RESPONSE_WAIT;
    return result;
}

void response_reset(struct request *req)
{
    struct response *response = &req->response;

    if (response_is_begun(response))
        return;
    response_free(response);
    response_init(response);
}

static void end(struct request *req, uint32_t app_status, enum exchange_end how)
{
    struct exchange *exchange = req->exchange;

    req->response.state = RESPONSE_ENDED;
    buffer_free(&req->response.head);
    request_ref(req); /* the exchange drops its own */
    exchange->ops->finish(exchange, app_status, how);
    request_unref(req);
}

void response_finish(struct request *req, uint32_t app_status)
{
    struct slice nothing = { NULL, 0 };

    if (req->exchange == NULL)
        return;
    if (req->is_aborted) {
        end(req, app_status, EXCHANGE_COMPLETE);
        return;
    }
    if (req->response.state == RESPONSE_HEAD) {
        bad_head(req, "the handler ended before the empty line");
        return;
    }
    if (req->response.state == RESPONSE_NEW) {
        if (!req->response.is_built) {
            req->service->ops->complain(req->service, req,
                                        "the handler ended without an answer: "
                                        "it wrote nothing and returned nothing "
                                        "(print writes to the log)");
            response_fail(req, 500);
            return;
        }
        switch (begin(req, &nothing)) {
        case RESPONSE_OK:
        case RESPONSE_FINISHED: /* it was answered for the script */
            break;
        case RESPONSE_WAIT:
        case RESPONSE_LATE:
        case RESPONSE_FULL:
        case RESPONSE_ABORTED:
        case RESPONSE_NO_MEMORY:
            bad_head(req, "it is too large");
            return;
        }
    }
    if (req->exchange != NULL)
        end(req, app_status, EXCHANGE_COMPLETE);
}

/* What response_answer and response_fail have in common. */
static void send_own(struct request *req, int status, struct slice fields,
                     struct slice body)
{
    char head[FIELDS_MAX + 128];
    struct response *response = &req->response;
    int len;

    if (response_is_begun(response) || req->is_aborted)
        return;
    assert(fields.len <= FIELDS_MAX);
    buffer_free(&response->head);
    len = snprintf(head, sizeof(head),
                   "Status: %d %s\r\n%.*sContent-Length: %zu\r\n\r\n", status,
                   head_reason(status), (int)fields.len, fields.data, body.len);
    send_head(req, status, (struct slice){ head, (size_t)len });
    if (!response->drops_body && !req->is_aborted && body.len > 0) {
        response->body_bytes += body.len;
        req->exchange->ops->body(req->exchange, body);
    }
}

void response_answer(struct request *req, int status, struct slice fields,
                     struct slice body)
{
    if (req->exchange == NULL)
        return;
    send_own(req, status, fields, body);
    if (req->exchange != NULL)
        end(req, 0, EXCHANGE_COMPLETE);
}

void response_fail_with(struct request *req, int status, struct slice fields,
                        struct slice body)
{
    if (req->exchange == NULL)
        return;
    send_own(req, status, fields, body);
    if (req->exchange != NULL)
        end(req, 1, status == 503 ? EXCHANGE_OVERLOADED : EXCHANGE_COMPLETE);
}

void response_fail(struct request *req, int status)
{
    char text[64];
    int len =
        snprintf(text, sizeof(text), "%d %s\n", status, head_reason(status));

    response_fail_with(req, status, slice_of("Content-Type: text/plain\r\n"),
                       (struct slice){ text, (size_t)len });
}
