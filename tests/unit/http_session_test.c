/* http_session_test.c -- what becomes of bytes that may be HTTP.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "core/params.h"
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

static const char hello[] = "Content-Type: text/plain\r\n\r\nhello";

static void expect_in(const char *text, const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("no \"%s\" in \"%s\"", what, text);
}

static void expect_not_in(const char *text, const char *what)
{
    if (strstr(text, what) != NULL)
        fail_msg("\"%s\" in \"%s\"", what, text);
}

static void expect_param(const char *name, const char *wanted)
{
    struct slice value;

    assert_int_equal(rig.fake.n_ready, 1);
    if (wanted == NULL) {
        assert_false(request_param(rig.fake.ready[0], slice_of(name), &value));
        return;
    }
    if (!request_param(rig.fake.ready[0], slice_of(name), &value))
        fail_msg("no %s", name);
    if (!slice_equal(value, slice_of(wanted)))
        fail_msg("%s is \"%.*s\"", name, (int)value.len, value.data);
}

static struct slice read_body(void)
{
    struct slice got = { NULL, 0 };
    struct request *req = rig.fake.ready[0];

    request_peek(req, &req->body, SIZE_MAX, &got);
    return got;
}

/* --- requests --- */

static void a_get_is_answered_and_the_connection_kept(void **state)
{
    const char *text;

    (void)state;
    http_rig_say(&rig, "GET /a%20b/c?x=1&y HTTP/1.1\r\nHost: example.org:81\r\n"
                       "Accept: text/html\r\nX-One: 1\r\nx-one:  2 \r\n\r\n");
    expect_param("REQUEST_METHOD", "GET");
    expect_param("REQUEST_URI", "/a%20b/c?x=1&y");
    expect_param("PATH_INFO", "/a b/c");
    expect_param("SCRIPT_NAME", "");
    expect_param("QUERY_STRING", "x=1&y");
    expect_param("SERVER_PROTOCOL", "HTTP/1.1");
    expect_param("SERVER_NAME", "example.org");
    expect_param("SERVER_PORT", "81");
    expect_param("HTTP_HOST", "example.org:81");
    expect_param("HTTP_ACCEPT", "text/html");
    expect_param("HTTP_X_ONE", "1, 2");
    expect_param("CONTENT_LENGTH", NULL);
    assert_true(rig.fake.ready[0]->body.ended);
    assert_true(rig.wire->ops->is_busy(rig.wire));
    http_rig_reply(&rig, hello);
    text = http_rig_answer(&rig);
    expect_in(text, "HTTP/1.1 200 OK\r\n");
    expect_in(text,
              "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    expect_not_in(text, "Connection:");
    assert_int_equal(rig.wire->state, WIRE_OPEN);
    assert_false(rig.wire->ops->is_busy(rig.wire));
    assert_true(rig.wire->ops->want_read(rig.wire));
}

static void requests_come_in_any_pieces(void **state)
{
    static const char text[] =
        "POST /p HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\n"
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;x=\"y\"\r\ndefgh\r\n"
        "0\r\nTrailing: yes\r\n\r\nGET /q HTTP/1.1\r\nHost: h\r\n\r\n";

    (void)state;
    for (size_t n = 1; n < sizeof(text); n++) {
        struct slice body, next = slice_of(strstr(text, "GET /q"));

        http_rig_close(&rig);
        http_rig_open(&rig);
        http_rig_feed(&rig, (struct slice){ text, (size_t)(next.data - text) },
                      n);
        http_rig_feed(&rig, next, SIZE_MAX);
        expect_param("REQUEST_URI", "/p");
        expect_param("CONTENT_TYPE", "a/b");
        expect_param("HTTP_CONTENT_TYPE", NULL);
        expect_param("HTTP_TRANSFER_ENCODING", NULL);
        expect_param("HTTP_TRAILING", NULL);
        body = read_body();
        assert_true(slice_equal(body, slice_of("abcdefgh")));
        assert_true(rig.fake.ready[0]->body.ended);
        assert_false(rig.wire->ops->want_read(rig.wire));
        http_rig_reply(&rig, hello);
        expect_param("REQUEST_URI", "/q");
        assert_true(rig.wire->ops->want_read(rig.wire));
        http_rig_reply(&rig, hello);
        assert_int_equal(rig.wire->state, WIRE_OPEN);
    }
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    char line[80], *text;

    (void)state;
    for (int i = 0; i < 50; i++) {
        snprintf(line, sizeof(line), "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
        http_rig_say(&rig, line);
        if (i == 0)
            continue;
        assert_int_equal(rig.fake.n_ready, 1); /* one at a time */
        snprintf(line, sizeof(line), "X: %d\r\n\r\n", i - 1);
        http_rig_reply(&rig, line);
    }
    http_rig_reply(&rig, "X: 49\r\n\r\n");
    http_rig_take(&rig, SIZE_MAX);
    text = rig.text;
    for (int i = 0; i < 50; i++) {
        snprintf(line, sizeof(line), "X: %d\r\n", i);
        text = strstr(text, line);
        assert_non_null(text);
    }
}

static void a_loop_that_reads_on_is_not_obeyed_for_ever(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        http_rig_say(&rig, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(rig.wire->state, WIRE_BROKEN);
}

static void ready_at_once(struct service *service, struct request *req)
{
    struct slice rest = slice_of(hello);

    (void)service;
    response_write(req, &rest);
    response_finish(req, 0);
}

/* A block full of requests whose answers come at once: neither the stack nor
 * the output grows with them. */
static void who_reads_no_answers_is_not_read(void **state)
{
    static const char one[] = "GET / HTTP/1.1\r\nHost:h\r\n\r\n";
    static char all[60000];
    struct service_ops ops = *rig.fake.service.ops;
    size_t len = 0;

    (void)state;
    ops.ready = ready_at_once;
    rig.fake.service.ops = &ops;
    while (len + sizeof(one) < sizeof(all)) {
        memcpy(all + len, one, sizeof(one) - 1);
        len += sizeof(one) - 1;
    }
    for (int i = 0; i < 3; i++)
        http_rig_feed(&rig, (struct slice){ all, len }, SIZE_MAX);
    assert_true(rig.wire->out.len < OUTPUT_STOP + 1000);
    assert_false(rig.wire->ops->want_read(rig.wire));
    http_rig_take(&rig, SIZE_MAX);
    while (rig.wire->out.len > 0)
        http_rig_take(&rig, SIZE_MAX);
    assert_int_equal(rig.fake.service.serial, 3 * (len / (sizeof(one) - 1)));
    assert_true(rig.wire->ops->want_read(rig.wire));
}

static void a_body_of_known_length_is_read(void **state)
{
    (void)state;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n"
                       "\r\n01234");
    expect_param("CONTENT_LENGTH", "10");
    assert_true(slice_equal(read_body(), slice_of("01234")));
    assert_false(rig.fake.ready[0]->body.ended);
    http_rig_say(&rig, "56789");
    assert_true(rig.fake.ready[0]->body.ended);
    http_rig_reply(&rig, hello);
    assert_int_equal(rig.wire->state, WIRE_OPEN);
}

static void
an_answer_before_the_end_of_the_body_ends_the_connection(void **state)
{
    (void)state;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n"
                       "\r\n01234");
    http_rig_reply(&rig, hello);
    assert_int_equal(rig.wire->state, WIRE_LINGER);
}

static void a_body_over_its_window_waits_for_its_reader(void **state)
{
    static char piece[16384];
    struct request *req;
    uint64_t sent = 0, got = 0;

    (void)state;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\n"
                       "Content-Length: 10000000\r\n\r\n");
    req = rig.fake.ready[0];
    while (rig.wire->ops->want_read(rig.wire)) {
        http_rig_feed(&rig, (struct slice){ piece, sizeof(piece) }, SIZE_MAX);
        sent += sizeof(piece);
    }
    assert_true(sent >= BODY_WINDOW && sent < 2 * BODY_WINDOW);
    while (!rig.wire->ops->want_read(rig.wire)) {
        struct slice front = read_body();

        assert_true(front.len > 0);
        got += front.len;
        request_consume(req, &req->body, front.len);
    }
    assert_true(got >= BODY_WINDOW / 4);
}

static void an_echo_to_who_reads_late_goes_through_the_file(void **state)
{
    static char piece[16384];
    struct request *req;
    struct slice rest = slice_of("X: y\r\n\r\n");
    uint64_t sent = 0;

    (void)state;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\n"
                       "Content-Length: 10000000\r\n\r\n");
    req = rig.fake.ready[0];
    response_write(req, &rest);
    rest = (struct slice){ piece, sizeof(piece) };
    while (response_write(req, &rest) == RESPONSE_OK)
        rest = (struct slice){ piece, sizeof(piece) };
    while (sent < 4 * BODY_WINDOW) {
        assert_true(rig.wire->ops->want_read(rig.wire));
        http_rig_feed(&rig, (struct slice){ piece, sizeof(piece) }, SIZE_MAX);
        sent += sizeof(piece);
    }
    assert_true(rig.fake.service.spooled > 0);
    http_rig_take(&rig, SIZE_MAX); /* the writer goes on */
    assert_int_equal(response_write(req, &rest), RESPONSE_OK);
}

static void one_hundred_continue_is_said_once_and_only_when_asked(void **state)
{
    (void)state;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                       "Expect: 100-Continue\r\n\r\n");
    assert_string_equal(http_rig_answer(&rig), "HTTP/1.1 100 Continue\r\n\r\n");
    http_rig_say(&rig, "ab");
    http_rig_reply(&rig, hello);
    expect_not_in(http_rig_answer(&rig), "100 Continue");
    http_rig_say(&rig, "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                       "\r\n");
    http_rig_reply(&rig, hello);
    expect_not_in(http_rig_answer(&rig), "100 Continue");
    rig.fake.service.limits.max_body = 1;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                       "Expect: 100-continue\r\n\r\n");
    expect_in(http_rig_answer(&rig), "HTTP/1.1 413 ");
    assert_int_equal(rig.wire->state, WIRE_LINGER);
}

static void what_else_the_client_would_speak_is_not_spoken(void **state)
{
    (void)state;
    http_rig_say(&rig, "GET /1 HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n"
                       "Connection: Upgrade, HTTP2-Settings\r\n"
                       "HTTP2-Settings: AAMAAABk\r\n\r\n");
    expect_param("REQUEST_URI", "/1");
    http_rig_reply(&rig, hello);
    expect_in(http_rig_answer(&rig), "HTTP/1.1 200 OK\r\n");
    http_rig_say(&rig, "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_param("REQUEST_URI", "/2");
}

/* --- connections --- */

static void connections_are_kept_as_both_sides_say(void **state)
{
    static const struct {
        const char *head;
        bool kept;
        const char *says; /* or NULL */
    } cases[] = {
        { "GET / HTTP/1.1\r\nHost: h\r\n\r\n", true, NULL },
        { "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false,
          "Connection: close\r\n" },
        { "GET / HTTP/1.1\r\nHost: h\r\nConnection: a, Close\r\n\r\n", false,
          "Connection: close\r\n" },
        { "GET / HTTP/1.0\r\n\r\n", false, "Connection: close\r\n" },
        { "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true,
          "Connection: keep-alive\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text;

        http_rig_close(&rig);
        http_rig_open(&rig);
        http_rig_say(&rig, cases[i].head);
        http_rig_reply(&rig, "Content-Length: 2\r\n\r\nok");
        text = http_rig_answer(&rig);
        expect_in(text, "Content-Length: 2\r\n");
        expect_in(text, "\r\n\r\nok");
        if (cases[i].says != NULL)
            expect_in(text, cases[i].says);
        else
            expect_not_in(text, "Connection:");
        assert_int_equal(rig.wire->state,
                         cases[i].kept ? WIRE_OPEN : WIRE_LINGER);
    }
}

static void a_peer_that_goes_aborts_its_request(void **state)
{
    (void)state;
    http_rig_say(&rig, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
                       "GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    rig.wire->ops->eof(rig.wire);
    assert_int_equal(rig.fake.n_aborted, 1);
    assert_int_equal(rig.fake.n_ready, 1);
    assert_int_equal(rig.wire->state, WIRE_CLOSE);
    assert_int_equal(rig.fake.service.active, 0);
    assert_false(rig.wire->ops->is_busy(rig.wire));
}

static void a_head_is_owed_from_its_first_byte(void **state)
{
    (void)state;
    assert_true(rig.wire->ops->owed_since(rig.wire) <= 0);
    http_rig_say(&rig, "GET ");
    rig.fake.now += 7;
    http_rig_say(&rig, "/ HTTP/1.1\r\nHost: h\r\n");
    assert_true(rig.wire->ops->owed_since(rig.wire) == 1000);
    http_rig_say(&rig, "\r\n");
    assert_true(rig.wire->ops->owed_since(rig.wire) <= 0);
}

/* --- refusals --- */

#define HEAD "GET / HTTP/1.1\r\nHost: h\r\n"

static void what_is_not_exactly_http_is_refused(void **state)
{
    static const struct {
        const char *text;
        const char *status, *why;
    } cases[] = {
        { "GET / HTTP/1.1\r\n\r\n", "400", "Host is missing" },
        { HEAD "Host: h\r\n\r\n", "400", "two Host" },
        { "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400", "two Host" },
        { "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400", "not a host" },
        { "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400", "not a host" },
        { HEAD "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400",
          "body" },
        { HEAD "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "400",
          "body" },
        { HEAD "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", "400", "" },
        { HEAD "Content-Length: 3, 3\r\n\r\n", "400", "" },
        { HEAD "Content-Length: -3\r\n\r\n", "400", "" },
        { HEAD "Content-Length: +3\r\n\r\n", "400", "" },
        { HEAD "Content-Length: 0x3\r\n\r\n", "400", "" },
        { HEAD "Content-Length:\r\n\r\n", "400", "" },
        { HEAD "Content-Length: 99999999999999999999\r\n\r\n", "400", "" },
        { HEAD "Transfer-Encoding: gzip\r\n\r\n", "", "" },
        { HEAD "Transfer-Encoding: chunked, gzip\r\n\r\n", "", "" },
        { HEAD "Transfer-Encoding: xchunked\r\n\r\n", "", "" },
        { HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
               "\r\n",
          "", "" },
        { "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400", "" },
        { HEAD "Bad Name: x\r\n\r\n", "400", "" },
        { HEAD "Name : x\r\n\r\n", "400", "" },
        { HEAD ": x\r\n\r\n", "400", "" },
        { HEAD "Nothing\r\n\r\n", "400", "" },
        { HEAD "X: a\r\n folded\r\n\r\n", "400", "folded" },
        { HEAD "X: a\r\n\t\r\n\r\n", "400", "folded" },
        { HEAD "X: a\x01z\r\n\r\n", "400", "" },
        { HEAD "X: a\rz\r\n\r\n", "400", "" },
        { HEAD "Expect: wonders\r\n\r\n", "417", "100-continue" },
        { "GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505", "HTTP/1.1" },
        { "GET / HTTP/0.9\r\nHost: h\r\n\r\n", "505", "HTTP/1.1" },
        { "GET / HTTP/1.2\r\nHost: h\r\n\r\n", "505", "HTTP/1.1" },
        { "GET / RTSP/1.0\r\nHost: h\r\n\r\n", "505", "another protocol" },
        { "DESCRIBE / RTSP/1.0\r\n\r\n", "505", "another protocol" },
        { "SOURCE / ICE/1.0\r\nHost: h\r\n\r\n", "505", "another protocol" },
        { "GET / HTTP/11\r\nHost: h\r\n\r\n", "", "" },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", "HTTP/1.1" },
        { "BREW / HTTP/1.1\r\nHost: h\r\n\r\n", "501", "method" },
        { "get / HTTP/1.1\r\nHost: h\r\n\r\n", "501", "method" },
        { "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", "", "" },
        { "GET * HTTP/1.1\r\nHost: h\r\n\r\n", "400", "path" },
        { "GET h HTTP/1.1\r\nHost: h\r\n\r\n", "400", "" },
        { "GET /#x HTTP/1.1\r\nHost: h\r\n\r\n", "400", "" },
        { "GET /a\x7f HTTP/1.1\r\nHost: h\r\n\r\n", "400", "" },
        { "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", "400", "" },
        { "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400", "percent" },
        { "GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n", "400", "percent" },
        { "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", "400", "percent" },
        { "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", "400", "" },
        { "GET http://a@b/x HTTP/1.1\r\nHost: h\r\n\r\n", "400", "" },
        { "GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n", "400", "" },
        { "GET /\r\n\r\n", "", "" },
        { "hello\r\n\r\n", "", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t n = 1; n <= 1000; n *= 10) {
            const char *text;
            char start[32];

            http_rig_close(&rig);
            http_rig_open(&rig);
            http_rig_feed(&rig, slice_of(cases[i].text), n);
            text = http_rig_answer(&rig);
            if (rig.fake.n_ready != 0 || text[0] == '\0')
                fail_msg("served: %s", cases[i].text);
            snprintf(start, sizeof(start), "HTTP/1.1 %s",
                     cases[i].status[0] == '\0' ? "" : cases[i].status);
            if (strncmp(text, start, strlen(start)) != 0 ||
                (text[9] != '4' && text[9] != '5'))
                fail_msg("%s: %s", cases[i].text, text);
            expect_in(text, "Connection: close\r\n");
            expect_in(strstr(text, "\r\n\r\n"), cases[i].why);
            assert_int_equal(rig.wire->state, WIRE_LINGER);
        }
    }
}

static void a_bad_chunk_ends_the_request(void **state)
{
    static const char *const cases[] = { "zz\r\n", "3\r\nabcd\r\n", "-1\r\n",
                                         "fffffffffffffffff\r\n",
                                         "3\r\nabc\r\n0\r\nbad\r\n\r\n" };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        http_rig_close(&rig);
        http_rig_open(&rig);
        http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n");
        assert_int_equal(rig.fake.n_ready, 1);
        http_rig_say(&rig, cases[i]);
        assert_true(rig.fake.ready[0]->is_ended);
        expect_in(http_rig_answer(&rig), "HTTP/1.1 400 ");
        assert_int_equal(rig.wire->state, WIRE_LINGER);
    }
}

static void a_bad_chunk_breaks_an_answer_that_has_begun(void **state)
{
    struct slice rest = slice_of(hello);

    (void)state;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n");
    response_write(rig.fake.ready[0], &rest);
    http_rig_say(&rig, "zz\r\n");
    assert_true(rig.fake.ready[0]->is_aborted);
    assert_int_equal(rig.wire->state, WIRE_BROKEN);
}

/* Endless targets, fields, numbers of fields, blank lines and trailers. */
static void heads_have_an_end(void **state)
{
    static const struct {
        const char *begin, *again, *status;
    } cases[] = {
        { "GET /", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "414" },
        { HEAD "X: ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "431" },
        { HEAD "X", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "431" },
        { HEAD "X:", "                                      ", "431" },
        { HEAD, "A: b\r\n", "431" },
        { "", "\r\n\r\n\r\n\r\n", "4" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t sent = strlen(cases[i].begin);
        char start[16];

        http_rig_close(&rig);
        http_rig_open(&rig);
        http_rig_say(&rig, cases[i].begin);
        while (rig.wire->state == WIRE_OPEN && sent < 2 * HTTP_HEAD_MAX) {
            http_rig_say(&rig, cases[i].again);
            sent += strlen(cases[i].again);
        }
        assert_true(sent <= HTTP_HEAD_MAX + 100);
        snprintf(start, sizeof(start), "HTTP/1.1 %s", cases[i].status);
        expect_in(http_rig_answer(&rig), start);
    }
}

static void trailers_have_an_end(void **state)
{
    size_t sent = 0;

    (void)state;
    http_rig_say(&rig, "POST / HTTP/1.1\r\nHost: h\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n");
    while (rig.wire->state == WIRE_OPEN && sent < 2 * HTTP_HEAD_MAX) {
        http_rig_say(&rig, "Trailing: more and more\r\n");
        sent += 25;
    }
    assert_true(sent <= HTTP_HEAD_MAX + 100);
    expect_in(http_rig_answer(&rig), "HTTP/1.1 431 ");
}

static void a_head_of_the_largest_size_is_served(void **state)
{
    static char name[HTTP_HEAD_MAX];

    (void)state;
    memset(name, 'a', sizeof(name));
    memcpy(name, HEAD "X: ", sizeof(HEAD "X: ") - 1);
    memcpy(name + sizeof(name) - 4, "\r\n\r\n", 4);
    http_rig_feed(&rig, (struct slice){ name, sizeof(name) }, SIZE_MAX);
    assert_int_equal(rig.fake.n_ready, 1);
    http_rig_reply(&rig, hello);
    assert_int_equal(rig.wire->state, WIRE_OPEN);
}

static void who_is_full_or_has_no_hook_says_so(void **state)
{
    (void)state;
    rig.fake.service.limits.max_reqs = 0;
    http_rig_say(&rig, HEAD "\r\n");
    expect_in(http_rig_answer(&rig), "HTTP/1.1 503 ");
    http_rig_close(&rig);
    http_rig_open(&rig);
    rig.fake.roles = 0;
    http_rig_say(&rig, HEAD "\r\n");
    expect_in(http_rig_answer(&rig), "HTTP/1.1 500 ");
    http_rig_close(&rig);
    http_rig_open(&rig);
    rig.fake.service.limits.max_params = 100;
    http_rig_say(&rig, HEAD "\r\n");
    expect_in(http_rig_answer(&rig), "HTTP/1.1 431 ");
}

/* --- without memory --- */

static void play(void *arg)
{
    struct http_rig own;

    (void)arg;
    http_rig_open(&own);
    if (own.wire != NULL) {
        http_rig_say(&own, "POST /a%20b?c HTTP/1.1\r\nHost: h\r\nCookie: a\r\n"
                           "Cookie: b\r\nContent-Length: 5\r\n\r\n01234"
                           "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        if (own.fake.n_ready > 0)
            http_rig_reply(&own, hello);
        http_rig_take(&own, SIZE_MAX);
        if (own.fake.n_ready > 0)
            http_rig_reply(&own, hello);
        http_rig_take(&own, SIZE_MAX);
    }
    http_rig_close(&own);
}

static void it_lives_without_memory(void **state)
{
    (void)state;
    alloc_each_fails(play, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_get_is_answered_and_the_connection_kept),
        TEST(requests_come_in_any_pieces),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(a_loop_that_reads_on_is_not_obeyed_for_ever),
        TEST(who_reads_no_answers_is_not_read),
        TEST(a_body_of_known_length_is_read),
        TEST(an_answer_before_the_end_of_the_body_ends_the_connection),
        TEST(a_body_over_its_window_waits_for_its_reader),
        TEST(an_echo_to_who_reads_late_goes_through_the_file),
        TEST(one_hundred_continue_is_said_once_and_only_when_asked),
        TEST(what_else_the_client_would_speak_is_not_spoken),
        TEST(connections_are_kept_as_both_sides_say),
        TEST(a_peer_that_goes_aborts_its_request),
        TEST(a_head_is_owed_from_its_first_byte),
        TEST(what_is_not_exactly_http_is_refused),
        TEST(a_bad_chunk_ends_the_request),
        TEST(a_bad_chunk_breaks_an_answer_that_has_begun),
        TEST(heads_have_an_end),
        TEST(trailers_have_an_end),
        TEST(a_head_of_the_largest_size_is_served),
        TEST(who_is_full_or_has_no_hook_says_so),
        TEST(it_lives_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
