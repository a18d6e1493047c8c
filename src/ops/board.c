/* board.c -- see board.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/board.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

const double board_buckets[BOARD_BUCKETS - 1] = { 0.001, 0.0025, 0.005, 0.01,
                                                  0.025, 0.05,   0.1,   0.25,
                                                  0.5,   1,      2.5,   5,
                                                  10,    30,     60 };

const char *const board_end_names[BOARD_ENDS] = {
    [BOARD_END_STOP] = "stop",
    [BOARD_END_RELOAD] = "reload",
    [BOARD_END_MAX_REQUESTS] = "max-requests",
    [BOARD_END_MAX_MEMORY] = "max-memory",
    [BOARD_END_UPGRADE] = "upgrade",
    [BOARD_END_FAILED] = "failed",
    [BOARD_END_KILLED] = "killed",
    [BOARD_END_STUCK] = "stuck",
};

static double calendar(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct board *board_new(void)
{
    struct board *board =
        mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int error;

    if (board == MAP_FAILED)
        return NULL;
    error = metrics_init(&board->metrics);
    if (error != 0) {
        board_del(board);
        errno = error;
        return NULL;
    }
    board->started = calendar();
    return board;
}

void board_del(struct board *board)
{
    if (board != NULL)
        munmap(board, sizeof(*board));
}

static unsigned slots_seen(const struct board *board)
{
    return atomic_load_explicit(&board->slots_seen, memory_order_relaxed);
}

struct board_slot *board_take(struct board *board, unsigned id,
                              unsigned generation)
{
    for (unsigned i = 0; i < BOARD_SLOTS; i++) {
        struct board_slot *slot = &board->slots[i];

        if (slot->is_used)
            continue;
        memset(slot, 0, sizeof(*slot)); /* nobody else looks at it yet */
        board->snapshots[i].number = 0;
        board->snapshots[i].version = 0; /* its writer may have died in it */
        slot->id = id;
        slot->generation = generation;
        if (i >= slots_seen(board))
            board->slots_seen = i + 1;
        slot->is_used = true;
        return slot;
    }
    return NULL;
}

static void add_counters(struct board_counters *to,
                         const struct board_counters *from)
{
    for (int i = 0; i < BOARD_COUNTS; i++)
        to->n[i] += from->n[i];
}

/* No count goes twice into a sum, or is missing, while it is on its way. */
void board_release(struct board *board, struct board_slot *slot)
{
    board->changes++;
    add_counters(&board->gone, &slot->counters);
    slot->accepts = false;
    slot->is_used = false;
    board->changes++;
}

bool board_is_over_mean(const struct board *board,
                        const struct board_slot *slot)
{
    uint64_t sum = 0, count = 0;
    unsigned seen = slots_seen(board);

    for (unsigned i = 0; i < seen; i++)
        if (board->slots[i].accepts) {
            sum += board->slots[i].conns;
            count++;
        }
    return slot->conns * count > sum;
}

static void sum_once(const struct board *board, uint64_t sums[BOARD_COUNTS])
{
    unsigned seen = slots_seen(board);

    for (int n = 0; n < BOARD_COUNTS; n++)
        sums[n] = board->gone.n[n];
    for (unsigned i = 0; i < seen; i++) {
        const struct board_slot *slot = &board->slots[i];

        if (!slot->is_used)
            continue;
        for (int n = 0; n < BOARD_COUNTS; n++)
            sums[n] += atomic_load_explicit(&slot->counters.n[n],
                                            memory_order_relaxed);
    }
}

void board_sum(const struct board *board, uint64_t sums[BOARD_COUNTS])
{
    static const int tries_max = 1000; /* its writer may have been stopped */

    for (int tries = 0; tries < tries_max; tries++) {
        uint32_t before = board->changes;

        sum_once(board, sums);
        if ((before & 1) == 0 && board->changes == before)
            return;
        sched_yield();
    }
}

static uint64_t sum_of(const struct board *board, enum board_count count)
{
    uint64_t sums[BOARD_COUNTS];

    board_sum(board, sums);
    return sums[count];
}

uint64_t board_accepted(const struct board *board)
{
    return sum_of(board, COUNT_ACCEPTED);
}

uint64_t board_requests(const struct board *board)
{
    return sum_of(board, COUNT_REQUESTS);
}

/* --- what is seen now and then -------------------------------------------- */

uint64_t board_blocked(const struct board_slot *slot, uint64_t now)
{
    uint64_t since = slot->busy_since;

    return since > 0 && since + BOARD_BLOCKED_MS < now ? now - since : 0;
}

static uint64_t monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* How the living stand. */
static void add_living(const struct board *board, struct board_sample *sample,
                       uint64_t *memory_max)
{
    unsigned seen = slots_seen(board);
    uint64_t now = monotonic();

    for (unsigned i = 0; i < seen; i++) {
        const struct board_slot *slot = &board->slots[i];
        uint64_t memory = slot->memory;

        if (!slot->is_used || slot->pid == 0)
            continue;
        sample->workers++;
        sample->active_workers +=
            slot->active > 0 || board_blocked(slot, now) > 0 ? 1 : 0;
        sample->active += slot->active;
        sample->conns += slot->conns;
        sample->memory += memory;
        if (memory > *memory_max)
            *memory_max = memory;
    }
}

static void raise_to(_Atomic uint32_t *most, uint32_t value)
{
    uint32_t before = *most;

    while (before < value &&
           !atomic_compare_exchange_weak(most, &before, value))
        ;
}

static void look(struct board *board, uint32_t queue,
                 struct board_sample *sample)
{
    uint64_t memory_max = 0, before = board->memory_max;

    *sample = (struct board_sample){ .at = calendar(), .queue = queue };
    add_living(board, sample, &memory_max);
    raise_to(&board->active_max, sample->active_workers);
    raise_to(&board->queue_max, queue);
    while (before < memory_max && !atomic_compare_exchange_weak(
                                      &board->memory_max, &before, memory_max))
        ;
}

void board_look(struct board *board, uint32_t queue)
{
    struct board_sample sample;

    look(board, queue, &sample);
}

void board_sample(struct board *board, uint32_t queue)
{
    struct board_history *history = &board->history;
    struct board_sample sample;
    uint64_t sums[BOARD_COUNTS];
    uint32_t taken = history->taken;

    look(board, queue, &sample);
    board_sum(board, sums);
    sample.requests = sums[COUNT_REQUESTS];
    sample.errors = sums[COUNT_STATUS_5XX];
    sample.nanoseconds = sums[COUNT_NANOSECONDS];
    sample.cpu = sums[COUNT_CPU];
    memcpy(sample.buckets, sums + COUNT_BUCKET, sizeof(sample.buckets));
    history->samples[taken % BOARD_SAMPLES] = sample;
    atomic_store_explicit(&history->taken, taken + 1, memory_order_release);
}

/* The one that is being overwritten is left out. */
bool board_history(const struct board *board, unsigned n,
                   struct board_sample *sample)
{
    const struct board_history *history = &board->history;
    uint32_t taken =
        atomic_load_explicit(&history->taken, memory_order_acquire);
    uint32_t first = taken >= BOARD_SAMPLES ? taken - BOARD_SAMPLES + 1 : 0;

    if (n >= taken - first)
        return false;
    *sample = history->samples[(first + n) % BOARD_SAMPLES];
    return true;
}
