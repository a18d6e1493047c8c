/* stream.c -- answers as records: see stream.h.
 *
 * Bytes of one stream are framed into the record that is open at the end of
 * the output, which grows until somebody else writes, it is full, or the
 * kernel has taken of it.  So a head, the body behind it and what the next
 * writes of the same turn add are one record.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/stream.h"

#include "core/head.h"

#include <stdio.h>
#include <stdlib.h>

static struct fcgi_stream *stream_of(struct exchange *exchange)
{
    return (struct fcgi_stream *)(void *)exchange;
}

/* There is no memory for an answer: nothing sound can be sent any more. */
static void break_session(struct fcgi_session *session)
{
    session->wire.state = WIRE_BROKEN;
}

static char *extend(struct fcgi_session *session, size_t n)
{
    char *room = chain_extend(&session->wire.out, n);

    if (room == NULL)
        break_session(session);
    else
        session->queued += n;
    return room;
}

static void append(struct fcgi_session *session, struct slice bytes)
{
    if (chain_append(&session->wire.out, bytes))
        session->queued += bytes.len;
    else
        break_session(session);
}

/* Queues bytes of a stream, in the open record as far as it has room. */
static void frame(struct fcgi_stream *stream, enum fcgi_type type,
                  struct slice bytes)
{
    struct fcgi_session *session = stream->session;

    while (bytes.len > 0 && session->wire.state != WIRE_BROKEN) {
        bool grows = session->open_header != NULL &&
                     session->open_id == stream->id &&
                     session->open_type == (uint8_t)type &&
                     session->open_len < FCGI_CONTENT_MAX;
        struct slice part;

        if (!grows) {
            char *header = extend(session, FCGI_HEADER_LEN);

            if (header == NULL)
                return;
            fcgi_header_encode(header, type, stream->id, 0);
            session->open_header = header;
            session->open_id = stream->id;
            session->open_type = (uint8_t)type;
            session->open_len = 0;
        }
        part = slice_take(&bytes, FCGI_CONTENT_MAX - session->open_len);
        append(session, part);
        session->open_len += part.len;
        fcgi_header_set_length(session->open_header, session->open_len);
    }
    stream->last_byte = session->queued;
}

void fcgi_send_record(struct fcgi_session *session, enum fcgi_type type,
                      uint16_t id, struct slice content)
{
    char *header = extend(session, FCGI_HEADER_LEN);

    session->open_header = NULL;
    if (header == NULL)
        return;
    fcgi_header_encode(header, type, id, content.len);
    append(session, content);
}

/* The empty record that ends a stream. */
static void send_stream_end(struct fcgi_session *session, enum fcgi_type type,
                            uint16_t id)
{
    char *header = extend(session, FCGI_HEADER_LEN);

    if (header != NULL)
        fcgi_header_encode(header, type, id, 0);
}

void fcgi_send_end(struct fcgi_session *session, uint16_t id,
                   uint32_t app_status, enum fcgi_protocol_status status)
{
    char *record = extend(session, FCGI_HEADER_LEN + 8);

    session->open_header = NULL;
    if (record == NULL)
        return;
    fcgi_header_encode(record, FCGI_END_REQUEST, id, 8);
    fcgi_end_encode(record + FCGI_HEADER_LEN, app_status, status);
}

static void send_head(struct exchange *exchange, struct slice lines)
{
    struct fcgi_stream *stream = stream_of(exchange);

    /* A record that is open may be nearly full, and a head in two records is
     * what some web servers die of. */
    stream->session->open_header = NULL;
    frame(stream, FCGI_STDOUT, lines);
    wire_changed(&stream->session->wire);
}

static void send_body(struct exchange *exchange, struct slice bytes)
{
    struct fcgi_stream *stream = stream_of(exchange);

    stream->turn_bytes += bytes.len;
    frame(stream, FCGI_STDOUT, bytes);
    wire_changed(&stream->session->wire);
}

/* A file that became too short ends the connection: nobody else may be on it.
 */
static bool takes_files(const struct exchange *exchange)
{
    const struct fcgi_stream *stream =
        (const struct fcgi_stream *)(const void *)exchange;

    return stream->session->count == 1;
}

/* Each record is a head of ours and what the kernel reads of the file. */
static void send_file(struct exchange *exchange, struct shared_fd *file,
                      off_t offset, size_t n)
{
    struct fcgi_stream *stream = stream_of(exchange);
    struct fcgi_session *session = stream->session;

    stream->turn_bytes += n;
    session->open_header = NULL;
    while (n > 0 && session->wire.state != WIRE_BROKEN) {
        size_t most = FCGI_CONTENT_MAX & ~(size_t)7, len = n < most ? n : most;
        char *header = extend(session, FCGI_HEADER_LEN);

        if (header == NULL)
            return;
        fcgi_header_encode(header, FCGI_STDOUT, stream->id, len);
        if (!chain_append_file(&session->wire.out, file, offset, len)) {
            break_session(session);
            return;
        }
        session->queued += len;
        offset += (off_t)len;
        n -= len;
    }
    stream->last_byte = session->queued;
    wire_changed(&session->wire);
}

/* Web servers log record by record and cut long ones: a line each, at most
 * 1 KiB. */
static void send_err(struct exchange *exchange, struct slice bytes)
{
    struct fcgi_stream *stream = stream_of(exchange);

    stream->turn_bytes += bytes.len;
    while (bytes.len > 0) {
        const char *newline = slice_find(bytes, '\n');
        size_t len =
            newline == NULL ? bytes.len : (size_t)(newline + 1 - bytes.data);

        fcgi_send_record(stream->session, FCGI_STDERR, stream->id,
                         slice_take(&bytes, len < 1024 ? len : 1024));
    }
    stream->err_used = true;
    stream->last_byte = stream->session->queued;
    wire_changed(&stream->session->wire);
}

/* Writers take turns.  A round lasts until the output is nearly gone; in it
 * each may queue OUTPUT_TURN bytes, and who found no room goes first in the
 * next. */
static size_t room(struct exchange *exchange)
{
    struct fcgi_stream *stream = stream_of(exchange);
    struct fcgi_session *session = stream->session;
    size_t most = session->count > 1 ? OUTPUT_TURN : OUTPUT_HIGH;
    size_t len = session->wire.out.len;

    if (stream->round != session->round) {
        stream->round = session->round;
        stream->turn_bytes = 0;
    }
    if (len < OUTPUT_HIGH && stream->turn_bytes < most) {
        size_t total = OUTPUT_HIGH - len, own = most - stream->turn_bytes;

        return total < own ? total : own;
    }
    if (list_is_empty(&stream->waiting)) {
        list_append(stream->turn_bytes < most ? &session->starved
                                              : &session->waiting,
                    &stream->waiting);
        wire_changed(&session->wire); /* reading may have to go on */
    }
    return 0;
}

static bool is_flushed(const struct exchange *exchange)
{
    struct fcgi_stream *stream =
        stream_of((struct exchange *)(size_t)(const void *)exchange);
    struct fcgi_session *session = stream->session;

    if (session->drained >= stream->last_byte)
        return true;
    if (list_is_empty(&stream->flushing))
        list_append(&session->flushing, &stream->flushing);
    return false;
}

static void wake_writers(struct list *list)
{
    struct list woken;

    list_init(&woken);
    list_move_all(list, &woken);
    while (!list_is_empty(&woken)) {
        struct fcgi_stream *stream =
            list_entry(list_take(&woken), struct fcgi_stream, waiting);

        request_wake(stream->req);
    }
}

void fcgi_stream_turns(struct fcgi_session *session)
{
    struct list *link, *next;

    for (link = session->flushing.next; link != &session->flushing;
         link = next) {
        struct fcgi_stream *stream =
            list_entry(link, struct fcgi_stream, flushing);

        next = link->next;
        if (session->drained >= stream->last_byte) {
            list_remove(link);
            request_wake(stream->req);
        }
    }
    if (session->wire.out.len >= OUTPUT_LOW)
        return;
    session->round++;
    wake_writers(&session->starved);
    wake_writers(&session->waiting);
}

static void note_body(struct fcgi_stream *stream, struct body *body)
{
    struct fcgi_session *session = stream->session;
    uint64_t available = body_available(body);
    bool stops =
        body->stopped ? available > BODY_WINDOW / 2 : available >= BODY_WINDOW;

    if (body->want_all || body->ended || body->dropped ||
        fcgi_stream_awaits_other(stream, body))
        stops = false;
    if (stops == body->stopped)
        return;
    body->stopped = stops;
    session->stopped += stops ? 1u : -1u;
    wire_changed(&session->wire);
}

void fcgi_stream_note_bodies(struct fcgi_stream *stream)
{
    note_body(stream, &stream->req->body);
    if (stream->req->role == REQUEST_FILTER)
        note_body(stream, &stream->req->data);
}

static void body_consumed(struct exchange *exchange)
{
    fcgi_stream_note_bodies(stream_of(exchange));
}

/* The table is a plain hash of chains: ids are the peer's choice, and a lookup
 * must stay short with a thousand of them. */
static void forget(struct fcgi_stream *stream)
{
    struct fcgi_session *session = stream->session;
    struct fcgi_stream **at =
        &session->table[stream->id & (session->slots - 1)];

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    session->count--;
    if (session->target == stream)
        session->target = NULL;
    list_drop(&stream->begun);
    list_drop(&stream->waiting);
    list_drop(&stream->flushing);
    if (stream->req == NULL) {
        session->refused--;
        return;
    }
    if (stream->req->body.stopped)
        session->stopped--;
    if (stream->req->data.stopped)
        session->stopped--;
    stream->req->body.stopped = stream->req->data.stopped = false;
}

/* Once a request without KEEP_CONN has ended the connection ends with the
 * last of those beside it. */
static void note_end(struct fcgi_session *session, bool keep_conn,
                     bool may_be_sending)
{
    if (!keep_conn)
        session->closes = true;
    if (!keep_conn && may_be_sending)
        session->lingers = true;
    if (session->closes && session->count == 0 &&
        session->wire.state == WIRE_OPEN)
        session->wire.state = session->lingers ? WIRE_LINGER : WIRE_CLOSE;
    wire_changed(&session->wire);
}

void fcgi_stream_del(struct fcgi_stream *stream)
{
    forget(stream);
    pool_put(&stream->session->service->streams, stream);
}

static void finish(struct exchange *exchange, uint32_t app_status,
                   enum exchange_end end)
{
    static const enum fcgi_protocol_status statuses[] = {
        [EXCHANGE_COMPLETE] = FCGI_REQUEST_COMPLETE,
        [EXCHANGE_OVERLOADED] = FCGI_OVERLOADED,
        [EXCHANGE_UNKNOWN_ROLE] = FCGI_UNKNOWN_ROLE,
    };
    struct fcgi_stream *stream = stream_of(exchange);
    struct fcgi_session *session = stream->session;
    struct request *req = stream->req;
    uint16_t id = stream->id;
    bool keep_conn = stream->keep_conn;
    bool sending = req->role != REQUEST_AUTHORIZER &&
                   (!stream->stdin_ended ||
                    (req->role == REQUEST_FILTER && !stream->data_ended));

    forget(stream);           /* a new BEGIN of this id may come at once */
    if (!stream->in_params) { /* spec 6.2: nothing before they are complete */
        send_stream_end(session, FCGI_STDOUT, id);
        if (stream->err_used)
            send_stream_end(session, FCGI_STDERR, id);
    }
    fcgi_send_end(session, id, app_status, statuses[end]);
    pool_put(&session->service->streams, stream);
    request_ended(req);
    request_unref(req);
    note_end(session, keep_conn, sending);
}

void fcgi_stream_refuse(struct fcgi_stream *stream)
{
    static const char busy[] = "503 Service Unavailable";
    static const char no_hook[] = "500 Internal Server Error";
    struct fcgi_session *session = stream->session;
    bool keep_conn = stream->keep_conn;
    bool is_aborted = stream->in_params;
    bool lacks_hook = stream->no_hook;
    uint16_t id = stream->id;
    const char *status = lacks_hook ? no_hook : busy;
    char both[256];
    int len = snprintf(both, sizeof(both),
                       "Status: %s\r\nContent-Type: text/plain\r\n\r\n%s\n",
                       status, status);

    if (!lacks_hook)
        request_refused(session->service, stream->started, is_aborted,
                        is_aborted ? 0 : strlen(status) + 1);
    fcgi_stream_del(stream);
    if (!is_aborted) { /* spec 6.2: nothing before they are complete */
        fcgi_send_record(session, FCGI_STDOUT, id,
                         (struct slice){ both, (size_t)len });
        send_stream_end(session, FCGI_STDOUT, id);
    }
    fcgi_send_end(session, id, 0,
                  is_aborted   ? FCGI_REQUEST_COMPLETE
                  : lacks_hook ? FCGI_UNKNOWN_ROLE
                               : FCGI_OVERLOADED);
    note_end(session, keep_conn, true);
}

const struct exchange_ops fcgi_stream_ops = {
    .head = send_head,
    .body = send_body,
    .takes_files = takes_files,
    .file = send_file,
    .err = send_err,
    .room = room,
    .is_flushed = is_flushed,
    .body_consumed = body_consumed,
    .finish = finish,
};
