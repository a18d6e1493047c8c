"""A handler that sleeps holds back nobody.

SPDX-License-Identifier: MIT
"""
import pytest

from support import fastcgi
from support.lua import params_for

# Ends only when as many handlers as N run at the same time.
TOGETHER = ("running = (running or 0) + 1 local n = tonumber(req:param 'N') "
            "while running < n do fcgi.sleep(0.02) end "
            "return 200, {}, 'together'")


def test_1000_requests_sleep_at_once_on_one_connection(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        for id in range(1, 1001):
            lua.start(conn, id, TOGETHER, {"N": "1000"})
        for id in range(1, 1001):
            assert conn.collect(id).text == "together"


def test_1000_requests_sleep_at_once_on_many_connections(lua_with,
                                                         many_files):
    lua = lua_with()
    request = fastcgi.request_bytes(1, params_for(TOGETHER, {"N": "1000"}),
                                    defaults=False)
    conns = []
    try:
        for _ in range(1000):
            conn = lua.connect()
            conns.append(conn)
            conn.expect(1)
            conn.send_raw(request)
        for conn in conns:
            assert conn.collect(1).text == "together"
    finally:
        for conn in conns:
            conn.close()


def test_requests_are_served_while_others_sleep(lua):
    with lua.connect() as conn:
        for id in range(1, 101):
            lua.start(conn, id, "while not go do fcgi.sleep(0.005) end "
                      "return 200, {}, 'slept'")
        for id in range(101, 151):
            assert lua.on(conn, "return 200, {}, 'quick'",
                          id=id).text == "quick"
        lua.on(conn, "go = true return 200", id=200)
        for id in range(1, 101):
            assert conn.collect(id).text == "slept"
        lua("go = nil return 200")


def test_sleep_is_never_too_short(lua):
    for seconds in ("0", "0.001", "0.02", "0.05"):
        assert lua.value(f"(function() local t = fcgi.now() "
                         f"fcgi.sleep({seconds}) "
                         f"return fcgi.now() - t >= {seconds} end)()") == \
            "true"


def test_sleep_after_a_long_computation_is_never_too_short(lua):
    assert lua.value(
        "(function() local t = fcgi.now() while fcgi.now() - t < 0.1 do end "
        "t = fcgi.now() fcgi.sleep(0.05) return fcgi.now() - t >= 0.05 "
        "end)()") == "true"


def test_shorter_sleeps_end_first(lua):
    with lua.connect() as conn:
        for id, seconds in ((1, 0.4), (2, 0.2), (3, 0.01)):
            lua.start(conn, id, f"fcgi.sleep({seconds}) order = (order or '')"
                      f" .. {id} return 200, {{}}, order")
        conn.collect_all([3, 2])
        assert conn.collect(1).text == "321"
        lua("order = nil return 200")


def test_now_is_monotonic(lua):
    assert lua.value("type(fcgi.now()), fcgi.now() <= fcgi.now()") == \
        '"number", true'


@pytest.mark.parametrize("call", ["sleep()", "sleep('x')", "sleep({})",
                                  "sleep(0/0)"])
def test_wrong_sleeps_raise(lua, call):
    assert lua.value(f"(pcall(function() fcgi.{call} end))") == "false"


def test_sleep_of_zero_lets_others_run(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, "while not go do fcgi.sleep(0) end go = nil "
                  "return 200, {}, 'let'")
        lua.on(conn, "go = true return 200", id=2)
        assert conn.collect(1).text == "let"


def test_busy_tasks_do_not_stop_the_others(lua):
    with lua.connect() as conn:
        for id in range(1, 21):
            lua.start(conn, id, "while not go do for i = 1, 1000 do end "
                      "fcgi.sleep(0) end return 200, {}, 'done'")
        for id in range(100, 120):
            assert lua.on(conn, "return 200, {}, 'quick'",
                          id=id).text == "quick"
        lua.on(conn, "go = true return 200", id=200)
        for id in range(1, 21):
            assert conn.collect(id).text == "done"
        lua("go = nil return 200")
