"""The answer: who writes the head, what becomes of it, the body, the end.

SPDX-License-Identifier: MIT
"""
import pytest

from support import fastcgi
from support.lua import ECHO, GO, HOLD, params_for


def written(text):
    """Lua code that writes a text of any bytes in one piece."""
    data = fastcgi.as_bytes(text)
    return "req:write('%s')" % "".join(f"\\x{b:02x}" for b in data)


def log_since(lua, code, params=None):
    """The answer to code and the log lines that came with it."""
    gw = lua.gateway
    before = len(gw.log())
    response = lua(code, params)
    gw.barrier()
    return response, gw.log()[before:]


# --- the handler writes the head, as in CGI ---

@pytest.mark.parametrize("head", [
    "Content-Type: text/x\r\nX-A: b\r\n\r\n",
    "Content-Type: text/x\nX-A: b\n\n",
    "Content-Type: text/x\r\nX-A: b\n\n",
    "Content-Type: text/x\nX-A: b\r\n\r\n",
    "Content-Type: text/x\nX-A: b\n\r\n",
    "Content-Type:text/x\nX-A:   b  \n\n",
])
def test_head_is_normalised(lua, head):
    response = lua(written(head + "the\nbody"))
    assert ("Content-Type", "text/x") in response.head
    assert ("X-A", "b") in response.head
    assert response.status == 200
    assert response.body == b"the\nbody"


def test_body_may_begin_with_empty_lines(lua):
    response = lua(written("A: b\r\n\r\n\r\n\r\nbody"))
    assert response.body == b"\r\n\r\nbody"
    response = lua(written("A: b\n\n\n\nbody"))
    assert response.body == b"\n\nbody"


@pytest.mark.parametrize("head", [
    "X-Empty:\n\n", "Content-Type: a/b\nX-Empty: \n\n",
    "X-High: \xe4\xf6\n\n".encode("latin-1"), "x: y\n\n",
    "Set-Cookie: a=1\nSet-Cookie: b=2\n\n", "A: b: c\n\n", "A: \t b\t\n\n",
])
def test_unusual_heads_are_valid(lua, head):
    response = lua(written(head) + written("body"))
    assert response.status == 200 and response.body == b"body"


def test_order_and_repetition_of_headers_are_kept(lua):
    response = lua(written("B: 1\nA: 2\nB: 3\nSet-Cookie: x\n"
                           "Set-Cookie: y\n\n"))
    assert [f for f in response.head if f[0] in ("A", "B", "Set-Cookie")] == [
        ("B", "1"), ("A", "2"), ("B", "3"), ("Set-Cookie", "x"),
        ("Set-Cookie", "y")]


@pytest.mark.parametrize("text", [
    "hello world\n", "hello world", "hello\n\nworld", "<html>\n\n",
    ": no name\n\n", "Bad Name: x\n\n", "A : space before the colon\n\n",
    "A: b\nno colon here\n\n", "A: nul\0byte\n\n", "A: \x01control\n\n",
    "A: bare\rreturn\n\n", "A\x7f: b\n\n", "(A): b\n\n",
    "HTTP/1.1 200 OK\nA: b\n\n", "A: b\nunfinished: head", "A: b\n", "A: b",
    "\nbody without a head", "Status: abc\n\n", "Status: 42\n\n",
    "Status: 103 Early Hints\n\n", "Status: 100\n\n", "Status: 1000\n\n",
])
def test_what_is_no_head_becomes_500(lua, text):
    response, log = log_since(lua, written(text))
    assert response.status == 500
    assert response.app_status is not None
    assert "error" in log, log
    assert lua(ECHO, body=b"next").text == "next"


def test_bad_head_is_logged_with_the_script(gateway):
    gw = gateway("function on_request(req)\n  req:write('no head')\nend")
    assert gw.request().status == 500
    assert "app.lua" in gw.log()


def test_folded_line_is_not_passed_on(lua):
    response = lua(written("A: b\n folded: c\n\nbody"))
    assert response.status == 500
    assert b"folded" not in response.raw_head


def test_nothing_written_and_nothing_returned_is_500(lua):
    for code in ("", "return", "return nil", "return true", "return req"):
        response, log = log_since(lua, code)
        assert response.status == 500 and "error" in log


def test_head_split_over_writes_is_sent_whole(lua):
    head = "Content-Type: text/plain\r\nX-Long: " + "y" * 300 + "\r\n\r\n"
    response = lua("for c in req:param'HEAD':gmatch'.' do req:write(c) "
                   "fcgi.sleep(0) end req:write 'body'", {"HEAD": head})
    first = response.contents(fastcgi.STDOUT)[0]
    assert b"\r\n\r\n" in first
    assert response.headers["x-long"] == "y" * 300
    assert response.body == b"body"


def test_large_head_is_sent_whole(lua):
    lines = "".join(f"X-{n}: {'v' * 990}\n" for n in range(50))
    response = lua("req:write(req:param'HEAD', '\\n', 'body')",
                   {"HEAD": lines})
    assert b"\r\n\r\n" in response.contents(fastcgi.STDOUT)[0]
    assert response.headers["x-49"] == "v" * 990
    assert response.body == b"body"


def test_head_and_body_leave_in_one_record(lua):
    response = lua("req:write('A: b\\n\\n', 'body')")
    assert len(response.contents(fastcgi.STDOUT)) == 2   # and the empty one


@pytest.mark.parametrize("code", [
    "req:write('A: ', ('x'):rep(70000), '\\n\\nbody')",
    "for i = 1, 1000 do req:write('X-', i, ': ', ('x'):rep(100), '\\n') end "
    "req:write('\\nbody')",
    "req:set_header('A', ('x'):rep(70000)):write('body')",
    "return 200, {A = ('x'):rep(70000)}, 'body'"])
def test_head_over_64_kib_becomes_500(lua, code):
    assert lua(code).status == 500


def test_status_of_the_head_is_kept(lua):
    response = lua(written("Status: 404 Not Here\nA: b\n\nx"))
    assert response.headers["status"] == "404 Not Here"
    assert lua(written("status: 410\n\n")).status == 410


@pytest.mark.parametrize("location", ["/elsewhere", "http://example.org/"])
def test_location_alone_gets_status_302(lua, location):
    response = lua(written(f"Location: {location}\n\n"))
    assert response.headers["status"].startswith("302")
    assert response.headers["location"] == location


def test_location_with_a_status_keeps_it(lua):
    response = lua(written("Status: 201 Created\nLocation: /x\n\n"))
    assert response.status == 201
    response = lua("return 303, { Location = '/x' }")
    assert response.status == 303


@pytest.mark.parametrize("code", [
    "req:write('Transfer-Encoding: chunked\\nConnection: close\\n"
    "transfer-encoding: x\\nA: b\\n\\nbody')",
    "pcall(req.set_header, req, 'Connection', 'close') "
    "pcall(req.set_header, req, 'Transfer-Encoding', 'chunked') "
    "return 200, {}, 'body'",
    "return 200, { Connection = 'close' }, 'body'"])
def test_hop_by_hop_headers_are_not_passed_on(lua, code):
    response = lua(code)
    assert "transfer-encoding" not in response.headers
    assert "connection" not in response.headers


# --- no body ---

@pytest.mark.parametrize("code", [
    "req:write('Content-Length: 5\\n\\nhello')",
    "return 200, { ['Content-Length'] = 5 }, 'hello'",
    "req:set_header('Content-Length', 5) req:write('hel') req:flush() "
    "req:write('lo')",
    "return 200, { ['Content-Length'] = 5 }, {'hel', 'lo'}"])
def test_answer_to_head_has_no_body(lua, code):
    response = lua(code, {"REQUEST_METHOD": "HEAD"})
    assert response.body == b"" and response.app_status == 0
    assert response.headers["content-length"] == "5"


@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_no_body(lua, status):
    for code in (f"return {status}, {{}}, 'hello'",
                 f"req:write('Status: {status}\\n\\nhello')",
                 f"req:set_status({status}):write('hello')"):
        response = lua(code)
        assert response.status == status and response.body == b""
        assert response.app_status == 0


def test_endless_body_that_is_dropped_ends_with_the_handler(lua):
    response = lua("req:set_status(204) for i = 1, 30 do "
                   "assert(req:write(('x'):rep(1024):rep(1024))) end")
    assert response.body == b""


# --- the gateway writes the head ---

def test_set_status(lua):
    response = lua("req:set_status(404) req:write 'gone'")
    assert response.status == 404 and response.body == b"gone"


def test_set_status_with_a_reason(lua):
    response = lua("req:set_status(418, \"I'm a teapot\") req:write 'x'")
    assert response.headers["status"] == "418 I'm a teapot"


def test_first_bytes_are_body_when_a_header_was_set(lua):
    response = lua("req:set_header('X-A', 'b') req:write 'Not: a head\\n\\n'")
    assert response.headers["x-a"] == "b"
    assert response.body == b"Not: a head\n\n" and response.status == 200


def test_head_alone_is_an_answer(lua):
    response = lua("req:set_status(202)")
    assert response.status == 202 and response.body == b""
    assert response.app_status == 0


def test_set_header_replaces(lua):
    response = lua("req:set_header('X-A', 'one'):set_header('x-a', 'two')"
                   ":set_status(200)")
    assert response.header_all("X-A") == ["two"]


def test_set_header_with_nil_removes(lua):
    response = lua("req:set_status(200):set_header('X-A', 'one')"
                   ":set_header('X-B', 'two'):set_header('X-a', nil)")
    assert response.header_all("X-A") == []
    assert response.header_all("X-B") == ["two"]


def test_set_header_with_a_list_gives_several(lua):
    response = lua("req:set_header('X-A', {'one', 2, 'three'}):write''")
    assert response.header_all("X-A") == ["one", "2", "three"]


def test_set_header_with_numbers(lua):
    response = lua("req:set_header('X-I', 42):set_header('X-F', 1.5)"
                   ":write''")
    assert response.headers["x-i"] == "42"
    assert response.headers["x-f"] == "1.5"


def test_add_header_adds(lua):
    response = lua("req:add_header('Set-Cookie', 'a=1')"
                   ":add_header('Set-Cookie', 'b=2'):set_status(200)")
    assert response.header_all("Set-Cookie") == ["a=1", "b=2"]


def test_calls_chain(lua):
    assert lua.value("req:set_status(200) == req, "
                     "req:set_header('A', 'b') == req, "
                     "req:add_header('A', 'c') == req") == "true, true, true"


@pytest.mark.parametrize("call", [
    "set_status(404)", "set_header('A', 'b')", "add_header('A', 'b')"])
@pytest.mark.parametrize("sent", [
    "req:set_status(200):write('x') req:flush()",
    "req:write('A: b\\n\\nx') req:flush()"])
def test_head_may_not_be_changed_after_it_has_gone(lua, call, sent):
    response = lua(f"{sent} local ok, err = pcall(function() req:{call} end) "
                   "req:write(tostring(ok), ' ', tostring(err))")
    assert b"false" in response.body and b"test:1:" in response.body
    assert response.status == 200


@pytest.mark.parametrize("name,value", [
    ("A\\r\\nB", "x"), ("A", "x\\r\\nB: y"), ("A", "x\\ny"), ("A", "x\\ry"),
    ("A", "x\\0y"), ("A\\0", "x"), ("A\\n", "x"), ("A", "x\\n")])
@pytest.mark.parametrize("method", ["set_header", "add_header"])
def test_response_splitting_is_refused(lua, method, name, value):
    response = lua(f"local ok, err = pcall(req.{method}, req, '{name}', "
                   f"'{value}') return 200, {{}}, dump(ok)")
    assert response.text == "false"
    assert "b" not in response.headers and "a" not in response.headers


def test_response_splitting_in_a_list_or_reason_is_refused(lua):
    assert lua.value("pcall(req.set_header, req, 'A', {'x', 'y\\r\\nB: z'})"
                     ).startswith("false")
    assert lua.value("pcall(req.set_status, req, 200, 'OK\\r\\nB: z')"
                     ).startswith("false")


@pytest.mark.parametrize("headers", [
    "{A = 'x\\r\\nB: y'}", "{['A\\nB'] = 'x'}", "{A = {'x', 'y\\nB: z'}}"])
def test_response_splitting_in_returned_headers_is_500(lua, headers):
    response, log = log_since(lua, f"return 200, {headers}, 'body'")
    assert response.status == 500 and "b" not in response.headers
    assert "error" in log


@pytest.mark.parametrize("status", ["100", "103", "199", "600", "0", "-200",
                                    "{}"])
def test_impossible_status_raises(lua, status):
    assert lua.value(f"(pcall(req.set_status, req, {status}))") == "false"


@pytest.mark.parametrize("call", [
    "req:set_header()", "req:set_header({}, 'x')",
    "req:set_header('A', true)", "req:set_header('', 'x')",
    "req:set_header('A B', 'x')", "req:add_header('A', nil)",
    "req:set_status()", "req:set_status(200.5)"])
def test_misuse_of_the_head_names_the_line(lua, call):
    text = lua.text(f"local ok, err = pcall(function()\n {call} end) "
                    "return 200, {}, dump(ok, err)")
    assert text.startswith('false, "test:2:'), text


# --- write ---

def test_write_takes_numbers_and_nested_lists(lua):
    response = lua("req:set_status(200) req:write('a', 1, 2.5, {'b', {3, "
                   "{'c'}, {}}, 'd'}, '', 10 // 1, 2^53)")
    assert response.body == b"a12.5b3cd109.007199254741e+15"


def test_write_gives_true(lua):
    response = lua("req:set_status(200) local a = req:write('x') "
                   "local b = req:write() local c = req:write('') "
                   "req:write(dump(a, b, c))")
    assert response.body == b"xtrue, true, true"


@pytest.mark.parametrize("bad", [
    "nil", "true", "print", "{'x', true}", "{{{}, {'x', print}}}", "req"])
def test_write_checks_all_before_it_takes_the_first_byte(lua, bad):
    response = lua("req:set_status(200) local ok, err = pcall(function()\n"
                   f"req:write('never', {{'seen'}}, {bad}) end) "
                   "req:write(dump(ok, err))")
    assert response.text.startswith('false, "test:2:'), response.text


def test_write_refuses_a_list_that_contains_itself(lua):
    response = lua("req:set_status(200) local t = {'x'} t[2] = t "
                   "req:write(dump((pcall(req.write, req, t))))")
    assert response.body == b"false"


def test_write_of_a_deep_list(lua):
    response = lua("req:set_status(200) local t = {'x'} "
                   "for i = 1, 50 do t = {t} end req:write(t)")
    assert response.body == b"x"
    response = lua("local t = {'x'} for i = 1, 200000 do t = {t} end "
                   "req:set_status(200) "
                   "req:write(dump((pcall(req.write, req, t))))")
    assert response.body in (b"false", b"xtrue")


def test_write_of_a_long_list(lua):
    response = lua("local t = {} for i = 1, 100000 do t[i] = i % 10 end "
                   "req:set_status(200) req:write(t, t)")
    assert response.body == b"1234567890" * 20000


def test_write_of_every_byte(lua):
    response = lua("local t = {} for i = 0, 255 do t[#t + 1] = "
                   "string.char(i) end req:set_status(200) "
                   "for i = 1, 1000 do req:write(t) end")
    assert response.body == bytes(range(256)) * 1000


def test_big_strings_and_small_ones_keep_their_order(lua):
    response = lua("req:set_status(200) for i = 1, 30 do "
                   "req:write(('a'):rep(100000), i, {('b'):rep(20), "
                   "('c'):rep(70000)}) end")
    assert response.body == b"".join(
        b"a" * 100000 + b"%d" % i + b"b" * 20 + b"c" * 70000
        for i in range(1, 31))


def test_written_strings_live_until_they_are_sent(lua):
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "req:set_status(200) for i = 1, 64 do "
                  "req:write(string.char(64 + i % 26):rep(100000)) "
                  "collectgarbage() end")
        response = conn.collect(1)
        assert response.body == b"".join(
            bytes([64 + i % 26]) * 100000 for i in range(1, 65))


def test_write_waits_while_the_client_does_not_read(lua):
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "written = 0 req:set_status(200) "
                  "local s = ('x'):rep(65536) for i = 1, 1024 do "
                  "req:write(s) written = written + #s end")
        conn.wait_stdout(1)
        seen = -1
        while True:         # until the writer stands still
            now = int(lua.value("written"))
            if now == seen:
                break
            seen = now
        assert seen < 16 << 20
        assert len(conn.collect(1).body) == 64 << 20


# --- write_err ---

def test_write_err_goes_to_stderr(lua):
    response = lua("req:write_err('one ', 2, {' three'}, '\\n') "
                   "return 200, {}, 'x'")
    assert response.stderr == b"one 2 three\n" and response.body == b"x"


def test_write_err_has_records_of_a_line_of_at_most_1_kib(lua):
    long = "z" * 5000
    response = lua("req:write_err('a\\nb\\n\\nc\\n', req:param'LONG', "
                   "'\\nlast') return 200", {"LONG": long})
    assert response.stderr.replace(b"\n", b"") == \
        b"abc" + long.encode() + b"last"
    records = response.contents(fastcgi.STDERR)
    assert records[-1] == b""
    for content in records[:-1]:
        assert 1 <= len(content) <= 1024
        assert b"\n" not in content[:-1]


def test_write_err_of_the_log_option_goes_to_the_log(lua_with):
    lua = lua_with("--stderr=log")
    response = lua("req:write_err('for the log\\n') return 200, {}, 'x'")
    assert response.contents(fastcgi.STDERR) == []
    assert response.text == "x"
    lua.gateway.wait_log("for the log")
    response = lua("error 'broken here'")
    assert response.contents(fastcgi.STDERR) == []
    lua.gateway.wait_log("broken here")


def test_write_err_alone_is_no_answer(lua):
    response = lua("req:write_err('x\\n')")
    assert response.status == 500 and b"x\n" in response.stderr


# --- flush ---

def test_flush_sends_what_was_written(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "req:set_status(200) req:write('first') req:write("
            "dump(req:flush())) req:flush() req:write(req:read())"))
        response = conn.wait_stdout(1)
        while response.body != b"firsttrue":
            conn.step()
        conn.stdin(1, b"second")
        assert conn.collect(1).body == b"firsttruesecond"


def test_flush_sends_the_head_alone(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, "req:set_header('A', 'b') req:flush() " + HOLD)
        assert conn.wait_stdout(1).headers["a"] == "b"
        lua(GO)
        conn.collect(1)


def test_flush_waits_until_the_kernel_took_it(lua):
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, "flushed = false req:set_status(200) "
                  "req:write(('x'):rep(1024):rep(8 << 10)) "
                  "flushed = req:flush() req:write('end')")
        conn.wait_stdout(1)
        for _ in range(5):
            assert lua.value("flushed") == "false"
        assert len(conn.collect(1).body) == (8 << 20) + 3
        assert lua.value("flushed") == "true"


# --- send and finish ---

def test_send_answers_and_finishes(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        lua.start(conn, 1, "req:send(201, { ['X-A'] = 'b' }, 'body') "
                  "while not go do fcgi.sleep(0.005) end "
                  "fcgi.log('notice', 'went on: ', dump(req:write('x')))")
        response = conn.collect(1)      # although the handler still runs
        assert response.status == 201 and response.body == b"body"
        assert response.headers["x-a"] == "b" and response.app_status == 0
        lua(GO)
        lua.gateway.wait_log('went on: nil, "finished"')


@pytest.mark.parametrize("call,status,body", [
    ("send(204)", 204, b""), ("send(404, nil, 'x')", 404, b"x"),
    ("send(200, {}, {'a', 1, {'b'}})", 200, b"a1b"),
    ("send(500, { A = {'x', 'y'} }, '')", 500, b"")])
def test_send_takes_what_a_handler_may_return(lua, call, status, body):
    response = lua(f"req:{call}")
    assert response.status == status and response.body == body


def test_finish_ends_at_once_and_the_task_goes_on(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        lua.start(conn, 1, "req:write('A: b\\n\\nbody') req:finish(3) "
                  "while not go do fcgi.sleep(0.005) end "
                  "fcgi.log('notice', 'went on')")
        response = conn.collect(1)
        assert response.body == b"body" and response.app_status == 3
        lua(GO)
        lua.gateway.wait_log("went on")


def test_finish_is_idempotent(lua):
    response = lua("req:write('A: b\\n\\nx') req:finish(3) req:finish(4) "
                   "req:finish()")
    assert response.app_status == 3 and response.body == b"x"


def test_writing_after_finish_is_told(lua_with):
    lua = lua_with()
    lua("req:write('A: b\\n\\nx') req:finish() fcgi.log('notice', 'W ', "
        "dump(req:write('y'))) fcgi.log('notice', 'F ', dump(req:flush()))")
    lua.gateway.wait_log('W nil, "finished"')
    lua.gateway.wait_log('F nil, "finished"')


def test_finish_without_an_answer_is_500(lua):
    assert lua("req:finish()").status == 500


def test_finish_sends_the_head_that_was_set(lua):
    assert lua("req:set_status(202) req:finish()").status == 202


def test_reading_after_finish(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        lua.start(conn, 1, "req:write('A: b\\n\\nx') req:finish() "
                  "fcgi.log('notice', 'R ', dump(req:read()))",
                  body=b"unread")
        conn.collect(1)
        lua.gateway.wait_log('R nil, "finished"')


def test_error_after_finish_is_only_logged(lua_with):
    lua = lua_with()
    response = lua("req:write('A: b\\n\\nx') req:finish() error 'too late'")
    assert response.body == b"x" and response.app_status == 0
    lua.gateway.wait_log("error .*too late")


# --- returned answers ---

@pytest.mark.parametrize("returned,status,body", [
    ("200", 200, b""), ("404, {}", 404, b""), ("200, nil, 'x'", 200, b"x"),
    ("200, {}, ''", 200, b""), ("599, {}, 'x'", 599, b"x"),
    ("200, {}, {'a', 'b', 'c'}", 200, b"abc"),
    ("200, {}, {}", 200, b""),
    ("200, {}, ('x'):rep(200000)", 200, b"x" * 200000)])
def test_returned_answer(lua, returned, status, body):
    response = lua(f"return {returned}")
    assert response.status == status and response.body == body
    assert response.app_status == 0


def test_returned_headers(lua):
    response = lua("return 200, { ['X-A'] = 'b', ['X-N'] = 7, "
                   "['Set-Cookie'] = {'a=1', 'b=2'} }, 'x'")
    assert response.headers["x-a"] == "b" and response.headers["x-n"] == "7"
    assert response.header_all("set-cookie") == ["a=1", "b=2"]


def test_returned_headers_join_those_set_before(lua):
    response = lua("req:set_header('X-A', 'set') "
                   "return 200, { ['X-B'] = 'returned' }, 'x'")
    assert response.headers["x-a"] == "set"
    assert response.headers["x-b"] == "returned"


def test_returned_iterator(lua):
    response = lua("local n = 0 return 200, {}, function() n = n + 1 "
                   "if n <= 3 then return 'part ' .. n .. ';' end end")
    assert response.body == b"part 1;part 2;part 3;"


def test_returned_iterator_may_wait(lua):
    response = lua("local n = 0 return 200, {}, function() n = n + 1 "
                   "fcgi.sleep(0.005) if n <= 3 then return 'x' end end")
    assert response.body == b"xxx"


def test_returned_iterator_may_read_the_body(lua):
    response = lua("return 200, {}, function() return req:read(1000) end",
                   body=b"x" * 100000)
    assert response.body == b"x" * 100000


def test_returned_coroutine_iterator_may_wait(lua):
    response = lua("return 200, {}, coroutine.wrap(function() "
                   "for i = 1, 3 do fcgi.sleep(0.005) coroutine.yield('' .. i)"
                   " end end)")
    assert response.body == b"123"


def test_iterator_of_empty_strings_goes_on(lua):
    response = lua("local n = 0 return 200, {}, function() n = n + 1 "
                   "if n < 5 then return '' elseif n == 5 then return 'x' "
                   "end end")
    assert response.body == b"x"


def test_iterator_that_raises_midway_is_app_status_1(lua):
    response, log = log_since(
        lua, "local n = 0 return 200, {}, function() n = n + 1 "
        "if n > 2 then error 'midway' end fcgi.sleep(0) return 'x' end")
    assert response.status == 200 and response.body == b"xx"
    assert response.app_status == 1 and response.stdout_ended
    assert "midway" in log and "error" in log
    assert b"midway" in response.stderr


def test_returned_file(lua, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 2000)
    response = lua("return 200, {}, assert(io.open(req:param'FILE', 'rb'))",
                   {"FILE": str(path)})
    assert response.body == bytes(range(256)) * 2000


def test_returned_file_is_sent_from_where_it_stands(lua, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    response = lua("local f = assert(io.open(req:param'FILE', 'rb')) "
                   "f:seek('set', 4) return 200, {}, f", {"FILE": str(path)})
    assert response.body == b"456789"


def test_returned_files_are_closed(lua_with, tmp_path):
    lua = lua_with()
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    lua("return 200")
    fds = lua.gateway.fds()
    for _ in range(20):
        lua("return 200, {}, assert(io.open(req:param'FILE', 'rb'))",
            {"FILE": str(path)})
    lua("collectgarbage() collectgarbage() return 200")
    lua.gateway.wait_fds(fds)


@pytest.mark.parametrize("returned", [
    "100", "199", "600", "0", "-1", "200, 'x'", "200, {}, true",
    "200, {}, {true}", "200, {A = true}", "200, {[{}] = 'x'}"])
def test_answers_that_are_none_become_500(lua, returned):
    response, log = log_since(lua, f"return {returned}")
    assert response.status == 500 and "error" in log
    assert lua(ECHO, body=b"next").text == "next"


@pytest.mark.parametrize("result", ["", "return nil", "return true",
                                    "return req", "return 'text'"])
def test_other_results_mean_that_it_has_answered(lua, result):
    response = lua(f"req:write('A: b\\n\\nbody') {result}")
    assert response.body == b"body" and response.app_status == 0


def test_status_returned_after_the_head_is_an_error_in_the_log(lua):
    response, log = log_since(
        lua, "req:write('A: b\\n\\nbody') req:flush() return 404, {}, 'no'")
    assert response.status == 200 and response.body == b"body"
    assert "error" in log


def test_answer_goes_on_while_the_body_is_iterated(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, "local n = 0 return 200, {}, function() "
                  "n = n + 1 if n == 1 then return 'first' end "
                  "if n > 2 then return nil end "
                  "while not go do fcgi.sleep(0.005) end go = nil "
                  "return 'second' end")
        response = conn.wait_stdout(1)
        while response.body != b"first":
            conn.step()
        lua(GO)
        assert conn.collect(1).body == b"firstsecond"


# --- errors ---

def test_error_is_500_and_stays_off_the_page(lua):
    response, log = log_since(lua, "error 'secret detail'",
                              {"REQUEST_URI": "/a?b"})
    assert response.status == 500
    assert b"secret" not in response.raw
    assert b"secret detail" in response.stderr
    assert "test:1: secret detail" in log and "GET /a?b" in log
    assert "192.0.2.7" in log
    assert lua(ECHO, body=b"next").text == "next"


def test_error_has_a_traceback_in_the_log(gateway):
    gw = gateway("local function inner()\n  error 'deep'\nend\n"
                 "function on_request(req)\n  inner()\n  return 200\nend\n")
    assert gw.request().status == 500
    match = gw.wait_log(r"error \[.*app\.lua:2: deep \(GET /app, 192\.0\.2\.7,"
                        r" req [^)]+\)")
    after = gw.log()[match.end():]
    assert "app.lua:5" in after
    for line in after.splitlines()[1:]:
        assert line.startswith((" ", "\t")), line


def test_error_in_the_middle_of_the_answer(lua):
    response = lua("req:write('A: b\\n\\npart') req:flush() error 'late'")
    assert response.body == b"part" and response.app_status == 1
    assert response.stdout_ended and b"late" in response.stderr


def test_error_after_an_incomplete_head_is_500(lua):
    response = lua("req:write('A: b\\nContent-') error 'x'")
    assert response.status == 500 and b"Content-\r\n" not in response.raw


def test_error_before_the_head_has_gone_drops_it(lua):
    response = lua("req:set_status(201):set_header('X-A', 'b') error 'x'")
    assert response.status == 500 and "x-a" not in response.headers


def test_error_answer_to_head_has_no_body(lua):
    response = lua("error 'x'", {"REQUEST_METHOD": "HEAD"})
    assert response.status == 500 and response.body == b""


def test_error_closes_no_kept_connection(lua):
    with lua.connect() as conn:
        for _ in range(10):
            assert lua.on(conn, "error 'x'").status == 500
            assert lua.on(conn, ECHO, body=b"fine").text == "fine"
