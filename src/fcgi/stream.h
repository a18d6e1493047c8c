/* stream.h -- private to this room: a session and its streams, a stream being
 * one request on its connection.
 *
 * session.c hears (records in), stream.c speaks (records out); both work on
 * the structs here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FCGI_STREAM_H
#define FCGI_STREAM_H

#include "base/buffer.h"
#include "base/list.h"
#include "core/exchange.h"
#include "core/request.h"
#include "core/wire.h"
#include "fcgi/record.h"

#include <stdbool.h>
#include <stdint.h>

enum { STREAM_SLOTS = 8 }; /* of the table in the session itself */

struct fcgi_stream {
    struct exchange exchange; /* first: the one is the other */
    struct fcgi_session *session;
    struct request *req;      /* NULL: refused, its PARAMS are awaited */
    struct fcgi_stream *next; /* in its slot of the table */
    struct list begun;        /* while PARAMS are incomplete */
    struct list waiting;      /* while the writer waits for its turn */
    struct list flushing;     /* while somebody waits for the kernel */
    uint64_t last_byte;       /* of its output, counted over the session */
    uint64_t round;           /* in which turn_bytes were written */
    size_t turn_bytes;
    size_t params_len; /* received, kept or not */
    double started;
    uint16_t id;
    bool keep_conn;
    bool in_params;
    bool no_hook; /* refused: the script lacks the role's hook */
    bool stdin_ended, data_ended; /* by their empty records */
    bool err_used;
};

struct fcgi_session {
    struct wire wire; /* first: the one is the other */
    struct service *service;

    struct fcgi_stream **table; /* by id; slots is a power of two */
    struct fcgi_stream *small[STREAM_SLOTS];
    unsigned slots, count, refused;
    struct list begun; /* the oldest first */

    /* Hearing: the record that is being received. */
    char partial[FCGI_HEADER_LEN]; /* of a header or a BEGIN body */
    unsigned partial_len;
    bool in_record;
    struct fcgi_header record;
    size_t content_left, padding_left;
    struct fcgi_stream *target; /* of the record; NULL: dropped */
    struct buffer values;       /* of GET_VALUES in pieces */
    double partial_since;       /* 0: between two records */

    /* Speaking. */
    char *open_header; /* of the last record, while it may grow; or NULL */
    size_t open_len;
    uint16_t open_id;
    uint8_t open_type;
    uint64_t round, queued, drained;
    struct list starved; /* writers that had no room in this round */
    struct list waiting; /* writers that had their turn */
    struct list flushing;

    bool closes;      /* a request without KEEP_CONN has ended */
    bool lingers;     /* ... and its peer may still be sending */
    unsigned stopped; /* bodies that want reading to stop */
};

extern const struct exchange_ops fcgi_stream_ops;

/* Puts a stream that was ended or refused out of the table and frees it. */
void fcgi_stream_del(struct fcgi_stream *stream);

/* Queues one whole record. */
void fcgi_send_record(struct fcgi_session *session, enum fcgi_type type,
                      uint16_t id, struct slice content);

/* Queues END_REQUEST alone. */
void fcgi_send_end(struct fcgi_session *session, uint16_t id,
                   uint32_t app_status, enum fcgi_protocol_status status);

/* Answers a refused stream whose PARAMS have ended, or ends one that was
 * aborted before; frees it. */
void fcgi_stream_refuse(struct fcgi_stream *stream);

/* Output has left the session: whose turn is it? */
void fcgi_stream_turns(struct fcgi_session *session);

/* Notes whether its bodies want reading to stop, after one has changed. */
void fcgi_stream_note_bodies(struct fcgi_stream *stream);

/* A filter's handler may be waiting for the one of its two streams while the
 * other comes: STDIN, as it stands before DATA (spec 6.4), or DATA from a peer
 * that mixes them.  The one must not hold up the other. */
static inline bool fcgi_stream_awaits_other(const struct fcgi_stream *stream,
                                            const struct body *body)
{
    const struct request *req = stream->req;
    const struct body *other = body == &req->body ? &req->data : &req->body;

    return req->role == REQUEST_FILTER && !other->ended;
}

/* Are there writers that wait for the peer to read? */
static inline bool fcgi_is_blocked(const struct fcgi_session *session)
{
    return !list_is_empty(&session->starved) ||
           !list_is_empty(&session->waiting);
}

#endif
