"""The examples that talk to other servers, with these servers.

SPDX-License-Identifier: MIT
"""
import hashlib
import os
import random
import re
import select
import signal
import socket
import threading
import time

import pytest

from support import backends, fastcgi
from support.gateway import wait_until
from support.processes import children

MIB = 1 << 20


def query(text, **more):
    return {"QUERY_STRING": text, **more}


def at_once(gw, count, **args):
    """The answers to so many requests that are under way together."""
    with gw.connect() as conn:
        for id in range(1, count + 1):
            conn.start(id, **args)
        found = conn.collect_all(range(1, count + 1))
    return [found[id] for id in range(1, count + 1)]


@pytest.fixture(scope="module")
def nginx():
    server = backends.Nginx("location /moved { return 302 /page; }", tls=True)
    (server.www / "page").write_text("A page.\n")
    (server.www / "big").write_bytes(bytes(range(256)) * (16 * MIB // 256))
    with server:
        yield server


# --- redis_client.lua -----------------------------------------------------

def redis_client(own_example, redis):
    return own_example("redis_client.lua", "--lua-compat=5.3",
                       args=["127.0.0.1", redis.port])


def test_redis_client_counts_visits(own_example, redis):
    gw = redis_client(own_example, redis)
    assert gw.request(query("page=a")).text == "a: visit 1\n"
    assert gw.request(query("page=b")).text == "b: visit 1\na: 1\n"
    assert gw.request(query("page=a")).text == "a: visit 2\nb: 1\n"


def test_redis_client_counts_all_of_many(own_example, redis):
    gw = redis_client(own_example, redis)
    answers = at_once(gw, 50, params=query("page=x"))
    assert sorted(int(answer.text.split()[-1]) for answer in answers) == [
        *range(1, 51)]
    assert gw.request(query("page=x")).text == "x: visit 51\n"


def test_redis_client_does_without_redis_for_a_while(own_example):
    with backends.Redis() as redis:
        gw = redis_client(own_example, redis)
        assert gw.request().text == "home: visit 1\n"
        redis.kill()
        response = gw.request()
        assert response.status == 503
        assert response.text.startswith("redis: ")
        redis.start()
        assert gw.request().text == "home: visit 1\n"


# --- cache.lua ------------------------------------------------------------

# Says each time that a report is made.
MADE = ("local fcgi = require 'fcgi' "
        "function fcgi.sleep() fcgi.log('notice', 'made') end")


def test_cache_makes_a_report_once(own_example, memcached, resty):
    gw = own_example("cache.lua", *resty, "--eval", MADE,
                     args=["127.0.0.1", memcached.port])
    first = gw.request(query("city=Bergen"))
    assert re.fullmatch(r"Rain in Bergen, reported at [\d:]{8}\.\n",
                        first.text)
    assert gw.request(query("city=Bergen")).text == first.text
    assert gw.log().count("made") == 1
    assert "Oslo" in gw.request().text
    assert gw.log().count("made") == 2
    assert " warn " not in gw.log()


def test_cache_serves_without_memcached(own_example, resty):
    gw = own_example("cache.lua", *resty, "--eval", MADE,
                     args=["127.0.0.1", 1])
    assert gw.request().text.startswith("Rain in Oslo")
    gw.wait_log(r" warn .*memcached: connection refused")


# --- queries.lua ----------------------------------------------------------

def queries(own_example, postgres, user="test"):
    return own_example("queries.lua", args=[
        f"unix:{postgres.folder}/.s.PGSQL.{postgres.port}", user])


def test_queries_take_as_long_as_the_slowest(own_example, postgres):
    gw = queries(own_example, postgres)
    for _ in range(2):  # the second time on connections from the pool
        text = gw.request().text
        assert re.match(r"the longest: \n\d+ tables\nPostgreSQL \d+", text)
        parts, whole = map(float, re.search(
            r"^(\d\.\d) seconds of queries took (\d\.\d)$", text,
            re.M).groups())
        assert parts >= 0.6 and 0.3 <= whole < parts


def test_queries_say_what_the_server_says(own_example, postgres):
    gw = queries(own_example, postgres, user="nobody_of_this_name")
    assert gw.request().status == 500
    gw.wait_log(r'role "nobody_of_this_name" does not exist')


# --- http_client.lua ------------------------------------------------------

def test_http_client_hands_pages_on(own_example, nginx):
    gw = own_example("http_client.lua", args=[nginx.url])
    response = gw.request({"SCRIPT_NAME": "/page"})
    assert (response.status, response.text) == (200, "A page.\n")
    assert response.headers["content-type"] == "application/octet-stream"
    gw.wait_log(r"notice .*/page: 200 after 0\.\d{3} s")
    assert gw.request({"SCRIPT_NAME": "/none"}).status == 404
    moved = gw.request({"SCRIPT_NAME": "/moved"})
    assert moved.status == 302
    assert moved.headers["location"] == nginx.url + "/page"


def test_http_client_says_what_is_wrong(own_example):
    gw = own_example("http_client.lua", args=["http://127.0.0.1:1"])
    response = gw.request()
    assert (response.status, response.text) == (502, "connection refused\n")


# --- tls_client.lua -------------------------------------------------------

def test_tls_client_keeps_its_connection(own_example, nginx):
    gw = own_example("tls_client.lua",
                     args=["localhost", nginx.tls_port, nginx.cert])
    for times in range(3):
        response = gw.request({"SCRIPT_NAME": "/page"})
        assert (response.status, response.text) == (200, "A page.\n")
        gw.wait_log(rf"that was used {times} times before")
    response = gw.request({"SCRIPT_NAME": "/big"})
    assert response.body == (nginx.www / "big").read_bytes()


def test_tls_client_believes_nobody(own_example, nginx):
    # A certificate that nobody vouches for, then one of another name.
    for host, *more in (("localhost",), ("127.0.0.2", nginx.cert)):
        gw = own_example("tls_client.lua",
                         args=[host, nginx.tls_port, *more])
        response = gw.request({"SCRIPT_NAME": "/page"})
        assert response.status == 502 and response.text.strip()


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


# --- chat.lua -------------------------------------------------------------

def start_chat(own_example, redis, workers):
    gw = own_example("chat.lua", "-w", workers, args=[redis.address])
    # All listen who are to.
    wait_until(lambda: redis.command("PUBLISH", "chat", "") == str(workers),
               "the workers to listen", 30)
    return gw


def say(gw, text):
    assert gw.request({"REQUEST_METHOD": "POST"}, text).status == 204


def hear(conn, wanted):
    """Reads until these bytes have come; the messages so far."""
    while wanted not in conn.begun[1].raw:
        conn.step()
    return re.findall(r"data: (message .*)\n\n", conn.begun[1].raw.decode())


def test_chat_is_heard_by_all_of_all_workers(own_example, redis):
    gw = start_chat(own_example, redis, 2)
    conns = [gw.connect() for _ in range(8)]
    for conn in conns:
        conn.start(1)
    for conn in conns:
        hear(conn, b"\r\n\r\n:\n\n")
    for number in range(20):
        say(gw, f"message {number}")
    for conn in conns:
        with conn:
            assert hear(conn, b"data: message 19\n\n") == [
                f"message {number}" for number in range(20)]


def test_chat_comes_back_with_redis(own_example):
    with backends.Redis() as redis:
        gw = start_chat(own_example, redis, 1)
        redis.kill()
        gw.wait_log(" warn .*redis: .*closed")
        assert gw.request({"REQUEST_METHOD": "POST"}, "x").status == 500
        redis.start()
        wait_until(lambda: redis.command("PUBLISH", "chat", "") == "1",
                   "the worker to listen again")
        with gw.connect() as conn:
            conn.start(1)
            hear(conn, b"\r\n\r\n:\n\n")
            say(gw, "message 1")
            hear(conn, b"data: message 1\n\n")


# --- database.lua ---------------------------------------------------------

def check_database(gw, wanted):
    assert wanted in gw.request(query("name=tables")).text.splitlines()
    missing = gw.request(query("name=it%27s+nothing"))
    assert (missing.status, missing.text) == (404, "")
    for answer in at_once(gw, 30, params=query("name=tables")):
        assert wanted in answer.text.splitlines()


def test_database_asks_postgres(own_example, postgres):
    gw = own_example("database.lua", args=["postgres", postgres.conninfo])
    check_database(gw, "information_schema: VIEW")


def test_database_asks_mariadb(own_example, mariadb):
    gw = own_example("database.lua", args=[
        "mysql", "test", "test", "secret", "127.0.0.1", mariadb.port])
    check_database(gw, "information_schema: SYSTEM VIEW")


def test_database_does_without_a_child_for_a_while(own_example, postgres):
    gw = own_example("database.lua", args=["postgres", postgres.conninfo])
    check_database(gw, "information_schema: VIEW")
    for pid in children(gw.pid):
        os.kill(pid, signal.SIGKILL)
    assert gw.request(query("name=tables")).status == 500
    gw.wait_log(r" error .*database\.lua:\d+: (closed|a child has ended)")
    wait_until(lambda: gw.request(query("name=tables")).status == 200,
               "other children")
    check_database(gw, "information_schema: VIEW")
