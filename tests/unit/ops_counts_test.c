/* ops_counts_test.c -- each end of a request is counted as what it is.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_exchange.h"
#include "fake_service.h"
#include "ops/counts.h"

#include <time.h>

static struct fake_service fake;
static struct service *const service = &fake.service;
static struct fake_exchange exchange;
static struct board_slot slot;
static struct counts counts;

static int set_up(void **state)
{
    (void)state;
    fake_service_init(&fake, 8);
    memset(&slot, 0, sizeof(slot));
    counts_init(&counts, service, &slot);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_service_free(&fake);
    return 0;
}

static uint64_t n(enum board_count count)
{
    return slot.counters.n[count];
}

static double monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A request that began so long ago is answered with that status. */
static void serve(int status, double age)
{
    fake_exchange_init(&exchange, service, REQUEST_RESPONDER);
    exchange.req->started = monotonic() - age;
    exchange.req->body.received = 7;
    response_answer(exchange.req, status, slice_of(""), slice_of("12345"));
    assert_null(exchange.req);
}

static void answers_are_counted_by_status_and_duration(void **state)
{
    (void)state;
    counts_attach(&counts, service);
    serve(200, 0);
    serve(204, 0);
    serve(302, 0.3);
    serve(404, 7);
    serve(500, 100);
    assert_int_equal(n(COUNT_REQUESTS), 5);
    assert_int_equal(n(COUNT_STATUS_2XX), 2);
    assert_int_equal(n(COUNT_STATUS_3XX), 1);
    assert_int_equal(n(COUNT_STATUS_4XX), 1);
    assert_int_equal(n(COUNT_STATUS_5XX), 1);
    assert_int_equal(n(COUNT_STATUS_NONE), 0);
    assert_int_equal(n(COUNT_BYTES_IN), 5 * 7);
    assert_int_equal(n(COUNT_BYTES_OUT), 4 * 5); /* 204 has none */
    assert_int_equal(n(COUNT_BUCKET + BOARD_BUCKETS - 1), 1);
    assert_int_equal(n(COUNT_BUCKET + board_bucket(7)), 1);
    assert_true(n(COUNT_NANOSECONDS) >= 107300000000);
}

static void a_client_that_leaves_gets_no_status(void **state)
{
    (void)state;
    counts_attach(&counts, service);
    fake_exchange_init(&exchange, service, REQUEST_RESPONDER);
    fake_exchange_free(&exchange);
    assert_int_equal(n(COUNT_REQUESTS), 1);
    assert_int_equal(n(COUNT_STATUS_NONE), 1);
    assert_int_equal(n(COUNT_ABORTED), 1);
}

static void refusals_are_counted(void **state)
{
    (void)state;
    counts_attach(&counts, service);
    request_refused(service, monotonic(), false, 24);
    request_refused(service, monotonic(), true, 0);
    counts_publish(&counts, false);
    assert_int_equal(n(COUNT_REQUESTS), 2);
    assert_int_equal(n(COUNT_REFUSED), 1);
    assert_int_equal(n(COUNT_STATUS_5XX), 1);
    assert_int_equal(n(COUNT_ABORTED), 1);
}

static void pages_are_not_requests(void **state)
{
    (void)state;
    counts_attach(&counts, service);
    fake_exchange_init(&exchange, service, REQUEST_RESPONDER);
    exchange.req->is_page = true;
    service->on_pages++;
    service->paged++;
    response_answer(exchange.req, 200, slice_of(""), slice_of("pong"));
    counts_publish(&counts, false);
    assert_int_equal(n(COUNT_REQUESTS), 0);
    assert_int_equal(n(COUNT_STATUS_2XX), 0);
    assert_int_equal(n(COUNT_PAGES), 1);
    assert_int_equal(service->on_pages, 0);
}

static void without_a_page_to_show_them_requests_are_only_counted(void **state)
{
    (void)state;
    serve(200, 0);
    serve(200, 0);
    service->accepted = 4;
    service->timeouts = 1;
    service->slow = 2;
    service->filled = 3;
    counts_publish(&counts, true);
    assert_int_equal(n(COUNT_ACCEPTED), 4);
    assert_int_equal(n(COUNT_REQUESTS), 2);
    assert_int_equal(n(COUNT_TIMEOUTS), 1);
    assert_int_equal(n(COUNT_SLOW), 2);
    assert_int_equal(n(COUNT_FULL), 3);
    assert_int_equal(n(COUNT_STATUS_2XX), 0);
    assert_true(n(COUNT_CPU) > 0);
    counts_attach(&counts, service); /* it never goes back */
    serve(200, 0);
    counts_publish(&counts, false);
    assert_int_equal(n(COUNT_REQUESTS), 3);
    assert_int_equal(n(COUNT_STATUS_2XX), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_are_counted_by_status_and_duration),
        TEST(a_client_that_leaves_gets_no_status),
        TEST(refusals_are_counted),
        TEST(pages_are_not_requests),
        TEST(without_a_page_to_show_them_requests_are_only_counted),
    };

    return cmocka_run_group_tests_name("ops/counts", tests, NULL, NULL);
}
