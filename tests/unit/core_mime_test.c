/* core_mime_test.c -- values with parameters, as they should be and as they
 * are.
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

#include "core/mime.h"

/* "kind|name=value|name=value|", with a "!" at the end of a broken one. */
static void assert_reads(const char *value, const char *expected)
{
    char got[512];
    struct slice in = slice_of(value), kind = mime_kind(&in);
    struct mime_param param;
    enum mime_status status;
    int n = snprintf(got, sizeof(got), "%.*s|", (int)kind.len, kind.data);

    while ((status = mime_param_next(&in, &param)) == MIME_PARAM) {
        char decoded[256];
        size_t len = mime_param_decode(&param, decoded);

        assert_true(len <= param.value.len);
        n += snprintf(got + n, sizeof(got) - (size_t)n, "%.*s=%.*s|",
                      (int)param.name.len, param.name.data, (int)len, decoded);
    }
    if (status == MIME_BROKEN)
        snprintf(got + n, sizeof(got) - (size_t)n, "!");
    assert_string_equal(got, expected);
}

static void kinds_end_at_the_first_parameter(void **state)
{
    (void)state;
    assert_reads("", "|");
    assert_reads("text/plain", "text/plain|");
    assert_reads(" text/plain \t", "text/plain|");
    assert_reads("text/plain;", "text/plain|");
    assert_reads("text/plain ; ;; ", "text/plain|");
    assert_reads(";a=b", "|a=b|");
}

static void values_may_be_quoted(void **state)
{
    (void)state;
    assert_reads("x; a=b; c = d ;e=f", "x|a=b|c=d|e=f|");
    assert_reads("x; a=\"b; c=d\" ; e=\"\"", "x|a=b; c=d|e=|");
    assert_reads("x; a=; b=", "x|a=|b=|");
    assert_reads("x; a=b c=d; e", "x|a=b c=d|!");
    assert_reads("x; a=----=_Part_1/2:3", "x|a=----=_Part_1/2:3|");
}

static void only_quotes_and_backslashes_are_escaped(void **state)
{
    (void)state;
    assert_reads("x; a=\"b\\\"c\\\\d\"", "x|a=b\"c\\d|");
    assert_reads("x; a=\"C:\\dir\\file\"", "x|a=C:\\dir\\file|");
    assert_reads("x; a=b\\\"c", "x|a=b\\\"c|");
    assert_reads("x; a=\"\\\\\\\\host\"", "x|a=\\\\host|");
    /* one that browsers did not escape */
    assert_reads("x; a=\"b\\\"", "x|a=b\\|");
    assert_reads("x; a=\"b\\\" \t", "x|a=b\\|");
    assert_reads("x; a=\"\\\"\\\"", "x|a=\"\\|");
}

static void what_cannot_be_read_is_broken(void **state)
{
    (void)state;
    assert_reads("x; a", "x|!");
    assert_reads("x; =b", "x|!");
    assert_reads("x; a; b=c", "x|!");
    assert_reads("x; a=\"b", "x|!");
    assert_reads("x; a=\"", "x|!");
    assert_reads("x; a=\"b\"c", "x|!");
    assert_reads("x; a=\"b\\\"; c=\"d\"", "x|!");
    assert_reads("x; a=b; c=\"\\\\", "x|a=b|!");
}

static void a_broken_parameter_is_not_taken(void **state)
{
    struct slice in = slice_of("; a"), before = in;
    struct mime_param param;

    (void)state;
    assert_int_equal(mime_param_next(&in, &param), MIME_BROKEN);
    assert_ptr_equal(in.data, before.data);
    assert_int_equal(in.len, before.len);
}

/* NULL: it cannot be decoded. */
static void assert_extended(const char *value, const char *expected)
{
    char out[256];
    size_t len;
    /* a copy without a NUL, for the sanitizer to see its end */
    size_t size = strlen(value);
    char *copy = malloc(size + 1);
    bool ok;

    assert_non_null(copy);
    memcpy(copy, value, size);
    ok = mime_extended_decode((struct slice){ copy, size }, out, &len);
    free(copy);
    assert_int_equal(ok, expected != NULL);
    if (ok) {
        assert_int_equal(len, strlen(expected));
        assert_memory_equal(out, expected, len);
    }
}

static void extended_values_are_utf8(void **state)
{
    (void)state;
    assert_extended("UTF-8''abc", "abc");
    assert_extended("utf-8'en'a%20b", "a b");
    assert_extended("Utf-8''", "");
    assert_extended("utf-8''%c3%A4%e2%82%ac%F0%9F%98%80", "ä€😀");
    assert_extended("utf-8''it's", "it's");
    assert_extended("utf-8''\xc3\xa4", "ä");
}

static void other_extended_values_are_none(void **state)
{
    static const char *const bad[] = {
        "",
        "abc",
        "utf-8",
        "utf-8'",
        "utf-8'en",
        "utf-7''a",
        "''a",
        "utf-8''%",
        "utf-8''%4",
        "utf-8''%4g",
        "utf-8''%g4",
        "utf-8''%80",
        "utf-8''%c3",
        "utf-8''%c3a",
        "utf-8''%c0%80",
        "utf-8''%c1%bf",
        "utf-8''%e0%80%80",
        "utf-8''%ed%a0%80",
        "utf-8''%f0%80%80%80",
        "utf-8''%f4%90%80%80",
        "utf-8''%f5%80%80%80",
        "utf-8''%e2%82",
        "utf-8''%00",
        "utf-8''%0a",
        "utf-8''%1f",
        "utf-8''%7f",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_extended(bad[i], NULL);
}

static void assert_form(const char *text, const char *expected)
{
    char out[64];
    size_t len = mime_form_decode(slice_of(text), out);

    assert_int_equal(len, strlen(expected));
    assert_memory_equal(out, expected, len);
}

static void urlencoded_text_is_decoded(void **state)
{
    (void)state;
    assert_form("", "");
    assert_form("a+b%20c%2Bd", "a b c+d");
    assert_form("%41%e4%E4", "A\xe4\xe4");
    assert_form("%", "%");
    assert_form("%4", "%4");
    assert_form("%%41", "%A");
    assert_form("%4g%g4%+4", "%4g%g4% 4");
    assert_form("%2541", "%41");
}

static void every_byte_has_its_escape(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char text[8], out[8];

        snprintf(text, sizeof(text), byte % 2 == 0 ? "%%%02x" : "%%%02X", byte);
        assert_int_equal(mime_form_decode(slice_of(text), out), 1);
        assert_int_equal((unsigned char)out[0], byte);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_end_at_the_first_parameter),
        cmocka_unit_test(values_may_be_quoted),
        cmocka_unit_test(only_quotes_and_backslashes_are_escaped),
        cmocka_unit_test(what_cannot_be_read_is_broken),
        cmocka_unit_test(a_broken_parameter_is_not_taken),
        cmocka_unit_test(extended_values_are_utf8),
        cmocka_unit_test(other_extended_values_are_none),
        cmocka_unit_test(urlencoded_text_is_decoded),
        cmocka_unit_test(every_byte_has_its_escape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
