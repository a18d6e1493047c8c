/* core_response_test.c -- the answer to a request: a head, a body, an end.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/params.h"
#include "fake_exchange.h"
#include "fake_service.h"

static const char fail_500[] = "Status: 500 Internal Server Error\r\n"
                               "Content-Type: text/plain\r\n"
                               "Content-Length: 26\r\n\r\n";

static struct fake_service fake;
static struct fake_exchange peer;
static struct request *req; /* peer's, with a reference of the test */

static int open_role(enum request_role role, const char *method)
{
    fake_service_init(&fake, 64);
    fake_exchange_init(&peer, &fake.service, role);
    if (peer.req == NULL)
        return -1;
    req = request_ref(peer.req);
    params_append(&req->params, slice_of("REQUEST_METHOD"), slice_of(method));
    request_ready(req);
    return 0;
}

static int open_request(const char *method)
{
    return open_role(REQUEST_RESPONDER, method);
}

static int set_up_authorizer(void **state)
{
    (void)state;
    return open_role(REQUEST_AUTHORIZER, "GET");
}

static int set_up(void **state)
{
    (void)state;
    return open_request("GET");
}

static int set_up_head(void **state)
{
    (void)state;
    return open_request("HEAD");
}

static int tear_down(void **state)
{
    (void)state;
    fake_exchange_free(&peer);
    request_unref(req);
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
    assert_int_equal(fake.service.active, 0);
    fake_service_free(&fake);
    return 0;
}

static int again(const char *method)
{
    tear_down(NULL);
    return open_request(method);
}

static enum response_result write_text(const char *text)
{
    struct slice bytes = slice_of(text);
    enum response_result result = response_write(req, &bytes);

    if (result == RESPONSE_OK)
        assert_int_equal(bytes.len, 0);
    return result;
}

static enum response_result header(const char *name, const char *value)
{
    return response_add_header(req, slice_of(name), slice_of(value));
}

static void assert_answer(const char *head, const char *body)
{
    assert_int_equal(peer.heads, 1);
    assert_string_equal(peer.head, head);
    assert_string_equal(peer.body, body);
    assert_int_equal(peer.ends, 1);
}

static size_t given; /* bytes of files */

static void give_file(struct exchange *exchange, struct shared_fd *file,
                      off_t offset, size_t n)
{
    (void)file;
    (void)offset;
    ((struct fake_exchange *)(void *)exchange)->room -= n;
    given += n;
}

static bool takes;

static bool takes_files(const struct exchange *exchange)
{
    (void)exchange;
    return takes;
}

static void files_go_where_the_protocol_takes_them(void **state)
{
    struct shared_fd file = { -1, 1 };
    struct exchange_ops ops = *peer.exchange.ops;
    size_t left = 100000;

    (void)state;
    given = 0;
    response_set_status(req, 200, slice_of(""));
    assert_false(response_takes_files(req));
    ops.takes_files = takes_files;
    ops.file = give_file;
    peer.exchange.ops = &ops;
    takes = false;
    assert_false(response_takes_files(req));
    takes = true;
    assert_true(response_takes_files(req));
    response_reset(req);
    assert_false(response_takes_files(req)); /* whose head? */
    response_set_status(req, 200, slice_of(""));
    assert_int_equal(response_write_file(req, &file, 0, &left), RESPONSE_WAIT);
    assert_int_equal(peer.heads, 1);
    assert_int_equal(given, 64 * 1024);
    assert_int_equal(left, 100000 - given);
    assert_int_equal(response_write_file(req, &file, 0, &left), RESPONSE_WAIT);
    assert_int_equal(given, 64 * 1024); /* there was no room */
    peer.room = 64 * 1024;
    assert_int_equal(response_write_file(req, &file, 0, &left), RESPONSE_OK);
    assert_int_equal(given, 100000);
    assert_int_equal(req->response.body_bytes, 100000);
    response_finish(req, 0);
    assert_false(response_takes_files(req));
    left = 1;
    assert_int_equal(response_write_file(req, &file, 0, &left),
                     RESPONSE_FINISHED);
    again("HEAD");
    peer.exchange.ops = &ops;
    response_set_status(req, 200, slice_of(""));
    assert_false(response_takes_files(req));
    again("GET"); /* that there is no body only its head tells */
    peer.exchange.ops = &ops;
    response_set_status(req, 304, slice_of(""));
    left = 100000;
    assert_int_equal(response_write_file(req, &file, 0, &left), RESPONSE_OK);
    assert_int_equal(left, 0);
    assert_int_equal(given, 100000); /* as before */
    assert_int_equal(req->response.body_bytes, 0);
}

static void the_script_writes_its_head_and_body_in_one(void **state)
{
    (void)state;
    assert_int_equal(write_text("Content-Type: text/plain\r\n\r\nhello"),
                     RESPONSE_OK);
    assert_true(response_is_begun(&req->response));
    response_finish(req, 7);
    assert_answer("Content-Type: text/plain\r\n\r\n", "hello");
    assert_int_equal(peer.app_status, 7);
    assert_int_equal(peer.end, EXCHANGE_COMPLETE);
    assert_int_equal(req->response.body_bytes, 5);
    assert_int_equal(req->response.status, 200);
}

/* Each way to cut head and body in two or three writes, and byte by byte. */
static void a_head_may_come_in_any_pieces(void **state)
{
    static const char whole[] = "Status: 201 Created\nX: y\r\n\nbody\n\n";
    size_t len = sizeof(whole) - 1;

    (void)state;
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            struct slice rest = { whole, len }, part;

            part = slice_take(&rest, a);
            assert_int_equal(response_write(req, &part), RESPONSE_OK);
            part = slice_take(&rest, b - a);
            assert_int_equal(response_write(req, &part), RESPONSE_OK);
            assert_int_equal(response_write(req, &rest), RESPONSE_OK);
            response_finish(req, 0);
            assert_answer("Status: 201 Created\r\nX: y\r\n\r\n", "body\n\n");
            again("GET");
        }
    }
    for (size_t i = 0; i < len; i++) {
        struct slice byte = { whole + i, 1 };

        assert_int_equal(response_write(req, &byte), RESPONSE_OK);
    }
    response_finish(req, 0);
    assert_answer("Status: 201 Created\r\nX: y\r\n\r\n", "body\n\n");
}

static void a_head_leaves_only_when_it_is_complete(void **state)
{
    (void)state;
    write_text("Content-Type: text/plain\r\n");
    assert_int_equal(peer.heads, 0);
    assert_false(response_is_begun(&req->response));
    write_text("\r\n");
    assert_int_equal(peer.heads, 1);
}

static void the_same_head_again_is_known_and_no_other(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct slice first =
            slice_of("Status: 404 Not Found\r\nX: y\r\n\r\nbody");
        struct slice other =
            slice_of("Status: 404 Not Found\r\nX: y\r\nZ: 1\r\n\r\nother");
        struct slice begun = slice_of("Status: 404 Not Found\r\nX: y\r\n");

        assert_int_equal(response_write(req, &first), RESPONSE_OK);
        assert_string_equal(peer.head, "Status: 404 Not Found\r\nX: y\r\n\r\n");
        assert_string_equal(peer.body, "body");
        assert_int_equal(req->response.status, 404);
        fake_exchange_free(&peer);
        request_unref(req);
        fake_exchange_init(&peer, &fake.service, REQUEST_RESPONDER);
        req = request_ref(peer.req);
        request_ready(req);
        assert_int_equal(response_write(req, &begun), RESPONSE_OK);
        assert_int_equal(peer.heads, 0);
        response_reset(req);
        assert_int_equal(response_write(req, &other), RESPONSE_OK);
        assert_string_equal(peer.body, "other");
        fake_exchange_free(&peer);
        request_unref(req);
        fake_exchange_init(&peer, &fake.service, REQUEST_RESPONDER);
        req = request_ref(peer.req);
        request_ready(req);
    }
}

static void a_known_204_drops_its_body_too(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        write_text("Status: 204 No Content\r\n\r\nbody");
        assert_string_equal(peer.body, "");
        fake_exchange_free(&peer);
        request_unref(req);
        fake_exchange_init(&peer, &fake.service, REQUEST_RESPONDER);
        req = request_ref(peer.req);
        request_ready(req);
    }
}

static void a_bad_head_is_a_500_with_a_complaint(void **state)
{
    (void)state;
    assert_int_equal(write_text("hello world\r\n\r\n"), RESPONSE_FINISHED);
    assert_answer(fail_500, "500 Internal Server Error\n");
    assert_int_equal(peer.app_status, 1);
    assert_ptr_equal(strstr(fake.complaint,
                            "the head of the answer is not valid: a line is "
                            "not \"Name: value\" (the first write begins"),
                     fake.complaint);
    assert_int_equal(write_text("more"), RESPONSE_FINISHED);
    response_finish(req, 0);
    assert_int_equal(peer.ends, 1);
}

static void an_unfinished_head_is_a_500(void **state)
{
    (void)state;
    write_text("Content-Type: text/plain\r\n");
    response_finish(req, 0);
    assert_answer(fail_500, "500 Internal Server Error\n");
    assert_non_null(strstr(fake.complaint, "before the empty line"));
}

static void no_answer_at_all_is_a_500(void **state)
{
    (void)state;
    response_finish(req, 0);
    assert_answer(fail_500, "500 Internal Server Error\n");
    assert_non_null(strstr(fake.complaint, "without an answer"));
}

static void a_head_without_end_is_a_500(void **state)
{
    static char lines[RESPONSE_HEAD_MAX + 10];
    struct slice bytes = { lines, sizeof(lines) };

    (void)state;
    memset(lines, 'x', sizeof(lines));
    assert_int_equal(response_write(req, &bytes), RESPONSE_FINISHED);
    assert_answer(fail_500, "500 Internal Server Error\n");
    again("GET");
    for (int i = 0; i < RESPONSE_HEAD_MAX / 64; i++) {
        bytes = (struct slice){ lines, 64 };
        if (response_write(req, &bytes) != RESPONSE_OK)
            break;
    }
    assert_answer(fail_500, "500 Internal Server Error\n");
}

static void the_largest_head_is_taken(void **state)
{
    static char head[RESPONSE_HEAD_MAX];
    struct slice bytes = { head, sizeof(head) }, part;

    (void)state;
    memset(head, 'x', sizeof(head));
    head[1] = ':';
    memcpy(head + sizeof(head) - 4, "\r\n\r\n", 4);
    assert_int_equal(response_write(req, &bytes), RESPONSE_OK);
    assert_int_equal(peer.head_len, sizeof(head));
    again("GET");
    bytes = (struct slice){ head, sizeof(head) };
    part = slice_take(&bytes, 100);
    assert_int_equal(response_write(req, &part), RESPONSE_OK);
    assert_int_equal(response_write(req, &bytes), RESPONSE_OK);
    assert_int_equal(peer.head_len, sizeof(head));
    assert_int_equal(peer.body_len, 0);
}

static void the_gateway_writes_the_head_that_was_set(void **state)
{
    (void)state;
    assert_int_equal(response_set_status(req, 404, slice_of("")), RESPONSE_OK);
    assert_int_equal(header("X", "1"), RESPONSE_OK);
    assert_int_equal(header("Y", "2"), RESPONSE_OK);
    assert_int_equal(peer.heads, 0);
    write_text("gone");
    response_finish(req, 0);
    assert_answer("Status: 404 Not Found\r\nX: 1\r\nY: 2\r\n\r\n", "gone");
    assert_int_equal(req->response.status, 404);
}

static void a_head_that_was_set_needs_no_body(void **state)
{
    (void)state;
    response_set_status(req, 299, slice_of("Fine, Really"));
    response_finish(req, 0);
    assert_answer("Status: 299 Fine, Really\r\n\r\n", "");
    again("GET");
    header("X", "1");
    response_finish(req, 0);
    assert_answer("X: 1\r\n\r\n", "");
    again("GET");
    header("Location", "/there");
    response_finish(req, 0);
    assert_answer("Status: 302 Found\r\nLocation: /there\r\n\r\n", "");
    assert_int_equal(req->response.status, 302);
}

static void headers_are_found_and_removed_in_any_case(void **state)
{
    (void)state;
    header("X-One", "1");
    header("X", "2");
    header("x-one", "3");
    header("Y", "X-One: 4");
    assert_true(response_has_header(req, slice_of("x-ONE")));
    assert_false(response_has_header(req, slice_of("X-On")));
    assert_false(response_has_header(req, slice_of("One")));
    assert_int_equal(response_remove_header(req, slice_of("X-ONE")),
                     RESPONSE_OK);
    assert_false(response_has_header(req, slice_of("x-one")));
    response_remove_header(req, slice_of("absent"));
    response_finish(req, 0);
    assert_answer("X: 2\r\nY: X-One: 4\r\n\r\n", "");
}

static void the_web_servers_own_headers_are_left_out(void **state)
{
    (void)state;
    assert_int_equal(header("Connection", "close"), RESPONSE_OK);
    assert_int_equal(header("transfer-encoding", "chunked"), RESPONSE_OK);
    response_finish(req, 0);
    assert_answer("Status: 200 OK\r\n\r\n", ""); /* never an empty head */
}

static void a_head_that_has_gone_cannot_be_changed(void **state)
{
    (void)state;
    write_text("X: y\r\n");
    assert_int_equal(response_set_status(req, 404, slice_of("")),
                     RESPONSE_LATE);
    assert_int_equal(header("X", "1"), RESPONSE_LATE);
    assert_int_equal(response_remove_header(req, slice_of("X")), RESPONSE_LATE);
    write_text("\r\n");
    assert_int_equal(header("X", "1"), RESPONSE_LATE);
    response_finish(req, 0);
    assert_int_equal(header("X", "1"), RESPONSE_FINISHED);
    assert_int_equal(response_set_status(req, 404, slice_of("")),
                     RESPONSE_FINISHED);
    assert_int_equal(response_remove_header(req, slice_of("X")),
                     RESPONSE_FINISHED);
}

static void headers_have_a_maximum(void **state)
{
    static char value[RESPONSE_HEAD_MAX + 1];

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    assert_int_equal(
        response_add_header(req, slice_of("X"),
                            (struct slice){ value, sizeof(value) }),
        RESPONSE_FULL);
    assert_int_equal(header("X", value), RESPONSE_FULL);
    assert_int_equal(
        response_add_header(req, slice_of("X"),
                            (struct slice){ value, RESPONSE_HEAD_MAX - 5 }),
        RESPONSE_OK);
    assert_int_equal(header("Y", ""), RESPONSE_FULL);
    assert_int_equal(response_set_status(req, 200, slice_of(value)),
                     RESPONSE_FULL);
    value[RESPONSE_REASON_MAX] = '\0';
    assert_int_equal(response_set_status(req, 200, slice_of(value)),
                     RESPONSE_OK);
    response_finish(req, 0);
    assert_int_equal(peer.heads, 1);
    assert_true(peer.head_len > RESPONSE_HEAD_MAX);
    assert_true(peer.head_len < 65535);
    assert_int_equal(peer.app_status, 0);
}

static void a_reset_head_was_never_there(void **state)
{
    (void)state;
    response_set_status(req, 404, slice_of("Where"));
    header("X", "1");
    response_reset(req);
    write_text("A: b\r\n");
    response_reset(req);
    write_text("C: d\r\n\r\n");
    response_reset(req); /* it has gone */
    response_finish(req, 0);
    assert_answer("C: d\r\n\r\n", "");
}

static void some_statuses_drop_the_body(void **state)
{
    static const char *const heads[] = { "Status: 204 No Content\r\n\r\n",
                                         "Status: 304 Not Modified\r\n\r\n" };
    char whole[64];

    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(whole, sizeof(whole), "%sbody", heads[i]);
        peer.room = 0; /* what is dropped needs none */
        assert_int_equal(write_text(whole), RESPONSE_OK);
        assert_int_equal(write_text("more"), RESPONSE_OK);
        response_finish(req, 0);
        assert_answer(heads[i], "");
        assert_int_equal(req->response.body_bytes, 0);
        again("GET");
    }
    response_set_status(req, 304, slice_of(""));
    assert_int_equal(write_text("body"), RESPONSE_OK);
    response_finish(req, 0);
    assert_answer("Status: 304 Not Modified\r\n\r\n", "");
}

static void head_requests_get_no_body(void **state)
{
    (void)state;
    write_text("Content-Length: 5\r\n\r\nhello");
    response_finish(req, 0);
    assert_answer("Content-Length: 5\r\n\r\n", "");
    again("HEAD");
    response_fail(req, 500);
    assert_answer(fail_500, "");
}

static void a_write_waits_where_there_is_no_room(void **state)
{
    struct slice bytes = slice_of("X: y\r\n\r\nhello world");

    (void)state;
    peer.room = 5;
    assert_int_equal(response_write(req, &bytes), RESPONSE_WAIT);
    assert_string_equal(peer.body, "hello");
    assert_true(slice_equal(bytes, slice_of(" world")));
    assert_int_equal(response_write(req, &bytes), RESPONSE_WAIT);
    peer.room = 100;
    assert_int_equal(response_write(req, &bytes), RESPONSE_OK);
    assert_string_equal(peer.body, "hello world");
    assert_int_equal(req->response.body_bytes, 11);
}

static void an_empty_write_sends_nothing(void **state)
{
    (void)state;
    header("X", "y");
    assert_int_equal(write_text(""), RESPONSE_OK);
    assert_int_equal(peer.heads, 0);
    assert_int_equal(header("Z", "a"), RESPONSE_OK);
}

static void a_flush_sends_a_head_that_was_set(void **state)
{
    (void)state;
    assert_int_equal(response_flush(req), RESPONSE_OK);
    assert_int_equal(peer.heads, 0);
    header("X", "y");
    peer.unflushed = true;
    assert_int_equal(response_flush(req), RESPONSE_WAIT);
    assert_int_equal(peer.heads, 1);
    peer.unflushed = false;
    assert_int_equal(response_flush(req), RESPONSE_OK);
    assert_int_equal(peer.heads, 1);
    response_finish(req, 0);
    assert_int_equal(response_flush(req), RESPONSE_FINISHED);
}

static void a_flush_leaves_a_begun_head_alone(void **state)
{
    (void)state;
    write_text("X: y\r\n");
    assert_int_equal(response_flush(req), RESPONSE_OK);
    assert_int_equal(peer.heads, 0);
    write_text("\r\n");
    assert_int_equal(peer.heads, 1);
}

static void errors_go_their_own_way_at_any_time(void **state)
{
    (void)state;
    assert_int_equal(response_write_err(req, slice_of("one ")), RESPONSE_OK);
    write_text("X: y\r\n\r\n");
    assert_int_equal(response_write_err(req, slice_of("two")), RESPONSE_OK);
    assert_string_equal(peer.err, "one two");
    peer.room = 0;
    assert_int_equal(response_write_err(req, slice_of("no")), RESPONSE_WAIT);
    response_finish(req, 0);
    assert_int_equal(response_write_err(req, slice_of("no")),
                     RESPONSE_FINISHED);
    assert_string_equal(peer.err, "one two");
}

static void after_an_abort_nothing_is_sent(void **state)
{
    (void)state;
    write_text("X: y\r\n\r\nhello");
    request_abort(req);
    assert_int_equal(write_text("more"), RESPONSE_ABORTED);
    assert_int_equal(response_write_err(req, slice_of("x")), RESPONSE_ABORTED);
    assert_int_equal(response_flush(req), RESPONSE_ABORTED);
    response_finish(req, 3);
    assert_answer("X: y\r\n\r\n", "hello");
    assert_int_equal(peer.app_status, 3);
}

static void an_aborted_request_ends_without_a_head(void **state)
{
    (void)state;
    request_abort(req);
    response_finish(req, 0);
    assert_int_equal(peer.heads, 0);
    assert_int_equal(peer.ends, 1);
    again("GET");
    request_abort(req);
    response_fail(req, 500);
    assert_int_equal(peer.heads, 0);
    assert_int_equal(peer.ends, 1);
}

static void a_detached_request_may_still_be_finished(void **state)
{
    (void)state;
    fake_exchange_free(&peer);
    assert_int_equal(write_text("X: y\r\n\r\n"), RESPONSE_ABORTED);
    assert_int_equal(response_flush(req), RESPONSE_ABORTED);
    assert_int_equal(response_write_err(req, slice_of("x")), RESPONSE_ABORTED);
    response_finish(req, 0);
    response_fail(req, 500);
    assert_int_equal(peer.ends, 0);
}

static void a_failure_before_the_head_has_its_own_text(void **state)
{
    (void)state;
    response_set_status(req, 200, slice_of("Fine"));
    header("X", "1");
    response_fail(req, 504);
    assert_answer("Status: 504 Gateway Timeout\r\nContent-Type: text/plain\r\n"
                  "Content-Length: 20\r\n\r\n",
                  "504 Gateway Timeout\n");
    assert_int_equal(peer.app_status, 1);
    assert_int_equal(peer.end, EXCHANGE_COMPLETE);
    response_fail(req, 500);
    assert_int_equal(peer.ends, 1);
}

static void a_failure_behind_the_head_is_an_app_status(void **state)
{
    (void)state;
    write_text("X: y\r\n\r\nhello");
    response_fail(req, 500);
    assert_answer("X: y\r\n\r\n", "hello");
    assert_int_equal(peer.app_status, 1);
}

static void overload_is_told_to_the_protocol(void **state)
{
    (void)state;
    response_fail(req, 503);
    assert_int_equal(peer.heads, 1);
    assert_int_equal(peer.end, EXCHANGE_OVERLOADED);
}

static void answer_raw(void *arg)
{
    (void)arg;
    if (open_request("GET") != 0) {
        fake_service_free(&fake);
        return;
    }
    write_text("Status: 404 Not");
    write_text(" Found\n");
    write_text("\nbody");
    response_finish(req, 0);
    assert_int_equal(peer.heads, 1);
    assert_int_equal(peer.ends, 1);
    tear_down(NULL);
}

static void answer_built(void *arg)
{
    bool is_set;

    (void)arg;
    if (open_request("GET") != 0) {
        fake_service_free(&fake);
        return;
    }
    response_set_status(req, 200, slice_of("Fine"));
    is_set = header("X", "1") == RESPONSE_OK;
    write_text("body");
    response_finish(req, 0);
    assert_int_equal(peer.heads, 1);
    assert_int_equal(peer.ends, 1);
    if (is_set && peer.app_status == 0) /* never half of what was set */
        assert_non_null(strstr(peer.head, "X: 1\r\n"));
    tear_down(NULL);
}

static void without_memory_there_is_still_an_answer(void **state)
{
    (void)state;
    alloc_each_fails(answer_raw, NULL);
    alloc_each_fails(answer_built, NULL);
}

/* --- an authorizer's answer ----------------------------------------------- */

static const char refused_403[] = "Status: 403 Forbidden\r\nX: y\r\n\r\n";

static void again_authorizer(void)
{
    void *state = NULL;

    tear_down(&state);
    assert_int_equal(set_up_authorizer(&state), 0);
}

static void an_authorizer_admits_when_it_says_so(void **state)
{
    (void)state;
    header("Variable-A", "b");
    assert_int_equal(response_admit(req), RESPONSE_OK);
    response_finish(req, 0);
    assert_answer("Status: 200 OK\r\nVariable-A: b\r\n\r\n", "");
    assert_int_equal(fake.n_complaints, 0);
    assert_int_equal(response_admit(req), RESPONSE_FINISHED);
}

static void an_authorizers_head_without_a_status_refuses(void **state)
{
    (void)state;
    header("X", "y");
    response_finish(req, 0);
    assert_answer(refused_403, "");
    again_authorizer();
    header("Location", "/login");
    response_finish(req, 0);
    assert_answer("Status: 302 Found\r\nLocation: /login\r\n\r\n", "");
}

static void an_authorizers_status_alone_does_not_admit(void **state)
{
    static const int statuses[] = { 200, 204, 206, 299 };

    (void)state;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
        response_set_status(req, statuses[i], slice_of(""));
        response_finish(req, 0);
        assert_answer(fail_500, "500 Internal Server Error\n");
        assert_int_equal(fake.n_complaints, 1);
        assert_non_null(strstr(fake.complaint, "returning true"));
        again_authorizer();
        response_set_status(req, statuses[i], slice_of(""));
        assert_int_equal(write_text("come in"), RESPONSE_FINISHED);
        assert_answer(fail_500, "500 Internal Server Error\n");
        again_authorizer();
    }
    response_set_status(req, 200, slice_of(""));
    assert_int_equal(response_flush(req), RESPONSE_FINISHED);
    assert_answer(fail_500, "500 Internal Server Error\n");
}

static void an_authorizers_written_head_does_not_admit(void **state)
{
    static const char *const heads[] = {
        "Status: 200 OK\r\n\r\n",           "Status: 200\n\n",
        "Content-Type: text/plain\r\n\r\n", "X: y\nVariable-A: b\n\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n\r\n",  "\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        /* In one piece, then in two. */
        for (size_t first = 0; first < 2; first++) {
            struct slice rest = slice_of(heads[i]);
            struct slice part = slice_take(&rest, first);

            response_write(req, &part);
            assert_int_equal(response_write(req, &rest), RESPONSE_FINISHED);
            assert_answer(fail_500, "500 Internal Server Error\n");
            again_authorizer();
        }
    }
}

/* The head that a responder was sent last is known to be right, for it. */
static void a_known_head_does_not_admit_either(void **state)
{
    struct service *service = &fake.service;

    (void)state;
    memcpy(service->last_head.bytes, "X: y\r\n\r\n", 8);
    service->last_head.len = 8;
    service->last_head.status = 200;
    assert_int_equal(write_text("X: y\r\n\r\ncome in"), RESPONSE_FINISHED);
    assert_answer(fail_500, "500 Internal Server Error\n");
}

static void an_authorizer_cannot_say_both(void **state)
{
    (void)state;
    response_set_status(req, 401, slice_of(""));
    assert_int_equal(response_admit(req), RESPONSE_LATE);
    response_finish(req, 0);
    assert_answer("Status: 401 Unauthorized\r\n\r\n", "");
    again_authorizer();
    write_text("Status: 401\r\n");
    assert_int_equal(response_admit(req), RESPONSE_LATE);
    response_finish(req, 0);
    assert_string_equal(peer.head, fail_500);
}

static void a_reset_takes_the_admission_back(void **state)
{
    (void)state;
    assert_int_equal(response_admit(req), RESPONSE_OK);
    response_reset(req);
    header("X", "y");
    response_finish(req, 0);
    assert_answer(refused_403, "");
    again_authorizer();
    assert_int_equal(response_admit(req), RESPONSE_OK);
    response_fail(req, 500);
    assert_answer(fail_500, "500 Internal Server Error\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#define AUTHORIZER_TEST(f)                                                     \
    cmocka_unit_test_setup_teardown(f, set_up_authorizer, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_go_where_the_protocol_takes_them,
                                        set_up, tear_down),
        TEST(the_script_writes_its_head_and_body_in_one),
        TEST(a_head_may_come_in_any_pieces),
        TEST(a_head_leaves_only_when_it_is_complete),
        TEST(the_same_head_again_is_known_and_no_other),
        TEST(a_known_204_drops_its_body_too),
        TEST(a_bad_head_is_a_500_with_a_complaint),
        TEST(an_unfinished_head_is_a_500),
        TEST(no_answer_at_all_is_a_500),
        TEST(a_head_without_end_is_a_500),
        TEST(the_largest_head_is_taken),
        TEST(the_gateway_writes_the_head_that_was_set),
        TEST(a_head_that_was_set_needs_no_body),
        TEST(headers_are_found_and_removed_in_any_case),
        TEST(the_web_servers_own_headers_are_left_out),
        TEST(a_head_that_has_gone_cannot_be_changed),
        TEST(headers_have_a_maximum),
        TEST(a_reset_head_was_never_there),
        TEST(some_statuses_drop_the_body),
        cmocka_unit_test_setup_teardown(head_requests_get_no_body, set_up_head,
                                        tear_down),
        TEST(a_write_waits_where_there_is_no_room),
        TEST(an_empty_write_sends_nothing),
        TEST(a_flush_sends_a_head_that_was_set),
        TEST(a_flush_leaves_a_begun_head_alone),
        TEST(errors_go_their_own_way_at_any_time),
        TEST(after_an_abort_nothing_is_sent),
        TEST(an_aborted_request_ends_without_a_head),
        TEST(a_detached_request_may_still_be_finished),
        TEST(a_failure_before_the_head_has_its_own_text),
        TEST(a_failure_behind_the_head_is_an_app_status),
        TEST(overload_is_told_to_the_protocol),
        AUTHORIZER_TEST(an_authorizer_admits_when_it_says_so),
        AUTHORIZER_TEST(an_authorizers_head_without_a_status_refuses),
        AUTHORIZER_TEST(an_authorizers_status_alone_does_not_admit),
        AUTHORIZER_TEST(an_authorizers_written_head_does_not_admit),
        AUTHORIZER_TEST(a_known_head_does_not_admit_either),
        AUTHORIZER_TEST(an_authorizer_cannot_say_both),
        AUTHORIZER_TEST(a_reset_takes_the_admission_back),
        cmocka_unit_test(without_memory_there_is_still_an_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
