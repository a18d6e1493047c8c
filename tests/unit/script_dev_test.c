/* script_dev_test.c -- what is answered with --dev: see dev.h; the pages
 * themselves are script_error_page_test.c's.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script/dev.h"
#include "script_rig.h"

#define FAILS "function on_request() error('oops') end\n"
static const char plain[] =
    "Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n"
    "Content-Length: 26\r\n\r\n";

static struct rig_request request;

static int set_up(void **state)
{
    int result = rig_set_up(state);

    rig.config.is_dev = true;
    return result;
}

static void serve_role(enum request_role role)
{
    assert_true(rig_begin(&request, role));
    rig_param(&request, "REQUEST_METHOD", "GET");
    rig_ready(&request);
    if (request.req != NULL)
        rig_input_end(&request);
    rig_run();
}

static void assert_page(const char *part)
{
    assert_int_equal(request.ends, 1);
    assert_contains(request.head.data, "Content-Security-Policy: default-src "
                                       "'none'; ");
    assert_contains(request.body.data, part);
    assert_int_equal(request.app_status, 1);
}

static void assert_plain(void)
{
    assert_int_equal(request.ends, 1);
    assert_string_equal(request.head.data, plain);
    assert_string_equal(request.body.data, "500 Internal Server Error\n");
}

static void errors_are_shown(void **state)
{
    (void)state;
    rig_open(FAILS);
    serve_role(REQUEST_RESPONDER);
    assert_page("app.lua:1: oops");
    assert_contains(request.body.data, ">     1  function on_request()");
}

static void but_not_without_dev(void **state)
{
    (void)state;
    rig.config.is_dev = false;
    rig_open(FAILS);
    script_know_file(rig.script, rig.path); /* both do nothing */
    script_break(rig.script, "why");
    serve_role(REQUEST_RESPONDER);
    assert_plain();
}

static void nor_to_an_authorizer(void **state)
{
    (void)state;
    rig_open("function on_authorize() error('oops') end");
    serve_role(REQUEST_AUTHORIZER);
    assert_plain();
    script_break(rig.script, "why");
    serve_role(REQUEST_AUTHORIZER);
    assert_plain();
}

static void a_broken_script_tells_why(void **state)
{
    (void)state;
    rig_open("function on_request() return 200, {}, 'fine' end");
    script_break(rig.script, "first");
    script_break(rig.script, "a reason\nand more\nstack traceback:\n\there");
    serve_role(REQUEST_RESPONDER);
    assert_page("The script cannot be loaded");
    assert_contains(request.body.data, "a reason\nand more\n");
    assert_contains(request.body.data, "Traceback\n\n\there\n");
    serve_role(REQUEST_FILTER); /* which the script itself does not serve */
    assert_page("a reason");
    script_serve(rig.script); /* nothing changes */
    serve_role(REQUEST_RESPONDER);
    assert_page("a reason");
}

static void a_stand_in_runs_nothing(void **state)
{
    (void)state;
    rig.config.is_stand_in = true;
    rig_open("error('it is not even read'");
    script_break(rig.script, "why");
    serve_role(REQUEST_RESPONDER);
    assert_page("why");
}

static void serve_broken(void *arg)
{
    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    script_know_file(rig.script, "/a");
    script_know_file(rig.script, "/b");
    script_break(rig.script, "why");
    dev_answer_broken(rig.script, request.req);
    assert_int_equal(request.ends, 1);
    if (strstr(request.head.data, "Content-Security-Policy") == NULL)
        assert_string_equal(request.head.data, plain);
    rig_detach(&request);
}

static void without_memory_it_is_the_plain_answer(void **state)
{
    (void)state;
    rig_open(FAILS);
    alloc_each_fails(serve_broken, NULL);
}

static void load_with_dev(void *arg)
{
    (void)arg;
    if (rig_load(FAILS) == SCRIPT_OK)
        rig_unload();
}

static void loading_may_fail_anywhere(void **state)
{
    (void)state;
    alloc_some_fail(load_with_dev, NULL);
}

#define DEV_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEV_TEST(errors_are_shown),
        DEV_TEST(but_not_without_dev),
        DEV_TEST(nor_to_an_authorizer),
        DEV_TEST(a_broken_script_tells_why),
        DEV_TEST(a_stand_in_runs_nothing),
        DEV_TEST(without_memory_it_is_the_plain_answer),
        DEV_TEST(loading_may_fail_anywhere),
    };

    return cmocka_run_group_tests_name("script/dev", tests, NULL, NULL);
}
