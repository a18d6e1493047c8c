/* lone.c -- see lone.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/lone.h"

#include "base/block.h"
#include "core/head.h"
#include "core/params.h"
#include "http/head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { METHOD_MAX = 64 };

static struct lone *lone_of(struct exchange *exchange)
{
    return (struct lone *)(void *)exchange;
}

/* --- the answer -----------------------------------------------------------
 */

/* Takes a Status line off the front of the lines, and its reason out of it. */
static struct slice take_reason(struct slice *lines, int status)
{
    static const char name[] = "Status:";
    struct slice rest = *lines, line, reason;
    const char *newline = slice_find(rest, '\n');

    reason = slice_of(head_reason(status));
    if (newline == NULL)
        return reason;
    line = slice_take(&rest, (size_t)(newline + 1 - rest.data));
    if (!slice_equal_nocase(slice_take(&line, sizeof(name) - 1),
                            slice_of(name)))
        return reason;
    *lines = rest;
    line.len -= 2; /* CRLF */
    line = slice_trim(line);
    if (line.len <= 4)
        return reason;
    slice_take(&line, 4); /* "404 " */
    return line;
}

/* The length that the lines of a head promise; they are sound: core/head. */
static bool find_length(struct slice lines, uint64_t *length)
{
    const char *newline;

    while ((newline = slice_find(lines, '\n')) != NULL) {
        struct slice line =
            slice_take(&lines, (size_t)(newline + 1 - lines.data));
        const char *colon = slice_find(line, ':');
        unsigned long long n;

        if (colon == NULL)
            break;
        if (!slice_equal_nocase(slice_take(&line, (size_t)(colon - line.data)),
                                slice_of("Content-Length")))
            continue;
        slice_take(&line, 1);
        line.len -= 2; /* CRLF */
        if (!slice_to_number(slice_trim(line), INT64_MAX, &n))
            break;
        *length = n;
        return true;
    }
    return false;
}

static void give_head(struct exchange *exchange, struct slice lines)
{
    struct lone *lone = lone_of(exchange);
    int status = lone->req->response.status;
    struct slice reason = take_reason(&lines, status);

    lone->is_answered = true;
    lone->has_length = find_length(lines, &lone->left);
    lone->ops->head(lone->arg, status, reason, lines);
}

static void give_body(struct exchange *exchange, struct slice bytes)
{
    struct lone *lone = lone_of(exchange);

    lone->left -= bytes.len < lone->left ? bytes.len : lone->left;
    lone->ops->body(lone->arg, bytes);
}

/* There is no log but ours, where it stands already. */
static void drop_err(struct exchange *exchange, struct slice bytes)
{
    (void)exchange;
    (void)bytes;
}

static size_t room(struct exchange *exchange)
{
    struct lone *lone = lone_of(exchange);

    if (lone->pending < OUTPUT_HIGH)
        return OUTPUT_HIGH - lone->pending;
    lone->has_writer = true;
    return 0;
}

static bool is_flushed(const struct exchange *exchange)
{
    struct lone *lone =
        lone_of((struct exchange *)(size_t)(const void *)exchange);

    lone->has_flusher = lone->pending > 0;
    return !lone->has_flusher;
}

void lone_set_pending(struct lone *lone, size_t pending)
{
    bool wake = (lone->has_writer && pending < OUTPUT_LOW) ||
                (lone->has_flusher && pending == 0);

    lone->pending = pending;
    if (!wake || lone->req == NULL)
        return;
    lone->has_writer = lone->has_flusher = false;
    request_wake(lone->req);
}

static void body_consumed(struct exchange *exchange)
{
    struct lone *lone = lone_of(exchange);

    if (lone_wants_input(lone))
        lone->ops->taken(lone->arg);
}

static void finish(struct exchange *exchange, uint32_t app_status,
                   enum exchange_end end)
{
    struct lone *lone = lone_of(exchange);
    struct request *req = lone->req;
    bool is_whole = lone->is_answered;

    (void)end; /* the head has said it */
    if (is_whole && !req->response.drops_body)
        is_whole = lone->has_length ? lone->left == 0 : app_status == 0;
    lone->req = NULL;
    lone->has_ended = true;
    request_ended(req);
    request_unref(req);
    lone->ops->ended(lone->arg, !is_whole);
}

static const struct exchange_ops ops = {
    .head = give_head,
    .body = give_body,
    .err = drop_err,
    .room = room,
    .is_flushed = is_flushed,
    .body_consumed = body_consumed,
    .finish = finish,
};

/* --- the request ----------------------------------------------------------
 */

static const char *add_field(struct http_head *head, struct slice name,
                             struct slice value)
{
    int status = http_head_add_name(head, name);

    if (status == 0)
        status = http_head_add_value(head, value);
    if (status == 0)
        return NULL;
    return status == 431 ? "the head is too large" : "out of memory";
}

static bool has_field(const struct lone_call *call, const char *name)
{
    for (size_t i = 0; i < call->count; i++)
        if (slice_equal_nocase(call->fields[i].name, slice_of(name)))
            return true;
    return false;
}

/* The host of a URL; of a path, this machine. */
static struct slice host_of(struct slice target)
{
    const char *mark = slice_find(target, ':');
    struct slice host = target;
    size_t n = 0;

    if (target.len == 0 || target.data[0] == '/' || mark == NULL)
        return slice_of("localhost");
    slice_take(&host, (size_t)(mark - target.data) + sizeof("://") - 1);
    while (n < host.len && memchr("/?", host.data[n], 2) == NULL)
        n++;
    return slice_take(&host, n);
}

static const char *fill_head(struct http_head *head,
                             const struct lone_call *call)
{
    int status = http_head_add_target(head, call->target);
    const char *why = NULL;
    char length[24];

    if (status != 0)
        return status == 431 ? "the URL is too long" : "out of memory";
    if (!has_field(call, "Host"))
        why = add_field(head, slice_of("Host"), host_of(call->target));
    if (why == NULL && call->has_length && !has_field(call, "Content-Length") &&
        !has_field(call, "Transfer-Encoding")) {
        snprintf(length, sizeof(length), "%llu",
                 (unsigned long long)call->length);
        why = add_field(head, slice_of("Content-Length"), slice_of(length));
    }
    for (size_t i = 0; why == NULL && i < call->count; i++)
        why = add_field(head, call->fields[i].name, call->fields[i].value);
    return why;
}

/* What web servers say of a request that came by TLS: such a URL is one. */
static enum buffer_status put_https(struct buffer *params, struct slice target)
{
    struct slice scheme = target, host;
    enum buffer_status status = BUFFER_OK;

    if (!slice_equal_nocase(slice_take(&scheme, sizeof("https://") - 1),
                            slice_of("https://")))
        return BUFFER_OK;
    host = host_of(target);
    while (host.len > 0 && memchr(":]", host.data[host.len - 1], 2) == NULL)
        host.len--;
    if (host.len == 0 || host.data[host.len - 1] == ']')
        status =
            params_append(params, slice_of("SERVER_PORT"), slice_of("443"));
    if (status == BUFFER_OK)
        status = params_append(params, slice_of("HTTPS"), slice_of("on"));
    if (status == BUFFER_OK)
        status = params_append(params, slice_of("REQUEST_SCHEME"),
                               slice_of("https"));
    return status;
}

static const char *fill_params(struct request *req, struct http_head *head,
                               const struct lone_call *call, const char *method)
{
    static const struct wire_ends nobody = { .remote_port = 0 };
    struct http_refusal refusal = http_head_check(head, method, 1);
    enum buffer_status status;

    if (refusal.status != 0)
        return refusal.why;
    status = buffer_append(&req->params, call->params);
    if (status == BUFFER_OK)
        status = put_https(&req->params, call->target);
    switch (status) {
    case BUFFER_OK:
        break;
    case BUFFER_FULL:
        return "the parameters are too large";
    case BUFFER_NO_MEMORY:
        return "out of memory";
    }
    switch (http_head_params(head, method, 1, &nobody, &req->params)) {
    case BUFFER_OK:
        return NULL;
    case BUFFER_FULL:
        return "the head is too large";
    case BUFFER_NO_MEMORY:
        break;
    }
    return "out of memory";
}

static const char *read_method(const struct lone_call *call,
                               char method[METHOD_MAX])
{
    if (call->method.len == 0)
        strcpy(method, "GET");
    else if (!head_is_name(call->method) || call->method.len >= METHOD_MAX)
        return "the method is not a token";
    else
        snprintf(method, METHOD_MAX, "%.*s", (int)call->method.len,
                 call->method.data);
    return NULL;
}

/* A head is too large for the stack of who calls. */
static const char *make(struct lone *lone, struct service *service,
                        const struct lone_call *call)
{
    struct http_head *head;
    char method[METHOD_MAX];
    const char *why = read_method(call, method);

    if (why != NULL)
        return why;
    head = malloc(sizeof(*head));
    lone->req = head == NULL
                    ? NULL
                    : request_new(service, REQUEST_RESPONDER, &lone->exchange);
    if (lone->req == NULL) {
        free(head);
        return "out of memory";
    }
    http_head_init(head);
    why = fill_head(head, call);
    if (why == NULL)
        why = fill_params(lone->req, head, call, method);
    http_head_free(head);
    free(head);
    if (why == NULL)
        return NULL;
    request_disown(lone->req);
    request_unref(lone->req);
    lone->req = NULL;
    return why;
}

const char *lone_begin(struct lone *lone, struct service *service,
                       const struct lone_call *call, const struct lone_ops *to,
                       void *arg)
{
    const char *why;

    *lone = (struct lone){ .exchange.ops = &ops, .ops = to, .arg = arg };
    if (!service->ops->serves(service, REQUEST_RESPONDER))
        return "the script has no on_request";
    why = make(lone, service, call);
    if (why != NULL)
        return why;
    if (!call->has_body)
        body_end(&lone->req->body);
    request_ready(lone->req);
    return NULL;
}

/* --- its body -------------------------------------------------------------
 */

static size_t window(const struct body *body)
{
    return body->want_all ? BODY_WINDOW_ALL : BODY_WINDOW;
}

bool lone_wants_input(const struct lone *lone)
{
    const struct body *body = lone->req == NULL ? NULL : &lone->req->body;

    return body != NULL && !body->ended &&
           (body->want_all || body->dropped ||
            body_available(body) < BODY_WINDOW);
}

bool lone_input(struct lone *lone, struct slice bytes)
{
    struct request *req = lone->req;
    struct block *block;

    if (req == NULL)
        return true;
    block = block_new(&req->service->blocks);
    if (block == NULL)
        return false;
    memcpy(block->data, bytes.data, bytes.len);
    request_input(req, &req->body, block,
                  (struct slice){ block->data, bytes.len },
                  req->body.in_memory >= window(&req->body));
    block_unref(block);
    return true;
}

void lone_input_end(struct lone *lone)
{
    if (lone->req != NULL)
        request_input_end(lone->req, &lone->req->body);
}

void lone_abort(struct lone *lone)
{
    struct request *req = lone->req;

    if (req == NULL)
        return;
    lone->req = NULL;
    request_detach(req);
    request_unref(req);
}
