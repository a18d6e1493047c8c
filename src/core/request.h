/* request.h -- one request, from its first record to the last reference.
 *
 * A request is held twice: by the protocol until its answer is complete or its
 * connection is gone, and by the script until the handle is collected.  No
 * pointer leads from here to Lua or to a connection: only to one exchange, and
 * to waiters that want to hear of news.
 *
 *      BEGIN          PARAMS end         finish            last unref
 *     request_new -> request_ready -> request_ended  -> request_unref
 *                         |  request_abort, at any time
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_REQUEST_H
#define CORE_REQUEST_H

#include "base/buffer.h"
#include "base/list.h"
#include "core/body.h"
#include "core/exchange.h"
#include "core/response.h"
#include "core/service.h"

/* Somebody who wants to hear of news, once: link is on the request's list. */
struct request_waiter {
    struct list link;
    void (*wake)(struct request_waiter *waiter);
};

enum { REQUEST_ID_MAX = 64 };

struct request {
    unsigned refs;
    enum request_role role;
    uint64_t serial; /* of the worker, for the log */
    struct service *service;
    struct exchange *exchange; /* NULL when ended or detached */
    struct list waiters;
    void *handler;    /* the service's own, while it is being served */
    unsigned orphans; /* of the handler: tasks that have outlived it */
    double started;   /* service's clock at BEGIN */
    double ended;     /* likewise, for observers, but to the moment */
    double cpu_user, cpu_system; /* s of its Lua, if the service measures it */

    struct buffer params;
    bool params_too_large; /* what came was dropped */
    bool is_ready;         /* was handed to the service */
    bool is_noted;         /* `noted` is filled */
    bool is_head;          /* REQUEST_METHOD is HEAD */
    bool is_aborted;       /* the client has gone */
    bool is_ended;         /* the answer is complete */
    bool is_too_large;     /* the body passed a limit: 413 */
    bool is_surplus;       /* the service is full: see service.h */
    bool is_page;          /* it is for one of the service's pages */

    struct body body; /* STDIN */
    struct body data; /* DATA, of a filter */
    struct response response;

    /* Values that an observer wants: SERVICE_NOTED of them.  There is no place
     * for them where none are wanted, and they are only cleared if is_noted. */
    struct slice noted[];
};

enum request_status {
    REQUEST_DATA,
    REQUEST_WAIT,     /* nothing yet: wait for news */
    REQUEST_EOF,      /* that was all */
    REQUEST_ABORTED,  /* the client has gone, or ended its body too early */
    REQUEST_FINISHED, /* the answer is complete: the rest was dropped */
    REQUEST_TOO_LARGE /* over --max-body or the space for bodies */
};

/* A request with one reference, the caller's; counted as active until
 * request_ended or request_detach.  NULL when there is no memory. */
struct request *request_new(struct service *service, enum request_role role,
                            struct exchange *exchange);

static inline struct request *request_ref(struct request *req)
{
    req->refs++;
    return req;
}

void request_unref(struct request *req);

/* Frees the pool of requests with the memory that they keep. */
void request_pool_free(struct pool *pool);

/* A request that is answered only if it is for one of the service's pages,
 * though there is no place for others, or no hook. */
void request_mark_surplus(struct request *req);

/* Its parameters are complete: is it? */
bool request_is_for_page(const struct request *req);

/* The parameters are complete: reads what the gateway itself must know and
 * hands the request to the service, or answers it (400, 413, 431). */
void request_ready(struct request *req);

/* The client has gone: nothing more will come, nothing is sent any more. */
void request_abort(struct request *req);

/* Aborts a request that runs, and takes its exchange from it. */
void request_detach(struct request *req);

/* There is no memory for it after all: it goes as if it had never been, and who
 * answers in its stead calls request_refused. */
void request_disown(struct request *req);

/* Tells observers of a request for which there was no struct request: it was
 * begun at that time and answered with 503 and so many bytes of body, or
 * (is_aborted) its client has gone before. */
void request_refused(struct service *service, double started, bool is_aborted,
                     uint64_t body_bytes);

/* Wakes all waiters, in the order in which they came. */
void request_wake(struct request *req);

/* Hears the next news. */
void request_wait(struct request *req, struct request_waiter *waiter);

/* Bytes of the body came, or (end) there are no more.  to_file: see body_add.
 * Over a limit the request is answered with 413. */
void request_input(struct request *req, struct body *body, struct block *block,
                   struct slice bytes, bool to_file);
void request_input_end(struct request *req, struct body *body);

/* Shows at most max bytes of a body without taking them. */
enum request_status request_peek(struct request *req, struct body *body,
                                 size_t max, struct slice *got);

/* May the whole body be read without waiting?  REQUEST_DATA: it is there, of
 * *size bytes; REQUEST_TOO_LARGE: it is, or will be, more than max. */
enum request_status request_peek_all(struct request *req, struct body *body,
                                     uint64_t max, uint64_t *size);

/* Takes n bytes of what request_peek showed. */
void request_consume(struct request *req, struct body *body, size_t n);

/* The first value of a parameter; false when there is none. */
bool request_param(const struct request *req, struct slice name,
                   struct slice *value);

/* The id of a request, as in the logs: X-Request-Id if the web server sent a
 * sound one, else our own. */
struct slice request_id(const struct request *req, char buffer[REQUEST_ID_MAX]);

/* The same where HTTP_X_REQUEST_ID is known; empty: there is none. */
struct slice request_id_of(const struct request *req, struct slice given,
                           char buffer[REQUEST_ID_MAX]);

/* The answer is complete; the exchange is gone, and the body dropped unless
 * the client had gone. */
void request_ended(struct request *req);

/* Nobody will read the rest. */
void request_drop_input(struct request *req);

#endif
