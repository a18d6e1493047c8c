"""--dev: an error is a page that shows what went wrong.

SPDX-License-Identifier: MIT
"""
import base64
import hashlib
import os
import re

import pytest

from support import fastcgi
from support.gateway import run, wait_until

SCRIPT = """
local fcgi = require "fcgi"
local function inner(name)
  local t = nil
  return t[name] -- <b>bold</b>
end
function on_request(req)
  local what = req:param "WHAT"
  if what == "nothing" then return end
  if what == "raw" then return req:write("hello\\n\\n") end
  if what == "late" then
    req:write("Content-Type: text/plain\\n\\nbegun")
    error("too late")
  end
  if what == "value" then error({ "a table" }) end
  if what == "markup" then error("<script>alert(1)</script>\\27[2J") end
  if what == "memory" then
    local t = {}
    while true do t[#t + 1] = ("x"):rep(1024):rep(1024) .. #t end
  end
  if what == "task" then
    return 200, {}, assert(fcgi.spawn(inner, "task"):join())
  end
  if what == "handled" then return 200, {}, "fine" end
  if what == "cancelled" then fcgi.sleep(3600) end
  return 200, {}, inner("field")
end
function on_authorize() error("nobody comes in") end
"""
HTML = {"HTTP_ACCEPT": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
MODES = pytest.mark.parametrize("options", [[], ["-w", "2"]],
                                ids=["alone", "workers"])


@pytest.fixture
def dev(gateway):
    def start(*options, script=SCRIPT, **args):
        return gateway(script, "--dev", *options, **args)
    return start


def page(gw, params=None, **args):
    response = gw.request({**HTML, **(params or {})}, **args)
    assert response.status == 500
    return response


def is_plain(response, status=500):
    assert response.status == status
    assert response.text in ("500 Internal Server Error\n", "")
    assert response.headers.get("content-security-policy") is None
    return True


# --- the page ----------------------------------------------------------------

@MODES
def test_page_shows_message_traceback_source_and_request(dev, options):
    gw = dev(*options)
    response = page(gw, {"REQUEST_URI": "/shop?item=7",
                         "QUERY_STRING": "item=7", "REQUEST_METHOD": "PUT",
                         "HTTP_X_THING": "one", "DOCUMENT_ROOT": "/srv/www"})
    text = response.text
    assert response.headers.get("content-type") == "text/html; charset=utf-8"
    assert text.startswith("<!DOCTYPE html>")
    assert re.search(r'<pre class="message">\S*app\.lua:5: attempt to index a '
                     r"nil value \(local 't'\)</pre>", text)
    assert re.search(r"app\.lua:\d+: in function &lt;|app\.lua:\d+: in upvalue "
                     "'inner'", text)
    assert "<b>&gt;     5    return t[name] -- &lt;b&gt;bold&lt;/b&gt;</b>" in text
    assert "      4    local t = nil" in text
    assert 'return 200, {}, inner(&quot;field&quot;)' in text
    for name, value in {"method": "PUT", "uri": "/shop?item=7",
                        "X-Thing": "one", "DOCUMENT_ROOT": "/srv/www"}.items():
        assert f"<tr><th>{name}</th><td>{value}</td></tr>" in text
    assert re.search(r"fcgi-lua \d+\.\d+\.\d+, Lua 5\.4", text)
    assert int(response.headers.get("content-length")) == len(response.body)


def test_page_loads_nothing_and_runs_nothing(dev):
    response = page(dev())
    text = response.text
    assert "<script" not in text and "http://" not in text
    assert "src=" not in text and "url(" not in text and "@import" not in text
    policy = response.headers.get("content-security-policy")
    style = re.search("<style>(.*)</style>", text, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; "
                      "base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'")
    assert response.headers.get("x-content-type-options") == "nosniff"
    assert response.headers.get("cache-control") == "no-store"
    assert " style=" not in text


def test_what_strangers_send_is_escaped(dev):
    gw = dev()
    text = page(gw, {"WHAT": "markup", "HTTP_X_BAD": "</table><script>x",
                     "BAD<i>": "\x1b]0;title\x07\x00"}).text
    assert "<script" not in text and "\x1b" not in text and "\0" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J" in text
    assert "&lt;/table&gt;&lt;script&gt;x" in text
    assert "<tr><th>BAD&lt;i&gt;</th><td>\\x1b]0;title\\x07\\x00</td>" in text
    text = gw.request({"WHAT": "markup"}).text
    assert "<script>alert(1)</script>\\x1b[2J" in text and "\x1b" not in text


@pytest.mark.parametrize("accept, is_html", [
    (None, False), ("*/*", False), ("application/json", False),
    ("text/html", True), ("TEXT/HTML; q=0.5, */*", True), ("text/*", True),
    ("text/plain, text/html;q=0", False), ("application/xhtml+xml", True)])
def test_page_is_text_for_those_who_ask_for_no_html(dev, accept, is_html):
    gw = dev()
    response = gw.request({"HTTP_ACCEPT": accept} if accept else None)
    kind = "text/html" if is_html else "text/plain"
    assert response.status == 500
    assert response.headers.get("content-type") == kind + "; charset=utf-8"
    assert response.text.startswith("<!DOCTYPE") == is_html
    assert "attempt to index a nil value" in response.text
    if not is_html:
        assert "    >     5    return t[name] -- <b>bold</b>\n" in response.text


def test_secrets_are_not_shown(dev):
    secrets = {"HTTP_AUTHORIZATION": "Basic s3cret",
               "HTTP_PROXY_AUTHORIZATION": "s3cret", "HTTP_COOKIE": "a=s3cret",
               "DB_PASSWORD": "s3cret", "SMTP_PASSWD": "s3cret",
               "PHP_AUTH_PW": "s3cret", "HTTP_X_API_KEY": "s3cret",
               "HTTP_X_CSRF_TOKEN": "s3cret", "client_secret": "s3cret",
               "QUERY_STRING": "user=me&new_password=s3cret&x=1",
               "REQUEST_URI": "/login?Password=s3cret#top",
               "HTTP_REFERER": "http://x/?q=1&token=s3cret"}
    gw = dev()
    for accept in "text/html", "text/plain":
        text = gw.request({**secrets, "HTTP_ACCEPT": accept}).text
        assert "s3cret" not in text
        assert "(not shown)" in text and "DB_PASSWORD" in text
        assert "user=me" in text and "new_password=(not shown)" in text
        assert "/login?Password=(not shown)#top" in text


def test_source_is_shown_of_files_of_the_script_only(dev, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of the house\n")
    gw = dev(script='function on_request() error("%s:1: read this", 0) end\n'
             % secret)
    text = page(gw).text
    assert f"{secret}:1: read this" in text
    assert "the secret of the house" not in text


def test_source_of_a_module_with_a_long_name(dev, tmp_path):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    (folder / "part.lua").write_text(
        "return function()\n  error 'deep' -- here\nend")
    gw = dev("-I", folder, script="local part = require 'part'\n"
             "function on_request() part() end")
    text = page(gw).text
    assert "<b>&gt;     2    error 'deep' -- here</b>" in text
    assert "part() end" in text


@pytest.mark.parametrize("what, message", [
    ("nothing", "app.lua: the handler ended without an answer"),
    ("raw", "app.lua: the head of the answer is not valid"),
    ("value", "table: 0x"),
    ("memory", "not enough memory"),
    ("task", "attempt to index a nil value")])
def test_every_kind_of_error_has_a_page(dev, what, message):
    gw = dev("--memory-limit=32M")
    assert message in page(gw, {"WHAT": what}).text
    assert gw.request({"WHAT": "handled"}).text == "fine"


def test_head_request_gets_the_head_of_the_page(dev):
    gw = dev()
    response = page(gw, {"REQUEST_METHOD": "HEAD"})
    assert response.body == b""
    assert int(response.headers.get("content-length")) > 1000
    assert response.headers.get("content-type") == "text/html; charset=utf-8"


def test_an_answer_that_had_begun_is_broken_off_as_ever(dev):
    response = dev().request({**HTML, "WHAT": "late"})
    assert response.status == 200
    assert response.text == "begun"
    assert response.app_status == 1


def test_an_authorizer_only_refuses(dev):
    gw = dev()
    is_plain(gw.request(HTML, role=fastcgi.AUTHORIZER))
    gw.wait_log("nobody comes in")


def test_a_cancelled_request_has_no_page(dev):
    gw = dev("--timeout=0.05")
    response = gw.request({**HTML, "WHAT": "cancelled"})
    assert response.status == 504
    assert "Gateway" in response.text and len(response.body) < 64


HOOKS = """
function on_request() error("first") end
function on_error(req, err)
  local what = req:param "WHAT"
  if what == "answer" then return 418, {}, "mine: " .. err end
  if what == "fail" then error("second") end
end
"""


def test_the_hook_on_error_comes_first(dev):
    gw = dev(script=HOOKS)
    assert gw.request({**HTML, "WHAT": "answer"}).status == 418
    assert "app.lua:2: first" in page(gw, {"WHAT": "none"}).text
    text = page(gw, {"WHAT": "fail"}).text
    assert "first" in text or "second" in text


# --- never without it ----------------------------------------------------------

@pytest.mark.parametrize("options", [[], ["--watch"], ["-w", "2"],
                                     ["--log-level=debug"]])
def test_without_dev_no_client_sees_a_traceback(gateway, options):
    gw = gateway(SCRIPT, "--memory-limit=32M", "--stderr=log", *options,
                 env={"FCGI_LUA_DEV": "1"})
    for what in "x", "nothing", "raw", "value", "memory", "task", "markup":
        response = gw.request({**HTML, "WHAT": what})
        is_plain(response)
        assert b"app.lua" not in response.raw + response.stderr
    response = gw.request({**HTML, "WHAT": "late"})
    assert b"app.lua" not in response.raw
    assert "--dev" not in gw.log() or "command line only" in gw.log()


def test_a_script_cannot_switch_it_on():
    result = run("-t", "/dev/null", "--dev")
    assert result.code != 0


def test_a_setting_of_the_script_is_refused(tmp_path):
    path = tmp_path / "app.lua"
    path.write_text("return { on_request = print, dev = true }")
    result = run("-t", path)
    assert result.code == 78 and "dev" in result.err


# --- the start -----------------------------------------------------------------

def test_start_says_that_it_is_not_for_production(dev):
    gw = dev()
    gw.wait_log(r" notice .*--dev: .*not for production")
    assert "--dev on" not in gw.log()
    assert ("--dev as root" in gw.log()) == (os.geteuid() == 0)


def test_other_machines_are_warned_of(dev):
    gw = dev("-l", "0.0.0.0:0", listen=None)
    gw.wait_log(r" warn .*--dev on 0\.0\.0\.0:\d+: .*listen on 127\.0\.0\.1")


@pytest.mark.parametrize("options, level", [
    (["--dev"], "debug"), (["-d"], "debug"), (["--watch"], "notice"),
    (["--dev", "--log-level=warn"], "warn"),
    (["--log-level=info", "--dev"], "info")])
def test_level_of_the_log(options, level, tmp_path):
    path = tmp_path / "app.lua"
    path.write_text("function on_request() end")
    out = run(*options, "--print-config", path).out
    assert re.search(rf"^log-level = {level} ", out, re.M)


# --- code that does not load -----------------------------------------------------

GOOD = 'function on_request() return 200, {}, "good" end\n'
BAD = "local x = 1\nlocal y = = 2 -- <mistake>\n"


def shows(gw, *parts):
    def is_shown():
        texts = [gw.request(HTML).text for _ in range(6)]
        return all(part in text for text in texts for part in parts)
    wait_until(is_shown, f"pages with {parts}")


@MODES
def test_requests_see_why_the_newest_code_does_not_load(dev, options):
    gw = dev(*options, script=GOOD)
    assert gw.request().text == "good"
    gw.script.write_text(BAD)
    shows(gw, "The script cannot be loaded",
          "app.lua:2: unexpected symbol near",
          "<b>&gt;     2  local y = = 2 -- &lt;mistake&gt;</b>")
    gw.script.write_text("error('at load', 0)\n")
    shows(gw, "at load", "in main chunk")
    gw.script.write_text(GOOD + "function on_worker() error('no') end")
    shows(gw, "on_worker failed")
    gw.script.write_text(GOOD + "function on_start() error('early') end")
    shows(gw, "early")
    gw.script.write_text(GOOD)
    wait_until(lambda: all(gw.request().text == "good" for _ in range(6)))


@MODES
@pytest.mark.parametrize("bad", [
    BAD, "\nerror('unexpected')",
    GOOD + "function on_start() error('unexpected') end"])
def test_start_with_code_that_does_not_load(dev, options, bad):
    gw = dev(*options, script=bad)
    shows(gw, "The script cannot be loaded", "app.lua:2: unexpected",
          "<b>&gt;     2  ")
    is_plain(gw.request(HTML, role=fastcgi.AUTHORIZER))
    gw.script.write_text(GOOD)
    wait_until(lambda: all(gw.request().text == "good" for _ in range(6)))


@MODES
def test_start_whose_on_worker_fails(dev, options):
    gw = dev(*options, script=GOOD + "function on_worker() error('no') end")
    shows(gw, "on_worker failed")
    gw.script.write_text(GOOD)
    wait_until(lambda: all(gw.request().text == "good" for _ in range(6)))


def test_watch_alone_keeps_the_old_code(gateway):
    gw = gateway(GOOD, "--watch")
    gw.script.write_text(BAD)
    gw.wait_log("not reloaded")
    assert gw.request(HTML).text == "good"
