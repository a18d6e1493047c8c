/* ops_status_test.c -- the status page: its formats, and how it waits.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/params.h"
#include "fake_exchange.h"
#include "fake_service.h"
#include "ops/snapshot.h"
#include "ops/status.h"
#include "ops/status_view.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static struct fake_service fake;
static struct service *const service = &fake.service;
static struct board *board;
static int board_fd;
static struct board_slot *slot;
static struct status status;
static unsigned gathered;
static struct fake_exchange exchange;

static void queue(void *arg, struct status_queue *out)
{
    (void)arg;
    *out = (struct status_queue){ .waiting = 3, .most = 128 };
}

static void gather(void *arg)
{
    (void)arg;
    gathered++;
}

static const struct status_ops ops = { .queue = queue, .gather = gather };

static int set_up(void **state)
{
    (void)state;
    fake_service_init(&fake, 8);
    gathered = 0;
    board = board_new(&board_fd);
    if (board == NULL)
        return -1;
    slot = board_take(board, 1, 1);
    slot->pid = 4711;
    slot->accepts = true;
    status_init(&status, board, "app.lua", false, "1.2.3", &ops, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    status_end(&status);
    assert_int_equal(service->active, 0);
    board_del(board);
    if (board_fd != -1)
        close(board_fd);
    fake_service_free(&fake);
    return 0;
}

/* false: no memory. */
static bool begin(const char *method, const char *query)
{
    fake_exchange_init(&exchange, service, REQUEST_RESPONDER);
    if (exchange.req == NULL)
        return false;
    if (params_append(&exchange.req->params, slice_of("REQUEST_METHOD"),
                      slice_of(method)) == BUFFER_OK &&
        params_append(&exchange.req->params, slice_of("QUERY_STRING"),
                      slice_of(query)) == BUFFER_OK) {
        exchange.req->is_head = strcmp(method, "HEAD") == 0;
        return true;
    }
    fake_exchange_free(&exchange);
    return false;
}

static void ask(const char *query)
{
    assert_true(begin("GET", query));
    status_answer(&status, exchange.req);
}

static void assert_has(const char *part)
{
    if (strstr(exchange.body, part) == NULL)
        fail_msg("no '%s' in:\n%s", part, exchange.body);
}

static void write_down(uint64_t number, double started)
{
    const struct snapshot_request request = {
        .started = started,
        .state = SNAPSHOT_WAITING,
        .id = slice_of("id\"7"),
        .method = slice_of("GET"),
        .uri = slice_of("/a?b=\"\\\n<c>"),
        .where = slice_of("app.lua:3: in function 'f'"),
    };
    struct board_snapshot *snapshot = board_snapshot(board, slot);

    snapshot_begin(snapshot);
    snapshot_add(snapshot, &request);
    snapshot_end(snapshot, number);
}

static void text_has_a_line_for_each_number(void **state)
{
    (void)state;
    slot->active = 2;
    slot->counters.n[COUNT_ACCEPTED] = 12;
    board->ends[BOARD_END_KILLED] = 1;
    ask("");
    assert_int_equal(exchange.ends, 1);
    assert_int_equal(exchange.app_status, 0);
    assert_non_null(strstr(exchange.head, "Status: 200 OK\r\n"));
    assert_non_null(strstr(exchange.head, "Cache-Control: no-store\r\n"));
    assert_has("pool:                 app.lua\n"
               "process manager:      static\n"
               "start time:           ");
    assert_has("accepted conn:        12\n"
               "listen queue:         3\n"
               "max listen queue:     3\n"
               "listen queue len:     128\n"
               "idle processes:       0\n"
               "active processes:     1\n"
               "total processes:      1\n"
               "max active processes: 1\n");
    assert_has("workers ended (killed): 1\n");
    assert_int_equal(gathered, 0);
}

static void json_escapes_and_openmetrics_ends(void **state)
{
    struct metric *metric;

    (void)state;
    status.pool = "a\"b\\c.lua";
    metrics_open(&board->metrics, METRIC_GAUGE, "g", "", "x=\"1\"", &metric);
    metric_set(metric, NAN);
    ask("json");
    assert_has("{\"pool\":\"a\\\"b\\\\");
    assert_has("\"metrics\":{\"g{x=\\\"1\\\"}\":null}}\n");
    ask("openmetrics");
    assert_has("pool=\"a\\\\x22b\\\\x5C");
    assert_has("# TYPE g gauge\ng{x=\"1\"} NaN\n");
    assert_string_equal(exchange.body + exchange.body_len - 6, "# EOF\n");
    ask("html");
    assert_has("<!DOCTYPE html>");
}

static void fields_that_mean_nothing_are_ignored(void **state)
{
    (void)state;
    ask("x=1&&fullest&jsonx&=json&%66ull");
    assert_has("pool:                 a");
    assert_int_equal(gathered, 0);
    ask("a&json=0&b");
    assert_int_equal(exchange.body[0], '{');
}

static void only_get_and_head_are_answered(void **state)
{
    (void)state;
    assert_true(begin("POST", ""));
    status_answer(&status, exchange.req);
    assert_non_null(strstr(exchange.head, "Status: 405 "));
    assert_non_null(strstr(exchange.head, "Allow: GET, HEAD\r\n"));
    assert_true(begin("DELETE", ""));
    status_pong(exchange.req);
    assert_non_null(strstr(exchange.head, "Status: 405 "));
    assert_true(begin("HEAD", "full"));
    status_pong(exchange.req);
    assert_non_null(strstr(exchange.head, "Content-Length: 4\r\n"));
    assert_int_equal(exchange.body_len, 0);
    assert_true(begin("GET", ""));
    status_pong(exchange.req);
    assert_string_equal(exchange.body, "pong");
}

static void full_waits_for_all_who_are_ready(void **state)
{
    struct board_slot *starting = board_take(board, 2, 1);

    (void)state;
    assert_non_null(starting); /* no process yet: nobody waits for it */
    ask("full");
    assert_int_equal(gathered, 1);
    assert_int_equal(exchange.ends, 0);
    assert_true(status_step(&status));
    write_down(board->wish - 1, 1); /* an earlier one is not enough */
    assert_true(status_step(&status));
    write_down(board->wish, (double)snapshot_now() / 1000 - 2);
    assert_false(status_step(&status));
    assert_int_equal(exchange.ends, 1);
    assert_has("pid:                  4711\n");
    assert_has("state:                Waiting\n");
    assert_has("request URI:          /a?b=\\x22\\x5C\\x0A<c>\n");
    assert_has("where:                app.lua:3: in function 'f'\n");
}

static void full_is_there_in_each_format(void **state)
{
    (void)state;
    write_down(1000, 1);
    ask("full&json");
    assert_false(status_step(&status));
    assert_has("\"processes\":[{\"pid\":4711,");
    assert_has("\"running\":[{\"pid\":4711,\"state\":\"Waiting\",");
    assert_has("\"request uri\":\"/a?b=\\\"\\\\\\u000A<c>\"");
    ask("openmetrics&full");
    assert_false(status_step(&status));
    assert_has("fcgi_lua_worker_requests_total{worker=\"1\",pid=\"4711\"} 0\n");
    assert_has("id=\"id\\\\x227\"");
    assert_has("uri=\"/a?b=\\\\x22\\\\x5C\\\\x0A<c>\"");
    ask("full&html");
    assert_false(status_step(&status));
    assert_has("&lt;c");
}

static void a_worker_that_does_not_answer_is_not_waited_for(void **state)
{
    (void)state;
    slot->busy_since = snapshot_now() - 5000;
    ask("full&json");
    while (status_step(&status))
        usleep(1000);
    assert_has("\"state\":\"Blocked\"");
    assert_has("\"active processes\":1,");
    assert_has("\"blocked seconds\":5.");
    assert_has("\"running\":[]");
}

static void who_has_gone_is_not_answered(void **state)
{
    (void)state;
    ask("full");
    fake_exchange_free(&exchange);
    assert_int_equal(service->active, 0);
    assert_false(status_step(&status));
    ask("full");
    status_end(&status); /* or the process ends before */
    fake_exchange_free(&exchange);
}

static void several_wait_at_once(void **state)
{
    static struct fake_exchange other;

    (void)state;
    ask("full&json");
    fake_exchange_init(&other, service, REQUEST_RESPONDER);
    assert_int_equal(params_append(&other.req->params, slice_of("QUERY_STRING"),
                                   slice_of("full")),
                     BUFFER_OK);
    status_answer(&status, other.req);
    write_down(board->wish - 1, 1);
    assert_true(status_step(&status));
    assert_int_equal(exchange.ends, 1);
    assert_int_equal(other.ends, 0);
    write_down(board->wish, 1);
    assert_false(status_step(&status));
    assert_int_equal(other.ends, 1);
}

static void ask_short_of_memory(void *query)
{
    if (!begin("GET", query))
        return;
    status_answer(&status, exchange.req);
    while (status_step(&status))
        ;
    assert_int_equal(exchange.ends, 1);
    assert_non_null(strstr(exchange.head, "Status: "));
}

static void without_memory_it_says_so(void **state)
{
    static char queries[][20] = { "", "json&full", "openmetrics", "full&html" };

    (void)state;
    write_down(1u << 20, 1); /* so nobody waits */
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
        alloc_each_fails(ask_short_of_memory, queries[i]);
}

static void numbers_are_short_and_exact(void **state)
{
    static const struct {
        double number;
        const char *text;
    } cases[] = {
        { 0, "0" },
        { 3, "3" },
        { 0.1, "0.1" },
        { 1e300, "1e+300" },
        { 1.0 / 3, "0.3333333333333333" },
        { 9007199254740993.0, "9007199254740992" },
        { -2.5, "-2.5" },
        { INFINITY, "+Inf" },
        { -INFINITY, "-Inf" },
        { NAN, "NaN" },
    };
    char text[VIEW_NUMBER_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(view_number(cases[i].number, text), cases[i].text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_has_a_line_for_each_number),
        TEST(json_escapes_and_openmetrics_ends),
        TEST(fields_that_mean_nothing_are_ignored),
        TEST(only_get_and_head_are_answered),
        TEST(full_waits_for_all_who_are_ready),
        TEST(full_is_there_in_each_format),
        TEST(a_worker_that_does_not_answer_is_not_waited_for),
        TEST(who_has_gone_is_not_answered),
        TEST(several_wait_at_once),
        TEST(without_memory_it_says_so),
        TEST(numbers_are_short_and_exact),
    };

    return cmocka_run_group_tests_name("ops/status", tests, NULL, NULL);
}
