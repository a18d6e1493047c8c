/* counts.c -- see counts.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/counts.h"

#include "core/request.h"

#include <time.h>

/* The system call for it is not worth its time more often. */
static const double cpu_seconds = 0.05;

static double seconds_since(double started)
{
    struct timespec now;
    double seconds;

    clock_gettime(CLOCK_MONOTONIC, &now); /* the loop's stands still */
    seconds = (double)now.tv_sec + (double)now.tv_nsec * 1e-9 - started;
    return seconds > 0 ? seconds : 0;
}

static enum board_count status_class(const struct request *req)
{
    if (!req->response.is_head_sent)
        return COUNT_STATUS_NONE;
    if (req->response.status < 300)
        return COUNT_STATUS_2XX;
    if (req->response.status < 400)
        return COUNT_STATUS_3XX;
    return req->response.status < 500 ? COUNT_STATUS_4XX : COUNT_STATUS_5XX;
}

static void ended(struct service_observer *observer, const struct request *req)
{
    struct counts *counts = (struct counts *)(void *)observer;
    uint64_t *n = counts->n;
    double seconds;

    if (req->is_page)
        return;
    seconds = seconds_since(req->started);
    n[COUNT_REQUESTS]++;
    n[status_class(req)]++;
    n[COUNT_ABORTED] += req->is_aborted ? 1 : 0;
    n[COUNT_BYTES_IN] += req->body.received + req->data.received;
    n[COUNT_BYTES_OUT] += req->response.body_bytes;
    n[COUNT_NANOSECONDS] += (uint64_t)(seconds * 1e9);
    n[COUNT_BUCKET + board_bucket(seconds)]++;
    counts->is_new = true;
}

void counts_init(struct counts *counts, const struct service *service)
{
    *counts = (struct counts){ .observer.ended = ended, .service = service };
}

/* All requests but those for pages, and those under way. */
static uint64_t ended_so_far(const struct service *service)
{
    return service->serial - service->active - service->paged +
           service->on_pages;
}

void counts_attach(struct counts *counts, struct service *service)
{
    counts->n[COUNT_REQUESTS] = ended_so_far(service);
    counts->is_attached = true;
    service_observe(service, &counts->observer);
}

static void look_at_cpu(struct counts *counts)
{
    struct timespec used;

    counts->cpu_looked = *counts->service->now;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0)
        counts->n[COUNT_CPU] =
            (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

void counts_publish(struct counts *counts, struct board_slot *slot,
                    bool is_last)
{
    const struct service *service = counts->service;
    uint64_t *n = counts->n;
    uint64_t seen = service->accepted + service->serial + service->active;
    bool looks = is_last || *service->now - counts->cpu_looked >= cpu_seconds;

    if (!counts->is_new && seen == counts->published && !looks)
        return;
    counts->is_new = false;
    counts->published = seen;
    if (looks)
        look_at_cpu(counts);
    n[COUNT_ACCEPTED] = service->accepted;
    if (!counts->is_attached)
        n[COUNT_REQUESTS] = ended_so_far(service);
    n[COUNT_REFUSED] = service->refused;
    n[COUNT_FULL] = service->filled;
    n[COUNT_TIMEOUTS] = service->timeouts;
    n[COUNT_SLOW] = service->slow;
    n[COUNT_PAGES] = service->paged;
    for (int i = 0; i < BOARD_COUNTS; i++)
        atomic_store_explicit(&slot->counters.n[i], n[i], memory_order_relaxed);
}
