/* fcgi_session_test.c -- FastCGI on one connection: records in.
 *
 * The rules are those of FastCGI 1.0; what it leaves open is decided as the
 * web servers need it.  Each test plays the web server (fcgi_peer.h) and the
 * handler.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "fcgi_peer.h"

#define HELLO "X: y\r\n\r\nhello"
#define TOLD_HELLO "[X: y\\r\\n\\r\\nhello]"
#define HELLO_1 "STDOUT 1 " TOLD_HELLO "\nSTDOUT 1 end\nEND 1 app 0 status 0\n"

static unsigned elsewhere; /* requests of a connection that is not played */
static char some[BODY_WINDOW + BLOCK_SIZE]; /* bytes without meaning */

static int set_up(void **state)
{
    (void)state;
    fake_service_init(&fake, fcgi_stream_size());
    log_set_level(LOG_LEVEL_ERROR); /* protocol errors are meant */
    memset(some, 's', sizeof(some));
    return peer_open() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    if (wire != NULL)
        assert_sound();
    peer_close();
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
    assert_int_equal(service->active, elsewhere);
    elsewhere = 0;
    assert_int_equal(service->spooled, 0);
    fake_service_free(&fake);
    return 0;
}

/* A new connection to a new service. */
static void start_again(void)
{
    tear_down(NULL);
    assert_int_equal(set_up(NULL), 0);
}

static void assert_broken(void)
{
    feed();
    assert_int_equal(wire->state, WIRE_BROKEN);
    assert_false(wire->ops->want_read(wire));
    start_again();
}

/* Another connection holds all the requests that there may be. */
static void fill_up(void)
{
    service->limits.max_reqs = 1;
    service->active = elsewhere = 1;
}

/* Puts n bytes of body in records of the largest even size. */
static void put_body(int type, unsigned id, size_t n)
{
    for (size_t part; n > 0; n -= part) {
        part = n < 32768 ? n : 32768;
        put_record(type, id, some, part);
    }
}

/* --- requests --- */

static void a_request_is_ready_at_the_end_of_its_parameters(void **state)
{
    struct slice value;

    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_param(1, "REQUEST_URI=/x");
    feed();
    assert_int_equal(fake.n_ready, 0);
    assert_true(wire->ops->is_busy(wire));
    put_end(FCGI_PARAMS, 1);
    feed();
    assert_int_equal(fake.n_ready, 1);
    assert_true(request_param(fake.ready[0], slice_of("REQUEST_URI"), &value));
    assert_true(slice_equal(value, slice_of("/x")));
    assert_int_equal(wire->out.len, 0);
}

static void an_answer_is_stdout_its_end_and_end_request(void **state)
{
    (void)state;
    put_request(1, KEEP);
    feed();
    answer(0, HELLO, 0);
    assert_string_equal(answers(), HELLO_1);
    assert_int_equal(wire->state, WIRE_OPEN);
    assert_false(wire->ops->is_busy(wire));
}

static void the_app_status_is_the_handlers(void **state)
{
    (void)state;
    put_request(1, KEEP);
    feed();
    answer(0, HELLO, 0xfedcba98u);
    assert_non_null(strstr(answers(), "END 1 app 4275878552 status 0\n"));
}

static void an_id_is_used_again_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        put_request(1, KEEP);
        put_end(FCGI_STDIN, 1);
        feed();
        assert_int_equal(fake.n_ready, 1);
        answer(0, HELLO, 0);
        if (i % 3 == 0) /* with and without the last answer being read */
            answers();
    }
    assert_int_equal(wire->state, WIRE_OPEN);
}

static void every_id_from_1_to_65535_is_used(void **state)
{
    static const unsigned ids[] = { 1, 2, 255, 256, 257, 32768, 65534, 65535 };
    char expected[64];

    (void)state;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        put_request(ids[i], KEEP);
        feed();
        answer(0, HELLO, 0);
        snprintf(expected, sizeof(expected), "END %u app 0 status 0\n", ids[i]);
        assert_non_null(strstr(answers(), expected));
    }
}

/* Ids that share a slot of the table, and more than it has slots. */
static void a_thousand_ids_at_once_are_kept_apart(void **state)
{
    enum { N = 60 };

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        char pair[32];

        put_begin(1 + i * 1024, REQUEST_RESPONDER, KEEP);
        snprintf(pair, sizeof(pair), "N=%u", i);
        put_param(1 + i * 1024, pair);
    }
    for (unsigned i = 100; i < 1000; i++)
        put_begin(i * 2, REQUEST_RESPONDER, KEEP);
    feed();
    assert_sound();
    assert_int_equal(session_in()->count, 960);
    for (unsigned i = N; i-- > 0;)
        put_end(FCGI_PARAMS, 1 + i * 1024);
    feed();
    assert_int_equal(fake.n_ready, N);
    for (unsigned i = 0; i < N; i++) {
        struct slice value;
        char number[8];

        snprintf(number, sizeof(number), "%u", N - 1 - i);
        assert_true(request_param(fake.ready[i], slice_of("N"), &value));
        assert_true(slice_equal(value, slice_of(number)));
    }
    while (fake.n_ready > 0)
        answer(fake.n_ready - 1, HELLO, 0);
    assert_sound();
    assert_int_equal(session_in()->count, 900);
}

static void records_of_an_inactive_id_are_ignored(void **state)
{
    static const int types[] = { FCGI_ABORT_REQUEST,
                                 FCGI_END_REQUEST,
                                 FCGI_PARAMS,
                                 FCGI_STDIN,
                                 FCGI_STDOUT,
                                 FCGI_STDERR,
                                 FCGI_DATA,
                                 FCGI_GET_VALUES,
                                 FCGI_GET_VALUES_RESULT,
                                 FCGI_UNKNOWN_TYPE,
                                 0,
                                 99 };

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        put_text(types[i], 7, "content");
        put_end(types[i], 7);
    }
    feed();
    assert_string_equal(answers(), "");
    assert_int_equal(wire->state, WIRE_OPEN);
    assert_int_equal(session_in()->count, 0);
}

static void unknown_types_of_an_active_id_are_ignored(void **state)
{
    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_text(99, 1, "content");
    put_text(0, 1, "content");
    put_text(FCGI_STDOUT, 1, "content");
    put_text(FCGI_END_REQUEST, 1, "content");
    put_end(FCGI_STDERR, 1);
    put_end(FCGI_PARAMS, 1);
    put_text(255, 1, "content");
    put_text(FCGI_GET_VALUES, 1, "content");
    put_text(FCGI_STDIN, 1, "body");
    feed();
    assert_int_equal(fake.n_ready, 1);
    assert_int_equal(body_available(&fake.ready[0]->body), 4);
    answer(0, HELLO, 0);
    assert_string_equal(answers(), HELLO_1);
}

static void stdin_after_the_end_is_ignored(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_text(FCGI_STDIN, 1, "body");
    put_end(FCGI_STDIN, 1);
    put_text(FCGI_STDIN, 1, "more");
    put_end(FCGI_STDIN, 1);
    feed();
    assert_int_equal(swallow(fake.ready[0], &fake.ready[0]->body), 4);
    assert_int_equal(wire->state, WIRE_OPEN);
}

/* The old body still trickles in when its id is used again. */
static void the_rest_of_an_answered_body_is_dropped(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_text(FCGI_STDIN, 1, "body");
    feed();
    answer(0, HELLO, 0);
    put_text(FCGI_STDIN, 1, "trickle");
    put_end(FCGI_STDIN, 1);
    put_request(1, KEEP);
    put_text(FCGI_STDIN, 1, "new");
    put_end(FCGI_STDIN, 1);
    feed();
    assert_int_equal(fake.n_ready, 1);
    assert_int_equal(swallow(fake.ready[0], &fake.ready[0]->body), 3);
}

/* The answer goes out in the middle of one of its STDIN records. */
static void a_request_may_end_within_its_own_record(void **state)
{
    static const char content[] = "0123456789";

    (void)state;
    padding = 3;
    put_request(1, KEEP);
    put_record(FCGI_STDIN, 1, content, 10);
    to_send_len -= 8;
    feed();
    answer(0, HELLO, 0);
    assert_string_equal(answers(), HELLO_1);
    put_bytes("56789zzz", 8);
    put_request(1, KEEP);
    feed();
    assert_int_equal(fake.n_ready, 1);
    assert_int_equal(body_available(&fake.ready[0]->body), 0);
}

static void parameters_come_in_any_records(void **state)
{
    char pairs[512];
    size_t len = 0;
    struct slice value;

    (void)state;
    memcpy(pairs, "\x01\x80\0\x01\x2c", 5); /* a value of 300 bytes */
    len = 5;
    pairs[len++] = 'A';
    memset(pairs + len, 'v', 300);
    len += 300;
    memcpy(pairs + len,
           "\x01\x01"
           "Bb",
           4);
    len += 4;
    for (size_t step = 1; step < len; step = step * 2 + 1) {
        put_begin(1, REQUEST_RESPONDER, KEEP);
        for (size_t at = 0; at < len; at += step)
            put_record(FCGI_PARAMS, 1, pairs + at,
                       step < len - at ? step : len - at);
        put_end(FCGI_PARAMS, 1);
        feed();
        assert_true(request_param(fake.ready[0], slice_of("A"), &value));
        assert_int_equal(value.len, 300);
        assert_true(request_param(fake.ready[0], slice_of("B"), &value));
        answer(0, HELLO, 0);
    }
}

static void an_authorizer_has_no_body(void **state)
{
    (void)state;
    put_begin(1, REQUEST_AUTHORIZER, KEEP);
    put_end(FCGI_PARAMS, 1);
    feed();
    assert_true(fake.ready[0]->body.ended);
    put_text(FCGI_STDIN, 1, "not for it"); /* of a peer that sends one */
    put_end(FCGI_STDIN, 1);
    feed();
    assert_int_equal(body_available(&fake.ready[0]->body), 0);
    assert_int_equal(response_admit(fake.ready[0]), RESPONSE_OK);
    answer(0, "", 0);
    assert_string_equal(answers(), "STDOUT 1 [Status: 200 OK\\r\\n\\r\\n]\n"
                                   "STDOUT 1 end\nEND 1 app 0 status 0\n");
}

static void a_filter_gets_stdin_and_then_data(void **state)
{
    (void)state;
    put_begin(1, REQUEST_FILTER, KEEP);
    put_end(FCGI_PARAMS, 1);
    put_text(FCGI_STDIN, 1, "form");
    put_end(FCGI_STDIN, 1);
    put_text(FCGI_DATA, 1, "file data");
    feed();
    assert_int_equal(swallow(fake.ready[0], &fake.ready[0]->body), 4);
    assert_int_equal(swallow(fake.ready[0], &fake.ready[0]->data), 9);
    assert_false(fake.ready[0]->data.ended);
    put_end(FCGI_DATA, 1);
    feed();
    assert_true(fake.ready[0]->data.ended);
}

static void data_for_a_responder_is_ignored(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_text(FCGI_DATA, 1, "file data");
    put_end(FCGI_DATA, 1);
    feed();
    assert_int_equal(body_available(&fake.ready[0]->data), 0);
    assert_int_equal(wire->state, WIRE_OPEN);
}

static void the_content_length_ends_a_body_too(void **state)
{
    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_param(1, "CONTENT_LENGTH=4");
    put_end(FCGI_PARAMS, 1);
    put_text(FCGI_STDIN, 1, "body and more");
    feed();
    assert_true(fake.ready[0]->body.ended);
    assert_int_equal(swallow(fake.ready[0], &fake.ready[0]->body), 4);
    answer(0, HELLO, 0);
    assert_string_equal(answers(), HELLO_1);
}

static void the_empty_record_before_the_content_length_means_abort(void **state)
{
    struct slice got;

    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_param(1, "CONTENT_LENGTH=10");
    put_end(FCGI_PARAMS, 1);
    put_text(FCGI_STDIN, 1, "body");
    put_end(FCGI_STDIN, 1);
    feed();
    assert_int_equal(swallow(fake.ready[0], &fake.ready[0]->body), 4);
    assert_int_equal(request_peek(fake.ready[0], &fake.ready[0]->body, 1, &got),
                     REQUEST_ABORTED);
    assert_int_equal(wire->state, WIRE_OPEN);
}

static void broken_parameters_are_a_400(void **state)
{
    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_text(FCGI_PARAMS, 1, "\x7f\x01x");
    put_end(FCGI_PARAMS, 1);
    feed();
    assert_int_equal(fake.n_ready, 0);
    assert_non_null(strstr(answers(), "STDOUT 1 [Status: 400 Bad Request\\r"));
    assert_non_null(strstr(told, "STDOUT 1 end\nEND 1 app 1 status 0\n"));
    assert_int_equal(wire->state, WIRE_OPEN);
}

/* --- fragmentation and padding --- */

/* Three requests at once, cut into pieces of each other, and what is not
 * theirs between them. */
static void put_conversation(void)
{
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_begin(300, REQUEST_FILTER, KEEP);
    put_param(1, "REQUEST_METHOD=POST");
    put_get_values("FCGI_MAX_REQS");
    put_begin(2, 9, KEEP);
    put_begin(2, REQUEST_RESPONDER, KEEP);
    put_param(300, "A=b");
    put_text(FCGI_PARAMS, 1,
             "\x0e\x01"
             "CONTENT_LEN");
    put_end(FCGI_PARAMS, 300);
    put_text(99, 0, "what is this");
    put_text(FCGI_PARAMS, 1, "GTH5");
    put_text(FCGI_STDIN, 300, "form");
    put_end(FCGI_PARAMS, 1);
    put_text(FCGI_STDIN, 77, "nobody's");
    put_text(FCGI_STDIN, 1, "he");
    put_text(FCGI_DATA, 300, "da");
    put_end(FCGI_PARAMS, 2);
    put_end(FCGI_STDIN, 300);
    put_text(FCGI_STDIN, 1, "llo");
    put_end(FCGI_STDIN, 2);
    put_text(FCGI_DATA, 300, "ta");
    put_begin(4, REQUEST_RESPONDER, KEEP);
    put_text(FCGI_ABORT_REQUEST, 4, "");
    put_end(FCGI_STDIN, 1);
    put_end(FCGI_DATA, 300);
    put_begin(5, REQUEST_RESPONDER, KEEP);
    put_text(FCGI_PARAMS, 5, "\x01");
    put_end(FCGI_PARAMS, 5);
}

static void echo_all(void)
{
    while (fake.n_ready > 0) {
        struct request *req = fake.ready[0];
        char text[256] = "X: y\r\n\r\n";
        struct slice got;

        for (int i = 0; i < 2; i++) {
            struct body *body = i == 0 ? &req->body : &req->data;

            strcat(text, i == 0 ? "body " : " data ");
            while (request_peek(req, body, 50, &got) == REQUEST_DATA) {
                strncat(text, got.data, got.len);
                request_consume(req, body, got.len);
            }
            strcat(text, body->ended ? "." : "?");
        }
        answer(0, text, 0);
    }
}

static const char conversation_answer[] =
    "VALUES 0 FCGI_MAX_REQS=1024\n"
    "END 2 app 0 status 3\n"
    "UNKNOWN 0 type 99\n"
    "END 4 app 0 status 0\n"
    "STDOUT 5 [Status: 400 Bad Request\\r\\nContent-Type: text/plain\\r\\n"
    "Content-Length: 16\\r\\n\\r\\n400 Bad Request\\n]\n"
    "STDOUT 5 end\n"
    "END 5 app 1 status 0\n"
    "STDOUT 300 [X: y\\r\\n\\r\\nbody form. data data.]\n"
    "STDOUT 300 end\n"
    "END 300 app 0 status 0\n"
    "STDOUT 1 [X: y\\r\\n\\r\\nbody hello. data .]\n"
    "STDOUT 1 end\n"
    "END 1 app 0 status 0\n"
    "STDOUT 2 [X: y\\r\\n\\r\\nbody . data .]\n"
    "STDOUT 2 end\n"
    "END 2 app 0 status 0\n";

static void assert_conversation(void)
{
    echo_all();
    assert_string_equal(answers(), conversation_answer);
    assert_int_equal(wire->state, WIRE_OPEN);
    assert_false(wire->ops->is_busy(wire));
    assert_true(wire->ops->owed_since(wire) <= 0);
    assert_sound();
}

static void any_step_of_reading_gives_the_same_answers(void **state)
{
    (void)state;
    for (size_t step = 1; step < 1200; step += step < 70 ? 1 : 97) {
        put_conversation();
        feed_in_steps(step);
        assert_conversation();
        start_again();
    }
}

static void any_two_pieces_give_the_same_answers(void **state)
{
    size_t len;

    (void)state;
    put_conversation();
    len = to_send_len;
    for (size_t cut = 0; cut <= len; cut++) {
        to_send_len = 0;
        put_conversation();
        feed_bytes(to_send, cut);
        assert_sound();
        feed_bytes(to_send + cut, len - cut);
        assert_conversation();
        start_again();
    }
}

static void any_padding_gives_the_same_answers(void **state)
{
    (void)state;
    for (unsigned pad = 0; pad <= 255; pad++) {
        padding = pad;
        put_conversation();
        if (pad % 3 == 0)
            feed_in_steps(1 + pad * 7 % 61);
        else
            feed();
        assert_conversation();
        start_again();
    }
}

static void the_largest_record_is_65798_bytes(void **state)
{
    (void)state;
    padding = 255;
    put_request(1, KEEP);
    put_record(FCGI_STDIN, 1, some, 65535);
    put_record(FCGI_STDIN, 1, some, 65535);
    put_end(FCGI_STDIN, 1);
    feed();
    assert_int_equal(swallow(fake.ready[0], &fake.ready[0]->body), 131070);
    assert_true(fake.ready[0]->body.ended);
}

static void the_end_of_a_stream_is_heard_before_its_padding(void **state)
{
    (void)state;
    padding = 255;
    put_request(1, KEEP);
    to_send_len -= 255;
    feed();
    assert_int_equal(fake.n_ready, 1);
    answer(0, HELLO, 0);
    assert_string_equal(answers(), HELLO_1);
    put_bytes(some, 255);
    padding = 0;
    put_request(1, KEEP);
    feed();
    assert_int_equal(fake.n_ready, 1);
}

/* --- management records --- */

static void get_values_is_answered_at_once_without_a_request(void **state)
{
    (void)state;
    service->limits.max_conns = 12;
    put_get_values("FCGI_MAX_CONNS ABC");
    feed();
    assert_string_equal(answers(), "VALUES 0 FCGI_MAX_CONNS=12\n");
    assert_int_equal(wire->state, WIRE_OPEN);
    assert_false(wire->ops->is_busy(wire));
}

static void get_values_may_ask_for_nothing(void **state)
{
    (void)state;
    put_end(FCGI_GET_VALUES, 0);
    padding = 8;
    put_end(FCGI_GET_VALUES, 0);
    feed_in_steps(3);
    assert_string_equal(answers(), "VALUES 0\nVALUES 0\n");
}

static void get_values_may_be_as_long_as_a_record(void **state)
{
    static char names[65535];

    (void)state;
    for (size_t i = 0; i + 5 <= sizeof(names) - 17; i += 5)
        memcpy(names + i, "\x03\0ABC", 5);
    memset(names + 65515, 0, 4); /* two empty pairs */
    memcpy(names + 65535 - 17, "\x0f\0FCGI_MPXS_CONNS", 17);
    put_record(FCGI_GET_VALUES, 0, names, sizeof(names));
    feed();
    assert_int_equal(strncmp(answers(), "VALUES 0", 8), 0);
    assert_int_equal(session_in()->values.cap, 0);
}

static void broken_values_are_answered_up_to_the_break(void **state)
{
    (void)state;
    put_get_values("FCGI_MAX_REQS xxx");
    to_send[FCGI_HEADER_LEN + 15] = 4; /* a name of four bytes */
    feed();
    assert_string_equal(answers(), "VALUES 0 FCGI_MAX_REQS=1024\n");
}

static void values_are_told_while_a_request_runs(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_get_values("FCGI_MAX_REQS");
    feed();
    write_to(fake.ready[0], "X: y\r\n\r\nhel");
    put_end(FCGI_GET_VALUES, 0);
    feed();
    answer(0, "lo", 0);
    assert_string_equal(answers(), "VALUES 0 FCGI_MAX_REQS=1024\n"
                                   "STDOUT 1 [X: y\\r\\n\\r\\nhel]\n"
                                   "VALUES 0\n"
                                   "STDOUT 1 [lo]\n"
                                   "STDOUT 1 end\n"
                                   "END 1 app 0 status 0\n");
}

static void every_unknown_management_type_is_told_back(void **state)
{
    (void)state;
    for (int type = 10; type < 256; type++) {
        char expected[32];

        put_text(type, 0, type % 2 == 0 ? "content" : "");
        feed_in_steps(5);
        snprintf(expected, sizeof(expected), "UNKNOWN 0 type %d\n", type);
        assert_string_equal(answers(), expected);
    }
    put_text(0, 0, "content");
    feed();
    assert_string_equal(answers(), "UNKNOWN 0 type 0\n");
    assert_int_equal(wire->state, WIRE_OPEN);
}

/* Eight bytes in, sixteen out: they count towards the marks of the output. */
static void a_flood_of_management_records_stops_the_reading(void **state)
{
    size_t fed = 0;

    (void)state;
    while (wire->ops->want_read(wire)) {
        for (int i = 0; i < 1000; i++)
            put_end(99, 0);
        fed += to_send_len;
        feed();
        assert_true(fed <= OUTPUT_STOP);
    }
    assert_in_range(wire->out.len, OUTPUT_STOP, OUTPUT_STOP + 16000);
    drain(wire->out.len - OUTPUT_STOP + 1);
    assert_true(wire->ops->want_read(wire));
}

/* --- roles and refusals --- */

#define TOLD_503(id)                                                           \
    "STDOUT " id " [Status: 503 Service Unavailable\\r\\n"                     \
    "Content-Type: text/plain\\r\\n\\r\\n503 Service Unavailable\\n]\n"        \
    "STDOUT " id " end\nEND " id " app 0 status 2\n"

static void an_unknown_role_ends_at_once(void **state)
{
    (void)state;
    put_begin(1, 0, KEEP);
    put_begin(2, 4, KEEP);
    put_begin(3, 0x0101, KEEP);
    put_begin(65535, 65535, KEEP);
    put_end(FCGI_PARAMS, 1); /* of an inactive id */
    feed();
    assert_string_equal(answers(), "END 1 app 0 status 3\n"
                                   "END 2 app 0 status 3\n"
                                   "END 3 app 0 status 3\n"
                                   "END 65535 app 0 status 3\n");
    assert_int_equal(wire->state, WIRE_OPEN);
    assert_int_equal(service->active, 0);
}

#define TOLD_NO_HOOK(id)                                                       \
    "STDOUT " id " [Status: 500 Internal Server Error\\r\\n"                   \
    "Content-Type: text/plain\\r\\n\\r\\n500 Internal Server Error\\n]\n"      \
    "STDOUT " id " end\nEND " id " app 0 status 3\n"

/* With a text: web servers do not look at the protocol status, and to some an
 * end without a head is a success. */
static void a_role_without_a_hook_is_unknown(void **state)
{
    (void)state;
    fake.roles = 1u << REQUEST_RESPONDER;
    put_begin(1, REQUEST_AUTHORIZER, KEEP);
    put_begin(2, REQUEST_FILTER, KEEP);
    put_begin(3, REQUEST_RESPONDER, KEEP);
    feed();
    assert_string_equal(answers(), "");
    put_end(FCGI_PARAMS, 2);
    put_end(FCGI_PARAMS, 1);
    put_text(FCGI_DATA, 2, "of an inactive id");
    feed();
    assert_string_equal(answers(), TOLD_NO_HOOK("2") TOLD_NO_HOOK("1"));
    assert_int_equal(session_in()->count, 1);
    assert_int_equal(session_in()->refused, 0);
}

static void a_role_without_a_hook_may_be_aborted(void **state)
{
    (void)state;
    fake.roles = 1u << REQUEST_RESPONDER;
    put_begin(1, REQUEST_AUTHORIZER, NO_FLAGS);
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_string_equal(answers(), "END 1 app 0 status 0\n");
    assert_int_equal(wire->state, WIRE_LINGER);
}

static void endless_roles_without_a_hook_are_ended_at_once(void **state)
{
    (void)state;
    service->limits.max_reqs = 1;
    fake.roles = 1u << REQUEST_RESPONDER;
    put_begin(1, REQUEST_FILTER, KEEP);
    put_begin(2, REQUEST_FILTER, KEEP);
    feed();
    assert_string_equal(answers(), "END 2 app 0 status 3\n");
    assert_int_equal(session_in()->refused, 1);
}

/* An end without a head would let the client in behind lighttpd. */
static void an_authorizer_is_never_ended_without_a_head(void **state)
{
    (void)state;
    service->limits.max_reqs = 1;
    put_begin(1, REQUEST_AUTHORIZER, KEEP);
    put_begin(2, REQUEST_AUTHORIZER, KEEP);
    put_end(FCGI_PARAMS, 2);
    feed();
    assert_string_equal(answers(), TOLD_503("2"));
    put_begin(2, REQUEST_AUTHORIZER, KEEP);
    put_begin(3, REQUEST_AUTHORIZER, KEEP);
    feed();
    assert_string_equal(answers(), "");
    assert_int_equal(wire->state, WIRE_BROKEN);
}

static void an_unknown_role_without_keep_conn_ends_the_connection(void **state)
{
    (void)state;
    put_begin(1, 9, NO_FLAGS);
    feed();
    assert_string_equal(answers(), "END 1 app 0 status 3\n");
    assert_int_equal(wire->state, WIRE_LINGER); /* its PARAMS are coming */
}

static void the_other_bits_of_the_flags_are_ignored(void **state)
{
    (void)state;
    put_request(1, 0xff);
    put_request(2, 0xff);
    feed();
    answer(0, HELLO, 0);
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_OPEN);
    put_request(1, 0xfe);
    put_end(FCGI_STDIN, 1);
    feed();
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_CLOSE);
}

static void one_too_many_is_refused_at_the_end_of_its_parameters(void **state)
{
    (void)state;
    service->limits.max_reqs = 2;
    put_request(1, KEEP);
    put_request(2, KEEP);
    put_begin(3, REQUEST_RESPONDER, KEEP);
    put_param(3, "A=b");
    feed();
    assert_string_equal(answers(), "");
    assert_int_equal(service->active, 2);
    put_end(FCGI_PARAMS, 3);
    put_text(FCGI_STDIN, 3, "of an inactive id");
    feed();
    assert_string_equal(answers(), TOLD_503("3"));
    assert_int_equal(fake.n_ready, 2);
    answer(0, HELLO, 0);
    answers();
    put_request(3, KEEP);
    feed();
    assert_int_equal(fake.n_ready, 2);
    assert_int_equal(wire->state, WIRE_OPEN);
}

static void endless_refused_ids_are_refused_at_once(void **state)
{
    (void)state;
    service->limits.max_reqs = 2;
    for (unsigned id = 1; id <= 10; id++)
        put_begin(id, REQUEST_RESPONDER, KEEP);
    feed();
    assert_int_equal(session_in()->count, 4);
    assert_int_equal(session_in()->refused, 2);
    assert_string_equal(answers(), "END 5 app 0 status 2\n"
                                   "END 6 app 0 status 2\n"
                                   "END 7 app 0 status 2\n"
                                   "END 8 app 0 status 2\n"
                                   "END 9 app 0 status 2\n"
                                   "END 10 app 0 status 2\n");
    put_end(FCGI_PARAMS, 3);
    put_begin(5, REQUEST_RESPONDER, KEEP);
    put_begin(6, REQUEST_RESPONDER, KEEP);
    feed();
    assert_string_equal(answers(), TOLD_503("3") "END 6 app 0 status 2\n");
    assert_sound();
}

/* --- pages of the gateway's own --- */

static bool is_page(const struct service_pages *pages,
                    const struct request *req)
{
    struct slice name;

    (void)pages;
    return request_param(req, slice_of("SCRIPT_NAME"), &name) &&
           slice_equal(name, slice_of("/page"));
}

static void answer_page(struct service_pages *pages, struct request *req)
{
    (void)pages;
    response_answer(req, 200, slice_of("X: y\r\n"), slice_of("page"));
}

static struct service_pages pages = { .wants = is_page, .answer = answer_page };

static void put_page(unsigned id)
{
    put_begin(id, REQUEST_RESPONDER, KEEP);
    put_param(id, "SCRIPT_NAME=/page");
    put_end(FCGI_PARAMS, id);
    put_end(FCGI_STDIN, id);
}

#define TOLD_PAGE(id)                                                          \
    "STDOUT " id " [Status: 200 OK\\r\\nX: y\\r\\nContent-Length: 4"           \
    "\\r\\n\\r\\npage]\n"                                                      \
    "STDOUT " id " end\nEND " id " app 0 status 0\n"

static void pages_are_answered_where_there_is_no_place(void **state)
{
    (void)state;
    service->pages = &pages;
    fill_up();
    put_page(1);
    put_request(2, KEEP);
    put_page(3);
    feed();
    assert_string_equal(answers(), TOLD_PAGE("1") TOLD_503("2") TOLD_PAGE("3"));
    assert_int_equal(fake.n_ready, 0);
    assert_int_equal(service->paged, 2);
    assert_int_equal(service->refused, 1);
    assert_int_equal(service->filled, 1);
    assert_int_equal(service->surplus, 0);
    assert_int_equal(service->on_pages, 0);
    assert_int_equal(session_in()->refused, 0);
    assert_sound();
}

static void pages_are_answered_where_there_is_no_hook(void **state)
{
    (void)state;
    service->pages = &pages;
    fake.roles = 1u << REQUEST_AUTHORIZER;
    put_page(1);
    feed();
    assert_string_equal(answers(), TOLD_PAGE("1"));
    put_begin(2, REQUEST_AUTHORIZER, KEEP); /* only for responders */
    put_param(2, "SCRIPT_NAME=/page");
    put_end(FCGI_PARAMS, 2);
    feed();
    assert_string_equal(answers(), "");
    assert_int_equal(fake.n_ready, 1);
    response_fail(fake.ready[0], 403);
    fake_release(&fake, 0);
}

static void what_may_be_for_a_page_takes_little_room(void **state)
{
    (void)state;
    service->pages = &pages;
    fill_up();
    for (unsigned id = 1; id <= PAGES_AT_ONCE + 4u; id++)
        put_begin(id, REQUEST_RESPONDER, KEEP);
    feed();
    assert_int_equal(service->surplus, PAGES_AT_ONCE);
    assert_int_equal(service_active(service), elsewhere);
    assert_int_equal(session_in()->refused, 1); /* as many as max_reqs */
    answers();
    for (unsigned id = 1; id <= PAGES_AT_ONCE; id++)
        put_end(FCGI_PARAMS, id);
    feed();
    assert_int_equal(service->surplus, 0);
    assert_int_equal(service->refused, PAGES_AT_ONCE + 3);
    assert_sound();
}

static void who_leaves_before_it_is_known_to_be_for_a_page(void **state)
{
    (void)state;
    service->pages = &pages;
    fill_up();
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_begin(2, REQUEST_RESPONDER, KEEP);
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_string_equal(answers(), "END 1 app 0 status 0\n");
    assert_int_equal(service->surplus, 1);
    wire->ops->eof(wire);
    assert_int_equal(service->surplus, 0);
    assert_int_equal(service_active(service), elsewhere);
}

static void too_many_parameters_are_for_no_page(void **state)
{
    (void)state;
    service->pages = &pages;
    service->limits.max_params = 10;
    fill_up();
    put_page(1);
    feed();
    assert_string_equal(answers(), TOLD_503("1"));
    assert_int_equal(service->surplus, 0);
}

static unsigned n_seen, n_seen_503, n_seen_aborted;

static void see(struct service_observer *observer, const struct request *req)
{
    (void)observer;
    n_seen++;
    if (req->is_aborted)
        n_seen_aborted++;
    else if (req->response.is_head_sent && req->response.status == 503)
        n_seen_503++;
}

static void every_request_that_was_begun_is_told_of_once(void **state)
{
    struct service_observer observer = { .ended = see };

    (void)state;
    n_seen = n_seen_503 = n_seen_aborted = 0;
    service_observe(service, &observer);
    service->limits.max_reqs = 2;
    put_request(1, KEEP);
    put_request(2, KEEP);
    put_begin(3, REQUEST_RESPONDER, KEEP); /* refused */
    put_begin(4, REQUEST_RESPONDER, KEEP); /* likewise */
    put_begin(5, REQUEST_RESPONDER, KEEP); /* at once */
    put_end(FCGI_PARAMS, 3);
    feed();
    assert_int_equal(n_seen, 2);
    assert_int_equal(n_seen_503, 2);
    answer(0, HELLO, 0);
    assert_int_equal(n_seen, 3);
    put_end(FCGI_ABORT_REQUEST, 4);
    feed();
    assert_int_equal(n_seen_aborted, 1);
    put_begin(6, REQUEST_RESPONDER, KEEP);
    put_begin(7, REQUEST_RESPONDER, KEEP); /* refused */
    feed();
    peer_close();
    assert_int_equal(n_seen, 7);
    assert_int_equal(n_seen_aborted, 4);
}

static void a_refused_request_may_be_aborted(void **state)
{
    (void)state;
    fill_up();
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_param(1, "A=b");
    put_end(FCGI_ABORT_REQUEST, 1);
    put_end(FCGI_PARAMS, 1);
    feed();
    assert_string_equal(answers(), "END 1 app 0 status 0\n");
    assert_int_equal(session_in()->count, 0);
    assert_int_equal(wire->state, WIRE_OPEN);
}

static void an_aborted_refused_request_may_end_the_connection(void **state)
{
    (void)state;
    fill_up();
    put_begin(1, REQUEST_RESPONDER, NO_FLAGS);
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_string_equal(answers(), "END 1 app 0 status 0\n");
    assert_int_equal(wire->state, WIRE_LINGER);
}

/* The last of the requests beside one that ended the connection. */
static void an_aborted_refused_request_may_be_the_last(void **state)
{
    (void)state;
    service->limits.max_reqs = 1;
    put_request(1, NO_FLAGS);
    put_end(FCGI_STDIN, 1);
    put_begin(2, REQUEST_RESPONDER, KEEP);
    feed();
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_OPEN);
    put_end(FCGI_ABORT_REQUEST, 2);
    feed();
    assert_non_null(strstr(answers(), "END 2 app 0 status 0\n"));
    assert_int_not_equal(wire->state, WIRE_OPEN);
}

static void a_refused_request_without_keep_conn_lingers(void **state)
{
    (void)state;
    fill_up();
    put_request(1, NO_FLAGS);
    feed();
    assert_string_equal(answers(), TOLD_503("1"));
    assert_int_equal(wire->state, WIRE_LINGER);
}

/* --- parameters without end --- */

static void put_params(unsigned id, size_t n)
{
    for (size_t part; n > 0; n -= part) {
        part = n < 1000 ? n : 1000;
        put_record(FCGI_PARAMS, id, some, part);
    }
}

static void parameters_over_the_limit_are_dropped_and_a_431(void **state)
{
    (void)state;
    service->limits.max_params = 5000;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_params(1, 5001);
    feed();
    assert_string_equal(answers(), ""); /* spec 6.2: not before their end */
    put_params(1, 70000);
    feed();
    assert_int_equal(wire->state, WIRE_OPEN);
    put_end(FCGI_PARAMS, 1);
    feed();
    assert_int_equal(fake.n_ready, 0);
    assert_non_null(
        strstr(answers(),
               "STDOUT 1 [Status: 431 Request Header Fields Too Large\\r\\n"));
    assert_non_null(strstr(told, "STDOUT 1 end\nEND 1 app 1 status 0\n"));
    assert_int_equal(wire->state, WIRE_OPEN);
}

static void parameters_at_the_limit_are_taken(void **state)
{
    (void)state;
    service->limits.max_params = 5000;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_record(FCGI_PARAMS, 1, "\x01\x80\0\x13\x82x", 6); /* 4994 more */
    put_params(1, 4994);
    put_end(FCGI_PARAMS, 1);
    feed();
    assert_int_equal(fake.n_ready, 1);
}

static void parameters_far_over_the_limit_break_the_connection(void **state)
{
    (void)state;
    service->limits.max_params = 5000;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_params(1, 80000);
    feed();
    assert_int_equal(wire->state, WIRE_OPEN);
    put_params(1, 1);
    assert_broken();
    fill_up(); /* a refused one's likewise */
    service->limits.max_params = 5000;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_params(1, 80001);
    assert_broken();
}

/* --- protocol errors --- */

static void another_version_is_an_error(void **state)
{
    (void)state;
    put_bytes("\x02\x09\0\0\0\0\0\0", 8);
    assert_broken();
    put_bytes("\x00\x09\0\0\0\0\0\0", 8);
    assert_broken();
    put_bytes("GET / HT", 8);
    assert_broken();
}

static void a_begin_of_an_active_id_is_an_error(void **state)
{
    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_begin(2, REQUEST_RESPONDER, KEEP);
    put_begin(1, REQUEST_RESPONDER, KEEP);
    assert_broken();
}

static void a_begin_of_a_wrong_length_is_an_error(void **state)
{
    (void)state;
    put_record(FCGI_BEGIN_REQUEST, 1, "\0\1\1\0\0\0\0", 7);
    assert_broken();
    put_record(FCGI_BEGIN_REQUEST, 1, "\0\1\1\0\0\0\0\0", 9);
    assert_broken();
    put_record(FCGI_BEGIN_REQUEST, 1, "", 0);
    assert_broken();
}

static void a_requests_record_with_id_0_is_an_error(void **state)
{
    (void)state;
    for (int type = FCGI_BEGIN_REQUEST; type <= FCGI_DATA; type++) {
        put_record(type, 0, "\0\1\1\0\0\0\0\0", 8);
        assert_broken();
    }
}

static void a_body_before_the_end_of_parameters_is_an_error(void **state)
{
    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_text(FCGI_STDIN, 1, "x");
    assert_broken();
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_end(FCGI_STDIN, 1);
    assert_broken();
    put_begin(1, REQUEST_FILTER, KEEP);
    put_text(FCGI_DATA, 1, "x");
    assert_broken();
}

static void parameters_after_their_end_are_an_error(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_end(FCGI_PARAMS, 1);
    assert_broken();
}

static void after_an_error_nothing_more_is_heard(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_bytes("\x02\x09\0\0\0\0\0\0", 8);
    put_request(2, KEEP);
    put_end(FCGI_GET_VALUES, 0);
    feed();
    assert_int_equal(wire->state, WIRE_BROKEN);
    assert_int_equal(fake.n_ready, 1);
    assert_int_equal(wire->out.len, 0);
    wire->ops->eof(wire);
    assert_int_equal(wire->state, WIRE_BROKEN);
    assert_int_equal(fake.n_aborted, 1);
}

/* --- abort --- */

static void an_abort_during_parameters_is_answered_by_end_alone(void **state)
{
    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_param(1, "A=b");
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_string_equal(answers(), "END 1 app 0 status 0\n");
    assert_int_equal(service->active, 0);
    assert_int_equal(fake.n_aborted, 0);
    assert_int_equal(wire->state, WIRE_OPEN);
}

static void an_abort_of_a_running_request_is_answered_at_once(void **state)
{
    struct slice got;

    (void)state;
    put_request(1, KEEP);
    put_text(FCGI_STDIN, 1, "body");
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_int_equal(fake.n_aborted, 1);
    assert_string_equal(answers(), "STDOUT 1 end\nEND 1 app 0 status 0\n");
    assert_int_equal(service->active, 0);
    assert_true(fake.ready[0]->is_aborted);
    assert_int_equal(swallow(fake.ready[0], &fake.ready[0]->body), 4);
    assert_int_equal(request_peek(fake.ready[0], &fake.ready[0]->body, 1, &got),
                     REQUEST_ABORTED);
    assert_int_equal(write_to(fake.ready[0], HELLO), RESPONSE_ABORTED);
    response_finish(fake.ready[0], 0);
    assert_string_equal(answers(), "");
}

static void an_abort_of_a_begun_answer_ends_its_streams(void **state)
{
    (void)state;
    put_request(1, KEEP);
    feed();
    write_to(fake.ready[0], HELLO);
    response_write_err(fake.ready[0], slice_of("oops\n"));
    put_text(FCGI_ABORT_REQUEST, 1, "with content");
    feed_in_steps(1);
    assert_string_equal(answers(), "STDOUT 1 " TOLD_HELLO "\n"
                                   "STDERR 1 [oops\\n]\n"
                                   "STDOUT 1 end\n"
                                   "STDERR 1 end\n"
                                   "END 1 app 0 status 0\n");
}

static void an_abort_of_a_waiting_writer_is_answered_at_once(void **state)
{
    struct slice bytes = { some, sizeof(some) };

    (void)state;
    put_request(1, KEEP);
    feed();
    write_to(fake.ready[0], "X: y\r\n\r\n");
    assert_int_equal(response_write(fake.ready[0], &bytes), RESPONSE_WAIT);
    assert_int_equal(response_flush(fake.ready[0]), RESPONSE_WAIT);
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_sound();
    assert_non_null(strstr(answers(), "STDOUT 1 end\nEND 1 app 0 status 0\n"));
}

static void an_abort_after_the_answer_is_ignored(void **state)
{
    (void)state;
    put_request(1, KEEP);
    feed();
    answer(0, HELLO, 0);
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_string_equal(answers(), HELLO_1);
}

static void an_abort_leaves_the_neighbours_alone(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_request(2, KEEP);
    put_end(FCGI_ABORT_REQUEST, 2);
    put_request(2, KEEP);
    feed();
    assert_int_equal(fake.n_aborted, 1);
    assert_int_equal(fake.n_ready, 3);
    answer(0, HELLO, 0);
    assert_string_equal(answers(),
                        "STDOUT 2 end\nEND 2 app 0 status 0\n" HELLO_1);
}

static void an_abort_without_keep_conn_ends_the_connection(void **state)
{
    (void)state;
    put_request(1, NO_FLAGS);
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_string_equal(answers(), "STDOUT 1 end\nEND 1 app 0 status 0\n");
    assert_int_equal(wire->state, WIRE_LINGER);
}

/* --- the connection's end --- */

static void a_lost_connection_aborts_all_its_requests(void **state)
{
    (void)state;
    service->limits.max_reqs = 3;
    put_request(1, KEEP);
    put_request(2, KEEP);
    put_begin(3, REQUEST_RESPONDER, KEEP);
    put_begin(4, REQUEST_RESPONDER, KEEP); /* refused */
    feed();
    answer(0, HELLO, 0);
    wire->ops->eof(wire);
    assert_int_equal(wire->state, WIRE_CLOSE);
    assert_int_equal(fake.n_aborted, 1);
    assert_int_equal(service->active, 0);
    assert_false(wire->ops->is_busy(wire));
    assert_null(fake.ready[0]->exchange);
    assert_string_equal(answers(), HELLO_1); /* it had ended before */
    assert_int_equal(write_to(fake.ready[0], HELLO), RESPONSE_ABORTED);
    response_finish(fake.ready[0], 0);
    assert_string_equal(answers(), "");
}

static void end_of_file_within_a_record_closes(void **state)
{
    (void)state;
    put_request(1, KEEP);
    for (size_t n = 1; n < to_send_len; n++) {
        to_send_len = 0;
        put_request(1, KEEP);
        feed_bytes(to_send, n);
        wire->ops->eof(wire);
        assert_int_equal(wire->state, WIRE_CLOSE);
        start_again();
        put_request(1, KEEP);
    }
}

static void closing_aborts_what_runs(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_begin(2, REQUEST_RESPONDER, KEEP);
    feed();
    write_to(fake.ready[0], HELLO);
    peer_close();
    assert_int_equal(fake.n_aborted, 1);
    assert_int_equal(service->active, 0);
    assert_true(fake.ready[0]->is_aborted);
}

static void without_keep_conn_the_connection_closes_after_the_end(void **state)
{
    (void)state;
    put_request(1, NO_FLAGS);
    put_end(FCGI_STDIN, 1);
    feed();
    assert_int_equal(wire->state, WIRE_OPEN);
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_CLOSE);
    assert_string_equal(answers(), HELLO_1);
    assert_false(wire->ops->want_read(wire));
}

static void an_early_answer_lingers(void **state)
{
    (void)state;
    put_request(1, NO_FLAGS);
    put_text(FCGI_STDIN, 1, "and more to come");
    feed();
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_LINGER);
    assert_string_equal(answers(), HELLO_1);
}

/* The empty record may still be on its way. */
static void an_answer_at_the_content_length_lingers(void **state)
{
    (void)state;
    put_begin(1, REQUEST_RESPONDER, NO_FLAGS);
    put_param(1, "CONTENT_LENGTH=4");
    put_end(FCGI_PARAMS, 1);
    put_text(FCGI_STDIN, 1, "body");
    feed();
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_LINGER);
}

static void an_authorizer_has_nothing_to_linger_for(void **state)
{
    (void)state;
    put_begin(1, REQUEST_AUTHORIZER, NO_FLAGS);
    put_end(FCGI_PARAMS, 1);
    feed();
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_CLOSE);
}

static void the_connection_ends_with_the_last_neighbour(void **state)
{
    (void)state;
    put_request(1, NO_FLAGS);
    put_end(FCGI_STDIN, 1);
    put_request(2, KEEP);
    put_end(FCGI_STDIN, 2);
    feed();
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_OPEN);
    assert_true(wire->ops->want_read(wire));
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_CLOSE);
}

static void one_early_answer_among_neighbours_lingers(void **state)
{
    (void)state;
    put_request(1, NO_FLAGS);
    put_request(2, KEEP);
    put_end(FCGI_STDIN, 2);
    feed();
    answer(0, HELLO, 0);
    answer(0, HELLO, 0);
    assert_int_equal(wire->state, WIRE_LINGER);
}

/* However it is cut: what comes behind the end is not heard. */
static void what_follows_the_last_end_is_not_heard(void **state)
{
    (void)state;
    for (size_t step = 1; step < 100; step += 98) {
        put_begin(1, 9, NO_FLAGS);
        put_end(FCGI_GET_VALUES, 0);
        put_request(2, KEEP);
        feed_in_steps(step);
        assert_int_equal(wire->state, WIRE_LINGER);
        assert_string_equal(answers(), "END 1 app 0 status 3\n");
        assert_int_equal(fake.n_ready, 0);
        start_again();
    }
}

/* --- what is owed --- */

static void between_records_nothing_is_owed(void **state)
{
    (void)state;
    assert_true(wire->ops->owed_since(wire) <= 0);
    put_end(FCGI_GET_VALUES, 0);
    feed();
    assert_true(wire->ops->owed_since(wire) <= 0);
    put_request(1, KEEP);
    feed();
    assert_true(wire->ops->owed_since(wire) <= 0);
}

static void the_rest_of_a_begun_record_is_owed(void **state)
{
    (void)state;
    put_get_values("ABC");
    for (size_t n = 0; n + 1 < to_send_len; n++) {
        feed_bytes(to_send + n, 1);
        fake.now += 1;
        assert_true(wire->ops->owed_since(wire) == fake.now - (double)n - 1);
    }
    feed_bytes(to_send + to_send_len - 1, 1);
    assert_true(wire->ops->owed_since(wire) <= 0);
}

static void the_rest_of_a_begin_is_owed(void **state)
{
    double since = fake.now;

    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    for (size_t n = 0; n < 16; n++) {
        feed_bytes(to_send + n, 1);
        assert_true(wire->ops->owed_since(wire) >= since);
    }
}

static void the_parameters_of_the_oldest_are_owed(void **state)
{
    double first = fake.now;

    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    feed();
    fake.now += 1;
    put_begin(2, REQUEST_RESPONDER, KEEP);
    put_param(1, "A=b");
    feed();
    assert_true(wire->ops->owed_since(wire) == first);
    put_end(FCGI_PARAMS, 1);
    feed();
    assert_true(wire->ops->owed_since(wire) == first + 1);
    put_end(FCGI_ABORT_REQUEST, 2);
    feed();
    assert_true(wire->ops->owed_since(wire) <= 0);
}

static void a_body_may_take_its_time(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_text(FCGI_STDIN, 1, "body");
    to_send_len -= 2;
    feed();
    assert_true(wire->ops->owed_since(wire) <= 0);
    assert_true(wire->ops->is_busy(wire));
}

/* --- bodies and their window --- */

static size_t in_file(const struct body *body)
{
    return (size_t)(body->file_written - body->file_read);
}

static void a_body_over_its_window_stops_the_reading(void **state)
{
    struct request *req;
    struct slice got;

    (void)state;
    put_request(1, KEEP);
    put_body(FCGI_STDIN, 1, BODY_WINDOW - 1);
    feed();
    req = fake.ready[0];
    assert_true(wire->ops->want_read(wire));
    n_changed = 0;
    put_body(FCGI_STDIN, 1, 1);
    feed();
    assert_false(wire->ops->want_read(wire));
    assert_int_equal(in_file(&req->body), 0);
    assert_true(n_changed > 0);
    while (body_available(&req->body) > BODY_WINDOW / 2) {
        assert_false(wire->ops->want_read(wire));
        n_changed = 0;
        assert_int_equal(request_peek(req, &req->body, 1000, &got),
                         REQUEST_DATA);
        request_consume(req, &req->body, got.len);
    }
    assert_true(wire->ops->want_read(wire)); /* half of it was taken */
    assert_true(n_changed > 0);
}

static void what_had_been_received_goes_to_memory(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_body(FCGI_STDIN, 1, BODY_WINDOW + 50000);
    feed();
    assert_int_equal(fake.ready[0]->body.in_memory, BODY_WINDOW + 50000);
    assert_int_equal(in_file(&fake.ready[0]->body), 0);
    assert_false(wire->ops->want_read(wire));
}

static void with_neighbours_it_goes_to_a_file_and_reading_on(void **state)
{
    struct request *req;

    (void)state;
    put_request(1, KEEP);
    put_request(2, KEEP);
    put_body(FCGI_STDIN, 1, 2 * BODY_WINDOW);
    feed();
    req = fake.ready[0];
    assert_true(wire->ops->want_read(wire));
    assert_in_range(req->body.in_memory, BODY_WINDOW, BODY_WINDOW + BLOCK_SIZE);
    assert_int_equal(in_file(&req->body) + req->body.in_memory,
                     2 * BODY_WINDOW);
    answer(1, HELLO, 0); /* the neighbour goes: now it stops */
    assert_false(wire->ops->want_read(wire));
    put_body(FCGI_STDIN, 1, 1000);
    feed();
    assert_int_equal(swallow(req, &req->body), 2 * BODY_WINDOW + 1000);
    assert_true(wire->ops->want_read(wire));
    assert_int_equal(service->spooled, 0);
}

static void a_blocked_writer_is_read_on_into_a_file(void **state)
{
    struct request *req;
    struct slice bytes = { some, sizeof(some) };

    (void)state;
    put_request(1, KEEP);
    put_body(FCGI_STDIN, 1, BODY_WINDOW);
    feed();
    req = fake.ready[0];
    assert_false(wire->ops->want_read(wire));
    write_to(req, "X: y\r\n\r\n");
    n_changed = 0;
    assert_int_equal(response_write(req, &bytes), RESPONSE_WAIT);
    assert_true(wire->ops->want_read(wire));
    assert_true(n_changed > 0);
    put_body(FCGI_STDIN, 1, BODY_WINDOW);
    feed();
    assert_int_equal(in_file(&req->body), BODY_WINDOW);
    drain(SIZE_MAX);
    assert_false(wire->ops->want_read(wire)); /* it is the handler's turn */
}

static void who_waits_for_all_of_it_lifts_the_window(void **state)
{
    struct request *req;

    (void)state;
    put_request(1, KEEP);
    put_body(FCGI_STDIN, 1, BODY_WINDOW);
    feed();
    req = fake.ready[0];
    assert_false(wire->ops->want_read(wire));
    req->body.want_all = true;
    req->exchange->ops->body_consumed(req->exchange);
    assert_true(wire->ops->want_read(wire));
    put_body(FCGI_STDIN, 1, BODY_WINDOW_ALL - BODY_WINDOW);
    feed();
    assert_int_equal(req->body.in_memory, BODY_WINDOW_ALL);
    put_body(FCGI_STDIN, 1, 60000);
    feed();
    assert_int_equal(in_file(&req->body), 60000);
    assert_true(wire->ops->want_read(wire));
}

static void an_ended_body_does_not_stop_the_reading(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_body(FCGI_STDIN, 1, BODY_WINDOW);
    put_end(FCGI_STDIN, 1);
    feed();
    assert_true(wire->ops->want_read(wire));
    assert_sound();
}

static void an_answered_body_does_not_stop_the_reading(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_body(FCGI_STDIN, 1, BODY_WINDOW);
    feed();
    assert_false(wire->ops->want_read(wire));
    answer(0, HELLO, 0);
    assert_true(wire->ops->want_read(wire));
    put_body(FCGI_STDIN, 1, BODY_WINDOW);
    put_end(FCGI_STDIN, 1);
    put_request(1, KEEP);
    feed();
    assert_true(wire->ops->want_read(wire));
    assert_int_equal(fake.n_ready, 1);
}

static void a_dropped_body_does_not_stop_the_reading(void **state)
{
    (void)state;
    put_request(1, KEEP);
    put_body(FCGI_STDIN, 1, BODY_WINDOW);
    feed();
    assert_false(wire->ops->want_read(wire));
    request_drop_input(fake.ready[0]);
    assert_true(wire->ops->want_read(wire));
    assert_sound();
}

static void a_filters_stdin_does_not_hold_up_its_data(void **state)
{
    struct request *req;

    (void)state;
    put_begin(1, REQUEST_FILTER, KEEP);
    put_end(FCGI_PARAMS, 1);
    put_body(FCGI_STDIN, 1, 2 * BODY_WINDOW);
    feed();
    req = fake.ready[0];
    assert_true(wire->ops->want_read(wire)); /* for DATA, which comes behind */
    assert_true(req->body.file_written > 0);
    put_end(FCGI_STDIN, 1);
    put_body(FCGI_DATA, 1, BODY_WINDOW);
    feed();
    assert_int_equal(session_in()->stopped, 1);
    assert_int_equal(swallow(req, &req->body), 2 * BODY_WINDOW);
    assert_false(wire->ops->want_read(wire));
    assert_int_equal(swallow(req, &req->data), BODY_WINDOW);
    assert_true(wire->ops->want_read(wire));
}

/* A peer may mix them. */
static void a_filters_data_does_not_hold_up_its_stdin(void **state)
{
    struct request *req;

    (void)state;
    put_begin(1, REQUEST_FILTER, KEEP);
    put_end(FCGI_PARAMS, 1);
    put_body(FCGI_DATA, 1, 2 * BODY_WINDOW);
    feed();
    req = fake.ready[0];
    assert_true(wire->ops->want_read(wire));
    assert_true(req->data.file_written > 0);
    put_text(FCGI_STDIN, 1, "form");
    put_end(FCGI_STDIN, 1);
    feed();
    assert_false(wire->ops->want_read(wire)); /* nothing else can come */
    assert_int_equal(swallow(req, &req->body), 4);
    assert_int_equal(swallow(req, &req->data), 2 * BODY_WINDOW);
    assert_true(wire->ops->want_read(wire));
    put_end(FCGI_DATA, 1);
    feed();
    assert_sound();
}

static void an_early_answer_of_a_filter_lingers(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        put_begin(1, REQUEST_FILTER, NO_FLAGS);
        put_end(FCGI_PARAMS, 1);
        put_end(FCGI_STDIN, 1);
        put_text(FCGI_DATA, 1, "half a file");
        if (ends)
            put_end(FCGI_DATA, 1);
        feed();
        answer(0, HELLO, 0);
        assert_int_equal(wire->state, ends ? WIRE_CLOSE : WIRE_LINGER);
        start_again();
    }
}

static void over_the_maximum_it_is_413_and_the_rest_is_dropped(void **state)
{
    (void)state;
    service->limits.max_body = 10;
    put_request(1, KEEP);
    put_text(FCGI_STDIN, 1, "0123456789");
    feed();
    assert_string_equal(answers(), "");
    put_text(FCGI_STDIN, 1, "x");
    put_text(FCGI_STDIN, 1, "and more");
    put_end(FCGI_STDIN, 1);
    feed();
    assert_non_null(strstr(answers(), "[Status: 413 Content Too Large\\r\\n"));
    assert_non_null(strstr(told, "STDOUT 1 end\nEND 1 app 1 status 0\n"));
    assert_true(fake.ready[0]->is_ended);
    assert_int_equal(wire->state, WIRE_OPEN);
    put_request(1, KEEP);
    feed();
    assert_int_equal(fake.n_ready, 2);
}

static void over_the_maximum_in_pieces_of_a_record(void **state)
{
    (void)state;
    for (size_t step = 1; step < 40; step++) {
        service->limits.max_body = 10;
        put_request(1, NO_FLAGS);
        put_text(FCGI_STDIN, 1, "0123456789abcdef");
        feed_in_steps(step);
        assert_non_null(strstr(answers(), "Status: 413 "));
        assert_int_equal(wire->state, WIRE_LINGER);
        start_again();
    }
}

static void a_full_spool_is_413_for_who_needs_it_only(void **state)
{
    (void)state;
    service->limits.max_spool = 1000;
    put_request(1, KEEP);
    put_request(2, KEEP);
    put_body(FCGI_STDIN, 1, BODY_WINDOW + 2000);
    put_text(FCGI_STDIN, 2, "small");
    feed();
    assert_non_null(strstr(answers(), "STDOUT 1 [Status: 413 "));
    assert_int_equal(fake.n_complaints, 1);
    assert_int_equal(body_available(&fake.ready[1]->body), 5);
    assert_int_equal(service->spooled, 0);
}

/* --- no memory --- */

static void talk(void *arg)
{
    (void)arg;
    fake_service_init(&fake, fcgi_stream_size());
    if (peer_open()) {
        put_conversation();
        feed_in_steps(200);
        assert_sound();
        while (fake.n_ready > 0) {
            response_write_err(fake.ready[0], slice_of("oops\n"));
            swallow(fake.ready[0], &fake.ready[0]->body);
            answer(0, HELLO, 0);
            assert_sound();
        }
        /* Either all got an answer of some kind, or the connection ends. */
        assert_true(wire->state != WIRE_OPEN || service->active == 0);
        if (wire->state == WIRE_OPEN)
            assert_int_equal(session_in()->count, 0);
    }
    tear_down(NULL);
}

static void without_memory_requests_or_the_connection_end(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    alloc_each_fails(talk, NULL);
}

/* A connection whose answer is lost must not end as if all were well. */
static void without_memory_for_an_answer_the_connection_breaks(void **state)
{
    (void)state;
    for (size_t k = 1; k <= 4; k++) {
        static const char begin[] = "\x01\x01\0\x01\0\x08\0\0"
                                    "\0\x09\0\0\0\0\0\0"; /* unknown role */
        struct block *block = block_new(&service->blocks);

        assert_non_null(block);
        memcpy(block->data, begin, 16);
        alloc_fail_at(k);
        wire->ops->feed(wire, block, (struct slice){ block->data, 16 });
        alloc_fail_at(0);
        block_unref(block);
        assert_true(wire->state == WIRE_BROKEN ||
                    wire->out.len == FCGI_HEADER_LEN + 8);
        start_again();
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_ready_at_the_end_of_its_parameters),
        TEST(an_answer_is_stdout_its_end_and_end_request),
        TEST(the_app_status_is_the_handlers),
        TEST(an_id_is_used_again_at_once),
        TEST(every_id_from_1_to_65535_is_used),
        TEST(a_thousand_ids_at_once_are_kept_apart),
        TEST(records_of_an_inactive_id_are_ignored),
        TEST(unknown_types_of_an_active_id_are_ignored),
        TEST(stdin_after_the_end_is_ignored),
        TEST(the_rest_of_an_answered_body_is_dropped),
        TEST(a_request_may_end_within_its_own_record),
        TEST(parameters_come_in_any_records),
        TEST(an_authorizer_has_no_body),
        TEST(a_filter_gets_stdin_and_then_data),
        TEST(data_for_a_responder_is_ignored),
        TEST(the_content_length_ends_a_body_too),
        TEST(the_empty_record_before_the_content_length_means_abort),
        TEST(broken_parameters_are_a_400),
        TEST(any_step_of_reading_gives_the_same_answers),
        TEST(any_two_pieces_give_the_same_answers),
        TEST(any_padding_gives_the_same_answers),
        TEST(the_largest_record_is_65798_bytes),
        TEST(the_end_of_a_stream_is_heard_before_its_padding),
        TEST(get_values_is_answered_at_once_without_a_request),
        TEST(get_values_may_ask_for_nothing),
        TEST(get_values_may_be_as_long_as_a_record),
        TEST(broken_values_are_answered_up_to_the_break),
        TEST(values_are_told_while_a_request_runs),
        TEST(every_unknown_management_type_is_told_back),
        TEST(a_flood_of_management_records_stops_the_reading),
        TEST(an_unknown_role_ends_at_once),
        TEST(a_role_without_a_hook_is_unknown),
        TEST(a_role_without_a_hook_may_be_aborted),
        TEST(endless_roles_without_a_hook_are_ended_at_once),
        TEST(an_authorizer_is_never_ended_without_a_head),
        TEST(an_unknown_role_without_keep_conn_ends_the_connection),
        TEST(the_other_bits_of_the_flags_are_ignored),
        TEST(one_too_many_is_refused_at_the_end_of_its_parameters),
        TEST(endless_refused_ids_are_refused_at_once),
        TEST(pages_are_answered_where_there_is_no_place),
        TEST(pages_are_answered_where_there_is_no_hook),
        TEST(what_may_be_for_a_page_takes_little_room),
        TEST(who_leaves_before_it_is_known_to_be_for_a_page),
        TEST(too_many_parameters_are_for_no_page),
        TEST(every_request_that_was_begun_is_told_of_once),
        TEST(a_refused_request_may_be_aborted),
        TEST(an_aborted_refused_request_may_end_the_connection),
        TEST(an_aborted_refused_request_may_be_the_last),
        TEST(a_refused_request_without_keep_conn_lingers),
        TEST(parameters_over_the_limit_are_dropped_and_a_431),
        TEST(parameters_at_the_limit_are_taken),
        TEST(parameters_far_over_the_limit_break_the_connection),
        TEST(another_version_is_an_error),
        TEST(a_begin_of_an_active_id_is_an_error),
        TEST(a_begin_of_a_wrong_length_is_an_error),
        TEST(a_requests_record_with_id_0_is_an_error),
        TEST(a_body_before_the_end_of_parameters_is_an_error),
        TEST(parameters_after_their_end_are_an_error),
        TEST(after_an_error_nothing_more_is_heard),
        TEST(an_abort_during_parameters_is_answered_by_end_alone),
        TEST(an_abort_of_a_running_request_is_answered_at_once),
        TEST(an_abort_of_a_begun_answer_ends_its_streams),
        TEST(an_abort_of_a_waiting_writer_is_answered_at_once),
        TEST(an_abort_after_the_answer_is_ignored),
        TEST(an_abort_leaves_the_neighbours_alone),
        TEST(an_abort_without_keep_conn_ends_the_connection),
        TEST(a_lost_connection_aborts_all_its_requests),
        TEST(end_of_file_within_a_record_closes),
        TEST(closing_aborts_what_runs),
        TEST(without_keep_conn_the_connection_closes_after_the_end),
        TEST(an_early_answer_lingers),
        TEST(an_answer_at_the_content_length_lingers),
        TEST(an_authorizer_has_nothing_to_linger_for),
        TEST(the_connection_ends_with_the_last_neighbour),
        TEST(one_early_answer_among_neighbours_lingers),
        TEST(what_follows_the_last_end_is_not_heard),
        TEST(between_records_nothing_is_owed),
        TEST(the_rest_of_a_begun_record_is_owed),
        TEST(the_rest_of_a_begin_is_owed),
        TEST(the_parameters_of_the_oldest_are_owed),
        TEST(a_body_may_take_its_time),
        TEST(a_body_over_its_window_stops_the_reading),
        TEST(what_had_been_received_goes_to_memory),
        TEST(with_neighbours_it_goes_to_a_file_and_reading_on),
        TEST(a_blocked_writer_is_read_on_into_a_file),
        TEST(who_waits_for_all_of_it_lifts_the_window),
        TEST(an_ended_body_does_not_stop_the_reading),
        TEST(an_answered_body_does_not_stop_the_reading),
        TEST(a_dropped_body_does_not_stop_the_reading),
        TEST(a_filters_stdin_does_not_hold_up_its_data),
        TEST(a_filters_data_does_not_hold_up_its_stdin),
        TEST(an_early_answer_of_a_filter_lingers),
        TEST(over_the_maximum_it_is_413_and_the_rest_is_dropped),
        TEST(over_the_maximum_in_pieces_of_a_record),
        TEST(a_full_spool_is_413_for_who_needs_it_only),
        cmocka_unit_test(without_memory_requests_or_the_connection_end),
        TEST(without_memory_for_an_answer_the_connection_breaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
