/* core_body_test.c -- a request's body between its peer and its handler.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/body.h"
#include "fake_service.h"

static struct fake_service fake;
static struct service *const service = &fake.service;
static struct body body;
static uint64_t added, taken; /* offsets in the pattern */

static int set_up(void **state)
{
    (void)state;
    fake_service_init(&fake, 64);
    body_init(&body);
    added = taken = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    body_free(&body, service);
    assert_int_equal(service->spooled, 0);
    fake_service_free(&fake);
    return 0;
}

static char pattern(uint64_t at)
{
    return (char)(at * 31 + at / 253);
}

/* Adds n bytes of the pattern, at most BLOCK_SIZE, as a connection does. */
static enum body_status add(size_t n, bool to_file)
{
    struct block *block = block_new(&service->blocks);
    enum body_status status;

    if (block == NULL)
        return BODY_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        block->data[i] = pattern(added + i);
    status = body_add(&body, service, block, (struct slice){ block->data, n },
                      to_file);
    block_unref(block);
    if (status == BODY_OK)
        added += n;
    return status;
}

/* Takes at most n bytes, which must be those of the pattern. */
static size_t take(size_t n)
{
    struct slice front;
    size_t done = 0;

    while (done < n && body_available(&body) > 0) {
        assert_int_equal(body_peek(&body, service, &front), BODY_OK);
        assert_true(front.len > 0);
        front = slice_take(&front, n - done);
        for (size_t i = 0; i < front.len; i++)
            if (front.data[i] != pattern(taken + i))
                fail_msg("byte %lu is wrong", (unsigned long)(taken + i));
        body_consume(&body, service, front.len);
        taken += front.len;
        done += front.len;
    }
    return done;
}

static void an_empty_body_holds_nothing(void **state)
{
    struct slice front = slice_of("x");

    (void)state;
    assert_int_equal(body_available(&body), 0);
    alloc_fail_at(1);
    assert_int_equal(body_peek(&body, service, &front), BODY_OK);
    assert_int_equal(front.len, 0);
    body_consume(&body, service, 0);
    assert_int_equal(alloc_count(), 0);
    alloc_fail_at(0);
    assert_int_equal(body.fd, -1);
}

/* Small pieces are copied, large ones hold their block: either way the order
 * is kept. */
static void bytes_come_out_in_order_whatever_their_sizes(void **state)
{
    static const size_t sizes[] = { 1,     10,    1000,       1023, 1024,
                                    1025,  1,     16383,      1,    16384,
                                    16385, 3,     BLOCK_SIZE, 1,    BLOCK_SIZE,
                                    40,    16000, 500,        600,  15000 };

    (void)state;
    for (size_t step = 1; step < 100000; step = step * 9 + 1) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            assert_int_equal(add(sizes[i], false), BODY_OK);
            take(step);
        }
        while (take(step) > 0)
            continue;
        assert_int_equal(taken, added);
        assert_int_equal(body.in_memory, 0);
        assert_null(body.head);
        assert_null(body.tail);
    }
}

static void many_small_records_become_few_pieces(void **state)
{
    size_t before;

    (void)state;
    add(1, false);
    alloc_fail_at(0);
    before = alloc_count();
    for (int i = 0; i < 10000; i++)
        add(10, false);
    /* A block for each add comes from the test. */
    if (service->blocks.most == 0)
        assert_true(alloc_count() - before < 10000 + 10);
    assert_int_equal(body.in_memory, 100001);
    assert_int_equal(take(200000), 100001);
}

static void a_large_piece_holds_its_block_and_a_small_one_does_not(void **state)
{
    struct block *block = block_new(&service->blocks);

    (void)state;
    memset(block->data, 'x', BLOCK_SIZE);
    body_add(&body, service, block, (struct slice){ block->data, 100 }, false);
    assert_int_equal(block->refs, 1);
    body_add(&body, service, block,
             (struct slice){ block->data, BODY_COPY_BELOW - 1 }, false);
    assert_int_equal(block->refs, 1);
    body_add(&body, service, block,
             (struct slice){ block->data, BODY_COPY_BELOW }, false);
    assert_int_equal(block->refs, 2);
    body_drop(&body, service);
    assert_int_equal(block->refs, 1);
    block_unref(block);
}

static void the_expected_length_ends_a_body(void **state)
{
    (void)state;
    body.expected = 10;
    add(6, false);
    assert_false(body.ended);
    add(4, false);
    assert_true(body.ended);
    assert_false(body.truncated);
    add(5, false);
    body_end(&body);
    assert_false(body.truncated);
    assert_int_equal(body_available(&body), 10);
}

static void what_passes_the_expected_length_is_left_out(void **state)
{
    (void)state;
    body.expected = 10;
    add(6, false);
    add(100, false);
    assert_true(body.ended);
    assert_int_equal(body.received, 10);
    assert_int_equal(take(100), 10);
}

static void an_early_end_is_a_truncated_body(void **state)
{
    (void)state;
    body.expected = 10;
    add(9, false);
    body_end(&body);
    assert_true(body.ended);
    assert_true(body.truncated);
    assert_int_equal(take(100), 9);
}

static void without_an_expected_length_only_the_peer_ends_it(void **state)
{
    (void)state;
    add(1000, false);
    assert_false(body.ended);
    body_end(&body);
    assert_true(body.ended);
    assert_false(body.truncated);
    add(1, false);
    assert_int_equal(body_available(&body), 1000);
}

static void the_maximum_is_reached_and_never_passed(void **state)
{
    (void)state;
    service->limits.max_body = 100;
    assert_int_equal(add(60, false), BODY_OK);
    assert_int_equal(add(41, false), BODY_TOO_LARGE);
    assert_int_equal(body_available(&body), 60);
    assert_int_equal(add(40, false), BODY_OK);
    assert_int_equal(add(0, false), BODY_OK);
    assert_int_equal(add(1, false), BODY_TOO_LARGE);
    take(100);
    assert_int_equal(add(1, false), BODY_TOO_LARGE);
    assert_int_equal(taken, 100);
}

static void bytes_behind_the_file_go_to_the_file(void **state)
{
    (void)state;
    add(5000, false);
    add(5000, true);
    assert_int_equal(body.in_memory, 5000);
    assert_int_equal(service->spooled, 5000);
    add(5000, false); /* not before older ones */
    assert_int_equal(body.in_memory, 5000);
    assert_int_equal(service->spooled, 10000);
    assert_int_equal(body_available(&body), 15000);
    assert_int_equal(take(20000), 15000);
    assert_int_equal(service->spooled, 0);
    add(5000, false);
    assert_int_equal(body.in_memory, 5000);
    assert_int_equal(take(20000), 5000);
}

static void a_file_of_many_blocks_is_read_back_in_order(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(add(BLOCK_SIZE - (size_t)i, i >= 2), BODY_OK);
        take(7777);
    }
    assert_true(body.file_written > 10 * BLOCK_SIZE);
    while (take(9999) > 0)
        assert_true(body.in_memory <= 2 * BLOCK_SIZE);
    assert_int_equal(taken, added);
    assert_int_equal(body.file_written, 0);
}

static void the_file_has_no_name_and_gives_its_space_back(void **state)
{
    struct stat st;

    (void)state;
    add(BLOCK_SIZE, true);
    assert_int_not_equal(body.fd, -1);
    assert_int_equal(fstat(body.fd, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, BLOCK_SIZE);
    assert_true((fcntl(body.fd, F_GETFD) & FD_CLOEXEC) != 0);
    take(BLOCK_SIZE);
    assert_int_equal(fstat(body.fd, &st), 0);
    assert_int_equal(st.st_size, 0);
}

static void the_space_for_all_bodies_is_limited(void **state)
{
    (void)state;
    service->limits.max_spool = 1000;
    service->spooled = 500; /* another body's */
    assert_int_equal(add(501, true), BODY_NO_SPACE);
    assert_int_equal(body_available(&body), 0);
    assert_int_equal(add(500, true), BODY_OK);
    assert_int_equal(add(1, true), BODY_NO_SPACE);
    assert_int_equal(service->spooled, 1000);
    assert_int_equal(take(1000), 500);
    assert_int_equal(service->spooled, 500);
    service->spooled = 0;
}

static void a_folder_that_cannot_be_written_is_no_space(void **state)
{
    static char long_path[5000];

    (void)state;
    service->tmpdir = "/nonexistent";
    assert_int_equal(add(1, true), BODY_NO_SPACE);
    memset(long_path, '/', sizeof(long_path) - 1);
    service->tmpdir = long_path;
    assert_int_equal(add(1, true), BODY_NO_SPACE);
    assert_int_equal(body_available(&body), 0);
    assert_int_equal(body.fd, -1);
    assert_int_equal(service->spooled, 0);
}

static void a_full_disk_is_no_space_and_loses_nothing(void **state)
{
    struct rlimit old, small = { .rlim_cur = 1500 };

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(add(1000, true), BODY_OK);
    assert_int_equal(add(1000, true), BODY_NO_SPACE); /* half of it went */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(body_available(&body), 1000);
    assert_int_equal(service->spooled, 1000);
    assert_int_equal(add(2000, true), BODY_OK);
    assert_int_equal(take(5000), 3000);
}

static void a_file_that_cannot_be_read_is_no_space(void **state)
{
    struct slice front;

    (void)state;
    add(100, true);
    assert_int_equal(ftruncate(body.fd, 0), 0);
    assert_int_equal(body_peek(&body, service, &front), BODY_NO_SPACE);
}

static void a_dropped_body_holds_nothing_and_takes_nothing(void **state)
{
    (void)state;
    add(100, false);
    add(100, true);
    body_drop(&body, service);
    assert_int_equal(body_available(&body), 0);
    assert_int_equal(service->spooled, 0);
    assert_int_equal(body.fd, -1);
    assert_int_equal(add(100, false), BODY_OK);
    assert_int_equal(add(100, true), BODY_OK);
    assert_int_equal(body_available(&body), 0);
    assert_int_equal(body.fd, -1);
    body_drop(&body, service);
}

static void fill_and_empty(void *arg)
{
    static const size_t sizes[] = { 10, 2000,  BODY_COPY_BELOW,
                                    10, 20000, BLOCK_SIZE,
                                    5 };
    struct slice front;

    (void)arg;
    set_up(NULL);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t before = body_available(&body);

        if (add(sizes[i], i > 3) == BODY_OK)
            assert_int_equal(body_available(&body), before + sizes[i]);
        else
            assert_int_equal(body_available(&body), before);
    }
    while (body_available(&body) > 0) {
        if (body_peek(&body, service, &front) == BODY_NO_MEMORY)
            continue; /* nothing is lost: the next try has memory */
        assert_true(front.len > 0);
        for (size_t i = 0; i < front.len; i++)
            assert_int_equal(front.data[i], pattern(taken + i));
        taken += front.len;
        body_consume(&body, service, front.len);
    }
    assert_int_equal(taken, added);
    tear_down(NULL);
}

static void without_memory_nothing_is_added_or_lost(void **state)
{
    (void)state;
    alloc_each_fails(fill_and_empty, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_body_holds_nothing),
        TEST(bytes_come_out_in_order_whatever_their_sizes),
        TEST(many_small_records_become_few_pieces),
        TEST(a_large_piece_holds_its_block_and_a_small_one_does_not),
        TEST(the_expected_length_ends_a_body),
        TEST(what_passes_the_expected_length_is_left_out),
        TEST(an_early_end_is_a_truncated_body),
        TEST(without_an_expected_length_only_the_peer_ends_it),
        TEST(the_maximum_is_reached_and_never_passed),
        TEST(bytes_behind_the_file_go_to_the_file),
        TEST(a_file_of_many_blocks_is_read_back_in_order),
        TEST(the_file_has_no_name_and_gives_its_space_back),
        TEST(the_space_for_all_bodies_is_limited),
        TEST(a_folder_that_cannot_be_written_is_no_space),
        TEST(a_full_disk_is_no_space_and_loses_nothing),
        TEST(a_file_that_cannot_be_read_is_no_space),
        TEST(a_dropped_body_holds_nothing_and_takes_nothing),
        cmocka_unit_test(without_memory_nothing_is_added_or_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
