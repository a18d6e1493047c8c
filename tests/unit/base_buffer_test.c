/* base_buffer_test.c -- bytes that grow up to a maximum.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/buffer.h"

static void what_is_added_stands_in_order(void **state)
{
    struct buffer buf;
    char expected[3000];

    (void)state;
    buffer_init(&buf, sizeof(expected));
    for (size_t i = 0; i < sizeof(expected); i++)
        expected[i] = (char)(i * 7);
    for (size_t i = 0, n = 1; i < sizeof(expected); i += n, n = n % 97 + 1) {
        if (n > sizeof(expected) - i)
            n = sizeof(expected) - i;
        assert_int_equal(buffer_append(&buf, (struct slice){ expected + i, n }),
                         BUFFER_OK);
    }
    assert_true(slice_equal(buffer_slice(&buf),
                            (struct slice){ expected, sizeof(expected) }));
    buffer_free(&buf);
}

static void nothing_is_allocated_before_the_first_byte(void **state)
{
    struct buffer buf;

    (void)state;
    alloc_fail_at(1);
    buffer_init(&buf, 100);
    assert_int_equal(buffer_append(&buf, slice_of("")), BUFFER_OK);
    assert_int_equal(buffer_append(&buf, (struct slice){ NULL, 0 }), BUFFER_OK);
    assert_int_equal(alloc_count(), 0);
    alloc_fail_at(0);
    assert_null(buf.data);
    buffer_free(&buf);
}

static void every_maximum_is_reached_and_never_passed(void **state)
{
    (void)state;
    for (size_t max = 0; max < 700; max += max < 20 ? 1 : 33) {
        struct buffer buf;

        buffer_init(&buf, max);
        for (size_t i = 0; i < max; i++)
            assert_int_equal(buffer_append(&buf, slice_of("x")), BUFFER_OK);
        assert_int_equal(buffer_append(&buf, slice_of("y")), BUFFER_FULL);
        assert_int_equal(buffer_reserve(&buf, 1), BUFFER_FULL);
        assert_int_equal(buffer_reserve(&buf, SIZE_MAX), BUFFER_FULL);
        assert_int_equal(buffer_reserve(&buf, 0), BUFFER_OK);
        assert_int_equal(buf.len, max);
        buffer_free(&buf);
    }
}

static void a_refused_append_adds_nothing(void **state)
{
    struct buffer buf;

    (void)state;
    buffer_init(&buf, 5);
    buffer_append(&buf, slice_of("abc"));
    assert_int_equal(buffer_append(&buf, slice_of("def")), BUFFER_FULL);
    assert_true(slice_equal(buffer_slice(&buf), slice_of("abc")));
    assert_int_equal(buffer_append(&buf, slice_of("de")), BUFFER_OK);
    assert_true(slice_equal(buffer_slice(&buf), slice_of("abcde")));
    buffer_free(&buf);
}

static void reserved_room_takes_bytes_without_another_allocation(void **state)
{
    struct buffer buf;

    (void)state;
    buffer_init(&buf, 10000);
    assert_int_equal(buffer_reserve(&buf, 5000), BUFFER_OK);
    assert_int_equal(buf.len, 0);
    alloc_fail_at(1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buffer_append(&buf, slice_of("12345")), BUFFER_OK);
    assert_int_equal(alloc_count(), 0);
    alloc_fail_at(0);
    buffer_free(&buf);
}

static void reset_keeps_little_memory_and_frees_much(void **state)
{
    struct buffer buf;
    char *data;

    (void)state;
    buffer_init(&buf, 100000);
    buffer_append(&buf, slice_of("abc"));
    data = buf.data;
    buffer_reset(&buf, 4096);
    assert_int_equal(buf.len, 0);
    assert_ptr_equal(buf.data, data);
    buffer_reserve(&buf, 5000);
    buffer_append(&buf, slice_of("abc"));
    buffer_reset(&buf, 4096);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.cap, 0);
    assert_null(buf.data);
    assert_int_equal(buffer_append(&buf, slice_of("again")), BUFFER_OK);
    buffer_free(&buf);
    assert_int_equal(buffer_append(&buf, slice_of("again")), BUFFER_OK);
    buffer_free(&buf);
    buffer_free(&buf);
}

static void grow(void *arg)
{
    struct buffer buf;

    (void)arg;
    buffer_init(&buf, 4000);
    for (size_t i = 0; i < 40; i++) {
        char some[100] = { (char)i };
        size_t before = buf.len;

        switch (buffer_append(&buf, (struct slice){ some, sizeof(some) })) {
        case BUFFER_OK:
            assert_int_equal(buf.len, before + sizeof(some));
            assert_int_equal(buf.data[before], i);
            break;
        case BUFFER_NO_MEMORY:
            assert_int_equal(buf.len, before);
            if (before > 0)
                assert_int_equal(buf.data[before - 100], i - 1);
            i--;
            break;
        case BUFFER_FULL:
            fail();
        }
    }
    assert_int_equal(buf.len, 4000);
    buffer_free(&buf);
}

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    alloc_each_fails(grow, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_stands_in_order),
        cmocka_unit_test(nothing_is_allocated_before_the_first_byte),
        cmocka_unit_test(every_maximum_is_reached_and_never_passed),
        cmocka_unit_test(a_refused_append_adds_nothing),
        cmocka_unit_test(reserved_room_takes_bytes_without_another_allocation),
        cmocka_unit_test(reset_keeps_little_memory_and_frees_much),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
