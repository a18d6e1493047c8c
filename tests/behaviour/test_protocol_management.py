"""Management records (specification 4): GET_VALUES and unknown types.

SPDX-License-Identifier: MIT
"""
import pytest

from support import fastcgi
from support.fastcgi import (GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE,
                             decode_params, encode_pair, encode_params,
                             record)
from support.lua import ECHO, GO, HOLD, params_for

LIMITS = ("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS")


def result(conn):
    rec = conn.read_management()
    assert rec.type == GET_VALUES_RESULT and rec.id == 0
    return decode_params(rec.content)


def test_get_values_alone_is_answered(lua):
    with lua.connect() as conn:
        assert conn.get_values() == {
            b"FCGI_MAX_CONNS": b"1024", b"FCGI_MAX_REQS": b"1024",
            b"FCGI_MPXS_CONNS": b"1"}


def test_get_values_tells_the_limits_in_force(lua_with):
    lua = lua_with("--max-conns=37", "--max-reqs=21")
    with lua.connect() as conn:
        assert conn.get_values() == {
            b"FCGI_MAX_CONNS": b"37", b"FCGI_MAX_REQS": b"21",
            b"FCGI_MPXS_CONNS": b"1"}


@pytest.mark.parametrize("name", LIMITS)
def test_get_values_answers_only_what_is_asked(lua, name):
    with lua.connect() as conn:
        assert list(conn.get_values([name])) == [name.encode()]


def test_get_values_leaves_out_unknown_names(lua):
    with lua.connect() as conn:
        values = conn.get_values(["FCGI_NO_SUCH", "FCGI_MAX_REQS", "",
                                  "fcgi_max_reqs", "FCGI_MAX_REQS_",
                                  "FCGI_MAX_REQ"])
        assert list(values) == [b"FCGI_MAX_REQS"]


def test_get_values_of_unknown_names_only_is_answered_empty(lua):
    with lua.connect() as conn:
        assert conn.get_values(["X"]) == {}


def test_get_values_of_nothing_is_answered_empty(lua):
    with lua.connect() as conn:
        assert conn.get_values([]) == {}


def test_get_values_with_a_long_name_and_values(lua):
    pairs = (encode_pair("n" * 300, "") + encode_pair("x" * 300, "y" * 500)
             + encode_pair("FCGI_MAX_REQS", "ignored")
             + encode_pair("FCGI_MPXS_CONNS", "", long=True))
    with lua.connect() as conn:
        conn.send_raw(record(GET_VALUES, 0, pairs))
        assert dict(result(conn)) == {b"FCGI_MAX_REQS": b"1024",
                                      b"FCGI_MPXS_CONNS": b"1"}


def test_get_values_byte_by_byte(lua):
    with lua.connect() as conn:
        conn.send_bytewise(record(GET_VALUES, 0,
                                  encode_params({"FCGI_MPXS_CONNS": ""}),
                                  padding=5))
        assert result(conn) == [(b"FCGI_MPXS_CONNS", b"1")]


def test_get_values_between_the_records_of_a_request(lua):
    with lua.connect() as conn:
        conn.begin(1)
        assert len(conn.get_values()) == 3
        conn.params(1, params_for(ECHO), end=False)
        assert len(conn.get_values()) == 3
        conn.params(1)
        assert len(conn.get_values()) == 3
        conn.stdin(1, b"body", end=False)
        assert len(conn.get_values()) == 3
        conn.stdin(1)
        assert conn.collect(1).text == "body"


def test_get_values_while_a_handler_waits(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, HOLD)
        assert len(conn.get_values()) == 3
        lua(GO)
        assert conn.collect(1).text == "held"


def test_each_get_values_has_its_answer(lua):
    with lua.connect() as conn:
        one = record(GET_VALUES, 0, encode_params({"FCGI_MAX_REQS": ""}))
        conn.send_raw(one * 500)
        for _ in range(500):
            assert result(conn) == [(b"FCGI_MAX_REQS", b"1024")]
        assert conn.barrier() == []


@pytest.mark.parametrize("pairs", [b"\x05", b"\xff\xff\xff\xff",
                                   b"\x05\x05abc", b"\x80", b"\x01\xff\xff"])
def test_malformed_get_values_harm_nobody_else(lua, pairs):
    with lua.connect() as conn, lua.connect() as other:
        conn.send_raw(record(GET_VALUES, 0, pairs))
        assert lua.on(other, ECHO, body=b"fine").text == "fine"
    assert lua(ECHO, body=b"fine").text == "fine"


@pytest.mark.parametrize("type", [0, 12, 13, 100, 128, 255])
def test_unknown_management_type_is_answered_with_its_type(lua, type):
    with lua.connect() as conn:
        for content, padding in ((b"", 0), (b"1234", 4), (bytes(65535), 255)):
            conn.send_raw(record(type, 0, content, padding=padding))
            rec = conn.read_management()
            assert rec.type == UNKNOWN_TYPE and rec.id == 0
            assert rec.content == bytes([type]) + bytes(7)
        assert lua.on(conn, ECHO, body=b"still").text == "still"


def test_nothing_is_sent_unasked(lua):
    with lua.connect() as conn:
        assert conn.barrier() == []
        lua.on(conn, ECHO)
        assert conn.barrier() == []


def test_management_does_not_disturb_a_stream(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, "for i = 1, 200 do req:write(i == 1 and "
                  "'A: b\\n\\n' or ('x'):rep(5000)) end")
        for _ in range(50):
            conn.ask_values()
        response = conn.collect(1)
        assert response.body == b"x" * 5000 * 199
        for _ in range(50):
            assert result(conn) == []
    assert response.protocol_status == fastcgi.REQUEST_COMPLETE
