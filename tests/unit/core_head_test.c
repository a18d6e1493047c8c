/* core_head_test.c -- CGI heads, checked and brought into one shape.
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
#include "core/head.h"

static int status;
static const char *why;

/* Takes a head that must be sent as it stands. */
static void assert_as_is(const char *raw, int expected)
{
    struct buffer out;

    buffer_init(&out, 4096);
    assert_int_equal(head_normalise(slice_of(raw), &out, &status, &why),
                     HEAD_AS_IS);
    assert_int_equal(out.len, 0);
    assert_null(why);
    assert_int_equal(status, expected);
    assert_int_equal(head_length(slice_of(raw)), strlen(raw));
}

/* Takes a head that must become another one, which then stays as it is. */
static void assert_rebuilt(const char *raw, const char *normal, int expected)
{
    struct buffer out;
    char text[512];

    buffer_init(&out, 4096);
    assert_int_equal(head_normalise(slice_of(raw), &out, &status, &why),
                     HEAD_REBUILT);
    assert_true(out.len < sizeof(text));
    memcpy(text, out.data, out.len);
    text[out.len] = '\0';
    buffer_free(&out);
    assert_string_equal(text, normal);
    assert_int_equal(status, expected);
    assert_as_is(normal, expected);
}

static void assert_invalid_slice(struct slice raw, const char *message)
{
    struct buffer out;

    buffer_init(&out, 4096);
    assert_int_equal(head_normalise(raw, &out, &status, &why), HEAD_INVALID);
    assert_int_equal(out.len, 0);
    assert_string_equal(why, message);
}

static void assert_invalid(const char *raw, const char *message)
{
    assert_invalid_slice(slice_of(raw), message);
}

static void a_head_ends_with_its_empty_line(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } heads[] = {
        { "A: b\r\n\r\nbody", 8 },
        { "A: b\n\nbody", 6 },
        { "A: b\r\n\nbody", 7 },
        { "A: b\n\r\nbody", 7 },
        { "\r\nbody", 2 },
        { "\nbody", 1 },
        { "A: b\r\n", 0 },
        { "A: b", 0 },
        { "", 0 },
        { "A: b\r\n\r", 0 },
        { "A: b\r\r\n", 0 },
        { "A: b\n \n", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        assert_int_equal(head_length(slice_of(heads[i].bytes)),
                         heads[i].length);
}

static void a_good_head_is_sent_as_it_stands(void **state)
{
    (void)state;
    assert_as_is("Content-Type: text/plain\r\n\r\n", 200);
    assert_as_is("Status: 404 Not Found\r\nX: y\r\n\r\n", 404);
    assert_as_is("Status: 204\r\n\r\n", 204);
    assert_as_is("Status: 201 Created\r\nLocation: /x\r\n\r\n", 201);
    assert_as_is("X:\r\nY:z\r\n\r\n", 200);
    assert_as_is("X: \xc3\xa4\ttab\r\n\r\n", 200);
    assert_as_is("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n", 200);
    assert_as_is("Content-Length: 17\r\n\r\n", 200);
    assert_as_is("status: 599 \r\n\r\n", 599);
}

static void bare_newlines_become_crlf(void **state)
{
    (void)state;
    assert_rebuilt("Status: 404 Not Found\nX:  y \n\n",
                   "Status: 404 Not Found\r\nX: y\r\n\r\n", 404);
    assert_rebuilt("X: y\r\nZ: a\n\r\n", "X: y\r\nZ: a\r\n\r\n", 200);
    assert_rebuilt("X: y\r\n\n", "X: y\r\n\r\n", 200);
}

static void a_location_alone_is_a_302(void **state)
{
    (void)state;
    assert_rebuilt("Location: /there\r\n\r\n",
                   "Status: 302 Found\r\nLocation: /there\r\n\r\n", 302);
    assert_rebuilt("X: y\r\nlocation: /there\r\n\r\n",
                   "Status: 302 Found\r\nX: y\r\nlocation: /there\r\n\r\n",
                   302);
}

static void the_web_servers_own_headers_are_left_out(void **state)
{
    (void)state;
    assert_rebuilt("Connection: close\r\nX: y\r\ntransfer-encoding: chunked\r\n"
                   "Keep-Alive: 5\r\nProxy-Connection: x\r\nTRAILER: x\r\n\r\n",
                   "X: y\r\n\r\n", 200);
    assert_true(head_is_hop_by_hop(slice_of("CONNECTION")));
    assert_false(head_is_hop_by_hop(slice_of("Connections")));
    assert_false(head_is_hop_by_hop(slice_of("X")));
    assert_false(head_is_hop_by_hop(slice_of("Content-Length")));
    assert_false(head_is_hop_by_hop(slice_of("Te")));
}

/* An empty head is not one that all web servers take. */
static void a_head_of_which_nothing_is_left_has_a_status(void **state)
{
    (void)state;
    assert_rebuilt("Connection: close\r\n\r\n", "Status: 200 OK\r\n\r\n", 200);
}

static void equal_content_lengths_become_one(void **state)
{
    (void)state;
    assert_rebuilt("Content-Length: 5\r\nX: y\r\ncontent-length: 5\r\n\r\n",
                   "Content-Length: 5\r\nX: y\r\n\r\n", 200);
    assert_invalid("Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
                   "there are two Content-Lengths");
    assert_invalid("Content-Length: -1\r\n\r\n",
                   "the Content-Length is not a number");
    assert_invalid("Content-Length:\r\n\r\n",
                   "the Content-Length is not a number");
    assert_invalid("Content-Length: 9223372036854775808\r\n\r\n",
                   "the Content-Length is not a number");
}

/* As non-parsed-header scripts of CGI wrote it. */
static void a_status_line_of_http_is_not_a_head(void **state)
{
    (void)state;
    assert_invalid("HTTP/1.1 404 Not Found\r\nX: y\r\n\r\n",
                   "a line is not \"Name: value\"");
    assert_invalid("HTTP/1.1 200 a: b\r\n\r\n",
                   "the name of a header is not a token");
}

static void every_status_is_from_200_to_599(void **state)
{
    static const char *const bad[] = {
        "",     "199",  "600", "100 Continue", "99", "2000",   "20",
        "0200", "-200", "2x0", "200OK",        "OK", "OK 200",
    };
    char raw[64];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(raw, sizeof(raw), "Status: %s\r\n\r\n", bad[i]);
        assert_invalid(raw, "the Status is not an integer from 200 to 599");
    }
    for (int n = 200; n < 600; n++) {
        snprintf(raw, sizeof(raw), "Status: %d x\r\n\r\n", n);
        assert_as_is(raw, n);
    }
    assert_invalid("Status: 200\r\nStatus: 200\r\n\r\n",
                   "there are two Status lines");
}

static void every_mistake_has_its_message(void **state)
{
    (void)state;
    assert_invalid("\r\n", "it is empty");
    assert_invalid("\n", "it is empty");
    assert_invalid("X: y\r\n z\r\n\r\n", "a header line is folded");
    assert_invalid("X: y\r\n\tz: a\r\n\r\n", "a header line is folded");
    assert_invalid("hello world\r\n\r\n", "a line is not \"Name: value\"");
    assert_invalid(": y\r\n\r\n", "the name of a header is not a token");
    assert_invalid("X : y\r\n\r\n", "the name of a header is not a token");
    assert_invalid("\xc3\xa4: y\r\n\r\n",
                   "the name of a header is not a token");
    assert_invalid("X: a\rb\r\n\r\n", "a header has a control byte");
    assert_invalid("X: a\x7f\r\n\r\n", "a header has a control byte");
    assert_invalid("X: a\r\r\n\r\n", "a header has a control byte");
    assert_invalid_slice((struct slice){ "X: a\0b\r\n\r\n", 10 },
                         "a header has a control byte");
    assert_invalid_slice((struct slice){ "X\0: b\r\n\r\n", 9 },
                         "the name of a header is not a token");
}

static void every_byte_of_a_name_is_a_token(void **state)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char byte = (char)c;
        bool expected = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                        (c >= 'A' && c <= 'Z') ||
                        (c != 0 && strchr(others, (int)c) != NULL);

        assert_int_equal(head_is_name((struct slice){ &byte, 1 }), expected);
    }
    assert_false(head_is_name(slice_of("")));
    assert_false(head_is_name(slice_of("a b")));
    assert_true(head_is_name(slice_of("X-Forwarded-For")));
}

static void a_value_is_free_of_control_bytes_but_the_tab(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char byte = (char)c;

        assert_int_equal(head_is_value((struct slice){ &byte, 1 }),
                         c == '\t' || (c >= 0x20 && c != 0x7f));
    }
    assert_true(head_is_value(slice_of("")));
}

static void some_statuses_have_no_body(void **state)
{
    (void)state;
    assert_true(head_allows_body(200));
    assert_true(head_allows_body(404));
    assert_false(head_allows_body(204));
    assert_false(head_allows_body(304));
    assert_false(head_allows_body(199));
}

static void reasons_are_the_standard_ones(void **state)
{
    (void)state;
    assert_string_equal(head_reason(200), "OK");
    assert_string_equal(head_reason(431), "Request Header Fields Too Large");
    assert_string_equal(head_reason(599), "");
    assert_string_equal(head_reason(0), "");
}

static void a_normal_form_that_does_not_fit_adds_nothing(void **state)
{
    struct buffer out;

    (void)state;
    for (size_t max = 4; max < 4 + 12; max++) {
        buffer_init(&out, max);
        buffer_append(&out, slice_of("kept"));
        assert_int_equal(
            head_normalise(slice_of("X:y\nZ:\n\n"), &out, &status, &why),
            max < 4 + 13 ? HEAD_NO_MEMORY : HEAD_REBUILT);
        assert_true(slice_equal(buffer_slice(&out), slice_of("kept")));
        buffer_free(&out);
    }
}

static void normalise(void *arg)
{
    struct buffer out;
    enum head_result result;

    (void)arg;
    buffer_init(&out, 4096);
    result =
        head_normalise(slice_of("X: y\nLocation: /\n\n"), &out, &status, &why);
    assert_true(result == HEAD_REBUILT ||
                (result == HEAD_NO_MEMORY && out.len == 0));
    buffer_free(&out);
}

static void without_memory_nothing_is_added(void **state)
{
    (void)state;
    alloc_each_fails(normalise, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_ends_with_its_empty_line),
        cmocka_unit_test(a_good_head_is_sent_as_it_stands),
        cmocka_unit_test(bare_newlines_become_crlf),
        cmocka_unit_test(a_location_alone_is_a_302),
        cmocka_unit_test(the_web_servers_own_headers_are_left_out),
        cmocka_unit_test(a_head_of_which_nothing_is_left_has_a_status),
        cmocka_unit_test(equal_content_lengths_become_one),
        cmocka_unit_test(a_status_line_of_http_is_not_a_head),
        cmocka_unit_test(every_status_is_from_200_to_599),
        cmocka_unit_test(every_mistake_has_its_message),
        cmocka_unit_test(every_byte_of_a_name_is_a_token),
        cmocka_unit_test(a_value_is_free_of_control_bytes_but_the_tab),
        cmocka_unit_test(some_statuses_have_no_body),
        cmocka_unit_test(reasons_are_the_standard_ones),
        cmocka_unit_test(a_normal_form_that_does_not_fit_adds_nothing),
        cmocka_unit_test(without_memory_nothing_is_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
