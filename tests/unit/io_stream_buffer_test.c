/* io_stream_buffer_test.c -- bytes that were received and not yet taken.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/limits.h"
#include "io/stream_buffer.h"

static struct pool pool;
static struct stream_buffer buf;

static int set_up(void **state)
{
    (void)state;
    stream_buffer_pool_init(&pool);
    buf = (struct stream_buffer){ .data = NULL };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stream_buffer_drop(&buf, &pool);
    pool_free(&pool);
    return 0;
}

/* Adds n bytes that count on; returns false when there was no memory. */
static bool add(size_t n, unsigned char *next)
{
    size_t room;
    char *at;

    if (!stream_buffer_reserve(&buf, &pool, n, &at, &room))
        return false;
    assert_true(room >= n);
    for (size_t i = 0; i < n; i++)
        at[i] = (char)(*next)++;
    stream_buffer_add(&buf, n);
    return true;
}

static void take(size_t n, unsigned char *next)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal((unsigned char)buf.data[buf.start + i],
                         (unsigned char)(*next)++);
    stream_buffer_consume(&buf, &pool, n);
}

static void bytes_come_out_as_they_went_in(void **state)
{
    unsigned char in = 0, out = 0;
    size_t step = 1;

    (void)state;
    for (int i = 0; i < 400; i++) {
        assert_true(add(step % 9973, &in));
        take(step % 7919 < buf.len ? step % 7919 : buf.len, &out);
        step = step * 31 + 7;
    }
    take(buf.len, &out);
    assert_int_equal(in, out);
    assert_null(buf.data);
    assert_int_equal(buf.cap, 0);
}

static void what_is_left_moves_to_the_front_before_it_grows(void **state)
{
    unsigned char in = 0, out = 0;

    (void)state;
    assert_true(add(STREAM_BLOCK, &in));
    take(STREAM_BLOCK - 10, &out);
    assert_true(add(STREAM_BLOCK / 2, &in));
    assert_int_equal(buf.cap, STREAM_BLOCK);
    assert_int_equal(buf.start, 0);
    take(buf.len, &out);
}

static void it_doubles(void **state)
{
    unsigned char in = 0;
    size_t caps = 0, cap = 0;

    (void)state;
    for (int i = 0; i < 1024; i++) {
        assert_true(add(1024, &in));
        caps += buf.cap != cap;
        cap = buf.cap;
    }
    assert_int_equal(caps, 7); /* 16 KiB to 1 MiB */
}

static void more_than_there_is_memory_is_refused(void **state)
{
    unsigned char in = 0;
    size_t room;
    char *at;

    (void)state;
    assert_true(add(10, &in));
    assert_false(stream_buffer_reserve(&buf, &pool, SIZE_MAX - 5, &at, &room));
    assert_false(stream_buffer_reserve(&buf, &pool, SIZE_MAX / 2, &at, &room));
    assert_int_equal(buf.len, 10);
}

static void grow_or_fail(void *arg)
{
    unsigned char in = 0, out = 0;
    size_t added = 0;

    (void)arg;
    for (size_t n = 1000; n < 200000; n *= 3)
        added += add(n, &in) ? n : 0;
    assert_int_equal(buf.len, added);
    take(buf.len, &out);
    stream_buffer_drop(&buf, &pool);
    pool_free(&pool);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    alloc_each_fails(grow_or_fail, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_come_out_as_they_went_in, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            what_is_left_moves_to_the_front_before_it_grows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_doubles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_there_is_memory_is_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_nothing_changes, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
