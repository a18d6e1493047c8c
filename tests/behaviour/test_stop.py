"""The end: running requests are finished, nobody holds the exit.

SPDX-License-Identifier: MIT
"""
import os
import signal

import pytest

from support import fastcgi
from support.gateway import wait_until
from support.lua import ECHO, params_for

GRACEFUL = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]


def refuses(gw):
    try:
        fastcgi.connect(gw.address, 2).close()
    except OSError:
        return True
    return False


def begin_stop(gw, sig=signal.SIGTERM):
    """Signals it and waits until it accepts no more."""
    gw.signal(sig)
    wait_until(lambda: refuses(gw), "refusing connections")


@pytest.mark.parametrize("sig", [*GRACEFUL])
def test_idle_gateway_ends_with_0(gateway, sig):
    gw = gateway("function on_request() end")
    assert gw.stop(sig) == 0


@pytest.mark.parametrize("sig", GRACEFUL)
def test_running_requests_are_finished(lua_with, sig):
    lua = lua_with()
    gw = lua.gateway
    with lua.connect() as conn, lua.connect() as other:
        conn.begin(1, flags=0)
        conn.params(1, params_for(ECHO))
        conn.stdin(1, b"before,", end=False)
        other.begin(1)
        other.params(1, params_for(ECHO))
        conn.barrier()
        other.barrier()
        begin_stop(gw, sig)
        assert gw.alive()
        conn.stdin(1, b" after")
        assert conn.collect(1).text == "before, after"
        conn.expect_eof()
        assert gw.alive()
        other.stdin(1, b"kept")
        assert other.collect(1).text == "kept"
        other.expect_eof()
        assert gw.wait() == 0


def test_sleeping_request_is_finished(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'ready') fcgi.sleep(0.5) "
                  "return 200, {}, 'slept'", flags=0)
        lua.gateway.wait_log("ready")
        lua.gateway.signal(signal.SIGTERM)
        assert conn.collect(1).text == "slept"
        assert lua.gateway.wait() == 0


def test_long_answer_is_finished(lua_with):
    lua = lua_with()
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "req:set_status(200) for i = 1, 64 do "
                  "req:write(('x'):rep(65536)) end", flags=0)
        conn.wait_stdout(1)
        begin_stop(lua.gateway)
        assert len(conn.collect(1).body) == 64 * 65536
        conn.expect_eof()
        assert lua.gateway.wait() == 0


def test_answered_output_is_sent_before_the_exit(lua_with):
    # The handler has returned; the client has not read yet.
    lua = lua_with()
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'ready') "
                  "return 200, {}, ('x'):rep(1024):rep(2 << 10)", flags=0)
        lua.gateway.wait_log("ready")
        begin_stop(lua.gateway)
        assert len(conn.collect(1).body) == 2 << 20
        assert lua.gateway.wait() == 0


def test_idle_kept_connections_do_not_hold_the_exit(lua_with):
    lua = lua_with()
    conns = [lua.connect() for _ in range(20)]
    try:
        for conn in conns[:15]:
            lua.on(conn, ECHO, body=b"x")
        assert lua.gateway.stop(timeout=15) == 0
        for conn in conns:
            conn.expect_eof()
    finally:
        for conn in conns:
            conn.close()


def test_partial_record_holds_the_exit_no_longer_than_grace(lua_with):
    lua = lua_with("--grace=0.5")
    with lua.connect() as conn:
        conn.get_values()
        conn.send_raw(b"\x01\x01")
        conn.wait_taken()
        assert lua.gateway.stop() == 0


def test_request_begun_after_the_stop_on_a_kept_connection(lua_with):
    # It was read in time or not: it is answered whole or not at all.
    lua = lua_with()
    with lua.connect() as conn:
        lua.on(conn, ECHO)
        lua.gateway.signal(signal.SIGTERM)
        try:
            lua.start(conn, 1, ECHO, body=b"late")
        except (BrokenPipeError, ConnectionResetError):
            pass
        records = conn.expect_close()
        assert not records or records[-1].type == fastcgi.END
        assert lua.gateway.wait() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGQUIT])
def test_second_signal_ends_at_once(lua_with, first, second):
    # At once is long before the 10 minutes of --grace.
    lua = lua_with("--grace=10m")
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'ready') fcgi.sleep(3600)")
        lua.gateway.wait_log("ready")
        begin_stop(lua.gateway, first)
        before = len(lua.gateway.log())
        lua.gateway.signal(second)
        assert lua.gateway.wait() == 0
        assert " warn " in lua.gateway.log()[before:]


def test_second_quit_stays_graceful(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        conn.begin(1, flags=0)
        conn.params(1, params_for(ECHO))
        conn.barrier()
        begin_stop(lua.gateway, signal.SIGQUIT)
        lua.gateway.signal(signal.SIGQUIT)
        conn.barrier()
        conn.stdin(1, b"x")
        assert conn.collect(1).text == "x"
        assert lua.gateway.wait() == 0


def test_grace_that_expires_ends_with_0_and_a_warning(lua_with):
    lua = lua_with("--grace=0.3")
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'ready') fcgi.sleep(3600)")
        lua.gateway.wait_log("ready")
        assert lua.gateway.stop() == 0
    lua.gateway.wait_log(" warn ")


def test_grace_that_expires_cancels_the_handlers(lua_with):
    lua = lua_with("--grace=0.3")
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'ready') "
                  "local ok, err = pcall(fcgi.sleep, 3600) "
                  "fcgi.log('notice', 'cancelled by ', fcgi.cancelled(err))")
        lua.gateway.wait_log("ready")
        assert lua.gateway.stop() == 0
    lua.gateway.wait_log("cancelled by stop")


def test_grace_holds_for_a_client_that_does_not_read(lua_with):
    lua = lua_with("--grace=0.3")
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "req:set_status(200) while true do "
                  "req:write(('x'):rep(65536)) end")
        conn.wait_stdout(1)
        assert lua.gateway.stop() == 0


def test_grace_holds_for_a_handler_that_never_yields(lua_with):
    lua = lua_with("--grace=0.3", "--block-limit=0.5", expect=None)
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'ready') while true do end")
        lua.gateway.wait_log("ready")
        assert lua.gateway.stop() == 0  # the watchdog ends the handler


def test_unix_socket_is_gone_while_requests_finish(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        conn.begin(1, flags=0)
        conn.params(1, params_for(ECHO))
        conn.barrier()
        begin_stop(lua.gateway)
        conn.stdin(1)
        conn.collect(1)
        assert lua.gateway.wait() == 0
    assert not os.path.exists(lua.gateway.address)


def test_lost_clients_do_not_hold_the_exit(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'ready') "
                  "while not req:is_aborted() do fcgi.sleep(0.01) end")
        lua.gateway.wait_log("ready")
        lua.gateway.signal(signal.SIGTERM)
    assert lua.gateway.wait() == 0


def test_early_answer_does_not_hold_the_exit(lua_with):
    # Lingering: the rest of the body never comes.
    lua = lua_with("--grace=0.5")
    with lua.connect() as conn:
        conn.begin(1, flags=0)
        conn.params(1, params_for("return 200, {}, 'early'",
                                  {"CONTENT_LENGTH": "1000"}))
        conn.stdin(1, b"x", end=False)
        assert conn.collect(1).text == "early"
        assert lua.gateway.stop() == 0


def test_sigpipe_is_survived(lua_with):
    lua = lua_with()
    lua.gateway.signal(signal.SIGPIPE)
    assert lua(ECHO, body=b"x").text == "x"


def test_stop_just_after_the_start(gateway):
    # As soon as it listens it knows its signals and cleans up.
    for _ in range(8):
        gw = gateway("function on_request() end", wait=False)
        wait_until(lambda: not refuses(gw), "listening")
        assert gw.stop() == 0
        assert not os.path.exists(gw.address)


def test_exit_of_a_gateway_with_waiting_tasks_leaks_nothing(lua_with):
    # Judged by the leak checker of a sanitizer build.
    lua = lua_with("--grace=0.2")
    conns = [lua.connect(rcvbuf=4096) for _ in range(6)]
    try:
        lua.start(conns[0], 1, "fcgi.sleep(3600)")
        conns[1].begin(1)
        conns[1].params(1, params_for("req:body()"))
        conns[2].begin(1)
        conns[2].params(1, params_for(ECHO), end=False)
        lua.start(conns[3], 1, "req:set_status(200) while true do "
                  "req:write(('x'):rep(65536)) end")
        conns[4].send_raw(b"\x01\x04\x00")
        lua.start(conns[5], 1, "req:write('A: b\\n\\nx') req:flush() "
                  "local f = io.tmpfile() coroutine.wrap(function() "
                  "fcgi.sleep(3600) end)()")
        for conn in (conns[0], conns[1], conns[2]):
            conn.barrier()
        assert lua.gateway.stop() == 0
    finally:
        for conn in conns:
            conn.close()
