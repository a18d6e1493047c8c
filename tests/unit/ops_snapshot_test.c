/* ops_snapshot_test.c -- running requests, written down and read.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "ops/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct board_snapshot *area;
static char text[8192];

static int set_up(void **state)
{
    (void)state;
    area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(text, 'x', sizeof(text));
    return area == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return munmap(area, sizeof(*area));
}

static void add(size_t uri_len, double started)
{
    const struct snapshot_request request = {
        .started = started,
        .content_length = 17,
        .state = SNAPSHOT_WAITING,
        .id = slice_of("id"),
        .method = slice_of("GET"),
        .uri = { text, uri_len },
        .where = slice_of("app.lua:3"),
    };

    snapshot_add(area, &request);
}

static void what_is_written_is_read(void **state)
{
    struct snapshot snapshot;
    struct snapshot_request request;
    struct slice rest;

    (void)state;
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_NONE);
    assert_null(snapshot.bytes);
    snapshot_begin(area);
    add(5, 1.5);
    add(0, 2.5);
    snapshot_end(area, 4);
    assert_int_equal(area->number, 4);
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_OK);
    assert_int_equal(snapshot.count, 2);
    assert_int_equal(snapshot.left_out, 0);
    assert_true(snapshot.taken > 0 && snapshot.taken <= (snapshot_now() | 1));
    rest = (struct slice){ snapshot.bytes, snapshot.len };
    assert_true(snapshot_next(&rest, &request));
    assert_true(request.started > 1.4 && request.started < 1.6);
    assert_int_equal(request.content_length, 17);
    assert_int_equal(request.state, SNAPSHOT_WAITING);
    assert_true(slice_equal(request.uri, slice_of("xxxxx")));
    assert_true(slice_equal(request.id, slice_of("id")));
    assert_true(slice_equal(request.where, slice_of("app.lua:3")));
    assert_int_equal(request.user.len, 0);
    assert_true(snapshot_next(&rest, &request));
    assert_int_equal(request.uri.len, 0);
    assert_false(snapshot_next(&rest, &request));
    free(snapshot.bytes);
    snapshot_begin(area); /* the next one is another */
    snapshot_end(area, 5);
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_OK);
    assert_int_equal(snapshot.count, 0);
    free(snapshot.bytes);
}

static void long_texts_are_cut_and_what_does_not_fit_is_counted(void **state)
{
    enum { REQUESTS = 300 };
    struct snapshot snapshot;
    struct snapshot_request request;
    struct slice rest;
    unsigned n = 0;

    (void)state;
    snapshot_begin(area);
    for (int i = 0; i < REQUESTS; i++)
        add(sizeof(text), i);
    snapshot_end(area, 1);
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_OK);
    assert_true(snapshot.left_out > 0);
    assert_int_equal(snapshot.count + snapshot.left_out, REQUESTS);
    rest = (struct slice){ snapshot.bytes, snapshot.len };
    while (snapshot_next(&rest, &request)) {
        assert_int_equal(request.uri.len, 1024);
        n++;
    }
    assert_int_equal(n, snapshot.count);
    assert_int_equal(rest.len, 0);
    free(snapshot.bytes);
}

static void what_a_dead_worker_left_half_written_is_not_read(void **state)
{
    struct snapshot snapshot;

    (void)state;
    snapshot_begin(area);
    snapshot_end(area, 1);
    snapshot_begin(area);
    add(5, 1);
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_NONE);
    assert_null(snapshot.bytes);
}

static void nonsense_ends_the_reading(void **state)
{
    struct snapshot snapshot;
    struct snapshot_request request;
    struct slice rest;

    (void)state;
    snapshot_begin(area);
    add(5, 1);
    snapshot_end(area, 1);
    for (uint32_t len = 0; len < area->len; len++) {
        assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_OK);
        rest = (struct slice){ snapshot.bytes, len };
        assert_false(snapshot_next(&rest, &request));
        assert_int_equal(rest.len, len);
        free(snapshot.bytes);
    }
    memset(area->bytes, 0xff, 64);
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_OK);
    rest = (struct slice){ snapshot.bytes, snapshot.len };
    assert_false(snapshot_next(&rest, &request));
    free(snapshot.bytes);
    area->len = UINT32_MAX;
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_NONE);
}

/* A writer in another process: what is read is always from one writing. */
static void a_reader_never_sees_two_writings(void **state)
{
    struct snapshot snapshot;
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        for (int i = 1; i <= 3000; i++) {
            snapshot_begin(area);
            for (int n = 0; n < 20; n++)
                add((size_t)n, i);
            snapshot_end(area, (uint64_t)i);
        }
        _exit(0);
    }
    while (waitpid(child, &status, WNOHANG) == 0) {
        struct snapshot_request first, request;
        struct slice rest;

        if (snapshot_read(area, &snapshot) != SNAPSHOT_OK)
            continue;
        assert_int_equal(snapshot.count, 20);
        rest = (struct slice){ snapshot.bytes, snapshot.len };
        assert_true(snapshot_next(&rest, &first));
        while (snapshot_next(&rest, &request))
            assert_memory_equal(&request.started, &first.started,
                                sizeof(double));
        free(snapshot.bytes);
    }
    assert_int_equal(status, 0);
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_OK);
    assert_int_equal(snapshot.count, 20);
    free(snapshot.bytes);
}

static void without_memory_there_is_none(void **state)
{
    struct snapshot snapshot;

    (void)state;
    snapshot_begin(area);
    snapshot_end(area, 1);
    alloc_fail_at(1);
    assert_int_equal(snapshot_read(area, &snapshot), SNAPSHOT_NO_MEMORY);
    alloc_fail_at(0);
    assert_null(snapshot.bytes);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read),
        TEST(long_texts_are_cut_and_what_does_not_fit_is_counted),
        TEST(what_a_dead_worker_left_half_written_is_not_read),
        TEST(nonsense_ends_the_reading),
        TEST(a_reader_never_sees_two_writings),
        TEST(without_memory_there_is_none),
    };

    return cmocka_run_group_tests_name("ops/snapshot", tests, NULL, NULL);
}
