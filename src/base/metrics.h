/* metrics.h -- numbers with names that several processes count in.
 *
 * A table of a fixed size in memory that all of them map.  An entry never goes
 * and never moves: who has found it once adds to it without a lock.  Only
 * making an entry takes one, which survives the death of its holder.
 *
 * As it has one log a process has one table: its own until it is told to use
 * another.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    METRICS_MAX = 512, /* a dashboard's worth; each label makes another */
    METRIC_NAME_MAX = 128,
    METRIC_HELP_MAX = 256,
    METRIC_LABELS_MAX = 256
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    enum metric_kind kind;
    char name[METRIC_NAME_MAX];
    char help[METRIC_HELP_MAX];
    char labels[METRIC_LABELS_MAX]; /* a="x",b="y", escaped; or empty */
    /* What it is worth is the sum of both: whole numbers stay exact. */
    _Atomic int64_t whole;
    _Atomic uint64_t rest; /* the bits of a double */
};

struct metrics {
    pthread_mutex_t lock; /* to add one */
    _Atomic uint32_t count;
    struct metric items[METRICS_MAX];
};

enum metrics_status {
    METRICS_OK,
    METRICS_FULL,
    METRICS_CLASH, /* with another one's name: *out is that */
    METRICS_BUSY   /* somebody holds the lock, and seems to be stopped */
};

/* Prepares a table of zeroes.  Returns 0, or an error of errno. */
int metrics_init(struct metrics *metrics);

/* From now on this is the process's table. */
void metrics_share(struct metrics *metrics);

/* The process's table. */
struct metrics *metrics_shared(void);

/* Finds the metric of that kind, name and labels, or makes it; of a text that
 * is too long nothing is said: see the maxima. */
enum metrics_status metrics_open(struct metrics *metrics, enum metric_kind kind,
                                 const char *name, const char *help,
                                 const char *labels, struct metric **out);

/* The length of a counter's name without "_total", which OpenMetrics gives to
 * its sample, not to its family; of a gauge's all of it. */
unsigned metric_family(enum metric_kind kind, const char *name);

void metric_add(struct metric *metric, double n);
void metric_add_whole(struct metric *metric, int64_t n);
void metric_set(struct metric *metric, double value);
double metric_value(const struct metric *metric);

#endif
