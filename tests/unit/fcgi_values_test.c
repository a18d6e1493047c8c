/* fcgi_values_test.c -- the answer to GET_VALUES.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/params.h"
#include "fcgi/values.h"

static struct limits limits;
static struct buffer asked;
static char told[256];

static int set_up(void **state)
{
    (void)state;
    limits = limits_default();
    limits.max_conns = 17;
    limits.max_reqs = 4294967295u;
    buffer_init(&asked, 4096);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&asked);
    return 0;
}

static void ask(const char *name)
{
    assert_int_equal(params_append(&asked, slice_of(name), slice_of("")),
                     BUFFER_OK);
}

/* "NAME=value " of each pair of the answer. */
static const char *answer(void)
{
    char out[FCGI_VALUES_MAX];
    struct slice in = { out, 0 }, name, value;
    int n = 0;

    in.len = fcgi_values_answer(buffer_slice(&asked), &limits, out);
    assert_true(in.len <= sizeof(out));
    told[0] = '\0';
    while (in.len > 0) {
        assert_int_equal(params_next(&in, &name, &value), PARAMS_PAIR);
        n += snprintf(told + n, sizeof(told) - (size_t)n, "%.*s=%.*s ",
                      (int)name.len, name.data, (int)value.len, value.data);
    }
    return told;
}

static void the_three_known_names_tell_the_real_limits(void **state)
{
    (void)state;
    ask("FCGI_MPXS_CONNS");
    ask("FCGI_MAX_REQS");
    ask("FCGI_MAX_CONNS");
    assert_string_equal(answer(), "FCGI_MPXS_CONNS=1 FCGI_MAX_REQS=4294967295 "
                                  "FCGI_MAX_CONNS=17 ");
}

static void unknown_names_are_left_out(void **state)
{
    (void)state;
    ask("FCGI_MAX_CONN");
    ask("fcgi_max_conns");
    ask("");
    ask("FCGI_MAX_CONNS");
    ask("FCGI_MAX_CONNSX");
    assert_string_equal(answer(), "FCGI_MAX_CONNS=17 ");
}

static void nothing_asked_is_nothing_told(void **state)
{
    (void)state;
    assert_string_equal(answer(), "");
}

static void a_name_asked_twice_is_told_once(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        ask("FCGI_MAX_CONNS");
    ask("FCGI_MPXS_CONNS");
    assert_string_equal(answer(), "FCGI_MAX_CONNS=17 FCGI_MPXS_CONNS=1 ");
}

static void values_that_were_sent_are_not_looked_at(void **state)
{
    (void)state;
    params_append(&asked, slice_of("FCGI_MAX_CONNS"), slice_of("99"));
    assert_string_equal(answer(), "FCGI_MAX_CONNS=17 ");
}

static void what_follows_a_broken_pair_is_left_out(void **state)
{
    (void)state;
    ask("FCGI_MAX_CONNS");
    buffer_append(&asked, slice_of("\x7f\x01x"));
    ask("FCGI_MPXS_CONNS");
    assert_string_equal(answer(), "FCGI_MAX_CONNS=17 ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_three_known_names_tell_the_real_limits),
        TEST(unknown_names_are_left_out),
        TEST(nothing_asked_is_nothing_told),
        TEST(a_name_asked_twice_is_told_once),
        TEST(values_that_were_sent_are_not_looked_at),
        TEST(what_follows_a_broken_pair_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
