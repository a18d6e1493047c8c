/* counts.c -- see counts.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/counts.h"

#include "core/request.h"

#include <time.h>

/* The system call for it is not worth its time more often. */
static const double cpu_seconds = 0.05;

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

/* Nobody else writes there: no atomic addition is needed. */
static void add(struct board_counters *counters, enum board_count count,
                uint64_t n)
{
    _Atomic uint64_t *at = &counters->n[count];

    atomic_store_explicit(at,
                          atomic_load_explicit(at, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static void set(struct board_counters *counters, enum board_count count,
                uint64_t n)
{
    atomic_store_explicit(&counters->n[count], n, memory_order_relaxed);
}

static void ended(struct service_observer *observer, const struct request *req)
{
    struct counts *counts = (struct counts *)(void *)observer;
    struct board_counters *to = &counts->slot->counters;
    uint64_t in = req->body.received + req->data.received;
    double seconds;

    if (req->is_page)
        return;
    seconds = req->ended > req->started ? req->ended - req->started : 0;
    add(to, COUNT_REQUESTS, 1);
    add(to, status_class(req), 1);
    add(to, COUNT_NANOSECONDS, (uint64_t)(seconds * 1e9));
    add(to, COUNT_BUCKET + board_bucket(seconds), 1);
    add(to, COUNT_BYTES_OUT, req->response.body_bytes);
    if (in > 0)
        add(to, COUNT_BYTES_IN, in);
    if (req->is_aborted)
        add(to, COUNT_ABORTED, 1);
}

void counts_init(struct counts *counts, const struct service *service,
                 struct board_slot *slot)
{
    *counts = (struct counts){ .observer.ended = ended,
                               .service = service,
                               .slot = slot };
}

/* All requests but those for pages, and those under way. */
static uint64_t ended_so_far(const struct service *service)
{
    return service->serial - service->active - service->paged +
           service->on_pages;
}

void counts_attach(struct counts *counts, struct service *service)
{
    set(&counts->slot->counters, COUNT_REQUESTS, ended_so_far(service));
    counts->is_attached = true;
    service_observe(service, &counts->observer);
}

static void look_at_cpu(struct counts *counts)
{
    struct timespec used;

    counts->cpu_looked = *counts->service->now;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0)
        set(&counts->slot->counters, COUNT_CPU,
            (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000);
}

void counts_publish(struct counts *counts, bool is_last)
{
    const struct service *service = counts->service;
    struct board_counters *to = &counts->slot->counters;

    if (is_last || *service->now - counts->cpu_looked >= cpu_seconds)
        look_at_cpu(counts);
    set(to, COUNT_ACCEPTED, service->accepted);
    if (!counts->is_attached)
        set(to, COUNT_REQUESTS, ended_so_far(service));
    set(to, COUNT_REFUSED, service->refused);
    set(to, COUNT_FULL, service->filled);
    set(to, COUNT_TIMEOUTS, service->timeouts);
    set(to, COUNT_SLOW, service->slow);
    set(to, COUNT_PAGES, service->paged);
}
