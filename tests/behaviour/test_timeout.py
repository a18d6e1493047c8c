"""--timeout: a request is cancelled, cleans up, is answered with 504.

SPDX-License-Identifier: MIT
"""
import pytest

from support.lua import ECHO, EVAL, GO, HOLD, Lua, params_for

CLOSER = ("local x <close> = setmetatable({}, { __close = function(_, err) "
          "%s end }) ")


@pytest.fixture
def timed(shared_gateway):
    return Lua(shared_gateway(EVAL, "--timeout=0.3", "--log-level=debug"))


def test_sleeping_request_is_answered_504(timed):
    response = timed("fcgi.sleep(3600)")
    assert response.status == 504
    assert timed(ECHO, body=b"next").text == "next"


def test_request_that_waits_for_its_body_is_answered_504(timed):
    with timed.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO))
        assert conn.collect(1).status == 504
        assert timed.on(conn, ECHO, body=b"next").text == "next"


def test_request_within_its_time_is_not_disturbed(timed):
    for _ in range(3):
        assert timed("fcgi.sleep(0.01) return 200, {}, 'in time'"
                     ).text == "in time"


def test_request_that_had_sent_something_ends_with_app_status_1(timed):
    response = timed("req:write('A: b\\n\\npart') req:flush() "
                     "fcgi.sleep(3600)")
    assert response.status == 200 and response.body == b"part"
    assert response.app_status == 1 and response.stdout_ended


def test_close_variables_run(timed):
    timed(CLOSER % "fcgi.log('notice', 'closed by ', tostring(err))"
          + "fcgi.sleep(3600)")
    timed.gateway.wait_log("closed by cancelled: timeout")


def test_close_variables_may_wait(timed):
    response = timed(CLOSER % "fcgi.sleep(0.01) fcgi.log('notice', "
                     "'waited while closing')" + "fcgi.sleep(3600)")
    assert response.status == 504
    timed.gateway.wait_log("waited while closing")


def test_pcall_catches_and_may_answer(timed):
    response = timed(
        "local ok, err = pcall(fcgi.sleep, 3600) "
        "return 200, {}, dump(ok, fcgi.cancelled(err), tostring(err))")
    assert response.text == 'false, "timeout", "cancelled: timeout"'


def test_caught_timeout_lets_later_waits_work(timed):
    response = timed("pcall(fcgi.sleep, 3600) fcgi.sleep(0.01) "
                     "return 200, {}, 'waited again'")
    assert response.text == "waited again"


def test_cancelled_is_nil_for_other_errors(timed):
    assert timed.value("fcgi.cancelled('x'), fcgi.cancelled(nil), "
                       "fcgi.cancelled({})") == "nil, nil, nil"


def test_timeout_in_a_coroutine(timed):
    response = timed(
        "local ok, err = pcall(coroutine.wrap(function() "
        "fcgi.sleep(3600) end)) "
        "return 200, {}, dump(ok, fcgi.cancelled(err))")
    assert response.text.startswith("false")
    assert timed("coroutine.wrap(function() fcgi.sleep(3600) end)()"
                 ).status == 504


def test_timeout_while_writing_to_a_full_socket(timed):
    with timed.connect(rcvbuf=4096) as conn:
        timed.start(conn, 1, CLOSER % "fcgi.log('notice', 'writer: ', "
                    "tostring(err))"
                    + "req:set_status(200) while true do "
                    "req:write(('x'):rep(65536)) end")
        timed.gateway.wait_log("writer: cancelled: timeout")
        assert conn.collect(1).app_status == 1


def test_timeout_disturbs_no_neighbour(timed):
    with timed.connect() as conn:
        timed.start(conn, 1, "fcgi.sleep(3600)")
        timed.start(conn, 2, "fcgi.sleep(0.1) return 200, {}, 'fine'")
        assert conn.collect(2).text == "fine"
        assert conn.collect(1).status == 504
        assert timed.on(conn, ECHO, body=b"next").text == "next"


def test_request_that_ignores_it_goes_on_then_is_stopped(lua_with):
    # A wait within 5 s works, after that every wait raises again, and at last
    # the coroutine is closed.
    lua = lua_with("--timeout=0.1", "--grace=1")
    with lua.connect() as conn:
        lua.start(conn, 1, "while true do pcall(fcgi.sleep, 0.05) end")
        lua.start(conn, 2, "pcall(fcgi.sleep, 3600) fcgi.sleep(0.2) "
                  "return 200, {}, 'answered late'")
        assert conn.collect(2).text == "answered late"
        response = conn.collect(1, timeout=60)
        assert response.status == 504
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_aborted_request_is_cancelled_at_its_timeout(timed):
    with timed.connect() as conn:
        timed.start(conn, 1, CLOSER % "fcgi.log('notice', 'aborted then ', "
                    "tostring(err))" + "fcgi.sleep(3600)")
        conn.barrier()
        conn.abort(1)
        conn.collect(1)
        timed.gateway.wait_log("aborted then cancelled: timeout")


def test_finished_request_is_cancelled_at_its_timeout(timed):
    timed("req:send(200, {}, 'x') " + CLOSER
          % "fcgi.log('notice', 'finished then ', tostring(err))"
          + "fcgi.sleep(3600)")
    timed.gateway.wait_log("finished then cancelled: timeout")


def test_timeout_is_logged(timed):
    timed("fcgi.sleep(3600)", {"REQUEST_URI": "/too/slow"})
    timed.gateway.wait_log("/too/slow")


def test_no_timeout_by_default(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, HOLD)
        conn.barrier()
        lua(GO)
        assert conn.collect(1).text == "held"
