/* service.c -- see service.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/service.h"

#include "core/params.h"

#include "base/block.h"
#include "base/chain.h"
#include "base/log.h"
#include "core/body.h"
#include "core/request.h"

#include <assert.h>

/* Enough for the steady state of a busy worker, little enough to forget. */
enum { KEEP_BLOCKS = 16, KEEP_CHUNKS = 64, KEEP_REQUESTS = 256 };

void service_init(struct service *service, const struct limits *limits,
                  const double *now, const char *tmpdir, size_t stream_size)
{
    *service = (struct service){ .limits = *limits,
                                 .now = now,
                                 .tmpdir = tmpdir,
                                 .started = *now,
                                 .started_at = time(NULL) };
    block_pool_init(&service->blocks, KEEP_BLOCKS);
    chain_pool_init(&service->chunks, KEEP_CHUNKS);
    body_pool_init(&service->pieces, KEEP_REQUESTS);
    pool_init(&service->requests, sizeof(struct request), KEEP_REQUESTS);
    pool_init(&service->streams, stream_size, KEEP_REQUESTS);
}

void service_note_refusal(struct service *service, const char *why)
{
    static const double quiet_seconds = 60;
    double now = *service->now;

    if (service->refusal_noted > 0 &&
        now - service->refusal_noted < quiet_seconds)
        return;
    service->refusal_noted = now;
    log_write(LOG_LEVEL_WARN, "requests are refused: %s", why);
}

/* One pass over a request's parameters finds what we need of them, and what an
 * observer does. */
static void want_all(struct service *service, struct params_wanted *wanted)
{
    int method = params_want(wanted, slice_of("REQUEST_METHOD"));
    int length = params_want(wanted, slice_of("CONTENT_LENGTH"));

    if (method == -1 || length == -1 || wanted->count > SERVICE_NOTED)
        return;
    /* Requests get a place for them. */
    assert(service->active == 0);
    request_pool_free(&service->requests);
    service->requests.size +=
        SERVICE_NOTED * sizeof(((struct request *)NULL)->noted[0]);
    service->wanted = wanted;
    service->wanted_method = (unsigned)method;
    service->wanted_length = (unsigned)length;
}

void service_observe(struct service *service, struct service_observer *observer)
{
    observer->next = service->observers;
    service->observers = observer;
    service->keeps_heads = service->keeps_heads || observer->wants_head;
    service->measures_cpu = service->measures_cpu || observer->wants_cpu;
    if (service->wanted == NULL && observer->wanted != NULL)
        want_all(service, observer->wanted);
}

int service_want(struct service *service, struct slice name)
{
    if (service->wanted == NULL || service->wanted->count == SERVICE_NOTED)
        return -1;
    return params_want(service->wanted, name);
}

void service_free(struct service *service)
{
    pool_free(&service->streams);
    request_pool_free(&service->requests);
    pool_free(&service->pieces);
    pool_free(&service->chunks);
    pool_free(&service->blocks);
}
