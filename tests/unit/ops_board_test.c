/* ops_board_test.c -- a board and its memory.
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
#include <sys/stat.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_the_descriptor_finds_the_board),
        cmocka_unit_test(its_memory_cannot_be_taken_away),
        cmocka_unit_test(what_is_no_board_is_refused),
        cmocka_unit_test(a_slot_can_be_taken_by_its_number),
    };

    return cmocka_run_group_tests_name("ops/board", tests, NULL, NULL);
}
