/* ops_share_test.c -- who accepts, and who has too many.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "ops/share.h"

static struct board *board;
static int board_fd = -1;
static struct board_slot *slots[3];

static int set_up(void **state)
{
    (void)state;
    board = board_new(&board_fd);
    if (board == NULL)
        return -1;
    for (unsigned i = 0; i < 3; i++) {
        slots[i] = board_take(board, i + 1, 1);
        if (slots[i] == NULL)
            return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    board_del(board);
    close(board_fd);
    board_fd = -1;
    return 0;
}

/* The first n workers accept and have so many connections. */
static void have(unsigned n, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t conns[] = { a, b, c };

    for (unsigned i = 0; i < 3; i++) {
        slots[i]->accepts = i < n;
        slots[i]->conns = conns[i];
    }
}

static void who_is_alone_takes_all(void **state)
{
    (void)state;
    have(1, 1000, 0, 0);
    assert_int_equal(share_room(board, slots[0]), UINT32_MAX);
    assert_int_equal(share_surplus(board, slots[0]), 0);
}

static void who_is_above_the_mean_takes_none(void **state)
{
    (void)state;
    have(2, 9, 8, 0);
    assert_int_equal(share_room(board, slots[0]), 0);
    assert_true(share_room(board, slots[1]) > 0);
    have(2, 8, 8, 0);
    assert_true(share_room(board, slots[0]) > 0);
}

/* Taking room brings the share above the mean and its lead, one less does
 * not. */
static void room_leads_a_little_above_the_mean(void **state)
{
    (void)state;
    have(2, 0, 0, 0);
    assert_int_equal(share_room(board, slots[0]), 3);
    have(2, 0, 16, 0);
    assert_int_equal(share_room(board, slots[0]), 19);
    have(3, 4, 6, 8);
    assert_int_equal(share_room(board, slots[0]), 5);
}

static void who_does_not_accept_does_not_count(void **state)
{
    (void)state;
    have(2, 4, 4, 100);
    assert_int_equal(share_room(board, slots[0]), 3);
    have(2, 4, 4, 0);
    assert_int_equal(share_room(board, slots[0]), 3);
}

static void what_is_on_its_way_counts(void **state)
{
    (void)state;
    have(2, 0, 4, 0);
    slots[0]->given = 6;
    assert_int_equal(share_load(slots[0]), 6);
    assert_int_equal(share_room(board, slots[0]), 0);
    slots[0]->taken = 6;
    slots[0]->conns = 6;
    assert_int_equal(share_load(slots[0]), 6);
    slots[0]->given = 1; /* the counters wrap */
    slots[0]->taken = UINT32_MAX;
    assert_int_equal(share_load(slots[0]), 8);
}

static void only_an_unfair_share_is_worth_moving(void **state)
{
    (void)state;
    have(2, 16, 0, 0);
    assert_int_equal(share_surplus(board, slots[0]), 8);
    assert_int_equal(share_surplus(board, slots[1]), 0);
    have(2, 11, 5, 0);
    assert_int_equal(share_surplus(board, slots[0]), 0);
    have(2, 12, 4, 0);
    assert_int_equal(share_surplus(board, slots[0]), 4);
    have(2, 450, 400, 0);
    assert_int_equal(share_surplus(board, slots[0]), 0);
    have(2, 500, 300, 0);
    assert_int_equal(share_surplus(board, slots[0]), 100);
    have(3, 1, 0, 0);
    assert_int_equal(share_surplus(board, slots[0]), 0);
}

#define SHARE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARE_TEST(who_is_alone_takes_all),
        SHARE_TEST(who_is_above_the_mean_takes_none),
        SHARE_TEST(room_leads_a_little_above_the_mean),
        SHARE_TEST(who_does_not_accept_does_not_count),
        SHARE_TEST(what_is_on_its_way_counts),
        SHARE_TEST(only_an_unfair_share_is_worth_moving),
    };

    return cmocka_run_group_tests_name("ops/share", tests, NULL, NULL);
}
