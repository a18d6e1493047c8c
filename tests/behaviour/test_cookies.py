"""Setting cookies.

SPDX-License-Identifier: MIT
"""
import http.cookies

import pytest

from support.lua import params_for

DEFAULTS = "; Path=/; HttpOnly; SameSite=Lax"


def cookies(response):
    return response.header_all("Set-Cookie")


def test_set_cookie_is_careful_by_default(lua):
    response = lua("req:set_cookie('sid', 'abc') return 200, {}, 'x'")
    assert cookies(response) == ["sid=abc" + DEFAULTS]
    assert response.status == 200


def test_set_cookie_chains(lua):
    response = lua("req:set_status(201):set_cookie('a', 1)"
                   ":set_cookie('b', 'x y'):set_header('X', 'y') "
                   "req:write 'body'")
    assert cookies(response) == ["a=1" + DEFAULTS, "b=x y" + DEFAULTS]
    assert (response.status, response.headers["x"]) == (201, "y")


def test_every_option_is_understood_by_a_parser(lua):
    response = lua("req:set_cookie('a', 'b', { path = '/x', max_age = 60, "
                   "domain = 'example.org', expires = 784111777, "
                   "secure = true, http_only = true, same_site = 'strict' }) "
                   "return 204")
    [value] = cookies(response)
    morsel = http.cookies.SimpleCookie(value)["a"]
    assert morsel.value == "b"
    assert {key: text for key, text in morsel.items() if text} == {
        "path": "/x", "domain": "example.org", "max-age": "60",
        "expires": "Sun, 06 Nov 1994 08:49:37 GMT", "secure": True,
        "httponly": True, "samesite": "Strict"}


def test_nil_deletes_the_cookie(lua):
    response = lua("req:set_cookie('a', nil, { path = '/x' }) return 204")
    assert cookies(response) == [
        "a=; Path=/x; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; "
        "HttpOnly; SameSite=Lax"]


def test_a_cookie_comes_back_as_it_was_set(lua):
    response = lua("req:set_cookie('a', fcgi.escape 'x; y=\"z\"\\r\\n') "
                   "return 204")
    [value] = cookies(response)
    assert lua.value("fcgi.unescape(req:cookie 'a')",
                     {"HTTP_COOKIE": value.split(";")[0]}) == \
        '"x; y="z"\r\n"'


@pytest.mark.parametrize("value", [
    "a\\r\\nX-Evil: 1", "a\\nX-Evil: 1", "a\\0b", "a; Domain=evil.example",
    "\\127", "\\t"])
@pytest.mark.parametrize("call", [
    "'a', '%s'", "'%s', 'b'", "'a', 'b', { path = '/%s' }",
    "'a', 'b', { domain = '%s' }", "'a', 'b', { same_site = '%s' }"])
def test_nothing_is_injected(lua, call, value):
    response = lua("local ok, err = pcall(function()\n"
                   "  req:set_cookie(" + call.replace("%s", value) + ") end)\n"
                   "return 200, {}, dump(ok) .. ' ' .. err")
    assert response.text.startswith("false test:2: ")
    assert cookies(response) == []
    assert "x-evil" not in response.headers


@pytest.mark.parametrize("arguments,message", [
    ("", "the name of a cookie is a token"),
    ("'a', 'b', { htponly = true }",
     "unknown option 'htponly'; known are domain, expires, http_only, "
     "max_age, partitioned, path, same_site, secure"),
    ("'a', 'b', { same_site = 'None' }",
     'same_site = "None" needs secure = true'),
    ("'__Host-a', 'b'", "a cookie named __Host-... needs secure = true, "
     "the path '/' and no domain"),
    ("'a', ('x'):rep(70000)", "the head is too large"),
])
def test_misuse_names_the_line_of_the_script(lua, arguments, message):
    response = lua("local ok, err = pcall(function()\n"
                   f"  req:set_cookie({arguments}) end)\n"
                   "return 200, {}, err")
    assert response.text == "test:2: " + message
    assert cookies(response) == []


def test_without_a_colon_it_says_so(lua):
    assert lua.value("select(2, pcall(function() req.set_cookie('a', 'b') "
                     "end))") == \
        '"test:1: bad self (write req:set_cookie, with a colon)"'


@pytest.mark.parametrize("before,message", [
    ("req:write 'Status: 200\\r\\n\\r\\nx'",
     "the head has gone, or was begun by req:write"),
    ("req:write 'Status: 200'",
     "the head has gone, or was begun by req:write"),
    ("req:set_status(204):flush() req:finish()", "the answer is finished"),
])
def test_after_the_head_it_raises(lua_with, before, message):
    lua = lua_with()
    lua(f"{before} local _, err = pcall(function()\n"
        "  req:set_cookie('a', 'b') end) print('it says ' .. err) "
        "req:write '\\r\\n\\r\\n'")
    lua.gateway.wait_log("it says test:2: " + message)


def test_an_aborted_request_takes_it(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "print 'ready' req:read() "
            "print('it is', req:set_cookie('a', 'b') == req)"))
        lua.gateway.wait_log("ready")
        conn.abort(1)
        conn.collect(1)
    lua.gateway.wait_log("it is	true")


def test_a_handle_that_was_kept_says_so(lua):
    lua("kept_cookie = req return 204")
    assert lua.value("kept_cookie:set_cookie('a', 'b')") == 'nil, "finished"'
