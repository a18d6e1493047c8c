/* board.h -- the counters that all processes of a service share.
 *
 * Made by the first process, before any other is forked, in memory that all
 * of them map.  Each worker has a slot of its own and is the only one that
 * writes there, so nothing is ever locked; what a worker has counted stays on
 * the board when it ends, however it ends.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_BOARD_H
#define OPS_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { BOARD_SLOTS = 1024 }; /* processes at once, draining ones included */

/* What a worker counts since it has begun. */
struct board_counters {
    _Atomic uint64_t accepted; /* connections */
    _Atomic uint64_t requests; /* that have ended */
};

struct board_slot {
    _Atomic bool is_used, accepts;
    _Atomic uint32_t id, pid, generation;
    _Atomic uint32_t conns;  /* open now */
    _Atomic uint32_t active; /* requests under way */
    _Atomic uint64_t memory; /* bytes of Lua */
    /* When the turn of the loop that is under way began, in ms of the
     * monotonic clock; 0: it waits. */
    _Atomic uint64_t busy_since;
    struct board_counters counters;
};

struct board {
    double started; /* seconds since the epoch */
    _Atomic uint32_t generation;
    struct board_counters gone; /* of workers that have ended */
    struct board_slot slots[BOARD_SLOTS];
};

/* Maps a new board.  NULL with errno when there is no memory. */
struct board *board_new(void);
void board_del(struct board *board);

/* A free slot, taken for a worker; NULL: all are in use. */
struct board_slot *board_take(struct board *board, unsigned id,
                              unsigned generation);

/* The worker has ended: what it has counted is kept, the slot is free. */
void board_release(struct board *board, struct board_slot *slot);

/* Has this worker more connections than the mean of those that accept? */
bool board_is_over_mean(const struct board *board,
                        const struct board_slot *slot);

/* The sums over all workers, living and gone. */
uint64_t board_accepted(const struct board *board);
uint64_t board_requests(const struct board *board);

#endif
