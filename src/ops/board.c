/* board.c -- see board.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/board.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

/* Version 1.  A change that leaves the size as it is needs another number. */
static const uint64_t layout = (uint64_t)1 << 48 | sizeof(struct board);

/* Nobody who has the descriptor can take the memory away from the others. */
static int make_memory(void)
{
    int fd = memfd_create("fcgi-lua board", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd == -1)
        return -1;
    if (ftruncate(fd, sizeof(struct board)) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    close(fd);
    return -1;
}

/* fd -1: memory without a name. */
static struct board *map(int fd)
{
    int flags = MAP_SHARED | MAP_NORESERVE | (fd == -1 ? MAP_ANONYMOUS : 0);
    void *board =
        mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, flags, fd, 0);

    return board == MAP_FAILED ? NULL : board;
}

struct board *board_new(int *fd)
{
    struct board *board;
    int error;

    *fd = make_memory();
    board = map(*fd);
    if (board == NULL)
        goto fail;
    error = metrics_init(&board->metrics);
    if (error != 0) {
        errno = error;
        goto fail;
    }
    board->layout = layout;
    board->started = calendar();
    return board;

fail:
    error = errno;
    board_del(board);
    if (*fd != -1)
        close(*fd);
    *fd = -1;
    errno = error;
    return NULL;
}

struct board *board_open(int fd)
{
    struct board *board;
    struct stat st;

    if (fstat(fd, &st) == -1)
        return NULL;
    if (st.st_size != (off_t)sizeof(*board)) {
        errno = EINVAL;
        return NULL;
    }
    board = map(fd);
    if (board == NULL || board->layout == layout)
        return board;
    board_del(board);
    errno = EINVAL;
    return NULL;
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

struct board_slot *board_take_at(struct board *board, unsigned index,
                                 unsigned id, unsigned generation)
{
    struct board_slot *slot;

    if (index >= BOARD_SLOTS)
        return NULL;
    slot = &board->slots[index];
    if (slot->is_used)
        return slot;
    memset(slot, 0, sizeof(*slot)); /* nobody else looks at it yet */
    board->snapshots[index].number = 0;
    board->snapshots[index].version = 0; /* its writer may have died in it */
    slot->id = id;
    slot->generation = generation;
    if (index >= slots_seen(board))
        board->slots_seen = index + 1;
    slot->is_used = true;
    return slot;
}

struct board_slot *board_take(struct board *board, unsigned id,
                              unsigned generation)
{
    for (unsigned i = 0; i < BOARD_SLOTS; i++)
        if (!board->slots[i].is_used)
            return board_take_at(board, i, id, generation);
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
