"""Requests and answers, behind each web server with its shipped
configuration.

SPDX-License-Identifier: MIT
"""
import contextlib
import hashlib
import os
import random

import pytest
from http_client import Connection, burst, cut, request
from support import forms
from support.gateway import wait_until

KIB, MIB = 1024, 1024 * 1024


def body_of(size):
    """Bytes that look like nothing, the same each time."""
    return random.Random(size).randbytes(size)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def hello(server):
    answer = request(server.address, "GET", "/hello?name=you")
    assert (answer.status, answer.body) == (200, b"hello you\n")


# --- whole requests -------------------------------------------------------

def test_get(server):
    answer = request(server.address, "GET", "/hello?name=you")
    assert answer.status == 200, answer
    assert answer.body == b"hello you\n"
    assert answer.header("content-type").startswith("text/plain")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods_reach_the_handler(server, method):
    assert request(server.address, method, "/method").body == method.encode()


def test_requests_on_one_connection(server):
    with Connection(server.address) as http:
        for i in range(20):
            http.send("GET", f"/hello?name=n{i}")
            answer = http.answer().read()
            assert answer.body == b"hello n%d\n" % i
            if answer.header("connection") == "close":
                break  # the server has had enough of this connection


@pytest.mark.parametrize("type,body", [
    (forms.URLENCODED["CONTENT_TYPE"], b"name=Ada+%26+co&x=y"),
    (forms.params()["CONTENT_TYPE"],
     forms.multipart(forms.field("name", "Ada & co")))])
def test_form(server, type, body):
    answer = request(server.address, "POST", "/form",
                     [("Content-Type", type)], body)
    assert (answer.status, answer.body) == (200, b"Ada & co")


def test_upload(server, prefix):
    contents = body_of(3 * MIB)
    body = forms.multipart(forms.field("note", "x"),
                           forms.file("file", "f.bin", contents),
                           forms.file("empty", "e.txt", b""))
    headers = [("Content-Type", forms.params()["CONTENT_TYPE"])]
    target = server.waiting("upload", prefix)
    answer = request(server.address, "POST", target, headers, body)
    assert (answer.status, answer.body) == (
        200, b"f.bin %d, e.txt 0" % len(contents))
    assert server.mark(prefix, "file").read_bytes() == contents
    assert server.mark(prefix, "empty").read_bytes() == b""
    answer = request(server.address, "POST", target, headers, body[:-60])
    assert answer.status == 400


@pytest.mark.parametrize("size", [0, 1, 64 * KIB, MIB, 20 * MIB])
def test_post(server, size):
    body = body_of(size)
    answer = request(server.address, "POST", "/echo", body=body)
    assert answer.status == 200, answer
    assert len(answer.body) == size
    assert sha256(answer.body) == sha256(body)
    answer = request(server.address, "POST", "/count", body=body)
    assert (answer.status, answer.body) == (200, b"%d" % size)


@pytest.mark.servers_where(refuses_chunked=False)
def test_chunked_upload(server):
    body = body_of(server.chunked_limit)
    answer = request(server.address, "POST", "/echo", chunked=True,
                     body=cut(body, 1000))
    assert answer.status == 200, answer
    assert sha256(answer.body) == sha256(body)


@pytest.mark.servers_where(ends_empty_chunked=True)
def test_empty_chunked_upload(server):
    answer = request(server.address, "POST", "/count", chunked=True, body=[])
    assert (answer.status, answer.body) == (200, b"0")


@pytest.mark.servers_where(refuses_chunked=True)
def test_chunked_upload_is_refused(server):
    with Connection(server.address) as http:
        http.sock.sendall(b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n")
        assert http.answer().status == 411
    hello(server)


def test_all_bytes_both_ways(server):
    body = bytes(range(256)) * 3 + bytes(range(255, -1, -1))
    answer = request(server.address, "POST", "/echo", body=body)
    assert (answer.status, answer.body) == (200, body)


def test_large_request_header(server):
    value = "".join(random.Random(6).choices("abcdefgh", k=6 * KIB))
    answer = request(server.address, "GET", "/header?name=x-large",
                     headers=[("X-Large", value)])
    assert (answer.status, answer.body.decode()) == (200, value)


@pytest.mark.servers_where(passes_authorization=True)
def test_authorization_reaches_the_handler(server):
    """Apache keeps it back without the configuration's CGIPassAuth."""
    value = "Bearer abc.def"
    answer = request(server.address, "GET", "/header?name=authorization",
                     headers=[("Authorization", value)])
    assert (answer.status, answer.body.decode()) == (200, value)


def test_a_user_that_nobody_has_checked(server):
    """Some web servers hand on whatever name the client gives."""
    answer = request(server.address, "GET", "/user",
                     headers=[("Authorization", "Basic YWRhOng=")])
    assert answer.status == 200
    assert answer.body == (b"ada" if server.believes_users else b"(none)")


def test_proxy_header_never_reaches_the_handler(server):
    answer = request(server.address, "GET", "/header?name=proxy",
                     headers=[("Proxy", "http://example.com/")])
    assert (answer.status, answer.body) == (200, b"(none)")


@pytest.mark.parametrize("size", [3000, 30000])
def test_large_answer_head(server, size):
    size = min(size, server.head_limit)
    answer = request(server.address, "GET", f"/head?size={size}")
    assert (answer.status, answer.body) == (200, b"large head"), answer
    for i in range(1, size // 1000 + 1):
        assert answer.header(f"x-fill-{i:03}") == f"{i:03}" * 328


@pytest.mark.parametrize("target, status", [
    ("/no-content", 204), ("/not-modified", 304)])
def test_answers_without_body(server, target, status):
    """The next answer on the connection shows whether anything was sent in
    place of the body."""
    with Connection(server.address) as http:
        http.send("GET", target)
        answer = http.answer().read()
        assert (answer.status, answer.body) == (status, b"")
        http.send("GET", "/hello", close=True)
        assert http.answer().read().body == b"hello world\n"
        http.expect_end()


@pytest.mark.parametrize("target", ["/hello", "/flood?size=65536"])
def test_head(server, target):
    with Connection(server.address) as http:
        http.send("HEAD", target)
        answer = http.answer().read()
        assert (answer.status, answer.body) == (200, b"")
        http.send("GET", "/hello", close=True)
        assert http.answer().read().body == b"hello world\n"
        http.expect_end()


def without_own_errors(server, answers):
    """answers without those that HAProxy 2.6.12 gave itself: they do not count
    where it multiplexes, but are not many."""
    if not server.has_own_errors:
        return answers
    ours = [(i, answer) for i, answer in answers if not (
        answer.status == 500 and b"<h1>500 Internal" in answer.body)]
    assert len(ours) > len(answers) // 2
    return ours


def test_500_at_once(server):
    """Each gets its own answer."""
    answers = without_own_errors(server, list(enumerate(burst(
        server.address, [f"/hello?name=n{i}" for i in range(500)]))))
    wrong = [answer for i, answer in answers
             if (answer.status, answer.body) != (200, b"hello n%d\n" % i)]
    assert not wrong, f"{len(wrong)} of {len(answers)}, e.g. {wrong[0]}"


@pytest.mark.servers_where(keeps=True)
def test_connections_are_kept(server):
    for _ in range(5):
        hello(server)
    assert server.open_fds() > server.idle_fds


@pytest.mark.servers_where(keeps=False, spawns=False)
def test_connections_are_closed(server):
    for _ in range(5):
        hello(server)
    server.gateway.wait_fds(server.idle_fds)


@pytest.mark.servers_where(multiplexes=True)
def test_requests_share_connections(server, prefix):
    """Eight that run at the same time need fewer than eight connections."""
    names = [f"{prefix}-{i}" for i in range(8)]
    with contextlib.ExitStack() as stack:
        before = server.gateway.fds()
        waiting = []
        for name in names:
            http = stack.enter_context(Connection(server.address))
            http.send("GET", server.waiting("hold", name), close=True)
            wait_until(server.mark(name, "started").exists, "the start")
            waiting.append(http)
        assert server.gateway.fds() < before + len(names)
        for name, http in zip(names, waiting):
            server.mark(name, "go").touch()
            assert http.answer().read().body == b"held and answered\n"


# --- streams --------------------------------------------------------------

def test_8_mib_answer(server):
    size = 8 * MIB
    answer = request(server.address, "GET", f"/flood?size={size}")
    wanted = b"".join(b"%063d\n" % i for i in range(size // 64))
    assert answer.status == 200, answer
    assert len(answer.body) == size
    assert sha256(answer.body) == sha256(wanted)


def test_pieces_arrive_as_they_are_written(server, prefix):
    """The handler sends a piece only when this test has seen the one before:
    a server that held anything back would hang."""
    target = server.waiting("steps", prefix)
    with Connection(server.address) as http:
        http.send("GET", target, close=True)
        answer = http.answer()
        assert answer.status == 200
        for i in 1, 2, 3:
            assert answer.stream.readline() == b"piece %d\n" % i
            server.mark(prefix, f"seen{i}").touch()
        assert answer.stream.read() == b"end\n"
        http.expect_end()


@pytest.mark.servers_where(pipes=True)
def test_20_mib_piped_back(server):
    """The answer begins while most of the body is still to come.  (nginx stops
    sending the body then: there test_post has the echo that works.)"""
    body = body_of(20 * MIB)
    answer = request(server.address, "POST", "/pipe", body=body)
    assert answer.status == 200, answer
    assert len(answer.body) == len(body)
    assert sha256(answer.body) == sha256(body)


def test_answer_before_the_body(server):
    """The handler never reads the 20 MiB; its answer arrives all the same."""
    with Connection(server.address) as http:
        http.send("POST", "/refuse", body=body_of(20 * MIB))
        answer = http.answer().read()
        assert (answer.status, answer.body) == (413, b"too much for me\n")
    hello(server)
    if not server.keeps and not server.spawns:
        server.gateway.wait_fds(server.idle_fds)


# --- ends and faults ------------------------------------------------------

def test_client_leaves_a_silent_handler(server, prefix):
    """Only nginx tells at once; the others find out at the next write."""
    target = server.waiting("quiet", prefix)
    with Connection(server.address) as http:
        http.send("GET", target)
        assert http.answer().stream.readline() == b"waiting\n"
    if server.tells_at_once:
        wait_until(server.mark(prefix, "aborted").exists, "the abort")
    server.mark(prefix, "end").touch()
    hello(server)


def test_client_leaves_a_talking_handler(server, prefix):
    target = server.waiting("talk", prefix)
    with Connection(server.address) as http:
        http.send("GET", target)
        assert http.answer().stream.readline().startswith(b"talking")
    wait_until(server.mark(prefix, "aborted").exists, "the abort")
    assert server.mark(prefix, "aborted").read_text() == "aborted"
    hello(server)


def test_client_leaves_in_the_middle_of_its_body(server):
    with Connection(server.address) as http:
        http.sock.sendall(b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                          b"Content-Length: 100000\r\n\r\n" + bytes(50000))
    hello(server)


def test_stderr_is_in_the_log(server):
    """In the web server's own where it takes FastCGI's error stream."""
    word = f"word-{os.urandom(8).hex()}"
    answer = request(server.address, "GET", f"/stderr?word={word}")
    assert (answer.status, answer.body) == (200, b"said it\n")
    server.wait_log(f"to the log: {word}", server.log if server.has_stderr
                    else server.gateway_log)


def test_error_in_a_handler(server):
    word = f"word-{os.urandom(8).hex()}"
    answer = request(server.address, "GET", f"/fault?word={word}")
    assert answer.status == 500
    assert word.encode() not in answer.body
    server.wait_log(f"on purpose: {word}", server.log if server.has_stderr
                    else server.gateway_log)
    hello(server)


def test_errors_among_others(server):
    """A failing handler disturbs nobody."""
    targets = [f"/fault?word=w{i}" if i % 4 == 0 else f"/hello?name=n{i}"
               for i in range(40)]
    answers = list(enumerate(burst(server.address, targets)))
    for i, answer in without_own_errors(server, answers):
        if i % 4 == 0:
            assert answer.status == 500
        else:
            assert (answer.status, answer.body) == (200, b"hello n%d\n" % i)
