/* share.c -- see share.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/share.h"

/* A worker that accepts a burst may get ahead of the mean by so many; who
 * stopped at the mean would turn its loop for each of them. */
enum { LEAD = 1 };

/* What a share may be above the mean before connections are moved: so many,
 * and this part of the mean. */
enum { SLACK = 2, SLACK_PART = 8 };

struct sum {
    uint64_t conns, workers;
};

static struct sum add_up(const struct board *board)
{
    uint32_t seen =
        atomic_load_explicit(&board->slots_seen, memory_order_relaxed);
    struct sum sum = { 0, 0 };

    for (uint32_t i = 0; i < seen; i++) {
        const struct board_slot *slot = &board->slots[i];

        if (!atomic_load_explicit(&slot->accepts, memory_order_relaxed))
            continue;
        sum.conns += share_load(slot);
        sum.workers++;
    }
    return sum;
}

/* The least n for which load + n > mean of (sum + n) + LEAD. */
uint32_t share_room(const struct board *board, const struct board_slot *slot)
{
    struct sum sum = add_up(board);
    uint64_t mine = share_load(slot) * sum.workers;
    uint64_t room;

    if (sum.workers < 2)
        return UINT32_MAX;
    if (mine > sum.conns)
        return 0;
    room = (sum.conns + LEAD * sum.workers - mine) / (sum.workers - 1) + 1;
    return room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
}

uint32_t share_surplus(const struct board *board, const struct board_slot *slot)
{
    struct sum sum = add_up(board);
    uint64_t mine = share_load(slot), mean;

    if (sum.workers < 2)
        return 0;
    mean = (sum.conns + sum.workers - 1) / sum.workers;
    if (mine <= mean + SLACK + mean / SLACK_PART)
        return 0;
    return (uint32_t)(mine - mean);
}
