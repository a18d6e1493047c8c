/* proc_age_test.c -- when a process has done enough.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proc/age.h"
#include "script_rig.h"

static struct age age;

static const char *reached(uint64_t requests)
{
    rig.service.serial = requests;
    return age_reached(&age, &rig.service, rig.script);
}

static void without_limits_nobody_is_old(void **state)
{
    const struct options options = { .max_requests = 0 };

    (void)state;
    rig_open("on_request = print");
    age_limit(&age, &options, true);
    assert_null(reached(UINT64_MAX - 1));
}

static void a_single_process_has_exactly_that_many_requests(void **state)
{
    const struct options options = { .max_requests = 1000 };

    (void)state;
    rig_open("on_request = print");
    age_limit(&age, &options, false);
    assert_null(reached(999));
    assert_string_equal(reached(1000), "max-requests");
    assert_null(reached(1001)); /* once is enough */
}

static void workers_have_up_to_a_tenth_more(void **state)
{
    const struct options options = { .max_requests = 1000 };
    uint64_t least = UINT64_MAX, most = 0;

    (void)state;
    for (int i = 0; i < 200; i++) {
        age_limit(&age, &options, true);
        assert_in_range(age.requests, 1000, 1100);
        least = age.requests < least ? age.requests : least;
        most = age.requests > most ? age.requests : most;
    }
    assert_true(most > least);
}

static void a_few_requests_are_not_spread(void **state)
{
    const struct options options = { .max_requests = 9 };

    (void)state;
    age_limit(&age, &options, true);
    assert_int_equal(age.requests, 9);
}

static void the_heap_counts_as_it_was_last_collected(void **state)
{
    const struct options options = { .max_memory = 1 << 20 };

    (void)state;
    rig_open("kept = ('x'):rep(1024):rep(2 << 10) on_request = print");
    age_limit(&age, &options, true);
    assert_true(script_watch_heap(rig.script));
    assert_null(reached(1)); /* not collected yet */
    lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
    assert_string_equal(reached(1), "max-memory");
    assert_null(reached(2));
}

static int set_up(void **state)
{
    age = (struct age){ 0 };
    return rig_set_up(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_limits_nobody_is_old),
        TEST(a_single_process_has_exactly_that_many_requests),
        TEST(workers_have_up_to_a_tenth_more),
        TEST(a_few_requests_are_not_spread),
        TEST(the_heap_counts_as_it_was_last_collected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
