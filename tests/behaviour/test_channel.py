"""Channels between the tasks of a gateway.

SPDX-License-Identifier: MIT
"""
import pytest

VALUES = {
    "rendezvous": (
        "local ch = fcgi.channel() local log = {} "
        "local t = fcgi.spawn(function() for i = 1, 3 do ch:put(i) "
        "log[#log + 1] = 'p' .. i end end) "
        "for i = 1, 3 do fcgi.sleep(0.001) log[#log + 1] = 'g' .. ch:get() "
        "end t:join() return 200, {}, table.concat(log, ' ')",
        "g1 p1 g2 p2 g3 p3"),
    "order of getters": (
        "local ch, got, tasks = fcgi.channel(), {}, {} "
        "for i = 1, 5 do tasks[i] = fcgi.spawn(function() "
        "local v = ch:get() got[#got + 1] = i .. v end) end fcgi.sleep(0) "
        "for i = 1, 5 do ch:put('v' .. i) end "
        "for i = 1, 5 do tasks[i]:join() end "
        "return 200, {}, table.concat(got, ' ')", "1v1 2v2 3v3 4v4 5v5"),
    "order of putters": (
        "local ch, got = fcgi.channel(), {} "
        "for i = 1, 5 do fcgi.spawn(ch.put, ch, i) end fcgi.sleep(0) "
        "for i = 1, 5 do got[i] = ch:get() end "
        "return 200, {}, table.concat(got, ' ')", "1 2 3 4 5"),
    "capacity": (
        "local ch = fcgi.channel(2) return 200, {}, dump(ch:put(1), "
        "ch:put(2), select(2, ch:put(3, 0)), ch:get(), (ch:put(4, 0)), "
        "ch:get(), ch:get(), select(2, ch:get(0)))",
        'true, true, "timeout", 1, true, 2, 4, "timeout"'),
    "false": ("local ch = fcgi.channel(1) ch:put(false) "
              "return 200, {}, dump(ch:get())", "false"),
    "any value": (
        "local ch, t = fcgi.channel(3), {} ch:put(t) ch:put(ch) ch:put(print)"
        " return 200, {}, dump(ch:get() == t, ch:get() == ch, "
        "ch:get() == print)", "true, true, true"),
    "timeouts": (
        "local ch = fcgi.channel() local t = fcgi.now() "
        "local _, get = ch:get(0.02) local _, put = ch:put(1, 0.02) "
        "return 200, {}, dump(get, put, fcgi.now() - t >= 0.04, "
        "select(2, ch:get(0)), select(2, ch:put(1, 0)))",
        '"timeout", "timeout", true, "timeout", "timeout"'),
    "close": (
        "local ch = fcgi.channel(1) ch:put('kept') "
        "local p = fcgi.spawn(ch.put, ch, 'late') fcgi.sleep(0) ch:close() "
        "ch:close() return 200, {}, dump(select(2, p:join()), ch:get(), "
        "select(2, ch:get()), select(2, ch:put(1)))",
        '"closed", "kept", "closed", "closed"'),
    "close wakes getters": (
        "local ch = fcgi.channel() local a = fcgi.spawn(ch.get, ch) "
        "local b = fcgi.spawn(ch.get, ch, 3600) fcgi.sleep(0) ch:close() "
        "return 200, {}, dump(select(2, a:join()), select(2, b:join()))",
        '"closed", "closed"'),
    "loop until closed": (
        "local ch, sum = fcgi.channel(4), 0 local t = fcgi.spawn(function() "
        "for v in function() return (ch:get()) end do sum = sum + v end "
        "return sum end) for i = 1, 1000 do ch:put(i) end ch:close() "
        "return 200, {}, t:join()", "500500"),
    "cancelled getter": (
        "local ch = fcgi.channel() local a = fcgi.spawn(ch.get, ch) "
        "local b = fcgi.spawn(ch.get, ch) fcgi.sleep(0) a:cancel() "
        "ch:put('v') return 200, {}, dump(select(2, a:join()), b:join())",
        '"cancelled", "v"'),
    "getter cancelled after the hand-over": (
        "local ch = fcgi.channel() local a = fcgi.spawn(ch.get, ch) "
        "fcgi.sleep(0) ch:put('v') a:cancel() "
        "return 200, {}, dump(a:join())", '"v"'),
    "getter's coroutine closed after the hand-over": (
        "local ch = fcgi.channel() local co = coroutine.create(function() "
        "return ch:get() end) fcgi.spawn(coroutine.resume, co) fcgi.sleep(0)"
        " ch:put('v') coroutine.close(co) "
        "return 200, {}, dump(ch:get(0))", '"v"'),
    "cancelled putter": (
        "local ch = fcgi.channel() local p = fcgi.spawn(ch.put, ch, 'v') "
        "fcgi.sleep(0) p:cancel() p:join() "
        "return 200, {}, dump(ch:get(0))", 'nil, "timeout"'),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(lua, name):
    code, wanted = VALUES[name]
    assert lua.text(code) == wanted


@pytest.mark.parametrize("call, message", [
    ("ch:put(nil)", "bad argument #1 to 'put' (nil is what an empty channel "
     "gives)"),
    ("ch:put(1, 'x')", "bad argument #2 to 'put' (number expected, got "
     "string)"),
    ("ch:put(1, -1)", "bad argument #2 to 'put' (not a number of seconds)"),
    ("ch:get({})", "bad argument #1 to 'get' (number expected, got table)"),
    ("ch:get(0/0)", "bad argument #1 to 'get' (not a number of seconds)"),
    ("ch.get()", "bad self (write channel:get, with a colon)"),
    ("fcgi.channel(-1)", "bad argument #1 to 'channel' (not a number of "
     "values)"),
    ("fcgi.channel(1.5)", "bad argument #1 to 'channel' (not a number of "
     "values)"),
    ("table.sort({ 2, 1 }, function()\nch:get() end)", None),
])
def test_misuse_names_the_line(lua, call, message):
    wanted = (f"test:3: {message}" if message else
              "test:4: cannot wait here (inside table.sort)")
    assert lua.text(f"\nlocal ch = fcgi.channel() local _, err = pcall("
                    f"function()\n{call}\nend) return 200, {{}}, err"
                    ) == wanted


def test_a_channel_joins_requests(gateway):
    gw = gateway("local fcgi = require 'fcgi' local ch = fcgi.channel() "
                 "function on_request(req) if req:param 'PUT' then "
                 "ch:put(req:param 'PUT') return 200, {}, 'put' end "
                 "fcgi.log('notice', 'waits') return 200, {}, ch:get() end")
    with gw.connect() as conn:
        conn.start(1)
        gw.wait_log("waits")
        assert gw.request({"PUT": "through"}).text == "put"
        assert conn.collect(1).text == "through"


def test_values_of_an_aborted_getter_are_not_lost(gateway):
    gw = gateway("local fcgi = require 'fcgi' local ch = fcgi.channel() "
                 "return { abort = 'cancel', on_request = function(req) "
                 "if req:param 'PUT' then return 200, {}, tostring("
                 "ch:put(req:param 'PUT', 3600)) end "
                 "fcgi.log('notice', 'waits') "
                 "local x <close> = setmetatable({}, { __close = function() "
                 "fcgi.log('notice', 'gone') end }) "
                 "return 200, {}, ch:get() end }")
    with gw.connect() as first, gw.connect() as second:
        first.start(1)
        gw.wait_log("waits")
        first.abort(1)
        first.collect(1)
        gw.wait_log("gone")
        second.start(1, {"PUT": "kept"})
        assert gw.request().text == "kept"
        assert second.collect(1).text == "true"


def test_a_pool_of_workers(lua_with):
    # Top-level style: ten tasks serve what a thousand others ask.
    lua = lua_with()
    assert lua("local jobs = fcgi.channel(10) for _ = 1, 10 do "
               "fcgi.spawn(function() for job in function() "
               "return (jobs:get()) end do fcgi.sleep(0) "
               "job.back:put(job.n * 2) end end) end "
               "local tasks, sum = {}, 0 for i = 1, 1000 do "
               "tasks[i] = fcgi.spawn(function() local back = fcgi.channel()"
               " jobs:put{ n = i, back = back } return back:get() end) end "
               "for i = 1, 1000 do sum = sum + tasks[i]:join() end "
               "return 200, {}, sum").text == "1001000"


def test_channels_that_nobody_serves_do_not_hold_the_exit(lua_with):
    lua = lua_with("--grace=0.2")
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'waits') "
                  "fcgi.channel():get()")
        lua.gateway.wait_log("waits")
        assert lua.gateway.stop() == 0
