"""Bounded memory: big bodies, slow readers, slow handlers, neighbours.

SPDX-License-Identifier: MIT
"""
import threading

import pytest

from support import fastcgi, gateway
from support.fastcgi import STDIN, encode_params, record
from support.lua import ECHO, params_for

MIB = 1 << 20
PART = bytes(range(256)) * 256      # 64 KiB


def bound(mib=32):
    """AddressSanitizer costs a multiple."""
    return mib * MIB * (2 if gateway.is_asan() else 1)


@pytest.fixture
def lean(lua_with):
    """A Lua that was used once, and what it needs when idle."""
    lua = lua_with(lean=True)
    with lua.connect() as conn:
        for _ in range(20):
            lua.on(conn, ECHO, body=b"x" * 100_000)
    return lua, lua.gateway.rss()


def read_away(conn, got=0):
    """Reads to the end of the request, keeping nothing; how many bytes of
    STDOUT there were after the head."""
    first = True
    while (rec := conn.read_record()).type != fastcgi.END:
        content = rec.content
        if first:
            head, sep, content = content.partition(b"\r\n\r\n")
            assert sep, "the first record has no whole head"
            first = False
        got += len(content)
    return got


def test_64_mib_in(lean):
    lua, idle = lean
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "local n, sum = 0, 0 for s in function() return req:read(65536) "
            "end do n = n + #s sum = sum + s:byte(1) + s:byte(-1) end "
            "return 200, {}, '' .. n"))
        part = record(STDIN, 1, PART[:32768])
        for _ in range(64 * 32):
            conn.send_raw(part)
        conn.stdin(1)
        assert conn.collect(1).text == str(64 * MIB)
    assert lua.gateway.peak_rss() - idle < bound()


def test_64_mib_out(lean):
    lua, idle = lean
    with lua.connect() as conn:
        lua.start(conn, 1, "req:write('A: b\\n\\n') local s = "
                  "('0123456789abcdef'):rep(4096) for i = 1, 1024 do "
                  "req:write(s) end")
        assert read_away(conn) == 64 * MIB
    assert lua.gateway.peak_rss() - idle < bound()


def test_64_mib_echo(lean):
    lua, idle = lean
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "req:write('A: b\\n\\n') for s in function() "
            "return req:read(65536) end do req:write(s) end"))
        def send():
            part = record(STDIN, 1, PART[:32768])
            for _ in range(64 * 32):
                conn.sock.sendall(part)
            conn.sock.sendall(record(STDIN, 1))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            assert read_away(conn) == 64 * MIB
        finally:
            sender.join()
    assert lua.gateway.peak_rss() - idle < bound()


def test_body_that_nobody_reads(lean):
    lua, idle = lean
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "while not go do fcgi.sleep(0.005) end go = nil "
            "return 200, {}, 'unread'"))
        part = fastcgi.stream(STDIN, 1, PART * 64, cut=32768, end=False)
        sent = conn.send_until_full(part)
        lua("return 200")
        for _ in range(20):
            sent += conn.send_until_full(part[sent:])
            lua("return 200")
        assert sent < len(part), "the gateway reads what nobody wants"
        lua("go = true return 200")
        conn.send_duplex(part[sent:])
        conn.stdin(1)
        assert conn.collect(1).text == "unread"
        assert lua.on(conn, ECHO, body=b"next").text == "next"
    assert lua.gateway.peak_rss() - idle < bound()


def test_slow_readers(lean):
    lua, idle = lean
    conns = [lua.connect(rcvbuf=4096) for _ in range(20)]
    try:
        for conn in conns:
            lua.start(conn, 1, "req:set_status(200) local s = "
                      "('x'):rep(65536) for i = 1, 1024 do req:write(s) end")
        for conn in conns:
            conn.wait_stdout(1)
        for _ in range(100):
            lua("return 200")
        assert lua.gateway.rss() - idle < bound()
    finally:
        for conn in conns:
            conn.close()
    assert lua(ECHO, body=b"next").text == "next"


def test_slow_reader_of_many_ids(lean):
    lua, idle = lean
    with lua.connect(rcvbuf=4096) as conn:
        for id in range(1, 51):
            lua.start(conn, id, "req:set_status(200) local s = "
                      "('x'):rep(65536) for i = 1, 1024 do req:write(s) end")
        conn.wait_stdout(1)
        for _ in range(100):
            lua("return 200")
        assert lua.gateway.rss() - idle < bound()


def test_one_huge_write_waits(lean):
    # One string of 32 MiB is the script's own memory; it must not be copied.
    lua, idle = lean
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "local s = ('x'):rep(1024):rep(32 << 10) "
                  "req:set_status(200) req:write(s) req:write(s)")
        conn.wait_stdout(1)
        for _ in range(20):
            lua("return 200")
        assert lua.gateway.rss() - idle < 32 * MIB + bound()
        assert len(conn.collect(1).body) == 64 * MIB


def test_spooled_body_is_not_in_memory(lean):
    lua, idle = lean
    with lua.connect() as conn:
        conn.begin(2)
        conn.begin(1)
        conn.params(1, params_for(
            "while not go do fcgi.sleep(0.005) end go = nil local n = 0 "
            "for s in function() return req:read(65536) end do n = n + #s "
            "end return 200, {}, '' .. n"))
        part = record(STDIN, 1, PART[:32768]) * 32
        for _ in range(64):
            conn.send_raw(part)
        conn.stdin(1)
        conn.params(2, params_for("go = true return 200"))
        conn.stdin(2)
        assert conn.collect(1).text == str(64 * MIB)
    assert lua.gateway.peak_rss() - idle < bound()


def test_small_answers_finish_while_a_neighbour_streams(lua):
    # One id streams 16 MiB; the others are answered long before its end.
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "req:set_status(200) local s = ('x'):rep(65536) "
                  "for i = 1, 256 do req:write(s) end")
        conn.wait_stdout(1)
        for id in range(2, 12):
            lua.start(conn, id, "return 200, {}, 'small'")
        for id in range(2, 12):
            assert conn.collect(id).text == "small"
        sofar = len(conn.begun[1].raw)
        assert sofar < 8 * MIB, sofar
        assert len(conn.collect(1).body) == 16 * MIB


def test_one_huge_write_does_not_starve_its_neighbours(lua):
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "req:set_status(200) "
                  "req:write(('x'):rep(1024):rep(16 << 10))")
        conn.wait_stdout(1)
        for id in range(2, 12):
            lua.start(conn, id, "return 200, {}, 'small'")
        for id in range(2, 12):
            assert conn.collect(id).text == "small"
        sofar = len(conn.begun[1].raw)
        assert sofar < 8 * MIB, sofar
        assert len(conn.collect(1).body) == 16 * MIB


def test_streams_of_one_connection_take_turns(lua):
    with lua.connect(rcvbuf=4096) as conn:
        for id in range(1, 9):
            lua.start(conn, id, "req:set_status(200) local s = "
                      "('x'):rep(65536) for i = 1, 64 do req:write(s) end")
        conn.collect(1)
        behind = [len(conn.begun[id].raw) for id in conn.begun]
        assert all(n > MIB for n in behind), behind


def test_streams_of_many_connections_take_turns(lua):
    big, small = lua.connect(), lua.connect()
    with big, small:
        lua.start(big, 1, "req:set_status(200) local s = ('x'):rep(65536) "
                  "while not go do req:write(s) end go = nil")
        big.wait_stdout(1)
        for _ in range(20):
            assert lua.on(small, ECHO, body=b"x").text == "x"
            big.wait_stdout(1, len(big.begun[1].raw) + 1)
        lua("go = true return 200")
        big.collect(1)


def test_idle_connections_cost_less_than_a_kib(lua_with, many_files):
    lua = lua_with("--max-conns=4000", lean=True)
    for _ in range(50):
        lua(ECHO, body=b"x")
    before = lua.gateway.rss()
    conns = []
    try:
        for _ in range(2000):
            conns.append(lua.connect())
            assert lua.on(conns[-1], ECHO, body=b"x").text == "x"
        allowed = 8192 if gateway.is_asan() else 1024
        assert lua.gateway.rss() - before < 2000 * allowed + MIB
    finally:
        for conn in conns:
            conn.close()


def test_params_block_of_a_request_is_freed(lean):
    lua, idle = lean
    with lua.connect() as conn:
        for _ in range(200):
            conn.start(1, encode_params(
                params_for("return 200", {"BIG": "x" * 500_000})))
            conn.collect(1)
    assert lua.gateway.rss() - idle < bound(16)
