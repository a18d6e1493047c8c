/* script_lua_ready_test.c -- fcgi.wait.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script_rig.h"

#include <sys/resource.h>
#include <sys/socket.h>

static struct rig_request request;
static int pair[2];

static int set_up(void **state)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                      pair) == -1
               ? -1
               : rig_set_up(state);
}

static int tear_down(void **state)
{
    close(pair[0]);
    close(pair[1]);
    return rig_tear_down(state);
}

/* The statements see the descriptors as A and B. */
static void run(const char *statements)
{
    static char text[12 * 1024];

    snprintf(text, sizeof(text), "local A, B = %d, %d\n%s", pair[0], pair[1],
             statements);
    rig_run_lua(text);
}

/* Opens a script whose handler runs the code; it sees A, too. */
static void open_handler(const char *code)
{
    static char text[4096];

    snprintf(text, sizeof(text),
             "local fcgi = require 'fcgi'\nlocal A = %d\n"
             "function on_request(req)\n%s\nend",
             pair[0], code);
    rig_unload();
    rig_open(text);
}

static void say(void)
{
    assert_int_equal(write(pair[1], "x", 1), 1);
}

/* --- what it gives -------------------------------------------------------- */

static void it_gives_the_mode(void **state)
{
    (void)state;
    say();
    run("equal(fcgi.wait(A, 'r'), 'r')\n"
        "equal(fcgi.wait(A, 'w'), 'w')\n"
        "equal(fcgi.wait(A, 'rw'), 'rw')\n"
        "equal(fcgi.wait(B, 'rw', 5), 'w')\n"
        "equal(fcgi.wait(A + 0.0, 'r', math.huge), 'r')\n"
        "equal(select('#', fcgi.wait(A, 'r')), 1)\n");
}

static void it_gives_up_in_time(void **state)
{
    (void)state;
    run("local start = fcgi.now()\n"
        "equal(show(fcgi.wait(A, 'r', 0.02)), 'nil, timeout')\n"
        "equal(fcgi.now() - start >= 0.02, true)\n"
        "equal(fcgi.wait(A, 'rw', 0.02), 'w')\n");
}

static void a_time_limit_of_0_only_looks(void **state)
{
    (void)state;
    say();
    run("local others = 0\n"
        "fcgi.spawn(function() others = 1 end)\n"
        "equal(show(fcgi.wait(B, 'r', 0)), 'nil, timeout')\n"
        "equal(fcgi.wait(B, 'rw', 0), 'w')\n"
        "equal(fcgi.wait(A, 'rw', 0), 'rw')\n"
        "table.sort({ 1, 2 }, function() fcgi.wait(A, 'r', 0) end)\n"
        "equal(others, 0)\n");
    assert_null(rig.script->readies); /* nothing was made for that */
}

static void objects_give_their_descriptor(void **state)
{
    (void)state;
    say();
    run("local object = { getfd = function(self) return self.fd end, fd = A }\n"
        "equal(fcgi.wait(object, 'r'), 'r')\n"
        "object.fd = -1\n"
        "equal(show(fcgi.wait(object, 'r')), 'nil, closed')\n"
        "object.fd = 'none'\n"
        "raises('number of a descriptor', fcgi.wait, object, 'r')\n"
        "object.getfd = function() error('no fd') end\n"
        "raises('no fd', fcgi.wait, object, 'r')\n");
}

static void what_is_not_open_is_closed(void **state)
{
    (void)state;
    run("for _, fd in ipairs { -1, 100000, 1 << 40, math.mininteger } do\n"
        "  equal(show(fcgi.wait(fd, 'r')), 'nil, closed')\n"
        "  equal(show(fcgi.wait(fd, 'r', 0)), 'nil, closed')\n"
        "end\n");
}

static void misuse_raises(void **state)
{
    (void)state;
    run("raises('descriptor expected, got nil', fcgi.wait, nil, 'r')\n"
        "raises('descriptor expected, got string', fcgi.wait, '1', 'r')\n"
        "raises('it has no getfd', fcgi.wait, {}, 'r')\n"
        "raises('it has no getfd', fcgi.wait, io.stdout, 'r')\n"
        "raises('it has no getfd', fcgi.wait,\n"
        "  req, 'r')\n"
        "raises('not a number of a descriptor', fcgi.wait, 1.5, 'r')\n"
        "raises('#2', fcgi.wait, A)\n"
        "raises('not \"r\", \"w\" or \"rw\"', fcgi.wait, A, 'x')\n"
        "raises('not a number of seconds', fcgi.wait, A, 'r', -1)\n"
        "raises('not a number of seconds', fcgi.wait, A, 'r', 0 / 0)\n"
        "raises('number expected', fcgi.wait, A, 'r', 'soon')\n");
}

static void a_file_never_blocks(void **state)
{
    int fd = open(rig.folder, O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_int_not_equal(fd, -1);
    assert_int_equal(dup2(fd, pair[0]), pair[0]);
    close(fd);
    run("equal(fcgi.wait(A, 'r'), 'r')\n"
        "equal(fcgi.wait(A, 'rw', 60), 'rw')\n"
        "equal(fcgi.wait(A, 'w', 0), 'w')\n");
}

static void without_descriptors_it_says_so(void **state)
{
    struct rlimit limit, none;

    (void)state;
    open_handler("local _, err = fcgi.wait(A, 'r')\n"
                 "local _, again = fcgi.wait(A, 'r', 0.001)\n"
                 "return 200, nil, err .. '+' .. again");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    rig_serve(&request);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_string_equal(request.body.data,
                        "Too many open files+Too many open files");
}

/* --- waiting -------------------------------------------------------------- */

static void the_others_run_meanwhile(void **state)
{
    (void)state;
    open_handler("local ready = fcgi.wait(A, 'r')\n"
                 "return 200, nil, 'ready: ' .. ready");
    rig_start(&request);
    rig_turns(3);
    assert_int_equal(rig_task()->state, TASK_WAITING);
    say();
    rig_run();
    assert_string_equal(request.body.data, "ready: r");
}

static void a_closed_one_is_noticed(void **state)
{
    (void)state;
    open_handler("return 200, nil, select(2, fcgi.wait(A, 'r'))");
    rig_start(&request);
    rig_turns(1);
    close(pair[0]);
    pair[0] = dup(pair[1]);
    rig_run();
    assert_string_equal(request.body.data, "closed");
}

static void many_may_wait_for_the_same(void **state)
{
    (void)state;
    say();
    run("local tasks, wanted = {}, {}\n"
        "for i = 1, 20 do\n"
        "  wanted[i] = i % 3 ~= 0 and 'w' or i % 2 == 0 and 'r' or nil\n"
        "  tasks[i] = fcgi.spawn(fcgi.wait, i % 2 == 0 and A or B,\n"
        "    i % 3 == 0 and 'r' or 'w', wanted[i] and 60 or 0.02)\n"
        "end\n"
        "for i = 1, 20 do equal(tasks[i]:join(), wanted[i]) end\n");
}

static void a_cancelled_wait_raises_and_leaves_the_rest(void **state)
{
    (void)state;
    run("local closed = false\n"
        "local t = fcgi.spawn(function()\n"
        "  local x <close> = on_close(function()\n"
        "    closed = fcgi.wait(A, 'w') end)\n"
        "  fcgi.wait(A, 'r')\n"
        "end)\n"
        "fcgi.sleep(0)\n"
        "t:cancel('enough')\n"
        "equal(show(t:join()), 'nil, enough')\n"
        "equal(closed, 'w')\n"
        "equal(fcgi.wait(A, 'w'), 'w')\n");
}

static void a_coroutine_that_is_closed_waits_no_more(void **state)
{
    (void)state;
    say();
    run("local co = coroutine.create(function() fcgi.wait(B, 'r') end)\n"
        "local t = fcgi.spawn(function()\n"
        "  coroutine.resume(co)\n"
        "  return fcgi.wait(A, 'r')\n"
        "end)\n"
        "fcgi.sleep(0)\n"
        "equal(coroutine.close(co), true)\n"
        "equal(t:join(), 'r')\n");
}

static void the_end_of_the_script_ends_waits(void **state)
{
    (void)state;
    open_handler("fcgi.wait(A, 'r')");
    rig_start(&request);
    rig_turns(1);
    rig_unload();
    assert_int_equal(request.ends, 1);
    say();
    rig_turns(2);
}

static void nothing_waits_at_the_top_level(void **state)
{
    char text[256];

    (void)state;
    snprintf(text, sizeof(text), "require('fcgi').wait(%d, 'r')", pair[0]);
    assert_int_equal(rig_load(text), SCRIPT_FAILED);
    assert_contains(rig.error, "app.lua:1: cannot wait here");
    say();
    snprintf(text, sizeof(text),
             "assert(require('fcgi').wait(%d, 'r', 0) == 'r')\n"
             "function on_request() end",
             pair[0]);
    assert_int_equal(rig_load(text), SCRIPT_OK);
}

static void over_the_limit_it_fails_cleanly(void **state)
{
    (void)state;
    say();
    open_handler("return 200, nil, fcgi.wait(A, 'r', 1)");
    rig_serve_short_of_memory("r", 16);
}

static void without_memory_it_fails_cleanly(void **state)
{
    (void)state;
    say();
    open_handler("local mode, err = fcgi.wait(A, 'r', 1)\n"
                 "if err then error(err) end\n"
                 "return 200, nil, mode");
    alloc_each_fails(rig_serve_or_fail, (void *)(size_t)(const void *)"r");
}

#define READY_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY_TEST(it_gives_the_mode),
        READY_TEST(it_gives_up_in_time),
        READY_TEST(a_time_limit_of_0_only_looks),
        READY_TEST(objects_give_their_descriptor),
        READY_TEST(what_is_not_open_is_closed),
        READY_TEST(misuse_raises),
        READY_TEST(a_file_never_blocks),
        READY_TEST(without_descriptors_it_says_so),
        READY_TEST(the_others_run_meanwhile),
        READY_TEST(a_closed_one_is_noticed),
        READY_TEST(many_may_wait_for_the_same),
        READY_TEST(a_cancelled_wait_raises_and_leaves_the_rest),
        READY_TEST(a_coroutine_that_is_closed_waits_no_more),
        READY_TEST(the_end_of_the_script_ends_waits),
        READY_TEST(nothing_waits_at_the_top_level),
        READY_TEST(over_the_limit_it_fails_cleanly),
        READY_TEST(without_memory_it_fails_cleanly),
    };

    return cmocka_run_group_tests_name("script/lua_ready", tests, NULL, NULL);
}
