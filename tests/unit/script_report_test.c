/* script_report_test.c -- lines about requests in the log and in the web
 * server's.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script/report.h"
#include "script_rig.h"

static struct rig_request request;

static void open_request(void)
{
    rig_open("function on_request() end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
}

static void check_id(const char *sent, const char *wanted)
{
    char buffer[REQUEST_ID_MAX], own[REQUEST_ID_MAX];
    struct slice id;

    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    if (sent != NULL)
        rig_param(&request, "HTTP_X_REQUEST_ID", sent);
    snprintf(own, sizeof(own), "%llx", (unsigned long long)request.req->serial);
    id = request_id(request.req, buffer);
    if (wanted == NULL)
        wanted = own;
    assert_int_equal(id.len, strlen(wanted));
    assert_memory_equal(id.data, wanted, id.len);
    rig_detach(&request);
}

static void a_sound_id_of_the_web_server_is_taken(void **state)
{
    static const char longest[] =
        "1234567890123456789012345678901234567890123456789012345678901234";

    (void)state;
    rig_open("function on_request() end");
    check_id("a-1.B_2", "a-1.B_2");
    check_id("!~", "!~");
    check_id(longest, longest);
}

static void others_are_replaced_by_our_own(void **state)
{
    static const char *const unsound[] = {
        "",
        " ",
        "a b",
        "a\n",
        "\x7f",
        "\xff",
        "12345678901234567890123456789012345678901234567890123456789012345"
    };

    (void)state;
    rig_open("function on_request() end");
    check_id(NULL, NULL);
    for (size_t i = 0; i < sizeof(unsound) / sizeof(*unsound); i++)
        check_id(unsound[i], NULL);
}

static void a_line_names_the_request_and_has_its_detail_below(void **state)
{
    (void)state;
    open_request();
    rig_param(&request, "REQUEST_METHOD", "PUT");
    rig_param(&request, "REQUEST_URI", "/a?b");
    rig_param(&request, "REMOTE_ADDR", "10.0.0.7");
    rig_param(&request, "HTTP_X_REQUEST_ID", "8f3");
    report_log(LOG_LEVEL_WARN, request.req, slice_of("text"),
               slice_of("one\ntwo"));
    rig_assert_logged("warn ");
    rig_assert_logged("] text (PUT /a?b, 10.0.0.7, req 8f3)\n    one\n");
    rig_assert_logged("    two\n");
    rig_detach(&request);
}

static void what_is_not_known_is_a_dash(void **state)
{
    (void)state;
    open_request();
    report_log(LOG_LEVEL_NOTICE, request.req, (struct slice){ NULL, 0 },
               (struct slice){ NULL, 0 });
    rig_assert_logged(" (GET -, -, req ");
    rig_detach(&request);
}

static void without_a_request_the_line_is_bare(void **state)
{
    (void)state;
    open_request();
    report_log(LOG_LEVEL_NOTICE, NULL, slice_of("bare"),
               (struct slice){ NULL, 0 });
    report_error(rig.script, NULL, slice_of("failed"), slice_of("detail"));
    rig_assert_logged("] bare\n");
    rig_assert_logged("] failed\n    detail\n");
    assert_int_equal(request.err.len, 0);
    rig_detach(&request);
}

static void a_level_that_is_off_is_not_written(void **state)
{
    (void)state;
    open_request();
    report_log(LOG_LEVEL_DEBUG, request.req, slice_of("hidden"),
               (struct slice){ NULL, 0 });
    assert_string_equal(rig_log(), "");
    rig_detach(&request);
}

static void long_things_are_cut(void **state)
{
    static char text[64 * 1024];
    struct slice all = { text, sizeof(text) };

    (void)state;
    open_request();
    memset(text, 'x', sizeof(text));
    rig_param_bytes(&request, slice_of("REQUEST_URI"),
                    (struct slice){ text, 4096 });
    rig_param_bytes(&request, slice_of("REQUEST_METHOD"),
                    (struct slice){ text, 4096 });
    rig_param_bytes(&request, slice_of("REMOTE_ADDR"),
                    (struct slice){ text, 4096 });
    report_error(rig.script, request.req, all, all);
    rig_assert_logged(", req ");
    assert_true(strlen(rig.log) < 3 * REPORT_TEXT_MAX);
    assert_in_range(request.err.len, REPORT_TEXT_MAX, 2 * REPORT_TEXT_MAX + 1);
    rig_detach(&request);
}

static void text_may_have_any_byte(void **state)
{
    static const char text[] = "a\0b\nc";

    (void)state;
    open_request();
    report_error(rig.script, request.req,
                 (struct slice){ text, sizeof(text) - 1 },
                 (struct slice){ NULL, 0 });
    rig_assert_logged("a\\x00b\\x0ac (GET");
    assert_int_equal(request.err.len, sizeof(text) - 1);
    assert_memory_equal(request.err.data, text, sizeof(text) - 1);
    rig_detach(&request);
}

static void an_error_goes_to_the_web_server_too(void **state)
{
    (void)state;
    open_request();
    report_error(rig.script, request.req, slice_of("text"), slice_of("detail"));
    assert_string_equal(request.err.data, "text\ndetail");
    rig_detach(&request);
}

static void unless_it_is_to_go_to_the_log_alone(void **state)
{
    (void)state;
    rig.limits.stderr_to_log = true;
    open_request();
    report_error(rig.script, request.req, slice_of("text"), slice_of("detail"));
    rig_assert_logged("text (GET");
    assert_int_equal(request.err.len, 0);
    rig_detach(&request);
}

static void a_client_that_is_gone_or_goes_meanwhile_is_no_trouble(void **state)
{
    struct request *req;

    (void)state;
    open_request();
    req = request_ref(request.req);
    rig_detach(&request);
    report_error(rig.script, req, slice_of("after the end"),
                 slice_of("detail"));
    rig_assert_logged("after the end (GET");
    assert_int_equal(request.err.len, 0);
    request_unref(req);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.dies = true;
    report_error(rig.script, request.req, slice_of("dying"),
                 slice_of("detail"));
    rig_assert_logged("dying (GET");
    rig_detach(&request);
}

static void what_ended_a_task_names_the_script(void **state)
{
    struct task task = { 0 };

    (void)state;
    open_request();
    task.script = rig.script;
    task.req = request.req;
    report_fault(&task, NULL);
    assert_string_equal(rig_log(), "");
    report_fault(&task, "not enough memory");
    rig_assert_logged("error ");
    rig_assert_logged("app.lua: not enough memory (GET");
    assert_string_equal(request.err.data, "app.lua: not enough memory");
    task.req = NULL;
    report_fault(&task, "of a worker's task");
    rig_assert_logged("app.lua: of a worker's task\n");
    rig_detach(&request);
}

static void report_or_fail(void *arg)
{
    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    report_error(rig.script, request.req, slice_of("text"), slice_of("detail"));
    assert_string_equal(request.err.data, "text\ndetail");
    rig_detach(&request);
}

static void reports_need_no_memory(void **state)
{
    (void)state;
    rig_open("function on_request() end");
    alloc_each_fails(report_or_fail, NULL);
    rig_limit_memory(0);
    report_or_fail(NULL);
    rig.script->memory.limit = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_sound_id_of_the_web_server_is_taken),
        SCRIPT_TEST(others_are_replaced_by_our_own),
        SCRIPT_TEST(a_line_names_the_request_and_has_its_detail_below),
        SCRIPT_TEST(what_is_not_known_is_a_dash),
        SCRIPT_TEST(without_a_request_the_line_is_bare),
        SCRIPT_TEST(a_level_that_is_off_is_not_written),
        SCRIPT_TEST(long_things_are_cut),
        SCRIPT_TEST(text_may_have_any_byte),
        SCRIPT_TEST(an_error_goes_to_the_web_server_too),
        SCRIPT_TEST(unless_it_is_to_go_to_the_log_alone),
        SCRIPT_TEST(a_client_that_is_gone_or_goes_meanwhile_is_no_trouble),
        SCRIPT_TEST(what_ended_a_task_names_the_script),
        SCRIPT_TEST(reports_need_no_memory),
    };

    return cmocka_run_group_tests_name("script/report", tests, NULL, NULL);
}
