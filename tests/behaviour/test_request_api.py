"""What a handler can ask its request: parameters, headers, query, cookies.

SPDX-License-Identifier: MIT
"""
import pytest

from support.lua import GO, HOLD, params_for

NONE = {name: None for name in (
    "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING",
    "REQUEST_URI", "SERVER_PROTOCOL", "REMOTE_ADDR", "CONTENT_LENGTH",
    "SERVER_NAME", "SERVER_PORT", "GATEWAY_INTERFACE", "SERVER_SOFTWARE")}


# --- parameters ---

def test_param_gives_it_as_sent(lua):
    assert lua.value("req:param'X_Y', req:param'x_y', req:param'GONE'",
                     {"X_Y": " as is "}) == '" as is ", nil, nil'


def test_param_without_a_name_gives_all(lua):
    assert lua.value("req:param().SCRIPT_NAME, req:param().X, "
                     "req:param().GONE, type(req:param())",
                     {"X": ""}) == '"/app", "", nil, "table"'


def test_params_is_the_same(lua):
    assert lua.value("req:params().SCRIPT_NAME") == '"/app"'


def test_params_are_still_there_after_waiting(lua):
    assert lua.text("fcgi.sleep(0.01) return 200, {}, req:param'X'",
                    {"X": "kept"}) == "kept"


# --- accessors ---

@pytest.mark.parametrize("call,params,expected", [
    ("method()", {"REQUEST_METHOD": "PATCH"}, '"PATCH"'),
    ("script_name()", {"SCRIPT_NAME": "/a.lua"}, '"/a.lua"'),
    ("path_info()", {"PATH_INFO": "/x/y"}, '"/x/y"'),
    ("path()", {"SCRIPT_NAME": "/a", "PATH_INFO": "/x"}, '"/a/x"'),
    ("path()", {"SCRIPT_NAME": "", "PATH_INFO": "/x"}, '"/x"'),
    ("path()", {"SCRIPT_NAME": "/a", "PATH_INFO": None}, '"/a"'),
    ("query_string()", {"QUERY_STRING": "a=1&b"}, '"a=1&b"'),
    ("uri()", {"REQUEST_URI": "/a%20b?c"}, '"/a%20b?c"'),
    ("protocol()", {"SERVER_PROTOCOL": "HTTP/2.0"}, '"HTTP/2.0"'),
    ("scheme()", {"REQUEST_SCHEME": "https"}, '"https"'),
    ("scheme()", {"HTTPS": "on"}, '"https"'),
    ("scheme()", {"REQUEST_SCHEME": "http"}, '"http"'),
    ("host()", {"HTTP_HOST": "example.org"}, '"example.org"'),
    ("remote_addr()", {"REMOTE_ADDR": "2001:db8::7"}, '"2001:db8::7"'),
    ("user()", {"REMOTE_USER": "alice"}, '"alice"'),
    ("user()", {"REMOTE_USER": ""}, "nil"),
    ("content_length()", {"CONTENT_LENGTH": "12"}, "12"),
    ("content_length()", {"CONTENT_LENGTH": "0"}, "0"),
    ("content_length()", {"CONTENT_LENGTH": ""}, "nil"),
    ("content_length()", {"CONTENT_LENGTH": "-1"}, "nil"),
    ("content_length()", {"CONTENT_LENGTH": "junk"}, "nil"),
])
def test_accessor(lua, call, params, expected):
    assert lua.value(f"(req:{call})", params) == expected


@pytest.mark.parametrize("call,expected", [
    ("method()", '"GET"'), ("path()", '"/"'), ("query_string()", '""'),
    ("script_name()", "nil"), ("path_info()", "nil"), ("uri()", "nil"),
    ("protocol()", "nil"), ("remote_addr()", "nil"), ("user()", "nil"),
    ("content_length()", "nil"), ("host()", "nil"),
    ("param('GONE')", "nil"), ("header('gone')", "nil"),
    ("query('gone')", "nil"), ("cookie('gone')", "nil"),
    ("is_aborted()", "false"),
])
def test_accessor_without_its_parameter(lua, call, expected):
    assert lua.value(f"(req:{call})", NONE) == expected


def test_content_length_is_an_integer(lua):
    assert lua.value("math.type(req:content_length())",
                     {"CONTENT_LENGTH": "3"}, b"abc") == '"integer"'


# --- headers ---

def test_header_ignores_case_and_underscores(lua):
    assert lua.value("req:header'X-Some-Name', req:header'x_some_name', "
                     "req:header'X-SOME_name'",
                     {"HTTP_X_SOME_NAME": "v"}) == '"v", "v", "v"'


def test_header_that_nginx_sends_twice_counts_once(lua):
    given = {"CONTENT_TYPE": "text/x", "HTTP_CONTENT_TYPE": "text/x",
             "HTTP_CONTENT_LENGTH": "3"}
    assert lua.value("req:header'Content-Type', req:header'Content-Length'",
                     given, b"abc") == '"text/x", "3"'
    assert lua.value("req:header()['content-type'], "
                     "req:header()['content-length']", given, b"abc") == \
        '"text/x", "3"'
    assert lua.value("req:header'Content-Type'",
                     {"HTTP_CONTENT_TYPE": "text/y"}) == '"text/y"'


def test_header_includes_content_type_and_length(lua):
    assert lua.value("req:header'Content-Type', req:header'content_length', "
                     "req:header()['content-type'], "
                     "req:header()['content-length']",
                     {"CONTENT_TYPE": "text/x"}, b"abc") == \
        '"text/x", "3", "text/x", "3"'


def test_repeated_headers_are_joined(lua):
    pairs = list(params_for("return 200, {}, dump(req:header'X-Dup', "
                            "req:header()['x-dup'])").items())
    pairs += [("HTTP_X_DUP", "one"), ("HTTP_X_DUP", "two"),
              ("HTTP_X_DUP", "three")]
    with lua.connect() as conn:
        conn.start(1, pairs)
        assert conn.collect(1).text == \
            '"one, two, three", "one, two, three"'


def test_repeated_cookie_headers_are_joined_with_semicolons(lua):
    pairs = list(params_for(
        "return 200, {}, dump(req:header'Cookie', req:cookie'a', "
        "req:cookie'b')").items())
    pairs += [("HTTP_COOKIE", "a=1"), ("HTTP_COOKIE", "b=2")]
    with lua.connect() as conn:
        conn.start(1, pairs)
        assert conn.collect(1).text == '"a=1; b=2", "1", "2"'


def test_headers_repeated_without_end_cost_what_their_length_says(lua):
    """Joined one by one these would take minutes, which C code is not
    granted."""
    n = 100_000
    pairs = list(params_for(
        "local one, all = req:header'A', req:header() "
        f"return 200, {{}}, dump(one == ('b, '):rep({n} - 1) .. 'b', "
        "all.a == one, all.c, all.cookie)").items())
    pairs += [("HTTP_C", "1"), ("HTTP_C", "2")] + [("HTTP_A", "b")] * n
    pairs += [("HTTP_COOKIE", "e"), ("HTTP_COOKIE", "f")]
    with lua.connect() as conn:
        conn.start(1, pairs)
        assert conn.collect(1).text == 'true, true, "1, 2", "e; f"'


def test_header_table_has_lower_case_dashed_keys(lua):
    assert lua.value("req:header()", {
        **NONE, "HTTP_X_ONE": "1", "HTTP_ACCEPT": "*/*",
        "CONTENT_TYPE": "a/b", "AUTH_TYPE": "Basic"}) == \
        '{accept="*/*", content-type="a/b", x-one="1"}'


def test_header_proxy_is_never_shown(lua):
    assert lua.value("req:header'Proxy', req:header'proxy', "
                     "req:header().proxy, req:header'PROXY'",
                     {"HTTP_PROXY": "http://evil"}) == "nil, nil, nil, nil"


# --- query ---

@pytest.mark.parametrize("query,call,expected", [
    ("n=1", "query'n'", '"1"'),
    ("a=1&n=2&n=3", "query'n'", '"2"'),
    ("n=a+b%20c%2Bd", "query'n'", '"a b c+d"'),
    ("na%6De=x", "query'name'", '"x"'),
    ("n=", "query'n'", '""'),
    ("n", "query'n'", '""'),
    ("n=a=b", "query'n'", '"a=b"'),
    ("n=%C3%A4%ff%00z", "query'n'", '"\u00e4\ufffd\0z"'),
    ("&&n=1&&", "query'n'", '"1"'),
    ("N=1", "query'n'", "nil"),
    ("a=1&n=2&n=3", "query_all'n'", '{"2", "3"}'),
    ("a=1", "query_all'n'", "{}"),
    ("a=1&b=2&a=3", "query()", '{a="1", b="2"}'),
    ("", "query()", "{}"),
])
def test_query(lua, query, call, expected):
    assert lua.value(f"(req:{call})", {"QUERY_STRING": query}) == expected


def test_query_gives_one_value(lua):
    assert lua.value("tonumber(req:query'n')",
                     {"QUERY_STRING": "n=7&n=36"}) == "7"
    assert lua.value("select('#', req:query'n')",
                     {"QUERY_STRING": "n=7&n=36"}) == "1"


@pytest.mark.parametrize("query", ["n=%", "n=%4", "n=%zz", "%=1&n=x%",
                                   "=", "&", "=&=&", "%00=%00"])
def test_broken_escapes_do_not_raise(lua, query):
    lua.value("req:query'n', req:query()", {"QUERY_STRING": query})


# --- cookies ---

@pytest.mark.parametrize("header,call,expected", [
    ("a=1", "cookie'a'", '"1"'),
    ("a=1; b=2; a=3", "cookie'a'", '"1"'),
    ("a=1; b=2; a=3", "cookie'b'", '"2"'),
    ("a=1;b=2", "cookie'b'", '"2"'),
    ("a=", "cookie'a'", '""'),
    ("a=x=y==", "cookie'a'", '"x=y=="'),
    ('a="quoted"', "cookie'a'", '"quoted"'),
    ("a=1; b=2; a=3", "cookie_all'a'", '{"1", "3"}'),
    ("a=1; b=2; a=3", "cookie()", '{a="1", b="2"}'),
    ("", "cookie()", "{}"),
    ("A=1", "cookie'a'", "nil"),
])
def test_cookie(lua, header, call, expected):
    assert lua.value(f"(req:{call})", {"HTTP_COOKIE": header}) == expected


@pytest.mark.parametrize("header", [";", ";;;", "=", "a", "=x", "a;b;c",
                                    'a="', "\x01=\x02", "; ; a"])
def test_broken_cookies_do_not_raise(lua, header):
    lua.value("req:cookie'a', req:cookie()", {"HTTP_COOKIE": header})


# --- fields ---

def test_role_is_responder(lua):
    assert lua.value("req.role") == '"responder"'


def test_id_is_that_of_the_web_server(lua):
    assert lua.value("req.id", {"HTTP_X_REQUEST_ID": "abc-1"}) == '"abc-1"'


def test_ids_differ(lua):
    ids = {lua.value("tostring(req.id)") for _ in range(20)}
    assert len(ids) == 20


def test_started_is_a_time(lua):
    assert lua.value("type(req.started), req.started > 0") == \
        '"number", true'


def test_ctx_is_a_table_of_the_request(lua):
    assert lua.value("type(req.ctx), next(req.ctx), req.ctx == req.ctx") == \
        '"table", nil, true'
    assert lua.text("req.ctx.x = 'kept' fcgi.sleep(0) "
                    "return 200, {}, req.ctx.x") == "kept"
    assert lua.value("req.ctx.x") == "nil"


def test_unknown_field_is_nil(lua):
    assert lua.value("req.no_such_thing") == "nil"


# --- misuse ---

@pytest.mark.parametrize("call", [
    "req.param('X')", "req.param(io.stdout, 'X')", "req.param({}, 'X')",
    "req.param(nil, 'X')", "req:param({})", "req:header(true)",
    "req:query({})", "req:cookie(function() end)", "req.method()",
    "req.read(1)", "req.write('x')", "req:on_abort('x')", "req:on_abort()"])
def test_misuse_raises_and_names_the_line(lua, call):
    text = lua.text(f"local ok, err = pcall(function()\n {call} end) "
                    "return 200, {}, dump(ok, err)")
    assert text.startswith('false, "test:2:'), text
    assert "bad argument" in text or "bad self" in text


def test_foreign_userdata_with_our_metatable_is_refused(lua):
    text = lua.text("local fake = io.tmpfile() "
                    "debug.setmetatable(fake, debug.getmetatable(req)) "
                    "local ok, err = pcall(req.param, fake, 'X') "
                    "debug.setmetatable(fake, debug.getmetatable(io.stdout)) "
                    "fake:close() return 200, {}, dump(ok)")
    assert text == "false"


def test_request_has_a_name(lua):
    assert lua.text("return 200, {}, tostring(req)")


# --- a request kept beyond its end ---

def test_stale_request_is_finished(lua):
    lua("kept = req return 200, {}, 'x'", {"X": "of the first"}, b"body")
    assert lua.value("kept:read()") == 'nil, "finished"'
    assert lua.value("kept:write('x')") == 'nil, "finished"'
    assert lua.value("kept:flush()") == 'nil, "finished"'


def test_stale_request_says_so_to_every_question(lua):
    lua("kept = req return 200, {}, 'x'",
        {"X": "of the first", "HTTP_A": "b", "QUERY_STRING": "q=1"})
    for question in ("kept:param'X'", "kept:header'a'", "kept:query'q'",
                     "kept:query_all'q'", "kept:cookie()", "kept:method()",
                     "kept:path()", "kept:host()", "kept:params()"):
        assert lua.value(question, {"X": "mine"}) == 'nil, "finished"'
    lua("kept = req req:query() req:cookie() return 200, {}, req:query 'q'",
        {"QUERY_STRING": "q=1", "HTTP_COOKIE": "a=2"})
    for question in ("kept:query'q'", "kept:query()", "kept:query_all'q'",
                     "kept:cookie'a'", "kept:cookie_all'a'"):
        assert lua.value(question) == 'nil, "finished"'
    lua("kept = nil collectgarbage() return 200")


def test_stale_request_of_a_closed_connection(lua):
    with lua.connect() as conn:
        lua.on(conn, "kept = req return 200, {}, 'x'", {"X": "old"})
    lua.gateway.barrier()
    assert lua.value("kept:param'X'") == 'nil, "finished"'
    assert lua.value("kept:read()") == 'nil, "finished"'
    lua("kept = nil collectgarbage() return 200")


def test_request_of_another_may_be_used_while_it_runs(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, "shared = req " + HOLD, {"X": "theirs"})
        conn.barrier()
        while lua.value("shared == nil") == "true":
            pass
        assert lua.value("shared:param'X'") == '"theirs"'
        lua(GO)
        assert conn.collect(1).text == "held"
        lua("shared = nil return 200")
