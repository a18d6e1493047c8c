/* answer.h -- private to this room: a session and the answer that it gives.
 *
 * session.c hears, answer.c speaks; both work on the struct here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include "core/exchange.h"
#include "core/request.h"
#include "core/wire.h"
#include "http/head.h"

#include <llhttp.h>
#include <stdbool.h>
#include <stdint.h>

/* What comes next from the peer. */
enum http_phase {
    HTTP_IDLE, /* the first byte of a request */
    HTTP_IN_HEAD,
    HTTP_IN_BODY,
    HTTP_IN_TRAILER,
    HTTP_WHOLE /* nothing, until the answer is complete */
};

/* How an answer's end is told. */
enum http_framing {
    HTTP_NO_BODY, /* by its head: HEAD, 204, 304 */
    HTTP_LENGTH,  /* by Content-Length */
    HTTP_CHUNKED,
    HTTP_UNTIL_CLOSE
};

/* Bytes of requests behind the one under way. */
struct http_later {
    struct block *block; /* holds a reference */
    struct slice bytes;
};

/* Reading stops with the first; until the loop heeds that a few may come. */
enum { HTTP_LATER_MAX = 4 };

struct http_session {
    struct wire wire;         /* first: the one is the other */
    struct exchange exchange; /* of the request under way */
    struct service *service;
    llhttp_t parser;
    struct http_head head;

    /* Hearing. */
    enum http_phase phase;
    size_t head_len;     /* bytes of head or trailer so far */
    double head_since;   /* 0: no head is owed */
    struct block *block; /* that the parser's bytes lie in */
    bool is_feeding;
    struct http_refusal refusal; /* made in a callback of the parser */
    struct http_later later[HTTP_LATER_MAX];
    unsigned later_count;

    /* The request under way. */
    struct request *req; /* or NULL */
    unsigned minor;      /* HTTP/1.x */
    bool keep;           /* the connection outlives it */
    bool wants_continue; /* before it sends its body */
    bool stops;          /* its body is over the window */
    bool is_answered;    /* its head has gone */
    bool has_writer;     /* one that waits for room */
    bool has_flusher;    /* one that waits for the kernel */
    enum http_framing framing;
    uint64_t length_left; /* of HTTP_LENGTH */
    uint64_t surplus;     /* bytes that were over it */
};

extern const struct exchange_ops http_exchange_ops;

/* Answers in the place of a service, closes. */
void http_refuse(struct http_session *session, struct http_refusal refusal);

/* Reads on: what has come meanwhile. */
void http_go_on(struct http_session *session);

/* Notes whether the body wants reading to stop, after it has changed. */
void http_note_body(struct http_session *session);

#endif
