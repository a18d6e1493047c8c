"""The examples of the web layer: over FastCGI, by --http and behind nginx, with
what a browser sends and what an attacker does.

SPDX-License-Identifier: MIT
"""
import contextlib
import html
import json
import os
import re
import resource
import sqlite3
import subprocess
import urllib.parse

import pytest

from support import forms
from support.gateway import PROJECT

EXAMPLES = PROJECT / "examples"


# --- upload.lua -----------------------------------------------------------

def test_upload_comes_the_same_everywhere(site, front):
    uploads = site("upload.lua", "saved")
    (uploads.cwd / "saved").mkdir(exist_ok=True)
    content = os.urandom(300000)
    body = forms.multipart(
        forms.field("note", "a <note>"),
        forms.file("file", "../../etc/<x>\\..\\y.bin", content))
    answer = uploads.ask(front, "POST", "/", [
        ("Content-Type", forms.params()["CONTENT_TYPE"])], body)
    assert answer.status == 200
    assert "<li>note: a &lt;note&gt;</li>" in answer.text
    size, path = re.search(r"<li>y\.bin: (\d+) bytes in (\S+)</li>",
                           answer.text).groups()
    assert size == "300000"
    assert re.fullmatch("saved/upload-[0-9a-f]{16}", path)
    assert (uploads.cwd / path).read_bytes() == content


# --- download.lua ---------------------------------------------------------

SECRET = "nobody outside may read this"
ODD = "<b>&'\"?#%41 +;=\u00fc.txt"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder with what must be served, and with what must not."""
    top = tmp_path_factory.mktemp("tree")
    files = top / "files"
    (files / "sub" / "deeper").mkdir(parents=True)
    (files / ".git").mkdir()
    for name, text in {
            "a.txt": "0123456789", ODD: "odd", "sub/deep.html": "<p>deep",
            "empty": "", "z..z": "dots", ".hidden": SECRET,
            ".git/config": SECRET, "../secret": SECRET,
            "../files-too": SECRET}.items():
        (files / name).write_text(text)
    (files / "big.bin").write_bytes(bytes(range(256)) * 4000)
    (files / "link").symlink_to("a.txt")
    (files / "out").symlink_to("../secret")
    (files / "up").symlink_to("..")
    (files / "sub" / "up").symlink_to("../..")
    (files / "dead").symlink_to("nowhere")
    os.mkfifo(files / "fifo")
    return files


@pytest.fixture
def files(site, tree):
    return site("download.lua", str(tree))


def entries(answer):
    """The links of a listing: targets and texts."""
    assert answer.status == 200
    assert answer.header("content-type") == "text/html; charset=utf-8"
    return [(html.unescape(target), html.unescape(text)) for target, text in
            re.findall(r'<a href="([^"]*)">(.*?)</a>', answer.text)]


def test_download_lists_what_may_be_had(files, front, tree):
    found = entries(files.ask(front, "GET", "/"))
    assert sorted(text for _, text in found) == sorted([
        "a.txt", "big.bin", "empty", "sub/", "z..z", ODD])
    for target, text in found:
        answer = files.ask(front, "GET", "/" + target)
        if text == "sub/":
            assert entries(answer) == [(name, name) for name in (
                "../", "deep.html", "deeper/")]
        else:
            assert answer.status == 200
            assert answer.body == (tree / text).read_bytes()
    assert files.ask(front, "GET", "/link").text == "0123456789"


def test_download_knows_its_types(files, front):
    for name, wanted in {"a.txt": "text/plain", "sub/deep.html": "text/html",
                         "big.bin": "application/octet-stream"}.items():
        answer = files.ask(front, "GET", "/" + name)
        assert answer.header("content-type").startswith(wanted)
        assert answer.header("content-security-policy") == "script-src 'none'"
        assert answer.header("x-content-type-options") == "nosniff"


def test_download_sends_folders_to_their_slash(files, front):
    answer = files.ask(front, "GET", "/sub")
    assert answer.status == 302
    moved = urllib.parse.urljoin("http://x/sub", answer.header("location"))
    assert moved.endswith("/sub/")


@pytest.mark.parametrize("value, status, body", [
    ("bytes=2-4", 206, b"234"), ("bytes=7-", 206, b"789"),
    ("bytes=-3", 206, b"789"), ("bytes=0-999", 206, b"0123456789"),
    ("bytes=10-", 416, b""), ("bytes=-0", 416, b""),
    ("bytes=99999999999999999999-", 416, b""),
    *((bad, 200, b"0123456789") for bad in (
        "bytes=4-2", "bytes=a-b", "bytes=", "bytes=-", "bytes=--3", "lines=1-2",
        "bytes=0-0,5-6", "bytes=1-2junk", "0-1", "bytes=-5-")),
])
def test_download_in_parts(files, front, value, status, body):
    answer = files.ask(front, "GET", "/a.txt", [("Range", value)])
    assert (answer.status, answer.body) == (status, body)
    if status == 206:
        first = b"0123456789".index(body)
        assert answer.header("content-range") == (
            f"bytes {first}-{first + len(body) - 1}/10")


def test_download_on_conditions(files, front):
    whole = files.ask(front, "GET", "/a.txt")
    for name, value in (("If-None-Match", whole.header("etag")),
                        ("If-Modified-Since", whole.header("last-modified"))):
        answer = files.ask(front, "GET", "/a.txt", [(name, value)])
        assert (answer.status, answer.body) == (304, b"")
    answer = files.ask(front, "GET", "/a.txt", [
        ("Range", "bytes=5-"), ("If-Range", '"another"')])
    assert (answer.status, answer.body) == (200, b"0123456789")
    head = files.ask(front, "HEAD", "/a.txt")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == "10"


@pytest.mark.parametrize("target", [
    "/../secret", "/../../../../../../etc/passwd", "/sub/../../secret",
    "/%2e%2e/secret", "/..%2fsecret", "/%2e%2e%2fsecret", "/..%5csecret",
    "/sub/%2e%2e/%2e%2e/secret", "/../files-too", "/%2e./secret",
    "//etc/passwd", "/out", "/up/secret", "/up/", "/up", "/sub/up/secret",
    "/sub/up/", "/.hidden", "/.git/config", "/.git/", "/.git", "/sub/../.hidden",
    "/fifo", "/dead", "/none", "/none/", "/a.txt/", "/a.txt%00.html", "/%00",
    "/sub/%00", "/sub%00/", "/%2fetc%2fpasswd", "/%ff", "/" + "x" * 300,
    "/" + "sub/../" * 500 + "../secret",
])
def test_download_has_no_way_out(files, front, target):
    answer = files.ask(front, "GET", target)
    assert answer.status in (400, 404, 414), answer
    assert SECRET not in answer.text and "root:" not in answer.text
    assert "secret" not in re.sub("(?s)<html.*", "", answer.text)


def test_download_takes_nothing(files, front):
    answer = files.ask(front, "POST", "/a.txt", [], b"x" * 100000)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


def test_download_does_not_deny_what_it_cannot_open_now(own_example, tree):
    gw = own_example("download.lua", args=[tree])
    with gw.connect() as conn:
        assert conn.request(params={"SCRIPT_NAME": "/a.txt"}).status == 200
        limits = resource.prlimit(gw.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(gw.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        answer = conn.request(params={"SCRIPT_NAME": "/a.txt"})
        resource.prlimit(gw.pid, resource.RLIMIT_NOFILE, limits)
        assert (answer.status, answer.text) == (500, "Too many open files\n")
        assert conn.request(params={"SCRIPT_NAME": "/a.txt"}).status == 200


def test_download_goes_on_where_it_broke_off(files, tree, tmp_path):
    wanted = (tree / "big.bin").read_bytes()
    for front in "http", "nginx":
        target = tmp_path / front
        target.write_bytes(wanted[:100001])
        subprocess.run(["curl", "-sSf", "-C", "-", "-o", target,
                        files.url(front) + "big.bin"], check=True, timeout=60)
        assert target.read_bytes() == wanted


# --- clock.lua ------------------------------------------------------------

@pytest.mark.parametrize("front", ["http", "nginx"])
def test_clock_ticks(site, front):
    clock = site("clock.lua")
    assert "EventSource" in clock.ask(front, "GET", "/").text
    with clock.connect(front) as conn:
        conn.send("GET", "/events")
        answer = conn.answer()
        assert answer.status == 200
        assert answer.header("content-type").startswith("text/event-stream")
        assert answer.header("cache-control") == "no-cache"
        lines = [answer.stream.readline() for _ in range(6)]
    assert lines[0] == b"retry: 1000\n"
    assert lines[1::2] == [b"\n"] * 3
    times = [re.fullmatch(rb"data: (\d\d:\d\d:\d\d)\n", line).group(1)
             for line in lines[2::2]]
    assert times[0] != times[1]
    assert clock.ask(front, "GET", "/events/").status == 404


def test_clock_ends_when_nobody_looks(example):
    gw = example("clock.lua")
    before = gw.fds()
    with gw.connect() as conn:
        conn.start(1, {"SCRIPT_NAME": "/events"})
        while b"data: " not in conn.begun[1].raw:
            conn.step()
        conn.abort(1)
        conn.collect(1)
    gw.wait_fds(before)


# --- router.lua -----------------------------------------------------------

@pytest.mark.parametrize("method, target, status, text", [
    ("GET", "/users", 200, "Lua\nLuna\nLuke\n"),
    ("GET", "/users/1", 200, "Lua\n"),
    ("GET", "/users/9", 404, "no such user\n"),
    ("GET", "/users/1.5", 404, "no such user\n"),
    ("GET", "/users/n%61n", 404, "no such user\n"),
    ("GET", "/articles/2026/On%20Lua.html?x=y", 200, "2026: On Lua\n"),
    ("GET", "/articles/%3Cb%3E/%25s.html", 200, "<b>: %s\n"),
    ("PUT", "/users/9", 404, "no such user\n"),
    ("PUT", "/users/3", 400, "1 to 100 bytes\n"),
    ("GET", "/", 200, "/users\n/users/1\n/articles/2026/On%20Lua.html\n"),
    ("GET", "/x", 404, ""), ("GET", "/users/", 404, ""),
    ("GET", "/users/1/", 404, ""), ("GET", "/users/1/2", 404, ""),
    ("GET", "/users/1%2f2", 404, ""), ("GET", "/usersx", 404, ""),
    ("GET", "/articles/2026/a-html", 404, ""), ("GET", "/%00", 404, ""),
])
def test_router_finds_its_way(site, front, method, target, status, text):
    router = site("router.lua")
    answer = router.ask(front, method, target)
    if front == "fastcgi" or b"<html" not in answer.body and \
            not (front == "http" and status in (400, 404) and not text):
        assert (answer.status, answer.text) == (status, text)
    else:
        assert answer.status in (status, 400)


def test_router_knows_methods(site, front):
    router = site("router.lua")
    for target, methods in {"/users": "GET, HEAD, OPTIONS",
                            "/users/1": "GET, HEAD, OPTIONS, PUT",
                            "/articles/1/a.html": "GET, HEAD, OPTIONS"}.items():
        for method, status in ("DELETE", 405), ("OPTIONS", 204):
            answer = router.ask(front, method, target)
            assert (answer.status, answer.body) == (status, b"")
            assert answer.header("allow") == methods
    head = router.ask(front, "HEAD", "/users/1")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == "4"
    renamed = router.ask(front, "PUT", "/users/2", [], b"Ada")
    assert (renamed.status, renamed.text) == (200, "Ada\n")
    assert router.ask(front, "GET", "/users/2").text == "Ada\n"
    assert router.ask(front, "PUT", "/users/2", [], b"x" * 101).status == 400
    router.ask(front, "PUT", "/users/2", [], b"Luna")


@pytest.mark.parametrize("method", ["allow", "match", "1", "get", "__index"])
def test_router_takes_no_method_for_its_own(site, method):
    """Over FastCGI any text may be the method."""
    answer = site("router.lua").ask("fastcgi", method, "/users/1")
    assert answer.status == 405


def test_router_has_30_lines_as_it_says():
    lines = (EXAMPLES / "router.lua").read_text().splitlines()
    assert "30 lines" in lines[0]
    first = lines.index("local function matcher(template)")
    last = lines.index("-- An application of it, which knows three users by "
                       "their numbers.")
    code = [line for line in lines[first:last] if line]
    assert 25 <= len(code) <= 31


# --- template.lua ---------------------------------------------------------

def test_template_makes_everything_safe(site, front):
    books = site("template.lua")
    whole = books.ask(front, "GET", "/")
    assert whole.header("content-type") == "text/html; charset=utf-8"
    assert whole.text.count("<li>") == 4
    assert ('<a href="?q=x%20%3C%20y%20%26%20y%20%3E%20z">'
            "x &lt; y &amp; y &gt; z</a>") in whole.text
    assert whole.text.count("<h1>") == 1 and "&lt;h1" not in whole.text
    found = books.ask(front, "GET", "/?q=moon").text
    assert re.findall(r"<small>(.*?)</small>", found) == [
        "J. Verne, 1865", "J. Verne, 1869"]


@pytest.mark.parametrize("query", [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>',
    "$(os.exit())", "\n# os.exit()\n", "$(raw('<b>'))", "%s%1", "{html}", "'",
])
def test_template_runs_nothing_that_comes_in(site, front, query):
    answer = site("template.lua").ask(
        front, "GET", "/?q=" + urllib.parse.quote(query, safe=""))
    assert answer.status == 200
    assert f'value="{escape(query)}"' in answer.text
    assert f"<q>{escape(query)}</q>" in answer.text
    assert "<script" not in answer.text and "<img" not in answer.text


def escape(text):
    return html.escape(text).replace("&#x27;", "&#39;")


# --- json.lua -------------------------------------------------------------

JSON = [("Content-Type", "application/json; charset=utf-8")]


def call(api, front, method, target, value=None, headers=JSON):
    """Calls with a value, or with bytes as they are; status, and what came."""
    body = value if value is None or isinstance(value, bytes) else \
        json.dumps(value).encode()
    answer = api.ask(front, method, target, headers, body)
    if answer.status == 204 or method == "HEAD":
        assert answer.body == b""
        return answer, None
    assert answer.header("content-type") == "application/json"
    return answer, json.loads(answer.text)


def test_json_keeps_a_collection(site, front):
    api = site("json.lua")
    kept = {"big": 2**53 + 1, "max": 2**63 - 1, "min": -2**63 + 1, "one": 1,
            "float": 1.0, "tenth": 0.1, "list": [], "map": {}, "null": None,
            "nested": [1, [None, {"a": [{}]}]], "text": "\u00fc\u2028<b>\"\\"}
    answer, made = call(api, front, "POST", "/", kept)
    assert answer.status == 201
    assert answer.header("location") == str(made["id"])
    own = f"/{made['id']}"
    assert made == {**kept, "id": made["id"]}
    # As Python has it: 1 == 1.0, so in its own words.
    assert json.dumps(made["float"]) == "1.0" and repr(made["one"]) == "1"
    assert call(api, front, "GET", own)[1] == made
    assert made in call(api, front, "GET", "/")[1]
    answer, changed = call(api, front, "PUT", own, {"id": 99, "a": [1]})
    assert (answer.status, changed) == (200, {"id": made["id"], "a": [1]})
    assert answer.text.startswith('{"id":')
    head, _ = call(api, front, "HEAD", own)
    assert head.status == 200
    assert int(head.header("content-length")) == len(answer.text)
    assert call(api, front, "DELETE", own)[0].status == 204
    for method in "GET", "PUT", "DELETE":
        answer, error = call(api, front, method, own, {})
        assert (answer.status, error) == (404, {"error": "not found"})
    assert all(item["id"] != made["id"]
               for item in call(api, front, "GET", "/")[1])


@pytest.mark.parametrize("body", [
    b"", b" ", b"{", b'{"a":', b'{"a":1', b'{"a":1} x', b"{'a':1}", b"{a:1}",
    b'{"a":tru}', b'{"a":NaN}', b'{"a":Infinity}', b'"text"', b"1", b"null",
    b"true", b"[]", b'[{"a":1}]', b"\xff", b'{"a":"\xff"}', b'{"a":"\xc3"}',
    b"a=b", b"<json/>", b"[" * 16384, b'{"a":' * 3000, b"\0", b'{"a":1}\0',
    b'{"a":"\\ud800"}', b'{"\\udc00\\ud800":1}',
])
def test_json_says_what_is_no_object(site, front, body):
    answer, error = call(site("json.lua"), front, "POST", "/", body)
    assert answer.status == 400
    assert len(error["error"]) > 5


def test_json_takes_what_is_nested_as_deeply_as_can_be(site, front):
    api = site("json.lua")
    body = b'{"a":' + b"[" * 8000 + b"]" * 8000 + b"}"
    answer = api.ask(front, "POST", "/", JSON, body)
    assert answer.status == 201 and b"[" * 8000 in answer.body
    own = "/" + answer.header("location")
    assert call(api, front, "DELETE", own)[0].status == 204


def test_json_refuses_by_the_rules(site, front):
    api = site("json.lua")
    own = "/" + call(api, front, "POST", "/", {})[0].header("location")
    for method, target in (("POST", "/"), ("PUT", own)):
        for type in "text/plain", "application/x-www-form-urlencoded", "":
            answer, _ = call(api, front, method, target, {"a": 1},
                             [("Content-Type", type)])
            assert answer.status == 415
        answer, _ = call(api, front, method, target, {"a": "x" * 16384})
        assert answer.status == 413
        answer, _ = call(api, front, method, target, {"a": "x" * 5000000})
        assert answer.status == 413
    for method, target, allow in (
            ("PUT", "/", "GET, HEAD, POST"), ("DELETE", "/", "GET, HEAD, POST"),
            ("POST", own, "DELETE, GET, HEAD, PUT"),
            ("PATCH", own, "DELETE, GET, HEAD, PUT")):
        answer, _ = call(api, front, method, target, {})
        assert (answer.status, answer.header("allow")) == (405, allow)
    for target in ("/0", "/-1", "/1e0", "/x", "/999999", "/" + "9" * 40,
                   own + "/", own + ".0", "/%20" + own[1:]):
        assert call(api, front, "GET", target)[0].status == 404
    assert call(api, front, "GET", own)[1] == {"id": int(own[1:])}
    call(api, front, "DELETE", own)


def test_json_has_an_end(own_example):
    gw = own_example("json.lua")
    params = {"SCRIPT_NAME": "/", "CONTENT_TYPE": "application/json"}
    with gw.connect() as conn:
        for _ in range(1000):
            assert conn.request(params=params, body=b"{}").status == 201
        assert conn.request(params=params, body=b"{}").status == 507
        assert conn.request(params={"SCRIPT_NAME": "/7", "REQUEST_METHOD":
                                    "DELETE"}).status == 204
        assert conn.request(params=params, body=b"{}").status == 201
        found = conn.request(params={"SCRIPT_NAME": "/"}).text
    assert [item["id"] for item in json.loads(found)] == [
        *range(1, 7), *range(8, 1002)]


LIBRARIES = """
local name = ...
local json = require(name)
local text = '[9007199254740993, 1, 1.0, [], {}, {"null": null}]'
local value = name == "dkjson" and json.decode(text, 1, json.null)
  or json.decode(text)
print((json.encode(value)))
"""


def test_json_is_right_about_the_libraries(tmp_path):
    (tmp_path / "try.lua").write_text(LIBRARIES)
    found = {}
    for name in "dkjson", "cjson":
        found[name] = subprocess.run(
            ["lua5.4", "try.lua", name], cwd=tmp_path, check=True,
            capture_output=True, text=True, timeout=60).stdout.strip()
    assert found["dkjson"] == '[9007199254740993,1,1.0,[],{},{"null":null}]'
    assert found["cjson"] == '[9.007199254741e+15,1,1,{},{},{"null":null}]'
    comment = (EXAMPLES / "json.lua").read_text().partition("\n\n")[0]
    assert "9.007199254741e+15" in comment


# --- guestbook.lua --------------------------------------------------------

FORM = ("Content-Type", "application/x-www-form-urlencoded")


def sign(book, front, token="abc", cookie="abc", target="/", **fields):
    """Sends the form as a browser does that has the cookie."""
    body = urllib.parse.urlencode({
        name: value for name, value in {"token": token, **fields}.items()
        if value is not None}).encode()
    headers = [FORM, *([("Cookie", f"token={cookie}")]
                       if cookie is not None else [])]
    return book.ask(front, "POST", target, headers, body)


def signed(book, front, target="/"):
    """The entries of a page: names and texts."""
    answer = book.ask(front, "GET", target)
    assert answer.status == 200
    return [tuple(map(html.unescape, found)) for found in re.findall(
        r"(?s)<article><b>(.*?)</b> .*?<p>(.*?)</p></article>", answer.text)]


@pytest.fixture
def book(site):
    """A guestbook with nothing in it."""
    found = site("guestbook.lua")
    with contextlib.closing(sqlite3.connect(
            found.cwd / "guestbook.db", isolation_level=None)) as db:
        db.execute("DELETE FROM entries")
    return found


def test_guestbook_is_signed(book, front):
    first = book.ask(front, "GET", "/")
    cookie, = re.findall(r"^token=([0-9a-f]{32}); Path=/; HttpOnly; "
                         "SameSite=Lax$", first.header("set-cookie"))
    token = re.search(r'name="token" value="(\w+)"', first.text).group(1)
    assert token == cookie and "<article>" not in first.text
    answer = sign(book, front, token, cookie, name="Ada", text="Hello,\nworld")
    assert (answer.status, answer.body) == (303, b"")
    assert urllib.parse.urljoin("http://x/?page=2",
                                answer.header("location")) == "http://x/"
    assert signed(book, front) == [("Ada", "Hello,\nworld")]
    again = book.ask(front, "GET", "/", [("Cookie", f"token={cookie}")])
    assert again.header("set-cookie") is None
    assert f'value="{cookie}"' in again.text
    # The form may be one with files just as well.
    body = forms.multipart(forms.field("token", cookie), forms.field(
        "name", "Bob"), forms.field("text", "Hi"))
    answer = book.ask(front, "POST", "/", [
        ("Cookie", f"token={cookie}"),
        ("Content-Type", forms.params()["CONTENT_TYPE"])], body)
    assert answer.status == 303
    assert [name for name, _ in signed(book, front)] == ["Bob", "Ada"]


def test_guestbook_sends_heads_that_forbid(book, front):
    answer = book.ask(front, "GET", "/")
    policy = answer.header("content-security-policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert answer.header("cache-control") == "no-store"
    assert not re.search(r"<script|<style|\bon\w+=|style=", answer.text)
    style = book.ask(front, "GET", "/style.css")
    assert style.header("content-type") == "text/css"
    assert "color-scheme" in style.text


def test_guestbook_keeps_its_cookie_to_https_where_it_can(book):
    for more, secure in ({}, False), ({"HTTPS": "on"}, True):
        answer = book.gateway.request({"SCRIPT_NAME": "/", **more})
        assert ("Secure" in answer.headers["set-cookie"]) == secure


@pytest.mark.parametrize("token, cookie", [
    ("abc", None), ("abc", "abd"), ("", ""), (None, None), (None, "abc"),
    ("", "abc"), ("ABC", "abc"), ("abc ", "abc"), ("xyz", "xyz"),
    ("ab%0c", "ab%0c"), ("a" * 10000, "abc"),
])
def test_guestbook_takes_no_form_of_another_site(book, front, token, cookie):
    answer = sign(book, front, token, cookie, name="Eve", text="\"typed\"")
    assert answer.status == 403
    assert 'value="Eve"' in answer.text and "&quot;typed&quot;" in answer.text
    assert signed(book, front) == []
    # What it answers with can be sent.
    token = re.search(r'name="token" value="(\w+)"', answer.text).group(1)
    cookie = re.match(r"token=(\w+)", answer.header("set-cookie") or
                      f"token={cookie}").group(1)
    assert sign(book, front, token, cookie, name="Eve", text="x").status == 303


NO_TEXT = "has bytes that are no text"


@pytest.mark.parametrize("name, text, wrong", [
    ("", "x", {"Name": "is missing"}), (None, "x", {"Name": "is missing"}),
    (" \t\r\n", "", {"Name": "is missing", "Text": "is missing"}),
    ("A" * 61, "x", {"Name": "has more than 60 characters"}),
    ("A", "x" * 1001, {"Text": "has more than 1000 characters"}),
    ("A\0B", "x", {"Name": NO_TEXT}), ("A", "x\0'); --", {"Text": NO_TEXT}),
    (b"\xff", b"\xed\xa0\x80", {"Name": NO_TEXT, "Text": NO_TEXT}),
    ("\x1b[2J", "x", {"Name": NO_TEXT}),
])
def test_guestbook_says_what_is_wrong_and_keeps_the_rest(book, front, name,
                                                         text, wrong):
    answer = sign(book, front, name=name, text=text)
    assert answer.status == 422
    found = re.findall(r"<label>(\w+) <strong>(.+?)</strong>",
                       answer.body.decode("utf-8", "replace"))
    assert dict(found) == wrong
    if "Text" not in wrong:
        assert f">\n{text}</textarea>" in answer.text
    if "Name" not in wrong:
        assert f'name="name" value="{name}"' in answer.text
    assert signed(book, front) == []


@pytest.mark.parametrize("text", [
    "Robert'); DROP TABLE entries; --", "'", "''", "\\'", "?", "??", "%s %1 %%",
    "' || (SELECT name FROM sqlite_master) || '", '"; DELETE FROM entries; "',
    "<script>alert(1)</script>", "</textarea><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", '" autofocus onfocus=alert(1) x="',
    "{token}", "{{entries}}", "&lt;b&gt;", "\u00fc\U0001f600\u202e",
    "  spaces  ", "\n\nlines", "x" * 60,
])
def test_guestbook_gives_back_what_was_typed(book, front, text):
    assert sign(book, front, name=text, text=text).status == 303
    answer = book.ask(front, "GET", "/")
    assert (text, text) in [tuple(map(html.unescape, found)) for found in
                            re.findall(r"(?s)<article><b>(.*?)</b> .*?"
                                       r"<p>(.*?)</p></article>", answer.text)]
    assert "<script" not in answer.text and "<img" not in answer.text
    # In the form, too.
    answer = sign(book, front, "not", name=text, text=text)
    assert f'value="{escape(text)}"' in answer.text
    assert f">\n{escape(text)}</textarea>" in answer.text
    assert "<script" not in answer.text and "<img" not in answer.text


def test_guestbook_counts_characters(book, front):
    assert sign(book, front, name="\u00fc" * 60,
                text="\U0001f600" * 1000).status == 303
    assert sign(book, front, name="\u00fc" * 61, text="x").status == 422


def test_guestbook_has_pages(book, front):
    with contextlib.closing(sqlite3.connect(
            book.cwd / "guestbook.db", isolation_level=None)) as db:
        for number in range(25):
            db.execute("INSERT INTO entries (time, name, text) VALUES (?, ?, ?)",
                       (number, f"guest {number}", "x"))

    def page(query):
        return [name for name, _ in signed(book, front, "/" + query)]

    def links(query):
        return re.findall(r'<a href="(.*?)">(.*?)</a>',
                          book.ask(front, "GET", "/" + query).text)

    guests = [f"guest {number}" for number in reversed(range(25))]
    assert page("") == page("?page=1") == guests[:10]
    assert page("?page=2") == guests[10:20]
    assert page("?page=3") == guests[20:]
    assert links("") == [("?page=2", "older")]
    assert links("?page=2") == [("?page=1", "newer"), ("?page=3", "older")]
    assert links("?page=3") == [("?page=2", "newer")]
    for bad in "0", "-1", "x", "1.5", "", "1e999", "-9223372036854775808", "nan":
        assert page("?page=" + bad) == guests[:10]
    for far in "4", "99999999", "9223372036854775807", "1e9":
        assert page("?page=" + far) == guests[20:]
    assert page("?page=1%27%20OR%201") == guests[:10]


def test_guestbook_refuses_what_is_not_a_form(book, front):
    huge = sign(book, front, name="A", text="x" * 100000)
    assert huge.status == 413
    for type, body in (("text/plain", b"a=b"), ("application/json", b"{}"),
                       ("multipart/form-data", b"x")):
        assert book.ask(front, "POST", "/", [("Content-Type", type)],
                        body).status == 400
    answer = book.ask(front, "DELETE", "/")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, POST")
    assert book.ask(front, "GET", "/other").status == 404
    assert book.ask(front, "HEAD", "/").body == b""
    assert signed(book, front) == []


def test_guestbook_of_several_workers(own_example, tmp_path):
    path = tmp_path / "book.db"
    gw = own_example("guestbook.lua", "-w", "3", args=[path])
    gw.wait_log("generation 1 serves")
    params = {"SCRIPT_NAME": "/", "HTTP_COOKIE": "token=abc", "CONTENT_TYPE":
              "application/x-www-form-urlencoded", "REQUEST_METHOD": "POST"}
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(gw.connect()) for _ in range(20)]
        for turn in range(5):
            for number, conn in enumerate(conns):
                conn.start(1, params, b"token=abc&text=x&name=%d-%d" % (
                    turn, number))
            for conn in conns:
                assert conn.collect(1).status == 303
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(DISTINCT name) FROM entries"
                          ).fetchone() == (100,)


def test_guestbook_beside_one_who_writes(own_example, tmp_path):
    """Reading goes on, writing gives up after a second."""
    path = tmp_path / "book.db"
    gw = own_example("guestbook.lua", args=[path])
    params = {"SCRIPT_NAME": "/", "HTTP_COOKIE": "token=abc", "CONTENT_TYPE":
              "application/x-www-form-urlencoded"}
    body = b"token=abc&name=Ada&text=x"
    with contextlib.closing(sqlite3.connect(
            path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert gw.request({"SCRIPT_NAME": "/"}).status == 200
        assert gw.request(params, body).status == 500
        gw.wait_log("database is locked")
        db.execute("COMMIT")
    assert gw.request(params, body).status == 303


def test_guestbook_starts_again_with_its_entries(own_example, tmp_path):
    path = tmp_path / "book.db"
    for times in 1, 2:
        gw = own_example("guestbook.lua", args=[path])
        assert gw.request(
            {"SCRIPT_NAME": "/", "HTTP_COOKIE": "token=abc", "CONTENT_TYPE":
             "application/x-www-form-urlencoded"},
            b"token=abc&name=Ada&text=x").status == 303
        assert gw.request({"SCRIPT_NAME": "/"}).text.count(
            "<b>Ada</b>") == times
        assert gw.stop() == 0
