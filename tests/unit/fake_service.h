/* fake_service.h -- a service without a script: it keeps the requests that are
 * ready for the test to answer, and counts what it is told.
 * SPDX-License-Identifier: MIT */
#ifndef UNIT_FAKE_SERVICE_H
#define UNIT_FAKE_SERVICE_H

#include "core/request.h"
#include "core/service.h"

#include <stdio.h>
#include <string.h>

enum { FAKE_READY = 64 };

struct fake_service {
    struct service service;
    double now;
    struct request *ready[FAKE_READY]; /* each with a reference */
    unsigned n_ready;
    unsigned n_aborted, n_complaints;
    char complaint[256];     /* the last one */
    unsigned roles;          /* bit n: role n is served */
    struct request *aborted; /* the last one */
};

static inline struct fake_service *fake_of(struct service *service)
{
    return (struct fake_service *)(void *)service;
}

static inline bool fake_serves(struct service *service, enum request_role role)
{
    return (fake_of(service)->roles >> role & 1) != 0;
}

static inline void fake_ready(struct service *service, struct request *req)
{
    struct fake_service *fake = fake_of(service);

    if (fake->n_ready < FAKE_READY)
        fake->ready[fake->n_ready++] = request_ref(req);
}

static inline void fake_aborted(struct service *service, struct request *req)
{
    fake_of(service)->n_aborted++;
    fake_of(service)->aborted = req;
}

static inline void fake_complain(struct service *service, struct request *req,
                                 const char *what)
{
    struct fake_service *fake = fake_of(service);

    (void)req;
    fake->n_complaints++;
    snprintf(fake->complaint, sizeof(fake->complaint), "%s", what);
}

static inline void fake_service_init(struct fake_service *fake,
                                     size_t stream_size)
{
    static const struct service_ops ops = {
        .serves = fake_serves,
        .ready = fake_ready,
        .aborted = fake_aborted,
        .complain = fake_complain,
    };
    struct limits limits = limits_default();

    memset(fake, 0, sizeof(*fake));
    fake->now = 1000;
    fake->roles = 1u << REQUEST_RESPONDER | 1u << REQUEST_AUTHORIZER |
                  1u << REQUEST_FILTER;
    service_init(&fake->service, &limits, &fake->now, "/tmp", stream_size);
    fake->service.ops = &ops;
}

/* Lets the n-th ready request go; those behind it move up. */
static inline void fake_release(struct fake_service *fake, unsigned n)
{
    request_unref(fake->ready[n]);
    fake->n_ready--;
    memmove(fake->ready + n, fake->ready + n + 1,
            (fake->n_ready - n) * sizeof(fake->ready[0]));
}

static inline void fake_service_free(struct fake_service *fake)
{
    while (fake->n_ready > 0)
        fake_release(fake, fake->n_ready - 1);
    service_free(&fake->service);
}

#endif
