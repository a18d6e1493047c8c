"""The door for OpenResty's libraries, require "fcgi.ngx": what of it needs no
socket.

SPDX-License-Identifier: MIT
"""
import re

import pytest

from support.fastcgi import default_params
from support.gateway import run
from support.lua import EVAL, Lua
from support.tls import Certificates, Server

# It sets globals, so its gateway is one of its own.
DOOR = 'require "fcgi.ngx"\n' + EVAL


@pytest.fixture
def ngx(shared_gateway):
    """A Lua in which there is ngx."""
    return Lua(shared_gateway(DOOR, "--log-level=debug"))


PARAMS = {
    "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/app", "PATH_INFO": "/a b",
    "REQUEST_URI": "/app/a%20b?x=1&Y=%41&x", "QUERY_STRING": "x=1&Y=%41&x",
    "HTTP_HOST": "Shop.Example:8080", "HTTP_COOKIE": "c=d",
    "HTTP_X_LONG_NAME": "v", "HTTPS": "on", "REMOTE_USER": "ada",
    "CONTENT_TYPE": "text/x", "SERVER_NAME": "srv",
}

# expression -> what dump shows of it
VALUES = {
    # the module
    "require 'fcgi.ngx' == ngx, ngx.get_phase()": 'true, "content"',
    "ngx.ERR, ngx.DEBUG, ngx.OK, ngx.DECLINED, ngx.HTTP_NOT_FOUND":
        "4, 8, 0, -5, 404",
    "ngx.config.ngx_lua_version >= 10014, ngx.config.subsystem, "
    "ngx.config.debug, ngx.is_subrequest, ngx.shared.any":
        'true, "http", false, false, nil',
    "ngx.worker.id(), ngx.worker.count(), ngx.worker.pid() == "
    "fcgi.worker.pid, ngx.worker.exiting()": "0, 1, true, false",
    "ngx.null == require 'cjson'.null, require 'cjson.safe'.encode(ngx.null)":
        'true, "null"',
    "ngx.no_such_thing": "nil",
    # modules and globals
    "unpack == table.unpack, loadstring": "true, nil",
    "require 'bit'.bnot(0), require 'table.isempty' {}, "
    "require 'table.nkeys' {1, a = 2}": "-1, true, 2",
    "next(require 'table.new'(4, 4))": "nil",
    "require 'table.clone' {1, a = {}}": "{1, a={}}",
    "require 'resty.string'.to_hex(require 'resty.sha1':new():final())":
        '"da39a3ee5e6b4b0d3255bfef95601890afd80709"',
    "#require 'resty.random'.bytes(5), #require 'nginx.random'.bytes(5, true)":
        "5, 5",
    "require 'nginx.sha256' ~= nil, require 'resty.md5' ~= nil":
        "true, true",
    "require 'ngx.re'.split('a,b', ',')": '{"a", "b"}',
    "pcall(require 'ffi'.cdef, '')": 'false, "test:1: ffi.cdef: there is no '
    'LuaJIT here, and no ffi: only arrays of bytes ("char[?]") are known"',
    # texts
    "ngx.escape_uri 'a b', ngx.unescape_uri '+', ngx.encode_args {a = 1}":
        '"a%20b", " ", "a=1"',
    "ngx.encode_base64 'x', ngx.decode_base64 'eA=='": '"eA==", "x"',
    "ngx.md5 'x', #ngx.md5_bin 'x', #ngx.sha1_bin 'x', "
    "#ngx.hmac_sha1('k', 'x')":
        '"9dd4e461268c8034f5c8564e155c67a6", 16, 20, 20',
    "ngx.crc32_short 'x' == ngx.crc32_long 'x', ngx.quote_sql_str \"a'\"":
        "true, \"'a\\''\"",
    "ngx.re.match('hello', 'l(l)', 'jo')[1]": '"l"',
    # time
    "ngx.now() - ngx.time() < 2, ngx.update_time()": "true",
    "ngx.http_time(0), ngx.cookie_time(0), "
    "ngx.parse_http_time(ngx.http_time(5))":
        '"Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01-Jan-70 00:00:00 GMT", 5',
    # the request
    "ngx.var.scheme, ngx.var.https, ngx.var.host, ngx.var.http_host":
        '"https", "on", "shop.example", "Shop.Example:8080"',
    "ngx.var.uri, ngx.var.request_uri, ngx.var.args, ngx.var.is_args":
        '"/app/a b", "/app/a%20b?x=1&Y=%41&x", "x=1&Y=%41&x", "?"',
    "ngx.var.query_string, ngx.var.arg_x, ngx.var.arg_y, ngx.var.arg_z":
        '"x=1&Y=%41&x", "1", "%41", nil',
    "ngx.var.cookie_c, ngx.var.http_x_long_name, ngx.var.request_method":
        '"d", "v", "POST"',
    "ngx.var.remote_addr, ngx.var.remote_user, ngx.var.server_name, "
    "ngx.var.content_type, ngx.var.content_length, ngx.var.nothing":
        '"192.0.2.7", "ada", "srv", "text/x", "9", nil',
    "ngx.req.get_method(), ngx.req.http_version(), ngx.req.is_internal()":
        '"POST", 1.1, false',
    "ngx.req.get_headers().x_long_name, ngx.req.get_headers()['X-Long-NAME']":
        '"v", "v"',
    "ngx.req.get_uri_args()": '{Y="A", x={"1", true}}',
    "ngx.req.get_uri_args(1)": '{x="1"}, "truncated"',
    "ngx.req.start_time() == req.started": "true",
    "ngx.req.get_body_data(), ngx.req.get_body_file(), "
    "ngx.req.read_body(), ngx.req.get_body_data()":
        'nil, nil, nil, "a=1&b=%20"',
    "ngx.req.get_post_args()": 'nil, "no body was read"',
    "ngx.req.read_body(), ngx.req.get_post_args()": 'nil, {a="1", b=" "}',
    "ngx.req.socket():receive(3), ngx.req.socket():receive '*a', "
    "ngx.req.socket():receive()": '"a=1", "&b=%20", nil, "closed", ""',
    "ngx.req.socket():receive(100)": 'nil, "closed", "a=1&b=%20"',
    "ngx.req.socket():receive()": 'nil, "closed", "a=1&b=%20"',
    "ngx.req.socket():receiveany(4), ngx.req.socket():settimeout(5)":
        '"a=1&"',
    "ngx.req.socket(true)":
        'nil, "there is no raw socket behind a FastCGI request"',
    "ngx.ctx == req.ctx, ngx.status": "true, 0",
}


@pytest.mark.parametrize("expression", VALUES, ids=range(len(VALUES)))
def test_value(ngx, expression):
    body = b"a=1&b=%20"
    params = {**PARAMS, "CONTENT_LENGTH": str(len(body))}
    shown = ngx.value(expression, params, body)
    assert shown == VALUES[expression]


def test_request_without_arguments_or_body(ngx):
    params = {"QUERY_STRING": "", "CONTENT_LENGTH": None}
    assert ngx.value("ngx.var.args, ngx.var.is_args, ngx.var.https, "
                     "ngx.req.socket()", params) == \
        'nil, "", "", nil, "no body"'


def test_lines_of_a_body(ngx):
    assert ngx.value("ngx.req.socket():receive(), ngx.req.socket():receive"
                     "('*l'), ngx.req.socket():receive 'l'",
                     {"CONTENT_LENGTH": "7"}, b"a\r\nb\n\nc") == '"a", "b", ""'


# What is raised, with the line of the script.
MISUSES = {
    "ngx.log(99, 'x')": "bad argument #1 to 'log' (a level expected, such as "
                        "ngx.ERR, got 99)",
    "ngx.var.x = 1": "ngx.var.x cannot be set",
    "ngx.ctx = 1": "ngx.ctx must be a table, got number",
    "ngx.encode_args(1)": "bad argument #1 to 'encode_args' (table expected, "
                          "got number)",
    "ngx.timer.at(-1, print)": "bad argument #1 to 'at' (not a number of "
                               "seconds)",
    "ngx.timer.at('1', print)": "bad argument #1 to 'at' (number expected, "
                                "got string)",
    "ngx.timer.every(0, print)": "bad argument #1 to 'every' (not a number of "
                                 "seconds)",
    "ngx.timer.at(1)": "bad argument #2 to 'at' (function expected, got nil)",
    "ngx.thread.spawn(1)": "bad argument #1 to 'spawn' (function expected, "
                           "got number)",
    "ngx.thread.wait()": "bad argument #1 to 'wait' (thread expected, got "
                         "nil)",
    "ngx.thread.kill {}": "bad argument #1 to 'kill' (thread expected, got "
                          "table)",
    "require 'ngx.semaphore'.new(-1)": "bad argument #1 to 'new' (a number of "
                                       "resources expected)",
    "require 'ngx.semaphore'.new():post(0)":
        "bad argument #1 to 'post' (a number of resources expected)",
    "require 'bit'.band(1, {})": "bad argument #2 to 'band' (number expected, "
                                 "got table)",
    "ngx.re.match({}, 'x')": "bad argument #1 to 'match' (string expected, "
                             "got table)",
    "ngx.req.socket():receive {}": "bad argument #1 to 'receive' (a size, "
                                   "\"*l\" or \"*a\" expected)",
}


@pytest.mark.parametrize("code", MISUSES)
def test_misuse_names_the_line(ngx, code):
    shown = ngx.value(f"select(2, pcall(load([[\n\n\n{code}]], '=mine')))",
                      {"CONTENT_LENGTH": "1"}, b"x")
    assert shown == f'"mine:3: {MISUSES[code]}"'


# --- answers ----------------------------------------------------------------

def test_answer(ngx):
    response = ngx("ngx.status = 201 ngx.header.content_type = 'text/x' "
                   "ngx.header['X-List'] = { 'a', 'b' } "
                   "ngx.header.x_gone = 1 ngx.header.x_gone = nil "
                   "assert(ngx.header['Content-Type'] == 'text/x') "
                   "assert(ngx.header.x_gone == nil and ngx.status == 201) "
                   "assert(ngx.print('a', 1, nil, true, { 'b', { ngx.null } })"
                   " == 1) ngx.say('c') assert(ngx.flush(true) == 1)")
    assert response.status == 201
    assert response.headers["content-type"] == "text/x"
    assert "x-gone" not in response.headers
    assert response.text == "a1niltruebnullc\n"


def test_answer_without_a_head(ngx):
    response = ngx("ngx.say('Status: 500') ngx.say 'x'")
    assert (response.status, response.text) == (200, "Status: 500\nx\n")


def test_answer_after_the_script_began_one(ngx):
    response = ngx("req:write('A: b\\r\\n\\r\\nx') ngx.say 'y'")
    assert (response.status, response.text) == (200, "xy\n")


def test_what_belongs_to_no_request_says_so(gateway):
    gw = gateway('local ngx = require "fcgi.ngx"\n'
                 'print(pcall(function() return ngx.var.scheme end))\n'
                 'ngx.ctx.a = 1 assert(ngx.ctx.a == 1)\n'
                 'assert(ngx.worker.id() == nil)\n' + EVAL)
    assert "app.lua:2: ngx.var: no request is being served here (init)" in \
        gw.log()


# --- logs -------------------------------------------------------------------

@pytest.mark.parametrize("name,level", [
    ("STDERR", "error"), ("CRIT", "error"), ("ERR", "error"),
    ("WARN", "warn"), ("NOTICE", "notice"), ("INFO", "info"),
    ("DEBUG", "debug")])
def test_log(ngx, name, level):
    assert ngx(f"ngx.log(ngx.{name}, '{name} x ', nil, 1, ngx.null, true) "
               "return 200").status == 200
    assert re.search(rf" {level} \[\d+/1\] =?test:1: {name} x nil1nulltrue \(",
                     ngx.gateway.log())


# --- threads, timers, semaphores --------------------------------------------

RUNS = {
    "results": ("local t = ngx.thread.spawn(function(a) ngx.sleep(0.001) "
                "return a, nil, 3, nil end, 1) "
                "return 200, {}, dump(ngx.thread.wait(t))",
                "true, 1, nil, 3, nil"),
    "the first": ("local a = ngx.thread.spawn(ngx.sleep, 60) "
                  "local b = ngx.thread.spawn(function() ngx.sleep(0.001) "
                  "return 'b' end) local c = ngx.thread.spawn(function() "
                  "return 'c' end) return 200, {}, "
                  "dump(ngx.thread.wait(a, b), ngx.thread.wait(a, c))",
                  'true, true, "c"'),
    "an error": ("local t = ngx.thread.spawn(function() error({ 7 }) end) "
                 "return 200, {}, dump(ngx.thread.wait(t))", "false, {7}"),
    "killed": ("local t = ngx.thread.spawn(ngx.sleep, 60) ngx.sleep(0) "
               "local ok = ngx.thread.kill(t) "
               "return 200, {}, dump(ok, ngx.thread.wait(t)), nil",
               '1, false, "killed"'),
    "killed before it began": (
        "local t = ngx.thread.spawn(ngx.sleep, 60) local u = "
        "ngx.thread.spawn(function() ngx.sleep(0) return ngx.thread.wait(t, "
        "ngx.thread.spawn(ngx.sleep, 60)) end) ngx.thread.kill(t) "
        "return 200, {}, dump(ngx.thread.wait(u))",
        'true, false, "killed"'),
    "killed twice": ("local t = ngx.thread.spawn(ngx.sleep, 60) "
                     "ngx.thread.kill(t) local u = ngx.thread.spawn(print) "
                     "ngx.thread.wait(u) return 200, {}, "
                     "dump(ngx.thread.kill(t), ngx.thread.kill(u))",
                     'nil, nil, "already waited or killed"'),
    "semaphore": (
        "local s, got = require 'ngx.semaphore'.new(2), {} "
        "got[1] = s:count() s:wait() s:wait() "
        "got[2] = select(2, s:wait()) got[3] = select(2, s:wait(0.001)) "
        "local t = ngx.thread.spawn(function() return s:wait(60) end) "
        "ngx.sleep(0) ngx.sleep(0) got[4] = s:count() s:post() "
        "got[5] = select(2, ngx.thread.wait(t)) got[6] = s:count() s:post(3) "
        "got[7] = s:count() return 200, {}, dump(got)",
        '{2, "timeout", "timeout", -1, true, 0, 3}'),
    "replacements wait": (
        "return 200, {}, (ngx.re.gsub('a1b2', '[0-9]', function(m) "
        "ngx.sleep(0.001) return '<' .. m[0] .. '>' end))", "a<1>b<2>"),
    "clear": ("local t = { 1, 2, a = 3 } require 'table.clear'(t) "
              "return 200, {}, tostring(next(t))", "nil"),
}


@pytest.mark.parametrize("name", RUNS)
def test_tasks(ngx, name):
    code, expected = RUNS[name]
    assert ngx.text(code) == expected


def test_error_of_a_thread_is_logged(ngx):
    ngx("ngx.thread.spawn(function() error 'nobody waits' end) "
        "ngx.sleep(0.01) return 200")
    assert "nobody waits" in ngx.gateway.log()


def test_timers(gateway):
    """They outlive their request, and have none."""
    lua = Lua(gateway(DOOR))
    lua.text("ran = { at = 'not yet', every = 0 } "
             "ngx.timer.at(0, function(...) ran.at = { ..., "
             "ngx.get_phase(), ngx.timer.running_count() } end) "
             "ngx.timer.every(0.01, function(premature) "
             "ran.every = ran.every + 1 "
             "if ran.every == 2 then error 'it goes on' end end) return 200")
    assert lua.text("while ran.every < 3 do fcgi.sleep(0.005) end "
                    "return 200, {}, dump(ran.at)") == '{false, "timer", 1}'
    assert "it goes on" in lua.gateway.log()


def test_timers_hear_of_the_end(gateway):
    gw = gateway(DOOR + 'ngx.timer.at(3600, function(premature, text) '
                 'fcgi.sleep(0.01) print(text, premature) end, "timer at")\n'
                 'ngx.timer.every(3600, function(premature) '
                 'print("timer every", premature) end)')
    assert gw.request(default_params({"LUA": "ngx.timer.at(3600, print, 'of a "
                                      "request') return 200"}),
                      defaults=False).status == 200
    assert gw.stop() == 0
    assert "timer at\ttrue" in gw.log()
    assert "timer every\ttrue" in gw.log()
    assert "true\tof a request" in gw.log()


# --- TLS --------------------------------------------------------------------

@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """A server that speaks TLS with a certificate that nobody trusts."""
    def serve(conn):
        while data := conn.recv(100):
            conn.sendall(data.upper())

    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    with Server(certificates.good.context(), serve) as server:
        yield server


def test_handshake_verifies_nothing_unless_it_is_asked_to(ngx, secret):
    shake = (f"local s = ngx.socket.tcp() s:connect('127.0.0.1', {secret.port}"
             ", { pool = 'tls' .. ngx.now() }) return 200, {}, dump(%s)")
    assert ngx.text(shake % "s:sslhandshake()") == "true"
    assert ngx.text(shake % "s:sslhandshake(false, 'other.example', false)") \
        == "true"
    assert "certificate verify failed" in ngx.text(
        shake % "s:sslhandshake(nil, 'localhost', true)")


def test_handshake_is_kept_in_the_pool(ngx, secret):
    code = (f"local s = ngx.socket.tcp() s:connect('127.0.0.1', {secret.port})"
            "local n, ok = s:getreusedtimes(), s:sslhandshake(nil, 'a') "
            "s:send 'hello\\n' local line = s:receive() "
            "return 200, {}, dump(n, ok, line, s:setkeepalive())")
    assert ngx.text(code) == '0, true, "HELLO", 1'
    assert ngx.text(code) == '1, true, "HELLO", 1'


# --- datagrams --------------------------------------------------------------

def test_datagrams(ngx):
    assert ngx.text(
        "local server = fcgi.udp() server:setsockname('127.0.0.1', 0) "
        "local host, port = server:getsockname() "
        "local s, seen = ngx.socket.udp(), {} "
        "seen[1] = s:setpeername(host, port) seen[2] = s:send { 'a', { 1 } } "
        "local data, from, at = server:receivefrom() seen[3] = data "
        "server:sendto('answer', from, at) seen[4] = s:receive() "
        "server:sendto('answer', from, at) seen[5] = s:receive(3) "
        "s:settimeout(10) seen[6] = select(2, s:receive()) "
        "s:setpeername(host, port) seen[7] = s:close() "
        "seen[8] = select(2, s:close()) seen[9] = select(2, s:send 'x') "
        "seen[10] = s:setpeername('localhost', port) seen[11] = s:send 'y' "
        "seen[12] = server:receive() return 200, {}, dump(seen)") == \
        '{1, 1, "a1", "answer", "ans", "timeout", 1, "closed", "closed", 1, ' \
        '1, "y"}'


# --- without the libraries below ---------------------------------------------

def test_needs_no_other_library_to_be_loaded(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text('package.cpath = "" package.path = ""\n'
                      'local ngx = require "fcgi.ngx"\n'
                      'print(select(2, pcall(function() ngx.md5 "x" end)))\n'
                      'print(select(2, pcall(function() '
                      'ngx.re.match("x", "x") end)))\n'
                      'assert(#require "resty.random".bytes(3) == 3)\n'
                      'assert(require "resty.sha1")\n'
                      'function on_request() end\n')
    result = run("--check", script)
    assert result.code == 0, result
    assert "app.lua:3: ngx.md5 needs luaossl (Debian: lua-luaossl)" in \
        result.err
    assert "app.lua:4: ngx.re needs lrexlib over PCRE2 (Debian: " \
        "lua-rex-pcre2)" in result.err


def test_what_the_script_has_stays(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text('unpack = "mine" package.preload.bit = function() '
                      'return "my bit" end\nrequire "fcgi.ngx"\n'
                      'assert(unpack == "mine" and require "bit" == "my bit")'
                      '\nfunction on_request() end\n')
    assert run("--check", script).code == 0
