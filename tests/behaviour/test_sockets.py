"""Sockets of scripts, against peers of the test's own on loopback and unix
sockets.

SPDX-License-Identifier: MIT
"""
import os
import re
import socket
import struct

import pytest

from support.dns_server import DnsServer
from support.gateway import Gateway, run, wait_until
from support.lua import EVAL, Lua

MIB = 1 << 20


class Peer:
    """A listener, and the ends of connections that it has accepted."""

    def __init__(self, address, backlog=16):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.name = f"unix:{address}"
            self.there = repr(self.name)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.sock = socket.socket(family)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(address)
        self.sock.listen(backlog)
        self.sock.settimeout(30)
        if not isinstance(address, str):
            host, self.port = self.sock.getsockname()[:2]
            self.name = (f"[{host}]" if ":" in host else host) + \
                f":{self.port}"
            self.there = f"{host!r}, {self.port}"
        self.open = []

    def accept(self):
        sock, _ = self.sock.accept()
        sock.settimeout(30)
        self.open.append(sock)
        return sock

    def fill(self):
        """Connections that nobody accepts: others wait for the queue."""
        address = self.sock.getsockname()
        for _ in range(2):
            sock = socket.socket(self.sock.family)
            sock.setblocking(False)
            try:
                sock.connect(address)
            except BlockingIOError:
                pass
            self.open.append(sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in [self.sock, *self.open]:
            sock.close()


@pytest.fixture
def peer():
    with Peer(("127.0.0.1", 0)) as one:
        yield one


@pytest.fixture
def local(tmp_path):
    with Peer(str(tmp_path / "peer")) as one:
        yield one


@pytest.fixture
def stuck(tmp_path):
    """Nobody can connect to it, nor hears why."""
    with Peer(("127.0.0.1", 0), backlog=0) as one:
        one.fill()
        yield one


def reset(sock):
    """Closes it with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))
    sock.close()


# 16 MiB, more than the kernel takes, made of long pieces: that is quick.
BIG = "('x'):rep(4096):rep(4096)"


LISTEN = ("local server <close> = fcgi.tcp() assert(server:bind('127.0.0.1', 0"
          ") == 1 and server:listen() == 1) local host, port = "
          "server:getsockname() ")


class Run:
    """A handler under way, whose code sees sock, connected to the peer.  MARK
    in it writes a line that marked() waits for; BIG is 16 MiB."""

    def __init__(self, lua, peer, code, connects=True):
        self.lua, self.conn = lua, lua.connect()
        self.mark = f"marked by {id(self)} of {peer.name}"
        code = code.replace("BIG", BIG).replace(
            "MARK", f"fcgi.log('notice', '{self.mark}')")
        head = (f"local sock <close> = assert(fcgi.connect '{peer.name}') "
                if connects else f"local addr = '{peer.name}' ")
        lua.start(self.conn, 1, head + code)
        self.sock = peer.accept() if connects else None

    def marked(self):
        self.lua.gateway.wait_log(re.escape(self.mark))

    def end(self):
        """What it answers."""
        with self.conn:
            response = self.conn.collect(1)
        assert response.status == 200, response
        return response.text


def dumped(code):
    return f"return 200, {{}}, dump({code})"


def fds(gateway):
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


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


# --- receiving ---------------------------------------------------------------

HELLO = b"one\r\ntwo\r\r\nth\rree\n\nlast"
READS = {
    "lines": (HELLO, "{sock:receive()}, {sock:receive '*l'}, {sock:receive "
              "'l'}, {sock:receive()}, {sock:receive()}",
              '{"one"}, {"two"}, {"three"}, {""}, {2="closed", 3="last"}'),
    "all": (HELLO, "#sock:receive '*a', sock:receive '*a'",
            f'{len(HELLO)}, nil, "closed", ""'),
    "all but a line": (HELLO, "sock:receive(), #sock:receive 'a'",
                       f'"one", {len(HELLO) - 5}'),
    "counts": (b"abcdef", "sock:receive(1), sock:receive '2', "
               "sock:receive(2.0), sock:receive(2)",
               '"a", "bc", "de", nil, "closed", "f"'),
    "nothing": (b"a", "sock:receive(0), sock:receive(1), sock:receive(0)",
                '"", "a", nil, "closed", ""'),
    "prefixes": (b"lo\nab\r\ncdef", "sock:receive('*l', 'hel'), "
                 "sock:receive('*l', 12), sock:receive(3, 'x'), "
                 "sock:receive(2, 'long'), sock:receive('*a', '>')",
                 '"hello", "12ab", "xcd", "long", ">ef"'),
    "prefix and end": (b"b\rc", "sock:receive('*l', 'a')",
                       'nil, "closed", "abc"'),
    "prefix of all and end": (b"", "sock:receive('*a', 'a')",
                              'nil, "closed", "a"'),
    "any": (b"hello", "sock:receiveany(2), sock:receiveany(100), "
            "sock:receiveany(100)", '"he", "llo", nil, "closed"'),
    "until": (b"one--two---three", "(function(f) return {f()}, {f()}, {f()} "
              "end)(sock:receiveuntil '--')",
              '{"one"}, {"two"}, {2="closed", 3="-three"}'),
    "until, with the pattern": (
        b"one\r\ntwo", "(function(f) return {f()}, {f()} end)(sock:receiveuntil"
        "('\\r\\n', { inclusive = true }))",
        '{"one\r\n"}, {2="closed", 3="two"}'),
    "until, in parts": (
        b"hello, world! -agentzh\r\n--abcedhb blah",
        "(function(f) local t = {} repeat local d, err, rest = f(4) "
        "t[#t + 1] = d or 'end' until not d return t, f(4), {f(9)} end)"
        "(sock:receiveuntil '\\r\\n--abcedhb')",
        '{"hell", "o, w", "orld", "! -a", "gent", "zh", "end"}, " bla", '
        '{2="closed", 3="h"}'),
    "until, at once": (b"--x", "(function(f) return f(4), {f(4)}, {f(4)} end)"
                       "(sock:receiveuntil '--')",
                       '"", {}, {2="closed", 3="x"}'),
    "until, with the pattern, in parts": (
        b"abcdef--x", "(function(f) return f(4), f(4), {f(4)} end)"
        "(sock:receiveuntil('--', { inclusive = true }))",
        '"abcd", "ef--", {}'),
    "until, two of them": (
        b"a,b;c,d;", "(function(f, g) return f(), g(), f(), g() end)"
        "(sock:receiveuntil ',', sock:receiveuntil ';')",
        '"a", "b", "c", "d"'),
    "until a part of itself": (
        b"aaab" + b"x", "(function(f) return f(1), f(1), f(1) end)"
        "(sock:receiveuntil 'aab')", '"a", "", nil, nil, nil'),
}


@pytest.mark.parametrize("name", READS)
def test_what_is_received(lua, peer, name):
    """All at once, and byte by byte while the handler waits."""
    data, code, wanted = READS[name]
    run = Run(lua, peer, "local n = sock:receive(4) "
              + dumped(code.replace("\\\\", "\\")))
    run.sock.sendall(b"head" + data)
    run.sock.close()
    assert run.end() == wanted
    if name == "any":
        return
    run = Run(lua, peer, dumped(code.replace("\\\\", "\\")))
    run.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for i in range(len(data)):
            run.sock.send(data[i:i + 1])
    except OSError:
        pass    # it has all that it wanted, and has closed
    run.sock.close()
    assert run.end() == wanted


def test_a_wait_ends_with_what_was_asked_for(lua, local):
    run = Run(lua, local, dumped("sock:receive(6), sock:receive(), sock:dirty(), "
                       "sock:receiveany(9)"))
    for part in b"abc", b"de", b"fgh", b"i\nj":
        run.sock.sendall(part)
    assert run.end() == '"abcdef", "ghi", true, "j"'


def test_limits_give_what_has_come(lua, peer):
    run = Run(lua, peer, "sock:settimeout(0.03) "
              "local a = { sock:receive(10) } local b = { sock:receive() } "
              "local c = { sock:receive '*a' } local d = { sock:receiveany(1) }"
              " local e = { sock:receiveuntil '--'() } sock:send 'go' "
              "sock:settimeout(60) "
              + dumped("a, b, c, d, e, sock:receive('*l', a[3])"))
    run.sock.sendall(b"begun")
    assert run.sock.recv(2) == b"go"
    run.sock.sendall(b" and ended\n")
    assert run.end() == (
        '{2="timeout", 3="begun"}, {2="timeout", 3=""}, {2="timeout", 3=""}, '
        '{2="timeout"}, {2="timeout", 3=""}, "begun and ended"')


def test_a_limit_of_each_wait_begins_anew_with_each_byte(lua, peer):
    run = Run(lua, peer, "sock:settimeout(2) sock:send 'x' "
              + dumped("sock:receive(5)"))
    for byte in b"abcde":
        run.sock.sendall(bytes([byte]))
    assert run.end() == '"abcde"'


def test_a_limit_of_the_whole_call_does_not(lua, peer):
    run = Run(lua, peer, "sock:settimeout(0.1, 't') local t = fcgi.now() "
              "local ok, err, begun = sock:receive '*a' "
              + dumped("ok, err, #begun > 0, fcgi.now() - t < 20"))
    with pytest.raises(OSError):
        while True:     # until the handler has given up and closed
            run.sock.sendall(b"x")
    assert run.end() == 'nil, "timeout", true, true'


def test_without_time_nothing_waits(lua, peer):
    run = Run(lua, peer, "sock:receive(1) sock:settimeout(0) "
              "local a, b = { sock:receive(9) }, { sock:receive() } "
              "local c = { sock:send 'now' } "
              + dumped("a, b, c, sock:receiveany(1)"))
    run.sock.sendall(b"!here")
    assert run.end() == ('{2="timeout", 3="here"}, {2="timeout", 3=""}, {3}, '
                         'nil, "timeout"')


def test_what_is_in_the_kernel_is_had_without_time(lua, peer):
    """Nothing runs between the two but this task."""
    run = Run(lua, peer, "sock:send 'go' sock:settimeout(0) "
              "local data, err repeat data, err = sock:receive(2) "
              "until data or err ~= 'timeout' " + dumped("data, err"))
    assert run.sock.recv(2) == b"go"
    run.sock.sendall(b"ab")
    assert run.end() == '"ab", nil'


def test_a_reset_is_no_end(lua, peer):
    run = Run(lua, peer, "sock:receive(4) sock:send 'x' "
              + dumped("{ sock:receive '*a' }, { sock:receive() }, "
                       "{ sock:receive '*a' }, { sock:send 'x' }"))
    run.sock.sendall(b"headmore")
    assert run.sock.recv(1) == b"x"
    reset(run.sock)
    assert run.end() == (
        '{2="closed", 3="more"}, {2="closed", 3=""}, {2="closed", 3=""}, '
        '{2="closed", 3=0}')


def test_the_peer_may_end_its_direction(lua, peer):
    run = Run(lua, peer, "local all = sock:receive '*a' sock:send(all:upper())"
              " return 200, {}, 'sent'")
    run.sock.sendall(b"hello")
    run.sock.shutdown(socket.SHUT_WR)
    assert run.sock.recv(5) == b"HELLO"
    assert run.end() == "sent"


def test_so_may_the_script(lua, peer):
    run = Run(lua, peer, "sock:send 'hello' local one = sock:shutdown 'send' "
              + dumped("one, { sock:send 'x' }, sock:receive '*a'"))
    everything = b""
    while data := run.sock.recv(100):
        everything += data
    run.sock.sendall(everything.upper())
    run.sock.close()
    assert run.end() == '1, {2="closed", 3=0}, "HELLO"'


def test_lines_have_a_maximum(lua, local):
    run = Run(lua, local, "local a = { sock:receive() } sock:send 'go' "
              "local b = { sock:receiveuntil '--'() } "
              + dumped("a, b, #sock:receive(16 << 20)"))
    run.sock.sendall(b"x" * (16 * MIB))
    assert run.sock.recv(2) == b"go"
    assert run.end() == ('{2="too large", 3=""}, {2="too large", 3=""}, '
                         '16777216')


def test_what_lua_has_no_memory_for_is_too_large(lua_with, local):
    lua = lua_with("--memory-limit=20M")
    run = Run(lua, local, "local a = { sock:receive '*a' } local b = { "
              "sock:receive(1 << 30) } " + dumped("a, b, #sock:receive(9)"))
    run.sock.settimeout(0.5)
    with pytest.raises(OSError):    # it takes no more, or has ended
        while True:
            run.sock.sendall(b"x" * MIB)
    assert run.end() == '{2="too large", 3=""}, {2="too large", 3=""}, 9'


# --- sending -----------------------------------------------------------------

SENDS = {
    "a string": ("'hello'", "5", b"hello"),
    "a number": ("12.5", "4", b"12.5"),
    "a part": ("'hello', 2, 4", "4", b"ell"),
    "a part from the end": ("'hello', -3", "5", b"llo"),
    "a part beyond": ("'hello', -9, 99", "5", b"hello"),
    "an empty part": ("'hello', 4, 2", "3", b""),
    "nothing": ("''", "0", b""),
    "a list": ("{ 'a', 1, { 2.0, { -3.25, 'b' } }, 1e100 }", "18",
               b"a12.0-3.25b1e+100"),
    "an empty list": ("{ {}, { {} } }", "0", b""),
    "a part of a list": ("{ 'he', { 'l', 'lo' } }, 2, 4", "4", b"ell"),
    "many": ("(function() local t = {} for i = 1, 3000 do t[i] = i .. ',' end "
             "return t end)()", "13893",
             b"".join(b"%d," % i for i in range(1, 3001))),
    "long and short": ("{ ('x'):rep(5000), 1, ('y'):rep(2000), 'z', 2 }",
                       "7003", b"x" * 5000 + b"1" + b"y" * 2000 + b"z2"),
    "seventy long ones": ("(function() local t = {} for i = 1, 70 do t[i] = "
                          "(i .. ';'):rep(700) end return t end)()",
                          "140700",
                          b"".join(b"%d;" % i * 700 for i in range(1, 71))),
}


@pytest.mark.parametrize("name", SENDS)
def test_what_is_sent(lua, local, name):
    arguments, sent, data = SENDS[name]
    run = Run(lua, local, f"local sent = {{ sock:send({arguments}) }} "
              "sock:shutdown 'send' sock:receive() " + dumped("sent"))
    got = b""
    while part := run.sock.recv(MIB):
        got += part
    run.sock.close()
    assert got == data
    sent = len(data) if name in ("a list", "seventy long ones") else sent
    assert run.end() == f"{{{sent}}}"


@pytest.mark.parametrize("what", [
    "('0123456789abcdef'):rep(1 << 10):rep(1 << 10)",
    "(function() local t = {} for i = 1, 1 << 14 do t[i] = { "
    "('0123456789abcdef'):rep(63), '0123456789abcdef' } end return t end)()"])
def test_who_is_slow_holds_back_who_sends(lua, peer, what):
    run = Run(lua, peer, "fcgi.spawn(function() fcgi.sleep(0) MARK end) "
               + dumped(f"sock:send({what})"))
    run.marked()
    got = 0
    while got < 16 * MIB:
        part = run.sock.recv(65536)
        assert part == (b"0123456789abcdef" * 4097)[got % 16:][:len(part)]
        got += len(part)
    assert run.end() == "16777216"


def test_much_goes_both_ways(lua, peer):
    run = Run(lua, peer, "local n = 0 while true do local data = "
              "sock:receiveany(1 << 16) if not data then break end "
              "n = n + #data sock:send(data) end " + dumped("n"))
    run.sock.setblocking(False)
    block, sent, got = bytes(range(256)) * 256, 0, 0
    total = 20 * MIB
    while got < total:
        try:
            if sent < total:
                sent += run.sock.send(block[sent % 65536:])
            elif sent == total:
                run.sock.shutdown(socket.SHUT_WR)
                run.sock.settimeout(30)
                sent += 1
        except BlockingIOError:
            pass
        try:
            part = run.sock.recv(65536)
        except BlockingIOError:
            continue
        assert part == (block + block)[got % 65536:][:len(part)]
        got += len(part)
    assert run.end() == str(total)


def test_ten_megabytes_in_one_receive(lua, local):
    data = os.urandom(10 * MIB)
    run = Run(lua, local, "local a = sock:receive(5 << 20) "
              "local b = sock:receive '*a' return 200, {}, { a, b }")
    run.sock.sendall(data)
    run.sock.close()
    with run.conn:
        assert run.conn.collect(1).body == data


def test_a_limit_on_sending(lua, peer):
    run = Run(lua, peer, "sock:settimeout(0.05) local big = BIG"
              " local ok, err, sent = sock:send(big) sock:settimeout(0) "
              "local no = { sock:send { 'y', 'z' } } sock:settimeout(60) "
              "MARK "
              "local all = sock:send(big, sent + 1) "
              + dumped("ok, err, sent > 0 and sent < #big, no, all"))
    run.marked()
    got = 0
    while got < 16 * MIB:
        got += len(run.sock.recv(MIB))
    assert run.end() == ('nil, "timeout", true, {2="timeout", 3=0}, 16777216')


def test_sending_to_who_has_gone(lua, peer):
    run = Run(lua, peer, "sock:receive(1) local big = BIG "
              "local t = fcgi.spawn(sock.send, sock, big) fcgi.sleep(0) "
              "MARK local ok, err, sent = t:join() "
              + dumped("ok, err, sent > 0 and sent < #big, { sock:send 'x' }"))
    run.sock.sendall(b"x")
    run.marked()
    reset(run.sock)
    assert run.end() == 'nil, "closed", true, {2="closed", 3=0}'


# --- tasks that share a socket -----------------------------------------------

def test_one_reads_and_one_writes(lua, peer):
    run = Run(lua, peer, "local r = fcgi.spawn(sock.receive, sock) "
              "local w = fcgi.spawn(sock.send, sock, BIG) "
              "fcgi.sleep(0) fcgi.sleep(0) "
              "local a = { sock:receive(9, 'pre') } local b = { sock:receive() }"
              " local c, d = { sock:send 'x' }, { sock:send { 1 } } "
              "local e = { sock:receiveany(1) } "
              "MARK "
              + dumped("a, b, c, d, e, r:join(), w:join()"))
    run.marked()
    run.sock.sendall(b"hello\n")
    got = 0
    while got < 16 * MIB:
        got += len(run.sock.recv(MIB))
    assert run.end() == (
        '{2="socket busy reading", 3="pre"}, {2="socket busy reading", 3=""}, '
        '{2="socket busy writing", 3=0}, {2="socket busy writing", 3=0}, '
        '{2="socket busy reading"}, "hello", 16777216')


def test_one_connects(lua, stuck):
    assert lua.text(
        "local s <close> = fcgi.tcp() local t = fcgi.spawn(s.connect, s, "
        f"{stuck.there}) fcgi.sleep(0) local busy = {{ s:connect("
        f"{stuck.there}), s:receive(), s:send 'x' }} "
        f"local _, a = s:connect({stuck.there}) local _, b = s:receive() "
        "local _, c = s:send 'x' s:close() "
        + dumped("a, b, c, select(2, t:join())")) == (
            '"socket busy connecting", "socket busy connecting", '
            '"socket busy connecting", "closed"')


def test_who_closes_wakes_who_waits(lua, peer):
    run = Run(lua, peer, "local r = fcgi.spawn(sock.receive, sock, 9) "
              "local w = fcgi.spawn(sock.send, sock, BIG) "
              "while not sock:dirty() do fcgi.sleep(0) end "
              "assert(sock:close() == 1 and sock:close() == 1) "
              "local _, err, sent = w:join() "
              + dumped("{ r:join() }, err, sent > 0, { sock:receive() }, "
                       "{ sock:send 'x' }, sock:getfd(), { sock:getpeername() "
                       "}, { sock:shutdown() }, sock:dirty()"))
    run.sock.sendall(b"begun")
    assert run.end() == (
        '{2="closed", 3="begun"}, "closed", true, {2="closed", 3=""}, '
        '{2="closed", 3=0}, -1, {2="closed"}, {2="closed"}, false')


def test_a_waiter_does_not_go_on_with_the_next_connection(lua, peer):
    assert lua.text(
        f"local s <close> = assert(fcgi.connect '{peer.name}') "
        "local r = fcgi.spawn(s.receive, s, 1) "
        f"local w = fcgi.spawn(s.send, s, {BIG}) "
        f"fcgi.sleep(0) s:close() assert(s:connect({peer.there})) "
        "local _, err = w:join() " + dumped("{ r:join() }, err, (s:send 'x')")
        ) == '{2="closed", 3=""}, "closed", 1'


def test_a_cancelled_connect_can_be_repeated(lua, stuck, peer):
    assert lua.text(
        "local s <close> = fcgi.tcp() local t = fcgi.spawn(s.connect, s, "
        f"{stuck.there}) fcgi.sleep(0) t:cancel() local _, why = t:join() "
        f"s:settimeout(0.02) local _, again = s:connect({stuck.there}) "
        "s:settimeout() " + dumped(f"why, again, s:connect({peer.there})")
        ) == '"cancelled", "timeout", 1'


def test_a_cancelled_receive_loses_nothing(lua, peer):
    run = Run(lua, peer, "local t = fcgi.spawn(sock.receive, sock, 9) "
              "fcgi.sleep(0) sock:send 'go' while not sock:dirty() do "
              "fcgi.sleep(0) end t:cancel() local _, why = t:join() "
              "local u = fcgi.spawn(function() local ok, err = pcall("
              "sock.receive, sock) return sock:receive(3) end) fcgi.sleep(0) "
              "u:cancel() sock:send 'on' "
              + dumped("why, u:join(), sock:receive()"))
    assert run.sock.recv(2) == b"go"
    run.sock.sendall(b"begun")
    assert run.sock.recv(2) == b"on"
    run.sock.sendall(b", ended\n")
    assert run.end() == '"cancelled", "beg", "un, ended"'


def test_a_line_begun_on_a_connection_is_not_of_the_next(lua, peer):
    run = Run(lua, peer, "local t = fcgi.spawn(sock.receive, sock) "
              "while not sock:dirty() do fcgi.sleep(0) end fcgi.sleep(0) "
              "t:cancel() t:join() sock:close() "
              f"assert(sock:connect({peer.there})) MARK "
              "while not sock:dirty() do fcgi.sleep(0) end "
              + dumped("sock:receive '*l'"))
    run.sock.sendall(b"a long beginning")
    run.marked()
    peer.accept().sendall(b"a\nb\n")
    assert run.end() == '"a"'


def test_who_waited_gets_nothing_of_the_next_connection(lua, local):
    run = Run(lua, local, "local t = fcgi.spawn(sock.receive, sock) "
              "fcgi.sleep(0) sock:settimeout(0) sock:close() "
              f"assert(sock:connect({local.there})) "
              "MARK repeat until sock:receive(1) local a = { t:join() } "
              "sock:settimeout(60) "
              + dumped("a, sock:receive()"))
    run.marked()
    local.accept().sendall(b"-ours\n")
    assert run.end() == '{2="closed", 3=""}, "ours"'


def test_a_cancelled_send_sends_no_more(lua, peer):
    run = Run(lua, peer, "local t = fcgi.spawn(sock.send, sock, BIG) "
              "fcgi.sleep(0) t:cancel() local _, why = t:join() "
              "MARK local n = sock:send 'END' "
              + dumped("why, n"))
    run.marked()
    got = b""
    while not got.endswith(b"END"):
        got += run.sock.recv(MIB)
    assert len(got) < 16 * MIB and got[:-3].strip(b"x") == b""
    assert run.end() == '"cancelled", 3'


def test_a_timeout_of_the_request_leaves_the_socket(gateway, peer):
    gw = gateway(
        "local fcgi = require 'fcgi' local sock function on_request(req) "
        f"sock = sock or assert(fcgi.connect '{peer.name}') "
        "return 200, {}, sock:receive() end", "--timeout=0.2")
    assert gw.request().status == 504
    there = peer.accept()
    there.sendall(b"late\n")
    assert gw.request().text == "late"


def test_a_socket_serves_many_requests(gateway, peer):
    gw = gateway(
        "local fcgi = require 'fcgi' local sock, n = nil, 0 function on_worker()"
        f" sock = assert(fcgi.connect '{peer.name}') end "
        "function on_request(req) n = n + 1 sock:send(n .. '\\n') "
        "return 200, {}, sock:receive() end")
    there = peer.accept()
    for i in range(1, 20):
        with gw.connect() as conn:
            conn.start(1)
            assert there.recv(9) == b"%d\n" % i
            there.sendall(b"answer %d\n" % i)
            assert conn.collect(1).text == f"answer {i}"


# --- the ends ----------------------------------------------------------------

def test_a_variable_closes_its_socket(lua, peer):
    run = Run(lua, peer, "sock:receive(1) do local other <close> = sock end "
              + dumped("sock:getfd()"))
    run.sock.sendall(b"x")
    assert run.sock.recv(1) == b""
    assert run.end() == "-1"


def test_the_collector_closes_what_nobody_holds(lua_with, peer, local):
    lua = lua_with()
    before = lua.text("collectgarbage() collectgarbage() return 200, {}, 'x'"
                      ) and fds(lua.gateway)
    lua.text(
        f"for i = 1, 5 do local a, b = fcgi.connect '{peer.name}', "
        f"fcgi.connect '{local.name}' a:send 'x' local c = fcgi.tcp() "
        "c:bind('127.0.0.1', 0) c:listen() end return 200, {}, 'x'")
    assert fds(lua.gateway) == before + 15
    lua.text("collectgarbage() collectgarbage() return 200, {}, 'x'")
    assert fds(lua.gateway) == before


def test_where_descriptors_run_out_those_of_nobody_are_closed(lua_with, peer):
    peer.sock.listen(512)
    lua = lua_with(nofile=64)
    assert lua.text(
        "collectgarbage 'stop' local ok, err = true for i = 1, 300 do if ok "
        f"then ok, err = fcgi.connect '{peer.name}' end end "
        "collectgarbage 'restart' return 200, {}, tostring(err)") == "nil"


@pytest.mark.parametrize("signal", ["TERM", "HUP"])
def test_a_stop_finds_sockets_in_use(gateway, signal, peer, stuck, tmp_path):
    code = (
        f"local fcgi, big = require 'fcgi', {BIG} "
        "function on_worker() for i = 1, 2 do "
        f"local s = assert(fcgi.connect '{peer.name}') "
        "local server = fcgi.tcp() server:bind('127.0.0.1', 0) server:listen()"
        " local other = fcgi.tcp() for _, f in ipairs { function() s:receive "
        "'*a' end, function() s:send(big) end, function() "
        f"server:accept() end, function() other:connect({stuck.there}) end, "
        "function() fcgi.sleep(3600) local _ = s end } do fcgi.spawn(function()"
        " while true do pcall(f) end end) end end fcgi.sleep(0) end "
        "function on_request() return 200, {}, 'here' end")
    gw = gateway(code, "--grace=0.1")
    assert gw.request().text == "here"
    if signal == "HUP":
        gw.signal(1)
        gw.wait_log("reloaded")
        assert gw.request().text == "here"
    assert gw.stop() == 0


def test_a_handler_in_a_wait_at_the_end(gateway, peer):
    gw = gateway(
        "local fcgi = require 'fcgi' function on_request(req) "
        f"local s <close> = assert(fcgi.connect '{peer.name}') "
        "fcgi.log('notice', 'waits') return 200, {}, s:receive() end",
        "--grace=0")
    with gw.connect() as conn:
        conn.start(1)
        gw.wait_log("waits")
        assert gw.stop() == 0
    assert peer.accept().recv(1) == b""


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
