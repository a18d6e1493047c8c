/* fcgi_stream_test.c -- FastCGI on one connection: answers out.
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

#define HEAD "X: y\r\n\r\n"
#define TOLD_HEAD "X: y\\r\\n\\r\\n"
#define TOLD_END(id) "STDOUT " id " end\nEND " id " app 0 status 0\n"

enum { MUCH = 1024 * 1024 };

static char pattern[MUCH];

static int set_up(void **state)
{
    (void)state;
    fake_service_init(&fake, fcgi_stream_size());
    sends_files = false;
    log_set_level(LOG_LEVEL_ERROR);
    for (size_t i = 0; i < MUCH; i++)
        pattern[i] = (char)(i * 31 + i / 255);
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
    assert_int_equal(service->active, 0);
    fake_service_free(&fake);
    return 0;
}

/* Ready requests with the ids 1 to n. */
static void open_requests(unsigned n)
{
    for (unsigned id = 1; id <= n; id++) {
        put_request(id, KEEP);
        put_end(FCGI_STDIN, id);
    }
    feed();
    assert_int_equal(fake.n_ready, n);
}

/* A handler that writes all of the pattern, as far as it gets. */
struct writer {
    struct request_waiter waiter;
    struct request *req;
    struct slice left;
    unsigned id, woken;
};

static struct writer writers[4];
static char order[64]; /* who was woken, as digits */

static void wake(struct request_waiter *waiter)
{
    struct writer *writer = (struct writer *)(void *)waiter;
    char digit = (char)('0' + writer->id);

    writer->woken++;
    strncat(order, &digit, 1);
}

static enum response_result write_on(struct writer *writer)
{
    enum response_result result = response_write(writer->req, &writer->left);

    if (result == RESPONSE_WAIT && list_is_empty(&writer->waiter.link))
        request_wait(writer->req, &writer->waiter);
    return result;
}

/* Writers 1 to n have each sent a head. */
static void open_writers(unsigned n)
{
    open_requests(n);
    order[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        writers[i] = (struct writer){ .waiter.wake = wake,
                                      .req = fake.ready[i],
                                      .left = { pattern, MUCH },
                                      .id = i + 1 };
        list_init(&writers[i].waiter.link);
        assert_int_equal(write_to(writers[i].req, HEAD), RESPONSE_OK);
    }
}

/* What stands in all STDOUT records of an id. */
static struct slice stdout_of(unsigned id)
{
    static char content[PEER_MAX];
    struct peer_record record;
    size_t at = 0, n = 0;

    while (take_record(&at, &record)) {
        if (record.header.id != id || record.header.type != FCGI_STDOUT)
            continue;
        memcpy(content + n, record.content, record.header.length);
        n += record.header.length;
    }
    return (struct slice){ content, n };
}

/* --- files --- */

/* What is written of a file, and read by the peer, until all of it was. */
static void send_pattern(struct shared_fd *file)
{
    enum response_result result = RESPONSE_WAIT;
    size_t left = MUCH - 5;

    while (result == RESPONSE_WAIT) {
        size_t before = left;

        result = response_write_file(fake.ready[0], file, (off_t)(MUCH - left),
                                     &left);
        assert_true(before - left <= OUTPUT_HIGH);
        assert_sound();
        drain(SIZE_MAX);
    }
    assert_int_equal(result, RESPONSE_OK);
    assert_int_equal(left, 0);
}

static void a_file_leaves_in_records_of_its_own(void **state)
{
    struct shared_fd *file = file_of((struct slice){ pattern, MUCH });
    struct peer_record record;
    size_t at = 0, most = 0;
    struct slice got;

    (void)state;
    sends_files = true;
    open_requests(1);
    write_to(fake.ready[0], HEAD "body");
    assert_true(response_takes_files(fake.ready[0]));
    send_pattern(file);
    assert_int_equal(file->refs, 1);
    write_to(fake.ready[0], "end");
    drain(SIZE_MAX);
    assert_int_equal(fake.ready[0]->response.body_bytes, 4 + MUCH - 5 + 3);
    got = stdout_of(1);
    assert_int_equal(got.len, strlen(HEAD "body") + MUCH - 5 + 3);
    assert_memory_equal(got.data, HEAD "body", strlen(HEAD "body"));
    assert_memory_equal(got.data + strlen(HEAD "body"), pattern + 5, MUCH - 5);
    assert_memory_equal(got.data + got.len - 3, "end", 3);
    while (take_record(&at, &record))
        most = record.header.length > most ? record.header.length : most;
    assert_int_equal(most, FCGI_CONTENT_MAX / 8 * 8);
    shared_fd_unref(file);
}

/* If it became too short it would end them all. */
static void no_file_goes_where_others_are(void **state)
{
    (void)state;
    open_requests(2);
    write_to(fake.ready[0], HEAD);
    write_to(fake.ready[1], HEAD);
    assert_false(response_takes_files(fake.ready[0]));
    response_finish(fake.ready[1], 0);
    assert_true(response_takes_files(fake.ready[0]));
}

static void a_file_outlives_its_request(void **state)
{
    struct shared_fd *file = file_of((struct slice){ pattern, 20000 });
    size_t left = 20000;

    (void)state;
    open_requests(1);
    write_to(fake.ready[0], HEAD);
    assert_int_equal(response_write_file(fake.ready[0], file, 0, &left),
                     RESPONSE_OK);
    shared_fd_unref(file);
    answer(0, "", 0);
    drain(SIZE_MAX);
    assert_int_equal(stdout_of(1).len, strlen(HEAD) + 20000);
}

static void without_memory_a_file_breaks_the_connection(void **state)
{
    struct shared_fd *file = file_of((struct slice){ pattern, 20000 });
    size_t left = 20000;

    (void)state;
    open_requests(1);
    write_to(fake.ready[0], HEAD);
    alloc_fail_at(1); /* the record's head has room beside the answer's */
    response_write_file(fake.ready[0], file, 0, &left);
    assert_int_equal(wire->state, WIRE_BROKEN);
    assert_int_equal(file->refs, 1);
    shared_fd_unref(file);
}

/* --- records --- */

static void head_and_body_leave_in_one_record(void **state)
{
    (void)state;
    open_requests(1);
    write_to(fake.ready[0], HEAD "hel");
    write_to(fake.ready[0], "lo");
    answer(0, "!", 0);
    assert_string_equal(answers(),
                        "STDOUT 1 [" TOLD_HEAD "hello!]\n" TOLD_END("1"));
}

static void an_open_record_grows_until_it_is_read(void **state)
{
    (void)state;
    open_requests(1);
    write_to(fake.ready[0], HEAD "one");
    write_to(fake.ready[0], " two");
    assert_string_equal(answers(), "STDOUT 1 [" TOLD_HEAD "one two]\n");
    write_to(fake.ready[0], "three");
    write_to(fake.ready[0], " four");
    drain(1); /* of the header */
    write_to(fake.ready[0], "five");
    assert_string_equal(answers(), "STDOUT 1 [three four]\nSTDOUT 1 [five]\n");
}

static void another_writer_closes_the_open_record(void **state)
{
    (void)state;
    open_requests(2);
    write_to(fake.ready[0], HEAD "a");
    write_to(fake.ready[1], HEAD "b");
    write_to(fake.ready[1], "c");
    write_to(fake.ready[0], "d");
    response_write_err(fake.ready[0], slice_of("oops"));
    write_to(fake.ready[0], "e");
    put_end(FCGI_GET_VALUES, 0);
    feed();
    write_to(fake.ready[0], "f");
    assert_string_equal(answers(), "STDOUT 1 [" TOLD_HEAD "a]\n"
                                   "STDOUT 2 [" TOLD_HEAD "bc]\n"
                                   "STDOUT 1 [d]\n"
                                   "STDERR 1 [oops]\n"
                                   "STDOUT 1 [e]\n"
                                   "VALUES 0\n"
                                   "STDOUT 1 [f]\n");
}

static void a_new_request_of_the_id_has_its_own_records(void **state)
{
    (void)state;
    open_requests(1);
    answer(0, HEAD "a", 0);
    open_requests(1);
    answer(0, HEAD "b", 0);
    assert_string_equal(answers(), "STDOUT 1 [" TOLD_HEAD
                                   "a]\n" TOLD_END("1") "STDOUT 1 [" TOLD_HEAD
                                                        "b]\n" TOLD_END("1"));
}

static void no_record_is_longer_than_65535(void **state)
{
    struct peer_record record;
    size_t at = 0;
    unsigned full = 0;

    (void)state;
    open_writers(1);
    while (write_on(&writers[0]) == RESPONSE_WAIT)
        drain(SIZE_MAX);
    response_finish(writers[0].req, 0);
    drain(SIZE_MAX);
    while (take_record(&at, &record))
        full += record.header.length == FCGI_CONTENT_MAX;
    assert_int_equal(at, received_len);
    assert_true(full >= MUCH / OUTPUT_HIGH);
    assert_int_equal(stdout_of(1).len, strlen(HEAD) + MUCH);
    assert_memory_equal(stdout_of(1).data + strlen(HEAD), pattern, MUCH);
}

/* The lengths about that of a full record, written in two steps. */
static void records_are_cut_at_their_maximum_only(void **state)
{
    (void)state;
    for (size_t n = 65520; n <= 65540; n++) {
        struct slice bytes = { pattern, n };
        struct slice more = { pattern, 10 };
        struct peer_record record;
        size_t at = 0, whole = strlen(HEAD) + n + 10;

        received_len = told_up_to = 0;
        open_requests(1);
        write_to(fake.ready[0], HEAD);
        assert_int_equal(response_write(fake.ready[0], &bytes), RESPONSE_OK);
        assert_int_equal(response_write(fake.ready[0], &more), RESPONSE_OK);
        answer(0, NULL, 0);
        drain(SIZE_MAX);
        assert_true(take_record(&at, &record));
        assert_int_equal(record.header.length, whole < 65535 ? whole : 65535);
        assert_true(take_record(&at, &record));
        if (whole > 65535)
            assert_int_equal(record.header.length, whole - 65535);
    }
}

static void a_head_is_never_cut(void **state)
{
    static char head[RESPONSE_HEAD_MAX];
    struct slice bytes;
    struct peer_record record;
    size_t at = 0;

    (void)state;
    memset(head, 'x', sizeof(head));
    head[1] = ':';
    memcpy(head + sizeof(head) - 4, "\r\n\r\n", 4);
    open_requests(2);
    for (int i = 0; i < 2; i++) {
        bytes = (struct slice){ head, sizeof(head) };
        assert_int_equal(response_write(fake.ready[i], &bytes), RESPONSE_OK);
        write_to(fake.ready[i], "body");
    }
    drain(SIZE_MAX);
    for (int i = 0; i < 2; i++) {
        assert_true(take_record(&at, &record));
        assert_int_equal(record.header.length, sizeof(head) + 4);
        assert_memory_equal(record.content, head, sizeof(head));
    }
}

static void each_line_of_stderr_is_a_record_of_at_most_1024(void **state)
{
    char longest[3000];
    struct peer_record record;
    size_t at = 0;

    (void)state;
    open_requests(1);
    response_write_err(fake.ready[0], slice_of("one\ntwo\n\nthree"));
    assert_string_equal(answers(), "STDERR 1 [one\\n]\nSTDERR 1 [two\\n]\n"
                                   "STDERR 1 [\\n]\nSTDERR 1 [three]\n");
    received_len = told_up_to = 0;
    memset(longest, 'x', sizeof(longest));
    response_write_err(fake.ready[0], (struct slice){ longest, 3000 });
    drain(SIZE_MAX);
    for (unsigned left = 3000; left > 0; left -= record.header.length) {
        assert_true(take_record(&at, &record));
        assert_int_equal(record.header.type, FCGI_STDERR);
        assert_int_equal(record.header.length, left < 1024 ? left : 1024);
    }
    told_up_to = received_len;
    answer(0, HEAD, 0);
    assert_string_equal(answers(), "STDOUT 1 [" TOLD_HEAD "]\nSTDOUT 1 end\n"
                                   "STDERR 1 end\nEND 1 app 0 status 0\n");
}

static void stdout_ends_even_if_nothing_was_written(void **state)
{
    (void)state;
    open_requests(1);
    response_set_status(fake.ready[0], 204, slice_of(""));
    answer(0, NULL, 0);
    assert_string_equal(answers(), "STDOUT 1 [Status: 204 No Content\\r\\n"
                                   "\\r\\n]\n" TOLD_END("1"));
}

static void head_204_and_304_have_no_body(void **state)
{
    (void)state;
    put_begin(1, REQUEST_RESPONDER, KEEP);
    put_param(1, "REQUEST_METHOD=HEAD");
    put_end(FCGI_PARAMS, 1);
    put_request(2, KEEP);
    put_request(3, KEEP);
    feed();
    answer(0, HEAD "body", 0);
    answer(0, "Status: 204\r\n\r\nbody", 0);
    answer(0, "Status: 304\r\n\r\nbody", 0);
    assert_string_equal(
        answers(),
        "STDOUT 1 [" TOLD_HEAD
        "]\n" TOLD_END("1") "STDOUT 2 [Status: 204\\r\\n\\r\\n]\n" TOLD_END(
            "2") "STDOUT 3 [Status: 304\\r\\n\\r\\n]\n" TOLD_END("3"));
}

static void a_handler_without_an_answer_gets_a_500(void **state)
{
    (void)state;
    open_requests(1);
    answer(0, NULL, 0);
    assert_int_equal(strncmp(answers(),
                             "STDOUT 1 [Status: 500 Internal Server Error\\r",
                             44),
                     0);
    assert_non_null(strstr(told, "STDOUT 1 end\nEND 1 app 1 status 0\n"));
}

static void overload_is_a_503_and_a_protocol_status(void **state)
{
    (void)state;
    open_requests(1);
    response_fail(fake.ready[0], 503);
    assert_int_equal(
        strncmp(answers(), "STDOUT 1 [Status: 503 Service Unavailable\\r", 42),
        0);
    assert_non_null(strstr(told, "STDOUT 1 end\nEND 1 app 1 status 2\n"));
}

/* Who hears of the end may find the id free. */
static void look_for_the_id(struct request_waiter *waiter)
{
    struct writer *writer = (struct writer *)(void *)waiter;

    writer->woken++;
    assert_int_equal(session_in()->count, 0);
    assert_int_equal(service->active, 0);
}

static void the_id_is_forgotten_before_the_end_is_told(void **state)
{
    struct writer writer = { .waiter.wake = look_for_the_id };

    (void)state;
    open_requests(1);
    list_init(&writer.waiter.link);
    request_wait(fake.ready[0], &writer.waiter);
    write_to(fake.ready[0], HEAD);
    response_finish(fake.ready[0], 0);
    assert_int_equal(writer.woken, 1);
    fake_release(&fake, 0);
    open_requests(2);
}

static void whoever_owns_the_wire_hears_of_output(void **state)
{
    (void)state;
    open_requests(1);
    n_changed = 0;
    write_to(fake.ready[0], HEAD);
    assert_int_equal(n_changed, 1);
    write_to(fake.ready[0], "x");
    assert_int_equal(n_changed, 2);
    response_write_err(fake.ready[0], slice_of("x"));
    assert_int_equal(n_changed, 3);
    response_finish(fake.ready[0], 0);
    assert_int_equal(n_changed, 4);
}

/* --- marks and turns --- */

static void one_writer_fills_up_to_the_high_mark(void **state)
{
    (void)state;
    open_writers(1);
    assert_int_equal(write_on(&writers[0]), RESPONSE_WAIT);
    assert_in_range(wire->out.len, OUTPUT_HIGH, OUTPUT_HIGH + 100);
    assert_int_equal(write_on(&writers[0]), RESPONSE_WAIT);
    assert_in_range(wire->out.len, OUTPUT_HIGH, OUTPUT_HIGH + 100);
    assert_int_equal(response_write_err(writers[0].req, slice_of("x")),
                     RESPONSE_WAIT);
}

static void a_writer_is_woken_below_the_low_mark(void **state)
{
    (void)state;
    open_writers(1);
    write_on(&writers[0]);
    drain(wire->out.len - OUTPUT_LOW);
    assert_int_equal(writers[0].woken, 0);
    drain(1);
    assert_int_equal(writers[0].woken, 1);
    drain(1000);
    assert_int_equal(writers[0].woken, 1);
    assert_int_equal(write_on(&writers[0]), RESPONSE_WAIT);
    assert_in_range(wire->out.len, OUTPUT_HIGH, OUTPUT_HIGH + 100);
}

static void with_neighbours_a_turn_is_smaller(void **state)
{
    (void)state;
    open_writers(2);
    assert_int_equal(write_on(&writers[0]), RESPONSE_WAIT);
    assert_in_range(wire->out.len, OUTPUT_TURN, OUTPUT_TURN + 100);
    assert_int_equal(write_on(&writers[1]), RESPONSE_WAIT);
    assert_in_range(wire->out.len, OUTPUT_HIGH, OUTPUT_HIGH + 100);
}

static void who_found_no_room_goes_first(void **state)
{
    (void)state;
    open_writers(3);
    write_on(&writers[0]);
    write_on(&writers[1]);
    write_on(&writers[2]); /* no room is left */
    assert_int_equal(writers[2].left.len, MUCH);
    drain(SIZE_MAX);
    assert_int_equal(strlen(order), 3);
    assert_true(strchr(order, '3') < strchr(order, '1'));
    write_on(&writers[2]);
    write_on(&writers[0]);
    write_on(&writers[1]);
    assert_int_equal(writers[2].left.len, MUCH - OUTPUT_TURN);
    assert_true(writers[0].left.len < writers[1].left.len);
    order[0] = '\0';
    drain(SIZE_MAX);
    assert_int_equal(strlen(order), 3);
}

/* The writers go on in the order in which they are woken, as tasks do. */
static void long_answers_share_the_connection(void **state)
{
    static const size_t steps[] = { 1000, 30000, 65000, 100000, 1000000 };

    (void)state;
    for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
        size_t least, most;

        received_len = told_up_to = 0;
        open_writers(4);
        for (int i = 0; i < 4; i++)
            write_on(&writers[i]);
        do {
            least = MUCH;
            most = 0;
            order[0] = '\0';
            drain(steps[s]);
            for (const char *at = order; *at != '\0'; at++)
                write_on(&writers[*at - '1']);
            for (int i = 0; i < 4; i++) {
                size_t done = MUCH - writers[i].left.len;

                least = done < least ? done : least;
                most = done > most ? done : most;
            }
            if (most - least > 2 * OUTPUT_TURN)
                fail_msg("by %lu: one has written %lu, another %lu",
                         (unsigned long)steps[s], (unsigned long)most,
                         (unsigned long)least);
            assert_true(wire->out.len <= OUTPUT_HIGH + 200);
            assert_sound();
        } while (least < MUCH);
        while (fake.n_ready > 0)
            answer(0, NULL, 0);
        drain(SIZE_MAX);
        for (unsigned id = 1; id <= 4; id++) {
            assert_int_equal(stdout_of(id).len, strlen(HEAD) + MUCH);
            assert_memory_equal(stdout_of(id).data + strlen(HEAD), pattern,
                                MUCH);
        }
    }
}

static void a_small_answer_overtakes_a_long_one(void **state)
{
    (void)state;
    open_writers(2);
    while (write_on(&writers[0]) == RESPONSE_WAIT && wire->out.len == 0)
        continue;
    answer(1, "small", 0);
    assert_true(wire->out.len <= OUTPUT_TURN + 200);
    drain(SIZE_MAX);
    assert_int_equal(stdout_of(2).len, strlen(HEAD) + 5);
}

static void management_answers_count_towards_the_mark(void **state)
{
    (void)state;
    open_writers(1);
    while (wire->out.len < OUTPUT_HIGH) {
        for (int i = 0; i < 100; i++)
            put_end(99, 0);
        feed();
    }
    assert_int_equal(write_on(&writers[0]), RESPONSE_WAIT);
    assert_int_equal(writers[0].left.len, MUCH);
    drain(SIZE_MAX);
    assert_string_equal(order, "1");
}

static void who_gives_up_waiting_is_not_woken(void **state)
{
    (void)state;
    open_writers(2);
    write_on(&writers[0]);
    write_on(&writers[1]);
    list_remove(&writers[0].waiter.link);
    response_finish(writers[0].req, 1);
    drain(SIZE_MAX);
    assert_string_equal(order, "2");
    assert_sound();
}

static void waiting_writers_hear_of_a_lost_connection(void **state)
{
    (void)state;
    open_writers(3);
    for (int i = 0; i < 3; i++)
        write_on(&writers[i]);
    wire->ops->eof(wire);
    assert_int_equal(strlen(order), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(write_on(&writers[i]), RESPONSE_ABORTED);
    drain(SIZE_MAX);
    assert_int_equal(strlen(order), 3);
}

/* --- flush --- */

static void a_flush_waits_for_its_own_last_byte(void **state)
{
    (void)state;
    open_writers(2);
    drain(SIZE_MAX);
    write_to(writers[0].req, "one");
    write_to(writers[1].req, "two");
    assert_int_equal(response_flush(writers[0].req), RESPONSE_WAIT);
    assert_int_equal(response_flush(writers[0].req), RESPONSE_WAIT);
    request_wait(writers[0].req, &writers[0].waiter);
    drain(10);
    assert_string_equal(order, "");
    drain(1); /* a header and three bytes */
    assert_string_equal(order, "1");
    assert_int_equal(response_flush(writers[0].req), RESPONSE_OK);
    assert_int_equal(response_flush(writers[1].req), RESPONSE_WAIT);
    drain(SIZE_MAX);
    assert_int_equal(response_flush(writers[1].req), RESPONSE_OK);
    assert_string_equal(order, "1");
}

static void a_flush_of_nothing_is_done(void **state)
{
    (void)state;
    open_requests(1);
    put_end(FCGI_GET_VALUES, 0); /* not its bytes */
    feed();
    assert_int_equal(response_flush(fake.ready[0]), RESPONSE_OK);
}

static void a_flush_counts_stderr_too(void **state)
{
    (void)state;
    open_requests(1);
    response_write_err(fake.ready[0], slice_of("oops\n"));
    assert_int_equal(response_flush(fake.ready[0]), RESPONSE_WAIT);
    drain(SIZE_MAX);
    assert_int_equal(response_flush(fake.ready[0]), RESPONSE_OK);
}

static void many_may_wait_for_a_flush(void **state)
{
    (void)state;
    open_writers(4);
    for (int i = 3; i >= 0; i--) {
        assert_int_equal(response_flush(writers[i].req), RESPONSE_WAIT);
        request_wait(writers[i].req, &writers[i].waiter);
    }
    drain(SIZE_MAX);
    assert_int_equal(strlen(order), 4);
    assert_true(list_is_empty(&session_in()->flushing));
}

static void an_aborted_flush_is_forgotten(void **state)
{
    (void)state;
    open_writers(2);
    assert_int_equal(response_flush(writers[0].req), RESPONSE_WAIT);
    put_end(FCGI_ABORT_REQUEST, 1);
    feed();
    assert_int_equal(response_flush(writers[0].req), RESPONSE_ABORTED);
    drain(SIZE_MAX);
    assert_true(list_is_empty(&session_in()->flushing));
}

/* --- no memory --- */

static void answer_two(void *arg)
{
    (void)arg;
    fake_service_init(&fake, fcgi_stream_size());
    if (!peer_open()) {
        fake_service_free(&fake);
        return;
    }
    put_request(1, KEEP);
    put_request(2, KEEP);
    feed();
    for (unsigned i = 0; i < fake.n_ready; i++) {
        struct slice bytes = { pattern, 50000 };

        write_to(fake.ready[i], HEAD);
        while (response_write(fake.ready[i], &bytes) == RESPONSE_WAIT &&
               wire->state == WIRE_OPEN)
            drain(SIZE_MAX);
        response_write_err(fake.ready[i], slice_of("oops\n"));
        response_flush(fake.ready[i]);
        assert_sound();
    }
    while (fake.n_ready > 0)
        answer(0, NULL, 0);
    assert_sound();
    assert_int_equal(service->active, 0);
    if (wire->state == WIRE_OPEN) { /* what is sent is whole */
        answers();
        assert_non_null(strstr(told, "END 1 "));
        assert_non_null(strstr(told, "END 2 "));
    }
    tear_down(NULL);
}

static void without_memory_what_is_sent_is_whole_or_nothing(void **state)
{
    (void)state;
    alloc_each_fails(answer_two, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_leaves_in_records_of_its_own),
        TEST(no_file_goes_where_others_are),
        TEST(a_file_outlives_its_request),
        TEST(without_memory_a_file_breaks_the_connection),
        TEST(head_and_body_leave_in_one_record),
        TEST(an_open_record_grows_until_it_is_read),
        TEST(another_writer_closes_the_open_record),
        TEST(a_new_request_of_the_id_has_its_own_records),
        TEST(no_record_is_longer_than_65535),
        TEST(records_are_cut_at_their_maximum_only),
        TEST(a_head_is_never_cut),
        TEST(each_line_of_stderr_is_a_record_of_at_most_1024),
        TEST(stdout_ends_even_if_nothing_was_written),
        TEST(head_204_and_304_have_no_body),
        TEST(a_handler_without_an_answer_gets_a_500),
        TEST(overload_is_a_503_and_a_protocol_status),
        TEST(the_id_is_forgotten_before_the_end_is_told),
        TEST(whoever_owns_the_wire_hears_of_output),
        TEST(one_writer_fills_up_to_the_high_mark),
        TEST(a_writer_is_woken_below_the_low_mark),
        TEST(with_neighbours_a_turn_is_smaller),
        TEST(who_found_no_room_goes_first),
        TEST(long_answers_share_the_connection),
        TEST(a_small_answer_overtakes_a_long_one),
        TEST(management_answers_count_towards_the_mark),
        TEST(who_gives_up_waiting_is_not_woken),
        TEST(waiting_writers_hear_of_a_lost_connection),
        TEST(a_flush_waits_for_its_own_last_byte),
        TEST(a_flush_of_nothing_is_done),
        TEST(a_flush_counts_stderr_too),
        TEST(many_may_wait_for_a_flush),
        TEST(an_aborted_flush_is_forgotten),
        cmocka_unit_test(without_memory_what_is_sent_is_whole_or_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
