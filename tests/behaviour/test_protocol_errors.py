"""What breaks the protocol ends its connection, is logged once, and harms
nobody else.

SPDX-License-Identifier: MIT
"""
import pytest

from support import fastcgi
from support.fastcgi import (ABORT, BEGIN, DATA, END, PARAMS, STDERR, STDIN,
                             STDOUT, begin_body, record)
from support.lua import ECHO, params_for


def ends_the_connection(lua, conn, wrong):
    """Sends `wrong`: the connection closes, another one goes on."""
    with lua.connect() as other:
        other.begin(1)
        other.params(1, params_for(ECHO))
        conn.send_raw(wrong)
        conn.expect_close()
        other.stdin(1, b"unharmed")
        assert other.collect(1).text == "unharmed"
    assert lua(ECHO, body=b"next").text == "next"


@pytest.mark.parametrize("version", [0, 2, 3, 128, 255])
def test_other_version_ends_the_connection(lua, version):
    with lua.connect() as conn:
        ends_the_connection(lua, conn, record(BEGIN, 1, begin_body(flags=1),
                                              version=version))


def test_other_version_in_the_middle_of_a_request(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO), end=False)
        ends_the_connection(lua, conn, record(PARAMS, 1, version=2))


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x01", begin_body()[:7],
                                     begin_body() + b"\0", bytes(65535)])
def test_begin_of_another_length_ends_the_connection(lua, content):
    with lua.connect() as conn:
        ends_the_connection(lua, conn, record(BEGIN, 1, content))


def test_second_begin_of_an_active_id_ends_the_connection(lua):
    with lua.connect() as conn:
        conn.begin(1)
        ends_the_connection(lua, conn, record(BEGIN, 1, begin_body(flags=1)))


def test_second_begin_while_the_handler_runs_ends_the_connection(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for("req:body()"))
        assert conn.barrier() == []
        ends_the_connection(lua, conn, record(BEGIN, 1, begin_body(flags=1)))


@pytest.mark.parametrize("content", [b"early", b""])
def test_stdin_before_params_end_ends_the_connection(lua, content):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO), end=False)
        ends_the_connection(lua, conn, record(STDIN, 1, content))


@pytest.mark.parametrize("type", [BEGIN, ABORT, END, PARAMS, STDIN, STDOUT,
                                  STDERR, DATA])
def test_application_type_with_id_0_ends_the_connection(lua, type):
    content = begin_body(flags=1) if type == BEGIN else b"12345678"
    with lua.connect() as conn:
        ends_the_connection(lua, conn, record(type, 0, content))


def test_protocol_error_aborts_the_requests_of_its_connection(lua_with):
    lua = lua_with()
    code = ("req:on_abort(function() fcgi.log('notice', 'lost ' .. req.ctx.n)"
            " end) req.ctx.n = req:param 'N' "
            "fcgi.log('notice', 'begun ' .. req.ctx.n) req:body()")
    with lua.connect() as conn:
        for id in (1, 2):
            conn.begin(id)
            conn.params(id, params_for(code, {"N": str(id)}))
            lua.gateway.wait_log(f"begun {id}")
        ends_the_connection(lua, conn, record(BEGIN, 2, begin_body()))
        for id in (1, 2):
            lua.gateway.wait_log(f"lost {id}")


def test_protocol_error_is_logged_once(lua_with):
    gw = lua_with().gateway
    before = gw.log()
    with gw.connect() as conn:
        conn.send_raw(record(BEGIN, 1, b"short") * 50)
        conn.expect_close()
    gw.barrier()
    lines = gw.log()[len(before):].splitlines()
    assert len(lines) == 1, lines


def test_answers_given_before_the_error_are_not_lost(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, ECHO, body=b"good")
        assert conn.collect(1).text == "good"
        conn.send_raw(record(BEGIN, 1, b"bad"))
        conn.expect_close()


def test_garbage_of_other_protocols(lua):
    for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                    b"SSH-2.0-OpenSSH_9.2\r\n", b"PROXY TCP4 1.2.3.4\r\n",
                    b"\xff" * 100, bytes(100)):
        with lua.connect() as conn:
            conn.send_raw(garbage)
            if garbage[0] != 1:
                conn.expect_close()
    assert lua(ECHO, body=b"next").text == "next"


def test_end_of_file_within_a_record_closes_at_once(lua):
    whole = fastcgi.request_bytes(1, params_for(ECHO), b"x", padding=3)
    for at in (1, 7, 8, 12, 16, 20, 40, len(whole) - 4):
        with lua.connect() as conn:
            conn.send_raw(whole[:at])
            conn.shutdown()
            conn.expect_close()
    assert lua(ECHO, body=b"next").text == "next"


def test_end_of_file_before_anything_closes(lua):
    with lua.connect() as conn:
        conn.shutdown()
        conn.expect_eof()


def test_end_of_file_on_an_idle_kept_connection_closes(lua):
    with lua.connect() as conn:
        lua.on(conn, ECHO)
        conn.shutdown()
        conn.expect_eof()
