"""--http: what clients, and those who attack others through them, send.

Two who read one stream of bytes differently are how requests are smuggled: so
whatever RFC 9112 leaves no one way to read is refused, and nothing behind it is
served.

SPDX-License-Identifier: MIT
"""
import contextlib
import random
import re
import socket

import pytest

from support import fastcgi
from support.gateway import DEADLINE, Gateway, free_port, is_asan, wait_until

SCRIPT = """
local fcgi = require "fcgi"
local seen = {}
function on_request(req)
  if req:path() == "/seen" then
    local all = table.concat(seen, " ")
    seen = {}
    return 200, {}, all
  elseif req:path() == "/sleep" then
    fcgi.sleep(300)
  elseif req:path() == "/early" then
    return 200, {}, "unread"
  end
  local size, piece, err = 0, req:read(65536)
  while piece do
    size = size + #piece
    piece, err = req:read(65536)
  end
  if err then return end
  seen[#seen + 1] = req:uri()
  return 200, {}, ("%s %s %d"):format(req:method(), req:uri(), size)
end
return { on_request = on_request, abort = "cancel" }
"""
HOST = b"Host: h\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
EVIL = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def site():
    port = free_port()
    with Gateway(SCRIPT, f"--http=127.0.0.1:{port}", lean=True) as gw:
        gw.http = ("127.0.0.1", port)
        yield gw


@contextlib.contextmanager
def connection(site):
    with contextlib.closing(fastcgi.connect(site.http, DEADLINE)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def send(sock, data, cut=None):
    """False: the server had heard enough before that was all."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for at in range(0, len(data), cut or len(data) or 1):
            sock.sendall(data[at:at + cut] if cut else data)
        return True
    return False


def receive(sock):
    """All up to the end."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def answers(data):
    """(status, body) of each answer in a row of them."""
    found = []
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        assert mark and head.startswith(b"HTTP/1.1 "), head
        status, body = int(head[9:12]), b""
        size = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if size:
            body, data = data[:int(size[1])], data[int(size[1]):]
        elif re.search(rb"(?i)\r\ntransfer-encoding: chunked", head):
            while True:
                line, _, data = data.partition(b"\r\n")
                n = int(line, 16)
                body += data[:n]
                data = data[n + 2:]
                if n == 0:
                    break
        found.append((status, body.decode()))
    return found


def ask(site, data, cut=None):
    """What comes for data and a last request behind it."""
    with connection(site) as sock:
        send(sock, data + LAST, cut)
        return answers(receive(sock))


def seen(site):
    with connection(site) as sock:
        send(sock, LAST.replace(b"/last", b"/seen"))
        return answers(receive(sock))[0][1]


CUTS = pytest.mark.parametrize("cut", [None, 1], ids=["whole", "bytes"])


# --- what must be refused

def head(fields, line=b"POST /a HTTP/1.1"):
    return line + b"\r\n" + HOST + fields + b"\r\n"


REFUSED = {
    # two lengths
    "cl and te": head(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n")
    + b"0\r\n\r\n" + EVIL,
    "te and cl": head(b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n")
    + b"0\r\n\r\n" + EVIL,
    "cl twice": head(b"Content-Length: 0\r\nContent-Length: 35\r\n") + EVIL,
    "same cl twice": head(b"Content-Length: 0\r\nContent-Length: 0\r\n") + EVIL,
    "cl list": head(b"Content-Length: 0, 0\r\n") + EVIL,
    "cl plus": head(b"Content-Length: +0\r\n") + EVIL,
    "cl minus": head(b"Content-Length: -0\r\n") + EVIL,
    "cl hex": head(b"Content-Length: 0x0\r\n") + EVIL,
    "cl two numbers": head(b"Content-Length: 0 35\r\n") + EVIL,
    "cl underscore": head(b"Content-Length: 3_6\r\n") + EVIL,
    "cl fraction": head(b"Content-Length: 0.0\r\n") + EVIL,
    "cl empty": head(b"Content-Length: \r\n") + EVIL,
    "cl over 64 bits": head(b"Content-Length: 18446744073709551616\r\n") + EVIL,
    "cl over 63 bits": head(b"Content-Length: 9223372036854775808\r\n") + EVIL,
    # codings that are none, or not the last
    "te identity": head(b"Transfer-Encoding: identity\r\n") + EVIL,
    "te gzip": head(b"Transfer-Encoding: gzip\r\n") + EVIL,
    "te chunked gzip": head(b"Transfer-Encoding: chunked, gzip\r\n") + EVIL,
    "te gzip chunked": head(b"Transfer-Encoding: gzip, chunked\r\n")
    + b"0\r\n\r\n" + EVIL,
    "te chunked twice": head(b"Transfer-Encoding: chunked, chunked\r\n")
    + b"0\r\n\r\n" + EVIL,
    "te two fields": head(b"Transfer-Encoding: chunked\r\n"
                          b"Transfer-Encoding: identity\r\n") + EVIL,
    "te quoted": head(b'Transfer-Encoding: "chunked"\r\n') + EVIL,
    "te parameter": head(b"Transfer-Encoding: chunked;q=1\r\n") + EVIL,
    "te vertical tab": head(b"Transfer-Encoding: \x0bchunked\r\n") + EVIL,
    "te nul": head(b"Transfer-Encoding: chunked\0\r\n") + EVIL,
    "te empty": head(b"Transfer-Encoding:\r\n") + EVIL,
    "te xchunked": head(b"Transfer-Encoding: xchunked\r\n") + EVIL,
    "te in 1.0": head(b"Transfer-Encoding: chunked\r\n", b"POST /a HTTP/1.0")
    + b"0\r\n\r\n" + EVIL,
    # names
    "blank before colon": head(b"Transfer-Encoding : chunked\r\n") + EVIL,
    "tab before colon": head(b"Content-Length\t: 35\r\n") + EVIL,
    "blank in name": head(b"Content Length: 35\r\n") + EVIL,
    "nul in name": head(b"X\0Y: 1\r\n") + EVIL,
    "no name": head(b": 1\r\n") + EVIL,
    "no colon": head(b"Something\r\n") + EVIL,
    "name in utf-8": head("Xä: 1\r\n".encode()) + EVIL,
    "quote in name": head(b'"X": 1\r\n') + EVIL,
    "blank before first": b"GET /a HTTP/1.1\r\n X: 1\r\nHost: h\r\n\r\n" + EVIL,
    # lines
    "folded": head(b"X: 1\r\n folded\r\n") + EVIL,
    "folded te": head(b"Transfer-Encoding:\r\n chunked\r\n") + EVIL,
    "folded by tab": head(b"X: 1\r\n\tContent-Length: 35\r\n") + EVIL,
    "bare cr in value": head(b"X: 1\rContent-Length: 35\r\n") + EVIL,
    "bare cr at end": head(b"X: 1\r\r\n") + EVIL,
    "cr alone between": head(b"X: 1\r\n\rContent-Length: 35\r\n") + EVIL,
    "nul in value": head(b"X: 1\0\r\n") + EVIL,
    "control in value": head(b"X: \x07\r\n") + EVIL,
    "delete in value": head(b"X: \x7f\r\n") + EVIL,
    # hosts
    "no host": b"GET /a HTTP/1.1\r\n\r\n" + EVIL,
    "two hosts": head(b"Host: other\r\n") + EVIL,
    "host with path": b"GET /a HTTP/1.1\r\nHost: h/x\r\n\r\n" + EVIL,
    "host with user": b"GET /a HTTP/1.1\r\nHost: a@h\r\n\r\n" + EVIL,
    "host list": b"GET /a HTTP/1.1\r\nHost: h, other\r\n\r\n" + EVIL,
    # request lines
    "http/0.9": b"GET /a\r\n" + EVIL,
    "no target": b"GET HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "blank in target": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "tab in line": b"GET\t/a HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "nul in target": b"GET /a\0 HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "cr in target": b"GET /a\rb HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "utf-8 in target": "GET /ä HTTP/1.1\r\n".encode() + HOST + b"\r\n" + EVIL,
    "fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "coded nul": b"GET /a%00 HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "half a code": b"GET /a%4 HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "authority form": b"GET h:80 HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "star form": b"GET * HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "no slash": b"GET a/b HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "other scheme": b"GET ftp://h/a HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "user in target": b"GET http://u@h/a HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "no host in target": b"GET http:///a HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "tunnel": b"CONNECT h:80 HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "unknown method": b"BREW /a HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "method in lower case": b"get /a HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "version 1.10": b"GET /a HTTP/1.10\r\n" + HOST + b"\r\n" + EVIL,
    "version 1.2": b"GET /a HTTP/1.2\r\n" + HOST + b"\r\n" + EVIL,
    "version 2.0": b"GET /a HTTP/2.0\r\n" + HOST + b"\r\n" + EVIL,
    "version 01.1": b"GET /a HTTP/01.1\r\n" + HOST + b"\r\n" + EVIL,
    "version in lower case": b"GET /a http/1.1\r\n" + HOST + b"\r\n" + EVIL,
    "rtsp": b"GET /a RTSP/1.0\r\n" + HOST + b"\r\n" + EVIL,
    "ice": b"GET /a ICE/1.0\r\n" + HOST + b"\r\n" + EVIL,
    "ice source": b"SOURCE /a ICE/1.0\r\n" + HOST + b"\r\n" + EVIL,
    "rtsp describe": b"DESCRIBE /a RTSP/1.0\r\n" + HOST + b"\r\n" + EVIL,
    # other protocols
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0" + EVIL,
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200) + EVIL,
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n" + EVIL,
    "smtp": b"EHLO example.org\r\n" + EVIL,
    "zeros": bytes(64) + EVIL,
    "text": b"hello\r\n\r\n" + EVIL,
    # chunks
    "chunk size empty": CHUNKED + b"\r\n\r\n0\r\n\r\n" + EVIL,
    "chunk size blank": CHUNKED + b"\r\n 5\r\nabcde\r\n0\r\n\r\n" + EVIL,
    "chunk size plus": CHUNKED + b"\r\n+5\r\nabcde\r\n0\r\n\r\n" + EVIL,
    "chunk size minus": CHUNKED + b"\r\n-5\r\nabcde\r\n0\r\n\r\n" + EVIL,
    "chunk size 0x": CHUNKED + b"\r\n0x5\r\nabcde\r\n0\r\n\r\n" + EVIL,
    "chunk size underscore": CHUNKED + b"\r\n1_0\r\nabcde\r\n0\r\n\r\n" + EVIL,
    "chunk size over 64 bits": CHUNKED + b"\r\n10000000000000000\r\n" + EVIL,
    "chunk size all ones": CHUNKED + b"\r\nffffffffffffffffff\r\n" + EVIL,
    "chunk size ends with cr": CHUNKED + b"\r\n5\rabcde\r\n0\r\n\r\n" + EVIL,
    "chunk too long": CHUNKED + b"\r\n5\r\nabcdef\r\n0\r\n\r\n" + EVIL,
    "chunk too short": CHUNKED + b"\r\n5\r\nabcd\r\n0\r\n\r\n" + EVIL,
    "trailer without colon": CHUNKED + b"\r\n0\r\nabc\r\n\r\n" + EVIL,
    "trailer like a coding": CHUNKED + b"\r\n1\r\na\r\n0\r\n"
                             b"Transfer-Encoding: chunked\r\n\r\n" + EVIL,
    "trailer with nul": CHUNKED + b"\r\n0\r\nA: \0\r\n\r\n" + EVIL,
    # expectations
    "expects more": head(b"Expect: 200-ok\r\nContent-Length: 0\r\n") + EVIL,
}


@CUTS
@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(site, name, cut):
    found = ask(site, REFUSED[name], cut)
    assert found, "the connection was closed without a word"
    *served, (status, why) = found
    assert 400 <= status < 600 and status not in (500, 502, 503, 504), found
    assert why.startswith(str(status)) and "\n" in why
    assert served == []
    assert seen(site) == ""


# --- what has one meaning, however strange

SERVED = {
    "plain": (head(b"", b"GET /a HTTP/1.1"), ["GET /a 0"]),
    "empty lines before": (b"\r\n\r\n" + head(b"", b"GET /a HTTP/1.1"),
                           ["GET /a 0"]),
    "absolute form": (b"GET http://other/a?b HTTP/1.1\r\n" + HOST + b"\r\n",
                      ["GET /a?b 0"]),
    "absolute without path": (b"GET http://other?b HTTP/1.1\r\n" + HOST
                              + b"\r\n", ["GET /?b 0"]),
    "star": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", ["OPTIONS * 0"]),
    "empty host": (b"GET /a HTTP/1.1\r\nHost:\r\n\r\n", ["GET /a 0"]),
    "dots": (b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
             ["GET /../../etc/passwd 0"]),
    "slashes": (b"GET //evil.example/%2e%2e HTTP/1.1\r\n" + HOST + b"\r\n",
                ["GET //evil.example/%2e%2e 0"]),
    "length": (head(b"Content-Length: 5\r\n") + b"abcde", ["POST /a 5"]),
    "length with zeros": (head(b"Content-Length: 0005\r\n") + b"abcde",
                          ["POST /a 5"]),
    "get with a body": (head(b"Content-Length: 35\r\n", b"GET /a HTTP/1.1")
                        + EVIL, ["GET /a 35"]),
    "a body like a request": (head(b"Content-Length: 35\r\n") + EVIL,
                              ["POST /a 35"]),
    "chunked in any case": (head(b"transfer-encoding: CHUNKED\r\n")
                            + b"0\r\n\r\n", ["POST /a 0"]),
    "chunks": (CHUNKED + b"\r\n3\r\nabc\r\n0000A\r\n0123456789\r\n000\r\n\r\n",
               ["POST /a 13"]),
    "extensions": (CHUNKED + b'\r\n3;a="b"\r\nabc\r\n0;x\r\n\r\n',
                   ["POST /a 3"]),
    "chunk like the end": (CHUNKED + b"\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n",
                           ["POST /a 5"]),
    "chunk like a request": (CHUNKED + b"\r\n23\r\n" + EVIL
                             + b"\r\n0\r\n\r\n", ["POST /a 35"]),
    "trailer like a head": (CHUNKED + b"\r\n1\r\na\r\n0\r\nHost: other\r\n"
                            b"Expect: x\r\nUpgrade: h2c\r\n\r\n",
                            ["POST /a 1"]),
    "trailer like a length": (CHUNKED + b"\r\n1\r\na\r\n0\r\n"
                              b"Content-Length: 35\r\n\r\n"
                              b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
                              ["POST /a 1", "GET /b 0"]),
    "underscores": (head(b"Content_Length: 35\r\nTransfer_Encoding: chunked"
                         b"\r\n", b"GET /a HTTP/1.1"), ["GET /a 0"]),
    "websocket": (head(b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
                       b"GET /a HTTP/1.1"), ["GET /a 0"]),
    "h2c": (head(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                 b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
                 b"GET /a HTTP/1.1"), ["GET /a 0"]),
    "expect without a body": (head(b"Expect: 100-continue\r\n",
                                   b"GET /a HTTP/1.1"), ["GET /a 0"]),
    "expect in 1.0": (head(b"Expect: 100-continue\r\nContent-Length: 1\r\n"
                           b"Connection: keep-alive\r\n",
                           b"POST /a HTTP/1.0") + b"x", ["POST /a 1"]),
    "pipelined": (head(b"Content-Length: 3\r\n") + b"abc" + CHUNKED
                  + b"\r\n1\r\na\r\n0\r\n\r\n" + head(b"", b"GET /b HTTP/1.1"),
                  ["POST /a 3", "POST /a 1", "GET /b 0"]),
    "unread": (b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\n\r\n"
               + EVIL, ["unread"]),
}


@CUTS
@pytest.mark.parametrize("name", SERVED)
def test_what_has_one_meaning_is_served_so(site, name, cut):
    data, wanted = SERVED[name]
    found = ask(site, data, cut)
    assert [status for status, _ in found] == [200] * len(found)
    bodies = [body for _, body in found]
    # Where a body was not read when its answer was complete, that is the end.
    assert bodies in ([*wanted, "GET /last 0"],
                      wanted if name == "unread" else None)
    assert "smuggled" not in seen(site)


def test_a_hundred_continue_is_said_once(site):
    with connection(site) as sock:
        send(sock, head(b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
        go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert sock.recv(len(go_on), socket.MSG_WAITALL) == go_on
        send(sock, b"abcde" + LAST)
        assert answers(receive(sock)) == [(200, "POST /a 5"),
                                          (200, "GET /last 0")]
    with connection(site) as sock:  # nobody is asked for what is refused
        send(sock, head(b"Expect: 100-continue\r\nContent-Length: 5\r\n"
                        b"Content-Length: 5\r\n"))
        assert [status for status, _ in answers(receive(sock))] == [400]
    seen(site)


def test_a_thousand_pipelined_requests_are_answered_in_order(site):
    data = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % i
                    for i in range(1000))
    found = ask(site, data)
    assert found == [(200, f"GET /{i} 0") for i in range(1000)] + [
        (200, "GET /last 0")]
    seen(site)


def test_nothing_behind_a_fault_is_served(site):
    good = b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n"
    found = ask(site, good + b"GET /a HTTP/1.1\r\n\r\n" + EVIL)
    assert [status for status, _ in found] == [200, 400]
    assert seen(site) == "/first"


# --- those who go, or stay

def test_who_asks_and_ends_its_side_has_its_answer(site):
    with connection(site) as sock:
        send(sock, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert answers(receive(sock)) == [(200, "GET /a 0")]
    seen(site)


@pytest.mark.parametrize("data", [
    b"", b"G", b"GET /a", b"GET /a HTTP/1.1\r\n", head(b""),
    head(b"Content-Length: 10\r\n"), head(b"Content-Length: 10\r\n") + b"abc",
    CHUNKED + b"\r\n", CHUNKED + b"\r\n5", CHUNKED + b"\r\n5\r\nab",
    CHUNKED + b"\r\n0\r\n", b"GET /sleep HTTP/1.1\r\nHost: h\r\n\r\n"])
def test_who_leaves_at_any_time_leaves_nothing(site, data):
    before = site.fds()
    for _ in range(20):
        with connection(site) as sock:
            send(sock, data)
    for _ in range(20):  # and by a reset
        with connection(site) as sock:
            send(sock, data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: site.fds() <= before, "the connections to be closed")
    seen(site)


def test_slow_heads_are_in_nobodys_way(site):
    """They have half a minute; meanwhile others are served."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connection(site)) for _ in range(300)]
        for at in range(20):
            for sock in slow:
                send(sock, b"GET /slow HTTP/1.1\r\n"[at:at + 1])
            assert ask(site, b"") == [(200, "GET /last 0")]
        assert site.rss() < (400 if is_asan() else 60) << 20
    seen(site)


# --- sizes

def endless(site, start, again):
    """Sends start, then again until nobody listens; the answer, and how many
    bytes were taken."""
    with connection(site) as sock:
        sent = len(start)
        send(sock, start)
        block = again * (65536 // len(again))
        sock.settimeout(0.02)
        data = b""
        while sent < 64 << 20:
            try:
                data += sock.recv(65536)
                break
            except TimeoutError:
                pass
            if not send(sock, block):
                break
            sent += len(block)
        sock.settimeout(DEADLINE)
        return answers(data + receive(sock)), sent


@pytest.mark.parametrize("start, again, status", [
    (b"GET /", b"a" * 1024, 414), (b"G", b"a", None),
    (b"GET /a HTTP/1.1\r\nHost: h\r\nX: ", b"a" * 1024, 431),
    (b"GET /a HTTP/1.1\r\nHost: h\r\nX", b"a" * 1024, 431),
    (b"GET /a HTTP/1.1\r\nHost: h\r\n", b"A: b\r\n", 431),
    (b"GET /a HTTP/1.1\r\nHost: h\r\nX:", b" " * 1024, 431),
    (b"", b"\r\n", None),
    (CHUNKED + b"\r\n0\r\n", b"A: b\r\n", 431)],
    ids=["target", "method", "value", "name", "fields", "blanks", "lines",
         "trailer"])
def test_no_head_is_endless(site, start, again, status):
    found, sent = endless(site, start, again)
    assert len(found) == 1 and 400 <= found[0][0] < 500 or \
        found[0][0] == 501, found
    assert status is None or found[0][0] == status
    assert sent < 4 << 20
    seen(site)


def test_a_body_of_one_byte_chunks_costs_no_memory(site):
    ask(site, b"")
    before = site.rss()
    chunk = b"1;" + b"x" * 100 + b"\r\na\r\n"
    with connection(site) as sock:
        send(sock, CHUNKED + b"\r\n")
        for _ in range(100):
            send(sock, chunk * 1000)
        send(sock, b"0\r\n\r\n" + LAST)
        assert answers(receive(sock)) == [(200, "POST /a 100000"),
                                          (200, "GET /last 0")]
    assert site.rss() - before < 8 << 20
    seen(site)


# --- anything

def test_what_is_broken_in_any_way_is_answered_or_left(site):
    """Sound requests with changes, from a seed: whatever comes back is a row of
    whole answers, and whoever comes next is served."""
    rng = random.Random(1)
    sound = [data for data, _ in SERVED.values()] + list(REFUSED.values())
    pieces = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"0", b"%",
              b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
              b"\r\n\r\n", b"HTTP/1.1", b"/", b"\xff", b"Host: h\r\n"]
    statuses = set()
    for _ in range(1500):
        data = bytearray(rng.choice(sound))
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(data) + 1)
            if rng.random() < 0.3:
                del data[at:at + rng.randrange(1, 9)]
            elif rng.random() < 0.5:
                data[at:at] = rng.choice(pieces)
            else:
                data[at:at + 1] = rng.randbytes(1)
        with connection(site) as sock:
            send(sock, bytes(data) + LAST, rng.choice([None, 1, 7, 100]))
            with contextlib.suppress(OSError):  # it may have been closed
                sock.shutdown(socket.SHUT_WR)
            for status, _ in answers(whole(receive(sock))):
                statuses.add(status)
                assert status in (200, 400, 405, 413, 414, 417, 431, 501, 505)
    assert {200, 400, 501} <= statuses
    assert ask(site, b"") == [(200, "GET /last 0")]
    seen(site)


def whole(data):
    """Without what is none in a row of answers: a 100 stands before one."""
    return data.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
