"""Redirects.

SPDX-License-Identifier: MIT
"""
import pytest

from support.lua import params_for


def test_redirect_is_a_302_by_default(lua):
    response = lua("req:redirect '/there?a=1' print('redirected and on')")
    assert response.status == 302
    assert response.headers["location"] == "/there?a=1"
    assert response.headers["content-length"] == "0"
    assert response.body == b""
    lua.gateway.wait_log("redirected and on")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_with_a_status(lua, status):
    for method in ("GET", "HEAD", "POST"):
        response = lua(f"req:redirect('https://example.org/', {status})",
                       {"REQUEST_METHOD": method})
        assert response.status == status
        assert response.headers["location"] == "https://example.org/"
        assert response.headers["content-length"] == "0"
        assert response.body == b""


def test_redirect_takes_cookies_along(lua):
    response = lua("req:set_cookie('a', 'b'):redirect '/'")
    assert response.status == 302
    assert response.headers["set-cookie"] == "a=b; Path=/; HttpOnly; " \
        "SameSite=Lax"


def test_redirect_gives_what_send_gives(lua):
    lua("print('redirect gave', dump(req:redirect '/x'))")
    lua("print('send gave', dump(req:send(302, { Location = '/x' })))")
    gave = lua.gateway.wait_log("redirect gave\t(.*) \\(").group(1)
    sent = lua.gateway.wait_log("send gave\t(.*) \\(").group(1)
    assert gave == sent == "true, nil"


@pytest.mark.parametrize("url", [
    "/a\\r\\nX-Evil: 1", "/a\\nX-Evil: 1", "/a\\0", "/a b", " /", "/\\127",
    "/\\t", "\\r\\n\\r\\n<script>"])
def test_nothing_is_injected(lua, url):
    response = lua("local ok, err = pcall(function()\n"
                   f"  req:redirect('{url}') end)\n"
                   "return 200, {}, err")
    assert response.text == (
        "test:2: bad argument #1 to 'redirect' (the URL has a blank or a "
        "control byte: use fcgi.escape)")
    assert "location" not in response.headers
    assert "x-evil" not in response.headers


@pytest.mark.parametrize("arguments,message", [
    ("", "bad argument #1 to 'redirect' (string expected, got nil)"),
    ("12", "bad argument #1 to 'redirect' (string expected, got number)"),
    ("''", "bad argument #1 to 'redirect' (the URL is empty)"),
] + [(f"'/', {status}", "bad argument #2 to 'redirect' (the status of a "
      "redirect is 301, 302, 303, 307 or 308)")
     for status in ("200", "300", "304", "305", "302.5", "'302'", "false",
                    "{}", "0/0")])
def test_misuse_names_the_line_of_the_script(lua, arguments, message):
    response = lua("local ok, err = pcall(function()\n"
                   f"  req:redirect({arguments}) end)\n"
                   "return 200, {}, err")
    assert response.text == "test:2: " + message
    assert "location" not in response.headers


def test_an_url_that_fits_no_head_raises(lua):
    response = lua("local ok, err = pcall(function()\n"
                   "  req:redirect('/' .. ('x'):rep(70000)) end)\n"
                   "return 200, {}, err")
    assert response.text == "test:2: the head is too large"


def test_after_the_head_it_raises(lua):
    response = lua("req:write 'Status: 200\\r\\n\\r\\n' "
                   "local _, err = pcall(function()\n"
                   "  req:redirect '/x' end) req:write(err)")
    assert response.text == \
        "test:2: the head has gone, or was begun by req:write"


def test_an_aborted_request_takes_it(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "print 'ready' req:read() "
            "print('it is', pcall(req.redirect, req, '/x'))"))
        lua.gateway.wait_log("ready")
        conn.abort(1)
        conn.collect(1)
    lua.gateway.wait_log("it is	true	true")


def test_a_handle_that_was_kept_says_so(lua):
    lua("kept_redirect = req return 204")
    assert lua.value("kept_redirect:redirect '/'") == 'nil, "finished"'
