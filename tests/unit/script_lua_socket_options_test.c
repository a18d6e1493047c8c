/* script_lua_socket_options_test.c -- options of sockets, before and after they
 * have a descriptor.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "socket_rig.h"

static void each_is_set_and_got(void **state)
{
    (void)state;
    socket_rig_run(
        "for _, name in ipairs { 'keepalive', 'reuseaddr', 'reuseport',\n"
        "    'tcp-nodelay' } do\n"
        "  for _, value in ipairs { true, false } do\n"
        "    equal(near:setoption(name, value), 1)\n"
        "    equal(near:getoption(name), value)\n"
        "  end\n"
        "end\n"
        "for name, value in pairs { ['tcp-keepidle'] = 70,\n"
        "    ['tcp-keepcnt'] = 3, ['tcp-keepintvl'] = 7 } do\n"
        "  equal(near:setoption(name, value), 1)\n"
        "  equal(near:getoption(name), value)\n"
        "end\n"
        "for _, on in ipairs { true, false } do\n"
        "  near:setoption('linger', { on = on, timeout = 5 })\n"
        "  local got = near:getoption 'linger'\n"
        "  equal(got.on, on) equal(got.timeout, 5)\n"
        "end\n"
        "near:setoption('linger', { on = false })\n"
        "for _, name in ipairs { 'recv-buffer-size', 'send-buffer-size' } do\n"
        "  near:setoption(name, 30000) assert(near:getoption(name) >= 30000)\n"
        "end\n"
        "equal(near:getoption 'error', nil)\n");
}

static void they_wait_for_a_descriptor(void **state)
{
    (void)state;
    socket_rig_run(
        "local s <close> = fcgi.tcp()\n"
        "equal(show(s:getoption 'keepalive'), 'nil, closed')\n"
        "s:setoption('keepalive', true) s:setoption('tcp-keepidle', 33)\n"
        "s:setoption('linger', { on = true, timeout = 9 })\n"
        "equal(s:getoption 'keepalive', true)\n"
        "equal(s:getoption 'tcp-keepidle', 33)\n"
        "equal(s:getoption 'linger'.timeout, 9)\n"
        "for i = 1, 2 do\n"
        "  assert(s:connect(host, port))\n"
        "  equal(s:getoption 'keepalive', true)\n"
        "  equal(s:getoption 'tcp-keepidle', 33)\n"
        "  equal(s:getoption 'linger'.on, true) s:close()\n"
        "end\n"
        "assert(s:bind('127.0.0.1', 0))\n"
        "equal(s:getoption 'keepalive', true)\n");
}

static void what_a_socket_cannot_have_is_refused(void **state)
{
    (void)state;
    socket_rig_run(
        "local s <close> = fcgi.tcp()\n"
        "equal(s:setoption('ipv6-v6only', true), 1)\n"
        "equal(show(s:connect(host, port)), 'nil, Protocol not available')\n"
        "equal(s:getfd(), -1)\n"
        "equal(show(near:setoption('tcp-keepidle', 0)),\n"
        "  'nil, Invalid argument')\n");
}

static void what_is_misused_raises(void **state)
{
    (void)state;
    socket_rig_run(
        "for _, call in ipairs { { 'x', true }, { 'keepalive', 1 },\n"
        "    { 'keepalive' }, { 'tcp-keepidle', true },\n"
        "    { 'tcp-keepidle', -1 }, { 'linger', 1 }, { 'linger', {} },\n"
        "    { 'linger', { on = true, timeout = -1 } }, { 'error', 1 } } do\n"
        "  raises(\"'?'\", near.setoption, near, table.unpack(call))\n"
        "end\n"
        "raises(\"no option 'x'\", near.getoption, near, 'x')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(each_is_set_and_got),
        SCRIPT_TEST(they_wait_for_a_descriptor),
        SCRIPT_TEST(what_a_socket_cannot_have_is_refused),
        SCRIPT_TEST(what_is_misused_raises),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
