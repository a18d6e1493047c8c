"""The request body: ways of reading, its end, its limits, its spool.

SPDX-License-Identifier: MIT
"""
import os
import threading

import pytest

from support import fastcgi
from support.lua import ECHO, EVAL, Lua, params_for

BIG = os.urandom(1 << 20) * 20      # 20 MiB, of no pattern within a MiB


def chunks_of(lua, conn, parts, code):
    """Sends the body part by part, each when the one before was read."""
    conn.begin(1)
    conn.params(1, params_for(code))
    for part in parts:
        conn.stdin(1, part, end=False)
        conn.barrier()
    conn.stdin(1)
    return conn.collect(1)


# --- read ---

def test_read_without_a_number_gives_the_rest(lua):
    assert lua.value("req:read()", body=b"whole") == '"whole"'


def test_read_n_gives_at_most_n(lua):
    assert lua.value("req:read(3), req:read(3), req:read(3), req:read(3)",
                     body=b"abcdefg") == '"abc", "def", "g", nil'


def test_read_n_gives_what_there_is_at_once(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "req:write('A: b\\n\\n') for s in function() return "
            "req:read(1000) end do req:write('[', s, ']') end"))
        sofar = 0
        for part in (b"one", b"two", b"three"):
            conn.stdin(1, part, end=False)
            sofar += len(part) + 2
            response = conn.begun[1]
            while len(response.body) < sofar or not response.raw_head:
                conn.step()
        conn.stdin(1)
        assert conn.collect(1).body == b"[one][two][three]"


def test_read_of_an_empty_body_is_nil(lua):
    assert lua.value("req:read()") == "nil"
    assert lua.value("req:read(10)") == "nil"


def test_read_after_the_end_stays_nil(lua):
    assert lua.value("req:read(), req:read(), req:read(5)",
                     body=b"x") == '"x", nil, nil'


def test_read_of_the_rest_after_some(lua):
    assert lua.value("req:read(2), req:read()",
                     body=b"abcdef") == '"ab", "cdef"'


def test_read_keeps_every_byte(lua):
    data = bytes(range(256)) * 1000
    response = lua("req:write('A: b\\n\\n') for s in function() "
                   "return req:read(777) end do req:write(s) end", body=data)
    assert response.body == data


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "'x'", "{}"])
def test_read_of_a_wrong_number_raises(lua, count):
    text = lua.text(f"local ok, err = pcall(req.read, req, {count}) "
                    "return 200, {}, tostring(ok) .. ' ' .. tostring(err)",
                    body=b"x")
    assert text.startswith("false ") and "bad argument" in text


def test_read_waits_for_what_comes_later(lua):
    with lua.connect() as conn:
        response = chunks_of(lua, conn, [b"a", b"b", b"c"], ECHO)
        assert response.text == "abc"


# --- lines ---

def test_read_line_keeps_its_newline(lua):
    assert lua.value(
        "req:read_line(), req:read_line(), req:read_line(), req:read_line(), "
        "req:read_line()", body=b"one\n\ntwo\r\nlast") == \
        '"one\n", "\n", "two\r\n", "last", nil'


def test_read_line_of_an_empty_body_is_nil(lua):
    assert lua.value("req:read_line()") == "nil"


def test_read_line_of_a_last_newline(lua):
    assert lua.value("req:read_line(), req:read_line()",
                     body=b"one\n") == '"one\n", nil'


def test_read_line_gives_at_most_max_bytes(lua):
    text = lua.text(
        "local out = {} for l in function() return req:read_line(4) end do "
        "out[#out + 1] = #l <= 4 and l or 'too long' end "
        "return 200, {}, table.concat(out, '|')", body=b"abcdefghij\nkl\n")
    assert text.replace("|", "") == "abcdefghij\nkl\n"


def test_read_line_across_records(lua):
    with lua.connect() as conn:
        response = chunks_of(
            lua, conn, [b"fir", b"st\nsec", b"ond", b"\n", b"third"],
            "return 200, {}, dump(req:read_line(), req:read_line(), "
            "req:read_line(), req:read_line())")
        assert response.text == '"first\n", "second\n", "third", nil'


def test_lines_are_without_their_newlines(lua):
    assert lua.text("local out = {} for l in req:lines() do "
                    "out[#out + 1] = '<' .. l .. '>' end "
                    "return 200, {}, out",
                    body=b"one\n\nthree") == "<one><><three>"


def test_lines_of_many_records(lua):
    lines = [b"line %d" % n * (n % 50) for n in range(5000)]
    text = lua.text("local n, bytes = 0, 0 for l in req:lines() do "
                    "n, bytes = n + 1, bytes + #l end "
                    "return 200, {}, n .. ' ' .. bytes",
                    body=b"\n".join(lines), cut=1000)
    assert text == f"5000 {sum(map(len, lines))}"


def test_read_line_and_read_may_alternate(lua):
    assert lua.value("req:read_line(), req:read(2), req:read_line(), "
                     "req:read()", body=b"head\nabcd\nrest\nmore") == \
        '"head\n", "ab", "cd\n", "rest\nmore"'


# --- body ---

def test_body_gives_all(lua):
    assert lua.value("req:body()", body=b"whole") == '"whole"'


def test_body_may_be_called_twice(lua):
    assert lua.value("req:body() == req:body(), req:body()",
                     body=b"whole") == 'true, "whole"'


def test_tasks_may_ask_for_the_body_at_the_same_time(lua):
    with lua.connect() as conn:
        response = chunks_of(
            lua, conn, [b"who", b"le"],
            "local a = fcgi.spawn(req.body, req) "
            "local b = fcgi.spawn(req.body, req) "
            "return 200, {}, dump(a:join(), b:join(), req:body())")
        assert response.text == '"whole", "whole", "whole"'


def test_body_over_its_limit_is_too_large(lua):
    assert lua.value("req:body(4)", body=b"12345") == 'nil, "too large"'
    assert lua.value("req:body(5)", body=b"12345") == '"12345"'


def test_body_is_limited_to_16_mib(lua):
    assert lua.value("req:body()", body=BIG) == 'nil, "too large"'
    assert lua.value("#req:body()", body=BIG[:16 << 20]) == str(16 << 20)


def test_body_with_a_limit_of_its_own_may_be_larger(lua):
    assert lua.value("#req:body(32 << 20)", body=BIG) == str(len(BIG))


@pytest.mark.parametrize("first,second", [
    ("read", "body"), ("read_line", "body"), ("body", "read"),
    ("body", "read_line"), ("lines", "body"), ("body", "lines")])
def test_second_way_of_taking_the_body_raises(lua, first, second):
    call = {"lines": "req:lines()()"}
    text = lua.text(
        f"local s = {call.get(first, f'req:{first}()')} "
        f"local ok, err = pcall(function() "
        f"return {call.get(second, f'req:{second}()')} end) "
        "return 200, {}, dump(ok, tostring(err))", body=b"a\nb\n")
    assert text.startswith("false") and first in text


# --- CONTENT_LENGTH ---

def test_content_length_ends_the_body(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO, {"CONTENT_LENGTH": "5"}))
        conn.stdin(1, b"12345", end=False)
        assert conn.collect(1).text == "12345"
        conn.stdin(1)
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_body_ends_at_content_length(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO, {"CONTENT_LENGTH": "3"}))
        conn.stdin(1, b"12345")
        assert conn.collect(1).text == "123"


@pytest.mark.parametrize("length", [None, "", "0", "-1", "junk", "5x", " ",
                                    "1e3", "0x10"])
def test_without_a_positive_length_the_empty_record_ends(lua, length):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO, {"CONTENT_LENGTH": length}))
        conn.stdin(1, b"part one,", end=False)
        conn.barrier()
        conn.stdin(1, b" part two")
        assert conn.collect(1).text == "part one, part two"


def test_huge_length_is_never_allocated(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            ECHO, {"CONTENT_LENGTH": str(2**62)}))
        conn.barrier()
        conn.abort(1)
        conn.collect(1)


def test_truncated_body_is_told(lua):
    # The client has gone: what came can be read, then it is "aborted".
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "local first = req:read(3) "
            "return 200, {}, dump(first, req:read(100))",
            {"CONTENT_LENGTH": "100"}))
        conn.stdin(1, b"123")
        text = conn.collect(1).text
    assert text.startswith('"123", nil, "'), text


def test_body_of_a_truncated_request_is_not_taken_for_whole(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for("return 200, {}, dump(req:body())",
                                  {"CONTENT_LENGTH": "100"}))
        conn.stdin(1, b"123")
        assert conn.collect(1).text.startswith("nil,")


# --- limits ---

def test_body_over_max_body_is_answered_413(lua_with):
    lua = lua_with("--max-body=1000")
    assert lua.text(ECHO, body=b"x" * 1000) == "x" * 1000
    response = lua("req:body() return 200, {}, 'taken'", body=b"x" * 1001)
    assert response.status == 413
    assert lua.text(ECHO, body=b"next") == "next"


def test_max_body_holds_without_content_length(lua_with):
    lua = lua_with("--max-body=1000")
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for("req:body() return 200",
                                  {"CONTENT_LENGTH": None}))
        conn.stdin(1, b"x" * 5000)
        assert conn.collect(1).status == 413


def test_max_body_is_seen_at_the_content_length(lua_with):
    lua = lua_with("--max-body=1000")
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for("req:body() return 200",
                                  {"CONTENT_LENGTH": "100000"}))
        assert conn.collect(1).status == 413    # although nothing was sent


def test_max_body_ends_before_the_next_read_returns(lua_with):
    lua = lua_with("--max-body=1000")
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "local s = req:read(100) "
            "while s do s = req:read(100) end return 200, {}, 'never'",
            {"CONTENT_LENGTH": None}))
        conn.stdin(1, b"x" * 500, end=False)
        conn.barrier()
        conn.stdin(1, b"x" * 501)
        assert conn.collect(1).status == 413


def test_connection_goes_on_after_413(lua_with):
    lua = lua_with("--max-body=1000")
    with lua.connect() as conn:
        for _ in range(5):
            assert lua.on(conn, "req:body() return 200",
                          body=b"x" * 5000).status == 413
            assert lua.on(conn, ECHO, body=b"fits").text == "fits"


# --- unread bodies and the spool ---

def test_handler_that_ignores_its_body(lua):
    with lua.connect() as conn:
        for size in (1, 1000, 70000, 1 << 20):
            assert lua.on(conn, "return 200, {}, 'early'",
                          body=b"x" * size).text == "early"
            assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_echo_of_20_mib_to_a_client_that_writes_all_first(lua):
    # Our output is blocked long before the client has sent everything.
    code = ("req:write('A: b\\n\\n') for s in function() "
            "return req:read(65536) end do req:write(s) end")
    with lua.connect() as conn:
        conn.expect(1)
        conn.send_raw(fastcgi.request_bytes(
            1, params_for(code), BIG, flags=1, defaults=False, cut=32768))
        assert conn.collect(1).body == BIG
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_echo_of_20_mib_in_both_directions(lua):
    assert lua("req:write('A: b\\n\\n') for s in function() "
               "return req:read(65536) end do req:write(s) end",
               body=BIG).body == BIG


def test_big_body_of_one_id_does_not_block_its_neighbour(lua):
    with lua.connect() as conn:
        conn.begin(2)
        conn.begin(1)
        conn.params(1, params_for(
            "while not go do fcgi.sleep(0.005) end go = nil "
            "return 200, {}, #req:body(32 << 20) .. ''"))
        conn.stdin(1, BIG, end=False)       # nobody reads it
        conn.params(2, params_for(ECHO))
        conn.stdin(2, b"small")
        assert conn.collect(2).text == "small"
        lua("go = true return 200")
        conn.stdin(1)
        assert conn.collect(1).text == str(len(BIG))


def test_spooled_body_keeps_its_bytes(lua):
    with lua.connect() as conn:
        conn.begin(2)                   # so that 1 has a neighbour
        conn.begin(1)
        conn.params(1, params_for(
            "while not go do fcgi.sleep(0.005) end go = nil "
            "req:write('A: b\\n\\n') for s in function() "
            "return req:read(50000) end do req:write(s) end"))
        conn.stdin(1, BIG)
        conn.params(2, params_for("go = true return 200"))
        conn.stdin(2)
        assert conn.collect(2).status == 200
        assert conn.collect(1).body == BIG


def test_spool_files_are_unlinked(lua_with, tmp_path):
    lua = lua_with(f"--tmpdir={tmp_path}")
    fds = lua.gateway.fds()
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "while not go do fcgi.sleep(0.005) end go = nil return 200"))
        conn.begin(2)
        conn.stdin(1, BIG)
        conn.params(2, params_for("go = true return 200"))
        conn.stdin(2)
        assert list(tmp_path.iterdir()) == []
        conn.collect_all([1, 2])
    lua.gateway.wait_fds(fds)


def test_body_over_max_spool_is_answered_413(lua_with):
    lua = lua_with("--max-spool=4M")
    with lua.connect() as conn:
        conn.begin(2)
        conn.begin(1)
        conn.params(1, params_for(
            "while not go do fcgi.sleep(0.005) end go = nil "
            "req:body(64 << 20) return 200, {}, 'taken'"))
        conn.stdin(1, BIG)
        conn.params(2, params_for("go = true return 200"))
        conn.stdin(2)
        assert conn.collect(2).status == 200
        assert conn.collect(1).status == 413
        # the room in the spool is given back
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_max_spool_is_given_back(lua_with):
    lua = lua_with("--max-spool=8M")
    part = BIG[:6 << 20]
    for _ in range(4):
        with lua.connect() as conn:
            conn.begin(2)
            conn.begin(1)
            conn.params(1, params_for(
                "while not go do fcgi.sleep(0.005) end go = nil "
                "return 200, {}, #req:body() .. ''"))
            conn.stdin(1, part)
            conn.params(2, params_for("go = true return 200"))
            conn.stdin(2)
            assert conn.collect(1).text == str(len(part))


def test_early_answer_to_a_big_upload_reaches_the_client(lua):
    # The connection is closed after it, but not over unread input.
    with lua.connect() as conn:
        lua.start(conn, 1, "return 413, {}, 'too much'", body=BIG, flags=0,
                  duplex=True)
        response = conn.collect(1)
        assert response.status == 413 and response.text == "too much"
        conn.expect_eof()


def test_early_answer_over_tcp_reaches_the_client(shared_gateway):
    lua = Lua(shared_gateway(EVAL, listen="tcp"))
    for _ in range(3):
        with lua.connect() as conn:
            conn.begin(1, flags=0)
            conn.params(1, params_for("return 413, {}, 'too much'"))
            conn.stdin(1, b"x" * 100, end=False)
            sender = threading.Thread(target=conn.stdin, args=(1, BIG))
            sender.start()
            try:
                response = conn.collect(1)
                assert response.text == "too much"
                conn.expect_eof()
            finally:
                sender.join()


def test_params_may_be_read_while_the_body_comes(lua):
    with lua.connect() as conn:
        response = chunks_of(
            lua, conn, [b"a", b"b"],
            "local a = req:read(1) local m = req:method() "
            "return 200, {}, a .. m .. req:read()")
        assert response.text == "aGETb"
