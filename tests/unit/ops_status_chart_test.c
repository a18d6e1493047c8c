/* ops_status_chart_test.c -- numbers for people, and charts from the history.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "ops/status_chart.h"

static struct board *board;
static struct buffer page;

static int set_up(void **state)
{
    int fd;

    (void)state;
    board = board_new(&fd);
    if (fd != -1)
        close(fd);
    buffer_init(&page, 1024 * 1024);
    return board != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&page);
    board_del(board);
    return 0;
}

static void numbers_are_short_and_have_a_unit(void **state)
{
    char text[CHART_TEXT_MAX];

    (void)state;
    assert_string_equal(chart_duration(0, text), "0 s");
    assert_string_equal(chart_duration(0.00001234, text), "12.3 \xc2\xb5s");
    assert_string_equal(chart_duration(0.0009994, text), "999 \xc2\xb5s");
    assert_string_equal(chart_duration(0.0009996, text), "1.00 ms");
    assert_string_equal(chart_duration(0.0123, text), "12.3 ms");
    assert_string_equal(chart_duration(0.9994, text), "999 ms");
    assert_string_equal(chart_duration(1.234, text), "1.23 s");
    assert_string_equal(chart_duration(123.4, text), "123 s");
    assert_string_equal(chart_duration(NAN, text), "\xe2\x80\x93");
    assert_string_equal(chart_bytes(0, text), "0 B");
    assert_string_equal(chart_bytes(999, text), "999 B");
    assert_string_equal(chart_bytes(1023, text), "1.00 KiB");
    assert_string_equal(chart_bytes(1.5 * 1024 * 1024, text), "1.50 MiB");
    assert_string_equal(chart_bytes(99.0 * 1024 * 1024 * 1024, text),
                        "99.0 GiB");
    assert_string_equal(chart_rate(0, text), "0/s");
    assert_string_equal(chart_rate(0.2, text), "0.20/s");
    assert_string_equal(chart_rate(1234.5, text), "1234/s");
    assert_string_equal(chart_time(-1, text), "0 s");
    assert_string_equal(chart_time(59, text), "59 s");
    assert_string_equal(chart_time(125, text), "2 min 5 s");
    assert_string_equal(chart_time(7260, text), "2 h 1 min");
    assert_string_equal(chart_time(200000, text), "2 d 7 h");
}

/* The board's own clock is left out: a sample as it would be. */
static void add_sample(const struct board_sample *sample)
{
    struct board_history *history = &board->history;

    history->samples[history->taken % BOARD_SAMPLES] = *sample;
    history->taken++;
}

/* A second each; n requests of 20 ms, a tenth of them failed. */
static void add_second(struct board_sample *sample, uint64_t n)
{
    sample->at += 1;
    sample->requests += n;
    sample->errors += n / 10;
    sample->nanoseconds += n * 20000000;
    sample->buckets[board_bucket(0.02)] += n;
    sample->memory = n * 1000;
    add_sample(sample);
}

static unsigned occurrences(const char *what)
{
    const char *at = page.data;
    unsigned n = 0;

    while ((at = strstr(at, what)) != NULL) {
        n++;
        at++;
    }
    return n;
}

static struct chart_now draw(void)
{
    struct chart_now now;

    page.len = 0;
    status_charts(board, &page, &now);
    assert_int_equal(buffer_append(&page, (struct slice){ "", 1 }), BUFFER_OK);
    return now;
}

static void without_two_samples_there_is_a_word(void **state)
{
    struct board_sample sample = { .at = 1000 };
    struct chart_now now = draw();

    (void)state;
    assert_true(isnan(now.requests) && isnan(now.mean));
    assert_int_equal(occurrences("<svg"), 0);
    assert_int_equal(occurrences("There are no charts yet"), 1);
    add_second(&sample, 10);
    draw();
    assert_int_equal(occurrences("<svg"), 0);
}

static void rates_are_what_was_counted_between_two_samples(void **state)
{
    struct board_sample sample = { .at = 1000 };
    struct chart_now now;

    (void)state;
    add_second(&sample, 10);
    add_second(&sample, 50);
    now = draw();
    assert_true(now.requests > 49.9 && now.requests < 50.1);
    assert_true(now.errors > 4.9 && now.errors < 5.1);
    assert_true(now.mean > 0.0199 && now.mean < 0.0201);
    /* 95 of 100 in the bucket from 10 to 25 ms */
    assert_true(now.p95 > 0.0242 && now.p95 < 0.0243);
    assert_int_equal(occurrences("<svg"), 3);
    assert_int_equal(occurrences("<rect"), 3);
    assert_int_equal(occurrences(": all 50.0/s, 5xx 5.00/s</title>"), 1);
    assert_int_equal(occurrences(": mean 20.0 ms, 95 % 24.2 ms</title>"), 1);
    assert_int_equal(occurrences(": Lua 48.8 KiB</title>"), 1);
}

static void nothing_is_drawn_where_there_were_no_requests(void **state)
{
    struct board_sample sample = { .at = 1000 };
    struct chart_now now;

    (void)state;
    add_second(&sample, 10);
    add_second(&sample, 10);
    add_second(&sample, 0);
    add_second(&sample, 10);
    now = draw();
    assert_true(now.mean > 0.0199 && now.mean < 0.0201);
    add_second(&sample, 0);
    now = draw();
    assert_true(isnan(now.mean) && isnan(now.p95));
    assert_true(now.requests < 0.1);
    /* Mean and percentile: two strokes each, with a gap between them. */
    assert_int_equal(occurrences("NaN") + occurrences("nan"), 0);
    assert_non_null(strstr(page.data, "id=\"latency\""));
}

static void an_hour_is_drawn_in_pieces(void **state)
{
    struct board_sample sample = { .at = 1000 };

    (void)state;
    for (int i = 0; i < 3 * BOARD_SAMPLES; i++)
        add_second(&sample, 100);
    draw();
    assert_in_range(occurrences("<rect"), 3 * 90, 3 * 120);
    assert_int_equal(occurrences(": all 100/s"), occurrences("<rect") / 3);
}

static void a_clock_that_is_set_back_does_no_harm(void **state)
{
    struct board_sample sample = { .at = 1000 };

    (void)state;
    add_second(&sample, 10);
    add_second(&sample, 10);
    sample.at -= 500;
    sample.requests = 0; /* nor do counters that fall */
    add_second(&sample, 10);
    add_second(&sample, 10);
    draw();
    assert_int_equal(occurrences("inf") + occurrences("nan"), 0);
}

static void values_are_in_the_picture(void **state)
{
    struct board_sample sample = { .at = 1000 };
    const char *at;

    (void)state;
    add_second(&sample, 0);
    for (unsigned i = 0; i < 30; i++)
        add_second(&sample, i * i * 37 % 1000);
    draw();
    for (at = page.data; (at = strstr(at, " d=\"M")) != NULL; at++) {
        const char *point = at + 4;

        while (*point == 'M' || *point == 'L') {
            double x, y;
            int used = 0;

            if (sscanf(point + 1, "%lf %lf%n", &x, &y, &used) != 2)
                break;
            assert_true(x >= 0 && x <= 600);
            assert_true(y >= -0.1 && y <= 120.1);
            point += 1 + used;
            if (*point == 'H' && sscanf(point, "H%lf%n", &x, &used) == 1)
                point += used;
        }
    }
}

static void draw_in_a_buffer_of_its_own(void *arg)
{
    struct buffer own;
    struct chart_now now;

    (void)arg;
    buffer_init(&own, 1024 * 1024);
    status_charts(board, &own, &now);
    buffer_free(&own);
}

static void it_lives_without_memory(void **state)
{
    struct board_sample sample = { .at = 1000 };

    (void)state;
    add_second(&sample, 10);
    add_second(&sample, 10);
    alloc_each_fails(draw_in_a_buffer_of_its_own, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_short_and_have_a_unit),
        TEST(without_two_samples_there_is_a_word),
        TEST(rates_are_what_was_counted_between_two_samples),
        TEST(nothing_is_drawn_where_there_were_no_requests),
        TEST(an_hour_is_drawn_in_pieces),
        TEST(a_clock_that_is_set_back_does_no_harm),
        TEST(values_are_in_the_picture),
        TEST(it_lives_without_memory),
    };

    return cmocka_run_group_tests_name("ops/status_chart", tests, NULL, NULL);
}
