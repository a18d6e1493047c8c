/* session.c -- records in: see session.h.
 *
 * One record at a time: its header decides whose it is, its content goes there
 * in whatever pieces it comes, its padding is skipped.  A stream may end while
 * its record is still coming: then `target` is NULL and the rest is dropped.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/session.h"

#include "base/log.h"
#include "core/head.h"
#include "fcgi/stream.h"
#include "fcgi/values.h"

#include <stdlib.h>

static struct fcgi_session *session_of(struct wire *wire)
{
    return (struct fcgi_session *)(void *)wire;
}

/* The peer does not speak FastCGI, or breaks its rules. */
static void protocol_error(struct fcgi_session *session, const char *what)
{
    if (session->wire.state == WIRE_BROKEN)
        return;
    log_write(LOG_LEVEL_WARN,
              "protocol error: %s (record type %d, id %d, %d bytes); the "
              "connection is closed",
              what, session->record.type, session->record.id,
              session->record.length);
    session->wire.state = WIRE_BROKEN;
}

static struct fcgi_stream *find(const struct fcgi_session *session, uint16_t id)
{
    struct fcgi_stream *stream = session->table[id & (session->slots - 1)];

    while (stream != NULL && stream->id != id)
        stream = stream->next;
    return stream;
}

static void insert(struct fcgi_session *session, struct fcgi_stream *stream)
{
    struct fcgi_stream **slot =
        &session->table[stream->id & (session->slots - 1)];

    stream->next = *slot;
    *slot = stream;
}

/* Without memory the table stays as it is, only slower. */
static void grow_table(struct fcgi_session *session)
{
    unsigned slots = session->slots * 4, old_slots = session->slots;
    struct fcgi_stream **table, **old = session->table;

    if (session->count < session->slots * 2)
        return;
    table = calloc(slots, sizeof(struct fcgi_stream *));
    if (table == NULL)
        return;
    session->table = table;
    session->slots = slots;
    for (unsigned i = 0; i < old_slots; i++) {
        while (old[i] != NULL) {
            struct fcgi_stream *stream = old[i];

            old[i] = stream->next;
            insert(session, stream);
        }
    }
    if (old != session->small)
        free(old);
}

/* To be given a request, or refused when its PARAMS have come.  What the web
 * server shows is the text of a refusal: none of them looks at the protocol
 * status, and to some an end without a head is a success. */
static struct fcgi_stream *add_stream(struct fcgi_session *session, uint16_t id)
{
    struct fcgi_stream *stream = pool_get(&session->service->streams);

    if (stream == NULL)
        return NULL;
    *stream = (struct fcgi_stream){
        .exchange.ops = &fcgi_stream_ops,
        .session = session,
        .id = id,
        .in_params = true,
        .started = *session->service->now,
    };
    list_init(&stream->waiting);
    list_init(&stream->flushing);
    list_append(&session->begun, &stream->begun);
    grow_table(session);
    insert(session, stream);
    session->count++;
    session->refused++; /* until there is a request */
    return stream;
}

/* Is it worth the memory to read the parameters of a request although there is
 * no place for it?  Who answers at once needs no more than a few. */
static bool may_be_for_page(const struct service *service, unsigned role)
{
    return service->pages != NULL && role == REQUEST_RESPONDER &&
           service->surplus + service->on_pages < PAGES_AT_ONCE;
}

/* It is refused from here on. */
static void disown(struct fcgi_stream *stream)
{
    struct request *req = stream->req;

    stream->req = NULL;
    stream->session->refused++;
    request_disown(req);
    request_unref(req);
}

static void note_refusal(struct service *service, unsigned role, bool no_hook)
{
    static const char *const no_hook_for[] = {
        [REQUEST_RESPONDER] = "the script has no on_request",
        [REQUEST_AUTHORIZER] = "the script has no on_authorize",
        [REQUEST_FILTER] = "the script has no on_filter",
    };

    service_note_refusal(service,
                         no_hook ? no_hook_for[role] : "--max-reqs is reached");
}

static void note_full(struct service *service, bool full)
{
    if (full && !service->is_full)
        service->filled++;
    service->is_full = full;
}

static void begin(struct fcgi_session *session, const char *body)
{
    struct service *service = session->service;
    unsigned role = fcgi_begin_role(body);
    bool keep_conn = (fcgi_begin_flags(body) & FCGI_FLAG_KEEP_CONN) != 0;
    uint16_t id = session->record.id;
    bool known = role >= REQUEST_RESPONDER && role <= REQUEST_FILTER;
    bool full = service_active(service) >= service->limits.max_reqs ||
                service->serving >= service->limits.max_reqs;
    bool no_hook;
    struct fcgi_stream *stream = NULL;

    if (!known) {
        fcgi_send_end(session, id, 0, FCGI_UNKNOWN_ROLE);
        goto ended;
    }
    note_full(service, full);
    no_hook = !service->ops->serves(service, (enum request_role)role);
    if ((full || no_hook) && !may_be_for_page(service, role))
        note_refusal(service, role, no_hook);
    if ((!full && !no_hook) || session->refused < service->limits.max_reqs ||
        may_be_for_page(service, role))
        stream = add_stream(session, id);
    if (stream == NULL && role == REQUEST_AUTHORIZER) {
        /* lighttpd lets in after an end without a head. */
        protocol_error(session, "too many authorizations are refused");
        return;
    }
    if (stream == NULL) {
        if (!no_hook)
            request_refused(service, *service->now, false, 0);
        fcgi_send_end(session, id, 0,
                      no_hook ? FCGI_UNKNOWN_ROLE : FCGI_OVERLOADED);
        goto ended;
    }
    stream->keep_conn = keep_conn;
    stream->no_hook = no_hook;
    if ((full || no_hook) && !may_be_for_page(service, role))
        return;
    stream->req =
        request_new(service, (enum request_role)role, &stream->exchange);
    if (stream->req == NULL)
        return;
    session->refused--;
    if (full || no_hook)
        request_mark_surplus(stream->req);
    return;

ended:
    if (!keep_conn)
        session->closes = session->lingers = true;
    if (session->closes && session->count == 0 &&
        session->wire.state == WIRE_OPEN)
        session->wire.state = WIRE_LINGER;
}

static void add_params(struct fcgi_session *session, struct fcgi_stream *stream,
                       struct slice bytes)
{
    size_t max = session->service->limits.max_params;
    struct request *req = stream->req;

    if (bytes.len > max * PARAMS_ABUSE - stream->params_len) {
        protocol_error(session, "the parameters do not end");
        return;
    }
    stream->params_len += bytes.len;
    if (req == NULL || req->params_too_large)
        return;
    switch (buffer_append(&req->params, bytes)) {
    case BUFFER_OK:
        break;
    case BUFFER_FULL:
        req->params_too_large = true;
        buffer_free(&req->params);
        break;
    case BUFFER_NO_MEMORY:
        disown(stream);
        break;
    }
}

static void end_params(struct fcgi_stream *stream)
{
    stream->in_params = false;
    list_remove(&stream->begun);
    if (stream->req != NULL && stream->req->is_surplus &&
        !request_is_for_page(stream->req)) {
        note_refusal(stream->session->service, REQUEST_RESPONDER,
                     stream->no_hook);
        disown(stream);
    }
    if (stream->req == NULL)
        fcgi_stream_refuse(stream);
    else
        request_ready(stream->req);
}

/* Must the connection be read although this body is over its window? */
static bool must_read(const struct fcgi_stream *stream, const struct body *body)
{
    return stream->session->count > 1 || body->want_all ||
           fcgi_is_blocked(stream->session) ||
           fcgi_stream_awaits_other(stream, body);
}

static void add_input(struct fcgi_session *session, struct fcgi_stream *stream,
                      struct body *body, struct block *block,
                      struct slice bytes)
{
    size_t window = body->want_all ? BODY_WINDOW_ALL : BODY_WINDOW;
    bool to_file = body->in_memory >= window && must_read(stream, body);

    request_input(stream->req, body, block, bytes, to_file);
    if (session->target == stream) /* not answered with 413 just now */
        fcgi_stream_note_bodies(stream);
}

static void abort_stream(struct fcgi_stream *stream)
{
    struct request *req = stream->req;

    stream->stdin_ended = false; /* its body may still be on the way */
    if (req == NULL) {
        fcgi_stream_refuse(stream);
        return;
    }
    request_ref(req);
    request_abort(req);
    response_finish(req, 0);
    request_unref(req);
}

/* A body of BEGIN_REQUEST or GET_VALUES that may come in pieces. */
static void begin_pieces(struct fcgi_session *session, struct slice bytes)
{
    memcpy(session->partial + session->partial_len, bytes.data, bytes.len);
    session->partial_len += (unsigned)bytes.len;
    if (session->content_left == 0) {
        session->partial_len = 0;
        begin(session, session->partial);
    }
}

static void values_pieces(struct fcgi_session *session, struct slice bytes)
{
    char answer[FCGI_VALUES_MAX];
    size_t n;

    if (buffer_append(&session->values, bytes) != BUFFER_OK)
        session->wire.state = WIRE_BROKEN;
    if (session->content_left > 0)
        return;
    n = fcgi_values_answer(buffer_slice(&session->values),
                           &session->service->limits, answer);
    buffer_free(&session->values);
    fcgi_send_record(session, FCGI_GET_VALUES_RESULT, 0,
                     (struct slice){ answer, n });
}

/* The header of a record is there. */
static void start_record(struct fcgi_session *session)
{
    const struct fcgi_header *record = &session->record;
    bool is_management = record->id == 0;
    const struct fcgi_stream *stream;

    session->target = is_management ? NULL : find(session, record->id);
    stream = session->target;
    if (record->version != FCGI_VERSION_1) {
        protocol_error(session, "not FastCGI version 1");
        return;
    }
    if (is_management) {
        if (record->type >= FCGI_BEGIN_REQUEST && record->type <= FCGI_DATA)
            protocol_error(session, "a request's record with id 0");
        return;
    }
    switch (record->type) {
    case FCGI_BEGIN_REQUEST:
        if (stream != NULL)
            protocol_error(session, "BEGIN_REQUEST of an active id");
        else if (record->length != FCGI_BEGIN_LEN)
            protocol_error(session, "BEGIN_REQUEST of a wrong length");
        break;
    case FCGI_PARAMS:
        if (stream != NULL && !stream->in_params)
            protocol_error(session, "parameters after their end");
        break;
    case FCGI_STDIN:
    case FCGI_DATA:
        if (stream != NULL && stream->in_params)
            protocol_error(session, "a body before the end of the parameters");
        break;
    default:
        break;
    }
}

/* Content of the record, all that is left of it or a part. */
static void add_content(struct fcgi_session *session, struct block *block,
                        struct slice bytes)
{
    struct fcgi_stream *stream = session->target;

    if (session->record.type == FCGI_BEGIN_REQUEST) {
        begin_pieces(session, bytes);
        return;
    }
    if (session->record.id == 0) {
        if (session->record.type == FCGI_GET_VALUES)
            values_pieces(session, bytes);
        return;
    }
    if (stream == NULL)
        return;
    switch (session->record.type) {
    case FCGI_PARAMS:
        add_params(session, stream, bytes);
        break;
    case FCGI_STDIN:
        if (stream->req != NULL)
            add_input(session, stream, &stream->req->body, block, bytes);
        break;
    case FCGI_DATA:
        if (stream->req != NULL && stream->req->role == REQUEST_FILTER)
            add_input(session, stream, &stream->req->data, block, bytes);
        break;
    default:
        break;
    }
}

/* A record without content: the end of a stream of bytes, or a message. */
static void add_empty(struct fcgi_session *session)
{
    struct fcgi_stream *stream = session->target;

    if (session->record.id == 0 && session->record.type == FCGI_GET_VALUES)
        values_pieces(session, (struct slice){ 0 });
    if (stream == NULL)
        return;
    switch (session->record.type) {
    case FCGI_PARAMS:
        end_params(stream);
        break;
    case FCGI_STDIN:
        stream->stdin_ended = true;
        if (stream->req == NULL)
            break;
        request_input_end(stream->req, &stream->req->body);
        fcgi_stream_note_bodies(stream);
        break;
    case FCGI_DATA:
        if (stream->req == NULL || stream->req->role != REQUEST_FILTER)
            break;
        stream->data_ended = true;
        request_input_end(stream->req, &stream->req->data);
        fcgi_stream_note_bodies(stream);
        break;
    default:
        break;
    }
}

/* The whole content has come. */
static void end_content(struct fcgi_session *session)
{
    const struct fcgi_header *record = &session->record;
    char body[8] = { (char)record->type };

    if (record->id == 0 && record->type != FCGI_GET_VALUES)
        fcgi_send_record(session, FCGI_UNKNOWN_TYPE, 0,
                         (struct slice){ body, sizeof(body) });
    else if (record->type == FCGI_ABORT_REQUEST && session->target != NULL)
        abort_stream(session->target);
}

static void take_header(struct fcgi_session *session, const char *bytes)
{
    session->record = fcgi_header_decode(bytes);
    session->content_left = session->record.length;
    session->padding_left = session->record.padding;
    session->in_record = true;
    start_record(session);
    if (session->wire.state == WIRE_BROKEN)
        return;
    if (session->content_left == 0) {
        add_empty(session);
        end_content(session);
    }
}

/* A header, whole as nearly always or in pieces. */
static void feed_header(struct fcgi_session *session, struct slice *bytes)
{
    if (session->partial_len == 0 && bytes->len >= FCGI_HEADER_LEN) {
        take_header(session, slice_take(bytes, FCGI_HEADER_LEN).data);
        return;
    }
    while (bytes->len > 0 && session->partial_len < FCGI_HEADER_LEN)
        session->partial[session->partial_len++] = *slice_take(bytes, 1).data;
    if (session->partial_len < FCGI_HEADER_LEN)
        return;
    session->partial_len = 0;
    take_header(session, session->partial);
}

static void feed_content(struct fcgi_session *session, struct block *block,
                         struct slice *bytes)
{
    struct slice part = slice_take(bytes, session->content_left);

    session->content_left -= part.len;
    add_content(session, block, part);
    if (session->content_left == 0)
        end_content(session);
}

/* Between records nothing is owed; in a body the peer may take its time. */
static void note_partial(struct fcgi_session *session)
{
    bool in_body = session->in_record && session->partial_len == 0 &&
                   (session->record.type == FCGI_STDIN ||
                    session->record.type == FCGI_DATA ||
                    (session->target == NULL && session->record.id != 0 &&
                     session->record.type != FCGI_BEGIN_REQUEST));

    if ((!session->in_record && session->partial_len == 0) || in_body)
        session->partial_since = 0;
    else if (session->partial_since <= 0)
        session->partial_since = *session->service->now;
}

static void feed(struct wire *wire, struct block *block, struct slice bytes)
{
    struct fcgi_session *session = session_of(wire);

    while (bytes.len > 0 && wire->state == WIRE_OPEN) {
        if (!session->in_record)
            feed_header(session, &bytes);
        else if (session->content_left > 0)
            feed_content(session, block, &bytes);
        else
            session->padding_left -=
                slice_take(&bytes, session->padding_left).len;
        session->in_record = session->in_record && (session->content_left > 0 ||
                                                    session->padding_left > 0);
        if (!session->in_record && session->partial_len == 0)
            session->partial_since = 0;
    }
    note_partial(session);
}

/* All streams lose their connection. */
static void drop_streams(struct fcgi_session *session)
{
    for (unsigned i = 0; i < session->slots; i++) {
        while (session->table[i] != NULL) {
            struct fcgi_stream *stream = session->table[i];
            struct request *req = stream->req;
            double started = stream->started;

            fcgi_stream_del(stream);
            if (req != NULL) {
                request_detach(req);
                request_unref(req);
            } else {
                request_refused(session->service, started, true, 0);
            }
        }
    }
}

static void eof(struct wire *wire)
{
    struct fcgi_session *session = session_of(wire);

    drop_streams(session);
    if (wire->state != WIRE_BROKEN)
        wire->state = WIRE_CLOSE;
}

static bool want_read(const struct wire *wire)
{
    const struct fcgi_session *session =
        (const struct fcgi_session *)(const void *)wire;

    if (wire->state != WIRE_OPEN || wire->out.len >= OUTPUT_STOP)
        return false;
    return session->stopped == 0 || session->count > 1 ||
           fcgi_is_blocked(session);
}

static bool is_busy(const struct wire *wire)
{
    return ((const struct fcgi_session *)(const void *)wire)->count > 0;
}

static double owed_since(const struct wire *wire)
{
    const struct fcgi_session *session =
        (const struct fcgi_session *)(const void *)wire;
    double since = session->partial_since;

    if (!list_is_empty(&session->begun)) {
        double started =
            list_entry(session->begun.next, struct fcgi_stream, begun)->started;

        if (since <= 0 || started < since)
            since = started;
    }
    return since;
}

static void drained(struct wire *wire)
{
    struct fcgi_session *session = session_of(wire);

    session->drained = session->queued - wire->out.len;
    session->open_header = NULL; /* the kernel may have it */
    fcgi_stream_turns(session);
}

static void close_session(struct wire *wire)
{
    struct fcgi_session *session = session_of(wire);

    drop_streams(session);
    chain_free(&wire->out);
    buffer_free(&session->values);
    if (session->table != session->small)
        free(session->table);
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

struct wire *fcgi_session_open(struct service *service)
{
    struct fcgi_session *session = calloc(1, sizeof(*session));

    if (session == NULL)
        return NULL;
    session->wire.ops = &session_ops;
    session->service = service;
    session->table = session->small;
    session->slots = STREAM_SLOTS;
    chain_init(&session->wire.out, &service->chunks);
    buffer_init(&session->values, FCGI_CONTENT_MAX);
    list_init(&session->begun);
    list_init(&session->starved);
    list_init(&session->waiting);
    list_init(&session->flushing);
    return &session->wire;
}

size_t fcgi_stream_size(void)
{
    return sizeof(struct fcgi_stream);
}
