"""--status-listen: the status page on a socket of its own, in FastCGI or HTTP,
answered by the main process whatever its workers do.

SPDX-License-Identifier: MIT
"""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess

import pytest

from support import fastcgi
from support.gateway import (DEADLINE, Gateway, free_port, run, wait_until)

SCRIPT = """
local fcgi = require "fcgi"
function on_request(req)
  local path = req:path()
  if path == "/spin" then while true do end end
  if path == "/sleep" then fcgi.sleep(300) end
  return 200, {}, ("%d %d %d"):format(fcgi.worker.id, fcgi.worker.pid,
    fcgi.worker.generation)
end
return { on_request = on_request, abort = "cancel" }
"""
BOTH = pytest.mark.parametrize("options", [(), ("-w", "2")],
                               ids=["alone", "workers"])


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket, or to (host, port)."""

    def __init__(self, address):
        super().__init__("localhost", timeout=DEADLINE)
        self.address = address

    def connect(self):
        self.sock = fastcgi.connect(self.address, DEADLINE)

    def ask(self, target="/", method="GET", **headers):
        self.request(method, target, headers=headers)
        answer = self.getresponse()
        answer.text = answer.read().decode()
        return answer


class Scraper:
    """What a test of it needs: a gateway with a status socket."""

    def __init__(self, gw, address):
        self.gw, self.address = gw, address

    def http(self):
        return contextlib.closing(Unix(self.address))

    def get(self, target="/", **headers):
        with self.http() as client:
            return client.ask(target, **headers)

    def json(self, query="json"):
        answer = self.get("/?" + query)
        assert answer.status == 200
        return json.loads(answer.text)

    def raw(self):
        return fastcgi.connect(self.address, DEADLINE)


@pytest.fixture
def listening(tmp_path):
    """listening(*options) -> a Scraper, on a unix socket."""
    with contextlib.ExitStack() as stack:
        def start(*options, script=SCRIPT, status=None, **args):
            path = str(tmp_path / "status")
            address = f"unix:{path}" if status is None else status
            gw = stack.enter_context(Gateway(
                script, f"--status-listen={address}", *options, **args))
            return Scraper(gw, path if status is None else None)
        yield start


def receive(sock):
    """All until the peer's end."""
    data = b""
    while True:
        part = sock.recv(65536)
        if not part:
            return data
        data += part


def say(scraper, text):
    """What is answered to these bytes, by who closes then."""
    with scraper.raw() as sock:
        sock.sendall(text)
        return receive(sock)


def pids_of(scraper):
    return [process["pid"]
            for process in scraper.json("json&full")["processes"]]


def serves(gw, number):
    gw.wait_log(f"generation {number} serves")


# --- both protocols -----------------------------------------------------------

@BOTH
def test_http_and_fastcgi_on_one_address(listening, options):
    scraper = listening(*options)
    scraper.gw.request()
    answer = scraper.get("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert int(answer.headers["Content-Length"]) == len(answer.text)
    assert answer.text.startswith("pool:                 app.lua\n")
    with fastcgi.Connection(scraper.address) as conn:
        response = conn.request(1, {"SCRIPT_NAME": "/status"})
        response.check_complete()
        assert response.text.startswith("pool:                 app.lua\n")
        again = conn.request(2, {"SCRIPT_NAME": "/", "QUERY_STRING": "json"})
        assert json.loads(again.text)["pool"] == "app.lua"


@BOTH
def test_requests_are_counted_without_status(listening, options):
    scraper = listening(*options)
    for _ in range(7):
        scraper.gw.request()
    wait_until(lambda: scraper.json()["requests"] == 7, "seven requests")
    assert scraper.json()["status requests"] == 0


def test_the_paths(listening):
    scraper = listening("--status=/fpm/status", "--ping=/fpm/ping")
    for path in "/", "/status", "/fpm/status":
        assert scraper.get(path).text.startswith("pool:"), path
        assert "pool" in json.loads(scraper.get(path + "?json").text)
    for path in "/ping", "/fpm/ping":
        assert scraper.get(path).text == "pong"
    assert scraper.get("/metrics").text.endswith("# EOF\n")
    for path in "/nothing", "/status/", "/metrics/x", "//":
        answer = scraper.get(path)
        assert answer.status == 404 and "/metrics" in answer.text


def test_the_accept_header_chooses_where_the_query_does_not(listening):
    scraper = listening()
    prometheus = ("application/openmetrics-text;version=1.0.0;q=0.5,"
                  "application/openmetrics-text;version=0.0.1;q=0.4,"
                  "text/plain;version=0.0.4;q=0.3,*/*;q=0.1")
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for accept, type in [(prometheus, "application/openmetrics-text"),
                         (browser, "text/html"),
                         ("application/json", "application/json"),
                         ("*/*", "text/plain")]:
        answer = scraper.get("/", Accept=accept)
        assert answer.headers["Content-Type"].startswith(type)
        answer = scraper.get("/?json", Accept=accept)
        assert answer.headers["Content-Type"] == "application/json"
        answer = scraper.get("/metrics", Accept=accept)
        assert answer.headers["Content-Type"].startswith(
            "application/openmetrics-text; version=1.0.0")


def test_curl(listening):
    scraper = listening()

    def curl(*args):
        return subprocess.run(
            ["curl", "-sS", "--unix-socket", scraper.address, *args],
            capture_output=True, text=True, timeout=DEADLINE, check=True)
    # On one connection: the second reuses it.
    done = curl("-v", "http://localhost/ping", "http://localhost/metrics")
    assert done.stdout.startswith("pong# TYPE ")
    assert re.search("Re-using existing connection", done.stderr)
    head = curl("-I", "http://localhost/?json").stdout
    assert head.startswith("HTTP/1.1 200 OK")
    assert re.search(r"^Content-Length: [1-9]", head, re.M)
    assert head.endswith("\n\n")
    assert "HTTP/1.1 200" in curl("-0", "-i", "http://localhost/ping").stdout
    assert "pong" in curl("--http2", "http://localhost/ping").stdout
    post = curl("-i", "-d", "a=b", "http://localhost/").stdout
    assert "HTTP/1.1 405 " in post and "Allow: GET, HEAD" in post


def test_full_tells_of_running_requests(listening):
    scraper = listening("-w", "2")
    with scraper.gw.connect() as conn:
        conn.start(1, {"SCRIPT_NAME": "/sleep", "REQUEST_URI": "/sleep?x"})

        def shown():
            running = scraper.json("json&full")["running"]
            return [r["request uri"] for r in running] == ["/sleep?x"]
        wait_until(shown, "the request")
        conn.abort(1)
        conn.collect(1)


# --- HTTP as it must be ---------------------------------------------------------

def test_connections_are_kept_and_pipelined(listening):
    scraper = listening()
    one = b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n"
    last = b"GET /ping HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    text = say(scraper, one * 20 + last)
    assert text.count(b"HTTP/1.1 200 OK\r\n") == 21
    assert text.count(b"\r\n\r\npong") == 21
    assert text.count(b"Connection: close\r\n") == 1
    # Those behind one that waits for the workers, in their order.
    text = say(scraper, b"GET /?full HTTP/1.1\r\nHost: h\r\n\r\n" + one + last)
    assert text.index(b"pool:") < text.index(b"pong")
    assert text.count(b"\r\n\r\npong") == 2


@pytest.mark.parametrize("text, status", [
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\nbad\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    (b"GET /" + b"a" * 70000, 414),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 70000, 431),
    (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 300 + b"\r\n", 431),
    (b"hello\r\n", 501),
])
def test_refusals(listening, text, status):
    scraper = listening()
    answer = say(scraper, text)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"Connection: close\r\n" in answer
    assert scraper.get("/ping").text == "pong"


@pytest.mark.parametrize("text", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00", b"\x02" * 100,
    b"\xff" * 1000, b"{}", b"\x01\x01\x00\x00\x00\x00\x00\x00",
    b"\x01\x05\x00\x01\x00\x00\x00\x00" + b"\x02" * 8], ids=repr)
def test_what_is_neither_is_cut_off(listening, text):
    scraper = listening()
    with contextlib.suppress(ConnectionResetError):
        assert say(scraper, text) == b""
    assert scraper.get("/ping").text == "pong"


# --- nobody is hurt -------------------------------------------------------------

def test_who_is_silent_keeps_nobody_out(listening):
    """A crowd that says nothing, half of a head, or does not read."""
    scraper = listening("-w", "2")
    with contextlib.ExitStack() as crowd:
        for i in range(120):
            sock = crowd.enter_context(scraper.raw())
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall([b"", b"GET / HT", b"\x01\x01\x00",
                              b"GET /?full HTTP/1.1\r\nHost: h\r\n\r\n"][i % 4])
        for _ in range(5):
            assert scraper.get("/ping").text == "pong"
        assert scraper.gw.request().status == 200
        assert len(os.listdir(f"/proc/{scraper.gw.pid}/fd")) < 80


def test_reading_late_costs_little(listening):
    """Answers are not made for who does not take them."""
    scraper = listening()
    one = b"GET /?json HTTP/1.1\r\nHost: h\r\n\r\n"
    with scraper.raw() as sock:
        sock.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 64 << 20:
                sent += sock.send(one * 500)
        assert sent < 64 << 20
        assert scraper.get("/ping").text == "pong"


# --- whatever happens to workers --------------------------------------------------

def test_it_answers_while_every_worker_is_stopped(listening):
    scraper = listening("-w", "2")
    wait_until(lambda: len(pids_of(scraper)) == 2, "both workers")
    pids = pids_of(scraper)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            status = scraper.json("json&full")
            assert [p["pid"] for p in status["processes"]] == pids
        assert scraper.get("/metrics").text.endswith("# EOF\n")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert scraper.gw.request().status == 200


def test_it_answers_while_every_worker_computes(listening):
    scraper = listening("-w", "2", "--block-limit=0", "--grace=0.1")
    pids = pids_of(scraper)
    with contextlib.ExitStack() as stack:
        def blocked():
            conn = stack.enter_context(scraper.gw.connect())
            conn.start(1, {"SCRIPT_NAME": "/spin"})
            return [p["state"] for p in
                    scraper.json("json&full")["processes"]] == ["Blocked"] * 2
        wait_until(blocked, "two loops that stand still")
        html = scraper.get("/?html&full")
        assert html.status == 200
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_it_answers_while_there_is_no_worker(listening):
    """One that dies at once is started ever again; the page is there."""
    script = """
function on_worker()
  local f = io.open(DIE)
  if f then f:close() os.exit(3) end
end
""" + SCRIPT.replace("return {", "return { on_worker = on_worker,")
    scraper = listening("-w", "2", script="DIE = arg[1]\n" + script,
                        args=("/nonexistent/die",))
    gw = scraper.gw
    die = gw.folder / "die"
    gw.script.write_text(f"DIE = {str(die)!r}\n" + script)
    gw.signal(signal.SIGHUP)
    serves(gw, 2)
    die.write_text("")
    with scraper.http() as client:
        for pid in pids_of(scraper):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: json.loads(client.ask("/?json").text)
                   ["total processes"] == 0, "no worker")
        gw.wait_log("ended with 3")
        assert client.ask("/ping").text == "pong"
        die.unlink()
        wait_until(lambda: json.loads(client.ask("/?json").text)
                   ["total processes"] == 2, "two workers")
    assert gw.request().status == 200


@BOTH
def test_a_scraper_stays_through_reloads_and_kills(listening, options):
    scraper = listening(*options)
    gw = scraper.gw
    with scraper.http() as client:
        client.ask("/ping")
        sock = client.sock
        for generation in range(2, 5):
            gw.signal(signal.SIGHUP)
            wait_until(lambda: json.loads(client.ask("/?json").text)
                       ["generation"] == generation, f"gen {generation}")
        if options:
            gone = pids_of(scraper)
            os.kill(gone[0], signal.SIGKILL)
            wait_until(lambda: len(set(pids_of(scraper)) - {gone[0]}) == 2,
                       "another worker")
            ends = json.loads(client.ask("/?json").text)
            assert ends["workers ended (killed)"] == 1
        assert client.sock is sock
    assert scraper.get("/ping").text == "pong"


@BOTH
def test_it_goes_on_after_an_upgrade(listening, options):
    scraper = listening(*options)
    gw = scraper.gw
    with gw.connect() as conn:
        conn.start(1, {"SCRIPT_NAME": "/sleep"})
        wait_until(lambda: scraper.json()["active requests"] == 1, "it")
        before = os.stat(scraper.address)
        gw.signal(signal.SIGUSR2)
        wait_until(lambda: scraper.json()["generation"] == 2, "generation 2")
        assert os.stat(scraper.address).st_ino == before.st_ino
    assert gw.request().text.endswith(" 2")
    gw.stop()
    assert not os.path.exists(scraper.address)


def test_workers_do_not_hold_it(listening):
    """Neither the socket nor its connections are in another process."""
    scraper = listening("-w", "2")
    with scraper.http() as client:
        client.ask("/ping")
        scraper.gw.signal(signal.SIGHUP) # forks while it is connected
        serves(scraper.gw, 2)
        inode = re.search(r" (\d+) " + re.escape(scraper.address) + "$",
                          open("/proc/net/unix").read(), re.M)
        for pid in pids_of(scraper):
            fds = [os.readlink(f"/proc/{pid}/fd/{fd}")
                   for fd in os.listdir(f"/proc/{pid}/fd")]
            assert f"socket:[{inode[1]}]" not in fds
    scraper.gw.stop()
    assert not os.path.exists(scraper.address)


@BOTH
def test_it_answers_while_the_service_stops(listening, options):
    scraper = listening(*options, "--grace=300")
    with scraper.gw.connect() as conn:
        conn.start(1, {"SCRIPT_NAME": "/sleep"})
        wait_until(lambda: scraper.json()["active requests"] == 1, "it")
        scraper.gw.signal(signal.SIGTERM)
        scraper.gw.wait_log("stopping")
        assert scraper.json()["active requests"] == 1
    scraper.gw.wait()
    assert not os.path.exists(scraper.address)


# --- addresses --------------------------------------------------------------------

@BOTH
def test_tcp(listening, options):
    port = free_port()
    scraper = listening(*options, status=f"127.0.0.1:{port}")
    scraper.address = ("127.0.0.1", port)
    assert scraper.get("/ping").text == "pong"
    assert f"the status page is on 127.0.0.1:{port}" in scraper.gw.log()
    assert "whoever reaches" not in scraper.gw.log()


def test_another_than_a_loopback_address_is_noticed(listening):
    port = free_port()
    scraper = listening(status=f"0.0.0.0:{port}")
    scraper.gw.wait_log(r"0\.0\.0\.0:\d+: whoever reaches this port sees the "
                        "status page")


def test_several_addresses_and_the_mode_of_a_socket(listening, tmp_path):
    port = free_port()
    scraper = listening(f"--status-listen=127.0.0.1:{port}",
                        status=f"unix:{tmp_path}/s,mode=0600")
    for address in str(tmp_path / "s"), ("127.0.0.1", port):
        scraper.address = address
        assert scraper.get("/ping").text == "pong"
    assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == 0o600


def test_an_address_that_is_taken_is_an_error(tmp_path):
    script = tmp_path / "a.lua"
    script.write_text(SCRIPT)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(f"--listen=unix:{tmp_path}/a",
                   f"--status-listen=127.0.0.1:{port}", str(script))
    assert done.code == 69
    assert f"--status-listen: cannot listen on 127.0.0.1:{port}" in done.err
    done = run("--status-listen=nonsense", str(script))
    assert done.code == 64 and "--status-listen" in done.err


def test_a_changed_address_waits_for_a_restart(listening):
    scraper = listening()
    gw = scraper.gw
    gw.script.write_text(SCRIPT.replace(
        "return {", 'return { status_listen = "127.0.0.1:1",'))
    gw.signal(signal.SIGHUP)
    wait_until(lambda: scraper.json()["generation"] == 2, "generation 2")
    assert scraper.get("/ping").text == "pong"


def test_the_program_says_what_speaks_http():
    assert re.search(r", llhttp \d+\.\d+\.\d+\b", run("--version").out, re.M)


def test_reset_connections_are_forgotten(listening):
    scraper = listening("-w", "2")
    before = len(os.listdir(f"/proc/{scraper.gw.pid}/fd"))
    for i in range(50):
        sock = scraper.raw()
        with contextlib.suppress(BrokenPipeError):
            sock.sendall(b"GET /?full HTTP/1.1\r\nHost: h\r\n\r\n" * (i % 3))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
        sock.close()
    wait_until(lambda: len(os.listdir(f"/proc/{scraper.gw.pid}/fd")) <= before,
               "the end of all of them")
    assert scraper.get("/ping").text == "pong"
