/* ops_access_format_test.c -- how a line of the access log looks.
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
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/params.h"
#include "fake_exchange.h"
#include "fake_service.h"
#include "ops/access_format.h"

static struct fake_service fake;
static struct fake_exchange peer;
static struct request *req;
static struct access_entry entry;
static struct access_format *format;
static char line[ACCESS_LINE_MAX + 1];

static size_t memory(const struct service *service)
{
    (void)service;
    return 3 * 1024 * 1024 + 5;
}

static int set_up(void **state)
{
    static struct service_ops ops;

    (void)state;
    setenv("TZ", "UTC", 1);
    fake_service_init(&fake, 64);
    ops = *fake.service.ops;
    ops.memory = memory;
    fake.service.ops = &ops;
    fake_exchange_init(&peer, &fake.service, REQUEST_RESPONDER);
    req = peer.req;
    req->response.is_head_sent = true;
    req->response.status = 200;
    req->response.body_bytes = 5;
    entry = (struct access_entry){ .req = req,
                                   /* 2026-11-23T03:18:40.5Z */
                                   .ended = 1795403920.5,
                                   .duration = 1.25,
                                   .worker = 2,
                                   .name = "app.lua" };
    format = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    access_format_del(format);
    fake_exchange_free(&peer);
    fake_service_free(&fake);
    return 0;
}

static void param(const char *name, const char *value)
{
    params_append(&req->params, slice_of(name), slice_of(value));
}

static void usual_params(void)
{
    param("REMOTE_ADDR", "10.0.0.7");
    param("REQUEST_METHOD", "GET");
    param("REQUEST_URI", "/a/b?c=d&e");
    param("QUERY_STRING", "c=d&e");
    param("SERVER_PROTOCOL", "HTTP/1.1");
    param("SCRIPT_FILENAME", "/srv/app.lua");
    param("HTTP_REFERER", "https://example.com/");
    param("HTTP_USER_AGENT", "curl/8");
    param("CONTENT_LENGTH", "12");
    param("HTTP_X_REQUEST_ID", "r-1");
}

static void assert_line(const char *text, const char *expected)
{
    char error[128] = "";
    size_t len;

    access_format_del(format);
    if (access_format_new(text, &format, error, sizeof(error)) !=
        ACCESS_FORMAT_OK)
        fail_msg("%s: %s", text, error);
    len = access_format_write(format, &entry, line);
    assert_int_equal(line[len - 1], '\n');
    line[len - 1] = '\0';
    assert_string_equal(line, expected);
}

static void combined_is_that_of_apache_and_nginx(void **state)
{
    (void)state;
    usual_params();
    param("REMOTE_USER", "jo");
    assert_line("combined",
                "10.0.0.7 - jo [23/Nov/2026:03:18:39 +0000] \"GET /a/b?c=d&e "
                "HTTP/1.1\" 200 5 \"https://example.com/\" \"curl/8\"");
}

/* The short ones are written in another way than the long ones. */
static void values_of_any_length_are_whole(void **state)
{
    static char value[1100], expected[2400];

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    for (size_t len = 1; len < sizeof(value); len += len < 40 ? 1 : 53) {
        buffer_reset(&req->params, 0);
        params_append(&req->params, slice_of("A"),
                      (struct slice){ value, len });
        snprintf(expected, sizeof(expected), "<%.*s> \"%.*s\"", (int)len, value,
                 (int)len, value);
        assert_line("<%{A}e> \"%{A}e\"", expected);
        value[len - 1] = '\n';
        buffer_reset(&req->params, 0);
        params_append(&req->params, slice_of("A"),
                      (struct slice){ value, len });
        snprintf(expected, sizeof(expected), "a text of 20 bytes: %.*s\\x0A",
                 (int)len - 1, value);
        assert_line("a text of 20 bytes: %{A}e", expected);
        value[len - 1] = 'v';
    }
}

static void names_of_other_items_need_room_too(void **state)
{
    char text[2048] = "", error[128] = "";

    (void)state;
    for (int i = 0; i < PARAMS_WANTED_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%%{N%d}e",
                 i);
    access_format_del(format);
    assert_int_equal(access_format_new(text, &format, error, sizeof(error)),
                     ACCESS_FORMAT_OK);
    access_format_del(format);
    strcat(text, "%r");
    assert_int_equal(access_format_new(text, &format, error, sizeof(error)),
                     ACCESS_FORMAT_BAD);
    assert_string_equal(error, "has too many names");
}

static void what_is_missing_is_a_dash(void **state)
{
    (void)state;
    req->response.body_bytes = 0;
    assert_line("combined", "- - - [23/Nov/2026:03:18:39 +0000] \"- - -\" 200 "
                            "0 \"-\" \"-\"");
    assert_line("%b %{A}o %{A}i %{A}e %Q%q|%f %l", "- - - - |- -");
}

static void every_directive_of_php_fpm(void **state)
{
    char expected[512];

    (void)state;
    usual_params();
    assert_line("%R - %u %t \"%m %r%Q%q\" %s %f %{milli}d %{kilo}M %C%%",
                "10.0.0.7 - - 23/Nov/2026:03:18:39 +0000 \"GET /a/b?c=d&e\" "
                "200 /srv/app.lua 1250.000 3072 0.00%");
    assert_line("%d %{seconds}d %{milliseconds}d %{mili}d %{micro}d "
                "%{microseconds}d",
                "1.250 1.250 1250.000 1250.000 1250000 1250000");
    assert_line("%M %{bytes}M %{kilobytes}M %{mega}M %{megabytes}M",
                "3145733 3145733 3072 3 3");
    assert_line("%{%H:%M:%S}t %T", "03:18:39 23/Nov/2026:03:18:40 +0000");
    assert_line("%{REQUEST_METHOD}e %{SERVER_PROTOCOL}e %l %n",
                "GET HTTP/1.1 12 app.lua");
    snprintf(expected, sizeof(expected), "%ld %ld", (long)getpid(),
             (long)getppid());
    assert_line("%p %P", expected);
    req->cpu_user = 0.25;
    req->cpu_system = 0.0625;
    assert_line("%C %{user}C %{system}C %{total}C", "25.00 20.00 5.00 25.00");
}

static void directives_of_our_own(void **state)
{
    (void)state;
    usual_params();
    req->body.received = 7;
    assert_line("%B %b %I %L %w %H %X %{X-Request-Id}i %{Content-Length}i",
                "5 5 7 r-1 2 HTTP/1.1 + r-1 12");
    req->is_aborted = true;
    req->response.is_head_sent = false;
    assert_line("%s %X", "499 X");
    req->response.is_head_sent = true;
    assert_line("%s %X", "200 X");
}

static void a_header_of_the_answer(void **state)
{
    (void)state;
    buffer_append(&req->response.sent_head,
                  slice_of("Status: 201 Created\r\nX-A: one \"two\"\r\n"
                           "X-AB: no\r\nX-A: second\r\nEmpty:\r\n\r\n"));
    assert_line("%{x-a}o \"%{X-A}o\" %{Status}o %{X}o %{Empty}o %{A}o",
                "one\\x20\\x22two\\x22 \"one \\x22two\\x22\" 201\\x20Created - "
                "- -");
    assert_true(access_format_wants_head(format));
    assert_line("%s", "200");
    assert_false(access_format_wants_head(format));
    assert_false(access_format_wants_cpu(format));
    assert_line("%C", "0.00");
    assert_true(access_format_wants_cpu(format));
}

static void without_a_request_uri_it_is_put_together(void **state)
{
    (void)state;
    param("SCRIPT_NAME", "/app");
    param("PATH_INFO", "/x");
    assert_line("%r%Q%q", "/app/x");
    param("QUERY_STRING", "a=b");
    assert_line("%r%Q%q", "/app/x?a=b");
    assert_line("combined",
                "- - - [23/Nov/2026:03:18:39 +0000] \"- /app/x?a=b -\" 200 5 "
                "\"-\" \"-\"");
}

static void the_query_may_stand_in_the_uri_alone(void **state)
{
    (void)state;
    param("REQUEST_URI", "/x?a?b");
    assert_line("%r|%Q|%q", "/x|?|a?b");
}

static void fields_cannot_be_forged(void **state)
{
    (void)state;
    param("REMOTE_USER", "a [x] \"GET / HTTP/1.1\" 200\n1.2.3.4 - -");
    param("REQUEST_METHOD", "GET\r\n");
    param("REQUEST_URI", "/\" 200 1\n");
    param("HTTP_USER_AGENT", "\\\" \x1b[2J\xc3\xa9");
    assert_line(
        "combined",
        "- - a\\x20\\x5Bx\\x5D\\x20\\x22GET\\x20/\\x20HTTP/1.1\\x22\\x20200"
        "\\x0A1.2.3.4\\x20-\\x20- [23/Nov/2026:03:18:39 +0000] "
        "\"GET\\x0D\\x0A /\\x22 200 1\\x0A -\" 200 5 \"-\" "
        "\"\\x5C\\x22 \\x1B[2J\\xC3\\xA9\"");
}

static void json_has_its_keys_in_order(void **state)
{
    (void)state;
    usual_params();
    assert_line("json",
                "{\"time\":\"2026-11-23T03:18:39.250Z\",\"remote\":"
                "\"10.0.0.7\",\"method\":\"GET\",\"uri\":\"/a/b?c=d&e\","
                "\"status\":200,\"bytes\":5,\"duration\":1.250000,"
                "\"worker\":2,\"req\":\"r-1\",\"ua\":\"curl/8\"}");
    entry.ended += 1;
    access_format_write(format, &entry, line);
    assert_non_null(strstr(line, "T03:18:40.250Z"));
}

static void json_of_nothing_is_json(void **state)
{
    (void)state;
    assert_line("json",
                "{\"time\":\"2026-11-23T03:18:39.250Z\",\"remote\":\"\","
                "\"method\":\"\",\"uri\":\"\",\"status\":200,\"bytes\":5,"
                "\"duration\":1.250000,\"worker\":2,\"req\":\"1\","
                "\"ua\":\"\"}");
}

static void a_line_has_a_limit(void **state)
{
    static char longest[3 * ACCESS_FIELD_MAX];
    char text[ACCESS_FORMAT_MAX];

    (void)state;
    memset(longest, '\n', sizeof(longest) - 1);
    param("REQUEST_URI", longest);
    param("HTTP_USER_AGENT", longest);
    param("REQUEST_METHOD", longest);
    param("REMOTE_ADDR", longest);
    memset(text, '\0', sizeof(text));
    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "%r", 2);
    assert_int_equal(access_format_new(text, &format, line, 64),
                     ACCESS_FORMAT_OK);
    assert_in_range(access_format_write(format, &entry, line),
                    ACCESS_LINE_MAX - 4, ACCESS_LINE_MAX);
    access_format_del(format);
    assert_int_equal(access_format_new("json", &format, line, 64),
                     ACCESS_FORMAT_OK);
    line[access_format_write(format, &entry, line)] = '\0';
    assert_non_null(strstr(line, "\"}\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void a_bad_format_is_explained(void **state)
{
    static const struct {
        const char *text, *error;
    } table[] = {
        { "%R %z", "has an unknown directive: %z" },
        { "%", "ends in the middle of %" },
        { "a %{x}", "ends in the middle of %{x}" },
        { "%{milli", "has a brace that is not closed in %{milli" },
        { "%{weeks}d", "has an unknown unit of time in %{weeks}d" },
        { "%{giga}M", "has an unknown unit of memory in %{giga}M" },
        { "%{x}C", "has an unknown kind of CPU time in %{x}C" },
        { "%e", "needs a name, as in %{NAME}, in %e" },
        { "%{}o", "needs a name, as in %{NAME}, in %{}o" },
        { "%{x}R", "has braces that mean nothing in %{x}R" },
        { "a\nb", "has a control byte" },
        { "%{x\n}y", "has an unknown directive: %{x?}y" },
        { "%{}%", "has an unknown directive: %{}%" },
    };
    static char longest[ACCESS_FORMAT_MAX + 2];
    char error[128];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(
            access_format_new(table[i].text, &format, error, sizeof(error)),
            ACCESS_FORMAT_BAD);
        assert_null(format);
        assert_string_equal(error, table[i].error);
    }
    memset(longest, 'x', sizeof(longest) - 1);
    assert_int_equal(access_format_new(longest, &format, error, sizeof(error)),
                     ACCESS_FORMAT_BAD);
    assert_string_equal(error, "is too long");
    memcpy(longest, "%{", 2);
    memcpy(longest + 80, "}e", 3);
    assert_int_equal(access_format_new(longest, &format, error, sizeof(error)),
                     ACCESS_FORMAT_BAD);
    assert_int_equal(strncmp(error, "has too many names, or a too long", 33),
                     0);
}

static void live(void *arg)
{
    char error[128];

    if (access_format_new(arg, &format, error, sizeof(error)) ==
        ACCESS_FORMAT_OK)
        access_format_write(format, &entry, line);
    else
        assert_null(format);
    access_format_del(format);
    format = NULL;
}

static void without_memory_there_is_none(void **state)
{
    static char formats[][64] = { "combined", "json",
                                  "%R %{X}i %{X}i %{Y}e %t %{%s}T %{Z}o %C" };

    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        alloc_each_fails(live, formats[i]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(combined_is_that_of_apache_and_nginx),
        TEST(values_of_any_length_are_whole),
        TEST(names_of_other_items_need_room_too),
        TEST(what_is_missing_is_a_dash),
        TEST(every_directive_of_php_fpm),
        TEST(directives_of_our_own),
        TEST(a_header_of_the_answer),
        TEST(without_a_request_uri_it_is_put_together),
        TEST(the_query_may_stand_in_the_uri_alone),
        TEST(fields_cannot_be_forged),
        TEST(json_has_its_keys_in_order),
        TEST(json_of_nothing_is_json),
        TEST(a_line_has_a_limit),
        TEST(a_bad_format_is_explained),
        TEST(without_memory_there_is_none),
    };

    return cmocka_run_group_tests_name("ops/access_format", tests, NULL, NULL);
}
