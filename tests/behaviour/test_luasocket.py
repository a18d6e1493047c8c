"""require "fcgi.socket": LuaSocket's module over our sockets, and what is
written for it: its own http and smtp, LuaSec's https, a client of Redis.

SPDX-License-Identifier: MIT
"""
import contextlib
import http.server
import os
import socket
import socketserver
import threading

import pytest

from support.gateway import Gateway, wait_until
from support.lua import EVAL, Lua
from support.tls import Certificates, Server

# Both orders must come to the same.
BEFORE = "socket = require 'fcgi.socket' assert(socket == require 'socket')"
AFTER = ("socket = require 'socket' http = require 'socket.http' "
         "require 'socket.unix' require 'ssl.https' "
         "assert(socket == require 'fcgi.socket')")
# Nothing of Debian's packages is found.
WITHOUT = ("package.path, package.cpath = '/nowhere/?.lua', '/nowhere/?.so' "
           "socket = require 'fcgi.socket'")


@pytest.fixture(scope="module", params=[BEFORE, AFTER],
                ids=["before", "after"])
def gateway_of_libraries(request):
    with Gateway(EVAL, "--eval", request.param, "--lua-compat=5.1") as gw:
        yield gw


@pytest.fixture
def lua(gateway_of_libraries):
    yield Lua(gateway_of_libraries)
    gateway_of_libraries.check_log()


@pytest.fixture(scope="module")
def gateway_of_sockets():
    """Nothing here needs LuaSocket itself."""
    with Gateway(EVAL, "--eval", WITHOUT) as gw:
        yield gw


@pytest.fixture(params=["with LuaSocket", "without"])
def bare(request, gateway_of_sockets, gateway_of_libraries):
    gw = gateway_of_sockets if request.param == "without" \
        else gateway_of_libraries
    yield Lua(gw)
    gw.check_log()


def echo(conn):
    """Sends lines back in upper case."""
    with conn.makefile("rwb") as file:
        for line in file:
            file.write(line.upper())
            file.flush()


@pytest.fixture(scope="module")
def echoer():
    with Server(None, echo) as server:
        yield server


# --- the module --------------------------------------------------------------

def test_a_client(bare, echoer):
    assert bare.text(
        f"local sock = assert(socket.connect('127.0.0.1', {echoer.port})) "
        "sock:settimeout(60) assert(sock:send('abc\\n')) "
        "local line = sock:receive() "
        "return 200, {}, dump(line, sock:close(), sock:receive())") == \
        '"ABC", 1, nil, "closed", ""'


@pytest.mark.parametrize("make", ["tcp()", "tcp4()"])
def test_sockets_are_made_and_connected(bare, echoer, make):
    assert bare.text(
        f"local sock = socket.{make} sock:settimeout(60) "
        f"local ok = sock:connect('127.0.0.1', {echoer.port}) "
        "sock:send('x\\n') return 200, {}, dump(ok, sock:receive())") == \
        '1, "X"'


def test_a_name_is_looked_up(bare, echoer):
    assert bare.text(
        f"local sock = assert(socket.connect('localhost', {echoer.port})) "
        "sock:send('x\\n') return 200, {}, dump(sock:receive())") == '"X"'
    assert bare.value(
        "socket.connect('no-such-host.invalid', 80)") in (
            'nil, "host not found"', 'nil, "host not found: timeout"')


def test_families_and_addresses_of_ones_own(bare, echoer):
    port = echoer.port
    assert bare.value(f"socket.connect6('127.0.0.1', {port})").startswith(
        "nil, ")
    assert bare.text(
        f"local sock = assert(socket.connect4('127.0.0.1', {port}, "
        "'127.0.0.2', 0)) return 200, {}, (sock:getsockname())") == \
        "127.0.0.2"
    assert bare.value(f"socket.connect('127.0.0.1', {port}, '192.0.2.1', 0)"
                      ).startswith("nil, ")


def test_nobody_listens(bare):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert bare.value(f"socket.connect('127.0.0.1', {port})") == \
        'nil, "connection refused"'


def test_a_server(bare):
    assert bare.text(
        "local server = assert(socket.bind('*', 0)) "
        "local _, port = server:getsockname() "
        "local client = fcgi.spawn(function() "
        "local sock = assert(socket.connect('127.0.0.1', port)) "
        "sock:send('hello\\n') return sock:receive() end) "
        "local sock = assert(server:accept()) "
        "sock:send(sock:receive():upper() .. '\\n') "
        "return 200, {}, dump(client:join())") == '"HELLO"'
    assert bare.text(
        "local server = assert(socket.bind('127.0.0.1', 0)) "
        "local _, port = server:getsockname() "
        "local taken, why = socket.bind('127.0.0.1', port) "
        "return 200, {}, dump(taken, why)") == \
        'nil, "address already in use"'


def test_a_unix_socket(bare, tmp_path):
    path = str(tmp_path / "socket")
    assert bare.text(
        "local unix = require 'socket.unix' "
        f"local server = unix() assert(server:bind('{path}')) "
        "assert(server:listen()) local sock = unix.stream() "
        f"local ok = sock:connect('{path}') "
        "local far = server:accept() far:send('hello\\n') "
        "return 200, {}, dump(ok, sock:receive())") == '1, "hello"'
    assert bare.value("require 'socket.unix'():connect('/nowhere')") == \
        'nil, "No such file or directory"'


def test_a_unix_socket_of_datagrams(bare, tmp_path):
    path = str(tmp_path / "socket")
    assert bare.text(
        "local unix = require 'socket.unix' "
        f"local server = unix.dgram() assert(server:bind('{path}')) "
        f"local sock = unix.udp() assert(sock:setpeername('{path}')) "
        "assert(sock:send('hello')) sock:close() "
        "return 200, {}, dump(server:receive())") == '"hello"'


def test_datagrams(bare):
    assert bare.text(
        "local server = assert(socket.udp()) "
        "assert(server:setsockname('127.0.0.1', 0)) "
        "local _, port = server:getsockname() "
        "local sock = socket.udp4() assert(sock:setpeername('127.0.0.1', "
        "port)) assert(sock:send('hello')) "
        "return 200, {}, dump((server:receivefrom()))") == '"hello"'


def test_time(bare):
    assert bare.text(
        "local t, start = socket.gettime(), fcgi.now() "
        "socket.sleep(0.02) socket.sleep(-1) socket.sleep(0) "
        "return 200, {}, dump(math.abs(t - os.time()) < 2, "
        "fcgi.now() - start >= 0.02)") == "true, true"


def test_sleep_keeps_nobody_waiting(bare):
    bare.text("sleeper = fcgi.spawn(socket.sleep, 600):detach() fcgi.sleep(0) "
              "return 200, {}, ''")
    assert bare.text("sleeper:cancel() return 200, {}, dump(sleeper:join())"
                     ) == 'nil, "cancelled"'


def test_names_of_hosts(bare):
    assert bare.value("socket.dns.toip('localhost')") == (
        '"127.0.0.1", {alias={}, ip={"127.0.0.1"}, name="localhost"}')
    assert bare.value("socket.dns.getaddrinfo('127.0.0.1')") == \
        '{{addr="127.0.0.1", family="inet"}}'
    assert bare.value("socket.dns.toip('no name')") == 'nil, "host not found"'
    assert bare.value("socket.dns.gethostname()") == \
        f'"{socket.gethostname()}"'
    assert bare.value("socket.dns.tohostname('127.0.0.1')").startswith("nil, ")


def test_exceptions(bare):
    """newtry, try and protect, through waits."""
    assert bare.text("""
        local finalized
        local try = socket.newtry(function() finalized = true end)
        local f = socket.protect(function(...)
          fcgi.sleep(0)
          local a, b = try(...)
          fcgi.sleep(0)
          return a, b, try(1)
        end)
        local a = dump(f('a', 'b'))
        local b = dump(f(nil, 'why'))
        local c = dump(pcall(socket.protect(function() fcgi.sleep(0)
          error('other', 0) end)))
        local value = {}
        local ok, err = pcall(socket.protect(error), value)
        local d = dump(ok, err == value, finalized)
        local e = dump(socket.protect(socket.try)(false, 'x'))
        return 200, {}, table.concat({ a, b, c, d, e }, '; ')""") == (
            '"a", "b", 1; nil, "why"; false, "other"; false, true, true; '
            'nil, "x"')


def test_an_exception_that_nobody_catches_can_be_read(gateway_of_sockets):
    assert Lua(gateway_of_sockets).value(
        "tostring(select(2, pcall(socket.try, nil, 'why')))") == '"why"'


def test_a_cancellation_passes_protect(bare):
    assert bare.text(
        "local task = fcgi.spawn(socket.protect(fcgi.sleep), 600) "
        "fcgi.sleep(0) task:cancel('enough') "
        "return 200, {}, dump(task:join())") == 'nil, "enough"'


def test_sources_and_sinks(bare, echoer):
    assert bare.text(f"""
        local function open()
          return assert(socket.connect('127.0.0.1', {echoer.port}))
        end
        local sock, out = open(), {{}}
        local sink = socket.sink('keep-open', sock)
        sink('abc') sink('def\\n') sink(nil)
        local source = socket.source('by-length', sock, 7)
        for chunk in source do out[#out + 1] = chunk end
        sock:send('rest\\n') sock:shutdown('send')
        for chunk in socket.source('until-closed', sock) do
          out[#out + 1] = chunk
        end
        local other = open()
        local closing = socket.sink('close-when-done', other)
        closing('x') closing(nil)
        return 200, {{}}, dump(table.concat(out), sock:getfd(), other:getfd(),
          type(source.getfd),
          select(2, pcall(socket.sink, 'other', sock)):match 'unknown.*')
        """) == ('"ABCDEF\nREST\n", -1, -1, "function", '
                 '"unknown key (other)"')


def test_constants_and_small_things(bare):
    assert bare.value("socket.skip(2, 'a', 'b', 'c', nil)") == '"c", nil'
    assert bare.value("socket._VERSION") == '"LuaSocket 3.0.0"'
    assert bare.value("socket.BLOCKSIZE, socket._DATAGRAMSIZE, "
                      "socket._SOCKETINVALID, socket._SETSIZE") == \
        "2048, 8192, -1, 1048576"
    assert bare.value("type(getmetatable(socket.tcp()).__index)") == '"table"'


def test_the_tables_stay_the_same(gateway_of_libraries):
    lua = Lua(gateway_of_libraries)
    assert lua.value(
        "package.loaded['socket'] == socket, "
        "package.loaded['socket.core'] == socket, "
        "require 'fcgi.socket' == socket, require 'socket' == socket") == \
        "true, true, true, true"


# --- select ------------------------------------------------------------------

PAIR = """
    local server = assert(socket.bind('127.0.0.1', 0))
    local _, port = server:getsockname()
    local function pair()
      local a = assert(socket.connect('127.0.0.1', port))
      return a, assert(server:accept())
    end
    local function names(list, of)
      local out = {}
      for _, object in ipairs(list) do out[#out + 1] = of[object] end
      return table.concat(out, ' ')
    end
"""


def test_select_at_once(bare):
    assert bare.text(PAIR + """
        local a, b = pair() local c, d = pair()
        local of = { [a] = 'a', [b] = 'b', [c] = 'c', [d] = 'd' }
        b:send('x') while not a:dirty() do fcgi.sleep(0.001) end
        local r, w, err = socket.select({ a, c }, { b, d }, 0)
        return 200, {}, dump(names(r, of), names(w, of), err, r[a], r[c],
          w[b], w[d])""") == '"a", "b d", nil, 1, nil, 1, 2'


@pytest.mark.parametrize("others", [0, 3])
def test_select_waits(bare, others):
    assert bare.text(PAIR + f"""
        local a, b = pair() local list = {{ a }}
        for i = 1, {others} do list[#list + 1] = pair() end
        local later = fcgi.spawn(function() fcgi.sleep(0.02) b:send('x') end)
        local start = fcgi.now()
        local r, w, err = socket.select(list, nil, 60)
        return 200, {{}}, dump(#r, r[1] == a, #w, err,
          fcgi.now() - start >= 0.02, a:receive(1))""") == \
        '1, true, 0, nil, true, "x"'


@pytest.mark.parametrize("others", [0, 2])
def test_select_gives_up(bare, others):
    assert bare.text(PAIR + f"""
        local list = {{ (pair()) }}
        for i = 1, {others} do list[#list + 1] = pair() end
        local start = fcgi.now()
        local r, w, err = socket.select(list, nil, 0.02)
        return 200, {{}}, dump(#r, #w, err, fcgi.now() - start >= 0.02)""") == \
        '0, 0, "timeout", true'


def test_select_of_nothing_sleeps(bare):
    assert bare.text(
        "local start = fcgi.now() local r, w, err = socket.select(nil, {}, "
        "0.02) return 200, {}, dump(#r, #w, err, fcgi.now() - start >= 0.02)"
        ) == '0, 0, "timeout", true'


def test_select_hears_of_the_end_and_of_who_connects(bare):
    assert bare.text(PAIR + """
        local a, b = pair() b:close()
        local r = socket.select({ a }, nil, 60)
        local ended = r[1] == a
        a:receive()
        r = socket.select({ a }, nil, 60)
        local new = fcgi.spawn(function() fcgi.sleep(0.01)
          return socket.connect('127.0.0.1', port) end)
        local s = socket.select({ server }, nil, 60)
        return 200, {}, dump(ended, r[1] == a, s[1] == server)""") == \
        "true, true, true"


def test_select_of_a_socket_that_is_closed(bare):
    assert bare.text(PAIR + """
        local a, b = pair() a:close()
        local r, w, err = socket.select({ a }, { a }, 0)
        return 200, {}, dump(#r, #w, err)""") == '0, 0, "timeout"'


def test_select_of_one_that_connects(bare):
    assert bare.text(PAIR + """
        local sock = socket.tcp() sock:settimeout(0)
        local ok, err = sock:connect('127.0.0.1', port)
        local _, w = socket.select(nil, { sock }, 60)
        return 200, {}, dump(ok == 1 or err == 'timeout', w[1] == sock,
          (sock:getpeername()))""") == 'true, true, "127.0.0.1"'


def test_select_of_others(lua, tmp_path):
    """Objects with getfd; what they have read counts."""
    read, write = os.pipe()
    os.close(read), os.close(write)
    assert lua.text(PAIR + """
        local a, b = pair()
        local object = { getfd = function() return a:getfd() end,
          dirty = function() return is_dirty end }
        local none = { getfd = function() return -1 end }
        is_dirty = false
        local r = socket.select({ object, none }, nil, 0)
        is_dirty = true
        local s = socket.select({ object, none }, nil, 60)
        return 200, {}, dump(#r, #s, s[1] == object)""") == "0, 1, true"


def test_select_can_be_cancelled(bare):
    assert bare.text(PAIR + """
        local a, b = pair() local c, d = pair()
        local task = fcgi.spawn(socket.select, { a, c })
        fcgi.sleep(0) task:cancel()
        return 200, {}, dump(task:join())""") == 'nil, "cancelled"'


# --- LuaSocket's own clients -------------------------------------------------

class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append(self.path)
        if self.path == "/slow":
            self.server.released.wait(60)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/page")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b"x" * 500000 if self.path == "/large" else b"a page\n"
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\na p\r\n4\r\nage\n\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.upper())

    def log_message(self, *args):
        pass


class Web(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass                            # clients may go


@contextlib.contextmanager
def web(context=None):
    server = Web(("127.0.0.1", 0), Pages)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.seen, server.released = [], threading.Event()
    server.url = "http%s://127.0.0.1:%d" % ("s" if context else "",
                                            server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def pages():
    with web() as server:
        yield server


@pytest.fixture(scope="module")
def secure_pages(tmp_path_factory):
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    with web(certificates.good.context()) as server:
        server.authority = certificates.authority.crt
        yield server


GET = "local http = require 'socket.http' local body, code = http.request"


@pytest.mark.parametrize("path", ["/page", "/chunked", "/moved"])
def test_http_gets_a_page(lua, pages, path):
    assert lua.text(f"{GET}('{pages.url}{path}') "
                    "return 200, {}, dump(body, code)") == '"a page\n", 200'


def test_http_gets_a_large_page_and_posts(lua, pages):
    assert lua.text(f"{GET}('{pages.url}/large') "
                    "return 200, {}, dump(#body, code)") == "500000, 200"
    assert lua.text(f"{GET}('{pages.url}/', 'some text') "
                    "return 200, {}, dump(body, code)") == '"SOME TEXT", 201'


def test_http_through_ltn12(lua, pages):
    assert lua.text(f"""
        local http, ltn12 = require 'socket.http', require 'ltn12'
        local parts = {{}}
        local ok, code, headers = http.request {{
          url = '{pages.url}/', method = 'POST', sink = ltn12.sink.table(parts),
          source = ltn12.source.string('abc'),
          headers = {{ ['content-length'] = 3 }},
        }}
        return 200, {{}}, dump(ok, code, headers['content-length'],
          table.concat(parts))""") == '1, 201, "3", "ABC"'


def test_http_keeps_nobody_waiting(lua, pages):
    pages.released.clear()
    del pages.seen[:]
    with lua.connect() as conn:
        ids = range(1, 21)
        for id in ids:
            lua.start(conn, id, f"{GET}('{pages.url}/slow') "
                      "return 200, {}, body")
        wait_until(lambda: len(pages.seen) == len(ids))
        assert lua.text(f"{GET}('{pages.url}/page') return 200, {{}}, body"
                        ) == "a page\n"
        pages.released.set()
        for response in conn.collect_all(ids).values():
            assert response.text == "a page\n"


def test_http_that_takes_too_long(lua, pages):
    pages.released.clear()
    assert lua.text("local http = require 'socket.http' http.TIMEOUT = 0.05 "
                    f"local body, err = http.request('{pages.url}/slow') "
                    "http.TIMEOUT = 60 return 200, {}, dump(body, err)") == \
        'nil, "timeout"'
    pages.released.set()


def test_https_gets_a_page(lua, secure_pages):
    https = "local https = require 'ssl.https' local body, code = "
    assert lua.text(f"{https} https.request('{secure_pages.url}/page') "
                    "return 200, {}, dump(body, code)") == '"a page\n", 200'
    assert lua.text(f"{https} https.request('{secure_pages.url}/', 'text') "
                    "return 200, {}, dump(body, code)") == '"TEXT", 201'
    assert lua.text(f"""
        local https, ltn12 = require 'ssl.https', require 'ltn12'
        local parts = {{}}
        local ok, code = https.request {{ url = '{secure_pages.url}/large',
          sink = ltn12.sink.table(parts), verify = 'peer',
          cafile = '{secure_pages.authority}' }}
        return 200, {{}}, dump(ok, code, #table.concat(parts))""") == \
        "1, 200, 500000"


def test_https_fails_as_luasec_does(lua, secure_pages, pages):
    assert lua.text(
        "local https = require 'ssl.https' "
        f"return 200, {{}}, dump(https.request {{ url = '{secure_pages.url}/',"
        " verify = 'peer' })") == \
        'nil, "certificate verify failed", nil, nil'
    assert lua.text(
        "local https = require 'ssl.https' return 200, {}, dump("
        f"https.request('{pages.url.replace('http', 'https')}/'))") == \
        'nil, "wrong version number", nil, nil'


def test_https_keeps_nobody_waiting(lua, secure_pages):
    secure_pages.released.clear()
    del secure_pages.seen[:]
    code = ("local https = require 'ssl.https' return 200, {}, "
            f"(https.request('{secure_pages.url}%s'))")
    with lua.connect() as conn:
        for id in (1, 2, 3):
            lua.start(conn, id, code % "/slow")
        wait_until(lambda: secure_pages.seen.count("/slow") == 3)
        assert lua.text(code % "/page") == "a page\n"
        secure_pages.released.set()
        for response in conn.collect_all((1, 2, 3)).values():
            assert response.text == "a page\n"


def test_what_ssl_wrap_gives(lua, secure_pages):
    assert lua.text(f"""
        local ssl = require 'ssl'
        local port = {secure_pages.server_address[1]}
        local sock = assert(socket.connect('127.0.0.1', port))
        local conn = assert(ssl.wrap(sock, {{ mode = 'client',
          protocol = 'any', verify = 'peer',
          cafile = '{secure_pages.authority}' }}))
        conn:sni('localhost')
        conn:settimeout(60)
        local before = conn:want()
        assert(conn:dohandshake())
        local verified = conn:getpeerverification()
        local subject = conn:getpeercertificate():subject()[1].value
        conn:settimeout(0.01)
        local none, err, partial = conn:receive()
        local protocol = conn:info('protocol')
        conn:close()
        return 200, {{}}, dump(before, verified, subject, none, err, partial,
          protocol, conn:receive())
        """) == ('"nothing", true, "good", nil, "wantread", "", "TLSv1.3", '
                 'nil, "closed", ""')


def test_ssl_wrap_of_other_sockets_is_luasecs(gateway_of_libraries,
                                              secure_pages):
    lua = Lua(gateway_of_libraries)
    assert lua.text(
        "local ssl = require 'ssl' "
        "local ok, err = pcall(ssl.wrap, { getfd = function() "
        "error('asked', 0) end }, { mode = 'client', protocol = 'any' }) "
        "return 200, {}, dump(ok, err)") == 'false, "asked"'
    assert lua.value("require 'ssl'.wrap(socket.tcp(), { mode = 'other', "
                     "protocol = 'any' })").startswith("nil, ")


# --- smtp --------------------------------------------------------------------

class Smtp(socketserver.StreamRequestHandler):
    """Takes what is sent to it."""

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        mail = {"to": []}
        self.say("220 ready")
        for line in self.rfile:
            word, _, rest = line.decode().strip().partition(" ")
            word = word.upper()
            if word == "DATA":
                self.say("354 go on")
                lines = []
                for line in self.rfile:
                    if line == b".\r\n":
                        break
                    lines.append(line.decode().removeprefix("."))
                mail["text"] = "".join(lines)
                self.server.mails.append(mail)
            elif word == "MAIL":
                mail["from"] = rest
            elif word == "RCPT":
                mail["to"].append(rest)
            elif word == "QUIT":
                self.say("221 bye")
                return
            self.say("250-shop\r\n250 fine" if word == "EHLO" else "250 fine")


@pytest.fixture
def smtp():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp) as server:
        server.daemon_threads = True
        server.mails = []
        server.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_smtp_sends_mail(lua, smtp):
    assert lua.text(f"""
        local smtp = require 'socket.smtp'
        local ok, err = smtp.send {{
          server = '127.0.0.1', port = {smtp.port}, from = '<a@shop.example>',
          rcpt = {{ '<b@shop.example>', '<c@shop.example>' }},
          source = smtp.message {{
            headers = {{ subject = 'shoes' }}, body = 'Dear customer\\r\\n.'
          }},
        }}
        return 200, {{}}, dump(ok, err)""") == "1, nil"
    mail, = smtp.mails
    assert mail["from"] == "FROM:<a@shop.example>"
    assert mail["to"] == ["TO:<b@shop.example>", "TO:<c@shop.example>"]
    assert "subject: shoes\r\n" in mail["text"].lower()
    assert mail["text"].endswith("\r\n\r\nDear customer\r\n.\r\n")


def test_smtp_without_a_server(lua):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert lua.text(
        "local smtp = require 'socket.smtp' return 200, {}, dump(smtp.send { "
        f"server = '127.0.0.1', port = {port}, from = '<a>', rcpt = '<b>', "
        "source = smtp.message { body = '' } })") == \
        'nil, "connection refused"'


# --- ftp ---------------------------------------------------------------------

class Ftp(socketserver.StreamRequestHandler):
    """Has one file, for who asks in passive mode."""

    def handle(self):
        def say(text):
            self.wfile.write(text.encode() + b"\r\n")

        say("220 ready")
        with socket.create_server(("127.0.0.1", 0)) as data:
            for line in self.rfile:
                word, _, rest = line.decode().strip().partition(" ")
                if word == "USER":
                    say("331 and the password?")
                elif word == "PASS":
                    say("230 welcome")
                elif word == "EPSV":
                    say(f"229 here (|||{data.getsockname()[1]}|)")
                elif word == "RETR" and rest != "file":
                    say("550 no such file")
                elif word == "RETR":
                    say("150 coming")
                    with data.accept()[0] as conn:
                        conn.sendall(b"of the file\n" * 10000)
                    say("226 done")
                elif word == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("200 fine")


def test_ftp_fetches_a_file(lua):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Ftp) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = "ftp://me:secret@127.0.0.1:%d/" % server.server_address[1]
        assert lua.text(
            "local ftp = require 'socket.ftp' "
            f"local file = ftp.get('{url}file;type=i') "
            f"local none, err = ftp.get('{url}other') "
            "return 200, {}, dump(#file, none, err)") == \
            '120000, nil, "550 no such file"'
        server.shutdown()
        thread.join()


# --- redis-lua ---------------------------------------------------------------

class Redis(socketserver.StreamRequestHandler):
    """SET, GET and PING of a dictionary."""

    def handle(self):
        values = self.server.values
        for line in self.rfile:
            words = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2])
            command = words[0].upper()
            if command == b"SET":
                values[words[1]] = words[2]
                answer = b"+OK"
            elif command == b"GET":
                value = values.get(words[1])
                answer = b"$-1" if value is None else \
                    b"$%d\r\n%s" % (len(value), value)
            else:
                answer = b"+PONG"
            self.wfile.write(answer + b"\r\n")


class UnixRedis(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture(params=["tcp", "unix"])
def redis(request, tmp_path):
    if request.param == "tcp":
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Redis)
        server.daemon_threads = True
        server.where = "host = '127.0.0.1', port = %d" % \
            server.server_address[1]
    else:
        path = str(tmp_path / "redis")
        server = UnixRedis(path, Redis)
        server.where = f"scheme = 'unix', path = '{path}'"
    server.values = {}
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_redis_lua_talks_to_a_server(lua, redis):
    assert lua.text(f"""
        local client = require 'redis'.connect {{ {redis.where} }}
        client:set('key', 'a value\\r\\nof two lines')
        local value, none = client:get('key'), client:get('other')
        local pong = client:ping()
        client:quit()
        return 200, {{}}, dump(value, none, pong)""") == \
        '"a value\r\nof two lines", nil, true'


def test_redis_lua_keeps_nobody_waiting(lua):
    with Server(None, lambda conn: conn.recv(1)) as silent:
        with lua.connect() as conn:
            lua.start(conn, 1, "local client = require 'redis'.connect("
                      f"'127.0.0.1', {silent.port}) asks = true client:ping()")
            wait_until(lambda: lua.value("asks") == "true")
            conn.abort(1)
    lua.text("asks = nil return 200, {}, ''")
