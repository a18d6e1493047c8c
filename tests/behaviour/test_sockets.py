"""Sockets of scripts: connecting, by name as well, listening, and what else they
have; against peers of the test's own on loopback and unix sockets.

SPDX-License-Identifier: MIT
"""
import pytest

from support.dns_server import DnsServer
from support.gateway import Gateway, run, wait_until
from support.lua import EVAL, Lua
from support.peers import LISTEN, MIB, Peer, Run, dumped


# --- connecting --------------------------------------------------------------

@pytest.mark.parametrize("address", [("127.0.0.1", 0), ("::1", 0), "unix"])
def test_it_connects(lua, tmp_path, address):
    address = str(tmp_path / "socket") if address == "unix" else address
    with Peer(address) as peer:
        run = Run(lua, peer, "sock:send 'ping' " + dumped(
            "sock:receive(4), sock:getpeername()"))
        assert run.sock.recv(4) == b"ping"
        run.sock.sendall(b"pong")
        name = f'"{peer.name[5:]}", nil, "unix"'
        if not isinstance(address, str):
            name = (f'"{address[0]}", {peer.port}, '
                    f'"inet{"6" if ":" in address[0] else ""}"')
        assert run.end() == f'"pong", {name}'


def test_a_socket_connects_itself(lua, peer, local):
    for one in peer, local:
        assert lua.text(
            "local s <close> = fcgi.tcp() local before = tostring(s) " +
            f"assert(s:connect({one.there}) == 1) " + dumped(
                "before:match '^tcp{master}: 0x', tostring(s):match "
                "'^tcp{client}: 0x'")) == '"tcp{master}: 0x", "tcp{client}: 0x"'


def test_what_refuses_says_so(lua, peer, tmp_path):
    peer.sock.close()
    assert lua.value(f"fcgi.connect '{peer.name}'") == \
        'nil, "connection refused"'
    assert lua.value(f"fcgi.tcp():connect({peer.there})") == \
        'nil, "connection refused"'
    path = tmp_path / "old"
    with Peer(str(path)):
        pass
    assert lua.value(f"fcgi.connect 'unix:{path}'") == \
        'nil, "connection refused"'
    assert lua.value("fcgi.connect 'unix:/no/such'") == \
        'nil, "No such file or directory"'
    assert lua.value(f"fcgi.connect('unix:/{'x' * 108}')") == \
        'nil, "File name too long"'


def test_a_socket_that_failed_can_connect(lua, peer):
    assert lua.text(
        "local s <close> = fcgi.tcp() local _, no = s:connect('127.0.0.1', 1) "
        f"local yes = s:connect({peer.there}) "
        f"local _, twice = s:connect({peer.there}) s:close() " + dumped(
            f"no, yes, twice, s:connect({peer.there})")
        ) == '"connection refused", 1, "already connected", 1'


def test_connecting_has_a_limit(lua, stuck):
    assert lua.text(
        "local t, out = fcgi.now(), {} "
        f"out[1] = {{ fcgi.connect('{stuck.name}', {{ timeout = 0.05 }}) }} "
        "local s = fcgi.tcp() s:settimeouts(0.05, nil, nil) "
        f"out[2] = {{ s:connect({stuck.there}) }} "
        "s:settimeout() s:settimeout(0.05, 't') "
        f"out[3] = {{ s:connect({stuck.there}) }} "
        + dumped("out[1][2], out[2][2], out[3][2], fcgi.now() - t >= 0.15, "
                 "s:getfd()")
        ) == '"timeout", "timeout", "timeout", true, -1'


def test_the_queue_of_a_unix_socket_has_a_limit(lua, tmp_path):
    with Peer(str(tmp_path / "s"), backlog=0) as peer:
        peer.fill()
        assert lua.value(f"fcgi.connect('{peer.name}', {{ timeout = 0.05 }})"
                         ) == 'nil, "timeout"'
        run = Run(lua, peer, "local s = fcgi.connect(addr) s:send 'x' "
                  "return 200, {}, 'sent'", connects=False)
        while True:     # those that fill the queue, then ours
            sock = peer.accept()
            sock.settimeout(0.2)
            try:
                if sock.recv(1):
                    break
            except TimeoutError:
                pass
        assert run.end() == "sent"


def test_without_time_it_goes_on_behind(lua, peer):
    assert lua.text(
        "local s <close> = fcgi.tcp() s:settimeout(0) "
        f"local ok, err = s:connect({peer.there}) "
        "if not ok then assert(err == 'timeout', err) "
        "local _, busy = s:receive() assert(busy == 'socket busy connecting' "
        "or busy == 'timeout', busy) fcgi.wait(s, 'w') "
        f"ok, err = s:connect({peer.there}) end "
        f"if ok then err = select(2, s:connect({peer.there})) end " + dumped(
            "err, (s:send 'x')")) == '"already connected", 1'


def test_another_address_begins_anew(lua, stuck, peer):
    assert lua.text(
        "local s <close> = fcgi.tcp() s:settimeout(0) "
        f"local _, err = s:connect({stuck.there}) s:settimeout() "
        + dumped(f"err, s:connect({peer.there})")) == '"timeout", 1'


@pytest.mark.parametrize("call, message", [
    ("fcgi.connect()", "bad argument #1 to 'connect' (string expected, got "
     "nil)"),
    ("fcgi.connect 'localhost'", "bad argument #1 to 'connect' (HOST:PORT, "
     "[V6]:PORT or unix:/PATH expected)"),
    ("fcgi.connect '127.0.0.1:65536'", "bad argument #1 to 'connect' "
     "(HOST:PORT, [V6]:PORT or unix:/PATH expected)"),
    ("fcgi.connect('127.0.0.1:1', 1)", "bad argument #2 to 'connect' (table "
     "expected, got number)"),
    ("fcgi.connect('127.0.0.1:1', { timeout = 'x' })", "bad option 'timeout' "
     "(a number of seconds expected, got string)"),
    ("s:connect()", "bad argument #1 to 'connect' (string expected, got nil)"),
    ("s:connect 'x'", "bad argument #1 to 'connect' (a host and a port, or "
     "unix:/path expected)"),
    ("s:connect('127.0.0.1', 'http')", "bad argument #2 to 'connect' (not a "
     "port)"),
    ("s:connect('127.0.0.1', -1)", "bad argument #2 to 'connect' (not a "
     "port)"),
    ("s.connect('127.0.0.1', 1)", "bad self (write sock:connect, with a "
     "colon)"),
    ("s.receive()", "bad self (write sock:receive, with a colon)"),
    ("s:receive 'x'", "bad argument #1 to 'receive' (invalid receive "
     "pattern)"),
    ("s:receive(-1)", "bad argument #1 to 'receive' (invalid receive "
     "pattern)"),
    ("s:receive(1.5)", "bad argument #1 to 'receive' (number has no integer "
     "representation)"),
    ("s:receive('*l', {})", "bad argument #2 to 'receive' (string expected, "
     "got table)"),
    ("s:receiveany(0)", "bad argument #1 to 'receiveany' (must be positive)"),
    ("s:receiveuntil ''", "bad argument #1 to 'receiveuntil' (pattern is "
     "empty)"),
    ("s:receiveuntil('x', 1)", "bad argument #2 to 'receiveuntil' (table "
     "expected, got number)"),
    ("s:send()", "bad argument #1 to 'send' (string expected, got no value)"),
    ("s:send {{ 1, {{ true }} }}", "bad argument #1 to 'send' (string, number "
     "or list of them expected, got boolean)"),
    ("local t = {{}} t[1] = t s:send(t)", "bad argument #1 to 'send' (lists "
     "in lists, too deep)"),
    ("s:settimeout 'x'", "bad argument #1 to 'settimeout' (number expected, "
     "got string)"),
    ("s:settimeout(0/0)", "bad argument #1 to 'settimeout' (not a number of "
     "seconds)"),
    ("s:settimeout(1, 'x')", "bad argument #2 to 'settimeout' (invalid "
     "timeout mode)"),
    ("s:setoption('nothing', true)", "bad argument #1 to 'setoption' (no "
     "option 'nothing')"),
    ("s:setoption('keepalive', 1)", "bad argument #2 to 'setoption' (boolean "
     "expected, got number)"),
    ("s:setoption('error', 1)", "bad argument #1 to 'setoption' (this option "
     "cannot be set)"),
    ("s:setoption('linger', {{ on = 1 }})", "bad argument #2 to 'setoption' "
     "(boolean field 'on' expected)"),
    ("s:bind('localhost', 0)", "bad argument #1 to 'bind' (not an address)"),
    ("s:bind('*', 70000)", "bad argument #2 to 'bind' (not a port)"),
    ("s:shutdown 'x'", "bad argument #1 to 'shutdown' (invalid option 'x')"),
])
def test_misuse_names_the_line(lua, call, message):
    call = call.replace("{{", "{").replace("}}", "}")
    assert lua.text(
        f"local s <close> = fcgi.tcp() local _, err = pcall(function()\n{call}"
        f"\nend) return 200, {{}}, err") == f"test:2: {message}"


# --- by name -----------------------------------------------------------------

@pytest.fixture(scope="module")
def named():
    zone = {"both.test": ["127.0.0.3", "127.0.0.2"], "none.test": [],
            "v6.test": ["::1"], "broken.test": ["SERVFAIL"],
            "silent.test": ["SILENT"], "mixed.test": ["127.0.0.2", "::1"]}
    with DnsServer(zone) as dns, \
            Gateway(EVAL, "--resolver=" + dns.address) as gateway:
        yield Lua(gateway)


def test_a_name_is_looked_up(named):
    with Peer(("::1", 0)) as peer:
        assert named.text(
            f"local s <close> = assert(fcgi.connect 'v6.test:{peer.port}') "
            + dumped("s:getpeername()")) == f'"::1", {peer.port}, "inet6"'
        assert named.text(
            f"local s <close> = fcgi.tcp() s:connect('v6.test', {peer.port}) "
            + dumped("s:getpeername()")) == f'"::1", {peer.port}, "inet6"'


def test_the_next_address_is_tried(named):
    """Each of them has its share of the time."""
    with Peer(("127.0.0.2", 0), backlog=0) as dead, \
            Peer(("127.0.0.3", dead.port)):
        dead.fill()
        for _ in range(3):      # in whatever order they come
            assert named.text(
                f"local s <close> = assert(fcgi.connect('both.test:"
                f"{dead.port}', {{ timeout = 2 }})) " + dumped(
                    "s:getpeername()")) == f'"127.0.0.3", {dead.port}, "inet"'
        assert named.value(f"fcgi.connect('both.test:{dead.port}', "
                           "{ timeout = 2 }) ~= nil") == "true"


def test_where_all_refuse_the_last_says_so(named):
    assert named.value("fcgi.connect 'both.test:1'") == \
        'nil, "connection refused"'


@pytest.mark.parametrize("name, err", [
    ("none.test", "host not found"), ("nosuch.test", "host not found"),
    ("broken.test", "server failure"), ("silent.test", "timeout")])
def test_what_has_no_address(named, name, err):
    assert named.value(f"fcgi.connect('{name}:80', {{ timeout = 0.3 }})"
                       ) == f'nil, "{err}"'


def test_who_closes_it_ends_the_search(named):
    assert named.text(
        "local s = fcgi.tcp() local t = fcgi.spawn(s.connect, s, "
        "'silent.test', 80) fcgi.sleep(0.01) s:settimeout(0.05) s:close() "
        "local _, err = t:join(0) return 200, {}, err") == "timeout"


# --- where one cannot wait ---------------------------------------------------

@pytest.mark.parametrize("where, phase", [
    ("%s", "the script is being loaded"),
    ("function on_start() %s end", "on_start runs before there is a loop")])
def test_before_there_is_a_loop_nothing_connects(tmp_path, where, phase):
    script = tmp_path / "app.lua"
    for call in ("fcgi.connect '127.0.0.1:1'", "fcgi.tcp():bind('*', 0)",
                 "fcgi.tcp():connect('unix:/nowhere')"):
        line = f"local fcgi = require 'fcgi' {call}"
        script.write_text("on_request = print\n" + where % line)
        result = run(f"--listen=unix:{tmp_path / 'socket'}", script)
        assert result.code == 78
        assert f"app.lua:2: cannot wait here: {phase}" in result.err


def test_objects_can_be_made_before(gateway, peer):
    gw = gateway(
        "local fcgi = require 'fcgi' local s = fcgi.tcp() s:settimeout(60) "
        "assert(select(2, s:receive()) == 'closed') s:close() "
        f"function on_request() s:connect({peer.there}) s:send 'hello' "
        "return 200, {}, s:receive() end")
    with gw.connect() as conn:
        conn.start(1)
        there = peer.accept()
        assert there.recv(5) == b"hello"
        there.sendall(b"world\n")
        assert conn.collect(1).text == "world"


def test_where_nothing_can_wait_what_is_there_is_had(lua, peer):
    run = Run(lua, peer, "sock:receive(1) local out = {} local _, err = pcall("
              "table.sort, { 1, 2 }, function() out[1] = sock:receive() "
              "out[2] = sock:send 'x' out[3] = sock:receive(1) sock:receive() "
              "end) " + dumped("out, err"))
    run.sock.sendall(b"!line\nx")
    assert run.end() == ('{"line", 1, "x"}, "test:1: cannot wait here (inside '
                         'table.sort)"')


def test_a_finalizer_may_use_sockets(gateway, peer):
    gw = gateway(
        "local fcgi = require 'fcgi' local s local keep = setmetatable({}, { "
        "__gc = function() fcgi.log('notice', 'gc: ', tostring(s:send 'bye'), "
        "' ', select(2, pcall(s.connect, s, '127.0.0.1', 1))) end }) "
        f"function on_request() s = assert(fcgi.connect '{peer.name}') "
        "return 200, {}, 'x' end")
    assert gw.request().text == "x"
    assert gw.stop() == 0
    assert "gc: " in gw.log()


# Whose finalizer closes the socket in one of the allocations of the code.
CLOSES = ("collectgarbage() collectgarbage() collectgarbage 'stop' "
          "setmetatable({}, { __gc = function() sock:close() end }) "
          "collectgarbage 'restart' ")


@pytest.mark.parametrize("read", [
    "function() return sock:receive(1000) end",
    "function() return sock:receiveany(1000) end",
    "sock:receiveuntil 'y'",
    "sock:receiveuntil('zz')",
])
def test_a_finalizer_may_close_what_is_read(lua, peer, read):
    size = "(1000)" if read.endswith("'zz')") else "()"
    run = Run(lua, peer, f"sock:receive(1) local read = {read} {CLOSES} "
              f"local _, err repeat _, err = read{size} until err "
              + dumped("err, sock:getfd()"))
    run.sock.sendall(b"!")
    try:
        while True:
            run.sock.sendall((b"x" * 999 + b"y") * 64)
    except OSError:
        pass
    assert run.end() == '"closed", -1'


def test_a_finalizer_may_close_what_is_written(lua, peer):
    run = Run(lua, peer, "sock:settimeout(60) local list = { BIG } " + CLOSES +
              "local ok, err, sent = sock:send(list) "
              + dumped("ok, err, sent < 1 << 24"))
    assert run.end() == 'nil, "closed", true'


# --- what else a socket has --------------------------------------------------

def test_names_and_figures(lua, peer):
    run = Run(lua, peer, "sock:send 'hello' sock:receive(3) "
              "local host, port, family = sock:getsockname() "
              "local r, s, age = sock:getstats() "
              + dumped("host, port > 0, family, r, s, age >= 0 and age < 60, "
                       "sock:setstats(10, nil, 100), (sock:getstats()), "
                       "select(3, sock:getstats()) >= 100, "
                       "{ fcgi.tcp():getstats() }"))
    assert run.sock.recv(5) == b"hello"
    run.sock.sendall(b"abc")
    assert run.end() == ('"127.0.0.1", true, "inet", 3, 5, true, 1, 10, true, '
                         '{0, 0, 0.0}')


def test_options(lua, peer, local):
    assert lua.text(
        "local s <close> = fcgi.tcp() local before = { "
        "s:getoption 'keepalive' } s:setoption('keepalive', true) "
        "s:setoption('tcp-nodelay', false) s:setoption('tcp-keepidle', 77) "
        "s:setoption('linger', { on = true, timeout = 3 }) "
        "local kept = s:getoption 'keepalive' "
        f"s:connect({peer.there}) " + dumped(
            "before, kept, s:getoption 'keepalive', s:getoption 'tcp-nodelay',"
            " s:getoption 'tcp-keepidle', s:getoption 'linger', "
            "s:getoption 'error', s:setoption('recv-buffer-size', 4096), "
            "s:getoption 'recv-buffer-size' > 4096")
        ) == ('{2="closed"}, true, true, false, 77, {on=true, timeout=3}, nil, '
              '1, true')
    assert lua.text(
        f"local s <close> = assert(fcgi.connect '{local.name}') local _, err = "
        "s:setoption('tcp-nodelay', true) return 200, {}, err"
        ) == "Operation not supported"


def test_an_option_that_cannot_be_set_fails_the_connect(lua, local):
    assert lua.text(
        "local s <close> = fcgi.tcp() s:setoption('tcp-keepidle', 5) "
        + dumped(f"{{ s:connect '{local.name}' }}, s:getfd()")
        ) == '{2="Operation not supported"}, -1'


def test_a_descriptor_changes_hands(lua, peer):
    run = Run(lua, peer, "local other <close> = fcgi.tcp() "
              "local t = fcgi.spawn(sock.receive, sock) fcgi.sleep(0) "
              "local fd = sock:getfd() assert(sock:setfd(fd) == 1) "
              "sock:setfd(-1) other:setfd(fd) "
              "local bad = { fcgi.tcp():setfd(9999) } "
              "bad[3] = pcall(other.setfd, other, 1 << 32) "
              "other:send 'go' "
              + dumped("{ t:join() }, sock:getfd(), other:getfd() == fd, bad, "
                       "other:receive(), tostring(other):match '{(.-)}'"))
    assert run.sock.recv(2) == b"go"
    run.sock.sendall(b"hello\n")
    assert run.end() == (
        '{2="closed", 3=""}, -1, true, {2="closed", 3=false}, "hello", '
        '"client"')


def test_wait_knows_what_was_received(lua, peer):
    run = Run(lua, peer, "sock:receive(1) "
              + dumped("fcgi.wait(sock, 'r', 30), fcgi.wait(sock, 'rw', 0), "
                       "sock:receive(4)"))
    run.sock.sendall(b"!left")
    assert run.end() == '"r", "rw", "left"'


def test_wait_hears_what_the_socket_receives(lua, peer):
    run = Run(lua, peer, "local a = { fcgi.wait(sock, 'r', 0.01) } "
              "local b = fcgi.spawn(fcgi.wait, sock, 'rw') "
              "local c, d = fcgi.spawn(fcgi.wait, sock, 'r', 60), "
              "fcgi.spawn(fcgi.wait, sock, 'r') fcgi.sleep(0) sock:send 'go' "
              + dumped("a, b:join(), c:join(), d:join(), "
                       "{ fcgi.wait(sock, 'r', 0) }, sock:receive(5), "
                       "fcgi.wait(sock, 'r'), sock:receive()"))
    assert run.sock.recv(2) == b"go"
    run.sock.sendall(b"hello")
    run.sock.close()
    assert run.end() == ('{2="timeout"}, "w", "r", "r", {"r"}, "hello", "r", '
                         'nil, "closed", ""')


def test_wait_for_room(lua, peer):
    run = Run(lua, peer, "sock:settimeout(0) sock:send(BIG) "
              "local a = { fcgi.wait(sock, 'w', 0) } "
              "local t = fcgi.spawn(fcgi.wait, sock, 'w', 60) fcgi.sleep(0) "
              "local u = fcgi.spawn(fcgi.wait, sock, 'rw') fcgi.sleep(0) "
              "sock:send 'x' MARK " + dumped("a, t:join(), u:join()"))
    run.marked()
    while run.sock.recv(MIB):
        pass
    assert run.end() == '{2="timeout"}, "w", "w"'


def test_wait_ends_with_the_socket(lua, peer):
    run = Run(lua, peer, "local t = fcgi.spawn(fcgi.wait, sock, 'r') "
              "fcgi.sleep(0) sock:close() "
              + dumped("{ t:join() }, { fcgi.wait(sock, 'w') }, "
                       "{ fcgi.wait(fcgi.tcp(), 'r', 0) }"))
    assert run.end() == '{2="closed"}, {2="closed"}, {2="closed"}'


def test_wait_for_a_server(lua):
    assert lua.text(
        LISTEN + "local a = { fcgi.wait(server, 'r', 0) } "
        "local t = fcgi.spawn(fcgi.wait, server, 'r') fcgi.sleep(0) "
        "local s <close> = fcgi.connect(host .. ':' .. port) "
        + dumped("a, t:join(), fcgi.wait(server, 'r', 0), "
                 "server:accept() ~= nil")
        ) == '{2="timeout"}, "r", "r", true'


# --- listening ---------------------------------------------------------------

def test_a_server_serves(lua):
    assert lua.text(
        LISTEN + "fcgi.spawn(function() while true do local c = server:accept()"
        " if not c then break end fcgi.spawn(function() local c <close> = c "
        "while true do local l = c:receive() if not l then break end "
        "c:send(l:upper() .. '\\n') end end) end end) local tasks, out = {}, {}"
        " for i = 1, 20 do tasks[i] = fcgi.spawn(function() local s <close> = "
        "fcgi.connect(host .. ':' .. port) for n = 1, 5 do s:send('a' .. i .. "
        "'\\n') assert(s:receive() == 'A' .. i) end return i end) end "
        "for i = 1, 20 do out[i] = tasks[i]:join() end "
        + dumped("#out, out[20], tostring(server):match '{(.-)}'")
        ) == '20, 20, "server"'


def test_accept_waits(lua):
    assert lua.text(
        LISTEN + "server:settimeout(0) local a = { server:accept() } "
        "server:settimeout(0.01) local b = { server:accept() } "
        "server:settimeout() local t = fcgi.spawn(server.accept, server) "
        "fcgi.sleep(0) local c = { server:accept() } t:cancel() t:join() "
        "t = fcgi.spawn(server.accept, server) fcgi.sleep(0) server:close() "
        + dumped("a, b, c, { t:join() }, { server:accept() }, "
                 "{ fcgi.tcp():accept() }, { fcgi.tcp():listen() }")) == (
            '{2="timeout"}, {2="timeout"}, {2="socket busy reading"}, '
            '{2="closed"}, {2="closed"}, {2="closed"}, {2="closed"}')


def test_a_unix_server(lua, tmp_path):
    path = tmp_path / "server"
    assert lua.text(
        f"local server <close> = fcgi.tcp() assert(server:bind 'unix:{path}') "
        "assert(server:listen(5)) local s <close> = assert(fcgi.connect "
        f"'unix:{path}') local c <close> = assert(server:accept()) c:send 'hi' "
        + dumped("s:receive(2), server:getsockname()")
        ) == f'"hi", "{path}", nil, "unix"'
    assert lua.text(
        f"local s <close> = fcgi.tcp() local _, err = s:bind 'unix:{path}' "
        "return 200, {}, err") == "address already in use"


def test_every_address(lua):
    assert lua.text(
        "local s <close> = fcgi.tcp() s:bind('*', 0) s:listen() local _, port "
        "= s:getsockname() local c <close> = assert(fcgi.connect("
        "'127.0.0.1:' .. port)) " + dumped("(s:getsockname()), c:getfd() > 0, "
                                          "{ c:listen() }")
        ) == '"0.0.0.0", true, {2="already connected"}'


def test_workers_hold_their_own(gateway, peer):
    """A kept connection is not shared by processes, nor left to children."""
    gw = gateway(
        "local fcgi = require 'fcgi' local s function on_request(req) "
        f"s = s or assert(fcgi.connect '{peer.name}') s:send(req:param 'N' .. "
        "'\\n') return 200, {}, s:receive() end", "-w", "2")
    with gw.connect() as conn:
        conn.start(1, {"N": "one"})
        there = peer.accept()
        assert there.recv(9) == b"one\n"
        there.sendall(b"1\n")
        assert conn.collect(1).text == "1"
        gw.signal(1)
        gw.wait_log("generation 2")
    wait_until(lambda: there.recv(1) == b"", "the old worker's end")
