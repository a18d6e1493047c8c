/* script_lua_stream_read_test.c -- patterns, prefixes and partial results.
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

static void lines_lose_their_ends(void **state)
{
    (void)state;
    socket_rig_run("far:send('\\na\\r\\nb\\r\\r\\n\\rc\\rd\\r\\n\\r\\ne')\n"
                   "far:close()\n"
                   "for _, line in ipairs { '', 'a', 'b', 'cd', '' } do\n"
                   "  equal(near:receive(), line)\n"
                   "end\n"
                   "equal(show(near:receive()), 'nil, closed, e')\n"
                   "equal(show(near:receive()), 'nil, closed, ')\n");
}

/* A line that comes byte by byte is not looked at from its begin each time,
 * whatever else is read between. */
static void a_line_may_come_in_pieces(void **state)
{
    (void)state;
    socket_rig_run("near:settimeout(0.001)\n"
                   "local begun, lines, _ = nil, {}\n"
                   "for part in ('one t-wo\\nthree-\\n'):gmatch('[^-]+') do\n"
                   "  far:send(part)\n"
                   "  while not near:dirty() do fcgi.sleep(0) end\n"
                   "  lines[#lines + 1], _, begun = near:receive('*l', begun)\n"
                   "end\n"
                   "equal(show(table.unpack(lines)), 'one two, three')\n");
}

static void what_was_looked_at_counts_for_this_connection_only(void **state)
{
    (void)state;
    socket_rig_run("near:settimeout(0) far:send('no newline')\n"
                   "fcgi.wait(near, 'r') equal(near:receive(1), 'n')\n"
                   "local t = fcgi.spawn(near.receive, near)\n"
                   "fcgi.sleep(0) near:close() t:join()\n"
                   "near:settimeout() near:connect(host, port)\n"
                   "local next <close> = server:accept()\n"
                   "next:send('a\\nb\\n')\n"
                   "equal(near:receive(), 'a') equal(near:receive(), 'b')\n");
}

static void a_prefix_comes_first(void **state)
{
    (void)state;
    socket_rig_run("far:send('lo\\nabc') far:close()\n"
                   "equal(near:receive('*l', 'hel'), 'hello')\n"
                   "equal(near:receive(2, 'xyz'), 'xyz')\n"
                   "equal(near:receive(3, 12), '12a')\n"
                   "equal(show(near:receive(9, '<')), 'nil, closed, <bc')\n"
                   "equal(show(near:receive('*a', '<')), 'nil, closed, <')\n");
}

static void a_pattern_may_be_cut_anywhere(void **state)
{
    (void)state;
    socket_rig_run("local data = 'aab-aaab--b-aab'\n"
                   "for cut = 1, #data - 1 do\n"
                   "  far:send(data:sub(1, cut))\n"
                   "  local got = near:receiveuntil('aab')\n"
                   "  local t = fcgi.spawn(function()\n"
                   "    return show(got(), got(), got())\n"
                   "  end)\n"
                   "  fcgi.sleep(0) fcgi.sleep(0)\n"
                   "  far:send(data:sub(cut + 1))\n"
                   "  equal(t:join(), ', -a, --b-')\n"
                   "end\n");
}

static void parts_are_never_longer_than_they_may_be(void **state)
{
    (void)state;
    socket_rig_run(
        "for size = 1, 9 do\n"
        "  for _, data in ipairs { 'abcdefg--', '--', '-a--', 'a-b-c--' } do\n"
        "    far:send(data)\n"
        "    local next, all = near:receiveuntil '--', {}\n"
        "    for part in next, size do\n"
        "      assert(#part <= size, part) all[#all + 1] = part\n"
        "    end\n"
        "    equal(table.concat(all), data:sub(1, -3))\n"
        "  end\n"
        "end\n");
}

static void the_pattern_can_be_kept(void **state)
{
    (void)state;
    socket_rig_run(
        "far:send('one\\r\\ntwo\\r\\n')\n"
        "local next = near:receiveuntil('\\r\\n', { inclusive = true })\n"
        "equal(next(), 'one\\r\\n') equal(next(2), 'tw')\n"
        "equal(next(2), 'o\\r\\n') equal(show(next(2)), 'nil, nil, nil')\n");
}

static void one_task_reads(void **state)
{
    (void)state;
    socket_rig_run("local t = fcgi.spawn(near.receive, near) fcgi.sleep(0)\n"
                   "equal(show(near:receive(1, 'x')),\n"
                   "  'nil, socket busy reading, x')\n"
                   "equal(show(near:receiveany(1)),\n"
                   "  'nil, socket busy reading')\n"
                   "far:send('mine\\n') equal(t:join(), 'mine')\n");
}

static void what_is_misused_raises(void **state)
{
    (void)state;
    socket_rig_run(
        "raises('invalid receive pattern', near.receive, near, 'x')\n"
        "raises('invalid receive pattern', near.receive, near, -1)\n"
        "raises('no integer', near.receive, near, 0.5)\n"
        "raises('string expected', near.receive, near, 1, {})\n"
        "raises('must be positive', near.receiveany, near, 0)\n"
        "raises('pattern is empty', near.receiveuntil, near, '')\n"
        "raises('must be positive', near:receiveuntil 'x', 0)\n");
}

/* --- through a layer ------------------------------------------------------ */

/* A layer that turns each byte round. */
#define LAYER                                                                  \
    "local private = debug.getregistry()['fcgi-test']\n"                       \
    "local layer = { __name = 'layer' } layer.__index = layer\n"               \
    "function layer:read(max, seconds) self.reads = self.reads + 1\n"          \
    "  if #self.data == 0 then return nil, self.err end\n"                     \
    "  local part = self.data:sub(1, math.min(max, 7))\n"                      \
    "  self.data = self.data:sub(#part + 1)\n"                                 \
    "  fcgi.sleep(0) return part\n"                                            \
    "end\n"                                                                    \
    "function layer:write(data, seconds)\n"                                    \
    "  fcgi.sleep(0) self.data = self.data .. data\n"                          \
    "  if #self.data > 64 then return nil, 'timeout', 3 end return true\n"     \
    "end\n"                                                                    \
    "function layer:close() self.closed = true error('never seen') end\n"      \
    "local one = setmetatable({ data = '', reads = 0, err = 'closed' },\n"     \
    "  layer)\n"

static void open_private(void)
{
    lua_State *L = rig.script->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, rig.script->private);
    lua_setfield(L, LUA_REGISTRYINDEX, "fcgi-test");
}

static void a_layer_is_read_in_its_place(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local function equal(a, b)\n"
             "  if a ~= b then error(tostring(a), 2) end end\n"
             "local function show(...) local t = table.pack(...)\n"
             "  for i = 1, t.n do t[i] = tostring(t[i]) end\n"
             "  return table.concat(t, ', ') end\n"
             "function on_request(req)\n" SOCKET_PAIR LAYER
             "private.set_tls(near, one)\n"
             "equal(near:send('first line\\nsecond one--rest'), 27)\n"
             "equal(near:receive(), 'first line')\n"
             "equal(near:receiveuntil '--'(), 'second one')\n"
             "equal(near:receive(2), 're')\n"
             "equal(near:receive '*a', 'st')\n"
             "equal(show(near:receive()), 'nil, closed, ')\n"
             "one.err = 'timeout'\n"
             "one.data = 'begun' equal(show(near:receive()), 'nil, timeout, "
             "begun')\n"
             "equal(near:send({ 'a', 1 }, 2), 2) equal(near:receive(1), '1')\n"
             "equal(show(near:send(('x'):rep(99), 5)), 'nil, timeout, 7')\n"
             "equal(near:receiveany(99), 'xxxxxxx')\n"
             "near:close() equal(one.closed, true)\n"
             "equal(show(near:receive()), 'nil, closed, ')\n"
             "req:send(200, nil, 'ok')\nend\n");
    open_private();
    rig_serve(&request);
    rig_check(&request);
}

/* --- memory --------------------------------------------------------------- */

static const char reading[] =
    "far:send('a\\rline\\n' .. ('x'):rep(40000) .. 'one--two-')\n"
    "assert(near:receive('*l', 'not ') == 'not aline')\n"
    "assert(#near:receive(40000) == 40000)\n"
    "local f = near:receiveuntil '--'\n"
    "assert(f(2) == 'on' and f() == 'e')\n"
    "far:close()\n"
    "assert(near:receive '*a' == 'two-')\n";

static void comes_through_without_memory(void **state)
{
    (void)state;
    socket_rig_run_without_memory(reading);
}

static void what_lua_cannot_hold_stays_where_it_is(void **state)
{
    (void)state;
    rig.config.memory_limit = rig.limits.memory_limit = 8 * 1024 * 1024;
    socket_rig_run("local t = fcgi.spawn(function()\n"
                   "  local part = ('x'):rep(1 << 16)\n"
                   "  for i = 1, 256 do far:send(part) end far:close()\n"
                   "end)\n"
                   "equal(show(near:receive '*a'), 'nil, too large, ')\n"
                   "equal(show(near:receive(1 << 30)), 'nil, too large, ')\n"
                   "local n = 0\n"
                   "for part in function() return near:receiveany(4096) end\n"
                   "do\n"
                   "  n = n + #part collectgarbage 'step'\n"
                   "end\n"
                   "equal(n, 1 << 24)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(lines_lose_their_ends),
        SCRIPT_TEST(a_line_may_come_in_pieces),
        SCRIPT_TEST(what_was_looked_at_counts_for_this_connection_only),
        SCRIPT_TEST(a_prefix_comes_first),
        SCRIPT_TEST(a_pattern_may_be_cut_anywhere),
        SCRIPT_TEST(parts_are_never_longer_than_they_may_be),
        SCRIPT_TEST(the_pattern_can_be_kept),
        SCRIPT_TEST(one_task_reads),
        SCRIPT_TEST(what_is_misused_raises),
        SCRIPT_TEST(a_layer_is_read_in_its_place),
        SCRIPT_TEST(comes_through_without_memory),
        SCRIPT_TEST(what_lua_cannot_hold_stays_where_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
