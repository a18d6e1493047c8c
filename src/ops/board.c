/* board.c -- see board.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/board.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>

struct board *board_new(void)
{
    struct board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (board == MAP_FAILED)
        return NULL;
    board->started = (double)time(NULL);
    return board;
}

void board_del(struct board *board)
{
    if (board != NULL)
        munmap(board, sizeof(*board));
}

struct board_slot *board_take(struct board *board, unsigned id,
                              unsigned generation)
{
    for (int i = 0; i < BOARD_SLOTS; i++) {
        struct board_slot *slot = &board->slots[i];

        if (slot->is_used)
            continue;
        memset(slot, 0, sizeof(*slot)); /* nobody else looks at it yet */
        slot->id = id;
        slot->generation = generation;
        slot->is_used = true;
        return slot;
    }
    return NULL;
}

void board_release(struct board *board, struct board_slot *slot)
{
    board->gone.accepted += slot->counters.accepted;
    board->gone.requests += slot->counters.requests;
    slot->accepts = false;
    slot->is_used = false;
}

bool board_is_over_mean(const struct board *board,
                        const struct board_slot *slot)
{
    uint64_t sum = 0, count = 0;

    for (int i = 0; i < BOARD_SLOTS; i++)
        if (board->slots[i].accepts) {
            sum += board->slots[i].conns;
            count++;
        }
    return slot->conns * count > sum;
}

uint64_t board_accepted(const struct board *board)
{
    uint64_t sum = board->gone.accepted;

    for (int i = 0; i < BOARD_SLOTS; i++)
        if (board->slots[i].is_used)
            sum += board->slots[i].counters.accepted;
    return sum;
}

uint64_t board_requests(const struct board *board)
{
    uint64_t sum = board->gone.requests;

    for (int i = 0; i < BOARD_SLOTS; i++)
        if (board->slots[i].is_used)
            sum += board->slots[i].counters.requests;
    return sum;
}
