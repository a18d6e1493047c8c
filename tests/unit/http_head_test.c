/* http_head_test.c -- heads in HTTP become parameters.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/params.h"
#include "http/head.h"

static struct http_head head;

static int set_up(void **state)
{
    (void)state;
    http_head_init(&head);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_head_free(&head);
    return 0;
}

static void target(const char *text)
{
    http_head_reset(&head);
    assert_int_equal(http_head_add_target(&head, slice_of(text)), 0);
}

static void field(const char *name, const char *value)
{
    assert_int_equal(http_head_add_name(&head, slice_of(name)), 0);
    assert_int_equal(http_head_add_value(&head, slice_of(value)), 0);
}

static struct wire_ends ends;

static void expect(const char *method, const char *name, const char *wanted)
{
    struct buffer params;
    struct slice value;
    bool found;

    buffer_init(&params, 1024 * 1024);
    assert_int_equal(http_head_params(&head, method, 1, &ends, &params),
                     BUFFER_OK);
    found = params_find(buffer_slice(&params), slice_of(name), &value);
    if (found != (wanted != NULL) ||
        (found && !slice_equal(value, slice_of(wanted))))
        fail_msg("%s is \"%.*s\"", name, found ? (int)value.len : 0,
                 found ? value.data : "");
    buffer_free(&params);
}

static void targets_are_taken_apart(void **state)
{
    static const struct {
        const char *target, *uri, *path, *query, *server, *port;
    } cases[] = {
        { "/", "/", "/", "", "h", "80" },
        { "/a/b", "/a/b", "/a/b", "", "h", "80" },
        { "/a?b?c", "/a?b?c", "/a", "b?c", "h", "80" },
        { "/a?", "/a?", "/a", "", "h", "80" },
        { "/%41%2f%e4", "/%41%2f%e4", "/A/\xe4", "", "h", "80" },
        { "//x/y", "//x/y", "//x/y", "", "h", "80" },
        { "http://example.org/a?b", "/a?b", "/a", "b", "example.org", "80" },
        { "http://example.org", "/", "/", "", "example.org", "80" },
        { "HTTP://example.org:8?b", "/?b", "/", "b", "example.org", "8" },
        { "https://[::1]:81/x", "/x", "/x", "", "[::1]", "81" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        target(cases[i].target);
        field("Host", "h");
        assert_int_equal(http_head_check(&head, "GET", 1).status, 0);
        expect("GET", "REQUEST_URI", cases[i].uri);
        expect("GET", "PATH_INFO", cases[i].path);
        expect("GET", "QUERY_STRING", cases[i].query);
        expect("GET", "SERVER_NAME", cases[i].server);
        expect("GET", "SERVER_PORT", cases[i].port);
    }
    target("*");
    field("Host", "[::1]");
    assert_int_equal(http_head_check(&head, "OPTIONS", 1).status, 0);
    expect("OPTIONS", "REQUEST_URI", "*");
    expect("OPTIONS", "SERVER_NAME", "[::1]");
    expect("OPTIONS", "SERVER_PORT", "80");
}

static void fields_become_parameters(void **state)
{
    (void)state;
    target("/");
    field("Host", "h:8");
    field("Cookie", "a=1");
    field("Accept-Language", "de");
    field("cookie", "b=2");
    field("ACCEPT-LANGUAGE", " en ");
    field("Empty", "");
    field("Proxy", "http://evil/");
    field("X_Real", "forged");
    field("X-Real", "sound");
    field("Connection", "keep-alive");
    field("Content-Type", "text/plain");
    field("Content-Length", "5");
    expect("GET", "HTTP_COOKIE", "a=1; b=2");
    expect("GET", "HTTP_ACCEPT_LANGUAGE", "de, en");
    expect("GET", "HTTP_EMPTY", "");
    expect("GET", "HTTP_PROXY", NULL);
    expect("GET", "HTTP_X_REAL", "sound");
    expect("GET", "HTTP_CONNECTION", NULL);
    expect("GET", "HTTP_CONTENT_TYPE", NULL);
    expect("GET", "CONTENT_TYPE", "text/plain");
    expect("GET", "CONTENT_LENGTH", "5");
    expect("GET", "GATEWAY_INTERFACE", "CGI/1.1");
    expect("GET", "REQUEST_SCHEME", "http");
    expect("POST", "REQUEST_METHOD", "POST");
}

static void names_and_values_come_in_pieces(void **state)
{
    struct slice value;

    (void)state;
    target("/");
    http_head_add_target(&head, slice_of("a/"));
    http_head_add_target(&head, slice_of("b"));
    http_head_add_name(&head, slice_of("Ho"));
    http_head_add_name(&head, slice_of("st"));
    http_head_add_value(&head, slice_of("ex"));
    http_head_add_value(&head, slice_of("ample"));
    http_head_add_name(&head, slice_of("X"));
    http_head_add_value(&head, slice_of("y"));
    expect("GET", "REQUEST_URI", "/a/b");
    assert_true(http_head_find(&head, "host", &value));
    assert_true(slice_equal(value, slice_of("example")));
    assert_false(http_head_find(&head, "Hos", &value));
}

static void there_is_an_end_to_fields_and_bytes(void **state)
{
    static char much[HTTP_HEAD_MAX];
    struct slice bytes = { much, sizeof(much) };

    (void)state;
    target("/");
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        field("A", "b");
    assert_int_equal(http_head_add_name(&head, slice_of("A")), 431);
    target("/");
    assert_int_equal(http_head_add_target(&head, bytes), 431);
    http_head_add_name(&head, slice_of("A"));
    assert_int_equal(http_head_add_value(&head, bytes), 431);
}

static bool looks_sound(const char *text, size_t portion)
{
    struct slice rest = slice_of(text);

    http_head_reset(&head);
    while (rest.len > 0)
        if (!http_head_look(&head, slice_take(&rest, portion)))
            return false;
    return true;
}

static void a_folded_field_is_seen(void **state)
{
    (void)state;
    for (size_t n = 1; n < 40; n++) {
        assert_true(looks_sound("GET / HTTP/1.1\r\nA: b\r\n\r\n body", n));
        assert_true(looks_sound("\r\n\r\nGET / HTTP/1.1\r\nA:\t b\r\n\r\n", n));
        assert_false(looks_sound("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", n));
        assert_false(looks_sound("GET / HTTP/1.1\r\nA: b\n\t\r\n\r\n", n));
        assert_false(looks_sound("GET / HTTP/1.1\r\n A: b\r\n\r\n", n));
    }
}

static void make_all(void *arg)
{
    struct http_head own;
    struct buffer params;

    (void)arg;
    http_head_init(&own);
    buffer_init(&params, 4096);
    if (http_head_add_target(&own, slice_of("/a?b")) == 0 &&
        http_head_add_name(&own, slice_of("Host")) == 0 &&
        http_head_add_value(&own, slice_of("h")) == 0 &&
        http_head_params(&own, "GET", 1, &ends, &params) == BUFFER_OK)
        assert_true(params.len > 0);
    buffer_free(&params);
    http_head_free(&own);
}

static void it_lives_without_memory(void **state)
{
    (void)state;
    alloc_each_fails(make_all, NULL);
}

static void parameters_have_the_size_that_they_may_have(void **state)
{
    struct buffer params;

    (void)state;
    target("/");
    field("Host", "h");
    buffer_init(&params, 20);
    assert_int_equal(http_head_params(&head, "GET", 1, &ends, &params),
                     BUFFER_FULL);
    buffer_free(&params);
}

static void both_ends_of_the_connection_are_told(void **state)
{
    (void)state;
    target("/");
    field("Host", "a:81");
    ends = (struct wire_ends){ .remote = "::1",
                               .local = "127.0.0.1",
                               .remote_port = 65535,
                               .local_port = 80 };
    expect("GET", "REMOTE_ADDR", "::1");
    expect("GET", "REMOTE_PORT", "65535");
    expect("GET", "SERVER_ADDR", "127.0.0.1");
    expect("GET", "SERVER_PORT", "81"); /* as the client sees it */
    ends = (struct wire_ends){ .remote_port = 0 };
    expect("GET", "REMOTE_ADDR", NULL);
    expect("GET", "REMOTE_PORT", NULL);
    expect("GET", "SERVER_ADDR", NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(targets_are_taken_apart),
        TEST(fields_become_parameters),
        TEST(names_and_values_come_in_pieces),
        TEST(there_is_an_end_to_fields_and_bytes),
        TEST(a_folded_field_is_seen),
        TEST(it_lives_without_memory),
        TEST(parameters_have_the_size_that_they_may_have),
        TEST(both_ends_of_the_connection_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
