/* http_answer_test.c -- answers, as they look in HTTP.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "http_rig.h"

static struct http_rig rig;

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    http_rig_open(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_rig_close(&rig);
    return 0;
}

/* Without its Date, which changes. */
static const char *answer(void)
{
    char *text = (char *)(size_t)http_rig_answer(&rig), *date, *end;

    date = strstr(text, "Date: ");
    if (date == NULL)
        return text;
    end = strstr(date, "\r\n");
    assert_int_equal(end - date, 35);
    assert_memory_equal(end - 4, " GMT", 4);
    memmove(date, end + 2, strlen(end + 2) + 1);
    return text;
}

static void ask(const char *line)
{
    char text[256];

    snprintf(text, sizeof(text), "%s\r\nHost: h\r\n\r\n", line);
    http_rig_say(&rig, text);
    assert_int_equal(rig.fake.n_ready, 1);
}

static void a_file_is_framed_like_other_bytes(void **state)
{
    static const struct {
        const char *asked, *head, *sent;
    } cases[] = {
        { "GET / HTTP/1.1", "Content-Length: 6\r\n\r\nab",
          "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab2345" },
        { "GET / HTTP/1.1", "Content-Length: 3\r\n\r\nab",
          "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab2" },
        { "GET / HTTP/1.1", "Content-Length: 2\r\n\r\nab",
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab" },
        { "GET / HTTP/1.1", "X: y\r\n\r\n",
          "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"
          "4\r\n2345\r\n0\r\n\r\n" },
        { "GET / HTTP/1.0", "X: y\r\n\r\n",
          "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n2345" },
    };
    struct shared_fd *file = file_of(slice_of("0123456789"));

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice head = slice_of(cases[i].head);
        struct request *req;
        size_t left = 4;

        http_rig_close(&rig);
        http_rig_open(&rig);
        ask(cases[i].asked);
        req = rig.fake.ready[0];
        response_write(req, &head);
        assert_int_equal(response_write_file(req, file, 2, &left), RESPONSE_OK);
        assert_int_equal(left, 0);
        response_finish(req, 0);
        fake_release(&rig.fake, 0);
        assert_string_equal(answer(), cases[i].sent);
    }
    assert_int_equal(file->refs, 1);
    shared_fd_unref(file);
}

static void each_answer_is_framed(void **state)
{
    static const struct {
        const char *asked, *given, *sent;
        bool kept;
    } cases[] = {
        { "GET / HTTP/1.1", "Content-Type: a/b\r\n\r\nhi",
          "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"
          "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
          true },
        { "GET / HTTP/1.1", "Content-Type: a/b\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"
          "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          true },
        { "GET / HTTP/1.0", "Content-Type: a/b\r\n\r\nhi",
          "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nConnection: close\r\n"
          "\r\nhi",
          false },
        { "GET / HTTP/1.1", "Content-Length: 2\r\n\r\nhi",
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true },
        { "GET / HTTP/1.1", "Content-Length: 2\r\n\r\nhigh",
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true },
        { "GET / HTTP/1.1", "Content-Length: 3\r\n\r\nhi",
          "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", false },
        { "HEAD / HTTP/1.1", "Content-Length: 2\r\n\r\nhi",
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true },
        { "HEAD / HTTP/1.1", "X: y\r\n\r\nhi",
          "HTTP/1.1 200 OK\r\nX: y\r\n\r\n", true },
        { "GET / HTTP/1.1", "Status: 204\r\nContent-Length: 0\r\n\r\n",
          "HTTP/1.1 204 No Content\r\n\r\n", true },
        { "GET / HTTP/1.1", "Status: 304 Same\r\nETag: x\r\n\r\n",
          "HTTP/1.1 304 Same\r\nETag: x\r\n\r\n", true },
        { "GET / HTTP/1.1", "Status: 404 Not Here\r\nContent-Length: 0\r\n\r\n",
          "HTTP/1.1 404 Not Here\r\nContent-Length: 0\r\n\r\n", true },
        { "GET / HTTP/1.1", "Location: /b\r\nContent-Length: 0\r\n\r\n",
          "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
          true },
        { "GET / HTTP/1.1", "status: 201\ncontent-length: 1\n\nx",
          "HTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\nx", true },
        { "GET / HTTP/1.1",
          "Connection: close\r\nTransfer-Encoding: chunked\r\n"
          "Content-Length: 1\r\n\r\nx",
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        http_rig_close(&rig);
        http_rig_open(&rig);
        ask(cases[i].asked);
        http_rig_reply(&rig, cases[i].given);
        assert_string_equal(answer(), cases[i].sent);
        assert_int_equal(rig.wire->state,
                         cases[i].kept ? WIRE_OPEN : WIRE_LINGER);
    }
}

static void a_date_of_the_script_is_the_only_one(void **state)
{
    const char *text;

    (void)state;
    ask("GET / HTTP/1.1");
    http_rig_reply(&rig, "Date: then\r\nContent-Length: 0\r\n\r\n");
    text = http_rig_answer(&rig);
    assert_string_equal(
        text, "HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 0\r\n\r\n");
}

static void an_answer_that_broke_off_has_no_last_chunk(void **state)
{
    struct slice rest = slice_of("X: y\r\n\r\nabc");

    (void)state;
    ask("GET / HTTP/1.1");
    response_write(rig.fake.ready[0], &rest);
    response_fail(rig.fake.ready[0], 500);
    assert_null(strstr(answer(), "\r\n0\r\n"));
    assert_int_equal(rig.wire->state, WIRE_LINGER);
}

static void a_failure_is_a_whole_answer(void **state)
{
    (void)state;
    ask("GET / HTTP/1.1");
    response_fail(rig.fake.ready[0], 500);
    assert_non_null(strstr(answer(), "\r\n\r\n500 Internal Server Error\n"));
    assert_int_equal(rig.wire->state, WIRE_OPEN);
}

static void who_is_refused_while_sending_is_told_of_the_close(void **state)
{
    (void)state;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n"
                       "\r\n");
    response_fail(rig.fake.ready[0], 403);
    assert_non_null(strstr(answer(), "Connection: close\r\n"));
    assert_int_equal(rig.wire->state, WIRE_LINGER);
}

static void note_wake(struct request_waiter *waiter)
{
    waiter->wake = NULL;
}

static void a_writer_waits_for_who_does_not_read(void **state)
{
    static char piece[16384];
    struct slice rest = slice_of("X: y\r\n\r\n");
    struct request_waiter waiter = { .wake = note_wake };
    struct request *req;

    (void)state;
    ask("GET / HTTP/1.1");
    req = rig.fake.ready[0];
    response_write(req, &rest);
    do
        rest = (struct slice){ piece, sizeof(piece) };
    while (response_write(req, &rest) == RESPONSE_OK);
    assert_true(rig.wire->out.len >= OUTPUT_HIGH);
    list_init(&waiter.link);
    request_wait(req, &waiter);
    http_rig_take(&rig, 1000);
    assert_non_null(waiter.wake);
    http_rig_take(&rig, OUTPUT_LOW + 1000);
    assert_null(waiter.wake);
}

static void a_flush_waits_for_the_kernel(void **state)
{
    struct slice rest = slice_of("X: y\r\n\r\nabc");
    struct request_waiter waiter = { .wake = note_wake };
    struct request *req;

    (void)state;
    ask("GET / HTTP/1.1");
    req = rig.fake.ready[0];
    response_write(req, &rest);
    assert_int_equal(response_flush(req), RESPONSE_WAIT);
    list_init(&waiter.link);
    request_wait(req, &waiter);
    http_rig_take(&rig, 10);
    assert_non_null(waiter.wake);
    http_rig_take(&rig, SIZE_MAX);
    assert_null(waiter.wake);
    assert_int_equal(response_flush(req), RESPONSE_OK);
}

/* There is no web server that would log it. */
static void errors_of_scripts_are_not_in_the_answer(void **state)
{
    (void)state;
    ask("GET / HTTP/1.1");
    response_write_err(rig.fake.ready[0], slice_of("secret\n"));
    http_rig_reply(&rig, "Content-Length: 0\r\n\r\n");
    assert_null(strstr(answer(), "secret"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_framed_like_other_bytes),
        TEST(each_answer_is_framed),
        TEST(a_date_of_the_script_is_the_only_one),
        TEST(an_answer_that_broke_off_has_no_last_chunk),
        TEST(a_failure_is_a_whole_answer),
        TEST(who_is_refused_while_sending_is_told_of_the_close),
        TEST(a_writer_waits_for_who_does_not_read),
        TEST(a_flush_waits_for_the_kernel),
        TEST(errors_of_scripts_are_not_in_the_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
