/* ops_board_test.c -- a board, its memory, and what is counted on it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "ops/board.h"

static void who_has_the_descriptor_finds_the_board(void **state)
{
    int fd;
    struct board *board = board_new(&fd), *again;
    struct board_slot *slot;

    (void)state;
    assert_non_null(board);
    assert_int_not_equal(fd, -1);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    slot = board_take(board, 1, 1);
    assert_non_null(slot);
    slot->counters.n[COUNT_REQUESTS] = 7;
    again = board_open(fd);
    assert_non_null(again);
    assert_true(again != board);
    assert_int_equal(again->slots[0].counters.n[COUNT_REQUESTS], 7);
    assert_true(again->started >= board->started);
    board_del(board);
    assert_int_equal(again->slots[0].id, 1);
    board_del(again);
    close(fd);
}

static void its_memory_cannot_be_taken_away(void **state)
{
    int fd;
    struct board *board = board_new(&fd);

    (void)state;
    assert_non_null(board);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    board_del(board);
    close(fd);
}

static void what_is_no_board_is_refused(void **state)
{
    int fd = memfd_create("no board", MFD_CLOEXEC);

    (void)state;
    assert_int_not_equal(fd, -1);
    assert_null(board_open(fd));
    assert_int_equal(errno, EINVAL);
    assert_int_equal(ftruncate(fd, sizeof(struct board)), 0);
    assert_null(board_open(fd)); /* of another layout */
    assert_int_equal(errno, EINVAL);
    close(fd);
    assert_null(board_open(fd));
    assert_int_equal(errno, EBADF);
}

static void a_slot_can_be_taken_by_its_number(void **state)
{
    int fd;
    struct board *board = board_new(&fd);
    struct board_slot *slot;

    (void)state;
    assert_non_null(board);
    slot = board_take_at(board, 5, 2, 3);
    assert_ptr_equal(slot, &board->slots[5]);
    assert_int_equal(slot->id, 2);
    assert_int_equal(slot->generation, 3);
    assert_int_equal(board->slots_seen, 6);
    slot->conns = 9;
    assert_ptr_equal(board_take_at(board, 5, 2, 3), slot);
    assert_int_equal(slot->conns, 9); /* it was there already */
    assert_ptr_equal(board_take(board, 1, 1), &board->slots[0]);
    assert_null(board_take_at(board, BOARD_SLOTS, 1, 1));
    board_del(board);
    close(fd);
}

/* --- what is counted on it --- */

static struct board *board;
static int fd;

static int set_up(void **state)
{
    (void)state;
    board = board_new(&fd);
    return board == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    board_del(board);
    if (fd != -1)
        close(fd);
    return 0;
}

static struct board_slot *take(unsigned id)
{
    struct board_slot *slot = board_take(board, id, 1);

    assert_non_null(slot);
    slot->pid = 1000 + id;
    return slot;
}

static void a_worker_finds_its_slot_empty(void **state)
{
    struct board_slot *slot = take(7);

    (void)state;
    slot->counters.n[COUNT_REQUESTS] = 5;
    slot->active = 3;
    board_snapshot(board, slot)->number = 9;
    board_snapshot(board, slot)->version = 3;
    board_release(board, slot);
    assert_ptr_equal(board_take(board, 8, 2), slot);
    assert_int_equal(slot->id, 8);
    assert_int_equal(slot->generation, 2);
    assert_int_equal(slot->counters.n[COUNT_REQUESTS], 0);
    assert_int_equal(slot->active, 0);
    assert_int_equal(slot->pid, 0);
    assert_int_equal(board_snapshot(board, slot)->number, 0);
    assert_int_equal(board_snapshot(board, slot)->version, 0);
}

static void slots_are_found_again_and_run_out(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BOARD_SLOTS; i++)
        take(i + 1);
    assert_null(board_take(board, 1, 1));
    board_release(board, &board->slots[17]);
    assert_ptr_equal(board_take(board, 1, 1), &board->slots[17]);
}

static void sums_are_of_the_living_and_the_gone(void **state)
{
    struct board_slot *a = take(1), *b = take(2);
    uint64_t sums[BOARD_COUNTS];

    (void)state;
    for (int i = 0; i < BOARD_COUNTS; i++) {
        a->counters.n[i] = (uint64_t)i + 1;
        b->counters.n[i] = 1000;
    }
    board_release(board, a);
    board_sum(board, sums);
    for (int i = 0; i < BOARD_COUNTS; i++)
        assert_int_equal(sums[i], 1001 + i);
    board_release(board, b);
    take(3)->counters.n[COUNT_ACCEPTED] = 10;
    assert_int_equal(board_accepted(board), 1011 + COUNT_ACCEPTED);
    assert_int_equal(board_requests(board), 1001 + COUNT_REQUESTS);
}

/* A process that looks while workers end sees no sum go back. */
static void sums_never_go_back(void **state)
{
    enum { ENDS = 20000 };
    uint64_t last = 0;
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        for (int i = 0; i < ENDS; i++) {
            struct board_slot *slot = board_take(board, 1, 1);

            slot->counters.n[COUNT_REQUESTS] = 1;
            board_release(board, slot);
        }
        _exit(0);
    }
    while (waitpid(child, &status, WNOHANG) == 0) {
        uint64_t sum = board_requests(board);

        assert_true(sum >= last);
        last = sum;
    }
    assert_int_equal(status, 0);
    assert_int_equal(board_requests(board), ENDS);
}

static void durations_have_their_buckets(void **state)
{
    (void)state;
    assert_int_equal(board_bucket(0), 0);
    assert_int_equal(board_bucket(0.001), 0); /* ends belong to it */
    assert_int_equal(board_bucket(0.0011), 1);
    assert_int_equal(board_bucket(60), BOARD_BUCKETS - 2);
    assert_int_equal(board_bucket(1e9), BOARD_BUCKETS - 1);
    for (int i = 1; i < BOARD_BUCKETS - 1; i++)
        assert_true(board_buckets[i] > board_buckets[i - 1]);
}

static void a_long_turn_counts_as_blocked(void **state)
{
    struct board_slot *slot = take(1);

    (void)state;
    assert_int_equal(board_blocked(slot, 5000), 0);
    slot->busy_since = 5001;
    assert_int_equal(board_blocked(slot, 5001 + BOARD_BLOCKED_MS), 0);
    assert_int_equal(board_blocked(slot, 5301), 300);
    assert_int_equal(board_blocked(slot, 100), 0);
}

static void maxima_are_kept(void **state)
{
    struct board_slot *a = take(1), *b = take(2);

    (void)state;
    a->active = 2;
    a->memory = 500;
    b->memory = 700;
    board_look(board, 3);
    assert_int_equal(board->active_max, 1);
    assert_int_equal(board->queue_max, 3);
    assert_int_equal(board->memory_max, 700);
    b->active = 1;
    board_look(board, 0);
    a->active = b->active = 0;
    a->memory = b->memory = 1;
    board_look(board, 1);
    assert_int_equal(board->active_max, 2);
    assert_int_equal(board->queue_max, 3);
    assert_int_equal(board->memory_max, 700);
}

static void history_keeps_the_last_samples(void **state)
{
    struct board_slot *slot = take(1);
    struct board_sample sample;
    unsigned n = 0;

    (void)state;
    assert_false(board_history(board, 0, &sample));
    slot->active = 2;
    slot->conns = 4;
    slot->memory = 99;
    for (unsigned i = 1; i <= BOARD_SAMPLES + 10; i++) {
        slot->counters.n[COUNT_REQUESTS] = i;
        slot->counters.n[COUNT_BUCKET + 3] = 2 * i;
        board_sample(board, i);
    }
    while (board_history(board, n, &sample)) {
        n++;
        assert_int_equal(sample.requests, 11 + n);
        assert_int_equal(sample.buckets[3], 2 * sample.requests);
        assert_int_equal(sample.queue, sample.requests);
    }
    assert_int_equal(n, BOARD_SAMPLES - 1); /* one may be being written */
    assert_int_equal(sample.active, 2);
    assert_int_equal(sample.active_workers, 1);
    assert_int_equal(sample.workers, 1);
    assert_int_equal(sample.conns, 4);
    assert_int_equal(sample.memory, 99);
    assert_true(sample.at > 1e9);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_the_descriptor_finds_the_board),
        cmocka_unit_test(its_memory_cannot_be_taken_away),
        cmocka_unit_test(what_is_no_board_is_refused),
        cmocka_unit_test(a_slot_can_be_taken_by_its_number),
        TEST(a_worker_finds_its_slot_empty),
        TEST(slots_are_found_again_and_run_out),
        TEST(sums_are_of_the_living_and_the_gone),
        TEST(sums_never_go_back),
        TEST(durations_have_their_buckets),
        TEST(a_long_turn_counts_as_blocked),
        TEST(maxima_are_kept),
        TEST(history_keeps_the_last_samples),
    };

    return cmocka_run_group_tests_name("ops/board", tests, NULL, NULL);
}
