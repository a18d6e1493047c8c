"""Hostile or careless scripts: no handler harms another request.

SPDX-License-Identifier: MIT
"""
import re
import time

import pytest

from support import gateway
from support.lua import ECHO, EVAL, Lua, params_for

MIB = 1 << 20


def goes_on(lua):
    assert lua(ECHO, body=b"next").text == "next"


# --- code that never yields ---

LOOPS = {
    "loop": "while true do end",
    "work": "local n = 0 while true do n = (n * 7 + 1) % 1000003 end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "xpcall": "while true do xpcall(function() while true do end end, "
              "function(e) return e end) end",
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "coroutines": "while true do local co = coroutine.create(function() "
                  "while true do end end) coroutine.resume(co) end",
    "close": "local x <close> = setmetatable({}, {__close = function() "
             "while true do end end}) error 'x'",
    "tostring": "error(setmetatable({}, {__tostring = function() "
                "while true do end end}))",
    "metamethod": "local t = setmetatable({}, {__index = function(t, k) "
                  "while true do end end}) return t.x",
    "iterator": "return 200, {}, function() while true do end end",
    "comparator": "table.sort({3, 1, 2}, function() while true do end end)",
    "after answer": "req:send(200, {}, 'x') while true do end",
}


@pytest.fixture
def short(shared_gateway):
    return Lua(shared_gateway(EVAL, "--block-limit=0.5"))


@pytest.mark.parametrize("name", LOOPS)
def test_runaway_code_is_stopped(short, name):
    with short.connect() as conn:
        short.start(conn, 1, LOOPS[name])
        response = conn.collect(1)
        response.check_complete()
        if name == "iterator":      # the head may have gone before
            assert response.status == 500 or response.app_status == 1
        else:
            assert response.status == (200 if name == "after answer" else 500)
        assert short.on(conn, ECHO, body=b"next").text == "next"


def test_runaway_code_is_logged_with_its_line(lua_with):
    lua = lua_with("--block-limit=0.3")
    assert lua("\n\nwhile true do end").status == 500
    lua.gateway.wait_log(r"test:3:")


def test_runaway_code_does_not_lose_other_requests(short):
    with short.connect() as conn, short.connect() as other:
        other.begin(1)
        other.params(1, params_for(ECHO))
        other.stdin(1, b"before,", end=False)
        other.barrier()
        short.start(conn, 1, "while true do end")
        other.stdin(1, b" after")
        assert other.collect(1).text == "before, after"
        assert conn.collect(1).status == 500


def test_code_that_yields_may_run_longer_than_the_limit(short):
    response = short("local t = fcgi.now() while fcgi.now() - t < 1.2 do "
                     "for i = 1, 1000 do end fcgi.sleep(0) end "
                     "return 200, {}, 'done'")
    assert response.text == "done"


def test_many_short_requests_are_not_taken_for_one_long(short):
    end = time.monotonic() + 1.2
    with short.connect() as conn:
        while time.monotonic() < end:
            assert short.on(conn, "for i = 1, 10000 do end return 200"
                            ).status == 200


def test_runaway_hook_of_on_error_is_stopped(gateway):
    gw = gateway("function on_request(req) error 'x' end "
                 "function on_error() while true do end end",
                 "--block-limit=0.3")
    assert gw.request().status == 500
    assert gw.request().status == 500


@pytest.mark.parametrize("code", [
    "local s = ('a'):rep(200000) return s:find(('a*'):rep(8) .. 'b')",
    "local t = setmetatable({}, { __gc = function() while true do end end })"
    " t = nil collectgarbage() collectgarbage()"])
def test_runaway_c_code_ends_the_process_with_70(lua_with, code):
    lua = lua_with("--block-limit=0.3", expect=70)
    before = len(lua.gateway.log())
    with lua.connect() as conn:
        lua.start(conn, 1, code)
        conn.expect_close()
    assert lua.gateway.wait() == 70
    assert lua.gateway.log()[before:].strip(), "it says nothing"


# --- memory ---

# Long strings are made of long ones: a sanitizer checks each copy of a piece.
BOMBS = {
    "rep": "return 200, {}, ('x'):rep(1 << 30)",
    "concat": "local s = 'x' while true do s = s .. s end",
    "table": "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "strings": "local t = {} for i = 1, 1e9 do "
               "t[i] = ('xxxxxxxxxx'):rep(100) .. i end",
    "closures": "local f while true do local g = f f = function() "
                "return g end end",
    "pcall": "local t = {} for i = 1, 50 do pcall(function() while true do "
             "t[#t + 1] = ('x'):rep(100):rep(100) .. #t end end) end "
             "error 'full'",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create("
                  "print) end",
    "unpack": "local t = {} for i = 1, 200 do "
              "t[i] = ('x'):rep(1024):rep(1024) end return table.concat(t)",
    "error": "error(('x'):rep(1024):rep(40 << 10) .. "
             "('y'):rep(1024):rep(20 << 10))",
}


@pytest.fixture
def small(shared_gateway):
    return Lua(shared_gateway(EVAL, "--memory-limit=64M", lean=True))


@pytest.mark.parametrize("name", BOMBS)
def test_memory_bomb_is_500(small, name):
    assert small(BOMBS[name]).status == 500
    goes_on(small)


def test_memory_bomb_is_logged(small):
    small(BOMBS["rep"], {"REQUEST_URI": "/bomb"})
    small.gateway.wait_log("not enough memory.*|memory.*/bomb")


def test_memory_bomb_disturbs_no_neighbour(small):
    with small.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO))
        conn.stdin(1, b"before,", end=False)
        conn.barrier()
        assert small.on(conn, BOMBS["table"], id=2).status == 500
        conn.stdin(1, b" after")
        assert conn.collect(1).text == "before, after"


def test_body_over_the_memory_limit_is_500(small):
    response = small("return 200, {}, '' .. #req:body(1 << 30)",
                     body=b"x" * (80 * MIB))
    assert response.status == 500
    goes_on(small)


def test_memory_is_given_back_after_a_bomb(small):
    small(BOMBS["table"])
    goes_on(small)
    used = float(small.value("(function() collectgarbage() "
                             "collectgarbage() return collectgarbage 'count'"
                             " end)()"))
    assert used < 8 * 1024


def test_repeated_bombs(small):
    for _ in range(10):
        assert small(BOMBS["concat"]).status == 500
    goes_on(small)


# --- error objects ---

ERRORS = {
    "nil": "error(nil)", "nothing": "error()", "false": "error(false)",
    "number": "error(42)", "table": "error({})",
    "function": "error(print)", "userdata": "error(io.stdout)",
    "the request": "error(req)", "coroutine":
    "error(coroutine.create(print))",
    "raising tostring": "error(setmetatable({}, {__tostring = function() "
                        "error 'again' end}))",
    "tostring of no string": "error(setmetatable({}, {__tostring = "
                             "function() return {} end}))",
    "tostring that waits": "error(setmetatable({}, {__tostring = function() "
                           "fcgi.sleep(0.001) return 'x' end}))",
    "tostring that yields": "error(setmetatable({}, {__tostring = "
                            "function() coroutine.yield() end}))",
    "name": "error(setmetatable({}, {__name = 'my.error'}))",
    "protected": "error(setmetatable({}, {__metatable = false}))",
    "binary": "error('\\0\\1\\2\\xff\\xfe\\r\\n\\27[31m', 0)",
    "empty": "error('', 0)",
    "megabyte": "error(('x'):rep(1024):rep(1024))",
    "deep pcall": "local function f(n) if n == 0 then error 'x' end "
                  "local ok, e = pcall(f, n - 1) error(e, 0) end f(100)",
    "arithmetic": "return nil + 1", "call": "local x = nil; x()",
    "assert": "assert(false)", "assert table": "assert(nil, {})",
    "from C": "string.rep()", "syntax": "load('x = = 1')()",
    "close": "local x <close> = setmetatable({}, {__close = function() "
             "error 'in close' end}) error 'first'",
    "close that fails": "local x <close> = 42",
    "gc": "setmetatable({}, {__gc = function() error 'in gc' end}) "
          "collectgarbage() error 'x'",
    "xpcall": "xpcall(error, function() error 'in handler' end) error 'x'",
}


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_500(lua, name):
    before = len(lua.gateway.log())
    with lua.connect() as conn:
        response = lua.on(conn, ERRORS[name])
        assert response.status == 500
        lua.gateway.barrier()
        log = lua.gateway.log()[before:]
        assert " error [" in log, "nothing in the log"
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_megabyte_error_is_capped(lua):
    before = len(lua.gateway.log())
    response = lua(ERRORS["megabyte"])
    lua.gateway.barrier()
    assert len(response.stderr) < 100_000
    assert len(lua.gateway.log()) - before < 100_000


def test_error_text_is_not_on_the_page(lua):
    for name in ("number", "binary", "from C", "arithmetic", "close"):
        response = lua(ERRORS[name])
        assert b"test:" not in response.raw and b"42" not in response.body
        assert b"in close" not in response.raw


def test_error_in_a_finaliser_is_survived(lua):
    lua("setmetatable({}, {__gc = function() error 'in gc' end}) "
        "return 200")
    lua("collectgarbage() return 200")
    goes_on(lua)


# --- yields ---

def test_raw_yield_is_an_error_that_names_its_line(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, "local ok, err = pcall(coroutine.yield, 1)\n"
                           "return 200, {}, tostring(ok) .. err")
        response = conn.collect(1)
        response.check_complete()
        assert response.body.startswith(b"false")
        assert b"attempt to yield from outside a coroutine" in response.body


@pytest.mark.parametrize("code", [
    "coroutine.yield()", "coroutine.yield(1, 2, 3)",
    "coroutine.yield(req)", "for i = 1, 3 do coroutine.yield(i) end",
    "return 200, {}, coroutine.yield",
    "req:set_status(200):write('x') coroutine.yield()"])
def test_raw_yield_is_no_hanging_request(lua, code):
    with lua.connect() as conn:
        lua.start(conn, 1, code)
        response = conn.collect(1)
        response.check_complete()
        assert response.status == 500 or response.app_status == 1
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_raw_yield_is_explained_in_the_log(lua):
    lua("\ncoroutine.yield()", {"REQUEST_URI": "/yielding"})
    lua.gateway.wait_log("error .*yield.*/yielding")


# --- recursion ---

@pytest.mark.parametrize("code", [
    "local function f() return 1 + f() end f()",
    "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k)"
    " return t[k .. 'x'] end return t.x",
    "local function f(s) return (s:gsub('.', f)) end f('x')",
    "local function f() pcall(f) error 'x' end f()",
    "local function f() coroutine.wrap(f)() end f()",
    "local function f(t) table.sort(t, function(a, b) f{3, 1, 2} "
    "return a < b end) end f{3, 1, 2}",
    "local s = ('('):rep(1e5) assert(load('return ' .. s))",
    "error(setmetatable({}, {__tostring = function(t) return tostring(t) "
    "end}))",
    "local function f() local x <close> = setmetatable({}, {__close = f}) "
    "end f()"])
def test_deep_recursion_is_500(lua, code):
    assert lua(code, timeout=100).status == 500
    goes_on(lua)


def test_memory_of_a_stack_overflow_is_given_back(lua_with):
    lua = lua_with("--block-limit=0", lean=True)
    code = "local function f() return 1 + f() end f()"
    lua(ECHO, body=b"x")
    before = lua.gateway.rss()
    for _ in range(3):      # a second of processor time each
        assert lua(code, timeout=100).status == 500
    allowed = (192 if gateway.is_asan() else 32) * MIB

    def given_back():       # a sanitizer's allocator takes its time
        lua("collectgarbage() collectgarbage() return 200")
        return lua.gateway.rss() - before < allowed

    gateway.wait_until(given_back, "little memory")
    goes_on(lua)


# --- the environment, the head, the log ---

def test_parameters_never_reach_the_environment(lua):
    assert lua.value("os.getenv'HTTP_PROXY', os.getenv'REQUEST_METHOD', "
                     "os.getenv'X_Y'",
                     {"HTTP_PROXY": "http://evil", "X_Y": "z"}) == \
        "nil, nil, nil"


@pytest.mark.parametrize("text", [
    "forged\n2026-01-01T00:00:00.000Z error [1] fake", "a\rb", "a\x1b[2Jb",
    "a\x07b\x00c\x7f", "tab\tand\x0bmore", "x" * 100 + "\n" * 50])
def test_log_cannot_be_forged(lua_with, text):
    lua = lua_with()
    raw = text.encode()
    lua("error(req:param 'T')", {"T": text, "REQUEST_URI": "/" + text,
                                 "REMOTE_ADDR": text})
    lua("fcgi.log('notice', req:param 'T') print(req:param 'T') "
        "req:write_err(req:param 'T') return 200", {"T": text})
    lua.gateway.barrier()
    log = lua.gateway.log_path.read_bytes()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", log), raw
    for line in log.splitlines():
        assert not line.startswith(b"2026-01-01T00:00:00.000Z error [1] fake")
        assert re.match(rb"\d{4}-\d\d-\d\dT|\s", line), line


def test_log_line_of_an_error(gateway):
    gw = gateway("function on_request(req)\n\n\n  local x = nil\n"
                 "  return x.field\nend")
    gw.request({"REQUEST_URI": "/a?b", "REMOTE_ADDR": "10.0.0.7",
                "HTTP_X_REQUEST_ID": "8f3"})
    gw.wait_log(
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z error \[\d+(/\d+)?\] "
        r".*app\.lua:5: attempt to index a nil value \(local 'x'\) "
        r"\(GET /a\?b, 10\.0\.0\.7, req 8f3\)$")


def test_script_that_breaks_the_globals(lua_with):
    lua = lua_with()
    lua("error, pcall, tostring, type, table, debug, coroutine, string = nil"
        " return 200, {}, 'x'")
    assert lua.gateway.alive()
    with lua.connect() as conn:
        lua.start(conn, 1, "return 200, {}, 'still'")
        assert conn.collect(1).ended


def test_script_that_changes_our_metatable(lua_with):
    lua = lua_with()
    lua("local mt = debug.getmetatable(req) for k in pairs(mt) do "
        "if k ~= '__gc' then mt[k] = nil end end return 200")
    with lua.connect() as conn:
        conn.start(1)
        conn.collect(1)
    lua = lua_with()
    lua("debug.setmetatable(req, { __gc = debug.getmetatable(req).__gc }) "
        "return 200")
    goes_on(lua)


def test_closing_the_log_from_lua_is_survived(lua_with):
    lua = lua_with()
    lua("pcall(io.close, io.stdout) pcall(io.close, io.stderr) "
        "pcall(io.stdin.close, io.stdin) return 200")
    lua("print 'x' return 200")
    goes_on(lua)
