"""examples/demo.sh and the demo.lua that it serves.

SPDX-License-Identifier: MIT
"""
import html
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest

from support import forms
from support.gateway import (PROJECT, check_reports, environment, free_port,
                             program, wait_until)

EXAMPLES = PROJECT / "examples"


# --- demo.sh --------------------------------------------------------------

class Demo:
    """demo.sh with the program under test; everything that it writes is in
    folder."""

    def __init__(self, folder, port):
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        self.output = folder.parent / "output"
        with open(self.output, "wb") as output:
            self.child = subprocess.Popen(
                [EXAMPLES / "demo.sh"], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
                env=environment({"PORT": port, "TMPDIR": folder,
                                 "FCGI_LUA": program()}))

    def said(self):
        return self.output.read_text()

    def wait_said(self, text):
        def has_said():
            assert self.child.poll() is None or text in self.said(), \
                self.said()
            return text in self.said()
        wait_until(has_said, text)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read().decode()


@pytest.fixture
def start_demo(tmp_path):
    running = []

    def start(port):
        (tmp_path / "temporary").mkdir()
        running.append(Demo(tmp_path / "temporary", port))
        return running[0]
    yield start
    for demo in running:
        print(demo.said())
        if demo.child.poll() is None:
            demo.child.terminate()
        demo.child.wait(30)
        check_reports(demo.said())


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_until_it_is_stopped(start_demo, sig):
    demo = start_demo(free_port())
    demo.wait_said("Ctrl-C stops everything.")
    assert set(re.findall(r"http://[\d.]+:\d+", demo.said())) == {demo.url}
    assert demo.get("/hello/?name=Ada") == "Hello, Ada!\n"
    assert f"{demo.url}/hello/?name=Ada" in html.unescape(demo.get("/"))
    # What is uploaded goes with the rest.
    sent = urllib.request.Request(
        demo.url + "/upload/", forms.multipart(forms.file("file", "a", b"x")),
        {"Content-Type": forms.params()["CONTENT_TYPE"]})
    with urllib.request.urlopen(sent, timeout=30) as answer:
        assert f"1 bytes in {demo.folder}" in answer.read().decode()
    demo.child.send_signal(sig)
    assert demo.child.wait(30) == 0
    assert list(demo.folder.iterdir()) == []
    with pytest.raises(urllib.error.URLError):
        demo.get("/")


def test_demo_says_that_the_port_is_taken(start_demo):
    with socket.create_server(("127.0.0.1", 0)) as other:
        demo = start_demo(other.getsockname()[1])
        assert demo.child.wait(30) == 69
    assert "cannot listen on" in demo.said()
    assert "demo.sh: fcgi-lua did not start (see above)" in demo.said()
    assert list(demo.folder.iterdir()) == []


def test_demo_wants_a_number(start_demo):
    demo = start_demo("http")
    assert demo.child.wait(30) == 64
    assert "PORT=http is not a number" in demo.said()


def test_demo_says_that_the_program_has_ended(start_demo):
    demo = start_demo(free_port())
    demo.wait_said("Ctrl-C stops everything.")
    pid = int(re.search(r"\[(\d+)/1\] listening on", demo.said()).group(1))
    os.kill(pid, signal.SIGKILL)
    assert demo.child.wait(30) == 1
    assert "demo.sh: fcgi-lua has ended" in demo.said()
    assert list(demo.folder.iterdir()) == []


# --- demo.lua -------------------------------------------------------------

@pytest.fixture(scope="module")
def all_examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    for script in EXAMPLES.glob("*.lua"):
        shutil.copy(script, folder)
    (folder / "saved").mkdir()
    return folder


@pytest.fixture
def demo(shared_gateway, all_examples):
    def copied_example(name):
        return shared_gateway(str(all_examples / name),
                              args=(str(all_examples / "saved"),))
    return copied_example("demo.lua")


def ask(gw, link, body=b"", **more):
    path, _, query = link.partition("?")
    return gw.request({"REQUEST_URI": "/" + link, "QUERY_STRING": query,
                       "SCRIPT_NAME": "/" + urllib.parse.unquote(path),
                       **more}, body)


def page_of(gw):
    response = ask(gw, "")
    assert response.status == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return response.text


def names_of(gw):
    return re.findall(r'<h2><a href="(\w+)/">\1\.lua</a></h2>', page_of(gw))


def test_demo_lists_examples_and_how_to_try_them(demo):
    page, names = html.unescape(page_of(demo)), names_of(demo)
    assert names[0] == "hello" and len(names) >= 20
    assert "It is not here" not in page
    assert '<p><a href="hello/?name=Ada">curl ' in page
    for name in names:
        script = (EXAMPLES / f"{name}.lua").read_text()
        tried = re.search(r"^-- Try: (.*)", script, re.M).group(1)
        assert tried.replace(":8080", f":8080/{name}") in page
        assert script.partition("\n")[0].removeprefix("-- ") in page


def test_demo_serves_each_below_its_name(demo):
    assert ask(demo, "hello/?name=Ada").text == "Hello, Ada!\n"
    assert ask(demo, "query/?tag=b").text.count("<li>b</li>") == 1
    assert ask(demo, "echo/").body == b""
    assert ask(demo, "router/users/3").text == "Luke\n"
    for none in ("nothing/", "hellos", "hello-again/", "router/none"):
        assert ask(demo, none).status == 404
    moved = ask(demo, "hello?name=Ada")
    assert (moved.status, moved.headers["location"]) == (
        308, "/hello/?name=Ada")
    signed = ask(demo, "guestbook/", REQUEST_METHOD="POST",
                 HTTP_COOKIE="token=a", body=b"token=a&name=Ada&text=Hi",
                 CONTENT_TYPE="application/x-www-form-urlencoded")
    assert (signed.status, signed.headers["location"]) == (
        303, "/guestbook/")
    assert "<b>Ada</b>" in ask(demo, "guestbook/").text
    # What a call gives arrives whole.
    assert ask(demo, "download/none").text == "not found\n"
    refused = ask(demo, "guestbook/", REQUEST_METHOD="POST", body=b"{}",
                  CONTENT_TYPE="application/json")
    assert (refused.status, refused.text) == (400, "not a form")


def test_pages_lead_to_what_is_theirs(demo):
    """Where a path begins at / it would lead out of the example."""
    found = 0
    for name in names_of(demo):
        if "<!DOCTYPE" in (EXAMPLES / f"{name}.lua").read_text():
            page = ask(demo, f"{name}/").text
            links = re.findall(r'(?:href|src|action)="(.*?)"', page)
            assert not [link for link in links if link.startswith("/")]
            found += len(links)
    assert found > 10


def test_demo_gives_each_globals_of_its_own(gateway, all_examples, tmp_path):
    """And each sees the request as if it stood alone."""
    demo = (all_examples / "demo.lua").read_text()
    (tmp_path / "demo.lua").write_text(re.sub(
        r"(?s)local examples = \{.*?\n\}\n",
        'local examples = { { "one", 1 }, { "two", 2 }, { "lost" } }\n', demo))
    (tmp_path / "lost.lua").write_text(
        "-- Needs more.\nrequire 'no.such.module'\n")
    (tmp_path / "one.lua").write_text("""\
-- One.
-- Try: curl http://127.0.0.1:8080/a
number = ...
function on_start() started = "started" end
function on_worker(id) worker = started .. " by " .. id end
function on_request(req)
  if req:path() == "/away" then return req:redirect("/b?c", 303) end
  return 200, {}, table.concat({ number, req:path(), req:path_info(),
    req:script_name(), req:uri(), req:method(), req:query "q" or "none",
    req.role, worker }, " ")
end
""")
    (tmp_path / "two.lua").write_text("""\
-- Two.
number = ...
return {
  on_request = function(req) error(number .. " fails", 0) end,
  on_error = function(req, err) return 500, {}, req:path() .. ": " .. err end,
}
""")
    gw = gateway(str(tmp_path / "demo.lua"))
    assert ask(gw, "one/x%20y?q=1").text == (
        "1 /x y /x y  /x%20y?q=1 GET 1 responder started by 1")
    assert ask(gw, "two/x").text == "/x: 2 fails"
    assert ask(gw, "one/away").headers["location"] == "/one/b?c"
    assert ask(gw, "lost/").status == 404
    page = html.unescape(page_of(gw))
    assert "It is not here: " in page and "no.such.module" in page
