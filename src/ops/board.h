/* board.h -- what all processes of a service count and show, in memory that
 * they share.
 *
 * Made by the first process, before any other is forked.  Each worker has a
 * slot of its own and is the only one that writes there, so nothing is ever
 * locked; what a worker has counted stays on the board when it ends, however it
 * ends.  All that is the service's own is written by its main process: the
 * supervisor, or the one that serves alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_BOARD_H
#define OPS_BOARD_H

#include "base/metrics.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BOARD_SLOTS = 1024,     /* processes at once, draining ones included */
    BOARD_BUCKETS = 16,     /* of durations; the last has no upper end */
    BOARD_BLOCKED_MS = 200, /* a turn that is longer is told of */
    BOARD_SAMPLES = 720,
    BOARD_SAMPLE_SECONDS = 5, /* between two of them: they cover an hour */
    /* Of one worker's running requests; only what was used is in memory. */
    BOARD_SNAPSHOT_MAX = 128 * 1024
};

/* What a worker counts since it has begun. */
enum board_count {
    COUNT_ACCEPTED, /* connections */
    COUNT_REQUESTS, /* that have ended, those for pages of ours not included */
    COUNT_STATUS_NONE, /* ... before anything was sent */
    COUNT_STATUS_2XX,
    COUNT_STATUS_3XX,
    COUNT_STATUS_4XX,
    COUNT_STATUS_5XX,
    COUNT_ABORTED,     /* the client had gone */
    COUNT_TIMEOUTS,    /* --timeout had cancelled it */
    COUNT_REFUSED,     /* there was no place or no memory for it */
    COUNT_FULL,        /* times that --max-reqs was reached */
    COUNT_SLOW,        /* of the slow log */
    COUNT_PAGES,       /* status and ping */
    COUNT_BYTES_IN,    /* of bodies */
    COUNT_BYTES_OUT,   /* likewise */
    COUNT_NANOSECONDS, /* all requests took */
    COUNT_CPU,         /* microseconds */
    COUNT_BUCKET,      /* requests by duration: BOARD_BUCKETS of them */
    BOARD_COUNTS = COUNT_BUCKET + BOARD_BUCKETS
};

/* The upper ends of the buckets but the last, in seconds. */
extern const double board_buckets[BOARD_BUCKETS - 1];

struct board_counters {
    _Atomic uint64_t n[BOARD_COUNTS];
};

struct board_slot {
    alignas(64) _Atomic bool is_used; /* workers do not share cache lines */
    _Atomic bool accepts;
    _Atomic uint32_t id, pid, generation;
    _Atomic uint32_t conns; /* open now */
    /* Connections that the supervisor has sent, and that have arrived. */
    _Atomic uint32_t given, taken;
    _Atomic uint32_t active; /* requests under way, without pages of ours */
    _Atomic uint32_t active_max;
    _Atomic uint32_t tasks;
    _Atomic uint64_t memory;  /* bytes of Lua */
    _Atomic uint64_t started; /* ms since the epoch; 0: not yet */
    /* When the turn of the loop that is under way began, in ms of the
     * monotonic clock; 0: it waits. */
    _Atomic uint64_t busy_since;
    struct board_counters counters;
};

/* Why a worker's process ended. */
enum board_end {
    BOARD_END_STOP,
    BOARD_END_RELOAD,
    BOARD_END_MAX_REQUESTS,
    BOARD_END_MAX_MEMORY,
    BOARD_END_UPGRADE,
    BOARD_END_FAILED, /* it exited by itself, and not with 0 */
    BOARD_END_KILLED, /* by a signal */
    BOARD_END_STUCK,  /* its loop stood still, or it did not end in time */
    BOARD_ENDS
};

/* As OpenMetrics and JSON call them: "max-requests". */
extern const char *const board_end_names[BOARD_ENDS];

/* How things stood at a moment; counters as they were then. */
struct board_sample {
    double at; /* seconds since the epoch */
    uint64_t requests, errors, nanoseconds, cpu, memory;
    uint32_t active, active_workers, workers, conns, queue;
    uint64_t buckets[BOARD_BUCKETS];
};

struct board_history {
    _Atomic uint32_t taken; /* so far; the n-th is at n % BOARD_SAMPLES */
    struct board_sample samples[BOARD_SAMPLES];
};

/* A worker's running requests, as it has written them down: see snapshot.h. */
struct board_snapshot {
    _Atomic uint32_t version; /* odd while it is written */
    _Atomic uint64_t number;  /* of the wish that it fulfils; 0: none yet */
    _Atomic uint64_t taken;   /* ms of the monotonic clock */
    uint32_t count, left_out, len;
    char bytes[BOARD_SNAPSHOT_MAX - 48];
};

struct board {
    uint64_t layout; /* of all that follows: see board_open */
    double started;  /* seconds since the epoch */
    _Atomic uint32_t generation;
    _Atomic uint32_t slots_seen; /* no slot behind them was ever used */
    _Atomic uint32_t changes;    /* odd while counts go from a slot to `gone` */
    _Atomic uint32_t active_max; /* workers with a request, at once */
    _Atomic uint32_t queue_max;  /* connections that waited to be accepted */
    _Atomic uint64_t memory_max; /* bytes of Lua, of one worker */
    _Atomic uint64_t reloads, failed_reloads;
    _Atomic uint64_t ends[BOARD_ENDS];
    _Atomic uint64_t wish;      /* the number of the last one for snapshots */
    struct board_counters gone; /* of workers that have ended */
    struct board_history history;
    struct metrics metrics; /* the script's */
    struct board_slot slots[BOARD_SLOTS];
    alignas(4096) struct board_snapshot snapshots[BOARD_SLOTS];
};

/* Maps a new board.  *fd is a descriptor of its memory, the caller's, by which
 * the program that an upgrade brings finds it; -1: the kernel gives none.  NULL
 * with errno when there is no memory. */
struct board *board_new(int *fd);

/* Maps the board behind fd, which another program has made; fd stays the
 * caller's.  NULL with errno, EINVAL if it is none, or of another layout. */
struct board *board_open(int fd);

void board_del(struct board *board);

/* A free slot, taken for a worker; NULL: all are in use. */
struct board_slot *board_take(struct board *board, unsigned id,
                              unsigned generation);

/* The slot of that number, also of a worker that has it already; on a board
 * that the worker does not know it keeps its number from others.  NULL: there
 * is no such slot. */
struct board_slot *board_take_at(struct board *board, unsigned index,
                                 unsigned id, unsigned generation);

/* The worker has ended: what it has counted is kept, the slot is free. */
void board_release(struct board *board, struct board_slot *slot);

static inline struct board_snapshot *
board_snapshot(struct board *board, const struct board_slot *slot)
{
    return &board->snapshots[slot - board->slots];
}

/* For how many ms its loop has not turned, if that is long enough to be told;
 * else 0.  now is in ms of the monotonic clock. */
uint64_t board_blocked(const struct board_slot *slot, uint64_t now);

/* The sums over all workers, living and gone. */
void board_sum(const struct board *board, uint64_t sums[BOARD_COUNTS]);
uint64_t board_accepted(const struct board *board);
uint64_t board_requests(const struct board *board);

/* Takes note of how many workers are at work now and of what waits to be
 * accepted, for the maxima. */
void board_look(struct board *board, uint32_t queue);

/* The same, and a sample of the history; to be called every
 * BOARD_SAMPLE_SECONDS by the main process. */
void board_sample(struct board *board, uint32_t queue);

/* The n-th of the samples that are there, the oldest first; false: there are
 * no more. */
bool board_history(const struct board *board, unsigned n,
                   struct board_sample *sample);

/* The bucket that a duration belongs to. */
static inline unsigned board_bucket(double seconds)
{
    unsigned i = 0;

    while (i < BOARD_BUCKETS - 1 && seconds > board_buckets[i])
        i++;
    return i;
}

#endif
