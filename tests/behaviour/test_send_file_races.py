"""req:send_file of files that change, go, or are none, and of huge ones; by
FastCGI and by HTTP.

SPDX-License-Identifier: MIT
"""
import contextlib
import http.client
import os
import random
import socket
import subprocess
import sys
import threading

import pytest

from support import fastcgi
from support.gateway import DEADLINE, Gateway, free_port, is_asan, wait_until

SCRIPT = """
local fcgi = require "fcgi"
local root = fcgi.args[1]
function on_request(req)
  local done, err = req:send_file(req:path(), { root = root })
  if done == nil and err ~= "aborted" then return 404, {}, err end
end
return { on_request = on_request, abort = "cancel" }
"""
HUGE = (5 << 30) + 12345
WAYS = pytest.mark.parametrize("way", ["fastcgi", "http"])


class Site:
    def __init__(self, folder, gw, address):
        self.folder, self.gw, self.http = folder, gw, address

    def ask(self, way, path, method="GET", **headers):
        """(status, headers, body)"""
        if way == "fastcgi":
            params = {"REQUEST_METHOD": method, "SCRIPT_NAME": "",
                      "PATH_INFO": path}
            params |= {f"HTTP_{k.upper()}": v for k, v in headers.items()}
            answer = self.gw.request(params)
            return answer.status, answer.headers, answer.body
        client = http.client.HTTPConnection(*self.http, timeout=DEADLINE)
        with contextlib.closing(client):
            client.request(method, path, headers=headers)
            answer = client.getresponse()
            named = {k.lower(): v for k, v in answer.getheaders()}
            return answer.status, named, answer.read()

    @contextlib.contextmanager
    def slow(self, way, path):
        """Gives a function that reads the rest of a body, once some of it has
        come: the client then takes no more than that by itself."""
        if way == "fastcgi":
            with self.gw.connect(rcvbuf=4096) as conn:
                conn.start(1, {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "",
                               "PATH_INFO": path})
                conn.wait_stdout(1, 4096)
                self.gw.barrier()
                yield lambda: conn.collect(1).body
            return
        with contextlib.closing(socket.socket()) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(DEADLINE)
            sock.connect(self.http)
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            self.gw.barrier()
            yield answer.read


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("races") / "root"
    folder.mkdir()
    port = free_port()
    with Gateway(SCRIPT, f"--http=127.0.0.1:{port}", args=[folder],
                 lean=True) as gw:
        yield Site(folder, gw, ("127.0.0.1", port))


@pytest.fixture
def big(site):
    """A file of 4 MiB, and what is in it."""
    data = random.Random(1).randbytes(4 << 20)
    (site.folder / "big").write_bytes(data)
    return site.folder / "big", data


@WAYS
def test_a_file_that_is_removed_is_sent_to_its_end(site, big, way):
    path, data = big
    with site.slow(way, "/big") as rest:
        path.unlink()
        assert rest() == data
    assert site.ask(way, "/big")[0] == 404


@WAYS
def test_a_file_that_is_replaced_is_the_one_that_it_was(site, big, way):
    path, data = big
    with site.slow(way, "/big") as rest:
        (site.folder / "new").write_bytes(b"new")
        os.rename(site.folder / "new", path)
        assert rest() == data
    assert site.ask(way, "/big")[2] == b"new"


@WAYS
def test_of_a_file_that_grows_as_much_is_sent_as_was_said(site, big, way):
    path, data = big
    with site.slow(way, "/big") as rest:
        with open(path, "ab") as file:
            file.write(b"x" * 100_000)
        assert rest() == data
    assert len(site.ask(way, "/big")[2]) == len(data) + 100_000


@WAYS
def test_a_file_that_shrinks_breaks_off(site, big, way):
    """Whenever it does: what was said to come never looks complete, and what
    has come is of the file."""
    path, data = big
    for left in (0, 1 << 20, len(data) - 1):
        path.write_bytes(data)
        with site.slow(way, "/big") as rest:
            os.truncate(path, left)
            body = b""
            with contextlib.suppress(http.client.IncompleteRead,
                                     fastcgi.ProtocolError):
                body = rest()
        assert len(body) < len(data) and data.startswith(body)
        assert site.ask(way, "/big")[2] == data[:left]


@WAYS
def test_what_is_no_file_is_not_waited_for(site, way):
    os.mkfifo(site.folder / "fifo")
    (site.folder / "folder").mkdir()
    (site.folder / "loop").symlink_to("loop")
    (site.folder / "device").symlink_to("/dev/zero")
    (site.folder / "self").symlink_to("/proc/self/environ")
    (site.folder / "dots").symlink_to("../../../../../../etc/passwd")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(str(site.folder / "socket"))
        before = site.gw.fds()
        for name in ("fifo", "folder", "folder/", "loop", "device", "self",
                     "dots", "socket", "folder/../../x", "..", ".", "",
                     "a" * 300, "folder/" * 700, "big/x"):
            status, _, body = site.ask(way, "/" + name)
            assert (status, body) == (404, b"not found"), name
    wait_until(lambda: site.gw.fds() <= before, "all of them to be closed")
    for name in ("fifo", "loop", "device", "self", "dots", "socket"):
        (site.folder / name).unlink()
    (site.folder / "folder").rmdir()


def test_links_that_change_never_lead_out(site, tmp_path):
    """One that leads out for a moment, as whoever may write there can make
    it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"secret")
    (site.folder / "inside").mkdir()
    (site.folder / "inside" / "file").write_bytes(b"public")
    link, stop = site.folder / "link", threading.Event()

    def swap():
        targets = ["inside", str(tmp_path / "outside")]
        while not stop.is_set():
            for target in targets:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(site.folder / "next")
                os.symlink(target, site.folder / "next")
                os.rename(site.folder / "next", link)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        found = {site.ask("fastcgi", "/link/file")[2] for _ in range(500)}
    finally:
        stop.set()
        thread.join()
    assert found <= {b"public", b"not found"} and b"public" in found


RENAME = """
import os, sys
a, b = sys.argv[1:]
while True:
    os.rename(a, b)
    os.rename(b, a)
"""


def test_files_are_found_while_names_change_elsewhere(site, tmp_path):
    """The kernel is not sure then where ".." leads, and wants to be asked
    again."""
    (site.folder / "here").mkdir()
    (site.folder / "here" / "file").write_bytes(b"found")
    (tmp_path / "a").touch()
    path = "/" + "here/../" * 8 + "here/file"
    with subprocess.Popen([sys.executable, "-c", RENAME, tmp_path / "a",
                           tmp_path / "b"]) as renamer:
        try:
            wait_until((tmp_path / "b").exists, "the first rename")
            found = {site.ask("fastcgi", path)[2] for _ in range(1000)}
        finally:
            renamer.kill()
    assert found == {b"found"}


# --- huge ones

@pytest.fixture(scope="module")
def huge(site):
    """A sparse file of 5 GiB with marks in it."""
    path = site.folder / "huge"
    with open(path, "wb") as file:
        for at in (0, (1 << 31) - 4, (1 << 32) - 4, HUGE - 8):
            file.seek(at)
            file.write(b"%08x" % (at & 0xffffffff))
    yield path
    path.unlink()


@WAYS
@pytest.mark.parametrize("at", [0, (1 << 31) - 4, (1 << 32) - 4, HUGE - 8])
def test_a_range_of_a_huge_file(site, huge, way, at):
    mark = b"%08x" % (at & 0xffffffff)
    asked = f"bytes={at}-{at + 7}"
    status, headers, body = site.ask(way, "/huge", range=asked)
    assert (status, body) == (206, mark)
    assert headers["content-range"] == f"bytes {at}-{at + 7}/{HUGE}"


@WAYS
def test_the_far_end_of_a_huge_file(site, huge, way):
    size = 3 << 20
    with open(huge, "rb") as file:
        file.seek(HUGE - size)
        wanted = file.read()
    for asked in (f"bytes=-{size}", f"bytes={HUGE - size}-",
                  f"bytes={HUGE - size}-{1 << 62}"):
        status, headers, body = site.ask(way, "/huge", range=asked)
        assert (status, body) == (206, wanted)
        assert headers["content-length"] == str(size)
    status, headers, _ = site.ask(way, "/huge", range=f"bytes={HUGE}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{HUGE}")


@WAYS
def test_the_head_of_a_huge_file(site, huge, way):
    status, headers, body = site.ask(way, "/huge", method="HEAD")
    assert (status, headers["content-length"]) == (200, str(HUGE))
    assert body == b""


@WAYS
def test_who_leaves_in_the_middle_of_a_huge_file_leaves_nothing(site, huge, way):
    site.gw.barrier()
    before, memory = site.gw.fds(), site.gw.rss()
    for _ in range(10):
        with site.slow(way, "/huge"):
            pass
    wait_until(lambda: site.gw.fds() <= before, "the file to be closed")
    assert site.gw.rss() - memory < (16 if is_asan() else 4) << 20
