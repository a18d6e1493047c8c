"""sock:sslhandshake: TLS through LuaSec, against Python's servers.

SPDX-License-Identifier: MIT
"""
import contextlib
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from support.gateway import Gateway, free_port, wait_until
from support.lua import EVAL, Lua
from support.tls import Certificates, Server

MIB = 1 << 20


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def greet(conn):
    """Says hello, then sends back what comes, in upper case."""
    conn.sendall(b"hello\n")
    while data := conn.recv(65536):
        conn.sendall(data.upper())


@pytest.fixture(scope="module")
def greeter(certificates):
    with Server(certificates.good.context(), greet) as server:
        yield server


@pytest.fixture(scope="module")
def gateway_of_tls(certificates):
    """Trusts the authority of the tests."""
    with Gateway(EVAL, env={"SSL_CERT_FILE": certificates.authority.crt,
                            "SSL_CERT_DIR": None}) as gw:
        yield gw


@pytest.fixture
def lua(gateway_of_tls):
    lua = Lua(gateway_of_tls)
    yield lua
    gateway_of_tls.check_log()


def connect(server, timeout=60):
    return (f"local sock = assert(fcgi.connect('127.0.0.1:{server.port}', "
            f"{{ timeout = {timeout} }})) ")


def shake(server, arguments="", timeout=60):
    return (connect(server, timeout) +
            f"local ok, err = sock:sslhandshake({arguments}) ")


HELLO = "assert(ok, err) local line = sock:receive() sock:close() "


# --- whom it trusts ----------------------------------------------------------

def test_it_is_encrypted(lua, greeter):
    assert lua.text(shake(greeter) + "assert(ok == true, err) "
                    "local hello = sock:receive() sock:send('abc\\n') "
                    "return 200, {}, dump(hello, sock:receive())"
                    ) == '"hello", "ABC"'


@pytest.mark.parametrize("name", [
    "nil", "'127.0.0.1'", "'::1'", "'localhost'", "'LOCALHOST.'",
    "'www.shop.example'"])
def test_names_of_the_certificate(lua, greeter, name):
    assert lua.text(shake(greeter, f"nil, {name}") + HELLO +
                    "return 200, {}, line") == "hello"


@pytest.mark.parametrize("name, why", [
    ("shop.example", "shop.example"),
    ("a.b.shop.example", "a.b.shop.example"),
    ("127.0.0.2", "127.0.0.2"),
    ("good", "good"),
])
def test_other_names(lua, greeter, name, why):
    assert lua.text(
        shake(greeter, f"nil, '{name}'") + "return 200, {}, dump(ok, err, "
        "sock:receive())") == (
            'nil, "host name does not match: the certificate is for '
            f'localhost, *.shop.example, 127.0.0.1, ..., not {why}", '
            'nil, "closed", ""')


REASONS = {
    "expired": "certificate verify failed: certificate has expired",
    "early": "certificate verify failed: certificate is not yet valid",
    "self": "certificate verify failed: self-signed certificate",
    "unknown": "certificate verify failed: unable to get local issuer "
               "certificate",
    "unchained": "certificate verify failed: unable to get local issuer "
                 "certificate",
    "under_old": "certificate verify failed: certificate has expired",
    "under_leaf": "certificate verify failed: invalid CA certificate",
    "for_clients": "certificate verify failed: unsuitable certificate purpose",
    "other_host": "host name does not match: the certificate is for "
                  "other.example, not localhost",
    "no_names": "host name does not match: the certificate is for no host, "
                "not localhost",
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2,
                                     ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", REASONS)
def test_bad_certificates(lua, certificates, name, version):
    context = certificates.bad[name].context()
    context.minimum_version = context.maximum_version = version
    with Server(context, greet) as server:
        assert lua.text(shake(server, "nil, 'localhost'") +
                        "return 200, {}, dump(ok, err, sock:getfd())") == \
            f'nil, "{REASONS[name]}", -1'
        assert lua.text(shake(server, "nil, 'localhost', false") + HELLO +
                        "return 200, {}, line") == "hello"


def test_a_chain(lua, certificates):
    with Server(certificates.chained.context(), greet) as server:
        assert lua.text(shake(server) + HELLO + "return 200, {}, line"
                        ) == "hello"


@pytest.mark.parametrize("how", ["cafile", "capath"])
def test_who_is_trusted_can_be_said(lua, certificates, tmp_path, how):
    stranger = certificates.stranger
    place = stranger.crt
    if how == "capath":
        place = tmp_path
        os.symlink(stranger.crt, tmp_path / (stranger.hash_name() + ".0"))
    with Server(certificates.bad["unknown"].context(), greet) as server:
        options = f"nil, nil, true, {{ {how} = '{place}' }}"
        assert lua.text(shake(server, options) + HELLO +
                        "return 200, {}, line") == "hello"
    with Server(certificates.good.context(), greet) as server:
        assert "unable to get local issuer" in lua.text(
            shake(server, options) + "return 200, {}, err")


def test_a_folder_in_the_environment(gateway, certificates, greeter, tmp_path):
    os.symlink(certificates.authority.crt,
               tmp_path / (certificates.authority.hash_name() + ".0"))
    lua = Lua(gateway(EVAL, env={"SSL_CERT_FILE": "",
                                 "SSL_CERT_DIR": str(tmp_path)}))
    assert lua.text(shake(greeter) + HELLO + "return 200, {}, line"
                    ) == "hello"


def test_by_default_the_systems_authorities_are_trusted(gateway, greeter):
    lua = Lua(gateway(EVAL, env={"SSL_CERT_FILE": None, "SSL_CERT_DIR": None}))
    assert lua.text(shake(greeter) + "return 200, {}, dump(ok, err)") == (
        'nil, "certificate verify failed: unable to get local issuer '
        'certificate"')


# --- others go on ------------------------------------------------------------

TURNS = ("local turns, done = 0 local counter = fcgi.spawn(function() "
         "while not done do turns = turns + 1 fcgi.sleep(0) end end) ")


def test_a_peer_that_sends_without_pause_holds_nobody_up(lua, certificates):
    def serve(conn):
        for _ in range(24):
            conn.sendall(bytes(MIB))

    with Server(certificates.good.context(), serve) as server:
        size, turns = lua.text(
            shake(server) + TURNS + "local all = sock:receive '*a' done = true "
            "return 200, {}, #all .. ' ' .. turns").split()
    assert int(size) == 24 * MIB and int(turns) >= 20


def test_a_peer_that_takes_without_pause_holds_nobody_up(lua, certificates):
    got = []

    def serve(conn):
        got.append(0)
        while data := conn.recv(1 << 20):
            got[0] += len(data)

    with Server(certificates.good.context(), serve) as server:
        turns = lua.text(
            shake(server) + TURNS + "assert(sock:send(('x'):rep(24 << 20))) "
            "done = true sock:close() return 200, {}, turns .. ''")
        wait_until(lambda: got == [24 * MIB] or server.errors)
    assert got == [24 * MIB] and int(turns) >= 20


# --- what the server is told -------------------------------------------------

def test_the_server_hears_the_name(lua, certificates):
    heard = []
    context = certificates.good.context()
    context.sni_callback = lambda conn, name, _: heard.append(name)
    with Server(context, greet) as server:
        for name in ("'www.shop.example'", "'Localhost.'", "'127.0.0.1'",
                     "nil"):
            lua.text(shake(server, f"nil, {name}") + HELLO +
                     "return 200, {}, line")
        lua.text(shake(server, "nil, 'x.example', false") + HELLO +
                 "return 200, {}, line")
    assert heard == ["www.shop.example", "localhost", None, None, "x.example"]


def test_by_default_it_is_the_name_that_was_connected_to(lua, certificates):
    heard = []
    context = certificates.good.context()
    context.sni_callback = lambda conn, name, _: heard.append(name)
    with Server(context, greet) as server:
        for connects in (
                f"fcgi.connect('localhost:{server.port}')",
                f"fcgi.connect('localhost:{server.port}', {{ pool = 'p' }})",
                f"fcgi.connect('localhost:{server.port}', {{ pool = false }})",
                f"fcgi.connect('127.0.0.1:{server.port}')"):
            assert lua.text(
                f"local sock = assert({connects}) assert(sock:sslhandshake())"
                " local line = sock:receive() sock:close() "
                "return 200, {}, line") == "hello"
        assert lua.text(
            "local sock = fcgi.tcp() "
            f"assert(sock:connect('127.0.0.1', {server.port})) sock:close() "
            f"assert(sock:connect('localhost', {server.port})) "
            "assert(sock:sslhandshake()) return 200, {}, sock:receive()"
            ) == "hello"
    assert heard == ["localhost"] * 3 + [None, "localhost"]


def test_a_unix_socket_needs_a_name(lua, certificates, tmp_path):
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve():
        conn = certificates.good.context().wrap_socket(
            listener.accept()[0], server_side=True)
        conn.sendall(b"hello\n")
        conn.recv(1)
        conn.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert lua.text(
        f"local sock = assert(fcgi.connect('unix:{path}')) "
        "local ok, err = pcall(function() sock:sslhandshake() end) "
        "assert(sock:sslhandshake(nil, 'localhost')) "
        "local line = sock:receive() sock:close() "
        "return 200, {}, dump(ok, err, line)") == (
            'false, "test:1: bad argument #2 to \'sslhandshake\' (a name is '
            'needed to verify a certificate)", "hello"')
    thread.join()
    listener.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2,
                                     ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_our_own(lua, certificates, version):
    context = certificates.good.context()
    context.load_verify_locations(certificates.authority.crt)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    client = certificates.client
    options = (f"nil, nil, true, {{ certificate = '{client.crt}', "
               f"key = '{client.key}' }}")
    seen = []

    def serve(conn):
        seen.append(dict(conn.getpeercert()["subject"][0])["commonName"])
        greet(conn)

    with Server(context, serve) as server:
        assert lua.text(shake(server, options) + HELLO +
                        "return 200, {}, line") == "hello"
        text = lua.text(shake(server) + "if ok then ok, err = sock:receive() "
                        "end return 200, {}, dump(ok, err)")
        assert text.startswith("nil, ")
        assert "certificate required" in text or "handshake failure" in text
    assert seen == ["client"]


def test_what_will_be_spoken(lua, certificates):
    context = certificates.good.context()
    context.set_alpn_protocols(["http/1.1", "other"])
    chosen = []

    def serve(conn):
        chosen.append(conn.selected_alpn_protocol())
        greet(conn)

    with Server(context, serve) as server:
        for alpn in ("{ 'h2', 'other' }", "'http/1.1'", "{ 'h2' }"):
            lua.text(shake(server, f"nil, nil, true, {{ alpn = {alpn} }}") +
                     "fcgi.log('notice', 'alpn ', err) " + HELLO.replace(
                         ", err", "") + "return 200, {}, line")
    assert chosen == ["other", "http/1.1", None]
    log = lua.gateway.log()
    assert "alpn other" in log and "alpn http/1.1" in log and "alpn nil" in log


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nothing_before_tls_1_2_is_spoken(lua, certificates):
    context = certificates.good.context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with Server(context, greet) as server:
        assert lua.text(shake(server, "nil, nil, true, "
                              "{ ciphers = 'DEFAULT:@SECLEVEL=0' }") +
                        "return 200, {}, err").startswith("handshake failed: ")
    assert server.errors


# --- handshakes that go wrong ------------------------------------------------

def silent(conn):
    while conn.recv(4096):
        pass


def test_a_handshake_takes_no_longer_than_a_connect(lua):
    with Server(None, silent) as server:
        assert lua.text(shake(server, timeout=0.05) +
                        "return 200, {}, dump(ok, err, sock:getfd())") == \
            'nil, "timeout", -1'


def test_a_handshake_is_cancelled_with_its_task(lua):
    with Server(None, silent) as server:
        assert lua.text(
            connect(server) + "local task = fcgi.spawn(sock.sslhandshake, "
            "sock) fcgi.sleep(0.01) task:cancel('enough') "
            "return 200, {}, dump(task:join(), sock:getfd())") == \
            'nil, -1'


def test_who_closes_ends_the_handshake(lua):
    with Server(None, silent) as server:
        assert lua.text(
            connect(server) + "local task = fcgi.spawn(sock.sslhandshake, "
            "sock) fcgi.sleep(0.01) sock:close() "
            "local ok, err = task:join() return 200, {}, dump(ok, err)") == \
            'nil, "closed"'


def test_nobody_else_may_read_or_write_meanwhile(lua):
    with Server(None, silent) as server:
        assert lua.text(
            connect(server) + "local task = fcgi.spawn(sock.sslhandshake, "
            "sock) fcgi.sleep(0.01) local _, a = sock:receive() "
            "local _, b = sock:send('x') local _, c = sock:sslhandshake() "
            "sock:close() return 200, {}, dump(a, b, c)") == \
            ", ".join(['"socket busy connecting"'] * 3)


def reset(conn):
    conn.recv(1)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))


@pytest.mark.parametrize("serve", [reset, lambda conn: conn.recv(1),
                                   lambda conn: None])
def test_a_server_that_goes_is_closed(lua, serve):
    with Server(None, serve) as server:
        assert lua.text(shake(server) + "return 200, {}, dump(ok, err)") == \
            'nil, "closed"'


def test_a_server_that_does_not_speak_tls(lua):
    def serve(conn):
        conn.recv(4096)
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)
        silent(conn)

    with Server(None, serve) as server:
        assert lua.text(shake(server) + "return 200, {}, dump(ok, err)") == \
            'nil, "handshake failed: wrong version number"'


def test_what_came_before_the_handshake_is_not_believed(lua, certificates):
    def serve(conn):
        conn.sendall(b"injected\n")
        silent(conn)

    with Server(None, serve) as server:
        assert lua.text(
            connect(server) + "while not sock:dirty() do fcgi.sleep(0.001) "
            "end local ok, err = sock:sslhandshake() "
            "return 200, {}, dump(ok, err, sock:getfd())") == \
            'nil, "unread data in buffer", -1'


def test_a_second_handshake_changes_nothing(lua, greeter):
    assert lua.text(
        shake(greeter, "nil, 'localhost'") + "assert(ok, err) "
        "local same = sock:sslhandshake(ok, 'LOCALHOST.') "
        "local unverified = sock:sslhandshake(nil, 'x', false) "
        "local other, why = sock:sslhandshake(nil, 'www.shop.example') "
        "return 200, {}, dump(same, unverified, other, why, sock:receive())"
        ) == 'true, true, nil, "encrypted for another name", "hello"'
    assert lua.text(
        shake(greeter, "nil, 'localhost', false") + "assert(ok, err) "
        "return 200, {}, dump(sock:sslhandshake(nil, 'localhost'))") == \
        'nil, "encrypted, but not verified"'


@pytest.mark.parametrize("call, why", [
    ("sock:sslhandshake(nil, 1)", "bad argument #2 to 'sslhandshake' (string "
     "expected, got number)"),
    ("sock:sslhandshake(nil, '')", "bad argument #2 to 'sslhandshake' (a name "
     "is needed to verify a certificate)"),
    ("sock:sslhandshake(nil, nil, 'yes')", "bad argument #3 to 'sslhandshake' "
     "(boolean expected, got string)"),
    ("sock:sslhandshake(nil, nil, true, 'x')", "bad argument #4 to "
     "'sslhandshake' (table expected, got string)"),
    ("sock:sslhandshake(nil, nil, true, { cafle = 'x' })",
     "sslhandshake has no option 'cafle'"),
    ("sock:sslhandshake(nil, nil, true, { cafile = 1 })",
     "bad option 'cafile' (string expected, got number)"),
    ("sock:sslhandshake(nil, nil, true, { alpn = { 1 } })",
     "bad option 'alpn' (string expected, got number)"),
])
def test_misuse_names_the_line(lua, greeter, call, why):
    assert lua.text(connect(greeter) + f"local ok, err = pcall(function() "
                    f"{call} end) return 200, {{}}, err") == f"test:1: {why}"


def test_without_a_connection_there_is_no_handshake(lua):
    assert lua.value("fcgi.tcp():sslhandshake(nil, 'x')") == 'nil, "closed"'


@pytest.mark.parametrize("option", ["cafile = '/nowhere'",
                                    "certificate = '/nowhere'",
                                    "key = '/nowhere'", "ciphers = 'none'",
                                    "alpn = ''"])
def test_what_luasec_does_not_take(lua, greeter, option):
    assert lua.text(
        shake(greeter, f"nil, nil, true, {{ {option} }}") +
        "return 200, {}, dump(ok, type(err))") == 'nil, "string"'


def test_where_nothing_can_wait_there_is_no_handshake(lua):
    with Server(None, silent) as server:
        assert lua.text(
            connect(server) + "local _, err = pcall(table.sort, { 2, 1 }, "
            "function() sock:sslhandshake() end) return 200, {}, dump(err, "
            "sock:getfd())"
            ) == '"test:1: cannot wait here (inside table.sort)", -1'


# --- bytes -------------------------------------------------------------------

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2,
                                     ssl.TLSVersion.TLSv1_3])
def test_a_lot_both_ways_at_once(lua, certificates, version):
    context = certificates.good.context()
    context.minimum_version = context.maximum_version = version
    size = 8 * MIB

    def serve(conn):
        """In one thread: a TLS connection of Python's is not for two."""
        wants = ssl.SSLWantReadError, ssl.SSLWantWriteError
        conn.setblocking(False)
        left, out = size, memoryview(b"s" * size)
        while left or out:
            with contextlib.suppress(*wants):
                while out:
                    out = out[conn.send(out[:65536]):]
            try:
                while left:
                    got = conn.recv(65536)
                    assert set(got) == {ord("c")}
                    left -= len(got)
            except wants:
                select.select([conn], [conn] if out else [], [], 1)
        conn.settimeout(60)
        conn.sendall(b"done\n")

    with Server(context, serve) as server:
        assert lua.text(
            shake(server) + "assert(ok, err) "
            f"local sender = fcgi.spawn(function() return sock:send(('c'):rep("
            f"{size})) end) local data = assert(sock:receive({size})) "
            "return 200, {}, dump(#data, data:find('[^s]'), sender:join()) "
            ".. sock:receive()") == f"{size}, nil, {size}done"
    assert server.errors == []


def test_every_way_to_read(lua, certificates):
    def serve(conn):
        conn.sendall(b"a line\r\n12345until<>any")
        conn.sendall(b"the rest")

    with Server(certificates.good.context(), serve) as server:
        assert lua.text(
            shake(server) + "assert(ok, err) local out = { sock:receive(), "
            "sock:receive(5), sock:receiveuntil('<>')(), "
            "sock:receiveany(3), sock:receive('*a') } "
            "return 200, {}, dump(out, sock:receive())") == (
                '{"a line", "12345", "until", "any", "the rest"}, nil, '
                '"closed", ""')


def test_lists_and_parts_are_sent(lua, greeter):
    assert lua.text(
        shake(greeter) + "sock:receive() "
        "local n = sock:send { 'a', { 'b', 1 }, 'c\\n' } "
        "local last = sock:send('xdefx\\n', 2, 4) sock:send('\\n') "
        "return 200, {}, dump(n, last, sock:receive(), sock:receive())") == \
        '5, 4, "AB1C", "DEF"'


def test_what_is_counted_is_what_is_inside(lua, greeter):
    assert lua.text(
        shake(greeter) + "sock:receive() sock:send('abc\\n') sock:receive() "
        "return 200, {}, dump(sock:getstats())").startswith("10, 4, ")


def test_a_handshake_disturbs_nobody_who_reads(lua, greeter):
    assert lua.text(
        connect(greeter) + "local reader = fcgi.spawn(sock.receive, sock) "
        "fcgi.sleep(0) local ok, err = sock:sslhandshake() "
        "local open = sock:getfd() > 0 reader:cancel() reader:join() "
        "return 200, {}, dump(ok, err, open, (sock:sslhandshake()))") == \
        'nil, "socket busy reading", true, true'


def test_a_server_that_ends_without_a_goodbye(lua, certificates):
    def serve(conn):
        conn.sendall(b"half a li")

    with Server(certificates.good.context(), serve) as server:
        assert lua.text(
            shake(server) + "return 200, {}, dump(sock:receive())") == \
            'nil, "closed", "half a li"'


def test_a_server_that_says_goodbye_can_still_be_written_to(lua, certificates):
    got = []

    def serve(conn):
        conn.sendall(b"bye\n")
        conn.settimeout(60)
        try:
            raw = conn.unwrap()     # its goodbye, then ours
        except ssl.SSLError as error:
            got.append(error.reason)
        else:
            got.append(raw.recv(1))

    with Server(certificates.good.context(), serve) as server:
        assert lua.text(
            shake(server) + "local all = sock:receive('*a') sock:close() "
            "return 200, {}, dump(all)") == r'"bye' + '\n"'
        wait_until(lambda: got)
    assert got == [b""]


def test_reading_takes_no_longer_than_it_may(lua, greeter):
    assert lua.text(
        shake(greeter) + "sock:receive() sock:settimeout(0.02) "
        "local a = dump(sock:receive()) sock:settimeout(0) "
        "local b = dump(sock:receive(5)) sock:settimeout(60) "
        "sock:send('x\\n') return 200, {}, a .. b .. sock:receive()") == \
        'nil, "timeout", ""nil, "timeout", ""X'


def test_a_write_that_was_broken_off_goes_on(lua, certificates):
    released, got = threading.Event(), []

    def serve(conn):
        released.wait(60)
        while data := conn.recv(65536):
            got.append(data)

    size = 16 * MIB
    with Server(certificates.good.context(), serve) as server:
        assert lua.text(
            shake(server) + f"local data = ('0123456789abcdef'):rep({size} // "
            "16) sock:settimeout(0.05) local sent, err, last = sock:send(data)"
            " go_on = sock local _, other = sock:send('other') "
            "fcgi.log('notice', 'sent ', last) rest = data:sub(last + 1) "
            "return 200, {}, dump(sent, err, last > 0, other)") == \
            'nil, "timeout", true, "other data is half sent"'
        released.set()
        assert lua.text("go_on:settimeout(60) local last = go_on:send(rest) "
                        "local whole = last == #rest go_on:close() "
                        "rest, go_on = nil return 200, {}, dump(whole)"
                        ) == "true"
        wait_until(lambda: sum(map(len, got)) == size)
        assert b"".join(got) == b"0123456789abcdef" * (size // 16)


def test_one_task_reads_and_one_writes(lua, certificates):
    with Server(certificates.good.context(), silent) as server:
        assert lua.text(
            shake(server) + "local reader = fcgi.spawn(sock.receive, sock) "
            "local writer = fcgi.spawn(sock.send, sock, ('x'):rep(1 << 23)) "
            "fcgi.sleep(0.01) local _, a = sock:receive() "
            "sock:close() local _, b = reader:join() "
            "return 200, {}, dump(a, b)") == '"socket busy reading", "closed"'


def test_a_cancelled_reader_loses_nothing(lua, certificates):
    released = threading.Event()

    def serve(conn):
        conn.sendall(b"first ha")
        released.wait(60)
        conn.sendall(b"lf\n")
        silent(conn)

    with Server(certificates.good.context(), serve) as server:
        assert lua.text(
            shake(server) + "kept = sock local task = fcgi.spawn(sock.receive,"
            " sock) while not sock:dirty() do fcgi.sleep(0.001) end "
            "task:cancel() local _, why = task:join() "
            "return 200, {}, dump(why)") == '"cancelled"'
        released.set()
        assert lua.text("local line = kept:receive() kept:close() kept = nil "
                        "return 200, {}, line") == "first half"


def test_who_only_writes_loses_nothing(lua, certificates):
    """The server's tickets lie unread."""
    got = []

    def serve(conn):
        data = b""
        while piece := conn.recv(65536):
            data += piece
        got.append(data)

    with Server(certificates.good.context(), serve) as server:
        for _ in range(20):
            lua.text(shake(server) + "assert(sock:send(('x'):rep(100000))) "
                     "sock:close() return 200, {}, ''")
        wait_until(lambda: len(got) == 20 or server.errors)
    assert got == [b"x" * 100000] * 20


def test_closing_waits_for_nobody(lua, certificates):
    released = threading.Event()
    with Server(certificates.good.context(),
                lambda conn: released.wait(60)) as server:
        assert lua.text(
            shake(server) + "sock:settimeout(0.02) "
            "local _, err = sock:send(('x'):rep(1 << 23)) "
            "local begun = fcgi.now() sock:close() "
            "return 200, {}, dump(err, fcgi.now() - begun < 1)") == \
            '"timeout", true'
        assert lua.text(        # nor does the collector
            "do " + shake(server) + "sock:settimeout(0.02) "
            "sock:send(('x'):rep(1 << 23)) end collectgarbage() "
            "collectgarbage() return 200, {}, 'collected'") == "collected"
        released.set()


# --- a server that negotiates again ------------------------------------------

@pytest.fixture
def s_server(certificates):
    """OpenSSL's: its input goes to the client, but for a line "R"."""
    good, port = certificates.good, free_port()
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_2",
         "-cert", good.crt, "-key", good.key],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    server.port = port
    for line in server.stdout:
        if line.startswith(b"ACCEPT"):
            break
    yield server
    server.kill()
    server.communicate()


def say(server, line):
    server.stdin.write(line + b"\n")
    server.stdin.flush()


def test_a_server_is_told_no_that_negotiates_again(lua, s_server):
    lua.text(shake(s_server) + "assert(ok, err) kept = sock return 200, {}")
    say(s_server, b"one")
    assert lua.value("kept:receive()") == '"one"'
    say(s_server, b"R")
    assert lua.value("kept:receive()") in (
        'nil, "sslv3 alert handshake failure", ""', 'nil, "closed", ""')
    lua.text("kept:close() kept = nil return 200, {}")


def test_luasecs_own_parameters_let_it(lua, certificates, s_server):
    """In a read, long after the task of the handshake has ended."""
    assert lua.text(
        "local socket, ssl = require 'fcgi.socket', require 'ssl' "
        f"local sock = assert(socket.connect('127.0.0.1', {s_server.port})) "
        "kept = assert(ssl.wrap(sock, { mode = 'client', protocol = 'any', "
        "verify = 'peer', verifyext = 'lsec_continue', cafile = "
        f"'{certificates.stranger.crt}' }})) kept:settimeout(60) "
        "local done = coroutine.wrap(kept.dohandshake)(kept) "
        "return 200, {}, dump(done, (kept:getpeerverification()))") == \
        "true, false"
    lua.text("collectgarbage() collectgarbage() return 200, {}")
    say(s_server, b"R")
    lua.text("require 'fcgi.socket'.select({ kept }) return 200, {}")
    say(s_server, b"two") # it takes one line at a time
    assert lua.value("(kept:receive())") == '"two"'
    lua.text("kept:close() kept = nil return 200, {}")


# --- many --------------------------------------------------------------------

def test_a_hundred_handshakes_at_once(lua, greeter):
    assert lua.text(
        f"local function hello() {shake(greeter)} assert(ok, err) "
        "local line = sock:receive() sock:close() return line end "
        "local tasks, count = {}, 0 "
        "for i = 1, 100 do tasks[i] = fcgi.spawn(hello) end "
        "for i = 1, 100 do if tasks[i]:join() == 'hello' then "
        "count = count + 1 end end return 200, {}, dump(count)") == "100"


def test_nothing_is_left_open(lua, greeter):
    code = ("do " + shake(greeter) + "assert(ok, err) sock:receive() "
            "if closes then sock:close() end end collectgarbage() "
            "collectgarbage() return 200, {}, ''")
    lua.text(code)
    before = lua.gateway.fds()
    for closes in ("true", "false"):
        for _ in range(10):
            lua.text(f"closes = {closes} " + code)
    lua.gateway.wait_fds(before)


def test_a_connection_may_serve_many_requests(lua, greeter):
    lua.text(shake(greeter, "nil, 'localhost'") + "sock:receive() kept = sock "
             "return 200, {}, ''")
    for n in range(5):
        assert lua.text(f"kept:send('n{n}\\n') collectgarbage() "
                        "return 200, {}, kept:receive()") == f"N{n}"
    lua.text("kept:close() kept = nil return 200, {}, ''")


def test_a_gateway_ends_with_connections_open(gateway, certificates, greeter):
    lua = Lua(gateway(EVAL, "--grace=0.1", env={
        "SSL_CERT_FILE": certificates.authority.crt}))
    lua.text(shake(greeter) + "sock:receive() kept = sock "
             "return 200, {}, ''")
    with lua.connect() as conn:
        lua.start(conn, 1, shake(greeter) + "fcgi.log('notice', 'reads') "
                  "return 200, {}, dump(sock:receive(1000))")
        lua.gateway.wait_log("reads")
        lua.gateway.signal(signal.SIGTERM)
        assert conn.collect(1).status == 503
    assert lua.gateway.wait() == 0


# --- pools -------------------------------------------------------------------

def pooled(server, arguments, rest):
    return (f"local sock = assert(fcgi.connect('127.0.0.1:{server.port}', "
            f"{{ pool = 'p{server.port}' }})) "
            f"local ok, err = sock:sslhandshake({arguments}) {rest}")


def test_a_pooled_connection_needs_no_handshake(lua, certificates):
    count = []

    def serve(conn):
        count.append(1)
        greet(conn)

    with Server(certificates.good.context(), serve) as server:
        first = pooled(server, "nil, 'localhost'", "sock:receive() "
                       "assert(sock:setkeepalive()) return 200, {}, ''")
        again = ("sock:send('x\\n') local line = sock:receive() "
                 "local times = sock:getreusedtimes() "
                 "if ok then sock:setkeepalive() end "
                 "return 200, {}, dump(ok, err, line, times)")
        lua.text(first)
        for times, arguments in enumerate(("nil, 'localhost'", "",
                                           "nil, 'x', false"), 1):
            assert lua.text(pooled(server, arguments, again)) == \
                f'true, nil, "X", {times}'
        assert lua.text(pooled(server, "nil, 'www.shop.example'",
                               "return 200, {}, dump(ok, err)")) == \
            'nil, "encrypted for another name"'
        assert len(count) == 1


def test_one_that_was_not_verified_is_not_taken_for_verified(lua, greeter):
    lua.text(pooled(greeter, "nil, 'localhost', false", "sock:receive() "
                    "assert(sock:setkeepalive()) return 200, {}, ''"))
    assert lua.text(pooled(greeter, "nil, 'localhost'",
                           "return 200, {}, dump(ok, err)")) == \
        'nil, "encrypted, but not verified"'


def test_a_pooled_connection_is_trusted_as_far_as_its_options_go(
        lua, certificates):
    """Whoever trusts other authorities, or is somebody else to the server,
    does not get it."""
    private = f"nil, nil, true, {{ cafile = '{certificates.stranger.crt}' }}"
    with Server(certificates.bad["unknown"].context(), greet) as server:
        assert lua.text(pooled(server, private, "sock:receive() "
                               "assert(sock:setkeepalive()) "
                               "return 200, {}, dump(ok, err)")) == "true, nil"
        assert lua.text(pooled(server, private, "local n = "
                               "sock:getreusedtimes() sock:setkeepalive() "
                               "return 200, {}, dump(ok, n)")) == "true, 1"
        assert lua.text(pooled(server, "", "return 200, {}, dump(ok, err)")
                        ) == 'nil, "encrypted with other options"'


def test_what_is_unread_or_broken_goes_into_no_pool(lua, certificates):
    def serve(conn):
        conn.sendall(b"a line\nand another")
        conn.recv(1)

    with Server(certificates.good.context(), serve) as server:
        assert lua.text(
            shake(server) + "sock:receive(1) "
            "return 200, {}, dump(sock:setkeepalive(), sock:getfd())") == \
            'nil, -1'
        assert lua.text(
            shake(server) + "sock:receive('*l') sock:receive(11) "
            "sock:send('x') sock:receive() "
            "return 200, {}, dump((select(2, sock:setkeepalive())))") == \
            '"closed"'


def test_a_pooled_connection_that_ends_leaves_the_pool(lua, certificates):
    released = threading.Event()

    def serve(conn):
        conn.sendall(b"hello\n")
        if not released.is_set():
            released.wait(60)

    with Server(certificates.good.context(), serve) as server:
        before = lua.gateway.fds()
        lua.text(pooled(server, "", "sock:receive() assert(sock:setkeepalive()"
                        ") return 200, {}, ''"))
        released.set()
        lua.gateway.wait_fds(before)
        assert lua.text(pooled(server, "", "return 200, {}, dump(ok, "
                               "sock:getreusedtimes(), sock:receive())")) == \
            'true, 0, "hello"'
