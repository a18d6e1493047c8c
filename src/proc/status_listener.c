/* status_listener.c -- see status_listener.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/status_listener.h"

#include "base/log.h"
#include "core/request.h"
#include "fcgi/session.h"
#include "io/accept.h"
#include "io/conn.h"
#include "proc/desk.h"
#include "proc/sniff.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A few scrapers and people.  Who only sits there goes when another one comes:
 * one place is always free. */
enum { CONNS_MAX = 32 };

struct status_listener {
    struct service service;
    struct conns *conns;
    struct acceptors *acceptors;
    struct status *status;
    const struct options *options;
};

static const struct limits limits = {
    .max_params = 128 * 1024, /* what a head of 64 KiB may become */
    .max_body = 0,            /* nobody reads one */
    .max_spool = 0,
    .max_conns = CONNS_MAX,
    .max_reqs = CONNS_MAX,
    .header_timeout = 30,
    .idle_timeout = 150, /* twice what a slow scraper waits between two */
    .write_timeout = 10,
    .linger_timeout = 2,
    .linger_bytes = 1024 * 1024,
};

static struct status_listener *listener_of(struct service *service)
{
    return service->owner;
}

/* --- what is asked ----------------------------------------------------------
 */

/* The media type of a page, and what the query would call it. */
static const struct {
    const char *type, *format;
} formats[] = {
    { "application/openmetrics-text", "openmetrics" },
    { "text/html", "html" },
    { "application/json", "json" },
    { "text/plain", "text" },
};

static bool contains(struct slice text, struct slice word)
{
    for (; text.len >= word.len; slice_take(&text, 1))
        if (slice_equal_nocase((struct slice){ text.data, word.len }, word))
            return true;
    return false;
}

/* Weights are not read: Prometheus and browsers name what they like best, and
 * each its own. */
static const char *accepted_format(const struct request *req)
{
    struct slice accept;

    if (request_param(req, slice_of("HTTP_ACCEPT"), &accept))
        for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
            if (contains(accept, slice_of(formats[i].type)))
                return formats[i].format;
    return "text";
}

/* Is it one of those two, or the one that an option names? */
static bool is_one_of(const struct request *req, const char *path,
                      const char *other, const char *named)
{
    return desk_is_path(req, path) ||
           (other != NULL && desk_is_path(req, other)) ||
           (named != NULL && desk_is_path(req, named));
}

static void not_found(struct request *req)
{
    response_answer(req, 404,
                    slice_of("Content-Type: text/plain\r\n"
                             "Cache-Control: no-store\r\n"),
                    slice_of("404 Not Found: there are /, /status, /metrics "
                             "and /ping\n"));
}

static void ready(struct service *service, struct request *req)
{
    struct status_listener *listener = listener_of(service);
    const struct options *options = listener->options;

    if (is_one_of(req, "/", "/status", options->status))
        status_answer_as(listener->status, req, accepted_format(req));
    else if (is_one_of(req, "/metrics", NULL, NULL))
        status_answer_as(listener->status, req, "openmetrics");
    else if (is_one_of(req, "/ping", NULL, options->ping))
        status_pong(req);
    else
        not_found(req);
}

static bool serves(struct service *service, enum request_role role)
{
    (void)service;
    return role == REQUEST_RESPONDER;
}

/* One that waits holds its request, and sees that it has no exchange. */
static void aborted(struct service *service, struct request *req)
{
    (void)service;
    (void)req;
}

static void complain(struct service *service, struct request *req,
                     const char *what)
{
    (void)service;
    (void)req;
    log_write(LOG_LEVEL_WARN, "the status page: %s", what);
}

/* --- connections ------------------------------------------------------------
 */

static struct wire *open_wire(struct service *service)
{
    struct status_listener *listener = listener_of(service);

    if (conns_count(listener->conns) + 1 >= CONNS_MAX)
        conns_close_quietest(listener->conns);
    return sniff_open(service);
}

/* Can only this machine reach it? */
static bool is_local(int fd)
{
    struct sockaddr_storage bound = { .ss_family = AF_UNSPEC };
    const struct sockaddr_in *in = (const struct sockaddr_in *)(void *)&bound;
    const struct sockaddr_in6 *in6 =
        (const struct sockaddr_in6 *)(void *)&bound;
    socklen_t len = sizeof(bound);

    if (getsockname(fd, (struct sockaddr *)&bound, &len) == -1)
        return true;
    if (bound.ss_family == AF_INET)
        return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (bound.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    return true;
}

void status_listener_log(const struct listen_set *listening)
{
    for (size_t i = 0; i < listening->count; i++) {
        const struct listen_socket *sock = &listening->items[i];

        log_write(LOG_LEVEL_NOTICE, "the status page is on %s", sock->name);
        if (!is_local(sock->fd))
            log_write(LOG_LEVEL_NOTICE,
                      "%s: whoever reaches this port sees the status page, "
                      "with the addresses of running requests",
                      sock->name);
    }
}

struct status_listener *status_listener_new(struct loop *loop,
                                            const struct listen_set *listening,
                                            struct status *status,
                                            const struct options *options)
{
    static const struct service_ops ops = {
        .serves = serves,
        .ready = ready,
        .aborted = aborted,
        .complain = complain,
    };
    /* FCGI_WEB_SERVER_ADDRS says which web servers may make requests, and who
     * scrapes is none. */
    static const struct acceptor_protocol sniffed = { open_wire, NULL };
    struct status_listener *listener = calloc(1, sizeof(*listener));

    if (listener == NULL)
        return NULL;
    listener->status = status;
    listener->options = options;
    service_init(&listener->service, &limits, loop_clock(loop), "/",
                 fcgi_stream_size());
    listener->service.ops = &ops;
    listener->service.owner = listener;
    listener->conns = conns_new(loop, &listener->service);
    if (listener->conns != NULL)
        listener->acceptors =
            acceptors_new(loop, listener->conns, listening, &sniffed);
    if (listener->acceptors != NULL)
        return listener;
    status_listener_del(listener);
    errno = ENOMEM;
    return NULL;
}

void status_listener_apply(struct status_listener *listener,
                           const struct options *options)
{
    if (listener != NULL)
        listener->options = options;
}

void status_listener_del(struct status_listener *listener)
{
    if (listener == NULL)
        return;
    acceptors_del(listener->acceptors);
    conns_del(listener->conns);
    status_end(listener->status); /* of requests that are ours, too */
    service_free(&listener->service);
    free(listener);
}
