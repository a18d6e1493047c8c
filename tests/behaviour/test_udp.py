"""fcgi.udp against peers of the test's own.

SPDX-License-Identifier: MIT
"""
import socket
import threading

import pytest

from support.dns_server import DnsServer
from support.gateway import Gateway, wait_until
from support.lua import EVAL, Lua


class Peer:
    """Answers each datagram with what it was, in capital letters; one that
    is "hold" not before release()."""

    def __init__(self, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.address = self.sock.getsockname()
        self.held, self.seen = [], []

    def __enter__(self):
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(self.sock.family, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", self.address)
        self.thread.join(10)
        self.sock.close()

    def _serve(self):
        while True:
            data, peer = self.sock.recvfrom(65536)
            if data == b"end":
                return
            self.seen.append(data)
            if data == b"hold":
                self.held.append(peer)
            else:
                self.sock.sendto(data.upper(), peer)

    def wait_held(self, count):
        wait_until(lambda: len(self.held) >= count, f"{count} that wait")

    def release(self):
        for peer in self.held:
            self.sock.sendto(b"HELD", peer)

    @property
    def port(self):
        return self.address[1]


@pytest.fixture
def peer():
    with Peer() as one:
        yield one


ASK = ("local udp <close> = fcgi.udp() udp:settimeout(20) "
       "assert(udp:setpeername('127.0.0.1', %d)) assert(udp:send('%s')) "
       "return 200, {}, dump(udp:receive())")


def test_an_exchange(lua, peer):
    assert lua.text(ASK % (peer.port, "hello")) == '"HELLO"'


def test_a_socket_in_a_module_serves_request_after_request(lua, peer):
    code = ("if not kept then kept = fcgi.udp() "
            f"kept:setpeername('127.0.0.1', {peer.port}) end "
            "assert(kept:send(req:param 'N')) "
            "return 200, {}, kept:receive()")
    for n in range(10):
        assert lua.text(code, {"N": f"n{n}"}) == f"N{n}"
    lua("kept:close() kept = nil return 200")


def test_100_requests_wait_at_once(lua, peer):
    with lua.connect() as conn:
        for id in range(1, 101):
            lua.start(conn, id, ASK % (peer.port, "hold"))
        peer.wait_held(100)
        assert lua.value("1") == "1"
        peer.release()
        for id in range(1, 101):
            assert conn.collect(id).text == '"HELD"'


def test_a_server_in_the_worker(gateway):
    """A task of the worker answers datagrams beside the requests."""
    gw = gateway("""
        local fcgi = require "fcgi"
        local server = fcgi.udp()
        local count = 0
        function on_worker()
          assert(server:setsockname("127.0.0.1", 0))
          fcgi.spawn(function()
            while true do
              local text, host, port = server:receivefrom()
              count = count + 1
              server:sendto(text:reverse(), host, port)
            end
          end):detach()
        end
        function on_request(req)
          if req:param "COUNT" then return 200, {}, tostring(count) end
          local _, port = server:getsockname()
          return 200, {}, tostring(port)
        end
        """)
    port = int(gw.request().text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port))
        for n in range(100):
            sock.send(b"abc%d" % n)
            assert sock.recv(100) == (b"abc%d" % n)[::-1]
        for _ in range(500):        # faster than it answers
            sock.send(b"x")
        wait_until(lambda: int(gw.request({"COUNT": "1"}).text) >= 200,
                   "it goes on")
    assert gw.request().text == str(port)


def test_a_flood_holds_back_no_request(lua_with):
    """Whoever gets one datagram after the other does not keep the loop."""
    lua = lua_with()
    port = int(lua.text("""
        server = fcgi.udp()
        server:setsockname("127.0.0.1", 0)
        server:setoption("recv-buffer-size", 1 << 20)
        fcgi.spawn(function()
          while server:receive() do n = (n or 0) + 1 end
        end):detach()
        local _, port = server:getsockname()
        return 200, {}, tostring(port)
        """))
    ended = threading.Event()

    def flood():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not ended.is_set():
                sock.sendto(b"x", ("127.0.0.1", port))
    thread = threading.Thread(target=flood)
    thread.start()
    try:
        wait_until(lambda: int(lua.value("n or 0")) > 2000, "the flood")
    finally:
        ended.set()
        thread.join()
    lua("server:close() return 200")


def test_cancelled_closed_and_refused(lua, peer):
    with Peer() as gone:
        port = gone.port
    assert lua.text(f"""
        local udp <close> = fcgi.udp()
        udp:setpeername("127.0.0.1", {peer.port})
        local t = fcgi.spawn(udp.receive, udp)
        fcgi.sleep(0)
        t:cancel("enough")
        local _, cancelled = t:join()
        t = fcgi.spawn(udp.receive, udp)
        fcgi.sleep(0)
        udp:close()
        local _, closed = t:join()
        udp:setpeername("127.0.0.1", {port})
        udp:send("x")
        local _, refused = udp:receive()
        udp:setpeername("127.0.0.1", {peer.port})
        udp:send("still")
        return 200, {{}}, dump(cancelled, closed, refused, udp:receive())
        """) == '"enough", "closed", "connection refused", "STILL"'


def test_stop_while_requests_wait(lua_with, peer):
    lua = lua_with("--grace=0.1")
    with lua.connect() as conn:
        for id in range(1, 6):
            lua.start(conn, id, ASK % (peer.port, "hold"))
        peer.wait_held(5)
        assert lua.gateway.stop() == 0


def test_a_peer_on_a_unix_socket(lua, tmp_path):
    path = str(tmp_path / "peer")
    with Peer(socket.AF_UNIX, path):
        assert lua.text(f"""
            local udp <close> = fcgi.udp()
            assert(udp:setpeername("unix:{path}"))
            assert(udp:send {{ "he", {{ "llo" }} }})
            return 200, {{}}, dump(udp:receive())
            """) == '"HELLO"'


def test_a_peer_by_name(peer, tmp_path):
    with DnsServer({"peer.test": ["127.0.0.1"]}) as dns, \
            Gateway(EVAL, "--resolver=" + dns.address,
                    env={"CARES_HOSTS": str(tmp_path / "none"),
                         "LOCALDOMAIN": ""}) as gw:
        lua = Lua(gw)
        assert lua.text(ASK.replace("127.0.0.1", "peer.test")
                        % (peer.port, "hello")) == '"HELLO"'
        assert lua.value(f"fcgi.udp():sendto('x', 'none.test', {peer.port})"
                         ) == 'nil, "host not found"'
        assert lua.value("fcgi.udp():sendto('again', 'peer.test', "
                         f"{peer.port})") == "1"
    wait_until(lambda: b"again" in peer.seen, "the datagram")


def test_nothing_leaks(lua_with, peer):
    lua = lua_with()
    code = ("for _ = 1, 20 do local udp = fcgi.udp() "
            f"udp:setpeername('127.0.0.1', {peer.port}) udp:send('x') "
            "udp:receive() udp:close() end collectgarbage() "
            "return 200, {}, 'x'")
    lua(code)
    fds = lua.gateway.fds()
    for _ in range(5):
        assert lua.text(code) == "x"
    lua.gateway.wait_fds(fds)
