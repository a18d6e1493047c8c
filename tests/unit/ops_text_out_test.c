/* ops_text_out_test.c -- text in memory of a fixed size.
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

#include "ops/text_out.h"

static char data[64];
static struct text_out out;

static int set_up(void **state)
{
    (void)state;
    memset(data, '#', sizeof(data));
    out = (struct text_out){ data, sizeof(data), 0 };
    return 0;
}

static void assert_text(const char *expected)
{
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(data, expected, out.len);
    out.len = 0;
}

static void numbers(void **state)
{
    (void)state;
    text_put_number(&out, 0);
    text_put(&out, slice_of(" "));
    text_put_number(&out, UINT64_MAX);
    text_put(&out, slice_of(" "));
    text_put_digits(&out, 7, 3);
    assert_text("0 18446744073709551615 007");
    for (unsigned n = 0; n < 1200; n++) {
        char expected[8];

        snprintf(expected, sizeof(expected), "%u", n);
        text_put_number(&out, n);
        assert_text(expected);
    }
    out.size = 2;
    text_put_number(&out, 123);
    assert_text("12");
    out.size = sizeof(data);
    text_put_decimal(&out, 1.0005, 3);
    text_put(&out, slice_of(" "));
    text_put_decimal(&out, 0, 2);
    text_put(&out, slice_of(" "));
    text_put_decimal(&out, -1, 2);
    text_put(&out, slice_of(" "));
    text_put_decimal(&out, 0.999999, 3);
    text_put(&out, slice_of(" "));
    text_put_decimal(&out, 12.34, 6);
    assert_text("1.001 0.00 0.00 1.000 12.340000");
}

static void what_does_not_fit_is_left_out(void **state)
{
    (void)state;
    out.size = 5;
    text_put(&out, slice_of("abcdefg"));
    assert_text("abcde");
    text_put_escaped(&out, slice_of("ab\n"), 64, false);
    assert_text("ab");
    text_put_escaped(&out, slice_of("a\nb"), 64, false);
    assert_text("a\\x0A");
    text_put_json(&out, slice_of("ab\n"), 64);
    assert_text("ab");
    text_put_json(&out, slice_of("abcd\xc3\xa9"), 64);
    assert_text("abcd");
    assert_int_equal(data[5], '#');
    text_put(&out, slice_of("abcde"));
    text_put_json(&out, slice_of("x"), 64);
    text_put_escaped(&out, slice_of("x"), 64, false);
    assert_text("abcde");
}

static void a_field_has_a_limit_of_its_own(void **state)
{
    (void)state;
    text_put(&out, slice_of("12"));
    text_put_escaped(&out, slice_of("abcdef"), 3, false);
    text_put_json(&out, slice_of("abcdef"), 2);
    assert_text("12abcab");
}

static void quotes_and_control_bytes_are_escaped(void **state)
{
    (void)state;
    text_put_escaped(&out, slice_of("a \"\\\r\n\x7f\x1b"), 64, false);
    assert_text("a \\x22\\x5C\\x0D\\x0A\\x7F\\x1B");
    text_put_escaped(&out, (struct slice){ "\0\xff [b]", 6 }, 64, true);
    assert_text("\\x00\\xFF\\x20\\x5Bb\\x5D");
}

/* Sixteen bytes are looked at together, or eight, or what is left. */
static void a_byte_is_escaped_wherever_it_stands(void **state)
{
    static const char fill[] = "abc-0~!#x^'{}z_9+=<>:;,./?@AZ$%&*(m)";

    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        bool bare = plain && c != ' ' && c != '[' && c != ']';

        for (size_t len = 1; len < sizeof(fill); len++) {
            for (size_t at = 0; at < len; at++) {
                char in[sizeof(fill)], expected[64], escaped[64];

                memcpy(in, fill, len);
                in[len] = '\0';
                in[at] = (char)c;
                snprintf(escaped, sizeof(escaped), "%.*s\\x%02X%s", (int)at, in,
                         c, in + at + 1);
                snprintf(expected, sizeof(expected), "%.*s%c%s", (int)at, in,
                         plain ? (int)c : '-', in + at + 1);
                text_put_escaped(&out, (struct slice){ in, len }, 64, false);
                assert_text(plain ? expected : escaped);
                text_put_escaped(&out, (struct slice){ in, len }, 64, true);
                assert_text(bare ? expected : escaped);
            }
        }
    }
}

static void json_keeps_utf8_and_escapes_the_rest(void **state)
{
    static const struct {
        const char *in, *expected;
    } table[] = {
        { "a/b", "a/b" },
        { "\"\\", "\\\"\\\\" },
        { "\n\x01\x7f", "\\u000A\\u0001\\u007F" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
          "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "\xc2\x85\xe2\x80\xa8", "\\u0085\\u2028" }, /* controls */
        { "\xff\x80", "\\\\xFF\\\\x80" },             /* no UTF-8 */
        { "\xc3", "\\\\xC3" },                        /* cut off */
        { "\xc0\xaf", "\\\\xC0\\\\xAF" },             /* too long */
        { "\xe0\x80\xaf", "\\\\xE0\\\\x80\\\\xAF" },  /* likewise */
        { "\xed\xa0\x80", "\\\\xED\\\\xA0\\\\x80" },  /* a surrogate */
        { "\xf4\x90\x80\x80", "\\\\xF4\\\\x90\\\\x80\\\\x80" }, /* above all */
        { "\xc3\"", "\\\\xC3\\\"" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        text_put_json(&out, slice_of(table[i].in), 64);
        assert_text(table[i].expected);
    }
    text_put_json(&out, (struct slice){ "a\0b", 3 }, 64);
    assert_text("a\\u0000b");
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers),
        TEST(what_does_not_fit_is_left_out),
        TEST(a_field_has_a_limit_of_its_own),
        TEST(quotes_and_control_bytes_are_escaped),
        TEST(a_byte_is_escaped_wherever_it_stands),
        TEST(json_keeps_utf8_and_escapes_the_rest),
    };

    return cmocka_run_group_tests_name("ops/text_out", tests, NULL, NULL);
}
