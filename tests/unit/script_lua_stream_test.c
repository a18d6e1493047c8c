/* script_lua_stream_test.c -- what tasks share of a stream: its limits of time,
 * and its end while they wait.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script/lua_stream.h"
#include "socket_rig.h"

enum { MAGIC = 17 };

static struct lua_stream self;

static int set_up(void **state)
{
    if (rig_set_up(state) != 0)
        return -1;
    rig_open("on_request = print");
    lua_stream_init(&self, MAGIC);
    assert_non_null(lua_stream_need(rig.script->L, &self));
    return 0;
}

static int tear_down(void **state)
{
    lua_stream_free(&self);
    return rig_tear_down(state);
}

static double left_after(enum lua_stream_limit limit, double seconds)
{
    return lua_stream_left(&self, limit, loop_now() - seconds);
}

static void there_is_no_limit_at_first(void **state)
{
    (void)state;
    assert_true(lua_stream_start(&self) == 0);
    for (int i = 0; i < LUA_STREAM_LIMITS; i++)
        assert_true(left_after((enum lua_stream_limit)i, 1e6) < 0);
}

static void waits_and_calls_are_limited_apart(void **state)
{
    (void)state;
    lua_stream_set_limit(&self, 10, false);
    assert_true(lua_stream_start(&self) > 0);
    assert_true(left_after(LUA_STREAM_SEND, 4) > 5);
    assert_true(left_after(LUA_STREAM_SEND, 4) <= 6);
    assert_true(left_after(LUA_STREAM_SEND, 11) == 0);
    lua_stream_set_limit(&self, 20, true);
    assert_true(left_after(LUA_STREAM_RECEIVE, 11) == 0);
    stream_stats(self.stream)->last_in = loop_now();
    assert_true(left_after(LUA_STREAM_RECEIVE, 11) > 8);
    assert_true(left_after(LUA_STREAM_RECEIVE, 11) <= 9);
    assert_true(left_after(LUA_STREAM_RECEIVE, 21) == 0);
    assert_true(left_after(LUA_STREAM_SEND, 11) == 0);
    lua_stream_set_limit(&self, -1, false);
    assert_true(left_after(LUA_STREAM_SEND, 11) > 8);
    lua_stream_set_limit(&self, 0, false);
    assert_true(left_after(LUA_STREAM_SEND, 0) == 0);
}

static void a_closed_one_is_needed_again(void **state)
{
    struct stream *first = self.stream;

    (void)state;
    assert_ptr_equal(lua_stream_need(rig.script->L, &self), first);
    assert_false(lua_stream_is_open(&self));
    assert_false(lua_stream_is_up(&self));
    assert_int_equal(stream_open(first, AF_INET), 0);
    assert_true(lua_stream_is_open(&self));
    assert_false(lua_stream_is_up(&self));
    lua_stream_close(&self);
    assert_null(self.stream);
    lua_stream_close(&self);
    assert_int_equal(lua_stream_release(&self), -1);
    assert_int_equal(self.closings, 3);
    assert_non_null(lua_stream_need(rig.script->L, &self));
}

static int need(lua_State *L)
{
    lua_stream_need(L, lua_touserdata(L, 1));
    return 0;
}

/* The status of needing a stream, with the k-th allocation failing. */
static int try_to_need(size_t k)
{
    int status;

    lua_pushcfunction(rig.script->L, need);
    lua_pushlightuserdata(rig.script->L, &self);
    alloc_fail_at(k);
    status = lua_pcall(rig.script->L, 1, 0, 0);
    alloc_fail_at(0);
    return status;
}

static void where_it_cannot_be_had_it_raises(void **state)
{
    lua_State *L = rig.script->L;

    (void)state;
    lua_stream_free(&self);
    rig.script->is_closing = true;
    assert_int_equal(try_to_need(0), LUA_ERRRUN);
    assert_contains(lua_tostring(L, -1), "the script is ending");
    rig.script->is_closing = false;
    for (size_t k = 1; try_to_need(k) != LUA_OK; k++) {
        assert_contains(lua_tostring(L, -1), "not enough memory");
        assert_null(self.stream);
        lua_settop(L, 0);
    }
    assert_non_null(self.stream);
}

/* --- what tasks see ------------------------------------------------------- */

static void a_close_wakes_all_who_wait(void **state)
{
    (void)state;
    socket_rig_run(SOCKET_BIG
                   "local r = fcgi.spawn(near.receive, near)\n"
                   "local w = fcgi.spawn(near.send, near, big)\n"
                   "local x = fcgi.spawn(fcgi.wait, near, 'r')\n"
                   "fcgi.sleep(0) near:close()\n"
                   "equal(show(r:join()), 'nil, closed, ')\n"
                   "local _, err, sent = w:join()\n"
                   "equal(err, 'closed') assert(sent > 0 and sent < #big)\n"
                   "equal(show(x:join()), 'nil, closed')\n");
}

static void who_waited_gets_what_had_come(void **state)
{
    (void)state;
    socket_rig_run("local r = fcgi.spawn(near.receive, near)\n"
                   "fcgi.sleep(0) far:send('begun')\n"
                   "while not near:dirty() do fcgi.sleep(0) end\n"
                   "near:close() near:close()\n"
                   "equal(near:dirty(), false)\n"
                   "equal(show(near:receive(1)), 'nil, closed, ')\n"
                   "equal(show(r:join()), 'nil, closed, begun')\n");
}

static void who_waited_does_not_see_the_next_connection(void **state)
{
    (void)state;
    socket_rig_run(SOCKET_BIG
                   "local r = fcgi.spawn(near.receive, near)\n"
                   "local w = fcgi.spawn(near.send, near, big)\n"
                   "local c = fcgi.spawn(server.accept, server)\n"
                   "fcgi.sleep(0) near:close()\n"
                   "assert(near:connect(host, port))\n"
                   "local other <close> = c:join()\n"
                   "equal(show(r:join()), 'nil, closed, ')\n"
                   "equal(select(2, w:join()), 'closed')\n"
                   "other:send 'new\\n' equal(near:receive(), 'new')\n");
}

/* A task that is cancelled after it was woken takes nothing away. */
static void who_was_woken_and_closed_loses_nothing(void **state)
{
    (void)state;
    socket_rig_run("local co = coroutine.create(function()\n"
                   "  near:receive() end)\n"
                   "local t = fcgi.spawn(coroutine.resume, co)\n"
                   "fcgi.sleep(0) far:send('line\\n')\n"
                   "while not near:dirty() do fcgi.sleep(0) end\n"
                   "coroutine.close(co) t:join()\n"
                   "equal(near:receive(), 'line')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(there_is_no_limit_at_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(waits_and_calls_are_limited_apart,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_closed_one_is_needed_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(where_it_cannot_be_had_it_raises,
                                        set_up, tear_down),
        SCRIPT_TEST(a_close_wakes_all_who_wait),
        SCRIPT_TEST(who_waited_gets_what_had_come),
        SCRIPT_TEST(who_waited_does_not_see_the_next_connection),
        SCRIPT_TEST(who_was_woken_and_closed_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
