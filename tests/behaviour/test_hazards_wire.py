"""Hostile peers: lies about lengths, floods, garbage, slowness, too many.

SPDX-License-Identifier: MIT
"""
import random
import select
import socket
import time

import pytest

from support import fastcgi, gateway
from support.fastcgi import (BEGIN, GET_VALUES, KEEP_CONN, PARAMS, STDIN,
                             begin_body, encode_params, record, stream)
from support.lua import ECHO, params_for

MIB = 1 << 20


def grew(gw, before):
    return gw.rss() - before


def bound(mib):
    """A bound on memory: AddressSanitizer costs a multiple."""
    return mib * MIB * (3 if gateway.is_asan() else 1)


def push(conn, data, limit, patience=0.5):
    """Sends data again and again without reading, until limit bytes or until
    the gateway has taken nothing for a while; how many bytes it was."""
    view, sent, rest = memoryview(data), 0, memoryview(data)
    conn.sock.setblocking(False)
    try:
        while sent < limit:
            if not select.select([], [conn.sock], [], patience)[1]:
                break
            try:
                n = conn.sock.send(rest)
            except BlockingIOError:
                continue
            sent += n
            rest = rest[n:] or view
    finally:
        conn.sock.settimeout(conn.timeout)
    return sent


# --- lengths that lie ---

@pytest.mark.parametrize("pairs", [
    b"\xc0\x00\x00\x00\x01",                    # a name of 1 GiB
    b"\x01\xc0\x00\x00\x00n",                   # a value of 1 GiB
    b"\xff\xff\xff\xff\xff\xff\xff\xff",        # both of 2 GiB - 1
    b"\x7f\x7f" + b"x" * 10, b"\x05", b"\x80", b"\x80\x00", b"\x01\x80\x00",
    b"\x00\x80\x00\x00", b"\x03\x03ab", b"\xff\xff\xff\xffx" * 100,
    b"\x01\x01ab\x05\x05abc", b"\x80\x00\x00\x05\x80\x00\x00\x06hello"])
def test_malformed_pairs_harm_nobody(lua, pairs):
    before = lua.gateway.rss()
    with lua.connect() as conn, lua.connect() as other:
        conn.begin(1)
        conn.params(1, pairs)
        conn.stdin(1)
        assert lua.on(other, ECHO, body=b"fine").text == "fine"
    assert lua(ECHO, body=b"next").text == "next"
    assert grew(lua.gateway, before) < bound(32)


def test_good_pairs_before_a_truncated_one_do_not_hang(lua):
    with lua.connect() as conn:
        conn.begin(1, flags=0)
        conn.params(1, encode_params(params_for(ECHO)) + b"\x20\x20cut")
        conn.stdin(1)
        conn.expect_close()     # answered or not: it ends


def test_promise_of_much_stdin_costs_nothing(lua):
    before = lua.gateway.rss()
    with lua.connect() as conn:
        for id in range(1, 101):
            conn.begin(id)
            conn.params(id, params_for("req:body()",
                                       {"CONTENT_LENGTH": str(2**40)}))
        conn.barrier()
        assert grew(lua.gateway, before) < bound(16)


# --- endless PARAMS ---

def test_params_over_a_mib_are_answered_431_at_their_end(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO, {"BIG": "x" * 1_200_000}), end=False)
        assert conn.barrier() == []     # nothing before PARAMS are complete
        conn.params(1)
        response = conn.collect(1)
        assert response.status == 431
        response.check_complete()
        conn.stdin(1, b"late")
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_params_up_to_the_limit_are_served(lua_with):
    lua = lua_with("--max-params=8k")
    with lua.connect() as conn:
        room = 8192 - len(encode_params(params_for(ECHO, {"X": "y" * 200})))
        assert lua.on(conn, ECHO, {"X": "y" * (200 + room)},
                      b"").status == 200
        assert lua.on(conn, ECHO, {"X": "y" * (201 + room)},
                      b"").status == 431
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_params_over_16_times_the_limit_end_the_connection(lua_with):
    lua = lua_with("--max-params=4k")
    with lua.connect() as conn, lua.connect() as other:
        conn.begin(1)
        try:
            for _ in range(20):
                conn.params(1, bytes(4096), end=False)
        except (BrokenPipeError, ConnectionResetError):
            pass
        conn.expect_close()
        assert lua.on(other, ECHO, body=b"fine").text == "fine"


def test_endless_params_cost_no_memory(lua):
    before = lua.gateway.rss()
    with lua.connect() as conn:
        conn.begin(1)
        try:
            for _ in range(15):
                conn.params(1, bytes(MIB), end=False)
            conn.barrier()
            assert grew(lua.gateway, before) < bound(8)
            for _ in range(5):
                conn.params(1, bytes(MIB), end=False)
        except (BrokenPipeError, ConnectionResetError):
            pass
        conn.expect_close()
    assert lua(ECHO, body=b"next").text == "next"


def test_many_ids_with_many_params_have_bounded_memory(lua_with):
    lua = lua_with("--max-params=64k", lean=True)
    lua("return 200")
    before = lua.gateway.rss()
    with lua.connect() as conn:
        for id in range(1, 401):
            conn.begin(id)
            conn.params(id, bytes(200_000), end=False)
        conn.barrier()
        assert grew(lua.gateway, before) < bound(40)
    assert lua(ECHO, body=b"next").text == "next"


# --- floods ---

def test_management_flood_of_a_peer_that_does_not_read(lua_with):
    lua = lua_with(lean=True)
    lua("return 200")
    before = lua.gateway.rss()
    one = record(255, 0)
    with lua.connect() as conn:
        sent = push(conn, one * 1000, 64 * MIB)
        assert sent < 64 * MIB, "the gateway took it all"
        assert grew(lua.gateway, before) < bound(16)
        assert lua(ECHO, body=b"fine").text == "fine"
        answers = 0             # each whole record has had its answer
        while answers < sent // len(one):
            rec = conn.read_record()
            assert rec.type == fastcgi.UNKNOWN_TYPE
            answers += 1
    assert lua(ECHO, body=b"next").text == "next"


def test_get_values_flood_of_a_peer_that_does_not_read(lua_with):
    lua = lua_with(lean=True)
    lua("return 200")
    before = lua.gateway.rss()
    one = record(GET_VALUES, 0, encode_params(
        {"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": ""}))
    with lua.connect() as conn:
        sent = push(conn, one * 1000, 64 * MIB)
        assert sent < 64 * MIB
        assert grew(lua.gateway, before) < bound(16)
        for _ in range(sent // len(one)):
            assert conn.read_record().type == fastcgi.GET_VALUES_RESULT


def test_flood_of_refused_begins_of_a_peer_that_does_not_read(lua_with):
    lua = lua_with("--max-reqs=5", lean=True)
    lua("return 200")
    before = lua.gateway.rss()
    flood = b"".join(record(BEGIN, id, begin_body(99, KEEP_CONN))
                     for id in range(1, 60000))
    with lua.connect() as conn:
        push(conn, flood, len(flood) - 1)
        assert grew(lua.gateway, before) < bound(16)
    assert lua(ECHO, body=b"next").text == "next"


def test_begin_and_abort_flood(lua):
    before = lua.gateway.rss()
    with lua.connect() as conn:
        both = record(BEGIN, 1, begin_body(1, KEEP_CONN)) + record(2, 1)
        for _ in range(20):
            conn.send_raw(both * 500)
            for _ in range(500):
                assert conn.read_record().type == fastcgi.END
        assert grew(lua.gateway, before) < bound(16)


def test_empty_records_of_inactive_ids_cost_nothing(lua):
    with lua.connect() as conn:
        conn.send_raw(record(STDIN, 9) * 100_000)
        assert conn.barrier() == []


# --- garbage ---

def garbage(rng):
    """Bytes of one hostile connection: noise, a damaged request, or records
    of random kinds."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 300))
    whole = bytearray(fastcgi.request_bytes(
        1, params_for(ECHO), b"body" * 5, defaults=False,
        flags=rng.randrange(2)))
    if kind == 1:
        for _ in range(rng.randrange(1, 6)):
            whole[rng.randrange(len(whole))] = rng.randrange(256)
        return bytes(whole)
    if kind == 2:
        return bytes(whole[:rng.randrange(1, len(whole))])
    return b"".join(
        record(rng.randrange(14), rng.choice([0, 1, 1, 2, 65535]),
               begin_body(rng.randrange(5), 1) if rng.randrange(3) == 0
               else rng.randbytes(rng.randrange(40)),
               padding=rng.randrange(9)) for _ in range(rng.randrange(1, 12)))


def test_5000_garbage_connections_leave_nothing_behind(lua_with):
    lua = lua_with("--max-params=64k", "--log-level=error", "--grace=0.5",
                   lean=True)
    gw, rng = lua.gateway, random.Random(1)

    def attack(count):
        for _ in range(count):
            with lua.connect() as conn:
                try:
                    conn.send_raw(garbage(rng))
                    if rng.randrange(4) == 0:
                        conn.shutdown()
                except (BrokenPipeError, ConnectionResetError):
                    pass
        assert lua(ECHO, body=b"next").text == "next"

    idle = gw.fds()
    attack(1000)
    gw.wait_fds(idle)
    before = gw.rss()
    attack(5000)
    gw.wait_fds(idle)
    assert grew(gw, before) < bound(4)


# --- too few file descriptors ---

def test_out_of_file_descriptors_neither_spins_nor_stops(lua_with):
    lua = lua_with(nofile=40)
    gw = lua.gateway
    conns = [lua.connect() for _ in range(60)]
    try:
        gateway.wait_until(lambda: gw.fds() >= 30, "many connections")
        before = gw.cpu_time()
        time.sleep(1.5)                     # measured, not waited for
        assert gw.cpu_time() - before < 0.6, "it spins"
        for conn in conns[:5]:              # those it has go on
            assert lua.on(conn, ECHO, body=b"on").text == "on"
        lines = gw.log().count("\n")
        for conn in conns[:40]:
            conn.close()
        for conn in conns[40:]:             # those that waited are accepted
            assert lua.on(conn, ECHO, body=b"on").text == "on"
        assert lines < 10, gw.log()
    finally:
        for conn in conns:
            conn.close()
    assert lua(ECHO, body=b"next").text == "next"


def test_connections_over_max_conns_wait(lua_with):
    lua = lua_with("--max-conns=2")
    one, two = lua.connect(), lua.connect()
    with one, two:
        one.get_values()
        two.get_values()
        with lua.connect() as third:
            lua.start(third, 1, ECHO, body=b"waited", flags=0)
            for _ in range(5):
                one.barrier()
                two.barrier()
            assert not select.select([third.sock], [], [], 0)[0]
            one.close()
            assert third.collect(1).text == "waited"
            assert lua.on(two, ECHO, body=b"x").text == "x"


def test_max_conns_does_not_spin(lua_with):
    lua = lua_with("--max-conns=2")
    with lua.connect() as one, lua.connect() as two, lua.connect():
        one.get_values()
        two.get_values()
        before = lua.gateway.cpu_time()
        time.sleep(1)                       # measured, not waited for
        assert lua.gateway.cpu_time() - before < 0.4


def test_request_begun_but_not_finished_is_closed(lua_with):
    # After 10 s: a bare BEGIN, half of the PARAMS, half of a header.  A kept
    # idle connection and a request that waits for its body stay.
    lua = lua_with()
    with lua.connect() as bare, lua.connect() as half, \
            lua.connect() as header, lua.connect() as idle, \
            lua.connect() as uploading:
        lua.on(idle, ECHO)
        bare.begin(1)
        half.begin(1)
        half.params(1, params_for(ECHO), end=False)
        header.send_raw(record(BEGIN, 1, begin_body())[:5])
        uploading.begin(1)
        uploading.params(1, params_for(ECHO))
        for conn in (bare, half, header):
            conn.expect_close(timeout=40)
        assert lua.on(idle, ECHO, body=b"x").text == "x"
        uploading.stdin(1, b"slow")
        assert uploading.collect(1).text == "slow"


def test_trickling_params_are_closed(lua_with):
    # Slowloris: each byte comes in time, the request never ends.
    lua = lua_with()
    with lua.connect() as conn:
        conn.begin(1)
        end = time.monotonic() + 60
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() < end:
                conn.params(1, b"\x01", end=False)
                # a pause between two bytes is what is being tested
                if select.select([conn.sock], [], [], 0.2)[0]:
                    if conn.read_record() is None:
                        raise BrokenPipeError
    assert lua(ECHO, body=b"next").text == "next"


# --- the end of file ---

def test_watcher_at_the_end_of_file_does_not_spin(lua_with):
    # The peer has closed its side while the handler goes on regardless.
    lua = lua_with()
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'ready') "
                  "while not stop do fcgi.sleep(0.05) end")
        lua.gateway.wait_log("ready")
        conn.shutdown()
        before = lua.gateway.cpu_time()
        time.sleep(1)                       # measured, not waited for
        assert lua.gateway.cpu_time() - before < 0.5
        lua("stop = true return 200")


def test_idle_gateway_uses_no_cpu(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        lua.on(conn, ECHO)
        before = lua.gateway.cpu_time()
        time.sleep(1)                       # measured, not waited for
        assert lua.gateway.cpu_time() - before < 0.1


def test_peer_that_closes_before_its_answer_is_no_crash(lua):
    for size in (0, 1000, 300_000):
        for _ in range(20):
            with lua.connect() as conn:
                lua.start(conn, 1, f"return 200, {{}}, ('x'):rep({size})",
                          flags=0)
    assert lua(ECHO, body=b"next").text == "next"


def test_peer_that_shuts_both_sides(lua):
    for _ in range(20):
        with lua.connect() as conn:
            lua.start(conn, 1, "fcgi.sleep(0.001) return 200, {}, 'x'")
            conn.shutdown(socket.SHUT_RDWR)
    assert lua(ECHO, body=b"next").text == "next"


def test_params_stream_of_one_byte_records_is_served(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.send_raw(stream(PARAMS, 1, encode_params(
            params_for(ECHO, {"BIG": "x" * 20000})), cut=1))
        conn.stdin(1, b"y" * 20000, cut=1)
        assert conn.collect(1).body == b"y" * 20000
