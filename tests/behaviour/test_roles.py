"""The three roles on the wire: who is answered UNKNOWN_ROLE, what an authorizer
lets in, what a filter reads.

SPDX-License-Identifier: MIT
"""
import os

import pytest

from support import fastcgi
from support.fastcgi import (AUTHORIZER, FILTER, KEEP_CONN, OVERLOADED,
                             RESPONDER, UNKNOWN_ROLE)
from support.lua import ECHO, EVAL, Lua, params_for

MIB = 1 << 20


# --- roles ---

@pytest.mark.parametrize("role", [0, 4, 5, 255, 256, 65535])
def test_unknown_role_is_answered_so(lua, role):
    with lua.connect() as conn:
        conn.start(1, params_for(ECHO), b"x", role=role, defaults=False)
        assert conn.collect(1).protocol_status == UNKNOWN_ROLE
        assert lua.on(conn, ECHO, body=b"good").text == "good"


def test_unknown_role_without_keep_conn_closes(lua):
    with lua.connect() as conn:
        conn.start(1, params_for(ECHO), b"x", role=77, flags=0,
                   defaults=False)
        assert conn.collect(1).protocol_status == UNKNOWN_ROLE
        conn.expect_eof()


@pytest.mark.parametrize("role", [AUTHORIZER, FILTER])
def test_role_whose_hook_is_missing_is_unknown(lua, role):
    with lua.connect() as conn:
        conn.start(1, params_for(ECHO), role=role, defaults=False,
                   data=b"d" if role == FILTER else None)
        assert conn.collect(1).protocol_status == UNKNOWN_ROLE
        assert lua.on(conn, ECHO, body=b"good").text == "good"


def test_responder_is_unknown_to_an_authorizer(gateway):
    gw = gateway("function on_authorize(req) return true end")
    with gw.connect() as conn:
        conn.start(1, {}, b"x")
        assert conn.collect(1).protocol_status == UNKNOWN_ROLE
    gw.wait_log("requests are refused: the script has no on_request")


@pytest.mark.parametrize("role", [AUTHORIZER, FILTER])
@pytest.mark.parametrize("flags", [0, KEEP_CONN])
def test_role_whose_hook_is_missing_has_a_head_that_says_no(lua, role, flags):
    """Web servers look at the head alone, and lighttpd lets everybody in
    after an end without one."""
    with lua.connect() as conn:
        conn.start(1, params_for(ECHO), b"x", role=role, defaults=False,
                   data=b"d" if role == FILTER else None, flags=flags)
        response = conn.collect(1)
        assert response.protocol_status == UNKNOWN_ROLE
        assert response.status == 500 and response.stdout_ended
        if flags:
            assert lua.on(conn, ECHO, body=b"good").text == "good"
        else:
            conn.shutdown()
            conn.expect_eof()


ROLES = """\
function on_request(req) return 200, {}, req.role .. ":" .. req:body() end
function on_authorize(req) return 403, {}, req.role end
function on_filter(req)
  return 200, {}, req.role .. ":" .. req:body() .. ":" .. req:data()
end
"""


def test_one_script_in_all_roles_on_one_connection(gateway):
    gw = gateway(ROLES)
    with gw.connect() as conn:
        for _ in range(2):
            conn.start(1, {}, b"a")
            conn.start(2, {}, role=AUTHORIZER)
            conn.start(3, {}, b"b", role=FILTER, data=b"c")
            assert conn.collect(3).text == "filter:b:c"
            assert conn.collect(1).text == "responder:a"
            assert conn.collect(2).text == "authorizer"


# --- authorizer ---

AUTH = """\
local fcgi = require "fcgi"
function on_authorize(req)
  return assert(load("local req, fcgi = ... " .. req:param "LUA"))(req, fcgi)
end
"""


def authorize(gw, code, params=None, **args):
    merged = {"LUA": code, "REQUEST_METHOD": "GET", "REQUEST_URI": "/secret",
              **(params or {})}
    return gw.request(merged, role=AUTHORIZER, defaults=False, **args)


@pytest.fixture
def auth(shared_gateway):
    return shared_gateway(AUTH)


def test_authorizer_allows_without_any_stdin(auth):
    response = authorize(auth, "return true")
    assert response.status == 200 and response.headers["status"]
    assert not [n for n, _ in response.head if n.startswith("Variable-")]


def test_authorizer_gives_variables(auth):
    response = authorize(
        auth, "return true, { AUTH_METHOD = 'database lookup', N = 7 }")
    assert response.headers["status"].startswith("200")
    assert ("Variable-AUTH_METHOD", "database lookup") in response.head
    assert ("Variable-N", "7") in response.head
    assert response.body == b""


def test_authorizer_refuses(auth):
    response = authorize(auth, "return 403, { ['X-Why'] = 'no' }, 'go away'")
    assert response.status == 403
    assert response.headers["x-why"] == "no"
    assert response.body == b"go away"


def test_authorizer_refuses_with_a_status_alone(auth):
    response = authorize(auth, "return 401")
    assert response.status == 401 and response.body == b""


def test_authorizer_sees_its_role(auth):
    response = authorize(auth, "return 403, {}, req.role")
    assert response.text == "authorizer"


def test_authorizer_has_no_body(auth):
    response = authorize(auth, "return 403, {}, tostring(req:read())")
    assert response.text == "nil"


def test_authorizer_may_wait(auth):
    response = authorize(auth, "fcgi.sleep(0.01) return true, {A = 'b'}")
    assert ("Variable-A", "b") in response.head


def test_authorizer_error_is_no_permission(auth):
    response = authorize(auth, "error 'broken'")
    assert response.status == 500


@pytest.mark.parametrize("variables", ["{['A\\nB'] = 'x'}",
                                       "{A = 'x\\r\\ny'}"])
def test_authorizer_variables_cannot_split_the_head(auth, variables):
    response = authorize(auth, f"return true, {variables}")
    assert response.status == 500


@pytest.mark.parametrize("code", [
    "", "return nil", "return false", "return nil, 'not you'",
    "req:set_header('X', 'y')", "req:set_header('X', 'y') return false"])
def test_authorizer_refuses_unless_told(auth, code):
    response = authorize(auth, code)
    assert response.status == 403
    assert response.headers.get("x") == ("y" if "'X'" in code else None)


@pytest.mark.parametrize("code", [
    "return 'yes'", "return 1", "return '200'", "return {}", "return req",
    "return 200", "return 200, {}, 'come in'", "return 204", "return 0/0",
    "return true, 'x'", "return true, {A = {}, B = true}",
    "req:set_status(200)", "return req:set_status(200)",
    "req:set_status(200):write('x')", "return req:send(200)",
    "req:write('Status: 200 OK\\r\\n\\r\\n')",
    "req:write('Content-Type: text/plain\\r\\n\\r\\nhello')",
    "req:write('Content-Type: text/plain\\r\\n')",
    "req:write('hello')", "req:flush() req:finish() return true",
    "error()", "error({})", "error(nil)", "req:set_status(403) return true",
    "return true, setmetatable({}, {__pairs = function() error 'x' end})",
])
def test_authorizer_lets_in_by_nothing_but_true(auth, code):
    response = authorize(auth, code)
    assert response.status in (403, 500), response
    assert not [n for n, _ in response.head if n.startswith("Variable-")]
    assert authorize(auth, "return true").status == 200


@pytest.mark.parametrize("answer", [
    "return 200, {}, 'sorry'", "return true", "req:set_status(200):write 'x'",
    "req:write 'A: b\\n\\nsorry'", "error 'again'", ""])
def test_on_error_does_not_let_in(gateway, answer):
    gw = gateway(AUTH + f"function on_error(req) {answer} end")
    assert authorize(gw, "error 'x'").status == 500
    assert authorize(gw, "return true").status == 200


def test_on_error_may_refuse_an_authorization(gateway):
    gw = gateway(AUTH + "function on_error() return 401, {X = 'y'} end")
    response = authorize(gw, "error 'x'")
    assert response.status == 401 and response.headers["x"] == "y"


def test_authorizer_out_of_time_is_no_permission(gateway):
    gw = gateway(AUTH, "--timeout=0.05")
    assert authorize(gw, "fcgi.sleep(60) return true").status == 504
    response = authorize(gw, "pcall(fcgi.sleep, 60) return true")
    assert response.status == 200  # the script has said so


def test_authorizer_of_too_many_is_no_permission(gateway):
    gw = gateway(AUTH, "--max-reqs=1")
    with gw.connect() as one:
        one.start(1, {"LUA": "fcgi.log('notice', 'held') "
                             "while not req:is_aborted() do "
                             "fcgi.sleep(0.005) end"}, role=AUTHORIZER)
        gw.wait_log("held")
        with gw.connect() as two:
            two.start(1, {"LUA": "return true"}, role=AUTHORIZER, flags=0)
            response = two.collect(1)
        assert response.protocol_status == OVERLOADED
        assert response.status == 503
        # One that may not even wait has no head: the connection ends instead.
        with gw.connect() as three:
            three.begin(1, AUTHORIZER)
            three.begin(2, AUTHORIZER)
            assert three.expect_close() == []


def test_authorizer_of_too_large_parameters_is_no_permission(gateway):
    gw = gateway(AUTH, "--max-params=4k")
    response = authorize(gw, "return true", {"LONG": "x" * 8000})
    assert response.status == 431


def test_authorizer_of_broken_parameters_is_no_permission(auth):
    with auth.connect() as conn:
        conn.begin(1, AUTHORIZER)
        conn.params(1, b"\x05\x05LUA")
        assert conn.collect(1).status == 400


def test_authorizer_keeps_headers_of_an_admission(auth):
    response = authorize(auth, "req:set_header('Set-Cookie', 'a=b') "
                         "return true, {USER = 'ann'}")
    assert response.head == [("Status", "200 OK"), ("Set-Cookie", "a=b"),
                             ("Variable-USER", "ann")]


@pytest.mark.parametrize("reading", [
    "req:read()", "req:read(10)", "req:read_line()", "req:lines()()"])
@pytest.mark.parametrize("length", [None, "", "0", "5", "-1", "junk"])
def test_authorizer_is_told_at_once_that_there_is_no_body(auth, reading,
                                                          length):
    """Apache and lighttpd send no STDIN at all, with a POST neither; the
    connection stays open meanwhile."""
    params = {"REQUEST_METHOD": "POST"}
    if length is not None:
        params["CONTENT_LENGTH"] = length
    response = authorize(auth, f"return 403, {{}}, tostring({reading}) .. "
                         f"tostring({reading})", params, flags=KEEP_CONN)
    assert response.text == "nilnil"
    response = authorize(auth, "return 403, {}, '(' .. req:body() .. ')'",
                         params)
    assert response.text == "()"


@pytest.mark.parametrize("flags", [0, KEEP_CONN])
def test_authorizer_ignores_a_body_that_comes_all_the_same(auth, flags):
    with auth.connect() as conn:
        conn.begin(1, AUTHORIZER, flags)
        conn.params(1, {"LUA": "fcgi.sleep(0.01) return 403, {}, '(' .. "
                               "req:body() .. ')'",
                        "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5"})
        conn.stdin(1, b"hello")
        response = conn.collect(1)
        assert response.text == "()"
        if flags:
            conn.start(1, {"LUA": "return 403, {}, 'next'"}, role=AUTHORIZER)
            assert conn.collect(1).text == "next"


def test_authorizers_wait_side_by_side(auth):
    ids = range(1, 51)
    with auth.connect() as conn:
        for id in ids:
            conn.start(id, {"LUA": "n = (n or 0) + 1 "
                                   "while n < 50 do fcgi.sleep(0.005) end "
                                   f"return true, {{ID = {id}}}"},
                       role=AUTHORIZER, flags=KEEP_CONN)
        for id, response in conn.collect_all(ids).items():
            assert ("Variable-ID", str(id)) in response.head


def test_authorizer_that_is_aborted_ends_without_admission(auth):
    with auth.connect() as conn:
        conn.start(1, {"LUA": "waiting = true "
                              "while not req:is_aborted() do "
                              "fcgi.sleep(0.005) end return true"},
                   role=AUTHORIZER, flags=KEEP_CONN)
        authorize(auth, "while not waiting do fcgi.sleep(0.005) end "
                  "return true")
        conn.abort(1)
        assert conn.collect(1).raw == b""
        conn.start(1, {"LUA": "return true"}, role=AUTHORIZER)
        assert conn.collect(1).status == 200


# --- filter ---

FILTERS = """\
local fcgi = require "fcgi"
function on_filter(req)
  return assert(load("local req, fcgi = ... " .. req:param "LUA"))(req, fcgi)
end
"""


@pytest.fixture
def filters(shared_gateway):
    return shared_gateway(FILTERS)


def filtered(gw, code, body=b"", data=b"", **args):
    params = {"LUA": code, "REQUEST_METHOD": "POST",
              "CONTENT_LENGTH": str(len(body)) if body else "",
              "FCGI_DATA_LENGTH": str(len(data)),
              "FCGI_DATA_LAST_MOD": "1700000000"}
    return gw.request(params, body, role=FILTER, data=data, defaults=False,
                      **args)


def test_filter_reads_stdin_and_data(filters):
    response = filtered(filters, "local body = req:read() local all = '' "
                        "for d in function() return req:data() end do "
                        "all = all .. d end "
                        "return 200, {}, body .. '|' .. all",
                        b"the body", b"the file")
    assert response.text == "the body|the file"


def test_filter_data_may_be_read_alone(filters):
    response = filtered(filters, "return 200, {}, (req:data(4))",
                        b"the body", b"filedata")
    assert response.text and "filedata".startswith(response.text)
    assert len(response.text) <= 4


def test_filter_data_ends_with_nil(filters):
    response = filtered(filters, "return 200, {}, tostring(req:read()) .. "
                        "tostring(req:data())")
    assert response.text == "nilnil"


def test_filter_knows_length_and_time_of_its_data(filters):
    response = filtered(filters, "return 200, {}, req.role .. ' ' .. "
                        "req.data_length .. ' ' .. req.data_mtime", b"",
                        b"123456")
    assert response.text == "filter 6 1700000000"


def test_filter_of_much_data(filters):
    data = bytes(range(256)) * 8192
    response = filtered(filters, "req:write('A: b\\n\\n') "
                        "for d in function() return req:data(65536) end do "
                        "req:write(d) end", b"b", data)
    assert response.body == data


def test_filter_data_byte_by_byte(filters):
    response = filtered(filters, "local all = req:read() "
                        "for d in function() return req:data() end do "
                        "all = all .. d end return 200, {}, all",
                        b"abc", b"defgh", cut=1, padding=1)
    assert response.text == "abcdefgh"


def test_filter_reads_no_data_as_a_responder(lua):
    assert "filter" in lua.value("select(2, pcall(req.data, req))")


def read_all(what, n=65536):
    return (f"local all = {{}} for d in function() return req:{what}({n}) end "
            "do all[#all + 1] = d end ")


DOZE = "while (go or 0) < 1 do fcgi.sleep(0.005) end go = go - 1 "
SUM = ("local n, x = 0, 0 for d in function() return req:data(65536) end do "
       "n = n + #d x = x ~ d:byte() end return 200, {}, ('%d'):format(n)")


@pytest.mark.parametrize("length", [None, "", "0", "3", "9", "-1", "junk",
                                    "1e3", "9223372036854775807",
                                    "99999999999999999999"])
@pytest.mark.parametrize("code", ["return 200, {}, req:data()",
                                  read_all("data", 2) +
                                  "return 200, {}, all"])
def test_filter_data_is_what_comes_whatever_was_announced(filters, length,
                                                          code):
    params = {"LUA": code, "REQUEST_METHOD": "GET"}
    if length is not None:
        params["FCGI_DATA_LENGTH"] = length
    response = filters.request(params, role=FILTER, data=b"sixsix",
                               defaults=False)
    assert response.text == "sixsix"


@pytest.mark.parametrize("length, expected", [
    (None, "nil"), ("", "nil"), ("0", "0"), ("12", "12"), ("-1", "nil"),
    ("junk", "nil"), (" 1", "nil"), ("1.5", "nil"), ("0x10", "nil"),
    ("9223372036854775807", "9223372036854775807"),
    ("9223372036854775808", "nil")])
def test_filter_announcements_are_integers_or_nil(filters, length, expected):
    params = {"LUA": "return 200, {}, tostring(req.data_length) .. ' ' .. "
                     "tostring(req.data_mtime)"}
    if length is not None:
        params["FCGI_DATA_LENGTH"] = params["FCGI_DATA_LAST_MOD"] = length
    response = filters.request(params, role=FILTER, data=b"", defaults=False)
    assert response.text == f"{expected} {expected}"


BOTH = ("local body, data = req:body(), req:data() "
        "return 200, {}, body .. '|' .. data")


def start_filter(conn, code, id=1, flags=KEEP_CONN, **params):
    conn.begin(id, FILTER, flags)
    conn.params(id, {"LUA": code, **params})


def test_filter_streams_may_be_interleaved(filters):
    with filters.connect() as conn:
        start_filter(conn, BOTH)
        for n in range(10):
            conn.data(1, f"d{n}", end=False)
            conn.stdin(1, f"s{n}", end=False)
        conn.data(1)
        assert conn.barrier() == []  # STDIN has not ended
        conn.stdin(1)
        stdin, data = ("".join(f"{c}{n}" for n in range(10)) for c in "sd")
        assert conn.collect(1).text == f"{stdin}|{data}"


def test_filter_reads_data_before_stdin_has_ended(filters):
    with filters.connect() as conn:
        start_filter(conn, "local data = req:data() "
                     "return 200, {}, data .. '|' .. req:body()")
        conn.data(1, b"the file")
        assert conn.barrier() == []
        conn.stdin(1, b"the form")
        assert conn.collect(1).text == "the file|the form"


@pytest.mark.parametrize("first", ["stdin", "data"])
@pytest.mark.parametrize("code", [
    BOTH, "local data = req:data() local body = req:body() "
    "return 200, {}, body .. '|' .. data"], ids=["stdin", "data"])
def test_filter_streams_do_not_hold_each_other_up(filters, first, code):
    """Each many times what is held in memory; read in either order, sent in
    either order."""
    stdin, data = os.urandom(3 * MIB), os.urandom(3 * MIB)
    with filters.connect() as conn:
        start_filter(conn, code)
        order = [(fastcgi.STDIN, stdin), (fastcgi.DATA, data)]
        if first == "data":
            order.reverse()
        for type, content in order:
            conn.send_duplex(fastcgi.stream(type, 1, content))
        response = conn.collect(1)
        assert response.body == stdin + b"|" + data


def test_filter_of_only_the_data_of_a_large_request(filters):
    stdin, data = bytes(3 * MIB), os.urandom(3 * MIB)
    response = filtered(filters, "return 200, {}, req:data()", stdin, data)
    assert response.body == data


def test_filter_of_only_the_stdin_of_a_large_request(filters):
    stdin, data = os.urandom(3 * MIB), bytes(3 * MIB)
    response = filtered(filters, "return 200, {}, req:body()", stdin, data)
    assert response.body == stdin


@pytest.mark.parametrize("flags", [0, KEEP_CONN])
@pytest.mark.parametrize("code", [
    "return 200, {}, 'early'", "req:data(1) return 200, {}, 'early'",
    "req:send(200, {}, 'early') req:data(10)",
    "req:read(1) return 200, {}, 'early'"])
def test_filter_may_answer_early(filters, code, flags):
    """What is left of both streams is dropped, and the connection goes on."""
    stdin, data = b"s" * MIB, b"d" * MIB
    with filters.connect() as conn:
        start_filter(conn, code, flags=flags)
        conn.send_duplex(fastcgi.stream(fastcgi.STDIN, 1, stdin) +
                         fastcgi.stream(fastcgi.DATA, 1, data))
        response = conn.collect(1)
        response.check_complete()
        assert response.text == "early"
        if flags == 0:
            conn.shutdown()
            conn.expect_eof()
            return
        start_filter(conn, BOTH)
        conn.stdin(1, b"next")
        conn.data(1, b"one")
        assert conn.collect(1).text == "next|one"


def test_filter_data_stays_at_its_end(filters):
    response = filtered(filters, "local all = req:data() return 200, {}, "
                        "all .. tostring(req:data()) .. tostring(req:data(1)) "
                        ".. tostring(req:data())", b"x", b"file")
    assert response.text == "filenilnilnil"


@pytest.mark.parametrize("argument", ["0", "-1", "'x'", "1.5", "{}"])
def test_filter_data_takes_a_positive_number(filters, argument):
    response = filtered(filters, f"return 200, {{}}, tostring(pcall(req.data, "
                        f"req, {argument})) .. req:data()", b"", b"file")
    assert response.text == "falsefile"


def test_filter_is_told_of_an_abort_in_its_data(filters):
    code = ("local got, err = req:data(100) "
            "repeat got, err = req:data(100) until not got "
            "aborted = tostring(got) .. ' ' .. tostring(err)")
    with filters.connect() as conn:
        start_filter(conn, code)
        conn.stdin(1, b"form")
        conn.data(1, b"half a fi", end=False)
        assert conn.barrier() == []
        conn.abort(1)
        assert conn.collect(1).raw == b""
        # The rest may still be on its way.
        conn.data(1, b"le")
        start_filter(conn, "while not aborted do fcgi.sleep(0.005) end "
                     "return 200, {}, aborted")
        conn.stdin(1)
        conn.data(1)
        assert conn.collect(1).text == "nil aborted"


def test_filter_is_told_that_the_connection_has_gone(filters):
    code = ("repeat local d, err = req:data(100) gone = err until not d")
    with filters.connect() as conn:
        start_filter(conn, code)
        conn.data(1, b"half a fi", end=False)
        assert conn.barrier() == []
    response = filtered(filters, "while not gone do fcgi.sleep(0.005) end "
                        "return 200, {}, gone")
    assert response.text == "aborted"


def test_filters_side_by_side(filters):
    """Two streams each, in pieces, in turn, on one connection."""
    ids = range(1, 9)
    with filters.connect() as conn:
        for id in ids:
            start_filter(conn, BOTH, id)
        for n in range(20):
            for id in ids:
                conn.stdin(id, f"s{id}.{n} ", end=False)
                conn.data(id, f"d{id}.{n} ", end=False)
        for id in ids:
            conn.stdin(id)
            conn.data(id)
        for id, response in conn.collect_all(ids).items():
            stdin, data = ("".join(f"{c}{id}.{n} " for n in range(20))
                           for c in "sd")
            assert response.text == f"{stdin}|{data}"


def test_filter_beside_a_responder(gateway):
    """Whose DATA is over its window does not hold up the other."""
    gw = gateway(FILTERS + "function on_request(req) go = (go or 0) + 1 "
                 "return 200, {}, req:body() end")
    with gw.connect() as conn:
        start_filter(conn, DOZE + SUM)
        start_filter(conn, DOZE + SUM, 2)
        for id in (1, 2):
            conn.stdin(id)
            conn.send_duplex(fastcgi.stream(fastcgi.DATA, id,
                                            bytes(2 * MIB)))
        for id in (3, 4):
            conn.start(id, {}, b"beside")
            assert conn.collect(id).text == "beside"
        for id in (1, 2):
            assert conn.collect(id).text == str(2 * MIB)


def test_much_data_waits_in_the_web_server(gateway):
    """A filter that does not read keeps little, on disk nothing; one that
    reads gets all of it."""
    gw = gateway(FILTERS + "function on_request() go = (go or 0) + 1 "
                 "return 200, {}, 'go' end", "--max-spool=64k", lean=True)
    size = 16 * MIB
    filtered(gw, SUM, b"", b"x")
    before = gw.rss()
    gw.reset_peak()
    with gw.connect() as conn:
        start_filter(conn, DOZE + SUM)
        conn.stdin(1, b"form")
        out = fastcgi.stream(fastcgi.DATA, 1, bytes(size))
        taken = conn.send_until_full(out)
        gw.barrier()  # it has read what it will
        taken += conn.send_until_full(out[taken:])
        gw.barrier()
        assert taken < 8 * MIB
        assert gw.request().text == "go"
        conn.send_duplex(out[taken:])
        assert conn.collect(1).text == str(size)
    assert gw.peak_rss() - before < 8 * MIB


def test_filter_passes_much_data_on_in_little_memory(gateway):
    gw = gateway(FILTERS, lean=True)
    code = ("req:set_header('Content-Type', 'text/plain') "
            "for d in function() return req:data(65536) end do req:write(d) "
            "end")
    data = bytes(range(256)) * (16 * MIB // 256)
    assert filtered(gw, code, b"form", b"x").body == b"x"
    before = gw.rss()
    gw.reset_peak()
    assert filtered(gw, code, b"form", data).body == data
    assert gw.peak_rss() - before < 8 * MIB


def test_filter_data_over_max_body_is_413(gateway):
    gw = gateway(FILTERS, "--max-body=1M")
    response = filtered(gw, SUM, b"", bytes(MIB))
    assert response.text == str(MIB)
    response = filtered(gw, SUM, b"", bytes(MIB + 1))
    assert response.status == 413
    response = filtered(gw, SUM, b"", b"next")
    assert response.text == "4"


def test_data_for_other_roles_is_dropped(gateway):
    gw = gateway(ROLES)
    with gw.connect() as conn:
        conn.begin(1, RESPONDER)
        conn.params(1, {})
        conn.data(1, b"no filter")
        conn.stdin(1, b"body")
        assert conn.collect(1).text == "responder:body"
