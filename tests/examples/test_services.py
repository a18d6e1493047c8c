"""The examples that talk to other servers, with these servers.

SPDX-License-Identifier: MIT
"""
import hashlib
import random
import re
import select
import socket
import threading
import time

import pytest

from support import backends, fastcgi
from support.gateway import wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def nginx():
    server = backends.Nginx("location /moved { return 302 /page; }", tls=True)
    (server.www / "page").write_text("A page.\n")
    (server.www / "big").write_bytes(bytes(range(256)) * (16 * MIB // 256))
    with server:
        yield server


# --- proxy.lua ------------------------------------------------------------

def test_proxy_hands_pages_on(own_example, nginx):
    gw = own_example("proxy.lua", args=[nginx.address])
    response = gw.request({"REQUEST_URI": "/page"})
    assert (response.status, response.text) == (200, "A page.\n")
    assert response.headers["content-length"] == "8"
    assert response.headers["server"].startswith("nginx")
    assert "connection" not in response.headers
    assert gw.request({"REQUEST_URI": "/none"}).status == 404
    head = gw.request({"REQUEST_URI": "/page", "REQUEST_METHOD": "HEAD"})
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == "8"
    part = gw.request({"REQUEST_URI": "/page", "HTTP_RANGE": "bytes=2-5"})
    assert (part.status, part.text) == (206, "page")
    assert gw.request({"REQUEST_URI": "/big"}).body == (
        nginx.www / "big").read_bytes()


def test_proxy_without_a_server(own_example):
    gw = own_example("proxy.lua", args=["127.0.0.1:1"])
    response = gw.request()
    assert (response.status, response.text) == (502, "connection refused\n")


class Upstream:
    """A web server that does what a function does with its one connection."""

    def __init__(self, serve):
        self.server = socket.create_server(("127.0.0.1", 0))
        # Little room between it and the proxy.
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        self.error = None
        self.thread = threading.Thread(target=self.run, args=[serve])
        self.thread.start()

    def run(self, serve):
        try:
            sock, _ = self.server.accept()
            with sock:
                sock.settimeout(30)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += sock.recv(65536)
                head, _, body = head.partition(b"\r\n\r\n")
                serve(sock, head.decode(), body)
        except BaseException as error:
            self.error = error

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.server.shutdown(socket.SHUT_RDWR)  # accept, too
        self.thread.join()
        self.server.close()
        if kind is None and self.error:
            raise self.error


def test_proxy_streams_both_ways_at_once(own_example):
    """What is uploaded comes back while more is still to be sent."""
    def echo(sock, head, body):
        assert head.startswith("POST /echo HTTP/1.0\r\n")
        assert "x-forwarded-for: 127.0.0.1" in head.lower()
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        left = int(re.search(r"content-length: (\d+)", head.lower()).group(1))
        while left > 0:
            sock.sendall(body)
            left -= len(body)
            body = left and sock.recv(65536)

    with Upstream(echo) as upstream:
        gw = own_example("proxy.lua", args=[upstream.address])
        with gw.connect() as conn:
            conn.begin()
            conn.params(1, {"REQUEST_METHOD": "POST", "REQUEST_URI": "/echo",
                            "CONTENT_LENGTH": "30",
                            "REMOTE_ADDR": "127.0.0.1"})
            for number in range(3):
                conn.stdin(1, b"%9d\n" % number, end=False)
                while b"%9d\n" % number not in conn.begun[1].raw:
                    conn.step()
            conn.stdin(1)
            assert conn.collect(1).text == "        0\n        1\n        2\n"


def test_proxy_goes_no_faster_than_the_client(own_example):
    size, sent = 32 * MIB, [0]

    def flood(sock, head, body):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = bytes(MIB)
        while sent[0] < size:
            sock.sendall(piece)
            sent[0] += MIB

    def stands_still():
        before = sent[0]
        time.sleep(0.2)
        return sent[0] == before

    with Upstream(flood) as upstream:
        gw = own_example("proxy.lua", args=[upstream.address], lean=True)
        before = gw.rss()
        with gw.connect(rcvbuf=4096) as conn:
            conn.start(1)
            conn.wait_stdout(1)
            wait_until(stands_still, "the server to wait")
            assert sent[0] < size / 2
            assert gw.peak_rss() - before < 16 * MIB
            assert len(conn.collect(1, 60).body) == size
        assert gw.peak_rss() - before < 16 * MIB


def test_proxy_goes_no_faster_than_the_server(own_example):
    size, go = 32 * MIB, threading.Event()

    def sip(sock, head, body):
        go.wait(30)
        digest, left = hashlib.sha256(body), size - len(body)
        while left > 0:
            piece = sock.recv(MIB)
            digest.update(piece)
            left -= len(piece)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" +
                     digest.hexdigest().encode())

    with Upstream(sip) as upstream:
        gw = own_example("proxy.lua", args=[upstream.address], lean=True)
        before, body = gw.rss(), random.randbytes(size)
        with gw.connect() as conn:
            conn.begin()
            conn.params(1, {"REQUEST_METHOD": "POST", "REQUEST_URI": "/",
                            "CONTENT_LENGTH": str(size)})
            records = fastcgi.stream(fastcgi.STDIN, 1, body)
            left = memoryview(records)
            while select.select([], [conn.sock], [], 0.2)[1]:
                left = left[conn.send_until_full(left):]
            # What is between them are buffers of sockets, of some MiB.
            assert len(left) > size / 2
            go.set()
            conn.send_raw(left)
            response = conn.collect(1, 60)
        assert response.text == hashlib.sha256(body).hexdigest()
        assert gw.peak_rss() - before < 16 * MIB
