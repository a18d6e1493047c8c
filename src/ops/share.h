/* share.h -- how the workers of a service share its connections.
 *
 * Each worker's count is on the board, and with it what the supervisor has sent
 * it and it has not taken yet: several that are passed on at once are shared
 * as fairly as those that come one by one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_SHARE_H
#define OPS_SHARE_H

#include "ops/board.h"

/* Connections that a worker has or will have in a moment. */
static inline uint32_t share_load(const struct board_slot *slot)
{
    return atomic_load_explicit(&slot->conns, memory_order_relaxed) +
           atomic_load_explicit(&slot->given, memory_order_relaxed) -
           atomic_load_explicit(&slot->taken, memory_order_relaxed);
}

/* How many new connections this worker should accept now: none while it has
 * more than the mean of those that accept, else what brings it a little above
 * it. */
uint32_t share_room(const struct board *board, const struct board_slot *slot);

/* How many of its connections this worker should give to the others: none
 * unless its share is so unfair that moving them is worth it. */
uint32_t share_surplus(const struct board *board,
                       const struct board_slot *slot);

#endif
