/* base_metrics_test.c -- named numbers in memory that processes share.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/metrics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct metrics *metrics;

static int set_up(void **state)
{
    (void)state;
    metrics = mmap(NULL, sizeof(*metrics), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return metrics == MAP_FAILED ? -1 : metrics_init(metrics);
}

static int tear_down(void **state)
{
    (void)state;
    return munmap(metrics, sizeof(*metrics));
}

static enum metrics_status try_open(enum metric_kind kind, const char *name,
                                    const char *labels, struct metric **out)
{
    *out = NULL;
    return metrics_open(metrics, kind, name, "help", labels, out);
}

static struct metric *open_one(enum metric_kind kind, const char *name,
                               const char *labels)
{
    struct metric *metric;

    assert_int_equal(try_open(kind, name, labels, &metric), METRICS_OK);
    assert_non_null(metric);
    return metric;
}

static void assert_value(const struct metric *metric, double value)
{
    assert_true(fabs(metric_value(metric) - value) < 1e-9);
}

static void the_same_name_is_the_same_metric(void **state)
{
    struct metric *a = open_one(METRIC_COUNTER, "a", "");

    (void)state;
    assert_ptr_equal(open_one(METRIC_COUNTER, "a", ""), a);
    assert_ptr_not_equal(open_one(METRIC_COUNTER, "a", "x=\"1\""), a);
    assert_ptr_not_equal(open_one(METRIC_COUNTER, "b", ""), a);
    assert_int_equal(metrics->count, 3);
    assert_string_equal(a->name, "a");
    assert_string_equal(a->help, "help");
}

static void names_that_would_look_alike_clash(void **state)
{
    static const struct {
        enum metric_kind kind;
        const char *name;
    } clashing[] = {
        { METRIC_COUNTER, "a_total" },   { METRIC_GAUGE, "a" },
        { METRIC_GAUGE, "a_total" },     { METRIC_GAUGE, "a_created" },
        { METRIC_COUNTER, "a_created" }, { METRIC_COUNTER, "g" },
        { METRIC_COUNTER, "g_total" },
    };
    struct metric *a = open_one(METRIC_COUNTER, "a", ""), *other;
    struct metric *g = open_one(METRIC_GAUGE, "g", "");

    (void)state;
    for (size_t i = 0; i < sizeof(clashing) / sizeof(clashing[0]); i++) {
        assert_int_equal(
            try_open(clashing[i].kind, clashing[i].name, "", &other),
            METRICS_CLASH);
        assert_ptr_equal(other, clashing[i].name[0] == 'a' ? a : g);
    }
    open_one(METRIC_GAUGE, "a_sum", "");
    open_one(METRIC_GAUGE, "g_created", "");
    open_one(METRIC_COUNTER, "_total", "");
}

static void a_family_has_no_total(void **state)
{
    (void)state;
    assert_int_equal(metric_family(METRIC_COUNTER, "ab_total"), 2);
    assert_int_equal(metric_family(METRIC_COUNTER, "ab"), 2);
    assert_int_equal(metric_family(METRIC_COUNTER, "_total"), 6);
    assert_int_equal(metric_family(METRIC_GAUGE, "ab_total"), 8);
}

static void whole_and_broken_numbers_add_up(void **state)
{
    struct metric *a = open_one(METRIC_COUNTER, "a", "");

    (void)state;
    assert_value(a, 0);
    metric_add_whole(a, 3);
    metric_add(a, 0.25);
    metric_add(a, 0.5);
    assert_value(a, 3.75);
    metric_set(a, -1.5);
    metric_add_whole(a, -2);
    assert_value(a, -3.5);
    metric_set(a, INFINITY);
    assert_true(isinf(metric_value(a)));
}

static void a_full_table_says_so_and_serves_on(void **state)
{
    char name[32];
    struct metric *metric;

    (void)state;
    for (int i = 0; i < METRICS_MAX; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        open_one(METRIC_GAUGE, name, "");
    }
    assert_int_equal(try_open(METRIC_GAUGE, "more", "", &metric), METRICS_FULL);
    open_one(METRIC_GAUGE, "n7", "");
}

/* Children that count, and make the same metrics at once. */
static void processes_share_them(void **state)
{
    enum { CHILDREN = 4, TIMES = 2000, NAMES = 50 };
    char name[32];

    (void)state;
    for (int i = 0; i < CHILDREN; i++)
        if (fork() == 0) {
            for (int n = 0; n < TIMES; n++) {
                struct metric *metric;

                snprintf(name, sizeof(name), "n%d", n % NAMES);
                if (try_open(METRIC_COUNTER, name, "", &metric) != METRICS_OK)
                    _exit(1);
                metric_add_whole(metric, 1);
                metric_add(metric, 0.5);
            }
            _exit(0);
        }
    for (int i = 0; i < CHILDREN; i++) {
        int status;

        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(metrics->count, NAMES);
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        assert_value(open_one(METRIC_COUNTER, name, ""),
                     1.5 * CHILDREN * TIMES / NAMES);
    }
}

static void a_process_that_dies_with_the_lock_stops_nobody(void **state)
{
    int status;

    (void)state;
    if (fork() == 0) {
        pthread_mutex_lock(&metrics->lock);
        strcpy(metrics->items[0].name, "half");
        _exit(0);
    }
    assert_true(wait(&status) > 0);
    assert_string_equal(open_one(METRIC_GAUGE, "whole", "")->name, "whole");
    assert_int_equal(metrics->count, 1);
    open_one(METRIC_GAUGE, "more", "");
}

static void a_lock_that_is_held_is_not_waited_for_long(void **state)
{
    struct metric *metric, *old = open_one(METRIC_GAUGE, "old", "");
    int ready[2], done[2], status;
    char byte = 0;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    if (fork() == 0) {
        pthread_mutex_lock(&metrics->lock);
        if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1)
            _exit(1);
        pthread_mutex_unlock(&metrics->lock);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(try_open(METRIC_GAUGE, "new", "", &metric), METRICS_BUSY);
    assert_ptr_equal(open_one(METRIC_GAUGE, "old", ""), old);
    assert_int_equal(write(done[1], &byte, 1), 1);
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
    open_one(METRIC_GAUGE, "new", "");
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(done[i]);
    }
}

static void a_process_has_a_table_of_its_own_until_it_shares_one(void **state)
{
    struct metrics *own = metrics_shared();

    (void)state;
    assert_non_null(own);
    metrics_share(metrics);
    assert_ptr_equal(metrics_shared(), metrics);
    metrics_share(own);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_name_is_the_same_metric),
        TEST(names_that_would_look_alike_clash),
        TEST(a_family_has_no_total),
        TEST(whole_and_broken_numbers_add_up),
        TEST(a_full_table_says_so_and_serves_on),
        TEST(processes_share_them),
        TEST(a_process_that_dies_with_the_lock_stops_nobody),
        TEST(a_lock_that_is_held_is_not_waited_for_long),
        TEST(a_process_has_a_table_of_its_own_until_it_shares_one),
    };

    return cmocka_run_group_tests_name("base/metrics", tests, NULL, NULL);
}
