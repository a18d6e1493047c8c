/* service.h -- what a worker's protocols and its script have in common.
 *
 * A protocol makes requests out of bytes and hands over each one that is
 * ready; what then happens with it is decided behind `ops` (by the script; by
 * a canned answer in tests).  Pools, limits and counts of the worker are here,
 * because both sides need them and neither owns the other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_SERVICE_H
#define CORE_SERVICE_H

#include "base/pool.h"
#include "base/slice.h"
#include "core/limits.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct params_wanted;
struct request;
struct service;

enum { SERVICE_HEAD_MAX = 256, SERVICE_NOTED = 16 };

/* What the web server asks for (FastCGI 1.0, 6). */
enum request_role {
    REQUEST_RESPONDER = 1,
    REQUEST_AUTHORIZER = 2,
    REQUEST_FILTER = 3
};

/* Somebody who hears of each request that was begun, once, when its answer is
 * complete or its connection has gone. */
struct service_observer {
    struct service_observer *next;
    void (*ended)(struct service_observer *observer, const struct request *req);
    bool wants_head; /* req->response.sent_head */
    bool wants_cpu;  /* req->cpu_user and cpu_system */
    /* Parameters whose values it finds in req->noted, in the same order.  NULL:
     * none.  Of one observer, and of SERVICE_NOTED names at most, else
     * req->is_noted stays false. */
    struct params_wanted *wanted;
};

struct service_ops {
    /* Is there a hook for this role? */
    bool (*serves)(struct service *service, enum request_role role);
    /* The parameters are complete; the body may still be coming.  Never runs
     * Lua before it returns. */
    void (*ready)(struct service *service, struct request *req);
    /* The client has gone, once at most for each request that was ready. */
    void (*aborted)(struct service *service, struct request *req);
    /* Something that the author of the script should read. */
    void (*complain)(struct service *service, struct request *req,
                     const char *what);
    /* Brings cpu_user and cpu_system of a request up to date.  May be NULL. */
    void (*measure)(struct service *service, struct request *req);
    /* Bytes of memory that the script holds.  May be NULL. */
    size_t (*memory)(const struct service *service);
};

/* Answers of the gateway's own, which the script never hears of. */
struct service_pages {
    /* Is this request, whose parameters are complete, for one of them? */
    bool (*wants)(const struct service_pages *pages, const struct request *req);
    /* Answers it, now or later. */
    void (*answer)(struct service_pages *pages, struct request *req);
};

/* The last head that was right as it stood: scripts that write their own heads
 * mostly write the same one. */
struct service_head {
    char bytes[SERVICE_HEAD_MAX];
    size_t len; /* 0: none yet */
    int status;
};

struct service {
    const struct service_ops *ops;
    void *owner; /* ops' own */
    struct limits limits;
    const double *now; /* the loop's monotonic clock, s */
    const char *tmpdir;

    struct pool blocks;   /* receive blocks */
    struct pool chunks;   /* output */
    struct pool pieces;   /* of bodies */
    struct pool requests; /* struct request */
    struct pool streams;  /* the protocol's state of one request */

    struct service_head last_head;

    struct service_pages *pages; /* or NULL */

    struct service_observer *observers;
    bool keeps_heads, measures_cpu;        /* for one of them */
    struct params_wanted *wanted;          /* of one of them, or NULL */
    unsigned wanted_method, wanted_length; /* ... and our own in it */

    unsigned serving;     /* in the hands of the script, ended or not */
    unsigned active;      /* requests begun and not ended */
    unsigned surplus;     /* ... of them such as are only there because they
                           * may be for one of the pages */
    unsigned on_pages;    /* ... and such as are */
    unsigned active_max;  /* the most at once, of those for the script */
    uint64_t paged;       /* requests for pages so far */
    uint64_t refused;     /* requests without place or memory */
    uint64_t filled;      /* times that max_reqs was reached */
    uint64_t timeouts;    /* requests that --timeout cancelled */
    uint64_t slow;        /* requests that the slow log has told of */
    bool is_full;         /* max_reqs is reached */
    uint64_t spooled;     /* bytes of bodies on disk */
    double refusal_noted; /* when; 0: never */
    uint64_t serial;      /* of the last request */
    uint64_t accepted;    /* connections so far */
    double started;       /* when, by now */
    time_t started_at;    /* ... by the calendar */
};

/* Makes a service without ops; stream_size is the protocol's for `streams`. */
void service_init(struct service *service, const struct limits *limits,
                  const double *now, const char *tmpdir, size_t stream_size);

/* Tells operators, once a minute at most for each service, that requests are
 * refused; static text says why. */
void service_note_refusal(struct service *service, const char *why);

/* Requests under way that are the script's. */
static inline unsigned service_active(const struct service *service)
{
    return service->active - service->on_pages - service->surplus;
}

/* Adds an observer, which must outlive all requests; one that wants parameters
 * before the first request. */
void service_observe(struct service *service,
                     struct service_observer *observer);

/* The index in req->noted of another parameter that is looked for in each
 * request from now on; -1: there is no room, or none are noted. */
int service_want(struct service *service, struct slice name);

/* Frees the pools; every request must be gone. */
void service_free(struct service *service);

#endif
