/* ops_access_log_test.c -- a line for each request.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/params.h"
#include "fake_exchange.h"
#include "fake_service.h"
#include "ops/access_log.h"

static struct fake_service fake;
static struct access_log *log_of;
static char folder[64], path[96], text[4096];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fcgi-lua-access.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/log", folder);
    fake_service_init(&fake, 64);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    access_log_close(log_of);
    log_of = NULL;
    fake_service_free(&fake);
    unlink(path);
    return rmdir(folder);
}

static const char *written(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
    return text;
}

static void serve(int status)
{
    struct fake_exchange peer;

    fake_exchange_init(&peer, &fake.service, REQUEST_RESPONDER);
    if (peer.req == NULL)
        return;
    request_ready(peer.req);
    if (status > 0)
        response_fail(peer.req, status);
    fake_exchange_free(&peer);
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
}

static void each_request_has_a_line(void **state)
{
    (void)state;
    log_of = access_log_open(path, "%s %B %w %n", "app.lua");
    assert_non_null(log_of);
    access_log_attach(log_of, &fake.service, 3);
    serve(500);
    serve(0);
    assert_string_equal(written(), "");
    assert_true(access_log_flush(log_of, 100) <= 0);
    assert_string_equal(written(), "500 26 3 app.lua\n499 0 3 app.lua\n");
    assert_true(access_log_flush(log_of, 100) <= 0);
    serve(503);
    access_log_close(log_of);
    log_of = NULL;
    assert_non_null(strstr(written(), "\n503 24 3 app.lua\n"));
}

/* A write costs as much as many lines: those of many turns share one. */
static void lines_wait_for_others_for_a_moment(void **state)
{
    (void)state;
    log_of = access_log_open(path, "%s", "app.lua");
    assert_non_null(log_of);
    access_log_attach(log_of, &fake.service, 1);
    serve(500);
    assert_true(access_log_flush(log_of, 100) <= 0);
    serve(503);
    assert_true(access_log_flush(log_of, 100.004) > 0.005);
    assert_string_equal(written(), "500\n");
    assert_true(access_log_flush(log_of, 100.011) <= 0);
    assert_string_equal(written(), "500\n503\n");
    serve(500); /* nothing was written a moment ago */
    assert_true(access_log_flush(log_of, 200) <= 0);
    assert_string_equal(written(), "500\n503\n500\n");
    for (int i = 0; i < LINE_WRITER_FULL / 4; i++)
        serve(500);
    assert_true(strlen(written()) > 100); /* enough for a write */
}

/* As without a log. */
static void of_what_is_said_twice_the_last_counts(void **state)
{
    struct fake_exchange peer;

    (void)state;
    log_of = access_log_open(path, "%m %s", "app.lua");
    assert_non_null(log_of);
    access_log_attach(log_of, &fake.service, 1);
    assert_int_equal(service_want(&fake.service, slice_of("REQUEST_METHOD")),
                     0);
    assert_int_equal(service_want(&fake.service, slice_of("X")), 2);
    fake_exchange_init(&peer, &fake.service, REQUEST_RESPONDER);
    params_append(&peer.req->params, slice_of("CONTENT_LENGTH"), slice_of("7"));
    params_append(&peer.req->params, slice_of("CONTENT_LENGTH"), slice_of("9"));
    params_append(&peer.req->params, slice_of("X"), slice_of("x"));
    request_ready(peer.req);
    assert_int_equal(peer.req->body.expected, 9);
    assert_null(peer.req->noted[0].data);
    assert_true(slice_equal(peer.req->noted[2], slice_of("x")));
    response_fail(peer.req, 500);
    fake_exchange_free(&peer);
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
    access_log_flush(log_of, 100);
    assert_string_equal(written(), "- 500\n");
}

/* What a line needs is found while the request is made ready. */
static void values_are_noted_once(void **state)
{
    struct fake_exchange peer;

    (void)state;
    log_of = access_log_open(path, "%m %{X-A}i %l %s", "app.lua");
    assert_non_null(log_of);
    access_log_attach(log_of, &fake.service, 1);
    fake_exchange_init(&peer, &fake.service, REQUEST_RESPONDER);
    assert_non_null(peer.req);
    params_append(&peer.req->params, slice_of("HTTP_X_A"), slice_of("1"));
    params_append(&peer.req->params, slice_of("REQUEST_METHOD"),
                  slice_of("HEAD"));
    params_append(&peer.req->params, slice_of("CONTENT_LENGTH"), slice_of("7"));
    params_append(&peer.req->params, slice_of("HTTP_X_A"), slice_of("2"));
    request_ready(peer.req);
    assert_true(peer.req->is_noted && peer.req->is_head);
    assert_int_equal(peer.req->body.expected, 7);
    response_fail(peer.req, 500);
    fake_exchange_free(&peer);
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
    access_log_flush(log_of, 100);
    assert_string_equal(written(), "HEAD 1 7 500\n");
}

static void more_names_than_are_noted_are_looked_up(void **state)
{
    (void)state;
    log_of = access_log_open(path,
                             "%{a}e%{b}e%{c}e%{d}e%{f}e%{g}e%{h}e%{i}e%{j}e"
                             "%{k}e%{l}e%{m}e%{n}e%{o}e%{p}e%{q}e %s",
                             "app.lua");
    assert_non_null(log_of);
    access_log_attach(log_of, &fake.service, 1);
    assert_null(fake.service.wanted);
    assert_int_equal(service_want(&fake.service, slice_of("a")), -1);
    serve(500);
    access_log_flush(log_of, 100);
    assert_string_equal(written(), "---------------- 500\n");
}

static void it_says_what_it_needs(void **state)
{
    (void)state;
    log_of = access_log_open(path, "%{A}o %C", "app.lua");
    assert_non_null(log_of);
    access_log_attach(log_of, &fake.service, 1);
    assert_true(fake.service.keeps_heads);
    assert_true(fake.service.measures_cpu);
}

static void reopening_goes_on(void **state)
{
    (void)state;
    log_of = access_log_open(path, "%s", "app.lua");
    assert_non_null(log_of);
    access_log_attach(log_of, &fake.service, 1);
    serve(500);
    unlink(path);
    assert_int_equal(access_log_reopen(log_of, path), 0);
    serve(503);
    access_log_flush(log_of, 100);
    assert_string_equal(written(), "503\n");
    assert_int_equal(access_log_reopen(log_of, "/no/such"), -1);
    assert_int_equal(errno, ENOENT);
}

static void what_cannot_be_opened_is_an_error(void **state)
{
    (void)state;
    assert_null(access_log_open("/no/such", "%s", "app.lua"));
    assert_int_equal(errno, ENOENT);
    serve(500); /* nobody was left attached */
}

static void a_format_is_checked(void **state)
{
    char error[128];

    (void)state;
    assert_null(access_log_check_format("combined", error, sizeof(error)));
    assert_null(access_log_check_format("json", error, sizeof(error)));
    assert_string_equal(access_log_check_format("%y", error, sizeof(error)),
                        "has an unknown directive: %y");
}

static void live(void *arg)
{
    (void)arg;
    fake_service_init(&fake, 64);
    log_of = access_log_open(path, "%s %{A}o", "app.lua");
    if (log_of != NULL)
        access_log_attach(log_of, &fake.service, 1);
    else
        assert_int_equal(errno, ENOMEM);
    serve(500);
    access_log_close(log_of);
    log_of = NULL;
    fake_service_free(&fake);
}

static void without_memory_it_is_not_opened(void **state)
{
    (void)state;
    alloc_each_fails(live, NULL);
    fake_service_init(&fake, 64);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_request_has_a_line),
        TEST(it_says_what_it_needs),
        TEST(lines_wait_for_others_for_a_moment),
        TEST(values_are_noted_once),
        TEST(of_what_is_said_twice_the_last_counts),
        TEST(more_names_than_are_noted_are_looked_up),
        TEST(reopening_goes_on),
        TEST(what_cannot_be_opened_is_an_error),
        TEST(a_format_is_checked),
        TEST(without_memory_it_is_not_opened),
    };

    return cmocka_run_group_tests_name("ops/access_log", tests, NULL, NULL);
}
