/* session.c -- requests in: see session.h.
 *
 * The parser is given bytes until it has seen a whole request, and then no more
 * until that is answered.  It keeps nothing and bounds nothing: heads are
 * collected in http/head, and of a head it is never given more than there may
 * be.
 *
 *     IDLE -> IN_HEAD -> IN_BODY -> (IN_TRAILER) -> WHOLE -- answered --> IDLE
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/session.h"

#include "base/log.h"
#include "core/body.h"
#include "http/answer.h"

#include <stdio.h>
#include <stdlib.h>

static struct http_session *session_of(struct wire *wire)
{
    return (struct http_session *)(void *)wire;
}

static const struct http_session *session_of_const(const struct wire *wire)
{
    return (const struct http_session *)(const void *)wire;
}

/* --- what the parser says --------------------------------------------------
 */

/* In a callback: ends the parsing, and is answered when it has ended. */
static int refuse(struct http_session *session, int status, const char *why)
{
    session->refusal = (struct http_refusal){ status, why };
    return -1;
}

/* What http_head_add_* said. */
static int added(struct http_session *session, int status)
{
    if (status == 0)
        return 0;
    return refuse(session, status,
                  status == 431 ? "the head is too large" : "out of memory");
}

static int on_target(llhttp_t *parser, const char *at, size_t len)
{
    struct http_session *session = parser->data;

    return added(session, http_head_add_target(&session->head,
                                               (struct slice){ at, len }));
}

/* Behind a body these are of its trailer, which nobody is shown. */
static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    struct http_session *session = parser->data;

    if (session->phase != HTTP_IN_HEAD) {
        session->phase = HTTP_IN_TRAILER;
        return 0;
    }
    return added(session,
                 http_head_add_name(&session->head, (struct slice){ at, len }));
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct http_session *session = parser->data;

    if (session->phase != HTTP_IN_HEAD)
        return 0;
    return added(session, http_head_add_value(&session->head,
                                              (struct slice){ at, len }));
}

/* Is there a place for another request? */
static bool has_place(struct http_session *session)
{
    struct service *service = session->service;

    if (service_active(service) < service->limits.max_reqs &&
        service->serving < service->limits.max_reqs)
        return true;
    service_note_refusal(service, "--max-reqs is reached");
    return false;
}

static int start_request(struct http_session *session, const char *method)
{
    struct service *service = session->service;
    struct wire_ends ends = { .remote_port = 0 };
    struct request *req;

    if (!service->ops->serves(service, REQUEST_RESPONDER))
        return refuse(session, 500, "the script has no on_request");
    req = !has_place(session)
              ? NULL
              : request_new(service, REQUEST_RESPONDER, &session->exchange);
    if (req == NULL) {
        request_refused(service, *service->now, false, 0);
        return refuse(session, 503, "try again later");
    }
    if (session->wire.ends != NULL)
        session->wire.ends(session->wire.owner, &ends);
    switch (http_head_params(&session->head, method, session->minor, &ends,
                             &req->params)) {
    case BUFFER_OK:
        break;
    case BUFFER_FULL:
        buffer_free(&req->params);
        req->params_too_large = true;
        break;
    case BUFFER_NO_MEMORY:
        request_disown(req);
        request_unref(req);
        return refuse(session, 503, "out of memory");
    }
    session->req = req;
    session->is_answered = false;
    return 0;
}

static int on_head(llhttp_t *parser)
{
    struct http_session *session = parser->data;
    bool has_body =
        (parser->flags & F_CHUNKED) != 0 || parser->content_length > 0;
    const char *method = llhttp_method_name((llhttp_method_t)parser->method);
    struct slice value;

    session->minor = parser->http_minor;
    session->head_since = 0;
    if (parser->http_major != 1 || parser->http_minor > 1)
        return refuse(session, 505, "HTTP/1.0 and HTTP/1.1 are understood");
    session->refusal = http_head_check(&session->head, method, session->minor);
    if (session->refusal.status != 0)
        return -1;
    if (parser->method == HTTP_CONNECT)
        return refuse(session, 501, "there are no tunnels");
    parser->upgrade = 0; /* what else it would like to speak is not spoken */
    session->keep = llhttp_should_keep_alive(parser) != 0;
    session->wants_continue = session->minor > 0 && has_body &&
                              http_head_find(&session->head, "Expect", &value);
    if (start_request(session, method) != 0)
        return -1;
    http_head_reset(&session->head);
    session->phase = HTTP_IN_BODY;
    if (!has_body)
        body_end(&session->req->body);
    request_ready(session->req);
    if (session->wants_continue && session->req != NULL)
        if (!chain_append(&session->wire.out,
                          slice_of("HTTP/1.1 100 Continue\r\n\r\n")))
            session->wire.state = WIRE_BROKEN;
    session->wants_continue = false;
    return 0;
}

/* A body may have to be read on although it is over its window: who reads no
 * answer before all of it is sent would wait for ever. */
static bool goes_to_file(const struct http_session *session)
{
    const struct body *body = &session->req->body;
    size_t window = body->want_all ? BODY_WINDOW_ALL : BODY_WINDOW;

    return body->in_memory >= window && (body->want_all || session->has_writer);
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct http_session *session = parser->data;

    if (session->req == NULL)
        return 0;
    request_input(session->req, &session->req->body, session->block,
                  (struct slice){ at, len }, goes_to_file(session));
    if (session->req != NULL) /* not answered with 413 just now */
        http_note_body(session);
    return 0;
}

/* What is behind it waits for its answer. */
static int on_end(llhttp_t *parser)
{
    struct http_session *session = parser->data;

    session->phase = HTTP_WHOLE;
    if (session->req != NULL) {
        request_input_end(session->req, &session->req->body);
        http_note_body(session);
    }
    return HPE_PAUSED;
}

static const llhttp_settings_t *settings(void)
{
    static llhttp_settings_t made;

    if (made.on_url == NULL) {
        llhttp_settings_init(&made);
        made.on_url = on_target;
        made.on_header_field = on_name;
        made.on_header_value = on_value;
        made.on_headers_complete = on_head;
        made.on_body = on_body;
        made.on_message_complete = on_end;
    }
    return &made;
}

/* --- feeding ----------------------------------------------------------------
 */

/* The parser's own words are for developers of parsers. */
static struct http_refusal refusal_of(enum llhttp_errno error)
{
    switch ((int)error) {
    case HPE_INVALID_METHOD:
        return (struct http_refusal){ 501, "this method is not known" };
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
        return (struct http_refusal){ 505,
                                      "HTTP/1.0 and HTTP/1.1 are understood" };
    case HPE_INVALID_URL:
        return (struct http_refusal){ 400, "the target is not a path" };
    case HPE_INVALID_HEADER_TOKEN:
        return (struct http_refusal){ 400, "a field is not \"Name: value\"" };
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING:
        return (struct http_refusal){ 400,
                                      "where the body ends is not certain" };
    case HPE_INVALID_CHUNK_SIZE:
        return (struct http_refusal){ 400, "a chunk has no size" };
    default:
        return (struct http_refusal){ 400, "this is not HTTP" };
    }
}

/* Parsing has failed: of a request that runs the body will not be whole. */
static void fail(struct http_session *session, struct http_refusal refusal)
{
    struct request *req = session->req;

    log_write(LOG_LEVEL_INFO, "HTTP: %s; the connection is closed",
              refusal.why);
    session->keep = false;
    if (req == NULL) {
        http_refuse(session, refusal);
        return;
    }
    if (session->is_answered) {
        session->wire.state = WIRE_BROKEN;
        session->req = NULL;
        request_detach(req);
        request_unref(req);
        return;
    }
    request_ref(req);
    response_fail(req, refusal.status);
    request_unref(req);
}

/* How many bytes the parser may be given: of a head not more than are left. */
static size_t portion(const struct http_session *session, size_t len)
{
    size_t left = HTTP_HEAD_MAX - session->head_len;

    return session->phase == HTTP_IN_BODY || len < left ? len : left;
}

static void begin_head(struct http_session *session)
{
    session->phase = HTTP_IN_HEAD;
    session->head_len = 0;
    session->head_since = *session->service->now;
    session->refusal = (struct http_refusal){ 0, NULL };
}

/* It has been given n bytes, and did not stop. */
static void count_head(struct http_session *session, enum http_phase before,
                       size_t n)
{
    if (session->phase == HTTP_IN_BODY)
        session->head_len = 0; /* from here on of its trailer */
    else if (session->phase == before)
        session->head_len += n;
    if (session->head_len < HTTP_HEAD_MAX)
        return;
    if (session->phase == HTTP_IN_HEAD && session->head.count == 0)
        fail(session, (struct http_refusal){ 414, "the target is too long" });
    else
        fail(session, (struct http_refusal){ 431, "the head is too large" });
}

/* Takes off bytes what one run of the parser takes. */
static void parse(struct http_session *session, struct slice *bytes)
{
    enum http_phase before;
    struct slice part;
    enum llhttp_errno error;

    if (session->phase == HTTP_IDLE)
        begin_head(session);
    before = session->phase;
    part = slice_take(bytes, portion(session, bytes->len));
    if (before == HTTP_IN_HEAD && !http_head_look(&session->head, part)) {
        fail(session, (struct http_refusal){ 400, "a field is folded" });
        return;
    }
    error = llhttp_execute(&session->parser, part.data, part.len);
    if (error == HPE_OK) {
        count_head(session, before, part.len);
        return;
    }
    if (error == HPE_PAUSED) {
        size_t used =
            (size_t)(llhttp_get_error_pos(&session->parser) - part.data);

        llhttp_resume(&session->parser);
        bytes->data -= part.len - used;
        bytes->len += part.len - used;
        return;
    }
    fail(session,
         session->refusal.status != 0 ? session->refusal : refusal_of(error));
}

/* The answer is complete, and so is the request. */
static void next_request(struct http_session *session)
{
    if (session->phase == HTTP_WHOLE && session->req == NULL)
        session->phase = HTTP_IDLE;
}

static bool may_parse(const struct http_session *session)
{
    return session->wire.state == WIRE_OPEN && session->phase != HTTP_WHOLE &&
           session->wire.out.len < OUTPUT_STOP;
}

/* Whoever answers at once is called from here, not from within its own answer:
 * a thousand requests in one block must not need a thousand frames. */
static void parse_all(struct http_session *session, struct block *block,
                      struct slice *bytes)
{
    session->is_feeding = true;
    session->block = block;
    next_request(session);
    while (bytes->len > 0 && may_parse(session)) {
        parse(session, bytes);
        next_request(session);
    }
    session->block = NULL;
    session->is_feeding = false;
}

static void forget_later(struct http_session *session)
{
    while (session->later_count > 0)
        block_unref(session->later[--session->later_count].block);
}

void http_go_on(struct http_session *session)
{
    if (session->is_feeding)
        return;
    while (session->later_count > 0) {
        struct http_later *first = &session->later[0];

        parse_all(session, first->block, &first->bytes);
        if (first->bytes.len > 0)
            return;
        block_unref(first->block);
        session->later_count--;
        memmove(first, first + 1, session->later_count * sizeof(*first));
    }
    next_request(session);
}

static void feed(struct wire *wire, struct block *block, struct slice bytes)
{
    struct http_session *session = session_of(wire);

    if (session->later_count == 0)
        parse_all(session, block, &bytes);
    if (bytes.len == 0 || wire->state != WIRE_OPEN)
        return;
    if (session->later_count == HTTP_LATER_MAX) {
        wire->state = WIRE_BROKEN; /* the loop does not heed want_read */
        return;
    }
    session->later[session->later_count++] =
        (struct http_later){ block_ref(block), bytes };
}

/* --- the rest of the wire ---------------------------------------------------
 */

void http_note_body(struct http_session *session)
{
    const struct request *req = session->req;
    uint64_t available;
    bool stops;

    if (req == NULL)
        return;
    available = body_available(&req->body);
    stops =
        session->stops ? available > BODY_WINDOW / 2 : available >= BODY_WINDOW;
    if (req->body.want_all || req->body.ended || req->body.dropped)
        stops = false;
    if (stops == session->stops)
        return;
    session->stops = stops;
    wire_changed(&session->wire);
}

static void drop_request(struct http_session *session)
{
    struct request *req = session->req;

    if (req == NULL)
        return;
    session->req = NULL;
    request_detach(req);
    request_unref(req);
}

static void eof(struct wire *wire)
{
    struct http_session *session = session_of(wire);

    if (session->req != NULL && session->is_answered)
        wire->state = WIRE_BROKEN; /* half an answer */
    drop_request(session);
    forget_later(session);
    if (wire->state != WIRE_BROKEN)
        wire->state = WIRE_CLOSE;
}

static bool want_read(const struct wire *wire)
{
    const struct http_session *session = session_of_const(wire);

    return wire->state == WIRE_OPEN && wire->out.len < OUTPUT_STOP &&
           session->later_count == 0 &&
           (!session->stops || session->has_writer);
}

static bool is_busy(const struct wire *wire)
{
    const struct http_session *session = session_of_const(wire);

    return session->req != NULL || session->later_count > 0;
}

static double owed_since(const struct wire *wire)
{
    return session_of_const(wire)->head_since;
}

static void drained(struct wire *wire)
{
    struct http_session *session = session_of(wire);
    bool wake = (session->has_writer && wire->out.len < OUTPUT_LOW) ||
                (session->has_flusher && wire->out.len == 0);

    if (wake && session->req != NULL) {
        session->has_writer = session->has_flusher = false;
        request_wake(session->req);
    }
    http_go_on(session);
}

static void close_session(struct wire *wire)
{
    struct http_session *session = session_of(wire);

    drop_request(session);
    forget_later(session);
    chain_free(&wire->out);
    http_head_free(&session->head);
    free(session);
}

static const struct wire_ops session_ops = {
    .feed = feed,
    .eof = eof,
    .want_read = want_read,
    .is_busy = is_busy,
    .owed_since = owed_since,
    .drained = drained,
    .close = close_session,
};

struct wire *http_session_open(struct service *service)
{
    struct http_session *session = calloc(1, sizeof(*session));

    if (session == NULL)
        return NULL;
    session->wire.ops = &session_ops;
    session->exchange.ops = &http_exchange_ops;
    session->service = service;
    session->phase = HTTP_IDLE;
    http_head_init(&session->head);
    chain_init(&session->wire.out, &service->chunks);
    llhttp_init(&session->parser, HTTP_REQUEST, settings());
    session->parser.data = session;
    return &session->wire;
}

const char *http_library(void)
{
    static char text[32];

    snprintf(text, sizeof(text), "llhttp %d.%d.%d", LLHTTP_VERSION_MAJOR,
             LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
    return text;
}
