"""LuaSocket's http and smtp and LuaSec's https as Debian has them, over
fcgi.socket, against nginx and an SMTP server.

SPDX-License-Identifier: MIT
"""
import base64
import email
import socket

import pytest

from support import backends

HTTP = ["get", "head", "missing", "put", "put_chunked", "chunked", "redirect",
        "login", "big", "refused"]
HTTPS = ["tls", "tls_big", "tls_put", "tls_unknown", "tls_believes",
         "tls_without"]
LOCATIONS = """\
        location /moved { return 302 /hello.txt; }
        location /secret/ {
            auth_basic "friends"; auth_basic_user_file users;
            rewrite ^/secret(/.*) $1 break;
        }
        location /chunked { ssi on; ssi_types *; }
        location /files/ { dav_methods PUT; create_full_put_path on; }
"""


def some_bytes(size, number=1):
    """As bytes() in prelude.lua."""
    piece = b"\r\n\0" + bytes(i * number % 256 for i in range(256))
    return (piece * (size // len(piece) + 1))[:size]


@pytest.fixture(scope="module")
def nginx():
    server = backends.Nginx(LOCATIONS, tls=True)
    (server.www / "hello.txt").write_text("Hello from a file\n")
    (server.www / "big").write_bytes(some_bytes(8 << 20))
    (server.www / "chunked").write_bytes(some_bytes(300000, 3))
    (server.folder / "users").write_text("ada:{PLAIN}lovelace\n")
    with server:
        yield server


@pytest.fixture
def works(start_works, nginx, mailer):
    return start_works("luasocket.lua", args=(nginx.url, nginx.tls_url,
                                              nginx.cert, mailer.port))


@pytest.fixture
def mute():
    """A socket that listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(server):
    return "http://127.0.0.1:%d/" % server.getsockname()[1]


@pytest.mark.parametrize("name", HTTP + HTTPS)
def test_work(works, name):
    assert works(name) == "done"


def test_works_side_by_side(works):
    works.at_once((HTTP + HTTPS) * 3)


def test_who_waits_keeps_nobody_waiting(works, mute):
    with works.gateway.connect() as conn:
        for id in range(1, 21):
            works.start(conn, "broken", url_of(mute), id)
        peers = [mute.accept()[0] for _ in range(20)]
        works.hello()
        assert works("get") == "done"
        for peer in peers:
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
                             b"five!")
        found = conn.collect_all(range(1, 21))
    assert {found[id].text for id in found} == {"0 bytes, closed"}


def test_a_time_limit(works, mute):
    assert works("timeout", url_of(mute)) == "timeout"


def test_mails_arrive_whole(works, mailer):
    before = len(mailer.mails())
    with works.gateway.connect() as conn:
        for id in range(1, 11):
            works.start(conn, "mail", f"number {id}", id)
        found = conn.collect_all(range(1, 11))
    assert {found[id].text for id in found} == {"done"}
    mails = [email.message_from_string(text)
             for text in mailer.mails()[before:]]
    assert sorted(mail["Subject"] for mail in mails) == sorted(
        f"number {number}" for number in range(1, 11))
    for mail in mails:
        assert mail["X-RcptTo"] == "bob@example.org, eve@example.org"
        text, attached = mail.get_payload()
        assert text.get_payload().splitlines() == [
            "A line.", ".", "Another one."]
        assert base64.b64decode(attached.get_payload()) == some_bytes(100000)
