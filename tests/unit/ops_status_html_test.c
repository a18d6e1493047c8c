/* ops_status_html_test.c -- the page for people: what it shows, and that
 * nothing from outside becomes markup.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "ops/status_view.h"

static struct board *board;
static struct status status;
static char *text; /* of the page that was made last */

static void no_queue(void *arg, struct status_queue *queue)
{
    (void)arg;
    *queue = (struct status_queue){ 3, 128 };
}

static void no_gather(void *arg)
{
    (void)arg;
}

static int set_up(void **state)
{
    static const struct status_ops ops = { no_queue, no_gather };

    int fd;

    (void)state;
    board = board_new(&fd);
    if (fd != -1)
        close(fd);
    if (board == NULL)
        return -1;
    status_init(&status, board, "a&b<c>.lua", false, "1.2.3", &ops, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(text);
    text = NULL;
    board_del(board);
    return 0;
}

static struct board_slot *add_worker(unsigned id, unsigned generation)
{
    struct board_slot *slot = board_take(board, id, generation);

    assert_non_null(slot);
    slot->pid = 4000 + id;
    slot->accepts = true;
    return slot;
}

static void make(bool is_full, unsigned refresh)
{
    struct status_view view;
    struct buffer page;

    buffer_init(&page, STATUS_PAGE_MAX);
    assert_true(view_take(&view, &status, is_full, 0));
    view.refresh = refresh;
    status_html(&view, &page);
    view_free(&view);
    free(text);
    text = calloc(1, page.len + 1);
    assert_non_null(text);
    memcpy(text, page.data, page.len);
    buffer_free(&page);
}

static void has(const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("no \"%s\" in\n%s", what, text);
}

static void has_not(const char *what)
{
    if (strstr(text, what) != NULL)
        fail_msg("\"%s\" in\n%s", what, text);
}

static void the_page_is_whole_and_names_the_script(void **state)
{
    (void)state;
    add_worker(1, 1);
    make(false, 5);
    assert_int_equal(strncmp(text, "<!DOCTYPE html>", 15), 0);
    has("<title>a&amp;b&lt;c&gt;.lua");
    has("<h1>a&amp;b&lt;c&gt;.lua</h1>");
    has("content=\"5\"");
    has("<th scope=\"row\">1</th><td>4001</td><td>1</td>"
        "<td class=\"t Idle\">Idle</td>");
    has("</html>\n");
    has_not("Running requests</h2>");
    make(false, 0);
    has_not("http-equiv");
}

static void without_workers_it_says_so(void **state)
{
    (void)state;
    make(true, 0);
    has("No worker runs.");
}

static void a_blocked_worker_is_told_of(void **state)
{
    struct board_slot *slot = add_worker(1, 1);

    (void)state;
    add_worker(2, 1);
    slot->busy_since = snapshot_now() - 12345;
    make(false, 0);
    has("1 of 2 workers is blocked");
    has("<td class=\"t Blocked\">Blocked</td>");
    has("<td class=\"bad\">12.");
}

static void a_reload_under_way_is_told_of(void **state)
{
    (void)state;
    board->generation = 4;
    add_worker(1, 4);
    make(false, 0);
    has_not("id=\"reload\"");
    add_worker(2, 5);
    make(false, 0);
    has("Generation 5 is starting; its workers so far: 1.");
    board->generation = 5;
    make(false, 0);
    has("Generation 5 serves; workers of earlier ones");
}

static void running_requests_are_shown_as_text(void **state)
{
    static const char evil[] = "</code><script>x('&\"\x01\xff')</script>";
    struct board_snapshot *snapshot = board_snapshot(board, add_worker(1, 1));
    const struct snapshot_request request = {
        .started = (double)snapshot_now() / 1000 - 2,
        .state = SNAPSHOT_WAITING,
        .id = slice_of(evil),
        .method = slice_of(evil),
        .uri = slice_of(evil),
        .user = slice_of(evil),
        .remote = slice_of(evil),
        .where = slice_of(evil),
    };

    (void)state;
    snapshot_begin(snapshot);
    snapshot_add(snapshot, &request);
    snapshot_end(snapshot, 1);
    make(true, 0);
    has_not("<script");
    has("&lt;/code&gt;&lt;script&gt;x(&#39;&amp;\\x22\\x01\\xFF&#39;)"
        "&lt;/script&gt;");
    has("<td>2.0");
    has("Waiting");
}

static void metrics_of_the_script_are_shown(void **state)
{
    struct metric *metric;

    (void)state;
    add_worker(1, 1);
    make(false, 0);
    has_not("metric-table");
    assert_int_equal(metrics_open(&board->metrics, METRIC_COUNTER,
                                  "orders_total", "All <b>orders", "a=\"<i>\"",
                                  &metric),
                     METRICS_OK);
    metric_add_whole(metric, 42);
    make(false, 0);
    has("<code>orders_total{a=\\x22&lt;i&gt;\\x22}</code></th><td>42</td>"
        "<td class=\"w\">All &lt;b&gt;orders</td>");
}

static void make_it(void *arg)
{
    struct status_view view;
    struct buffer page;

    (void)arg;
    buffer_init(&page, STATUS_PAGE_MAX);
    if (view_take(&view, &status, true, 0))
        status_html(&view, &page);
    view_free(&view);
    buffer_free(&page);
}

static void it_lives_without_memory(void **state)
{
    (void)state;
    add_worker(1, 1);
    alloc_each_fails(make_it, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_page_is_whole_and_names_the_script),
        TEST(without_workers_it_says_so),
        TEST(a_blocked_worker_is_told_of),
        TEST(a_reload_under_way_is_told_of),
        TEST(running_requests_are_shown_as_text),
        TEST(metrics_of_the_script_are_shown),
        TEST(it_lives_without_memory),
    };

    return cmocka_run_group_tests_name("ops/status_html", tests, NULL, NULL);
}
