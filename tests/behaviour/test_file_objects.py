"""req.input, req.out and req.err: objects for libraries that want a file.

SPDX-License-Identifier: MIT
"""
import pytest

from support import fastcgi
from support.lua import params_for

HEAD = "req:set_header('Content-Type', 'text/plain') "
LINES = b"one\ntwo\n\nthree"


# --- the fields ---

def test_each_is_the_same_object_every_time(lua):
    assert lua.value("req.input == req.input, req.out == req.out, "
                     "req.err == req.err, req.input ~= req.out, "
                     "req.out ~= req.err") == "true, true, true, true, true"


def test_they_have_names(lua):
    assert lua.text("return 200, {}, tostring(req.input) .. ', ' .. "
                    "tostring(req.out) .. ', ' .. tostring(req.err)") == \
        "file (request input), file (request output), file (request errors)"


def test_they_cannot_be_set(lua):
    assert "fields cannot be set" in lua.value(
        "select(2, pcall(function() req.out = io.stdout end))")


def test_requests_have_their_own(lua):
    lua("first_input = req.input return 204")
    assert lua.value("req.input == first_input") == "false"


# --- input ---

@pytest.mark.parametrize("formats,expected", [
    ("", '"one"'), ("'l'", '"one"'), ("'*L'", '"one\n"'),
    ("'a'", '"one\ntwo\n\nthree"'), ("0", '""'), ("5", '"one\nt"'),
    ("'l', 'L', 'l', 0, 3, 'a'", '"one", "two\n", "", "", "thr", "ee"'),
    ("100", '"one\ntwo\n\nthree"'), ("'n'", "nil"),
])
def test_read(lua, formats, expected):
    assert lua.value(f"req.input:read({formats})", body=LINES) == expected


def test_read_at_the_end(lua):
    assert lua.value("req.input:read 'a', (req.input:read 'a'), "
                     "(req.input:read()), (req.input:read(0)), "
                     "(req.input:read(7)), (req.input:read 'n')",
                     body=b"x") == '"x", "", nil, nil, nil, nil'


def test_numbers(lua):
    assert lua.value("req.input:read('n', 'n', 'n', 'n', 'a')",
                     body=b" 1 -2.5\n0x10\t1e2rest") == \
        '1, -2.5, 16, 100.0, "rest"'


@pytest.mark.parametrize("body", [b"9" * 100000, b"0x" + b"f" * 100000,
                                  b"1" + b"." * 100000, b"1e" + b"9" * 100000])
def test_a_hostile_number_is_none(lua, body):
    # 1.: as io has it, a numeral that ends there
    expected = "1.0" if body.startswith(b"1.") else "nil"
    assert lua.value("(req.input:read 'n')", body=body) == expected
    left = lua.value("(function() req.input:read 'n' "
                     "return #req.input:read 'a' end)()", body=body)
    assert int(left) >= 100000 - 200  # as io, it takes no more of it


def test_lines(lua):
    assert lua.text("local t = {} for line in req.input:lines() do "
                    "t[#t + 1] = '[' .. line .. ']' end "
                    "return 200, {}, table.concat(t)", body=LINES) == \
        "[one][two][][three]"
    assert lua.text("local t = {} for a, b in req.input:lines(1, 'L') do "
                    "t[#t + 1] = a .. '|' .. b .. ';' end "
                    "return 200, {}, table.concat(t)", body=b"ab\ncd\n") == \
        "a|b\n;c|d\n;"


def test_a_long_line_is_one(lua):
    body = b"x" * (3 << 20) + b"\nend"
    assert lua.value("#req.input:read(), req.input:read()", body=body) == \
        '3145728, "end"'
    assert lua.value("#req.input:read 'L', req.input:read()", body=body) == \
        '3145729, "end"'
    assert lua.value("#req.input:read(), req.input:read()",
                     body=b"x" * (3 << 20)) == "3145728, nil"


def test_a_count_is_exact_whatever_the_pieces(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "local t = {} for s in req.input:lines(7) do t[#t + 1] = s end "
            "return 200, {}, table.concat(t, '|')"))
        for piece in (b"a", b"bcd", b"efghijklmn", b"o", b"pq"):
            conn.stdin(1, piece, end=False)
            conn.barrier()
        conn.stdin(1)
        assert conn.collect(1).text == "abcdefg|hijklmn|opq"


def test_it_shares_the_body_with_the_request(lua):
    assert lua.value("req.input:read('n', 0), req:read(2), req.input:read(), "
                     "req:read_line(), req.input:read(1), req:read()",
                     body=b"12 3x\nline\nrest") == \
        '12, " 3", "x", "line\n", "r", "est"'


def test_asking_for_more_waits(lua):
    # read(0) and "n" need to see the next byte, or the end
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            HEAD + "local some = req.input:read(0) req:write(some and 'some')"
            "req:flush() local n = req.input:read 'n' req:write(' ', n) "
            "req:flush() req:write(' ', tostring(req.input:read(0)))"))
        conn.stdin(1, b"4", end=False)
        conn.wait_stdout(1, 32)
        conn.stdin(1, b"2;", end=False)
        conn.barrier()
        conn.stdin(1)
        assert conn.collect(1).text == "some 42 "


def test_the_body_is_taken_in_one_way(lua):
    for call in ("read()", "read(0)", "read 'n'", "lines()()"):
        response = lua("req:body() local _, err = pcall(function()\n"
                       f"  local x = req.input:{call} end) "
                       "return 200, {}, err", body=b"x")
        assert response.text == \
            "test:2: the body is already being taken by req:body"
    response = lua("req:body() return 200, {}, select(2, pcall(function()\n"
                   "  for line in req:lines() do end end))", body=b"x")
    assert response.text == \
        "test:2: the body is already being taken by req:body"
    assert "already being taken by req:read" in lua.value(
        "req.input:read(0), select(2, pcall(req.body, req))", body=b"x")


def test_an_abort_is_passed_on(lua_with):
    lua = lua_with()
    for n, call in enumerate(["read()", "read 'a'", "read(9)", "read 'n'",
                              "read('n', 'l')", "lines()()", "lines(4)()"]):
        with lua.connect() as conn:
            conn.begin(1)
            conn.params(1, params_for(
                f"print 'ready {n}' "
                f"print('call {n}:', dump(req.input:{call}))"))
            conn.stdin(1, b"12", end=False)
            lua.gateway.wait_log(f"ready {n}")
            conn.abort(1)
            conn.collect(1)
        lua.gateway.wait_log(rf'call {n}:\tnil, "aborted", 103')


def test_of_a_request_that_is_over(lua):
    lua("kept_file_req, kept_input, kept_out = req, req.input, req.out "
        "return 204")
    assert lua.value("kept_input:read()") == 'nil, "finished", 32'
    assert lua.value("kept_input:read('n', 5)") == 'nil, "finished", 32'
    assert lua.value("kept_input:lines()()") == 'nil, "finished", 32'
    assert lua.value("kept_out:write 'x'") == 'nil, "finished", 32'
    assert lua.value("kept_out:flush()") == 'nil, "finished", 32'
    assert lua.value("kept_file_req.err:write 'x'") == 'nil, "finished", 32'
    assert lua.value("kept_file_req.input == kept_input") == "true"
    assert lua.value("kept_out:close()") == 'nil, "finished", 32'


# --- out and err ---

def test_write_chains_and_flushes(lua):
    response = lua(HEAD + "local out = req.out "
                   "assert(out:write('a', 1, '\\0'):write('b') == out) "
                   "assert(out:flush() == true) assert(out:setvbuf 'no') "
                   "out:write(2.5)")
    assert response.body == b"a1\0b2.5"


def test_write_can_be_the_head_too(lua):
    response = lua("req.out:write('Status: 404 Gone\\r\\n', '\\r\\n', 'x')")
    assert (response.status, response.text) == (404, "x")


def test_close_finishes(lua):
    response = lua(HEAD + "req.out:write 'x' assert(req.out:close()) "
                   "local _, err = pcall(function()\n"
                   "  req.out:write 'y' end) print('closed says ' .. err)"
                   "print('late', dump(req:write 'z'), tostring(req.out))")
    assert response.text == "x"
    lua.gateway.wait_log("closed says test:2: attempt to use a closed file")
    lua.gateway.wait_log(r'late\tnil, "finished"\tfile \(closed\)')


def test_err_goes_to_the_web_servers_log(lua):
    response = lua(HEAD + "req.err:write('to the ', 'log\\n', 7) "
                   "req.err:close()")
    assert bytes(response.stderr) == b"to the log\n7"
    assert response.text == ""


def test_a_list_is_for_the_request_only(lua):
    response = lua("local _, err = pcall(function()\n"
                   "  req.out:write('a', { 'b' }) end) return 200, {}, err")
    assert response.text == "test:2: bad argument #2 to 'write' " \
        "(string expected, got table)"


def test_out_after_an_abort(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            HEAD + "print 'ready' while not req:is_aborted() do "
            "fcgi.sleep(0.002) end "
            "print('write', dump(req.out:write 'x')) "
            "print('flush', dump(req.out:flush())) "
            "print('close', dump(req.out:close()))"))
        lua.gateway.wait_log("ready")
        conn.abort(1)
        conn.collect(1)
    lua.gateway.wait_log(r'write\tnil, "aborted", 103')
    lua.gateway.wait_log(r'flush\tnil, "aborted", 103')
    lua.gateway.wait_log(r"close\ttrue")


def test_a_writer_waits_for_its_peer(lua):
    size = 8 << 20
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, HEAD + "local piece = ('x'):rep(65536) "
                  "for i = 1, 128 do req.out:write(piece) end")
        assert len(conn.collect(1).body) == size


# --- libraries ---

def test_ltn12_pumps_the_body_through(lua):
    body = bytes(range(256)) * 4096
    response = lua(
        "local ltn12 = require 'ltn12' " + HEAD +
        "assert(ltn12.pump.all(ltn12.source.file(req.input), "
        "ltn12.sink.file(req.out))) print('pumped', tostring(req.input), "
        "tostring(req.out))", body=body)
    assert response.body == body
    lua.gateway.wait_log(r"pumped\tfile \(closed\)\tfile \(closed\)")


def test_ltn12_filters_the_body(lua):
    response = lua(
        "local ltn12, mime = require 'ltn12', require 'mime' " + HEAD +
        "assert(ltn12.pump.all(ltn12.source.file(req.input), "
        "ltn12.sink.chain(mime.encode 'base64', "
        "ltn12.sink.file(req.out))))", body=b"any carnal pleasure.")
    assert response.body == b"YW55IGNhcm5hbCBwbGVhc3VyZS4="


def test_ltn12_waits_for_the_body(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "local ltn12 = require 'ltn12' " + HEAD +
            "assert(ltn12.pump.all(ltn12.source.file(req.input), "
            "ltn12.sink.file(req.out)))"))
        for piece in (b"one ", b"two ", b"three"):
            conn.stdin(1, piece, end=False)
            conn.barrier()
        conn.stdin(1)
        assert conn.collect(1).text == "one two three"


def test_penlight_reads_csv(lua):
    body = b"name,size\nalpha,1\nbeta,2.5\n"
    assert lua.value(
        "(function() local data = require 'pl.data' "
        "local t = data.read(req.input, { delim = ',' }) "
        "return t.fieldnames, t[1], t[2], #t end)()", body=body) == \
        '{"name", "size"}, {"alpha", 1}, {"beta", 2.5}, 2'


def test_penlight_writes_csv(lua):
    response = lua(
        HEAD + "local data = require 'pl.data' "
        "data.write({ { 'a', 1 }, { 'b', 2 } }, req.out, "
        "{ 'name', 'size' }, ',')")
    assert response.text == "name,size\na,1\nb,2\n"


def test_a_handler_may_return_its_input(lua):
    body = b"echo " * 50000
    assert lua("return 200, {}, req.input", body=body).body == body
    response = lua("req.input:close() return 200, {}, req.input")
    assert response.status == 500


def test_protocol_is_kept(lua):
    with lua.connect() as conn:
        response = lua.on(conn, HEAD + "req.out:write 'a' req.out:close()")
        assert response.protocol_status == fastcgi.REQUEST_COMPLETE
        assert lua.on(conn, HEAD + "req.out:write 'b'").text == "b"
