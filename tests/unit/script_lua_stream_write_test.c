/* script_lua_stream_write_test.c -- what is sent, and how much of it.
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

static void parts_are_chosen_as_string_sub_does(void **state)
{
    (void)state;
    socket_rig_run(
        "for i = -7, 7 do for j = -7, 7 do\n"
        "  local part = ('hello'):sub(i, j)\n"
        "  local n = near:send('hello', i, j)\n"
        "  if part ~= '' then\n"
        "    local from = i < 0 and math.max(6 + i, 1) or math.max(i, 1)\n"
        "    equal(n, from + #part - 1) equal(far:receive(#part), part)\n"
        "  end\n"
        "  equal(near:send({ 'he', { 'll', 'o' } }, i, j), n)\n"
        "  if part ~= '' then equal(far:receive(#part), part) end\n"
        "end end\n"
        "near:send '!' equal(far:receive(1), '!')\n");
}

static void numbers_are_written_as_lua_writes_them(void **state)
{
    (void)state;
    socket_rig_run(
        "for _, n in ipairs { 0, -1, 1.0, -2.5, 1e15, 1e16, 1e100, 2^53,\n"
        "    math.maxinteger, math.mininteger, 1/0, -1/0, 0.1 } do\n"
        "  near:send { n, '\\n' } equal(far:receive(), tostring(n))\n"
        "  near:send(n) near:send '\\n' equal(far:receive(), tostring(n))\n"
        "end\n");
}

static void lists_are_sent_in_order(void **state)
{
    (void)state;
    socket_rig_run("local list, all = {}, {}\n"
                   "for i = 1, 300 do\n"
                   "  local piece = (i .. ','):rep(i % 40 == 0 and 900 or 1)\n"
                   "  list[i] = i % 3 == 0 and { piece, { i } } or piece\n"
                   "  all[i] = piece .. (i % 3 == 0 and i or '')\n"
                   "end\n"
                   "all = table.concat(all)\n"
                   "local t = fcgi.spawn(far.receive, far, #all)\n"
                   "equal(near:send(list), #all) equal(t:join(), all)\n"
                   "equal(near:send {}, 0) equal(near:send { {}, '' }, 0)\n");
}

static void the_rest_of_a_list_waits_as_one(void **state)
{
    (void)state;
    socket_rig_run(SOCKET_BIG
                   "local list = { 1, big, { 'x' }, 2 }\n"
                   "local t = fcgi.spawn(near.send, near, list)\n"
                   "fcgi.sleep(0) list[3] = nil\n"
                   "equal(#far:receive(#big + 1), #big + 1)\n"
                   "equal(far:receive(2), 'x2') equal(t:join(), #big + 3)\n");
}

static void without_time_it_says_how_far_it_came(void **state)
{
    (void)state;
    socket_rig_run(SOCKET_BIG
                   "near:settimeout(0)\n"
                   "local ok, err, sent = near:send(big, 100)\n"
                   "equal(ok, nil) equal(err, 'timeout')\n"
                   "assert(sent > 99 and sent < #big)\n"
                   "equal(#far:receive(sent - 99), sent - 99)\n"
                   "local first = sent + 1\n"
                   "repeat ok, err, sent = near:send({ big, 'x' }, first)\n"
                   "until sent\n"
                   "equal(err, 'timeout')\n"
                   "assert(sent >= first and sent < #big, sent)\n");
}

static void what_is_misused_raises(void **state)
{
    (void)state;
    socket_rig_run(
        "raises('string expected', near.send, near)\n"
        "raises('string expected', near.send, near, true)\n"
        "raises('list of them expected, got boolean', near.send, near,\n"
        "  { 1, { 2, { false } } })\n"
        "local t = {} t[1] = t raises('too deep', near.send, near, t)\n"
        "local deep = {} for i = 1, 62 do deep = { deep } end\n"
        "equal(near:send(deep), 0)\n"
        "raises('number expected', near.send, near, 'x', {})\n"
        "near:send('!') equal(far:receive(1), '!')\n");
}

static void one_task_writes(void **state)
{
    (void)state;
    socket_rig_run(SOCKET_BIG
                   "local t = fcgi.spawn(near.send, near, big) fcgi.sleep(0)\n"
                   "equal(show(near:send 'x'), 'nil, socket busy writing, 0')\n"
                   "equal(show(near:send { 'x' }),\n"
                   "  'nil, socket busy writing, 0')\n"
                   "far:receive(#big) equal(t:join(), #big)\n");
}

static void who_is_not_connected_sends_nothing(void **state)
{
    (void)state;
    socket_rig_run("local s = fcgi.tcp()\n"
                   "equal(show(s:send 'x'), 'nil, closed, 0')\n"
                   "s:bind('127.0.0.1', 0)\n"
                   "equal(show(s:send { 'x' }), 'nil, closed, 0')\n"
                   "equal(show(s:send('hello', 3)), 'nil, closed, 2')\n"
                   "s:close()\n");
}

/* A finalizer that runs while memory is made for the rest. */
static void a_list_that_changes_is_found_out(void **state)
{
    (void)state;
    socket_rig_run(
        SOCKET_BIG
        "local list, changed = { big, big }, false\n"
        "local function trap() setmetatable({}, { __gc = function()\n"
        "  if not changed then trap() end\n"
        "  if list.armed then list[2] = nil changed = true end end }) end\n"
        "trap() collectgarbage 'generational' list.armed = true\n"
        "local t = fcgi.spawn(far.receiveany, far, 1)\n"
        "near:settimeout(0)\n"
        "local ok, err = pcall(near.send, near, list)\n"
        "list.armed = false collectgarbage 'incremental'\n"
        "if changed and not ok then\n"
        "  assert(err:find('a list that is sent was changed'), err)\n"
        "else\n"
        "  equal(err, nil) -- the collector did not run\n"
        "end\n"
        "t:join()\n");
}

/* Nothing waits: nobody may be left who reads. */
static const char sending[] =
    "near:setoption('send-buffer-size', 4096)\n"
    "far:setoption('recv-buffer-size', 4096)\n"
    "near:settimeout(0) far:settimeout(0)\n"
    "local part = ('x'):rep(20000)\n"
    "local list = { 1, 'a', { part, part, part, 2.5 } }\n"
    "local _, err, sent = near:send(list)\n"
    "while sent do\n"
    "  assert(err == 'timeout', err)\n"
    "  _, err = far:receiveany(1 << 20)\n"
    "  assert(_ or err == 'timeout', err)\n"
    "  _, err, sent = near:send(list, sent + 1)\n"
    "end\n";

static void comes_through_without_memory(void **state)
{
    (void)state;
    socket_rig_run_without_memory(sending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(parts_are_chosen_as_string_sub_does),
        SCRIPT_TEST(numbers_are_written_as_lua_writes_them),
        SCRIPT_TEST(lists_are_sent_in_order),
        SCRIPT_TEST(the_rest_of_a_list_waits_as_one),
        SCRIPT_TEST(without_time_it_says_how_far_it_came),
        SCRIPT_TEST(what_is_misused_raises),
        SCRIPT_TEST(one_task_writes),
        SCRIPT_TEST(who_is_not_connected_sends_nothing),
        SCRIPT_TEST(a_list_that_changes_is_found_out),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
