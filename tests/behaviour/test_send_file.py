"""req:send_file: a file as an answer, with conditions and ranges.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
from email.utils import formatdate

import pytest

from support.gateway import Gateway, run, wait_until

SCRIPT = """
local fcgi = require "fcgi"
local root = fcgi.args[1]
local cases = {}
function cases.open(req)
  local file = assert(io.open(root .. "/text.txt"))
  file:read(4)
  return req:send_file(file)
end
function cases.closed(req)
  local file = assert(io.open(root .. "/text.txt"))
  file:close()
  return req:send_file(file)
end
function cases.pipe(req)
  return req:send_file(assert(io.popen("echo x")))
end
function cases.written(req)
  local file = assert(io.open(root .. "/written", "w"))
  file:write(("x"):rep(100000))
  file:seek("set")
  return req:send_file(file)
end
function cases.bodiless(req)
  req:set_status(304)
  return req:send_file(root .. "/sparse")
end
function cases.type(req)
  return req:send_file(root .. "/text.txt", { type = "x/y", etag = "v1" })
end
function cases.bare(req)
  return req:send_file(root .. "/text.txt", { etag = false })
end
function cases.own(req)
  req:set_header("Content-Type", "a/b"):set_header("ETag", '"mine"')
  return req:send_file(root .. "/text.txt")
end
function cases.page(req)
  req:set_status(404)
  return req:send_file(root .. "/text.txt")
end
function cases.twice(req)
  req:send_file(root .. "/text.txt")
  fcgi.log("notice", "again: ", req:send_file(root .. "/text.txt"))
  return true
end
function cases.misuse(req)
  local found = {}
  for _, f in ipairs {
    function() req:send_file(1) end,
    function() req:send_file("x", 1) end,
    function() req:send_file("x", { root = 1 }) end,
    function() req:send_file("x", { etag = 'a"b' }) end,
    function() req:send_file("x", { etags = false }) end,
    function() req.send_file("x") end,
  } do
    found[#found + 1] = select(2, pcall(f))
  end
  return true, req:send(200, {}, table.concat(found, "\\n"))
end
function cases.growing(req)
  local path = root .. "/shrinks"
  local file = io.open(path, "w")
  file:write(("x"):rep(1000000))
  file:close()
  fcgi.spawn(function() io.open(path, "w"):close() end)
  return req:send_file(path)
end
function on_request(req)
  local name = req:query("case")
  local done, err
  if name then
    done, err = cases[name](req)
  else
    done, err = req:send_file(req:path(), { root = root })
  end
  if done == nil then return 404, {}, err end
end
return { on_request = on_request, abort = "cancel" }
"""
TEXT = b"The quick brown fox jumps over the lazy dog.\n"


class Site:
    def __init__(self, folder):
        self.folder = folder
        (folder / "text.txt").write_bytes(TEXT)
        (folder / "empty").write_bytes(b"")
        (folder / "page.HTML").write_bytes(b"<p>")
        (folder / "sub").mkdir()
        (folder / "sub" / "a b.css").write_bytes(b"p{}")
        (folder / "out").symlink_to("/etc/passwd")
        (folder / "up").symlink_to("..")
        (folder / "in").symlink_to("text.txt")
        os.mkfifo(folder / "fifo")
        self.big = os.urandom(1 << 16) * 48  # 3 MiB
        (folder / "big").write_bytes(self.big)
        os.utime(folder / "text.txt", (1_000_000_000, 1_000_000_000))

    def get(self, target="/text.txt", method="GET", **headers):
        path, _, query = target.partition("?")
        params = {"REQUEST_METHOD": method, "SCRIPT_NAME": "",
                  "PATH_INFO": path, "QUERY_STRING": query}
        for name, value in headers.items():
            params["HTTP_" + name.upper()] = value
        return self.gw.request(params)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files") / "root"
    folder.mkdir()
    site = Site(folder)
    with Gateway(SCRIPT, args=[folder]) as site.gw:
        yield site


def header(answer, name):
    return answer.headers.get(name)


def test_a_file_with_all_that_belongs_to_it(site):
    answer = site.get()
    assert (answer.status, answer.body) == (200, TEXT)
    assert header(answer, "content-length") == str(len(TEXT))
    assert header(answer, "content-type") == "text/plain; charset=utf-8"
    assert header(answer, "accept-ranges") == "bytes"
    assert header(answer, "last-modified") == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert re.fullmatch(r'"[\x21\x23-\x7e]+"', header(answer, "etag"))


@pytest.mark.parametrize("path, type_", [
    ("/page.HTML", "text/html; charset=utf-8"),
    ("/sub/a b.css", "text/css; charset=utf-8"),
    ("/empty", "application/octet-stream"),
    ("/big", "application/octet-stream")])
def test_the_type_follows_the_name(site, path, type_):
    answer = site.get(path)
    assert answer.status == 200
    assert header(answer, "content-type") == type_


def test_head_has_the_same_head_and_no_body(site):
    got, head = site.get("/big"), site.get("/big", "HEAD")
    assert head.headers == got.headers and head.body == b""


def test_an_empty_file_is_an_answer(site):
    answer = site.get("/empty", range="bytes=0-")
    assert answer.status == 416
    assert header(answer, "content-range") == "bytes */0"
    answer = site.get("/empty")
    assert (answer.status, answer.body) == (200, b"")
    assert header(answer, "content-length") == "0"


@pytest.mark.parametrize("path", [
    "/none", "/sub", "/", "/sub/../../root/text.txt", "/../root/text.txt",
    "/out", "/up/root/text.txt", "/fifo", "/text.txt/", "/text.txt/x",
    "/text.txt\0", "/proc/self/fd/0", pytest.param("/" + "x" * 5000, id="x"),
    pytest.param("/" + "x/" * 2500, id="x/")])
def test_what_is_no_file_in_the_root_is_not_found(site, path):
    answer = site.get(path)
    assert (answer.status, answer.body) == (404, b"not found")


def test_ways_within_the_root_are_free(site):
    assert site.get("/in").body == TEXT
    assert site.get("/sub/../text.txt").body == TEXT
    assert site.get("//text.txt").body == TEXT


def test_what_may_not_be_read_is_told(site):
    if os.geteuid() == 0:
        path = "/secret"
        (site.folder / "secret").write_bytes(b"x")
        (site.folder / "secret").chmod(0)
        assert site.get(path).status == 200  # root may
        (site.folder / "secret").unlink()
    else:
        (site.folder / "secret").write_bytes(b"x")
        (site.folder / "secret").chmod(0)
        assert site.get("/secret").body == b"Permission denied"


# --- ranges

@pytest.mark.parametrize("asked, first, last", [
    ("bytes=0-3", 0, 3), ("bytes=4-", 4, 44), ("bytes=-5", 40, 44),
    ("bytes=-1000", 0, 44), ("bytes=40-1000", 40, 44), ("bytes=0-0", 0, 0),
    ("Bytes = 44-44 ", 44, 44), ("bytes=44-99999999999999999999999", 44, 44)])
def test_a_range_is_sent(site, asked, first, last):
    answer = site.get(range=asked)
    assert answer.status == 206
    assert answer.body == TEXT[first:last + 1]
    assert header(answer, "content-range") == f"bytes {first}-{last}/45"
    assert header(answer, "content-length") == str(last - first + 1)


@pytest.mark.parametrize("asked", ["bytes=45-", "bytes=45-50", "bytes=-0",
                                   "bytes=99999999999999999999999-"])
def test_a_range_behind_the_end_is_416(site, asked):
    answer = site.get(range=asked)
    assert (answer.status, answer.body) == (416, b"")
    assert header(answer, "content-range") == "bytes */45"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=5-4", "bytes=-",
                                   "bytes=a-b", "lines=0-1", "bytes", "",
                                   "bytes=1-2-3", "bytes=--1", "bytes=0x0-1",
                                   pytest.param("bytes=" + "0-0," * 5000,
                                                id="many"),
                                   pytest.param("bytes=" + " " * 60000 + "x",
                                                id="blanks")])
def test_other_ranges_are_the_whole(site, asked):
    answer = site.get(range=asked)
    assert (answer.status, answer.body) == (200, TEXT)
    assert header(answer, "content-range") is None


def test_a_range_may_ask_for_a_version(site):
    etag = header(site.get(), "etag")
    date = header(site.get(), "last-modified")
    assert site.get(range="bytes=0-3", if_range=etag).status == 206
    assert site.get(range="bytes=0-3", if_range=date).status == 206
    assert site.get(range="bytes=0-3", if_range='"other"').status == 200
    assert site.get(range="bytes=0-3", if_range="W/" + etag).status == 200
    assert site.get(range="bytes=0-3",
                    if_range=formatdate(0, usegmt=True)).status == 200


def test_ranges_are_for_get(site):
    assert site.get(method="HEAD", range="bytes=0-3").status == 200
    assert site.get(method="POST", range="bytes=0-3").status == 200


# --- conditions

def test_what_the_client_has_is_not_sent(site):
    etag = header(site.get(), "etag")
    for condition in (etag, f'"x", {etag}', "*", "W/" + etag):
        answer = site.get(if_none_match=condition)
        assert (answer.status, answer.body) == (304, b"")
        assert header(answer, "etag") == etag
        assert header(answer, "content-type") is None
    answer = site.get(if_modified_since="Sun, 09 Sep 2001 01:46:40 GMT")
    assert answer.status == 304


@pytest.mark.parametrize("headers", [
    {"if_none_match": '"x"'}, {"if_none_match": "x"}, {"if_none_match": ""},
    {"if_modified_since": "Sun, 09 Sep 2001 01:46:39 GMT"},
    {"if_modified_since": "yesterday"}, {"if_modified_since": ""},
    {"if_modified_since": "Sun, 99 Xxx 2001 01:46:39 GMT"},
    {"if_match": "*"},
    {"if_unmodified_since": "Sun, 09 Sep 2001 01:46:40 GMT"},
    {"if_unmodified_since": "later"},
    # the tag decides
    {"if_none_match": '"x"',
     "if_modified_since": "Sun, 09 Sep 2001 01:46:40 GMT"}])
def test_else_it_is(site, headers):
    assert site.get(**headers).status == 200


@pytest.mark.parametrize("headers", [
    {"if_match": '"x"'}, {"if_match": ""},
    {"if_unmodified_since": "Sun, 09 Sep 2001 01:46:39 GMT"}])
def test_a_condition_that_does_not_hold_is_412(site, headers):
    answer = site.get(**headers)
    assert (answer.status, answer.body) == (412, b"")


# --- options and misuse

def test_options(site):
    answer = site.get("/?case=type")
    assert header(answer, "content-type") == "x/y"
    assert header(answer, "etag") == '"v1"'
    answer = site.get("/?case=bare")
    assert header(answer, "etag") is None
    answer = site.get("/?case=own")
    assert header(answer, "content-type") == "a/b"
    assert header(answer, "etag") == '"mine"'


def test_an_open_file_is_sent_from_where_it_stands(site):
    answer = site.get("/?case=open")
    assert answer.body == TEXT[4:]
    assert site.get("/?case=open", range="bytes=0-4").body == TEXT[4:9]


def test_a_status_that_was_set_stays(site):
    answer = site.get("/?case=page", range="bytes=0-3", if_none_match="*")
    assert (answer.status, answer.body) == (404, TEXT)


def test_a_pipe_is_no_file(site):
    assert site.get("/?case=pipe").body == b"not found"


def test_a_file_that_is_not_open_for_reading_is_said_to_be_so(site):
    answer = site.get("/?case=written")
    assert (answer.status, answer.body) == (404, b"not open for reading")


def test_the_answer_is_over_then(site):
    assert site.get("/?case=twice").body == TEXT
    site.gw.wait_log("again: nilfinished")


def test_misuse_names_the_line(site):
    lines = site.get("/?case=misuse").text.splitlines()
    for line in lines:
        assert re.match(r".*app\.lua:\d+: bad ", line), line
    assert [re.sub(r".*app\.lua:\d+: ", "", line) for line in lines] == [
        "bad argument #1 to 'send_file' (a path or an open file expected, "
        "got number)",
        "bad argument #2 to 'send_file' (table expected, got number)",
        "bad argument #2 to 'send_file' (root: string expected, got number)",
        "bad argument #2 to 'send_file' (etag: false, or a string without "
        "quotes, blanks and control bytes expected)",
        "bad argument #2 to 'send_file' (unknown option 'etags': type, etag "
        "or root)",
        "bad self (write req:send_file, with a colon)"]
    assert site.get("/?case=closed").status == 500


# --- sizes

def test_a_large_file_arrives(site):
    assert site.get("/big").body == site.big
    answer = site.get("/big", range="bytes=1000000-2999999")
    assert answer.body == site.big[1_000_000:3_000_000]


def test_a_sparse_file_beyond_4_gib_has_its_end(site):
    path = site.folder / "huge"
    with open(path, "wb") as file:
        file.seek(5 << 30)
        file.write(b"the end")
    answer = site.get("/huge", range="bytes=-7")
    assert (answer.status, answer.body) == (206, b"the end")
    assert header(answer, "content-range").endswith(f"/{(5 << 30) + 7}")
    path.unlink()


def test_a_status_without_body_sends_none_and_reads_none(site):
    """To read a tebibyte would take longer than anybody waits."""
    path = site.folder / "sparse"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    answer = site.get("/?case=bodiless")
    assert (answer.status, answer.body) == (304, b"")
    path.unlink()


def test_a_slow_reader_costs_no_memory(site):
    path = site.folder / "sparse"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    before = rss(site.gw.pid)
    with site.gw.connect(rcvbuf=4096) as conn:
        conn.start(1, {"REQUEST_METHOD": "GET", "PATH_INFO": "/sparse",
                       "SCRIPT_NAME": ""})
        conn.wait_stdout(1, 1 << 20)
        site.gw.barrier()
        assert rss(site.gw.pid) - before < 8 << 20
        assert site.get().body == TEXT  # nobody else waits
        fds = site.gw.fds()
    wait_until(lambda: site.gw.fds() < fds, "the file to be closed")
    path.unlink()


def rss(pid):
    text = pathlib.Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_file_that_becomes_shorter_breaks_the_answer_off(site):
    with site.gw.connect(rcvbuf=4096) as conn:
        conn.start(1, {"REQUEST_METHOD": "GET", "QUERY_STRING": "case=growing",
                       "SCRIPT_NAME": ""})
        answer = conn.collect(1)
    assert answer.app_status == 1
    assert len(answer.body) < 1_000_000
    assert b"send_file: short file" in answer.stderr


def test_nothing_stays_open(site):
    site.gw.barrier()
    before = site.gw.fds()
    for target in ("/text.txt", "/big", "/none", "/sub", "/fifo",
                   "/?case=open"):
        site.get(target)
    # Lua's own files wait for the collector.
    wait_until(lambda: site.get() and site.gw.fds() <= before + 1,
               "the files to be closed")


def test_without_openat2_links_do_not_lead_out_either(site, tmp_path):
    """As in sandboxes that know the call not: seccomp answers ENOSYS."""
    script = tmp_path / "app.lua"
    script.write_text(SCRIPT)
    wrap = ["python3", "-c", NO_OPENAT2]
    for path, body in (("/text.txt", TEXT.decode()), ("/in", TEXT.decode()),
                       ("/out", "not found"), ("/../root/text.txt",
                                               "not found")):
        done = run("-r", path, script, site.folder, wrap=wrap)
        assert done.out.endswith("\n\n" + body), done


# Installs a filter that answers openat2 with ENOSYS, then runs argv[1:].
NO_OPENAT2 = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def code(op, jt, jf, k): return struct.pack("HBBI", op, jt, jf, k)
program = (code(0x20, 0, 0, 0) + code(0x15, 0, 1, 437) +
           code(0x06, 0, 0, 0x00050000 | 38) + code(0x06, 0, 0, 0x7fff0000))
buffer = ctypes.create_string_buffer(program)
class Fprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
prog = Fprog(4, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(prog), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
