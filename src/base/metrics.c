/* metrics.c -- see metrics.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/metrics.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static struct metrics own = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct metrics *shared = &own;

int metrics_init(struct metrics *metrics)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);

    if (error != 0)
        return error;
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (error == 0)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (error == 0)
        error = pthread_mutex_init(&metrics->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return error;
}

void metrics_share(struct metrics *metrics)
{
    shared = metrics;
}

struct metrics *metrics_shared(void)
{
    return shared;
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), n = strlen(end);

    return len > n && strcmp(name + len - n, end) == 0;
}

unsigned metric_family(enum metric_kind kind, const char *name)
{
    size_t len = strlen(name);

    if (kind == METRIC_COUNTER && ends_with(name, "_total"))
        len -= sizeof("_total") - 1;
    return (unsigned)len;
}

/* Would a sample or family of the one be called as one of the other?  A
 * counter's are f, f_total and f_created. */
static bool clashes(const struct metric *a, enum metric_kind kind,
                    const char *name)
{
    static const char *const ends[] = { "", "_total", "_created" };
    unsigned a_len = metric_family(a->kind, a->name);
    unsigned b_len = metric_family(kind, name);
    int a_ends = a->kind == METRIC_COUNTER ? 3 : 1;
    int b_ends = kind == METRIC_COUNTER ? 3 : 1;

    for (int i = 0; i < a_ends; i++)
        for (int j = 0; j < b_ends; j++) {
            char x[METRIC_NAME_MAX + 16], y[METRIC_NAME_MAX + 16];

            memcpy(x, a->name, a_len);
            strcpy(x + a_len, ends[i]);
            memcpy(y, name, b_len);
            strcpy(y + b_len, ends[j]);
            if (strcmp(x, y) == 0)
                return true;
        }
    return false;
}

/* Looks at the entries from *from on, as far as there are any. */
static enum metrics_status find(struct metrics *metrics, uint32_t *from,
                                enum metric_kind kind, const char *name,
                                const char *labels, struct metric **out)
{
    uint32_t count =
        atomic_load_explicit(&metrics->count, memory_order_acquire);

    for (; *from < count; ++*from) {
        struct metric *metric = &metrics->items[*from];
        bool is_family =
            metric->kind == kind && strcmp(metric->name, name) == 0;

        if (is_family && strcmp(metric->labels, labels) != 0)
            continue;
        if (!is_family && !clashes(metric, kind, name))
            continue;
        *out = metric;
        return is_family ? METRICS_OK : METRICS_CLASH;
    }
    return METRICS_FULL;
}

/* The lock is held for a few hundred instructions: who waits for a second waits
 * for a process that was stopped in them. */
static bool lock(struct metrics *metrics)
{
    struct timespec limit;
    int error;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec++;
    error = pthread_mutex_timedlock(&metrics->lock, &limit);
    if (error == EOWNERDEAD) /* what it was writing was not counted yet */
        error = pthread_mutex_consistent(&metrics->lock);
    return error == 0;
}

static struct metric *add(struct metrics *metrics, enum metric_kind kind,
                          const char *name, const char *help,
                          const char *labels)
{
    uint32_t count =
        atomic_load_explicit(&metrics->count, memory_order_relaxed);
    struct metric *metric = &metrics->items[count];

    if (count == METRICS_MAX)
        return NULL;
    memset(metric, 0, sizeof(*metric));
    metric->kind = kind;
    strncpy(metric->name, name, sizeof(metric->name) - 1);
    strncpy(metric->help, help, sizeof(metric->help) - 1);
    strncpy(metric->labels, labels, sizeof(metric->labels) - 1);
    atomic_store_explicit(&metrics->count, count + 1, memory_order_release);
    return metric;
}

enum metrics_status metrics_open(struct metrics *metrics, enum metric_kind kind,
                                 const char *name, const char *help,
                                 const char *labels, struct metric **out)
{
    uint32_t from = 0;
    enum metrics_status status = find(metrics, &from, kind, name, labels, out);

    if (status != METRICS_FULL)
        return status;
    if (!lock(metrics))
        return METRICS_BUSY;
    status = find(metrics, &from, kind, name, labels, out);
    if (status == METRICS_FULL) {
        *out = add(metrics, kind, name, help, labels);
        if (*out != NULL)
            status = METRICS_OK;
    }
    pthread_mutex_unlock(&metrics->lock);
    return status;
}

static double to_double(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t to_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

void metric_add(struct metric *metric, double n)
{
    uint64_t before = atomic_load_explicit(&metric->rest, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(
        &metric->rest, &before, to_bits(to_double(before) + n),
        memory_order_relaxed, memory_order_relaxed))
        ;
}

void metric_add_whole(struct metric *metric, int64_t n)
{
    atomic_fetch_add_explicit(&metric->whole, n, memory_order_relaxed);
}

void metric_set(struct metric *metric, double value)
{
    atomic_store_explicit(&metric->whole, 0, memory_order_relaxed);
    atomic_store_explicit(&metric->rest, to_bits(value), memory_order_relaxed);
}

double metric_value(const struct metric *metric)
{
    return (double)atomic_load_explicit(&metric->whole, memory_order_relaxed) +
           to_double(atomic_load_explicit(&metric->rest, memory_order_relaxed));
}
