/* fcgi_play_test.c -- thousands of random plays between a web server, a session
 * and its handlers, with fixed seeds.
 *
 * The web server keeps to the rules (but for the plays that end with a broken
 * one) and checks each record that it reads: whose it is, that streams end once
 * and END_REQUEST is the last of its id, and that every byte of an answer and
 * of a body stands where it was written.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "fcgi_peer.h"

enum { IDS = 6, SERIALS = 4096, HEAD_LEN = 8 };

enum phase { IDLE, IN_PARAMS, IN_BODY, BODY_ENDED };

/* An id as the web server sees it. */
struct side {
    enum phase phase;
    unsigned serial; /* of its request, over the play */
    bool is_filter, params_whole;
    size_t sent; /* bytes of body */
    bool has_output, out_ended, err_used, err_ended;
    char head[HEAD_LEN]; /* the first bytes of STDOUT */
    size_t out_len;
};

static const unsigned ids[IDS] = { 1, 2, 9, 17, 257, 65535 };

static struct side sides[IDS];
static struct {
    uint64_t written; /* bytes of body, by its handler */
    size_t read;
} handlers[SERIALS];
static unsigned n_serials, begins, ends;
static size_t checked; /* up to where received was looked at */
static bool large;     /* bodies and answers that reach the marks */
static uint32_t random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static bool one_in(unsigned n)
{
    return random_below(n) == 0;
}

static char pattern(unsigned serial, uint64_t at)
{
    return (char)(at * 31 + at / 255 + serial * 7);
}

static size_t random_size(void)
{
    if (large && one_in(3))
        return random_below(65535) + 1;
    return one_in(10) ? random_below(20000) + 1 : random_below(300) + 1;
}

/* --- what the web server reads --- */

static struct side *side_of(unsigned id)
{
    for (unsigned i = 0; i < IDS; i++)
        if (ids[i] == id)
            return &sides[i];
    fail_msg("a record of id %u", id);
    return NULL;
}

static void check_stdout(struct side *side, struct slice bytes)
{
    static const char head[HEAD_LEN + 1] = "X: y\r\n\r\n";

    assert_false(side->out_ended);
    for (size_t i = 0; i < bytes.len; i++, side->out_len++) {
        if (side->out_len < HEAD_LEN)
            side->head[side->out_len] = bytes.data[i];
        else if (memcmp(side->head, head, HEAD_LEN) == 0 &&
                 bytes.data[i] !=
                     pattern(side->serial, side->out_len - HEAD_LEN))
            fail_msg("byte %lu of an answer", (unsigned long)side->out_len);
    }
    if (bytes.len > 0)
        return;
    side->out_ended = true;
    if (side->out_len >= HEAD_LEN && memcmp(side->head, head, HEAD_LEN) == 0)
        assert_int_equal(side->out_len - HEAD_LEN,
                         handlers[side->serial].written);
}

static void check_record(const struct peer_record *record)
{
    struct slice content = { record->content, record->header.length };
    struct side *side;

    if (record->header.id == 0) {
        assert_true(record->header.type == FCGI_GET_VALUES_RESULT ||
                    record->header.type == FCGI_UNKNOWN_TYPE);
        return;
    }
    side = side_of(record->header.id);
    assert_int_not_equal(side->phase, IDLE);
    switch (record->header.type) {
    case FCGI_STDOUT:
        assert_int_not_equal(side->phase, IN_PARAMS);
        side->has_output = true;
        check_stdout(side, content);
        break;
    case FCGI_STDERR:
        assert_int_not_equal(side->phase, IN_PARAMS);
        assert_false(side->err_ended);
        assert_true(content.len <= 1024);
        side->has_output = side->err_used = true;
        side->err_ended = content.len == 0;
        break;
    case FCGI_END_REQUEST:
        assert_int_equal(side->out_ended, side->has_output);
        assert_int_equal(side->err_ended, side->err_used);
        ends++;
        memset(side, 0, sizeof(*side));
        break;
    default:
        fail_msg("a record of type %u", record->header.type);
    }
}

static void read_some(size_t n)
{
    struct peer_record record;

    if (wire->state == WIRE_BROKEN)
        return; /* nothing is sent any more */
    if (received_len > PEER_MAX / 2) {
        received_len -= checked;
        memmove(received, received + checked, received_len);
        checked = 0;
    }
    drain(n);
    while (take_record(&checked, &record))
        check_record(&record);
}

/* --- what it sends --- */

static void feed_somehow(void)
{
    size_t at = 0;

    while (at < to_send_len) {
        size_t n = to_send_len - at;

        if (one_in(2))
            n = 1 + random_below(n < 40 || one_in(2) ? (unsigned)n : 40);
        feed_bytes(to_send + at, n);
        at += n;
    }
    to_send_len = 0;
}

static void begin(unsigned i)
{
    static const unsigned roles[] = { 1, 1, 1, 1, 2, 3, 3, 4 };
    struct side *side = &sides[i];
    unsigned role = roles[random_below(8)];
    char pair[32];

    if (n_serials == SERIALS)
        return;
    *side = (struct side){ .phase = IN_PARAMS,
                           .serial = n_serials++,
                           .is_filter = role == REQUEST_FILTER };
    handlers[side->serial].written = handlers[side->serial].read = 0;
    begins++;
    put_begin(ids[i], role, one_in(12) ? NO_FLAGS : KEEP);
    snprintf(pair, sizeof(pair), "SERIAL=%u", side->serial);
    put_param(ids[i], pair);
    if (one_in(4)) {
        snprintf(pair, sizeof(pair), "CONTENT_LENGTH=%u", random_below(2000));
        put_param(ids[i], pair);
    }
    if (one_in(6))
        put_param(ids[i], "REQUEST_METHOD=HEAD");
}

static void send_params(unsigned i)
{
    char content[200] = { 0 };

    if (one_in(2)) {
        put_end(FCGI_PARAMS, ids[i]);
        sides[i].phase = IN_BODY;
    } else {
        content[1] = (char)(random_below(120) + (one_in(20) ? 5 : 0));
        put_record(FCGI_PARAMS, ids[i], content, 2 + (size_t)content[1]);
        if (one_in(30)) /* not a whole pair */
            put_record(FCGI_PARAMS, ids[i], "\x05", 1);
    }
}

static void send_body(unsigned i)
{
    static char content[65536];
    size_t n = random_size();
    int type = sides[i].is_filter && one_in(3) ? FCGI_DATA : FCGI_STDIN;

    if (one_in(6)) {
        put_end(type, ids[i]);
        sides[i].phase = type == FCGI_STDIN ? BODY_ENDED : IN_BODY;
        return;
    }
    for (size_t k = 0; k < n; k++)
        content[k] = pattern(sides[i].serial, sides[i].sent + k);
    if (type == FCGI_STDIN)
        sides[i].sent += n;
    put_record(type, ids[i], content, n);
}

static void send_something(void)
{
    unsigned i = random_below(IDS);

    padding = one_in(3) ? random_below(256) : 0;
    switch (random_below(20)) {
    case 0:
        put_get_values("FCGI_MAX_REQS FCGI_MPXS_CONNS X");
        break;
    case 1:
        put_record((int)(10 + random_below(246)), 0, "content", 7);
        break;
    case 2:
        put_record((int)(9 + random_below(247)), ids[i], "content", 7);
        break;
    case 3:
        if (one_in(3))
            put_record(FCGI_ABORT_REQUEST, ids[i], "x", random_below(2));
        break;
    default:
        if (sides[i].phase == IDLE)
            begin(i);
        else if (sides[i].phase == IN_PARAMS)
            send_params(i);
        else
            send_body(i);
        break;
    }
    feed_somehow();
}

static void send_what_breaks_a_rule(void)
{
    switch (random_below(3)) {
    case 0:
        put_bytes("\x00\x09\0\0\0\0\0\0", 8);
        break;
    case 1:
        put_record(FCGI_BEGIN_REQUEST, ids[random_below(IDS)], "x", 1);
        break;
    default:
        put_record(FCGI_STDIN, 0, "x", 1);
        break;
    }
    feed_somehow();
    assert_int_not_equal(wire->state, WIRE_OPEN);
}

/* --- handlers --- */

static unsigned serial_of(const struct request *req)
{
    struct slice value;
    unsigned long long serial;

    assert_true(request_param(req, slice_of("SERIAL"), &value));
    assert_true(slice_to_number(value, SERIALS - 1, &serial));
    return (unsigned)serial;
}

static void handle_write(struct request *req)
{
    static char content[65536];
    unsigned serial = serial_of(req);
    struct slice bytes = { content, random_size() };

    if (!response_is_begun(&req->response))
        write_to(req, "X: y\r\n\r\n");
    for (size_t k = 0; k < bytes.len; k++)
        content[k] = pattern(serial, req->response.body_bytes + k);
    if (response_is_begun(&req->response))
        response_write(req, &bytes);
    handlers[serial].written = req->response.body_bytes;
}

static void handle_read(struct request *req)
{
    unsigned serial = serial_of(req);
    size_t left = random_size();
    struct slice got;

    while (left > 0 &&
           request_peek(req, &req->body, left, &got) == REQUEST_DATA) {
        for (size_t k = 0; k < got.len; k++, handlers[serial].read++)
            if (got.data[k] != pattern(serial, handlers[serial].read))
                fail_msg("byte %lu of a body",
                         (unsigned long)handlers[serial].read);
        left -= got.len;
        request_consume(req, &req->body, got.len);
    }
    if (one_in(4))
        swallow(req, &req->data);
}

static void handle_something(void)
{
    static const char lines[] = "one\ntwo\nand a longer line\n";
    unsigned n = random_below(fake.n_ready);
    struct request *req = fake.ready[n];

    switch (random_below(14)) {
    case 0:
    case 1:
        response_finish(req, one_in(3) ? random_below(256) : 0);
        fake_release(&fake, n);
        break;
    case 2:
        response_fail(req, one_in(3) ? 503 : 500);
        fake_release(&fake, n);
        break;
    case 3:
        response_write_err(
            req, (struct slice){ lines, random_below(sizeof(lines)) });
        break;
    case 4:
        response_flush(req);
        break;
    case 5:
        req->body.want_all = true;
        if (req->exchange != NULL)
            req->exchange->ops->body_consumed(req->exchange);
        break;
    case 6:
        if (one_in(4))
            request_drop_input(req);
        break;
    case 7:
    case 8:
    case 9:
        handle_read(req);
        break;
    default:
        handle_write(req);
        break;
    }
}

/* --- a play --- */

static void begin_play(uint32_t seed)
{
    fake_service_init(&fake, fcgi_stream_size());
    random_state = seed * 2654435761u + 1;
    large = one_in(20);
    service->limits.max_reqs = 1 + random_below(6);
    service->limits.max_params = 200 + random_below(2000);
    service->limits.max_body = one_in(3) ? 1000 + random_below(50000) : 0;
    service->limits.max_spool = one_in(3) ? 1000 : 1024 * 1024;
    memset(sides, 0, sizeof(sides));
    n_serials = begins = ends = 0;
    checked = 0;
}

/* Everything that runs comes to its end. */
static void bring_to_an_end(void)
{
    for (int round = 0; round < 4; round++) {
        for (unsigned i = 0; i < IDS && wire->state == WIRE_OPEN; i++) {
            padding = 0;
            if (sides[i].phase != IN_PARAMS)
                continue;
            put_end(one_in(2) ? FCGI_PARAMS : FCGI_ABORT_REQUEST, ids[i]);
            if (to_send[1] == FCGI_PARAMS)
                sides[i].phase = IN_BODY;
            feed();
        }
        while (fake.n_ready > 0)
            answer(0, NULL, 0);
        read_some(SIZE_MAX);
    }
    if (wire->state == WIRE_BROKEN)
        return;
    assert_int_equal(wire->out.len, 0);
    assert_int_equal(session_in()->count, 0);
    assert_int_equal(service->active, 0);
    assert_int_equal(ends, begins);
    assert_int_equal(checked, received_len);
}

static void end_play(void)
{
    peer_close();
    assert_int_equal(service->active, 0);
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
    assert_int_equal(service->spooled, 0);
    fake_service_free(&fake);
}

static void play(uint32_t seed, bool memory_fails)
{
    unsigned steps;
    bool is_lost = false;

    begin_play(seed);
    steps = 20 + random_below(200);
    if (memory_fails)
        alloc_fail_at(1 + random_below(120));
    if (!peer_open())
        steps = 0;
    for (; steps > 0 && wire->state != WIRE_BROKEN; steps--) {
        fake.now += 0.01;
        if (is_lost || wire->state != WIRE_OPEN || one_in(2)) {
            if (fake.n_ready > 0)
                handle_something();
        } else if (wire->ops->want_read(wire)) {
            send_something();
        }
        if (one_in(4))
            read_some(random_size());
        assert_sound();
        if (one_in(1500) && wire->state == WIRE_OPEN)
            send_what_breaks_a_rule();
        if (one_in(1500)) {
            wire->ops->eof(wire);
            is_lost = true;
            assert_int_equal(session_in()->count, 0);
        }
    }
    if (memory_fails)
        alloc_fail_at(0);
    if (wire != NULL && !is_lost && wire->state != WIRE_BROKEN)
        bring_to_an_end();
    end_play();
}

static void every_play_comes_to_a_sound_end(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    for (uint32_t seed = 0; seed < 4000; seed++)
        play(seed, false);
}

static void every_play_without_memory_comes_to_a_sound_end(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    for (uint32_t seed = 10000; seed < 14000; seed++)
        play(seed, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_play_comes_to_a_sound_end),
        cmocka_unit_test(every_play_without_memory_comes_to_a_sound_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
