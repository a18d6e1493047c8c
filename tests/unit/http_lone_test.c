/* http_lone_test.c -- requests without a connection.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc.h"
#include "fake_service.h"
#include "http/lone.h"

static struct fake_service fake;
static struct lone lone;
static struct {
    int status;
    char reason[64], lines[512], body[512];
    unsigned heads, ends, taken;
    bool not_whole;
} got;

static void append(char *text, size_t room, struct slice bytes)
{
    size_t len = strlen(text);

    assert_true(len + bytes.len < room);
    memcpy(text + len, bytes.data, bytes.len);
    text[len + bytes.len] = '\0';
}

static void on_head(void *arg, int status, struct slice reason,
                    struct slice lines)
{
    assert_ptr_equal(arg, &got);
    got.heads++;
    got.status = status;
    append(got.reason, sizeof(got.reason), reason);
    append(got.lines, sizeof(got.lines), lines);
}

static void on_body(void *arg, struct slice bytes)
{
    (void)arg;
    append(got.body, sizeof(got.body), bytes);
}

static void on_ended(void *arg, bool not_whole)
{
    (void)arg;
    got.ends++;
    got.not_whole = not_whole;
}

static void on_taken(void *arg)
{
    (void)arg;
    got.taken++;
}

static const struct lone_ops ops = { on_head, on_body, on_ended, on_taken };

static int set_up(void **state)
{
    (void)state;
    memset(&got, 0, sizeof(got));
    fake_service_init(&fake, sizeof(void *));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lone_abort(&lone);
    fake_service_free(&fake);
    return 0;
}

static const char *begin(const struct lone_call *call)
{
    return lone_begin(&lone, &fake.service, call, &ops, &got);
}

static void call(const char *target)
{
    const struct lone_call call = { .target = slice_of(target) };

    assert_null(begin(&call));
    assert_int_equal(fake.n_ready, 1);
}

static void expect(const char *name, const char *wanted)
{
    struct slice value;
    bool found = request_param(fake.ready[0], slice_of(name), &value);

    assert_int_equal(found, wanted != NULL);
    if (found && !slice_equal(value, slice_of(wanted)))
        fail_msg("%s is \"%.*s\"", name, (int)value.len, value.data);
}

static void a_path_is_a_get_of_this_machine(void **state)
{
    (void)state;
    call("/a%20b?c=d");
    expect("REQUEST_METHOD", "GET");
    expect("REQUEST_URI", "/a%20b?c=d");
    expect("PATH_INFO", "/a b");
    expect("QUERY_STRING", "c=d");
    expect("HTTP_HOST", "localhost");
    expect("SERVER_PORT", "80");
    expect("CONTENT_LENGTH", NULL);
    expect("REMOTE_ADDR", NULL);
    assert_true(fake.ready[0]->body.ended);
}

static void a_url_has_its_host(void **state)
{
    (void)state;
    call("http://[::1]:81/x");
    expect("HTTP_HOST", "[::1]:81");
    expect("SERVER_NAME", "[::1]");
    expect("SERVER_PORT", "81");
    expect("REQUEST_URI", "/x");
}

static void a_url_may_have_https(void **state)
{
    (void)state;
    call("HTTPS://a.example/x");
    expect("REQUEST_SCHEME", "https");
    expect("HTTPS", "on");
    expect("SERVER_PORT", "443");
    expect("HTTP_HOST", "a.example");
}

static void a_url_with_https_may_have_a_port(void **state)
{
    (void)state;
    call("https://[::1]:444");
    expect("REQUEST_SCHEME", "https");
    expect("SERVER_PORT", "444");
    lone_abort(&lone);
    fake_release(&fake, 0);
    call("https://[::1]");
    expect("SERVER_PORT", "443");
}

static void who_makes_the_fields_may_give_the_length(void **state)
{
    const struct lone_field lengths[] = {
        { slice_of("content-length"), slice_of("9") },
        { slice_of("Transfer-Encoding"), slice_of("chunked") },
    };
    struct lone_call call = { .target = slice_of("/"),
                              .fields = &lengths[0],
                              .count = 1,
                              .has_body = true,
                              .has_length = true,
                              .length = 7 };

    (void)state;
    assert_null(begin(&call));
    expect("CONTENT_LENGTH", "9");
    lone_abort(&lone);
    fake_release(&fake, 0);
    call.fields = &lengths[1];
    assert_null(begin(&call));
    expect("CONTENT_LENGTH", NULL);
}

static void fields_and_parameters_are_added(void **state)
{
    const struct lone_field fields[] = {
        { slice_of("host"), slice_of("a.example") },
        { slice_of("X-B"), slice_of("1") },
        { slice_of("x-b"), slice_of("2") },
    };
    const struct lone_call call = {
        .method = slice_of("POST"),
        .target = slice_of("/"),
        .fields = fields,
        .count = 3,
        .params = slice_of("\x0b\x03REMOTE_USERjoe\x08\x01HTTP_X_Bz"),
        .has_body = true,
        .has_length = true,
        .length = 7,
    };

    (void)state;
    assert_null(begin(&call));
    expect("REQUEST_METHOD", "POST");
    expect("HTTP_HOST", "a.example");
    expect("HTTP_X_B", "z"); /* the first */
    expect("REMOTE_USER", "joe");
    expect("CONTENT_LENGTH", "7");
}

static void what_is_no_request_is_refused(void **state)
{
    static const char *const targets[] = { "",     "x",       "/\n", "/#x",
                                           "/%zz", "http://", "*" };
    const struct lone_field bad = { slice_of("a b"), slice_of("x") };
    const struct lone_field worse = { slice_of("a"), slice_of("x\r\ny: z") };
    struct lone_call call = { .target = { NULL, 0 } };

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        call.target = slice_of(targets[i]);
        assert_non_null(begin(&call));
    }
    call.target = slice_of("/");
    call.method = slice_of("G T");
    assert_non_null(begin(&call));
    call.method.len = 0;
    call.count = 1;
    call.fields = &bad;
    assert_non_null(begin(&call));
    call.fields = &worse;
    assert_non_null(begin(&call));
    call.count = 0;
    fake.roles = 0;
    assert_string_equal(begin(&call), "the script has no on_request");
    fake.roles = 1u << REQUEST_RESPONDER;
    assert_int_equal(fake.n_ready, 0);
    assert_int_equal(fake.service.active, 0);
    assert_null(begin(&call));
}

static void the_answer_is_given_away_as_it_comes(void **state)
{
    struct slice bytes = slice_of("Status: 404 Gone Away\r\nX: 1\r\n\r\nab");

    (void)state;
    call("/");
    response_write(fake.ready[0], &bytes);
    assert_int_equal(got.status, 404);
    assert_string_equal(got.reason, "Gone Away");
    assert_string_equal(got.lines, "X: 1\r\n\r\n");
    assert_string_equal(got.body, "ab");
    assert_int_equal(got.ends, 0);
    response_finish(fake.ready[0], 0);
    assert_int_equal(got.ends, 1);
    assert_false(got.not_whole);
    assert_true(lone.has_ended);
    assert_null(lone.req);
}

static void a_status_without_a_reason_has_its_own(void **state)
{
    (void)state;
    call("/");
    response_set_status(fake.ready[0], 204, (struct slice){ NULL, 0 });
    response_finish(fake.ready[0], 0);
    assert_int_equal(got.status, 204);
    assert_string_equal(got.reason, "No Content");
}

static void an_answer_that_fails_is_not_whole(void **state)
{
    struct slice bytes = slice_of("X: 1\n\na");

    (void)state;
    call("/");
    response_write(fake.ready[0], &bytes);
    response_finish(fake.ready[0], 1);
    assert_int_equal(got.status, 200);
    assert_true(got.not_whole);
}

static void the_length_tells_whether_an_answer_is_whole(void **state)
{
    struct slice bytes = slice_of("Content-length:  3\n\nab");

    (void)state;
    call("/");
    response_write(fake.ready[0], &bytes);
    bytes = slice_of("c");
    response_write(fake.ready[0], &bytes);
    response_finish(fake.ready[0], 1);
    assert_false(got.not_whole);
}

static void an_answer_that_is_too_short_is_not_whole(void **state)
{
    struct slice bytes = slice_of("Content-Length: 3\n\nab");

    (void)state;
    call("/");
    response_write(fake.ready[0], &bytes);
    response_finish(fake.ready[0], 0);
    assert_true(got.not_whole);
}

static void the_page_of_a_failure_is_whole(void **state)
{
    (void)state;
    call("/");
    response_fail(fake.ready[0], 500);
    assert_int_equal(got.status, 500);
    assert_false(got.not_whole);
}

static void a_head_alone_is_whole(void **state)
{
    const struct lone_call call = { .method = slice_of("HEAD"),
                                    .target = slice_of("/") };
    struct slice bytes = slice_of("Content-Length: 3\n\n");

    (void)state;
    assert_null(begin(&call));
    response_write(fake.ready[0], &bytes);
    response_finish(fake.ready[0], 0);
    assert_false(got.not_whole);
}

static void writers_wait_while_much_is_on_its_way(void **state)
{
    static const char zeroes[1000];
    struct slice head = slice_of("X: 1\n\n");
    struct slice bytes = { zeroes, 0 };

    (void)state;
    call("/");
    assert_int_equal(response_write(fake.ready[0], &head), RESPONSE_OK);
    assert_int_equal(response_flush(fake.ready[0]), RESPONSE_OK);
    lone_set_pending(&lone, OUTPUT_HIGH);
    bytes.len = 10;
    assert_int_equal(response_write(fake.ready[0], &bytes), RESPONSE_WAIT);
    assert_int_equal(response_flush(fake.ready[0]), RESPONSE_WAIT);
    lone_set_pending(&lone, 1);
    bytes = slice_of("xy");
    assert_int_equal(response_write(fake.ready[0], &bytes), RESPONSE_OK);
    assert_int_equal(response_flush(fake.ready[0]), RESPONSE_WAIT);
    lone_set_pending(&lone, 0);
    assert_int_equal(response_flush(fake.ready[0]), RESPONSE_OK);
}

static void the_body_comes_in_pieces(void **state)
{
    static const char zeroes[BLOCK_SIZE];
    const struct lone_call call = { .method = slice_of("POST"),
                                    .target = slice_of("/"),
                                    .has_body = true };
    struct slice piece = { zeroes, sizeof(zeroes) }, front;
    struct body *body;

    (void)state;
    assert_null(begin(&call));
    body = &fake.ready[0]->body;
    while (lone_wants_input(&lone))
        assert_true(lone_input(&lone, piece));
    assert_true(body_available(body) >= BODY_WINDOW);
    assert_true(body_available(body) < BODY_WINDOW + BLOCK_SIZE);
    assert_int_equal(request_peek(fake.ready[0], body, BLOCK_SIZE, &front),
                     REQUEST_DATA);
    request_consume(fake.ready[0], body, front.len);
    assert_true(got.taken > 0);
    assert_true(lone_wants_input(&lone));
    lone_input_end(&lone);
    assert_true(body->ended);
    assert_false(lone_wants_input(&lone));
}

static void nobody_may_want_the_answer(void **state)
{
    struct slice bytes = slice_of("X: 1\n\na");

    (void)state;
    call("/");
    lone_abort(&lone);
    assert_int_equal(fake.n_aborted, 1);
    assert_int_equal(response_write(fake.ready[0], &bytes), RESPONSE_ABORTED);
    assert_int_equal(got.heads, 0);
    lone_abort(&lone);
    lone_input_end(&lone);
    assert_true(lone_input(&lone, slice_of("x")));
}

static void whole_exchange(void *arg)
{
    const struct lone_call call = { .method = slice_of("PUT"),
                                    .target = slice_of("/x"),
                                    .has_body = true };

    (void)arg;
    memset(&got, 0, sizeof(got));
    if (begin(&call) != NULL)
        return;
    if (lone_input(&lone, slice_of("abc")))
        lone_input_end(&lone);
    if (fake.n_ready > 0) {
        response_finish(fake.ready[0], 0);
        fake_release(&fake, 0);
    }
    lone_abort(&lone);
}

static void it_lives_without_memory(void **state)
{
    (void)state;
    alloc_each_fails(whole_exchange, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_path_is_a_get_of_this_machine),
        TEST(a_url_has_its_host),
        TEST(a_url_may_have_https),
        TEST(a_url_with_https_may_have_a_port),
        TEST(who_makes_the_fields_may_give_the_length),
        TEST(fields_and_parameters_are_added),
        TEST(what_is_no_request_is_refused),
        TEST(the_answer_is_given_away_as_it_comes),
        TEST(a_status_without_a_reason_has_its_own),
        TEST(an_answer_that_fails_is_not_whole),
        TEST(the_length_tells_whether_an_answer_is_whole),
        TEST(an_answer_that_is_too_short_is_not_whole),
        TEST(the_page_of_a_failure_is_whole),
        TEST(a_head_alone_is_whole),
        TEST(writers_wait_while_much_is_on_its_way),
        TEST(the_body_comes_in_pieces),
        TEST(nobody_may_want_the_answer),
        TEST(it_lives_without_memory),
    };

    return cmocka_run_group_tests_name("http/lone", tests, NULL, NULL);
}
