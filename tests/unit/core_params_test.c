/* core_params_test.c -- name-value pairs in FastCGI's coding.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/params.h"

#define SLICE(literal)                                                         \
    {                                                                          \
        literal, sizeof(literal) - 1                                           \
    }

static bool are_whole(struct slice in)
{
    struct slice name, value;
    enum params_status status;

    do
        status = params_next(&in, &name, &value);
    while (status == PARAMS_PAIR);
    return status == PARAMS_END;
}

static void assert_slice(struct slice got, const char *text)
{
    assert_true(slice_equal(got, slice_of(text)));
}

static void short_and_wide_lengths_mean_the_same(void **state)
{
    static const struct slice codings[] = {
        SLICE("\x04\x05hostvalue"),
        SLICE("\x80\0\0\x04\x05hostvalue"),
        SLICE("\x04\x80\0\0\x05hostvalue"),
        SLICE("\x80\0\0\x04\x80\0\0\x05hostvalue"),
    };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct slice in = codings[i], name, value;

        assert_int_equal(params_next(&in, &name, &value), PARAMS_PAIR);
        assert_slice(name, "host");
        assert_slice(value, "value");
        assert_int_equal(params_next(&in, &name, &value), PARAMS_END);
    }
}

static void names_and_values_may_be_empty(void **state)
{
    struct slice in = SLICE("\0\0\x01\0x\0\x01y"), name, value;

    (void)state;
    assert_int_equal(params_next(&in, &name, &value), PARAMS_PAIR);
    assert_slice(name, "");
    assert_slice(value, "");
    assert_int_equal(params_next(&in, &name, &value), PARAMS_PAIR);
    assert_slice(name, "x");
    assert_slice(value, "");
    assert_int_equal(params_next(&in, &name, &value), PARAMS_PAIR);
    assert_slice(name, "");
    assert_slice(value, "y");
    assert_int_equal(params_next(&in, &name, &value), PARAMS_END);
    in = (struct slice){ NULL, 0 };
    assert_int_equal(params_next(&in, &name, &value), PARAMS_END);
}

/* The input is a copy of its exact size, so that a sanitizer sees each byte
 * that is read past its end. */
static void every_truncation_leaves_the_input_alone(void **state)
{
    static const struct slice wholes[] = {
        SLICE("\x04\x05hostvalue"),
        SLICE("\x04\x80\0\0\x05hostvalue"),
        SLICE("\x80\0\0\x04\x80\0\0\x05hostvalue"),
    };

    (void)state;
    for (size_t w = 0; w < 3; w++) {
        for (size_t n = 1; n < wholes[w].len; n++) {
            char *copy = malloc(n);
            struct slice in = { copy, n }, name, value;

            assert_non_null(copy);
            memcpy(copy, wholes[w].data, n);
            assert_int_equal(params_next(&in, &name, &value), PARAMS_TRUNCATED);
            assert_ptr_equal(in.data, copy);
            assert_int_equal(in.len, n);
            assert_false(are_whole(in));
            free(copy);
        }
        assert_true(are_whole(wholes[w]));
    }
}

static void huge_lengths_are_compared_and_never_added(void **state)
{
    static const struct slice bad[] = {
        SLICE("\xff\xff\xff\xff\xff\xff\xff\xffxxxx"),
        SLICE("\xff\xff\xff\xff\x01xxxx"),
        SLICE("\x01\xff\xff\xff\xffxxxx"),
        SLICE("\x80\0\0\x05\x80\0\0\0xxxx"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct slice in = bad[i], name, value;

        assert_int_equal(params_next(&in, &name, &value), PARAMS_TRUNCATED);
        assert_ptr_equal(in.data, bad[i].data);
    }
}

static void the_first_value_of_a_name_is_found(void **state)
{
    static const struct slice params = SLICE("\x01\x01"
                                             "ab\x01\x01"
                                             "xy\x01\x02"
                                             "xyz\x02\0xx");
    struct slice value;

    (void)state;
    assert_true(params_find(params, slice_of("x"), &value));
    assert_slice(value, "y");
    assert_true(params_find(params, slice_of("xx"), &value));
    assert_slice(value, "");
    assert_false(params_find(params, slice_of("X"), &value));
    assert_false(params_find(params, slice_of(""), &value));
    assert_false(params_find((struct slice){ NULL, 0 }, slice_of("x"), &value));
}

static void nothing_is_found_behind_a_broken_pair(void **state)
{
    static const struct slice params = SLICE("\x01\x01"
                                             "ab\x7f\x01xy");
    struct slice value;

    (void)state;
    assert_true(params_find(params, slice_of("a"), &value));
    assert_false(params_find(params, slice_of("x"), &value));
    assert_false(are_whole(params));
}

/* Every length about where the coding changes comes back as it went in. */
/* A value of 128 bytes or more is decoded on the way. */
static void what_is_not_found_leaves_the_value_alone(void **state)
{
    static char bytes[300];
    struct buffer out;
    struct slice value = { "kept", 4 };

    (void)state;
    buffer_init(&out, 1000);
    params_append(&out, slice_of("HTTP_COOKIE"),
                  (struct slice){ bytes, sizeof(bytes) });
    assert_false(
        params_find(buffer_slice(&out), slice_of("PATH_INFO"), &value));
    assert_slice(value, "kept");
    buffer_free(&out);
}

static void what_is_appended_reads_the_same(void **state)
{
    static const size_t lengths[] = { 0,     1,     126,   127, 128,   129, 300,
                                      16384, 65535, 65536, 255, 70000, 256 };
    enum { N = sizeof(lengths) / sizeof(lengths[0]) };
    static char bytes[70000];
    struct buffer out;
    struct slice in, name, value;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 13);
    buffer_init(&out, 8 * 1024 * 1024);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            assert_int_equal(params_append(&out,
                                           (struct slice){ bytes, lengths[i] },
                                           (struct slice){ bytes, lengths[j] }),
                             BUFFER_OK);
    in = buffer_slice(&out);
    assert_true(are_whole(in));
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            assert_int_equal(params_next(&in, &name, &value), PARAMS_PAIR);
            assert_int_equal(name.len, lengths[i]);
            assert_int_equal(value.len, lengths[j]);
            assert_memory_equal(name.data, bytes, name.len);
            assert_memory_equal(value.data, bytes, value.len);
        }
    }
    assert_int_equal(params_next(&in, &name, &value), PARAMS_END);
    buffer_free(&out);
}

struct scan {
    unsigned n;
    char text[64];
};

static void note(void *arg, struct slice name, struct slice value)
{
    struct scan *scan = arg;
    size_t len = strlen(scan->text);

    scan->n++;
    snprintf(scan->text + len, sizeof(scan->text) - len, "%.*s=%.*s ",
             (int)name.len, name.data, (int)value.len, value.data);
}

static void a_scan_finds_every_name_of_a_length(void **state)
{
    static const struct slice params = SLICE("\x01\x01"
                                             "ab\x02\x01xyz\x80\0\0\x02\x01"
                                             "cde\0\x01z\x02\0fg");
    struct scan scan = { 0 };

    (void)state;
    assert_true(params_scan(params, 2, note, &scan));
    assert_string_equal(scan.text, "xy=z cd=e fg= ");
    scan = (struct scan){ 0 };
    assert_true(params_scan(params, 0, note, &scan));
    assert_string_equal(scan.text, "=z ");
    scan = (struct scan){ 0 };
    assert_true(params_scan(params, 9, note, &scan));
    assert_int_equal(scan.n, 0);
    assert_true(params_scan((struct slice){ NULL, 0 }, 0, note, &scan));
    assert_int_equal(scan.n, 0);
}

static void a_scan_tells_of_every_truncation(void **state)
{
    static const struct slice params = SLICE("\x01\x01"
                                             "ab\x80\0\0\x01\x02xyz\x01\0p");
    struct scan scan = { 0 };

    (void)state;
    for (size_t n = 0; n <= params.len; n++) {
        char *copy = malloc(n + 1);

        assert_non_null(copy);
        memcpy(copy, params.data, n);
        assert_int_equal(params_scan((struct slice){ copy, n }, 1, note, &scan),
                         n == 0 || n == 4 || n == 12 || n == params.len);
        scan = (struct scan){ 0 };
        free(copy);
    }
}

static void a_scan_may_be_for_several_names(void **state)
{
    static const char pairs[] = "\1\1aA\2\1bbB\3\1cccC\0\1D"
                                "\x0b\1REMOTE_ADDRE\x0b\1REMOTE_USERF"
                                "\x14\1HTTP_A_LONG_NAME_ONEG"
                                "\x14\1HTTP_A_LONG_NAMX_ONEH\1\1aI";
    struct slice params = { pairs, sizeof(pairs) - 1 };
    static const char *const expected[] = { "A", "C", NULL, "F", NULL, "H" };
    struct params_wanted wanted = { 0 };
    struct slice values[6] = { { 0 } };
    bool repeats = false;

    (void)state;
    assert_int_equal(params_want(&wanted, slice_of("a")), 0);
    assert_int_equal(params_want(&wanted, slice_of("ccc")), 1);
    assert_int_equal(params_want(&wanted, slice_of("bc")), 2);
    assert_int_equal(params_want(&wanted, slice_of("REMOTE_USER")), 3);
    assert_int_equal(params_want(&wanted, slice_of("REMOTE_PORT")), 4);
    assert_int_equal(params_want(&wanted, slice_of("HTTP_A_LONG_NAMX_ONE")), 5);
    assert_int_equal(params_want(&wanted, slice_of("ccc")), 1);
    assert_true(params_scan_wanted((struct slice){ pairs, sizeof(pairs) - 5 },
                                   &wanted, values, &repeats));
    assert_false(repeats);
    memset(values, 0, sizeof(values));
    assert_true(params_scan_wanted(params, &wanted, values, &repeats));
    assert_true(repeats); /* the first one is taken */
    for (size_t i = 0; i < 6; i++) {
        if (expected[i] == NULL)
            assert_null(values[i].data);
        else
            assert_true(slice_equal(values[i], slice_of(expected[i])));
    }
    assert_false(params_scan_wanted((struct slice){ pairs, 5 }, &wanted, values,
                                    &repeats));
}

static void a_long_value_may_be_wanted(void **state)
{
    static const char pairs[] = "\1\200\0\0\2aXY\200\0\0\0\1Z\1\1bB";
    struct params_wanted wanted = { 0 };
    struct slice values[2] = { { 0 } };
    bool repeats = false;

    (void)state;
    params_want(&wanted, slice_of("b"));
    params_want(&wanted, slice_of("a"));
    assert_true(params_scan_wanted((struct slice){ pairs, sizeof(pairs) - 1 },
                                   &wanted, values, &repeats));
    assert_true(slice_equal(values[0], slice_of("B")));
    assert_true(slice_equal(values[1], slice_of("XY")));
    assert_false(repeats);
}

static void so_many_names_can_be_wanted(void **state)
{
    static char names[PARAMS_WANTED_MAX + 1][16];
    static char longest[PARAMS_WANTED_NAME_MAX + 1];
    struct params_wanted wanted = { 0 };

    (void)state;
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(params_want(&wanted, slice_of("")), -1);
    assert_int_equal(
        params_want(&wanted, (struct slice){ longest, sizeof(longest) }), -1);
    assert_int_equal(
        params_want(&wanted, (struct slice){ longest, sizeof(longest) - 1 }),
        0);
    for (int i = 1; i <= PARAMS_WANTED_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "n%d", i);
        assert_int_equal(params_want(&wanted, slice_of(names[i])),
                         i < PARAMS_WANTED_MAX ? i : -1);
    }
}

static void lengths_take_one_byte_below_128_and_four_above(void **state)
{
    static char bytes[300];
    struct buffer out;

    (void)state;
    buffer_init(&out, 1000);
    params_append(&out, (struct slice){ bytes, 127 },
                  (struct slice){ bytes, 300 });
    assert_int_equal(out.len, 1 + 4 + 127 + 300);
    assert_memory_equal(out.data, "\x7f\x80\0\x01\x2c", 5);
    buffer_free(&out);
}

static void a_pair_that_does_not_fit_is_left_out_whole(void **state)
{
    struct buffer out;

    (void)state;
    buffer_init(&out, 11);
    assert_int_equal(params_append(&out, slice_of("host"), slice_of("value")),
                     BUFFER_OK);
    assert_int_equal(params_append(&out, slice_of(""), slice_of("")),
                     BUFFER_FULL);
    assert_int_equal(out.len, 11);
    buffer_free(&out);
    buffer_init(&out, 10);
    assert_int_equal(params_append(&out, slice_of("host"), slice_of("value")),
                     BUFFER_FULL);
    assert_int_equal(out.len, 0);
    assert_int_equal(
        params_append(&out, slice_of(""), (struct slice){ "x", 0x80000000u }),
        BUFFER_FULL);
    buffer_free(&out);
}

static void append_some(void *arg)
{
    static char bytes[2000];
    struct buffer out;

    (void)arg;
    buffer_init(&out, 100000);
    for (size_t n = 0; n < 2000; n += 250) {
        size_t before = out.len;

        if (params_append(&out, slice_of("name"), (struct slice){ bytes, n }) !=
            BUFFER_OK)
            assert_int_equal(out.len, before);
        assert_true(are_whole(buffer_slice(&out)));
    }
    buffer_free(&out);
}

static void without_memory_a_pair_is_left_out_whole(void **state)
{
    (void)state;
    alloc_each_fails(append_some, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_and_wide_lengths_mean_the_same),
        cmocka_unit_test(names_and_values_may_be_empty),
        cmocka_unit_test(every_truncation_leaves_the_input_alone),
        cmocka_unit_test(huge_lengths_are_compared_and_never_added),
        cmocka_unit_test(the_first_value_of_a_name_is_found),
        cmocka_unit_test(nothing_is_found_behind_a_broken_pair),
        cmocka_unit_test(what_is_not_found_leaves_the_value_alone),
        cmocka_unit_test(a_scan_finds_every_name_of_a_length),
        cmocka_unit_test(a_scan_tells_of_every_truncation),
        cmocka_unit_test(a_scan_may_be_for_several_names),
        cmocka_unit_test(a_long_value_may_be_wanted),
        cmocka_unit_test(so_many_names_can_be_wanted),
        cmocka_unit_test(what_is_appended_reads_the_same),
        cmocka_unit_test(lengths_take_one_byte_below_128_and_four_above),
        cmocka_unit_test(a_pair_that_does_not_fit_is_left_out_whole),
        cmocka_unit_test(without_memory_a_pair_is_left_out_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
