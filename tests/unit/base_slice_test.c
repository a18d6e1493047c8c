/* base_slice_test.c -- bytes that somebody else owns.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <cmocka.h>

#include "base/slice.h"

static const struct slice nothing = { NULL, 0 };

static void equal_means_the_same_bytes(void **state)
{
    (void)state;
    assert_true(slice_equal(slice_of("abc"), slice_of("abc")));
    assert_false(slice_equal(slice_of("abc"), slice_of("abd")));
    assert_false(slice_equal(slice_of("abc"), slice_of("ab")));
    assert_true(slice_equal(nothing, slice_of("")));
    assert_false(
        slice_equal((struct slice){ "a\0b", 3 }, (struct slice){ "a\0c", 3 }));
}

static void taking_stops_at_the_end(void **state)
{
    struct slice in = slice_of("hello"), front;

    (void)state;
    front = slice_take(&in, 2);
    assert_true(slice_equal(front, slice_of("he")));
    assert_true(slice_equal(in, slice_of("llo")));
    front = slice_take(&in, 0);
    assert_int_equal(front.len, 0);
    front = slice_take(&in, SIZE_MAX);
    assert_true(slice_equal(front, slice_of("llo")));
    assert_int_equal(in.len, 0);
    front = slice_take(&in, 1);
    assert_int_equal(front.len, 0);
}

static void a_byte_is_found_where_it_first_stands(void **state)
{
    struct slice in = { "a\0b\xff\xff", 5 };

    (void)state;
    assert_ptr_equal(slice_find(in, '\0'), in.data + 1);
    assert_ptr_equal(slice_find(in, '\xff'), in.data + 3);
    assert_null(slice_find(in, 'x'));
    assert_null(slice_find(nothing, 'a'));
}

static void case_is_that_of_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(slice_equal_nocase(slice_of("Az09-"), slice_of("aZ09-")));
    assert_false(slice_equal_nocase(slice_of("a"), slice_of("ab")));
    assert_false(slice_equal_nocase(slice_of("@"), slice_of("`")));
    assert_false(slice_equal_nocase(slice_of("["), slice_of("{")));
    assert_false(slice_equal_nocase(slice_of("\xc4"), slice_of("\xe4")));
    assert_true(slice_equal_nocase(nothing, slice_of("")));
}

static void blanks_are_trimmed_at_both_ends_only(void **state)
{
    (void)state;
    assert_true(
        slice_equal(slice_trim(slice_of(" \ta b\t ")), slice_of("a b")));
    assert_true(slice_equal(slice_trim(slice_of("\r\n")), slice_of("\r\n")));
    assert_int_equal(slice_trim(slice_of(" \t ")).len, 0);
    assert_int_equal(slice_trim(nothing).len, 0);
}

static bool number(const char *text, unsigned long long max,
                   unsigned long long *value)
{
    return slice_to_number(slice_of(text), max, value);
}

static void a_number_is_digits_alone(void **state)
{
    static const char *const bad[] = { "",   "-1", "+1",  " 1",
                                       "1 ", "1x", "0x1", "1.0" };
    unsigned long long value = 42;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(number(bad[i], ULLONG_MAX, &value));
        assert_int_equal(value, 42);
    }
    assert_false(slice_to_number(nothing, 9, &value));
    assert_true(number("0", 0, &value));
    assert_int_equal(value, 0);
    assert_true(number("0017", 17, &value));
    assert_int_equal(value, 17);
}

static void a_number_stops_at_its_maximum(void **state)
{
    unsigned long long value = 42;

    (void)state;
    assert_true(number("18446744073709551615", ULLONG_MAX, &value));
    assert_true(value == ULLONG_MAX);
    value = 42;
    assert_false(number("18446744073709551616", ULLONG_MAX, &value));
    assert_false(number("99999999999999999999", ULLONG_MAX, &value));
    assert_false(number("600", 599, &value));
    assert_false(number("5", 4, &value));
    assert_false(number("1", 0, &value));
    assert_int_equal(value, 42);
    for (unsigned long long max = 0; max < 130; max++) {
        for (unsigned n = 0; n < 150; n++) {
            char text[8];
            int len = 0;

            for (unsigned ten = 100; ten > 0; ten /= 10)
                text[len++] = (char)('0' + n / ten % 10);
            assert_int_equal(
                slice_to_number((struct slice){ text, 3 }, max, &value),
                n <= max);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_means_the_same_bytes),
        cmocka_unit_test(taking_stops_at_the_end),
        cmocka_unit_test(a_byte_is_found_where_it_first_stands),
        cmocka_unit_test(case_is_that_of_ascii_letters_only),
        cmocka_unit_test(blanks_are_trimmed_at_both_ends_only),
        cmocka_unit_test(a_number_is_digits_alone),
        cmocka_unit_test(a_number_stops_at_its_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
