/* proc_nearest_test.c -- how far apart two names are.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proc/nearest.h"

static void assert_distance(const char *a, const char *b, size_t distance)
{
    assert_int_equal(nearest_distance(a, b), distance);
    assert_int_equal(nearest_distance(b, a), distance);
}

static void equal_names_are_nowhere_apart(void **state)
{
    (void)state;
    assert_distance("", "", 0);
    assert_distance("max-body", "max-body", 0);
}

static void spelling_of_case_and_dashes_does_not_count(void **state)
{
    (void)state;
    assert_distance("max_body", "max-body", 0);
    assert_distance("Max-BODY", "max_body", 0);
}

static void each_letter_counts_once(void **state)
{
    (void)state;
    assert_distance("listen", "listn", 1);
    assert_distance("listen", "listten", 1);
    assert_distance("listen", "lisden", 1);
    assert_distance("listen", "", 6);
    assert_distance("abc", "xyz", 3);
    assert_distance("kitten", "sitting", 3);
}

static void two_neighbours_in_the_wrong_order_are_one_mistake(void **state)
{
    (void)state;
    assert_distance("listen", "lisetn", 1);
    assert_distance("ab", "ba", 1);
    assert_distance("max-body", "mxa-bdoy", 2);
}

static void long_names_are_compared_as_far_as_there_is_room(void **state)
{
    char a[201], b[201];

    (void)state;
    memset(a, 'x', 200);
    memset(b, 'x', 200);
    a[200] = b[200] = '\0';
    assert_true(nearest_distance(a, b) >= 100); /* the rest is different */
    a[63] = b[63] = '\0';
    assert_distance(a, b, 0);
    b[62] = 'y';
    assert_distance(a, b, 1);
    b[62] = '\0';
    assert_distance(a, b, 1);
    assert_distance(a, "", 63);
    a[63] = 'x'; /* 200 again */
    assert_distance(a, "", 200);
}

static void bytes_of_any_kind_are_letters(void **state)
{
    (void)state;
    assert_distance("\xc3\xa4", "\xc3\xb6", 1);
    assert_distance("\xff", "\x01", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_names_are_nowhere_apart),
        cmocka_unit_test(spelling_of_case_and_dashes_does_not_count),
        cmocka_unit_test(each_letter_counts_once),
        cmocka_unit_test(two_neighbours_in_the_wrong_order_are_one_mistake),
        cmocka_unit_test(long_names_are_compared_as_far_as_there_is_room),
        cmocka_unit_test(bytes_of_any_kind_are_letters),
    };

    return cmocka_run_group_tests_name("proc/nearest", tests, NULL, NULL);
}
