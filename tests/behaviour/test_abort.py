"""The client has gone: the handler is told, never interrupted.

SPDX-License-Identifier: MIT
"""
import pytest

from support import fastcgi
from support.lua import ECHO, params_for

WAIT_ABORTED = "while not req:is_aborted() do fcgi.sleep(0.002) end "


def log_of_aborted(lua, code, body=b"", end=True):
    """Starts code, aborts it when it has logged "ready"."""
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(code))
        conn.stdin(1, body, end=end)
        lua.gateway.wait_log("ready")
        conn.abort(1)
        response = conn.collect(1)
        assert response.protocol_status == fastcgi.REQUEST_COMPLETE
        assert lua.on(conn, ECHO, body=b"next").text == "next"


@pytest.fixture
def own(lua_with):
    return lua_with()


READY = "fcgi.log('notice', 'ready') "


def test_is_aborted(own):
    log_of_aborted(own, "local before = req:is_aborted() " + READY
                   + WAIT_ABORTED + "fcgi.log('notice', 'was ', "
                   "dump(before, req:is_aborted()))")
    own.gateway.wait_log("was false, true")


def test_on_abort_runs(own):
    log_of_aborted(own, "req:on_abort(function() "
                   "fcgi.log('notice', 'hook ran') end) " + READY
                   + WAIT_ABORTED)
    own.gateway.wait_log("hook ran")


def test_on_abort_runs_while_the_handler_sleeps(own):
    log_of_aborted(own, "req:on_abort(function() "
                   "fcgi.log('notice', 'hook ran') stop = true end) " + READY
                   + "while not stop do fcgi.sleep(0.01) end "
                   "fcgi.log('notice', 'slept on')")
    own.gateway.wait_log("hook ran")
    own.gateway.wait_log("slept on")


def test_every_on_abort_runs_and_may_wait(own):
    log_of_aborted(own, "for i = 1, 3 do req:on_abort(function() "
                   "fcgi.sleep(0.005) fcgi.log('notice', 'hook ', i) end) "
                   "end " + READY + WAIT_ABORTED + "fcgi.sleep(0.1)")
    for i in (1, 2, 3):
        own.gateway.wait_log(f"hook {i}")


def test_on_abort_does_not_run_otherwise(own):
    assert own("req:on_abort(function() fcgi.log('notice', 'hook ran') end) "
               "return 200, {}, 'x'").text == "x"
    own.gateway.barrier()
    assert "hook ran" not in own.gateway.log()


def test_on_abort_after_the_abort_runs_too(own):
    log_of_aborted(own, READY + WAIT_ABORTED + "req:on_abort(function() "
                   "fcgi.log('notice', 'hook ran') end) fcgi.sleep(0.01)")
    own.gateway.wait_log("hook ran")


def test_error_in_on_abort_is_logged(own):
    log_of_aborted(own, "req:on_abort(function() error 'in hook' end) "
                   + READY + WAIT_ABORTED)
    own.gateway.wait_log("error .*in hook")


def test_read_gives_nil_aborted(own):
    log_of_aborted(own, READY + "local first = req:read(2) "
                   "fcgi.log('notice', 'got ', dump(first, req:read(100), "
                   "'end'), ' ', dump(req:read(100)))", b"ab", end=False)
    own.gateway.wait_log('got "ab", nil, ')
    own.gateway.wait_log('nil, "aborted"$|nil, "aborted" ')


def test_waiting_read_is_woken(own):
    log_of_aborted(own, READY + "fcgi.log('notice', 'got ', "
                   "dump(req:read(10)))", end=False)
    own.gateway.wait_log('got nil, "aborted"')


@pytest.mark.parametrize("call", ["body", "read_line", "read"])
def test_waiting_for_the_body_gives_nil_aborted(own, call):
    log_of_aborted(own, READY + f"fcgi.log('notice', 'got ', "
                   f"dump(req:{call}()))", b"some", end=False)
    own.gateway.wait_log('got (nil, "aborted"|"some")')


def test_what_had_arrived_can_be_read(own):
    log_of_aborted(own, READY + WAIT_ABORTED + "local s = req:read(4) "
                   "fcgi.log('notice', 'got ', s, ' ', dump(req:read(9)))",
                   b"came", end=False)
    own.gateway.wait_log('got came nil, "aborted"')


def test_write_gives_nil_aborted(own):
    log_of_aborted(own, READY + WAIT_ABORTED + "fcgi.log('notice', 'got ', "
                   "dump(req:write('A: b\\n\\nx')))")
    own.gateway.wait_log('got nil, "aborted"')


def test_flush_gives_nil_aborted(own):
    log_of_aborted(own, "req:write('A: b\\n\\nx') " + READY + WAIT_ABORTED
                   + "fcgi.log('notice', 'got ', dump(req:flush()))")
    own.gateway.wait_log('got nil, "aborted"')


def test_writer_that_waits_is_woken(own):
    with own.connect(rcvbuf=4096) as conn:
        own.start(conn, 1, "req:set_status(200) local s, ok, err = "
                  "('x'):rep(65536) repeat ok, err = req:write(s) until "
                  "not ok fcgi.log('notice', 'got ', dump(ok, err))")
        conn.wait_stdout(1)
        conn.abort(1)
        conn.collect(1)
    own.gateway.wait_log('got nil, "aborted"')


def test_handler_is_not_interrupted(own):
    log_of_aborted(own, READY + WAIT_ABORTED + "for i = 1, 3 do "
                   "fcgi.sleep(0.005) end fcgi.log('notice', 'to the end')")
    own.gateway.wait_log("to the end")


def test_params_stay_readable(own):
    log_of_aborted(own, READY + WAIT_ABORTED + "fcgi.log('notice', 'still ', "
                   "req:param 'REMOTE_ADDR', req:method())")
    own.gateway.wait_log("still 192.0.2.7GET")


def test_answer_of_an_aborted_request_is_dropped(own):
    log_of_aborted(own, READY + WAIT_ABORTED + "req:set_status(200) "
                   "fcgi.log('notice', 'returning') "
                   "return 200, {}, ('x'):rep(100000)")
    own.gateway.wait_log("returning")
    with own.connect() as conn:
        assert conn.barrier() == []


def test_error_of_an_aborted_handler_is_logged(own):
    log_of_aborted(own, READY + WAIT_ABORTED + "error 'after abort'")
    own.gateway.wait_log("error .*after abort")


def test_table_setting_cancels_aborted_handlers(gateway):
    gw = gateway("local fcgi = require 'fcgi' return { abort = 'cancel', "
                 "on_request = function(req) fcgi.log('notice', 'ready') "
                 "local ok, err = pcall(fcgi.sleep, 3600) "
                 "fcgi.log('notice', 'woken: ', tostring(ok), "
                 "tostring(err)) end }")
    with gw.connect() as conn:
        conn.start(1)
        gw.wait_log("ready")
        conn.abort(1)
        conn.collect(1)
    gw.wait_log("woken: falsecancelled: ")


def test_lost_connection_is_an_abort(own):
    with own.connect() as conn:
        own.start(conn, 1, READY + WAIT_ABORTED
                  + "fcgi.log('notice', 'lost ', dump(req:read(1)))")
        own.gateway.wait_log("ready")
    own.gateway.wait_log("lost nil")


def test_lost_connection_is_heard_while_output_is_blocked(own):
    # The gateway may have stopped reading this connection.
    with own.connect(rcvbuf=4096) as conn:
        own.start(conn, 1, READY + "req:set_status(200) local s = "
                  "('x'):rep(65536) while req:write(s) do end "
                  "fcgi.log('notice', 'writer ended')")
        conn.wait_stdout(1)
    own.gateway.wait_log("writer ended")


def test_lost_connection_is_heard_while_the_body_is_not_read(own):
    # The window is full, the connection is not being read.
    with own.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(READY + WAIT_ABORTED
                                  + "fcgi.log('notice', 'heard')"))
        own.gateway.wait_log("ready")
        part = fastcgi.stream(fastcgi.STDIN, 1, b"x" * (4 << 20), end=False)
        conn.send_until_full(part)
    own.gateway.wait_log("heard")


def test_client_that_leaves_is_no_crash(lua):
    for n in range(100):
        with lua.connect() as conn:
            lua.start(conn, 1, "req:set_status(200) for i = 1, 20 do "
                      "if not req:write(('x'):rep(50000)) then break end "
                      "fcgi.sleep(0) end")
            if n % 3:
                conn.wait_stdout(1)
    assert lua(ECHO, body=b"next").text == "next"
