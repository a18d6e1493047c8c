/* base_list_test.c -- the intrusive list.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct list link;
};

static struct list list, other;
static struct item items[5];

static int set_up(void **state)
{
    (void)state;
    list_init(&list);
    list_init(&other);
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        list_init(&items[i].link);
    }
    return 0;
}

/* The numbers in a list, as digits; its links are sound both ways. */
static int numbers(const struct list *in)
{
    int digits = 0;

    for (struct list *at = in->next; at != in; at = at->next) {
        assert_ptr_equal(at->prev->next, at);
        assert_ptr_equal(at->next->prev, at);
        digits = digits * 10 + list_entry(at, struct item, link)->number;
    }
    return digits;
}

static void a_new_list_and_a_new_link_are_empty(void **state)
{
    (void)state;
    assert_true(list_is_empty(&list));
    assert_true(list_is_empty(&items[0].link));
}

static void what_is_appended_stands_last(void **state)
{
    (void)state;
    for (int i = 1; i < 5; i++)
        list_append(&list, &items[i].link);
    assert_false(list_is_empty(&list));
    assert_false(list_is_empty(&items[1].link));
    assert_int_equal(numbers(&list), 1234);
}

static void a_link_is_removed_from_anywhere(void **state)
{
    (void)state;
    for (int i = 1; i < 5; i++)
        list_append(&list, &items[i].link);
    list_remove(&items[3].link);
    assert_int_equal(numbers(&list), 124);
    assert_true(list_is_empty(&items[3].link));
    list_remove(&items[1].link);
    list_remove(&items[4].link);
    assert_int_equal(numbers(&list), 2);
    list_append(&list, &items[1].link);
    assert_int_equal(numbers(&list), 21);
}

static void removing_twice_is_harmless(void **state)
{
    (void)state;
    list_append(&list, &items[1].link);
    list_append(&list, &items[2].link);
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    assert_int_equal(numbers(&list), 2);
}

static void a_dropped_link_leaves_a_sound_list(void **state)
{
    (void)state;
    for (int i = 1; i < 5; i++)
        list_append(&list, &items[i].link);
    list_drop(&items[1].link);
    list_drop(&items[3].link);
    assert_int_equal(numbers(&list), 24);
    list_drop(&items[4].link);
    list_drop(&items[2].link);
    assert_true(list_is_empty(&list));
    list_drop(&items[0].link); /* on no list */
}

static void taking_begins_at_the_front(void **state)
{
    (void)state;
    for (int i = 1; i < 4; i++)
        list_append(&list, &items[i].link);
    assert_ptr_equal(list_take(&list), &items[1].link);
    assert_true(list_is_empty(&items[1].link));
    assert_ptr_equal(list_take(&list), &items[2].link);
    assert_ptr_equal(list_take(&list), &items[3].link);
    assert_true(list_is_empty(&list));
}

static void everything_moves_to_the_end_of_another(void **state)
{
    (void)state;
    list_move_all(&list, &other); /* nothing */
    assert_true(list_is_empty(&other));
    list_append(&list, &items[1].link);
    list_append(&list, &items[2].link);
    list_move_all(&list, &other);
    assert_true(list_is_empty(&list));
    assert_int_equal(numbers(&other), 12);
    list_append(&list, &items[3].link);
    list_append(&list, &items[4].link);
    list_move_all(&list, &other);
    assert_int_equal(numbers(&other), 1234);
    list_move_all(&list, &other);
    assert_int_equal(numbers(&other), 1234);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_new_list_and_a_new_link_are_empty, set_up),
        cmocka_unit_test_setup(what_is_appended_stands_last, set_up),
        cmocka_unit_test_setup(a_link_is_removed_from_anywhere, set_up),
        cmocka_unit_test_setup(removing_twice_is_harmless, set_up),
        cmocka_unit_test_setup(a_dropped_link_leaves_a_sound_list, set_up),
        cmocka_unit_test_setup(taking_begins_at_the_front, set_up),
        cmocka_unit_test_setup(everything_moves_to_the_end_of_another, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
