"""A long mixed run leaves no file and no memory behind.

SPDX-License-Identifier: MIT
"""
import random

import pytest

from support import fastcgi, gateway
from support.fastcgi import BEGIN, GET_VALUES, begin_body, record
from support.lua import ECHO, params_for

MIB = 1 << 20


def good(lua, conn, rng):
    body = rng.randbytes(rng.choice([0, 1, 100, 5000, 300_000]))
    assert lua.on(conn, ECHO, body=body).body == body


def unread_body(lua, conn, rng):
    assert lua.on(conn, "return 200, {}, 'x'",
                  body=bytes(100_000)).text == "x"


def handler_error(lua, conn, rng):
    assert lua.on(conn, rng.choice([
        "error 'x'", "error {}", "local x <close> = setmetatable({}, "
        "{__close = error}) fcgi.sleep(0) error 'x'", "coroutine.yield()",
        "return 200, {}, true", "req:write 'no head'"])).status == 500


def late_error(lua, conn, rng):
    assert lua.on(conn, "req:write('A: b\\n\\n', ('x'):rep(100000)) "
                  "fcgi.sleep(0) error 'late'").app_status == 1


def many_ids(lua, conn, rng):
    for id in range(1, 21):
        lua.start(conn, id, "fcgi.sleep(0.001) return 200, {}, "
                  "req:body() or ''", body=b"%d" % id)
    for id in range(1, 21):
        assert conn.collect(id).text == str(id)


def aborted(lua, conn, rng):
    conn.begin(1)
    state = rng.randrange(4)
    if state > 0:
        conn.params(1, params_for(rng.choice([
            ECHO, "fcgi.sleep(0.01)", "req:on_abort(function() end) "
            "req:body()", "while req:write('A: b\\n\\n') do "
            "fcgi.sleep(0) end"])), end=state > 1)
    if state > 2:
        conn.stdin(1, b"part", end=False)
    conn.abort(1)
    conn.collect(1)


def lost(lua, conn, rng):
    with lua.connect() as other:
        lua.start(other, 1, rng.choice([
            ECHO, "fcgi.sleep(0.005) return 200, {}, 'x'",
            "req:set_status(200) for i = 1, 50 do "
            "if not req:write(('x'):rep(65536)) then break end end",
            "local f = function() fcgi.sleep(0.002) end "
            "coroutine.wrap(f)() req:read(5)"]), body=bytes(5000))


def broken(lua, conn, rng):
    with lua.connect() as other:
        other.send_raw(rng.choice([
            rng.randbytes(50), record(BEGIN, 1, b"short"),
            record(BEGIN, 1, begin_body(), version=3),
            record(BEGIN, 1, begin_body()) * 2, record(4, 0, b"x")]))


def management(lua, conn, rng):
    conn.get_values()
    conn.send_raw(record(99, 0))
    assert conn.read_management().type == fastcgi.UNKNOWN_TYPE
    with lua.connect() as other:
        other.send_raw(record(GET_VALUES, 0, b"\x05"))


def iterators_and_files(lua, conn, rng):
    assert lua.on(conn, "local n = 0 return 200, {}, function() n = n + 1 "
                  "fcgi.sleep(0) if n < 5 then return 'x' end end"
                  ).body == b"xxxx"
    assert lua.on(conn, "local f = assert(io.tmpfile()) "
                  "f:write(('y'):rep(100000)) f:seek('set') "
                  "return 200, {}, f").body == b"y" * 100_000


def coroutines(lua, conn, rng):
    assert lua.on(conn, "local out = {} for v in coroutine.wrap(function() "
                  "for i = 1, 5 do fcgi.sleep(0) coroutine.yield(i) end end) "
                  "do out[#out + 1] = v end local left = coroutine.wrap("
                  "function() coroutine.yield(1) end) left() "
                  "return 200, {}, table.concat(out)").text == "12345"


def refused(lua, conn, rng):
    conn.start(1, params_for(ECHO), b"x", role=42, defaults=False)
    assert conn.collect(1).protocol_status == fastcgi.UNKNOWN_ROLE


def too_large(lua, conn, rng):
    assert lua.on(conn, "req:body(1 << 30) return 200",
                  body=bytes(3 << 20)).status == 413


def spooled(lua, conn, rng):
    conn.begin(2)
    conn.begin(1)
    conn.params(1, params_for("while not go do fcgi.sleep(0.002) end go = nil"
                              " return 200, {}, '' .. #req:body()"))
    conn.stdin(1, bytes(MIB))
    conn.params(2, params_for("go = true return 200"))
    conn.stdin(2)
    assert conn.collect(1).text == str(MIB)
    conn.collect(2)


STEPS = [good, unread_body, handler_error, late_error, many_ids, aborted,
         lost, broken, management, iterators_and_files, coroutines, refused,
         too_large, spooled]


@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_mixed_run_leaves_nothing_behind(lua_with, listen):
    lua = lua_with("--max-body=2M", "--log-level=error", "--timeout=30",
                   listen=listen, lean=True)
    gw, rng = lua.gateway, random.Random(7)

    def go(rounds):
        with lua.connect() as conn:
            for _ in range(rounds):
                for step in rng.sample(STEPS, len(STEPS)):
                    try:
                        step(lua, conn, rng)
                    except (AssertionError, OSError) as error:
                        raise AssertionError(f"{step.__name__}: {error}"
                                             ) from error
            lua.on(conn, "collectgarbage() collectgarbage() return 200")

    idle = gw.fds()
    go(12)
    gw.wait_fds(idle)
    before = gw.rss()
    go(35)
    gw.wait_fds(idle)
    lua("collectgarbage() collectgarbage() return 200")
    heap = float(lua.value("(collectgarbage 'count')"))
    assert heap < 4096, f"{heap} KiB of Lua memory"
    allowed = (16 if gateway.is_asan() else 4) * MIB
    assert gw.rss() - before < allowed


def test_lua_memory_does_not_grow_with_requests(lua_with):
    lua = lua_with()

    def used():
        return float(lua.value("(function() collectgarbage() "
                               "collectgarbage() return "
                               "collectgarbage 'count' end)()"))

    with lua.connect() as conn:
        for _ in range(100):
            lua.on(conn, "fcgi.sleep(0) return 200", body=b"x")
        before = used()
        for _ in range(2000):
            lua.on(conn, "return 200, {}, 'x'", {"X": "y" * 1000}, b"x")
    assert used() - before < 64
