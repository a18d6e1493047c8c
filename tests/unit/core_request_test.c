/* core_request_test.c -- a request from its first record to its last
 * reference.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/params.h"
#include "fake_exchange.h"
#include "fake_service.h"

static struct fake_service fake;
static struct fake_exchange peer;
static struct service *const service = &fake.service;
static struct request *req; /* peer's, with a reference of the test */

static void open_request(enum request_role role)
{
    fake_exchange_init(&peer, service, role);
    req = peer.req == NULL ? NULL : request_ref(peer.req);
}

static int set_up(void **state)
{
    (void)state;
    fake_service_init(&fake, 64);
    open_request(REQUEST_RESPONDER);
    return req == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_exchange_free(&peer);
    if (req != NULL)
        request_unref(req);
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
    assert_int_equal(service->active, 0);
    assert_int_equal(service->spooled, 0);
    fake_service_free(&fake);
    return 0;
}

static void open_other_role(enum request_role role)
{
    fake_exchange_free(&peer);
    request_unref(req);
    open_request(role);
    assert_non_null(req);
    fake.n_aborted = 0;
}

static void param(const char *name, const char *value)
{
    params_append(&req->params, slice_of(name), slice_of(value));
}

static void input(const char *text)
{
    struct block *block = block_new(&service->blocks);

    if (block == NULL)
        return;
    memcpy(block->data, text, strlen(text));
    request_input(req, &req->body, block,
                  (struct slice){ block->data, strlen(text) }, false);
    block_unref(block);
}

static void assert_read(const char *text)
{
    struct slice got;

    assert_int_equal(request_peek(req, &req->body, SIZE_MAX, &got),
                     REQUEST_DATA);
    assert_true(slice_equal(got, slice_of(text)));
    request_consume(req, &req->body, got.len);
}

static void assert_no_data(enum request_status expected)
{
    struct slice got;
    uint64_t size;

    assert_int_equal(request_peek(req, &req->body, 10, &got), expected);
    assert_int_equal(request_peek_all(req, &req->body, 10, &size),
                     expected == REQUEST_EOF ? REQUEST_DATA : expected);
    assert_int_equal(size, 0);
}

/* The gateway's own answer has gone. */
static void assert_failed(int status)
{
    char line[32];

    snprintf(line, sizeof(line), "Status: %d ", status);
    assert_int_equal(peer.heads, 1);
    assert_int_equal(strncmp(peer.head, line, strlen(line)), 0);
    assert_int_equal(peer.ends, 1);
    assert_int_equal(peer.app_status, 1);
    assert_true(req->is_ended);
}

static void a_new_request_is_counted_until_it_ends(void **state)
{
    (void)state;
    assert_int_equal(service->active, 1);
    assert_int_equal(req->serial, 1);
    assert_true(req->started == fake.now);
    request_ready(req);
    response_fail(req, 500);
    assert_int_equal(service->active, 0);
    assert_true(req->is_ended);
    assert_null(req->exchange);
}

static void complete_parameters_make_it_ready(void **state)
{
    struct slice value;

    (void)state;
    param("REQUEST_METHOD", "GET");
    param("REQUEST_URI", "/");
    request_ready(req);
    assert_int_equal(fake.n_ready, 1);
    assert_true(req->is_ready);
    assert_false(req->is_head);
    assert_true(request_param(req, slice_of("REQUEST_URI"), &value));
    assert_true(slice_equal(value, slice_of("/")));
    assert_false(request_param(req, slice_of("X"), &value));
    assert_false(req->body.ended);
    assert_true(req->data.ended);
}

static void a_request_without_parameters_is_ready_too(void **state)
{
    (void)state;
    request_ready(req);
    assert_int_equal(fake.n_ready, 1);
}

static void the_method_is_exactly_head(void **state)
{
    (void)state;
    param("REQUEST_METHOD", "HEAD");
    request_ready(req);
    assert_true(req->is_head);
    open_other_role(REQUEST_RESPONDER);
    param("REQUEST_METHOD", "head");
    request_ready(req);
    assert_false(req->is_head);
}

static void only_a_positive_content_length_is_expected(void **state)
{
    static const struct {
        const char *value;
        uint64_t expected;
    } lengths[] = {
        { "17", 17 },  { "", 0 },
        { "0", 0 },    { "-1", 0 },
        { "junk", 0 }, { "12x", 0 },
        { " 5", 0 },   { "9223372036854775807", INT64_MAX },
        { "007", 7 },  { "9223372036854775808", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        open_other_role(REQUEST_RESPONDER);
        param("CONTENT_LENGTH", lengths[i].value);
        request_ready(req);
        assert_true(req->body.expected == lengths[i].expected);
        assert_false(req->body.ended);
        fake_release(&fake, 0);
    }
}

static void an_authorizer_gets_no_body(void **state)
{
    (void)state;
    open_other_role(REQUEST_AUTHORIZER);
    param("CONTENT_LENGTH", "5");
    request_ready(req);
    assert_no_data(REQUEST_EOF);
    input("hello");
    assert_no_data(REQUEST_EOF);
}

static void a_filter_gets_two_streams(void **state)
{
    (void)state;
    open_other_role(REQUEST_FILTER);
    request_ready(req);
    assert_false(req->body.ended);
    assert_false(req->data.ended);
}

static void broken_parameters_are_a_400(void **state)
{
    (void)state;
    buffer_append(&req->params, slice_of("\x7f\x01x"));
    request_ready(req);
    assert_int_equal(fake.n_ready, 0);
    assert_failed(400);
}

static void too_many_parameters_are_a_431(void **state)
{
    (void)state;
    req->params_too_large = true;
    request_ready(req);
    assert_int_equal(fake.n_ready, 0);
    assert_failed(431);
}

static void a_promise_of_too_large_a_body_is_a_413(void **state)
{
    (void)state;
    service->limits.max_body = 10;
    param("CONTENT_LENGTH", "11");
    request_ready(req);
    assert_int_equal(fake.n_ready, 0);
    assert_failed(413);
    open_other_role(REQUEST_RESPONDER);
    param("CONTENT_LENGTH", "10");
    request_ready(req);
    assert_int_equal(fake.n_ready, 1);
}

static void the_body_is_read_as_it_comes(void **state)
{
    struct slice got;

    (void)state;
    request_ready(req);
    assert_no_data(REQUEST_WAIT);
    input("hello");
    assert_int_equal(request_peek(req, &req->body, 3, &got), REQUEST_DATA);
    assert_true(slice_equal(got, slice_of("hel")));
    assert_int_equal(peer.consumed, 0);
    request_consume(req, &req->body, 3);
    assert_int_equal(peer.consumed, 1);
    assert_read("lo");
    assert_no_data(REQUEST_WAIT);
    request_input_end(req, &req->body);
    assert_no_data(REQUEST_EOF);
}

static void an_early_end_of_the_body_reads_as_aborted(void **state)
{
    (void)state;
    param("CONTENT_LENGTH", "10");
    request_ready(req);
    input("hello");
    request_input_end(req, &req->body);
    assert_read("hello");
    assert_no_data(REQUEST_ABORTED);
}

static void the_whole_body_is_there_when_it_has_ended(void **state)
{
    uint64_t size;

    (void)state;
    request_ready(req);
    input("hello");
    assert_int_equal(request_peek_all(req, &req->body, 10, &size),
                     REQUEST_WAIT);
    assert_int_equal(request_peek_all(req, &req->body, 4, &size),
                     REQUEST_TOO_LARGE);
    request_input_end(req, &req->body);
    assert_int_equal(request_peek_all(req, &req->body, 5, &size), REQUEST_DATA);
    assert_int_equal(size, 5);
    assert_int_equal(request_peek_all(req, &req->body, 4, &size),
                     REQUEST_TOO_LARGE);
}

static void a_body_that_will_be_too_large_is_known_early(void **state)
{
    uint64_t size;

    (void)state;
    param("CONTENT_LENGTH", "10");
    request_ready(req);
    input("ab");
    assert_int_equal(request_peek_all(req, &req->body, 9, &size),
                     REQUEST_TOO_LARGE);
    assert_int_equal(request_peek_all(req, &req->body, 10, &size),
                     REQUEST_WAIT);
    assert_read("ab");
    assert_int_equal(request_peek_all(req, &req->body, 8, &size), REQUEST_WAIT);
    assert_int_equal(request_peek_all(req, &req->body, 7, &size),
                     REQUEST_TOO_LARGE);
}

static void over_the_maximum_the_answer_is_413(void **state)
{
    (void)state;
    service->limits.max_body = 8;
    request_ready(req);
    input("hello");
    input("hello");
    assert_failed(413);
    assert_no_data(REQUEST_TOO_LARGE);
    input("more");
    request_input_end(req, &req->body);
    assert_no_data(REQUEST_TOO_LARGE);
}

static void without_space_for_the_body_it_is_413_with_a_complaint(void **state)
{
    struct block *block = block_new(&service->blocks);

    (void)state;
    request_ready(req);
    service->limits.max_spool = 3;
    request_input(req, &req->body, block, (struct slice){ "hello", 5 }, true);
    block_unref(block);
    assert_failed(413);
    assert_int_equal(fake.n_complaints, 1);
    assert_non_null(strstr(fake.complaint, "--max-spool"));
}

static void a_body_that_cannot_be_read_back_is_a_503(void **state)
{
    struct block *block = block_new(&service->blocks);
    struct slice got;

    (void)state;
    request_ready(req);
    request_input(req, &req->body, block, (struct slice){ "hello", 5 }, true);
    block_unref(block);
    assert_int_equal(ftruncate(req->body.fd, 0), 0);
    assert_int_equal(request_peek(req, &req->body, 10, &got), REQUEST_ABORTED);
    assert_failed(503);
    assert_int_equal(peer.end, EXCHANGE_OVERLOADED);
}

static void after_the_answer_the_rest_was_dropped(void **state)
{
    (void)state;
    request_ready(req);
    input("hello");
    response_fail(req, 500);
    assert_no_data(REQUEST_FINISHED);
    input("more");
    assert_no_data(REQUEST_FINISHED);
}

static void what_had_arrived_is_read_after_an_abort(void **state)
{
    (void)state;
    request_ready(req);
    input("hello");
    request_abort(req);
    assert_read("hello");
    assert_no_data(REQUEST_ABORTED);
}

static void what_had_arrived_is_read_after_a_lost_connection(void **state)
{
    (void)state;
    request_ready(req);
    input("hello");
    fake_exchange_free(&peer);
    assert_int_equal(service->active, 0);
    assert_int_equal(fake.n_aborted, 1);
    assert_read("hello");
    assert_no_data(REQUEST_ABORTED);
}

static void an_abort_is_told_once_and_only_when_it_was_ready(void **state)
{
    (void)state;
    request_abort(req);
    assert_int_equal(fake.n_aborted, 0);
    open_other_role(REQUEST_RESPONDER);
    request_ready(req);
    request_abort(req);
    request_abort(req);
    request_detach(req);
    request_detach(req);
    assert_int_equal(fake.n_aborted, 1);
    assert_int_equal(service->active, 0);
    request_unref(peer.req);
    peer.req = NULL;
}

static void an_ended_request_is_not_aborted(void **state)
{
    (void)state;
    request_ready(req);
    response_fail(req, 500);
    request_abort(req);
    request_detach(req);
    assert_false(req->is_aborted);
    assert_int_equal(fake.n_aborted, 0);
}

/* --- waiters --- */

struct waiter {
    struct request_waiter waiter;
    char name;
    bool again;
};

static char heard[16];

static void wake(struct request_waiter *link)
{
    struct waiter *waiter = (struct waiter *)(void *)link;

    strncat(heard, &waiter->name, 1);
    if (waiter->again)
        request_wait(req, link);
}

static void wait_as(struct waiter *waiter, char name)
{
    *waiter = (struct waiter){ .waiter.wake = wake, .name = name };
    list_init(&waiter->waiter.link);
    request_wait(req, &waiter->waiter);
}

static void waiters_hear_the_next_news_once_in_their_order(void **state)
{
    struct waiter a, b;

    (void)state;
    heard[0] = '\0';
    request_ready(req);
    wait_as(&a, 'a');
    wait_as(&b, 'b');
    b.again = true;
    input("x");
    assert_string_equal(heard, "ab");
    input("x");
    assert_string_equal(heard, "abb");
    b.again = false;
    request_input_end(req, &req->body);
    assert_string_equal(heard, "abbb");
    request_input_end(req, &req->body); /* no news */
    wait_as(&a, 'a');
    request_input_end(req, &req->body);
    assert_string_equal(heard, "abbb");
    list_remove(&a.waiter.link);
}

static void abort_and_end_are_news(void **state)
{
    struct waiter a;

    (void)state;
    heard[0] = '\0';
    request_ready(req);
    wait_as(&a, 'a');
    request_abort(req);
    assert_string_equal(heard, "a");
    wait_as(&a, 'b');
    response_finish(req, 0);
    assert_string_equal(heard, "ab");
}

static void a_waiter_that_left_hears_nothing(void **state)
{
    struct waiter a;

    (void)state;
    heard[0] = '\0';
    wait_as(&a, 'a');
    list_remove(&a.waiter.link);
    request_wake(req);
    assert_string_equal(heard, "");
}

/* Nobody reads the rest: its protocol must hear that reading may go on. */
static void dropping_the_input_is_told_to_the_protocol(void **state)
{
    (void)state;
    request_ready(req);
    input("hello");
    request_drop_input(req);
    assert_int_equal(body_available(&req->body), 0);
    assert_int_equal(peer.consumed, 1);
    input("more");
    assert_int_equal(body_available(&req->body), 0);
}

static void a_used_request_keeps_little_memory_for_the_next(void **state)
{
    struct request *next;
    struct exchange exchange = { NULL };

    (void)state;
    fake_exchange_free(&peer);
    param("A", "b");
    request_unref(req);
    next = request_new(service, REQUEST_RESPONDER, &exchange);
    assert_non_null(next);
    assert_int_equal(next->params.len, 0);
    assert_int_equal(next->params.max, service->limits.max_params);
    assert_int_equal(next->serial, 2);
    request_detach(next);
    buffer_reserve(&next->params, PARAMS_KEEP + 1);
    request_unref(next);
    req = request_new(service, REQUEST_RESPONDER, &exchange);
    assert_non_null(req);
    assert_int_equal(req->params.cap, 0);
    request_detach(req);
}

/* --- observers ------------------------------------------------------------ */

static struct {
    struct service_observer observer;
    unsigned n;
    const struct request *req;
    int status;
    bool is_head_sent, is_aborted;
    uint64_t body_bytes;
    char head[256];
} seen;

static void see(struct service_observer *observer, const struct request *which)
{
    const struct response *response = &which->response;

    assert_ptr_equal(observer, &seen.observer);
    seen.n++;
    seen.req = which;
    seen.status = response->status;
    seen.is_head_sent = response->is_head_sent;
    seen.is_aborted = which->is_aborted;
    seen.body_bytes = response->body_bytes;
    snprintf(seen.head, sizeof(seen.head), "%.*s", (int)response->sent_head.len,
             response->sent_head.data);
}

static void observe(bool wants_head)
{
    memset(&seen, 0, sizeof(seen));
    seen.observer.ended = see;
    seen.observer.wants_head = wants_head;
    service_observe(service, &seen.observer);
}

static void an_observer_hears_once_of_an_answer(void **state)
{
    struct slice hello = slice_of("hello");

    (void)state;
    observe(true);
    peer.room = SIZE_MAX;
    request_ready(req);
    response_set_status(req, 201, slice_of(""));
    assert_int_equal(response_write(req, &hello), RESPONSE_OK);
    assert_int_equal(seen.n, 0);
    response_finish(req, 0);
    assert_int_equal(seen.n, 1);
    assert_ptr_equal(seen.req, req);
    assert_true(seen.is_head_sent);
    assert_false(seen.is_aborted);
    assert_int_equal(seen.status, 201);
    assert_int_equal(seen.body_bytes, 5);
    assert_string_equal(seen.head, "Status: 201 Created\r\n\r\n");
    request_detach(req);
    assert_int_equal(seen.n, 1);
}

static void an_observer_hears_of_the_gateways_own_answers(void **state)
{
    (void)state;
    observe(false);
    req->params_too_large = true;
    request_ready(req);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.status, 431);
    assert_int_equal(seen.body_bytes, peer.body_len);
    assert_true(peer.body_len > 0);
    assert_string_equal(seen.head, "");
}

static void an_observer_hears_once_of_an_abort(void **state)
{
    (void)state;
    observe(false);
    request_ready(req);
    response_set_status(req, 201, slice_of(""));
    request_abort(req);
    assert_int_equal(seen.n, 0);
    response_finish(req, 0);
    assert_int_equal(seen.n, 1);
    assert_true(seen.is_aborted);
    assert_false(seen.is_head_sent); /* nobody got it */
}

static void an_observer_hears_once_of_a_lost_connection(void **state)
{
    (void)state;
    observe(false);
    request_ready(req);
    fake_exchange_free(&peer);
    assert_int_equal(seen.n, 1);
    assert_true(seen.is_aborted);
    response_finish(req, 0);
    assert_int_equal(seen.n, 1);
}

static void a_request_that_is_disowned_is_told_of_as_refused(void **state)
{
    (void)state;
    observe(false);
    request_disown(req);
    assert_int_equal(seen.n, 0);
    assert_int_equal(service->active, 0);
    request_refused(service, fake.now, false, 24);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.status, 503);
    assert_int_equal(seen.body_bytes, 24);
    assert_true(seen.is_head_sent);
    request_refused(service, fake.now, true, 0);
    assert_int_equal(seen.n, 2);
    assert_true(seen.is_aborted);
    assert_false(seen.is_head_sent);
    request_unref(peer.req);
    peer.req = NULL;
}

static void a_sound_id_of_the_web_server_is_taken(void **state)
{
    static const char *const bad[] = { "", "a b", "a\n", "\x7f" };
    char buffer[REQUEST_ID_MAX];

    (void)state;
    assert_true(slice_equal(request_id(req, buffer), slice_of("1")));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        req->params.len = 0;
        param("HTTP_X_REQUEST_ID", bad[i]);
        assert_true(slice_equal(request_id(req, buffer), slice_of("1")));
    }
    req->params.len = 0;
    param("HTTP_X_REQUEST_ID", "a-b.1");
    assert_true(slice_equal(request_id(req, buffer), slice_of("a-b.1")));
}

static void live(void *arg)
{
    struct slice got;

    (void)arg;
    fake_service_init(&fake, 64);
    open_request(REQUEST_RESPONDER);
    if (req != NULL) {
        param("CONTENT_LENGTH", "10");
        request_ready(req);
        input("hello");
        if (request_peek(req, &req->body, 10, &got) == REQUEST_DATA)
            request_consume(req, &req->body, got.len);
        input("hello");
        request_input_end(req, &req->body);
        response_finish(req, 0);
        assert_int_equal(peer.ends, 1);
        assert_int_equal(service->active, 0);
    }
    tear_down(NULL);
}

static void without_memory_it_ends_all_the_same(void **state)
{
    (void)state;
    alloc_each_fails(live, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_request_is_counted_until_it_ends),
        TEST(complete_parameters_make_it_ready),
        TEST(a_request_without_parameters_is_ready_too),
        TEST(the_method_is_exactly_head),
        TEST(only_a_positive_content_length_is_expected),
        TEST(an_authorizer_gets_no_body),
        TEST(a_filter_gets_two_streams),
        TEST(broken_parameters_are_a_400),
        TEST(too_many_parameters_are_a_431),
        TEST(a_promise_of_too_large_a_body_is_a_413),
        TEST(the_body_is_read_as_it_comes),
        TEST(an_early_end_of_the_body_reads_as_aborted),
        TEST(the_whole_body_is_there_when_it_has_ended),
        TEST(a_body_that_will_be_too_large_is_known_early),
        TEST(over_the_maximum_the_answer_is_413),
        TEST(without_space_for_the_body_it_is_413_with_a_complaint),
        TEST(a_body_that_cannot_be_read_back_is_a_503),
        TEST(after_the_answer_the_rest_was_dropped),
        TEST(what_had_arrived_is_read_after_an_abort),
        TEST(what_had_arrived_is_read_after_a_lost_connection),
        TEST(an_abort_is_told_once_and_only_when_it_was_ready),
        TEST(an_ended_request_is_not_aborted),
        TEST(waiters_hear_the_next_news_once_in_their_order),
        TEST(abort_and_end_are_news),
        TEST(a_waiter_that_left_hears_nothing),
        TEST(dropping_the_input_is_told_to_the_protocol),
        TEST(a_used_request_keeps_little_memory_for_the_next),
        TEST(an_observer_hears_once_of_an_answer),
        TEST(an_observer_hears_of_the_gateways_own_answers),
        TEST(an_observer_hears_once_of_an_abort),
        TEST(an_observer_hears_once_of_a_lost_connection),
        TEST(a_request_that_is_disowned_is_told_of_as_refused),
        TEST(a_sound_id_of_the_web_server_is_taken),
        cmocka_unit_test(without_memory_it_ends_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
