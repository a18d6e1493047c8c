"""fcgi.wait: descriptors of libraries, here LuaSocket's, and plain numbers.

SPDX-License-Identifier: MIT
"""
import socket
from signal import SIGUSR2

import pytest

from support.dns_server import DnsServer
from support.gateway import wait_until

PAIR = """\
local socket = require "socket"
local server = assert(socket.bind("127.0.0.1", 0))
local host, port = server:getsockname()
local a = assert(socket.connect(host, port))
local b = assert(server:accept())
a:settimeout(0) b:settimeout(0)
"""

VALUES = {
    "ready to write": ("dump(fcgi.wait(a, 'w'), fcgi.wait(a:getfd(), 'rw'))",
                       '"w", "w"'),
    "nothing to read": ("dump(fcgi.wait(a, 'r', 0.01), "
                        "fcgi.wait(a, 'r', 0))", 'nil, nil, "timeout"'),
    "a connection to accept": (
        "dump(fcgi.wait(server, 'r', 0.01), "
        "socket.connect(host, port) ~= nil, "
        "fcgi.wait(server, 'r'))", 'nil, true, "r"'),
    "the peer has closed": ("b:close() and dump(fcgi.wait(a, 'r'), "
                            "(select(2, a:receive(1))))", '"r", "closed"'),
    "closed before": ("a:close() and dump(fcgi.wait(a, 'r'))",
                      'nil, "closed"'),
    "a udp socket": (
        "(function() local u, v = socket.udp(), socket.udp() "
        "u:setsockname('127.0.0.1', 0) local ip, number = u:getsockname() v:setpeername(ip, number) "
        "local t = fcgi.spawn(fcgi.wait, u, 'r') fcgi.sleep(0) v:send('x') "
        "return dump(t:join()) end)()", '"r"'),
}


@pytest.mark.parametrize("expression,expected", VALUES.values(), ids=VALUES)
def test_value(lua, expression, expected):
    assert lua.text(f"{PAIR} return 200, {{}}, {expression}") == expected


def test_reader_and_writer_wait_for_one_socket(lua):
    """Much more than the buffers hold goes both ways at once."""
    assert lua.text(PAIR + """
        local size = 4 << 20
        local function send(s)
          local text, at = ("x"):rep(size), 1
          while at <= size do
            local last, err, partial = s:send(text, at)
            at = (last or partial) + 1
            if err then assert(err == "timeout") fcgi.wait(s, "w") end
          end
        end
        local function receive(s)
          local got = 0
          while got < size do
            local text, err, partial = s:receive(size - got)
            got = got + #(text or partial)
            if err then assert(err == "timeout") fcgi.wait(s, "r") end
          end
          return got
        end
        local t = { fcgi.spawn(send, a), fcgi.spawn(send, b),
          fcgi.spawn(receive, a), fcgi.spawn(receive, b) }
        t[1]:join() t[2]:join()
        return 200, {}, dump(t[3]:join() == size, t[4]:join() == size)
        """) == "true, true"


def test_100_requests_wait_at_once(lua):
    with lua.connect() as conn:
        for id in range(1, 101):
            lua.start(conn, id, PAIR + "all = all or {} all[#all + 1] = b "
                      "local ready = fcgi.wait(a, 'r') "
                      "return 200, {}, ready .. a:receive(1)")
        wait_until(lambda: lua.value("#all") == "100", "100 that wait")
        lua("for _, b in ipairs(all) do b:send('!') end all = nil return 200")
        for id in range(1, 101):
            assert conn.collect(id).text == "r!"


def test_a_plain_number(lua_with):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lua = lua_with(pass_fds=[theirs.fileno()])
        with lua.connect() as conn:
            lua.start(conn, 1, "begun = true return 200, {}, "
                      f"fcgi.wait({theirs.fileno()}, 'r')")
            wait_until(lambda: lua.value("begun") == "true", "it begins")
            ours.send(b"x")
            assert conn.collect(1).text == "r"


def test_numbers_of_any_descriptor_do_no_harm(lua_with):
    """Those of the event loop and of the listening sockets, too."""
    lua = lua_with()
    lua("for fd = 3, 40 do fcgi.wait(fd, 'rw', 0.001) end return 200")
    assert lua.value("1") == "1"


def test_closed_under_the_waiter(lua):
    assert lua.text(PAIR + """
        local t = fcgi.spawn(fcgi.wait, a, "r")
        local w = fcgi.spawn(fcgi.wait, a, "r", 60)
        fcgi.sleep(0.01)
        a:close()
        return 200, {}, dump(select(2, t:join()), select(2, w:join()))
        """) == '"closed", "closed"'


def test_closed_and_the_number_used_again(lua):
    """Who waits for the new socket hears of it, who waited for the old one
    hears that it has gone."""
    assert lua.text(PAIR + """
        local t = fcgi.spawn(fcgi.wait, a, "r")
        fcgi.sleep(0.01)
        local number = a:getfd()
        a:close()
        local c = socket.connect(host, port)
        assert(c:getfd() == number)
        local other = server:accept()
        local again = fcgi.spawn(fcgi.wait, c, "r")
        fcgi.sleep(0.01)
        other:send("x")
        return 200, {}, dump(again:join(), select(2, t:join()),
          (c:receive(1)))
        """) == '"r", "closed", "x"'


def test_closed_and_the_number_used_by_a_connection(lua_with):
    """By one of the gateway's own, which is served as any other."""
    lua = lua_with()
    with lua.connect() as conn:
        lua.start(conn, 1, PAIR + "s = a begun = true "
                  "return 200, {}, dump(fcgi.wait(a, 'r'))")
        wait_until(lambda: lua.value("begun") == "true", "it begins")
        lua("number = s:getfd() s:close() return 200")
        with lua.connect() as other:
            for n in range(3):
                assert lua.on(other, "return 200, {}, 'served'",
                              id=n + 1).text == "served"
        assert conn.collect(1).text == 'nil, "closed"'


def test_cancelled_while_it_waits(lua):
    assert lua.text(PAIR + """
        local t = fcgi.spawn(function()
          local x <close> = setmetatable({}, { __close = function()
            closed = fcgi.wait(a, "w") end })
          return fcgi.wait(a, "r")
        end)
        fcgi.sleep(0)
        t:cancel("enough")
        local ok, err = t:join()
        b:send("x")
        return 200, {}, dump(ok, err, closed, fcgi.wait(a, "r"),
          (a:receive(1)))
        """) == 'nil, "enough", "w", "r", "x"'


def test_abort_and_stop_while_requests_wait(lua_with):
    lua = lua_with("--grace=0.1")
    with lua.connect() as conn:
        for id in (1, 2):
            lua.start(conn, id, PAIR + "n = (n or 0) + 1 "
                      "req:on_abort(function() b:send('x') end) "
                      "local got = fcgi.wait(a, 'r') ended = got "
                      "return 200")
        wait_until(lambda: lua.value("n") == "2", "both wait")
        conn.abort(1)
        wait_until(lambda: lua.value("ended") == '"r"', "the first ends")
        assert lua.gateway.stop() == 0


def test_an_upgrade_in_the_middle(lua_with):
    """The copy of the process that serves what had begun goes on waiting for a
    descriptor, for a name and for a datagram."""
    ours, theirs = socket.socketpair()
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(20)
    with ours, theirs, peer, DnsServer({"www.test": ["HELD"]}) as dns:
        lua = lua_with("--resolver=" + dns.address,
                       pass_fds=[theirs.fileno()])
        with lua.connect() as conn:
            lua.start(conn, 1, "n = (n or 0) + 1 return 200, {}, "
                      f"fcgi.wait({theirs.fileno()}, 'r')")
            lua.start(conn, 2, "n = (n or 0) + 1 return 200, {}, "
                      "fcgi.resolve('www.test', 4)[1]")
            lua.start(conn, 3, "n = (n or 0) + 1 local udp = fcgi.udp() "
                      "udp:setpeername('127.0.0.1', "
                      f"{peer.getsockname()[1]}) udp:send('question') "
                      "return 200, {}, udp:receive()")
            wait_until(lambda: lua.value("n") == "3", "all wait")
            dns.wait_asked("www.test")
            _, asker = peer.recvfrom(100)
            lua.gateway.signal(SIGUSR2)
            lua.gateway.wait_log("upgraded: ")
            assert lua.value("n") == "nil"
            ours.send(b"x")
            assert conn.collect(1).text == "r"
            dns.release("www.test", ["192.0.2.1"])
            assert conn.collect(2).text == "192.0.2.1"
            peer.sendto(b"answer", asker)
            assert conn.collect(3).text == "answer"


def test_nothing_leaks(lua_with):
    lua = lua_with()
    code = PAIR + """
        for _ = 1, 20 do
          fcgi.spawn(fcgi.wait, a, "r")
          fcgi.wait(a, "w")
          fcgi.wait(a, "r", 0.0001)
        end
        a:close() b:close() server:close()
        return 200, {}, "x" """
    lua(code)
    fds = lua.gateway.fds()
    for _ in range(5):
        assert lua.text(code) == "x"
    lua.gateway.wait_fds(fds)
