"""Records and streams (specification 3.3, 3.4): padding, lengths, ids, every
way to cut a request.

SPDX-License-Identifier: MIT
"""
import pytest

from support import fastcgi
from support.fastcgi import (ABORT, BEGIN, DATA, PARAMS, STDERR, STDIN,
                             STDOUT, begin_body, encode_params, record,
                             request_bytes, stream)
from support.lua import ECHO, EVAL, params_for

SHORT = 'return 200,{},req:param"X"..req:body()'


def bodies_and_params(lua, conn, **args):
    """Sends a request that shows a parameter and its body; checks both."""
    conn.start(1, {"LUA": SHORT, "X": "value "}, b"the body", defaults=False,
               **args)
    response = conn.collect(1)
    response.check_complete()
    assert response.text == "value the body"


# --- padding and reserved bytes ---

def test_every_padding_length_is_skipped_on_every_record(lua):
    with lua.connect() as conn:
        for padding in range(256):
            bodies_and_params(lua, conn, padding=bytes(padding))


def test_padding_bytes_may_be_anything(lua):
    with lua.connect() as conn:
        for padding in (b"\xff" * 255, b"\x01\x01\x00\x01\x00\x08\x00\x00",
                        bytes(range(256))[1:]):
            bodies_and_params(lua, conn, padding=padding)


def test_padding_on_management_records_is_skipped(lua):
    with lua.connect() as conn:
        assert conn.get_values(padding=b"\x55" * 255)
        assert conn.get_values(padding=b"\x55")


def test_padding_on_abort_is_skipped(lua):
    with lua.connect() as conn:
        conn.begin(1, padding=7)
        conn.send_raw(record(ABORT, 1, padding=b"\xff" * 255))
        assert conn.collect(1).protocol_status == fastcgi.REQUEST_COMPLETE
        bodies_and_params(lua, conn)


def test_reserved_bytes_are_ignored_on_input(lua):
    with lua.connect() as conn:
        conn.expect(1)
        conn.send_raw(
            record(BEGIN, 1, begin_body(flags=1, reserved=b"\xff" * 5),
                   reserved=255)
            + record(PARAMS, 1, encode_params({"LUA": ECHO}), reserved=1)
            + record(PARAMS, 1, reserved=128)
            + record(STDIN, 1, b"in", reserved=77)
            + record(STDIN, 1, reserved=77))
        assert conn.collect(1).text == "in"


def test_reserved_and_padding_bytes_are_zero_on_output(lua):
    # The Connection checks each record it reads.
    with lua.connect() as conn:
        for size in range(70):
            response = lua.on(conn, f'return 200,{{}},("x"):rep({size})')
            assert len(response.body) == size


# --- record lengths ---

def test_largest_record_in(lua):
    body = bytes(range(256)) * 256
    with lua.connect() as conn:
        conn.start(1, params_for(ECHO), body[:65535], padding=255,
                   defaults=False)
        assert conn.collect(1).body == body[:65535]


def test_largest_params_record(lua):
    pairs = encode_params({"LUA": "return 200,{},'' .. #req:param'BIG'"})
    room = 65535 - len(pairs) - len("BIG") - 1 - 4
    pairs += encode_params({"BIG": "v" * room})
    assert len(pairs) == 65535
    with lua.connect() as conn:
        conn.start(1, pairs, padding=255)
        assert conn.collect(1).text == str(room)


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 131070, 131071,
                                  300000])
def test_answers_over_a_record_arrive_whole(lua, size):
    body = lua(f'return 200,{{}},("0123456789"):rep({size} // 10 + 1)'
               f':sub(1, {size})').body
    assert body == (b"0123456789" * (size // 10 + 1))[:size]


def test_answers_around_every_power_of_two_arrive_whole(lua):
    with lua.connect() as conn:
        for edge in (1 << n for n in range(9, 20)):
            for size in range(edge - 70, edge + 10, 3):
                response = lua.on(conn, f"return 200, {{}}, ('x'):rep({size})")
                assert len(response.body) == size


def test_answers_in_two_writes_arrive_whole(lua):
    with lua.connect() as conn:
        for edge in (1 << 15, 1 << 16, 1 << 17, 1 << 18):
            for size in range(edge - 70, edge + 10, 7):
                response = lua.on(
                    conn, f"req:set_status(200):write(('x'):rep({size})) "
                    f"req:write(('y'):rep({size}))")
                assert response.body == b"x" * size + b"y" * size


def test_answer_in_one_write_of_many_records_keeps_its_bytes(lua):
    data = bytes(range(256)) * 1200
    assert lua(ECHO, body=data).body == data


# --- ids ---

@pytest.mark.parametrize("id", [1, 2, 127, 128, 255, 256, 32768, 65535])
def test_any_id_is_served(lua, id):
    with lua.connect() as conn:
        assert lua.on(conn, ECHO, body=b"x", id=id).text == "x"


def test_id_is_reused_at_once(lua):
    with lua.connect() as conn:
        for n in range(200):
            assert lua.on(conn, ECHO, body=b"%d" % n).text == str(n)


@pytest.mark.parametrize("type", [ABORT, PARAMS, STDIN, DATA, 3, STDOUT,
                                  STDERR, 12, 99, 255])
def test_records_of_an_inactive_id_are_ignored(lua, type):
    with lua.connect() as conn:
        for content in (b"", b"abcdefgh", bytes(65535)):
            conn.send_raw(record(type, 7, content, padding=3))
        assert conn.barrier() == []
        assert lua.on(conn, ECHO, body=b"on", id=7).text == "on"


def test_late_stdin_of_an_ended_id_is_dropped(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for("return 200, {}, 'early'"))
        conn.stdin(1, b"x" * 1000, end=False)
        assert conn.collect(1).text == "early"
        conn.stdin(1, b"y" * 100000)
        assert conn.barrier() == []


def test_id_begins_again_while_its_old_stdin_still_comes(lua):
    with lua.connect() as conn:
        for n in range(20):
            conn.begin(1)
            conn.params(1, params_for(f"return 200, {{}}, 'early {n}'"))
            conn.stdin(1, b"x" * 1000, end=False)
            assert conn.collect(1).text == f"early {n}"
            conn.stdin(1, b"y" * 5000, end=bool(n % 2))
            assert lua.on(conn, ECHO, body=b"whole").text == "whole"


def test_unknown_type_on_an_active_id_is_ignored(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.send_raw(record(99, 1, b"what"))
        conn.params(1, params_for(ECHO), end=False)
        conn.send_raw(record(12, 1, b"what", padding=9))
        conn.params(1)
        conn.send_raw(record(200, 1))
        conn.stdin(1, b"good")
        assert conn.collect(1).text == "good"


# --- every way to cut ---

def small_request():
    return request_bytes(1, {"LUA": SHORT, "X": "value "}, b"the body",
                         flags=1, defaults=False, padding=2)


def test_request_read_byte_by_byte(lua):
    with lua.connect() as conn:
        conn.expect(1)
        conn.send_bytewise(small_request())
        assert conn.collect(1).text == "value the body"


def test_request_byte_by_byte_over_tcp(shared_gateway):
    gw = shared_gateway(EVAL, listen="tcp")
    with gw.connect() as conn:
        conn.expect(1)
        conn.send_bytewise(small_request())
        assert conn.collect(1).text == "value the body"


def test_request_read_in_two_parts_at_every_place(lua):
    whole = small_request()
    with lua.connect() as conn:
        for at in range(1, len(whole)):
            conn.expect(1)
            conn.send_parts([whole[:at], whole[at:]])
            assert conn.collect(1).text == "value the body", at


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7, 8, 16, 64])
def test_streams_cut_in_small_records(lua, cut):
    with lua.connect() as conn:
        bodies_and_params(lua, conn, cut=cut, params_cut=cut)


def test_pairs_straddle_records_at_every_place(lua):
    pairs = encode_params([("LUA", SHORT), ("X", "value ")])
    with lua.connect() as conn:
        for at in range(1, len(pairs)):
            bodies_and_params(lua, conn, params_cut=[at])


def test_long_pairs_straddle_many_records(lua):
    value = "v" * 100_000
    with lua.connect() as conn:
        conn.start(1, params_for("return 200, {}, '' .. #req:param'BIG'",
                                 {"BIG": value}), defaults=False,
                   params_cut=16288)
        assert conn.collect(1).text == "100000"


def test_two_requests_in_one_write(lua):
    with lua.connect() as conn:
        conn.expect(1)
        conn.expect(2)
        conn.send_raw(
            request_bytes(1, params_for(ECHO), b"one", flags=1,
                          defaults=False)
            + request_bytes(2, params_for(ECHO), b"two", flags=1,
                            defaults=False))
        assert conn.collect(2).text == "two"
        assert conn.collect(1).text == "one"


def test_request_without_params(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1)
        conn.stdin(1)
        assert conn.collect(1).text == "no code"


def test_handler_starts_when_params_end(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for("return 200, {}, 'no body needed'"))
        assert conn.collect(1).text == "no body needed"


# --- name-value lengths ---

@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 129, 255, 256, 300,
                                  65535, 65536, 70000])
@pytest.mark.parametrize("long", [False, True])
def test_lengths_of_values(lua, size, long):
    with lua.connect() as conn:
        conn.start(1, {"BIG": "v" * size, "LUA": (
            "local v = req:param'BIG' "
            "return 200, {}, #v .. ' ' .. tostring(v == ('v'):rep(#v))")},
            long=long, defaults=False)
        assert conn.collect(1).text == f"{size} true"


@pytest.mark.parametrize("size", [1, 127, 128, 255, 256, 300, 65536])
@pytest.mark.parametrize("long", [False, True])
def test_lengths_of_names(lua, size, long):
    with lua.connect() as conn:
        conn.start(1, {"n" * size: "found", "LUA":
                       f"return 200, {{}}, req:param(('n'):rep({size}))"},
                   long=long, defaults=False)
        assert conn.collect(1).text == "found"


@pytest.mark.parametrize("long", [(True, False), (False, True), (True, True)])
def test_short_lengths_in_four_bytes(lua, long):
    with lua.connect() as conn:
        bodies_and_params(lua, conn, long=long)


def test_empty_names_and_values(lua):
    assert lua.value("req:param'', req:param'E', req:param'GONE'",
                     {"": "no name", "E": ""}) == '"no name", "", nil'


def test_names_and_values_are_bytes(lua):
    every = bytes(range(256))
    with lua.connect() as conn:
        conn.start(1, [("LUA", "local n = '' for i = 0, 255 do "
                        "n = n .. string.char(i) end "
                        "return 200, {}, req:param(n)"),
                       (every, every[::-1])])
        assert conn.collect(1).body == every[::-1]


def test_first_of_equal_names_wins(lua):
    with lua.connect() as conn:
        conn.start(1, [("LUA", "return 200, {}, dump(req:param'D', "
                        "req:param().D)"), ("D", "one"), ("D", "two")])
        assert conn.collect(1).text == '"one", "one"'


def test_many_params(lua):
    pairs = {f"NAME_{n}": f"value {n}" for n in range(5000)}
    pairs["LUA"] = ("local n, t = 0, req:param() for k, v in pairs(t) do "
                    "if k:match'^NAME_' then n = n + 1 end end "
                    "return 200, {}, n .. ' ' .. req:param'NAME_4999'")
    with lua.connect() as conn:
        conn.start(1, pairs, defaults=False)
        assert conn.collect(1).text == "5000 value 4999"


def test_empty_stream_records_end_only_their_stream(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.begin(2)
        conn.params(1, params_for(ECHO))
        conn.stdin(1)
        assert conn.collect(1).text == ""
        conn.params(2, params_for(ECHO))
        conn.send_raw(stream(STDIN, 2, b"still"))
        assert conn.collect(2).text == "still"
