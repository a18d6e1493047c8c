/* script_lua_socket_connect_test.c -- one attempt to connect, in each way that
 * it can end.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/endpoint.h"
#include "io/stream.h"
#include "socket_rig.h"

/* A unix socket whose queue is full: `stuck` in Lua. */
static int stuck_listener, stuck_client;
static char stuck_path[96];

static void make_stuck(void)
{
    struct endpoint there;

    snprintf(stuck_path, sizeof(stuck_path), "%s/stuck", rig.folder);
    assert_true(endpoint_unix(&there, stuck_path));
    stuck_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stuck_listener, &there.as.any, there.len), 0);
    assert_int_equal(listen(stuck_listener, 0), 0);
    stuck_client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(stuck_client, &there.as.any, there.len), 0);
}

static void end_stuck(void)
{
    close(stuck_listener);
    close(stuck_client);
    unlink(stuck_path);
}

static void run_stuck(const char *statements)
{
    char source[4096];

    make_stuck();
    assert_true((size_t)snprintf(source, sizeof(source),
                                 "local stuck = 'unix:%s'\n%s", stuck_path,
                                 statements) < sizeof(source));
    socket_rig_run(source);
    end_stuck();
}

static void an_attempt_succeeds_or_says_why(void **state)
{
    (void)state;
    socket_rig_run(
        "local s <close> = fcgi.tcp()\n"
        "equal(show(s:connect('127.0.0.1', 1)), 'nil, connection refused')\n"
        "equal(show(s:connect 'unix:/no/such'),\n"
        "  'nil, No such file or directory')\n"
        "equal(show(s:connect('unix:' .. ('x'):rep(108))),\n"
        "  'nil, File name too long')\n"
        "equal(s:connect(host, port), 1)\n"
        "equal(show(s:connect(host, port)), 'nil, already connected')\n"
        "equal(show(s:connect 'unix:/x'), 'nil, already connected')\n");
}

static void one_task_connects(void **state)
{
    (void)state;
    run_stuck("local s <close> = fcgi.tcp()\n"
              "local t = fcgi.spawn(s.connect, s, stuck) fcgi.sleep(0)\n"
              "local busy = 'nil, socket busy connecting'\n"
              "equal(show(s:connect(stuck)), busy)\n"
              "equal(show(s:receive()), busy .. ', ')\n"
              "equal(show(s:send 'x'), busy .. ', 0')\n"
              "s:close() equal(show(t:join()), 'nil, closed')\n");
}

static void a_limit_ends_it(void **state)
{
    (void)state;
    run_stuck("local s <close> = fcgi.tcp() s:settimeout(0.005)\n"
              "equal(show(s:connect(stuck)), 'nil, timeout')\n"
              "equal(s:getfd(), -1)\n"
              "s:settimeout() s:settimeouts(0.005)\n"
              "equal(show(s:connect(stuck)), 'nil, timeout')\n"
              "s:settimeout(60) s:settimeout(0.005, 't')\n"
              "equal(show(s:connect(stuck)), 'nil, timeout')\n");
}

static void without_time_it_goes_on(void **state)
{
    (void)state;
    run_stuck("local s <close> = fcgi.tcp() s:settimeout(0)\n"
              "equal(show(s:connect(stuck)), 'nil, timeout')\n"
              "equal(show(s:connect(stuck)), 'nil, timeout')\n"
              "assert(s:getfd() ~= -1)\n"
              "equal(show(fcgi.wait(s, 'w', 0.005)), 'nil, timeout')\n"
              "s:settimeout(60) equal(s:connect(host, port), 1)\n"
              "equal(show(s:getpeername()), show(host, port, 'inet'))\n");
}

static void a_cancelled_one_can_be_repeated(void **state)
{
    (void)state;
    run_stuck("local s <close> = fcgi.tcp()\n"
              "local t = fcgi.spawn(s.connect, s, stuck) fcgi.sleep(0)\n"
              "t:cancel() t:join()\n"
              "equal(s:connect(host, port), 1)\n");
}

static void where_descriptors_run_out_the_collector_helps(void **state)
{
    struct rlimit old, few;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){ socket_rig_fds() + 24, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    socket_rig_run("collectgarbage 'stop'\n"
                   "for i = 1, 60 do\n"
                   "  local s = fcgi.tcp()\n"
                   "  equal(show(s:connect(host, port)), '1')\n"
                   "  server:accept():close()\n"
                   "end\n"
                   "local all, s, err = {}\n"
                   "repeat s = fcgi.tcp() all[#all + 1] = s\n"
                   "  err = select(2, s:connect(host, port))\n"
                   "until err\n"
                   "equal(err, 'Too many open files')\n"
                   "for _, one in ipairs(all) do one:close() end\n"
                   "collectgarbage 'restart'\n");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void what_is_misused_raises(void **state)
{
    (void)state;
    socket_rig_run(
        "local s = fcgi.tcp()\n"
        "for _, call in ipairs { { s }, { s, 1 }, { s, 'x' }, { s, 'unix:' },\n"
        "    { s, 'x', 'y' }, { s, '::1', 70000 }, { s, '::1', -1 },\n"
        "    { s, '::1', 1.5 } } do\n"
        "  raises(\"to 'connect'\", s.connect, table.unpack(call))\n"
        "end\n"
        "raises('with a colon', s.connect, 'x', 1)\n"
        "raises('with a colon', s.connect, nil, 'x', 1)\n");
}

static const char connecting[] =
    "for i = 1, 2 do\n"
    "  local s <close> = fcgi.tcp() s:setoption('keepalive', true)\n"
    "  assert(s:connect(host, port))\n"
    "  assert(server:accept()):close()\n"
    "  assert(select(2, s:connect(host, port)) == 'already connected')\n"
    "  s:close()\n"
    "  local _, err = s:connect('127.0.0.1', 1)\n"
    "  assert(err == 'connection refused', err)\n"
    "end\n";

static void comes_through_without_memory(void **state)
{
    (void)state;
    socket_rig_run_without_memory(connecting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(an_attempt_succeeds_or_says_why),
        SCRIPT_TEST(one_task_connects),
        SCRIPT_TEST(a_limit_ends_it),
        SCRIPT_TEST(without_time_it_goes_on),
        SCRIPT_TEST(a_cancelled_one_can_be_repeated),
        SCRIPT_TEST(where_descriptors_run_out_the_collector_helps),
        SCRIPT_TEST(what_is_misused_raises),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
