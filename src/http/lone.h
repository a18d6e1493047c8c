/* lone.h -- a request without a connection: made from a method and a URL, and
 * its answer given away piece by piece as it comes.
 *
 * So a request can come from the shell or from a test.  Whoever makes it sees
 * to the body and to the loop.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef HTTP_LONE_H
#define HTTP_LONE_H

#include "core/exchange.h"
#include "core/request.h"

/* What becomes of the answer.  Nothing of the request may be changed from
 * within, but that it is aborted by lone_abort. */
struct lone_ops {
    /* Its status, the reason of that, and the head's other lines: each ends
     * with CRLF, and behind the last is an empty one. */
    void (*head)(void *arg, int status, struct slice reason,
                 struct slice lines);
    void (*body)(void *arg, struct slice bytes);
    /* It is complete.  not_whole: it broke off, which is told as in HTTP: by
     * the length if the head has one, else by the app status. */
    void (*ended)(void *arg, bool not_whole);
    /* The application has taken some of the body. */
    void (*taken)(void *arg);
};

struct lone_field {
    struct slice name, value;
};

/* All zero but the target is a GET without fields.  Of a URL with https the
 * request came so. */
struct lone_call {
    struct slice method; /* empty: GET */
    struct slice target; /* a path with a query, or a URL */
    const struct lone_field *fields;
    size_t count;
    /* Parameters as they are, in the coding of core/params; of one that is
     * also made from the rest, this is the first. */
    struct slice params;
    bool has_body;
    bool has_length; /* and the fields tell nothing else: */
    uint64_t length; /* of the body, if it is known */
};

/* Embedded in what it is about. */
struct lone {
    struct exchange exchange;
    const struct lone_ops *ops;
    void *arg;
    struct request *req; /* NULL: it has ended, or was aborted */
    bool has_ended;      /* the answer is complete */
    bool is_answered;    /* its head was given away */
    bool has_length;     /* ... and said how long the body is, */
    uint64_t left;       /* of which so much is missing */
    size_t pending;      /* bytes of the answer that are not where they go */
    bool has_writer;     /* one that waits until these are fewer */
    bool has_flusher;    /* ... or none */
};

/* Makes the request and hands it to the service.  Returns NULL, or a line that
 * says what is wrong with the call; then nothing is left to be ended. */
const char *lone_begin(struct lone *lone, struct service *service,
                       const struct lone_call *call, const struct lone_ops *ops,
                       void *arg);

/* May the next of the body be given?  No: wait for `taken`. */
bool lone_wants_input(const struct lone *lone);

/* The next of the body, at most BLOCK_SIZE bytes.  Returns false where there is
 * no memory: nothing was taken. */
bool lone_input(struct lone *lone, struct slice bytes);

/* That was all. */
void lone_input_end(struct lone *lone);

/* Tells how much of the answer is still on its way: writers wait while it is
 * much.  Who never calls it takes everything at once. */
void lone_set_pending(struct lone *lone, size_t pending);

/* Nobody wants the answer any more. */
void lone_abort(struct lone *lone);

#endif
