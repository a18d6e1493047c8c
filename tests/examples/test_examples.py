"""Every example in examples/, on the real program: what its first comment
promises is what it does."""
import base64
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import pytest

from support import fastcgi, forms
from support.gateway import wait_until
from support.processes import children, is_gone

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.lua"))
MIB = 1 << 20


def query(text, **more):
    return {"QUERY_STRING": text, **more}


# --- the examples as files ------------------------------------------------

def test_every_example_is_tested():
    tests = pathlib.Path(__file__).parent.glob("test_*.py")
    tested = set(re.findall(r'(?:example|site)\("(\w+\.lua)"',
                            "".join(test.read_text() for test in tests)))
    assert {script.name for script in SCRIPTS} == tested


def test_the_table_of_examples_names_each():
    named = re.findall(r"^\| \[(\S+)\]\((\S+)\) ",
                       (EXAMPLES / "README.md").read_text(), re.M)
    assert sorted(name for name, _ in named) == [s.name for s in SCRIPTS]
    assert all(name == link for name, link in named)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_an_example_is_a_page_that_says_how_to_run_it(script):
    lines = script.read_text().splitlines()
    pages = 2 if script.name in ("demo.lua", "guestbook.lua") else 1
    assert len(lines) <= 80 * pages
    assert all(len(line) <= 80 for line in lines)
    comment = []
    for line in lines:
        if not line.startswith("--"):
            break
        comment.append(line)
    assert len(comment) >= 3 and not re.match(r"-- (Run|Try):", comment[0])
    # What HTTP has no role for, or a file that only a web server names.
    by_fastcgi = script.name in ("authorizer.lua", "filter.lua")
    where = "-l 127.0.0.1:9000" if by_fastcgi else "--http=127.0.0.1:8080"
    assert any(re.fullmatch(rf"-- Run: fcgi-lua {re.escape(where)} "
                            rf"(-\S+ )*{script.name}( \S+)*", line)
               for line in comment)
    assert any(line.startswith("-- Try: ") and "curl " in line and
               "http://127.0.0.1:8080/" in line for line in comment)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_an_example_is_clean(script):
    luacheck = shutil.which("luacheck")
    if not luacheck:
        pytest.skip("luacheck is not installed")
    checked = subprocess.run(
        [luacheck, "--no-config", "--no-color", "--std", "lua54", "--globals",
         "on_request", "on_authorize", "on_filter", "on_start", "on_worker",
         "--max-line-length", "80",
         str(script)],
        capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


# --- hello.lua ------------------------------------------------------------

def test_hello_greets_the_name_in_the_url(example):
    gw = example("hello.lua")
    response = gw.request(query("name=Ada"))
    assert response.status == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "Hello, Ada!\n"
    assert gw.request(query("name=A%64a+L.")).text == "Hello, Ada L.!\n"


def test_hello_greets_the_world(example):
    assert example("hello.lua").request().text == "Hello, world!\n"


# --- env.lua --------------------------------------------------------------

def test_env_lists_every_parameter_sorted(example):
    params = fastcgi.default_params({
        "REQUEST_URI": "/some/path?a=1", "QUERY_STRING": "a=1",
        "HTTP_X_COLOR": "blue", "HTTP_X": "x", "EMPTY": "",
        "LATIN": b"caf\xe9", "lower": "case",
    })
    response = example("env.lua").request(params, defaults=False)
    assert response.headers["content-type"] == "text/plain"
    lines = [line.split(b"=", 1)
             for line in response.body.removesuffix(b"\n").split(b"\n")]
    assert lines == sorted([name.encode(), fastcgi.as_bytes(value)]
                           for name, value in params.items())


# --- query.lua ------------------------------------------------------------

def test_query_shows_name_tags_and_visits(example):
    response = example("query.lua").request(
        query("name=Ada&tag=a&tag=b+c", HTTP_COOKIE="x=1; visits=6"))
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>Hello, Ada!</h1>" in response.text
    assert "<li>a</li>\n<li>b c</li>\n" in response.text
    assert "visit number 7." in response.text
    assert response.header_all("Set-Cookie") == [
        "visits=7; Path=/; HttpOnly; SameSite=Lax"]


@pytest.mark.parametrize("cookie", [
    None, "", "other=1", "visits=", "visits=many", "visits=1.5",
    "visits=1e999", "visits",
])
def test_query_begins_to_count_when_the_cookie_is_no_number(example, cookie):
    response = example("query.lua").request({"HTTP_COOKIE": cookie})
    assert "visit number 1." in response.text
    assert response.header_all("Set-Cookie")[0].startswith("visits=1;")


def test_query_escapes_what_the_client_sent(example):
    response = example("query.lua").request(
        query("name=%3Cscript%3E%22%27%26&tag=%3Cb%3E"))
    assert "Hello, &lt;script&gt;&quot;&#39;&amp;!" in response.text
    assert "<li>&lt;b&gt;</li>" in response.text
    assert "<script" not in response.text and "<b>" not in response.text


# --- echo.lua -------------------------------------------------------------

@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 20 * MIB])
def test_echo_sends_the_body_back(example, size):
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    response = example("echo.lua").request(
        {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "text/html"}, body)
    assert response.status == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.body == body


def test_echo_sends_each_piece_as_it_arrives(example):
    params = fastcgi.default_params({"REQUEST_METHOD": "POST",
                                     "CONTENT_LENGTH": None})
    with example("echo.lua").connect() as conn:
        conn.begin()
        conn.params(1, params)
        received = b""
        for piece in (b"one\0", b"two\xff", b"three\n"):
            conn.stdin(1, piece, end=False)
            received += piece
            while not conn.begun[1].raw_head or \
                    conn.begun[1].body != received:
                conn.step()
        conn.stdin(1)
        response = conn.collect(1)
        response.check_complete()
        assert response.body == received


# --- upload.lua -----------------------------------------------------------

def test_upload_shows_a_form(example):
    response = example("upload.lua").request()
    assert response.status == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert 'enctype="multipart/form-data"' in response.text
    assert '<input type="file" name="file" multiple>' in response.text


def test_upload_saves_files_and_escapes_what_was_sent(own_example, tmp_path):
    contents = [bytes(range(256)) * 5000, b"", b"\r\n"]
    body = forms.multipart(
        forms.field("note", "<b>hello</b>"),
        forms.file("file", "../<a>.bin", contents[0]),
        forms.file("file", "empty.txt", contents[1], "text/plain"),
        forms.file("file", "", b""),                # none was chosen
        forms.file("other", "x", contents[2]))
    gw = own_example("upload.lua", args=[tmp_path])
    response = gw.request(forms.params(), body)
    assert response.status == 200
    assert "<li>note: &lt;b&gt;hello&lt;/b&gt;</li>" in response.text
    saved = re.findall(r"<li>(\S+): (\d+) bytes in (\S+)</li>", response.text)
    assert [found[:2] for found in saved] == [
        ("&lt;a&gt;.bin", "1280000"), ("empty.txt", "0"), ("x", "2")]
    paths = [pathlib.Path(path) for *_, path in saved]
    assert [path.read_bytes() for path in paths] == contents
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert all(re.fullmatch("upload-[0-9a-f]{16}", path.name)
               for path in paths)


def test_upload_logs_the_progress(own_example, tmp_path):
    gw = own_example("upload.lua", args=[tmp_path])
    body = forms.multipart(forms.file("file", "slow.bin", b"x" * 1000))
    with gw.connect() as conn:
        conn.begin()
        conn.params(1, fastcgi.default_params(forms.params(), body))
        conn.stdin(1, body[:-100], end=False)
        gw.wait_log(r"notice .*slow\.bin: \d+ bytes so far")
        conn.stdin(1, body[-100:])
        assert "slow.bin: 1000 bytes" in conn.collect(1).text


def test_upload_tells_what_went_wrong(own_example, tmp_path):
    gw = own_example("upload.lua", args=[tmp_path / "none"])
    body = forms.multipart(forms.file("file", "x", b"x"))
    response = gw.request(forms.params(), body)
    assert response.status == 507
    assert "<li>x: not saved: no such file or directory</li>" in response.text
    assert gw.request(forms.params(), body[:-9]).status == 400
    assert gw.request({"REQUEST_METHOD": "POST"}, b"a=b").status == 415


# --- stream.lua -----------------------------------------------------------

def pattern(size):
    """What stream.lua sends: pieces of 64 KiB, lines that tell where each
    begins."""
    out = b"".join(b"%015d\n" % offset * 4096
                   for offset in range(0, size, 65536))
    return out[:size]


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 9000000])
def test_stream_sends_as_many_bytes_as_asked(example, size):
    response = example("stream.lua").request(query(f"bytes={size}"))
    assert response.status == 200
    assert response.headers["content-length"] == str(size)
    assert response.body == pattern(size)


@pytest.mark.parametrize("text", ["", "bytes=", "bytes=x", "bytes=1.5"])
def test_stream_sends_8_mib_if_not_told(example, text):
    assert example("stream.lua").request(query(text)).body == pattern(8 * MIB)


def test_stream_does_not_run_ahead_of_a_slow_client(example):
    gw = example("stream.lua")
    size = 256 * MIB
    gw.request(query("bytes=1"))
    before = gw.rss()
    gw.reset_peak()
    with gw.connect(rcvbuf=4096) as conn:
        conn.start(1, query(f"bytes={size}"))
        conn.wait_stdout(1)
        for _ in range(3):  # it goes on for others, and waits for this one
            gw.request(query("bytes=1"))
        assert gw.peak_rss() - before < 32 * MIB
    gw.barrier()
    assert gw.request(query("bytes=3")).body == b"000"


# --- countdown.lua --------------------------------------------------------

def test_countdown_sends_a_line_each_second(example):
    with example("countdown.lua").connect() as conn:
        begun = time.monotonic()
        conn.start(1, query("from=2"))
        seen = []
        for text in ("2\n", "2\n1\n", "2\n1\nLift-off!\n"):
            while not conn.begun[1].raw_head or \
                    conn.begun[1].text != text:
                conn.step()
            seen.append(time.monotonic() - begun)
        response = conn.collect(1)
        response.check_complete()
    # A line may come late on a busy machine, but never early.
    assert seen[1] >= 1 and seen[2] >= 2
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_countdown_from_zero_is_over_at_once(example):
    gw = example("countdown.lua")
    assert gw.request(query("from=0")).text == "Lift-off!\n"
    assert gw.request(query("from=-1")).text == "Lift-off!\n"


def test_countdown_ends_when_the_client_leaves(example):
    gw = example("countdown.lua")
    with gw.connect() as conn:
        conn.start(1, query("from=60"))
        conn.wait_stdout(1)
        conn.abort(1)
        conn.collect(1)
    assert gw.request(query("from=0")).text == "Lift-off!\n"


# --- slow.lua -------------------------------------------------------------

def test_slow_keeps_nobody_waiting(example):
    ids = range(1, 21)
    begun = time.monotonic()
    with example("slow.lua").connect() as conn:
        for id in ids:
            conn.start(id, query("seconds=1"))
        responses = conn.collect_all(ids)
    took = time.monotonic() - begun
    for response in responses.values():
        response.check_complete()
        waited = re.fullmatch(r"waited (\d+\.\d) seconds\n", response.text)
        assert float(waited.group(1)) >= 1
    assert 1 <= took < 10  # one after the other they would take 20


def test_slow_waits_as_long_as_asked(example):
    gw = example("slow.lua")
    assert gw.request(query("seconds=0")).text == "waited 0.0 seconds\n"
    assert gw.request(query("seconds=-5")).text == "waited 0.0 seconds\n"
    assert gw.request(query("seconds=0.25")).text.startswith("waited 0.")


# --- errors.lua -----------------------------------------------------------

def test_errors_that_nobody_catches_give_a_friendly_page(example):
    gw = example("errors.lua")
    response = gw.request(query("case=raised"))
    assert response.status == 500
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.match(r"Sorry, that went wrong\.", response.text)
    assert "cheese" not in response.text and ".lua" not in response.text
    # The number that the page names finds the error in the log.
    id = re.search(r"in our log as (\S+)\.\n", response.text).group(1)
    gw.wait_log(rf" error .*{re.escape(id)}")
    gw.wait_log(r"errors\.lua:\d+: out of cheese")
    gw.wait_log("stack traceback:")


def test_errors_can_be_caught(example):
    response = example("errors.lua").request(query("case=caught"))
    assert response.status == 200
    assert response.text == "caught: no more crackers\n"


def test_errors_after_the_head_end_the_answer(example):
    gw = example("errors.lua")
    with gw.connect() as conn:
        conn.start(1, query("case=late"))
        response = conn.collect(1)
        response.check_complete()
        assert response.status == 200
        assert response.text == "This much has been sent.\n"
        assert response.app_status == 1
        gw.wait_log(r"errors\.lua:\d+: out of wine")
        # The connection and the script go on.
        assert conn.request(1, query("case=caught")).status == 200


@pytest.mark.parametrize("text", ["", "case=", "case=other"])
def test_errors_names_its_cases(example, text):
    response = example("errors.lua").request(query(text))
    assert response.status == 404
    assert response.text == "?case=raised, ?case=caught or ?case=late\n"


# --- authorizer.lua -------------------------------------------------------
# tests/servers/test_authorizer.py has it behind web servers.

def may_come_in(gw, user=None, **params):
    if user is not None:
        params["HTTP_AUTHORIZATION"] = \
            "Basic " + base64.b64encode(user.encode()).decode()
    return gw.request({"REQUEST_URI": "/file.txt", **params},
                      role=fastcgi.AUTHORIZER)


def assert_not_admitted(response):
    assert response.status == 401
    assert response.headers["www-authenticate"] == 'Basic realm="app"'
    assert not [name for name, _ in response.head if "Variable" in name]


def test_authorizer_lets_in_who_has_the_password(example):
    gw = example("authorizer.lua")
    response = may_come_in(gw, "ada:analytical")
    assert response.status == 200 and response.body == b""
    assert ("Variable-REMOTE_USER", "ada") in response.head
    assert ("Variable-USER_GROUP", "staff") in response.head
    response = may_come_in(gw, "mary:frankenstein")
    assert ("Variable-USER_GROUP", "guests") in response.head


@pytest.mark.parametrize("user", [
    None, "", ":", "ada", "ada:", "ada:Analytical", "ada:analytica",
    "ada:analytical ", ":analytical", "eve:analytical", "eve:",
    "ada:frankenstein", "ada:analytical\0", "password:", "__index:x"])
def test_authorizer_lets_in_nobody_else(example, user):
    assert_not_admitted(may_come_in(example("authorizer.lua"), user))


@pytest.mark.parametrize("header", [
    "", "Basic", "Basic ", "Basic !", "Basic YWRh", "Bearer YWRhOng=", "=",
    "Basic " + "A" * 60000])
def test_authorizer_lets_in_nobody_with_another_header(example, header):
    assert_not_admitted(may_come_in(example("authorizer.lua"),
                                    HTTP_AUTHORIZATION=header))


def test_authorizer_takes_what_apache_has_taken_apart(example):
    gw = example("authorizer.lua")
    asked = {"FCGI_APACHE_ROLE": "AUTHENTICATOR", "REMOTE_USER": "ada"}
    assert may_come_in(gw, REMOTE_PASSWD="analytical", **asked).status == 200
    for password in ("", "wrong"):
        assert_not_admitted(may_come_in(gw, REMOTE_PASSWD=password, **asked))
    assert_not_admitted(may_come_in(gw, **asked))
    asked["FCGI_APACHE_ROLE"] = "AUTHORIZER"
    response = may_come_in(gw, **asked)
    assert response.head == [("Status", "200 OK")]
    asked["REMOTE_USER"] = "eve"
    assert may_come_in(gw, **asked).status == 403
    del asked["REMOTE_USER"]
    assert may_come_in(gw, **asked).status >= 400


def test_authorizer_greets_who_was_let_in(example):
    response = example("authorizer.lua").request(
        {"REMOTE_USER": "ada", "USER_GROUP": "staff"})
    assert response.text == "Hello, ada of staff!\n"


# --- filter.lua -----------------------------------------------------------

PAGE = "<h1>{{name}}</h1>{{body}}{{nothing}} { {{name}} }}"
FILLED = ("<h1>A&amp;B</h1>&lt;b&gt;&quot;x&quot;&#39;&lt;/b&gt; "
          "{ A&amp;B }}")
FORM = "<b>\"x\"'</b>"


def filtered(gw, page, body=FORM, length=None, text="name=A%26B"):
    page = page.encode()
    return gw.request(query(text, FCGI_DATA_LENGTH=str(
        len(page) if length is None else length),
        FCGI_DATA_LAST_MOD="1700000000"), body, role=fastcgi.FILTER,
        data=page)


def test_filter_fills_in_the_page_that_is_sent(example):
    response = filtered(example("filter.lua"), PAGE)
    assert response.status == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text == FILLED


def test_filter_fills_in_a_page_of_no_bytes(example):
    response = filtered(example("filter.lua"), "", b"")
    assert response.status == 200 and response.text == ""


def test_filter_takes_no_page_that_is_too_large(example):
    gw = example("filter.lua")
    assert filtered(gw, "x", length=MIB + 1).status == 413
    assert filtered(gw, "x", length="").status == 413
    assert filtered(gw, "x" * MIB).text == "x" * MIB
    assert filtered(gw, "x", b"y" * (MIB + 1)).status == 413


def test_filter_fills_in_the_page_that_is_named(example, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    gw = example("filter.lua")
    named = query("name=A%26B", SCRIPT_FILENAME=str(page))
    assert gw.request(named, FORM).text == FILLED
    assert gw.request(named).text == FILLED.replace(
        "&lt;b&gt;&quot;x&quot;&#39;&lt;/b&gt;", "")
    assert gw.request(named, b"y" * (MIB + 1)).status == 413
    for name in (str(tmp_path), str(tmp_path / "missing"), "", None):
        assert gw.request({"SCRIPT_FILENAME": name}).status == 404


def test_filter_can_be_tried_as_the_readme_says(gateway):
    """Its command, with another address."""
    text = (EXAMPLES / "README.md").read_text()
    command = re.search(r"^    (python3 -c '.*?')$", text, re.M | re.S)[1]
    gw = gateway(EXAMPLES / "filter.lua", listen="tcp")
    assert '("127.0.0.1", 9000)' in command
    command = command.replace("9000", str(gw.address[1]))
    done = subprocess.run(["sh", "-c", command], capture_output=True,
                          cwd=EXAMPLES.parent / "tests", text=True, timeout=60)
    assert done.stdout == "<p>Ada: posted</p>\n\n", done.stderr
# --- parallel.lua ---------------------------------------------------------

def parts_and_whole(text):
    return map(float, re.search(
        r"^(\d+\.\d) seconds of work took (\d+\.\d)$", text, re.M).groups())


def test_parallel_waits_for_all_at_once(example):
    text = example("parallel.lua").request(query("user=7")).text
    assert text.startswith("user 7\norders of user 7\nrain in Oslo\n")
    parts, whole = parts_and_whole(text)
    assert parts >= 0.9 and 0.4 <= whole < parts


def test_parallel_does_without_a_service_that_fails(own_example):
    gw = own_example("parallel.lua")
    response = gw.request(query("city=Rome"))
    assert response.status == 200
    assert response.text.startswith(
        "user 1\norders of user 1\nsorry: no weather for Rome\n")
    parts, whole = parts_and_whole(response.text)
    assert 0.6 <= parts and 0.4 <= whole
    # What was joined is the handler's to tell.
    assert gw.stop() == 0
    assert " error " not in gw.log()


# --- background.lua -------------------------------------------------------

def test_background_answers_before_the_work_is_done(own_example):
    # The work takes long, and the answer does not wait for it.
    slow = ("local fcgi, sleep = require 'fcgi' sleep = fcgi.sleep "
            "fcgi.sleep = function() while not go do sleep(0.01) end end "
            "fcgi.every(0.01, function() go = io.open(fcgi.args[1]) end)")
    flag = pathlib.Path(tempfile.mkdtemp()) / "go"
    try:
        gw = own_example("background.lua", "--eval", slow, args=[str(flag)])
        response = gw.request(query("to=ada@example.org"))
        assert response.status == 202
        assert response.text == "Your mail is on its way.\n"
        assert "ada" not in gw.log()
        flag.touch()
        gw.wait_log(r"counted a visit of ada@example\.org \(GET ")
        gw.wait_log(r"sent a mail to ada@example\.org$")
    finally:
        shutil.rmtree(flag.parent)


def test_background_is_finished_before_a_stop(own_example):
    gw = own_example("background.lua")
    assert gw.request(query("to=ada@example.org")).status == 202
    assert gw.stop() == 0
    assert "counted a visit" in gw.log() and "sent a mail" in gw.log()


def test_background_errors_reach_the_log(own_example):
    gw = own_example("background.lua")
    assert gw.request(query("to=nobody")).status == 202
    gw.wait_log(r" error .*background\.lua:\d+: not an address: nobody$")
    gw.wait_log("stack traceback:")
    assert gw.request(query("to=b@example.org")).status == 202
    assert gw.stop() == 0
    assert gw.log().count("not an address") == 1
    assert "sent a mail to b@example.org" in gw.log()


def test_background_asks_for_an_address(example):
    response = example("background.lua").request()
    assert response.status == 400 and response.text == "?to=address\n"


# --- cancel.lua -----------------------------------------------------------

def ends_of_transactions(gw):
    return re.findall(r"cancel\.lua:\d+: (committed|rolled back: .*?) \(GET",
                      gw.log())


@pytest.mark.parametrize("text", ["seconds=0", "seconds=0.1", "seconds=-1"])
def test_cancel_commits(own_example, text):
    gw = own_example("cancel.lua")
    response = gw.request(query(text))
    assert (response.status, response.text) == (200, "transferred\n")
    assert ends_of_transactions(gw) == ["committed"]


def test_cancel_rolls_back_after_a_timeout(own_example):
    gw = own_example("cancel.lua")
    response = gw.request(query("seconds=60"))
    assert (response.status, response.text) == (
        504, "not transferred: timeout\n")
    # It is rolled back when the answer is sent, not some time later.
    assert ends_of_transactions(gw) == ["rolled back: cancelled: timeout"]


def test_cancel_rolls_back_when_the_client_leaves(own_example):
    gw = own_example("cancel.lua")
    with gw.connect() as conn:
        conn.start(1, query("seconds=60"))
        gw.wait_log("transferring to Ada")
        conn.abort(1)
        conn.collect(1)
    gw.wait_log("rolled back: cancelled: abort")
    assert gw.request(query("seconds=0")).status == 200
    assert ends_of_transactions(gw) == ["rolled back: cancelled: abort",
                                        "committed"]


def test_cancel_rolls_back_after_an_error(own_example):
    gw = own_example("cancel.lua")
    assert gw.request(query("seconds=0&to=nobody")).status == 500
    rolled_back, = ends_of_transactions(gw)
    assert re.match(r"rolled back: .*: no such account$", rolled_back)
    gw.wait_log(r" error .*no such account \(GET")


# --- pipeline.lua ---------------------------------------------------------

def fetched(pages):
    return sorted(f"page {page} fetched" for page in pages)


# Counts how far the first channel of a request is ahead of the second, and
# which tasks are left.
WATCHED = """\
local fcgi = require "fcgi"
local sleep, channel, spawn = fcgi.sleep, fcgi.channel, fcgi.spawn
local ahead, most, alive = 0, 0, 0
function fcgi.sleep() sleep(0) end
function fcgi.channel(n)
  local inner, self = channel(n), {}
  function self:put(v) -- of pages: numbers
    assert(inner:put(v))
    if type(v) == "number" then
      ahead = ahead + 1
      most = math.max(most, ahead)
    end
    return true
  end
  function self:get()
    local v = inner:get()
    if type(v) == "string" then ahead = ahead - 1 end
    return v
  end
  function self:close() inner:close() end
  return setmetatable(self, { __close = self.close })
end
function fcgi.spawn(f, ...)
  return spawn(function(...)
    alive = alive + 1
    local _ <close> = setmetatable({}, { __close = function()
      alive = alive - 1
      fcgi.log("notice", alive, " left, at most ", most, " ahead")
    end })
    return f(...)
  end, ...)
end
"""


@pytest.mark.parametrize("text, count", [
    ("pages=1", 1), ("pages=25", 25), ("", 10), ("pages=x", 10),
    ("pages=0", 0), ("pages=-3", 0)])
def test_pipeline_fetches_each_page_once(example, text, count):
    response = example("pipeline.lua").request(query(text))
    assert response.status == 200
    assert sorted(response.text.splitlines()) == fetched(range(1, count + 1))


def test_pipeline_goes_on_without_a_worker_that_fails(own_example):
    gw = own_example("pipeline.lua")
    response = gw.request(query("pages=9&broken=4"))
    assert sorted(response.text.splitlines()) == [
        "a worker failed: page 4 cannot be read",
        *fetched({*range(1, 10)} - {4})]
    assert gw.stop() == 0
    assert " error " not in gw.log()


def test_pipeline_holds_a_few_pages_only(own_example):
    gw = own_example("pipeline.lua", "--eval", WATCHED)
    response = gw.request(query("pages=300"))
    assert len(response.text.splitlines()) == 300
    most = int(gw.wait_log(r" 0 left, at most (\d+) ahead").group(1))
    # In each channel 4, with each worker one, and one on its way out.
    assert 4 <= most <= 4 + 3 + 4 + 1


def test_pipeline_ends_its_tasks_when_the_client_leaves(own_example):
    gw = own_example("pipeline.lua", "--eval", WATCHED)
    with gw.connect(rcvbuf=4096) as conn:
        conn.start(1, query("pages=1000"))
        conn.wait_stdout(1)
        conn.abort(1)
        conn.collect(1)
    gw.wait_log(r" 0 left, ")
    assert len(gw.request(query("pages=3")).text.splitlines()) == 3


# --- cron.lua -------------------------------------------------------------

def test_cron_shows_what_the_job_has_left(own_example):
    gw = own_example("cron.lua", args=["0.05"])
    response = wait_until(
        lambda: (answer := gw.request()).status == 200 and answer)
    assert re.fullmatch(r"1 EUR is 1\.1\d\d USD \(round \d+\)\n",
                        response.text)


def test_cron_has_nothing_at_first(own_example):
    response = own_example("cron.lua", args=["3600"]).request()
    assert (response.status, response.text) == (503, "No rate yet.\n")
    assert response.headers["retry-after"] == "3600"


def test_cron_logs_a_failure_and_goes_on(own_example):
    gw = own_example("cron.lua", args=["0.05"])
    gw.wait_log(r"(?s)(the exchange does not answer.*){2}")
    wait_until(lambda: int(re.search(r"round (\d+)",
                                     gw.request().text).group(1)) >= 5)
    gw.wait_log("stack traceback:")


def test_cron_does_not_keep_the_gateway_from_ending(own_example):
    gw = own_example("cron.lua", args=["3600"])
    assert gw.stop() == 0
    assert " error " not in gw.log()


# --- iterator.lua ---------------------------------------------------------

ITEMS = (b"item: pen\nprice: 2\n\n\nitem: ink\r\nprice:7.5\r\n\r\n"
         b"item: nothing\n\nitem: desk\nprice: 100")


@pytest.mark.parametrize("cut", [1, 3, 65535])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\n\n\n"])
def test_iterator_finds_the_records(example, cut, end):
    response = example("iterator.lua").request(
        {"REQUEST_METHOD": "POST"}, ITEMS + end, cut=cut)
    assert response.text == "4 items, 109.50 in all\n"


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n\n\n"])
def test_iterator_finds_none_in_an_empty_body(example, body):
    assert example("iterator.lua").request({}, body).text == (
        "0 items, 0.00 in all\n")


def test_iterator_takes_a_body_of_any_size(own_example):
    gw = own_example("iterator.lua", lean=True)
    count = 5000
    record = b"item: " + b"pen " * 600 + b"\nprice: 0.5\n\n"
    gw.request({}, ITEMS)
    before = gw.rss()
    gw.reset_peak()
    response = gw.request({}, record * count)
    assert response.text == f"{count} items, {count / 2:.2f} in all\n"
    assert gw.peak_rss() - before < 8 * MIB < count * len(record)


def test_iterator_waits_for_each_piece_and_keeps_nobody_waiting(example):
    gw = example("iterator.lua")
    params = fastcgi.default_params({"REQUEST_METHOD": "POST",
                                     "CONTENT_LENGTH": None})
    with gw.connect() as conn:
        conn.begin()
        conn.params(1, params)
        for piece in (b"item: p", b"en\nprice: 3\n", b"\nitem: ink\n"):
            conn.stdin(1, piece, end=False)
            assert gw.request({}, ITEMS).text == "4 items, 109.50 in all\n"
        conn.stdin(1, b"price: 4\n")
        assert conn.collect(1).text == "2 items, 7.00 in all\n"


@pytest.mark.parametrize("body, line", [
    (b"item: pen\nprice\n\nitem: ink\n", "price"),
    (b"<item>", "<item>"),
    (b"a: b\n: c\n", ": c"),
    (b"item: " + b"x" * 100000, "(a line that is too long)"),
])
def test_iterator_refuses_what_is_no_record(example, body, line):
    response = example("iterator.lua").request({}, body)
    assert (response.status, response.text) == (400, f"no record: {line}\n")


# --- cgi.lua --------------------------------------------------------------

CGI_SHELL = """#!/bin/sh
printf 'Content-Type: text/plain\\nStatus: 201 Made\\nX-From: shell\\n\\n'
echo "$SCRIPT_NAME|$PATH_INFO|$QUERY_STRING|$REQUEST_METHOD|$GATEWAY_INTERFACE"
env | sort
pwd
echo "one problem" >&2
"""
# Sends the body back as it comes, in upper case.
CGI_PYTHON = """#!/usr/bin/python3
import os, sys
out = sys.stdout.buffer
out.write(b"Content-Type: text/x\\r\\n\\r\\n")
left = int(os.environ.get("CONTENT_LENGTH") or 0)
while left > 0:
    piece = os.read(0, min(left, 65536))
    if not piece:
        sys.exit("the body broke off")
    left -= len(piece)
    out.write(piece.upper())
    out.flush()
"""
CGI_ENDLESS = """#!/bin/sh
echo "Content-Type: text/plain"
echo
echo $$ >&2
sleep 1000 &
echo $! >&2
exec cat /dev/zero
"""


@pytest.fixture(scope="module")
def cgi_folder():
    with tempfile.TemporaryDirectory(prefix="fcgi-lua-cgi-") as name:
        folder = pathlib.Path(name)
        for name, text in (("env.sh", CGI_SHELL), ("upper", CGI_PYTHON),
                           ("endless", CGI_ENDLESS), ("silent", "#!/bin/sh"),
                           ("no-program", "echo"), (".hidden", CGI_SHELL)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        (folder / "secret").write_text(CGI_SHELL)
        (folder / "folder").mkdir()
        yield folder


@pytest.fixture
def cgi(own_example, cgi_folder):
    return own_example("cgi.lua", args=[cgi_folder])


def cgi_params(path, **more):
    return {"SCRIPT_NAME": path, **more}


def test_cgi_gives_a_program_what_it_expects(cgi, cgi_folder):
    response = cgi.request(cgi_params(
        "/cgi-bin/env.sh/more/path", QUERY_STRING="a=1", HTTP_ACCEPT="x/y",
        HTTP_PROXY="http://evil", Http_Proxy="http://evil"))
    assert response.status == 201
    assert response.headers["x-from"] == "shell"
    first, *env, folder = response.text.splitlines()
    assert first == "/cgi-bin/env.sh|/more/path|a=1|GET|CGI/1.1"
    assert "HTTP_ACCEPT=x/y" in env
    assert not [line for line in env if "PROXY" in line.upper() or
                line.startswith(("HOME=", "ASAN_OPTIONS="))]
    assert folder == str(cgi_folder)
    cgi.wait_log(r" one problem \(GET")


@pytest.mark.parametrize("path,status", [
    ("/env.sh", 201), ("/env.sh/", 201), ("/cgi-bin/env.sh", 201),
    ("/", 404), ("/cgi-bin/", 404), ("/nothing", 404), ("/env.sh%00", 404),
    ("/../env.sh", 404), ("/./env.sh", 404), ("/.hidden", 404),
    ("/cgi-bin/../../env.sh", 404), ("//env.sh", 404), ("/env.sh x", 404),
    ("/folder/../env.sh", 500), ("/secret", 500), ("/no-program", 500),
    ("/silent", 500),
])
def test_cgi_runs_nothing_else(shared_gateway, cgi_folder, path, status):
    gw = shared_gateway(str(EXAMPLES / "cgi.lua"), args=[cgi_folder])
    assert gw.request(cgi_params(path)).status == status


def test_cgi_streams_large_bodies_both_ways(own_example, cgi_folder):
    gw = own_example("cgi.lua", args=[cgi_folder], lean=True)
    gw.request(cgi_params("/upper"), b"x")
    before = gw.rss()
    gw.reset_peak()
    body = b"0123456789abcdef" * (MIB * 2)
    response = gw.request(cgi_params("/upper"), body)
    assert response.headers["content-type"] == "text/x"
    assert response.body == body.upper()
    assert gw.peak_rss() - before < 16 * MIB


def test_cgi_sends_what_comes_as_it_comes(cgi):
    with cgi.connect() as conn:
        conn.begin()
        conn.params(1, fastcgi.default_params(
            cgi_params("/upper", CONTENT_LENGTH="6")))
        conn.stdin(1, b"abc", end=False)
        conn.wait_stdout(1, len(b"Content-Type: text/x\r\n\r\nABC"))
        conn.stdin(1, b"def")
        assert conn.collect(1).body == b"ABCDEF"


@pytest.mark.parametrize("reads", [True, False])
def test_cgi_ends_a_program_whose_client_leaves(cgi, reads):
    """Behind it, or in the middle of what it cannot send."""
    with cgi.connect(rcvbuf=4096) as conn:
        conn.start(1, cgi_params("/endless"))
        conn.wait_stdout(1, MIB if reads else 1)
        program, child = children(cgi.pid)[0], None
        child = wait_until(lambda: children(program), "its child")[0]
    wait_until(lambda: is_gone(program) and is_gone(child), "their end")
    assert cgi.request(cgi_params("/env.sh")).status == 201
    wait_until(lambda: not children(cgi.pid), "no children")


def test_cgi_ends_a_program_whose_body_breaks_off(cgi):
    with cgi.connect() as conn:
        conn.begin()
        conn.params(1, fastcgi.default_params(
            cgi_params("/upper", CONTENT_LENGTH="6")))
        conn.stdin(1, b"abc", end=False)
        conn.wait_stdout(1)
        program, = children(cgi.pid)
    wait_until(lambda: is_gone(program), "its end")
    assert "broke off" not in cgi.log()
