"""Pools of connections: what they keep, for how long, and for whom.

SPDX-License-Identifier: MIT
"""
import socket
from signal import SIGHUP

import pytest

from support.gateway import free_port, wait_until
from support.lines import Lines
from support.lua import EVAL, Lua

# How scripts speak to the server; port and address are set by each request.
PRELUDE = """\
local fcgi = require "fcgi"
ngx = require "fcgi.ngx"
host = "127.0.0.1"

function open(options)
  return assert(fcgi.connect(address, options))
end

-- The number that the server has given to the connection.
function id(sock)
  assert(sock:send "id\\n")
  return math.tointeger(tonumber(assert(sock:receive())))
end

-- Makes that many connections and puts them into the pool, number 1 first.
function fill(count, ...)
  local socks = {}
  for i = 1, count do
    socks[i] = open()
    id(socks[i])
  end
  for _, sock in ipairs(socks) do assert(sock:setkeepalive(...)) end
end

-- A socket of a pool of two, for which three may wait, or so many.
function limited(seconds, backlog)
  local sock = fcgi.tcp()
  sock:settimeout(seconds)
  local ok, err = sock:connect(host, port,
    { pool = "limited " .. port, pool_size = 2, backlog = backlog or 3 })
  if not ok then return nil, err end
  return sock
end

-- The second result.
function why(_, err)
  return err
end
"""


class Client(Lua):
    """A Lua whose code knows the server."""

    def __init__(self, gateway, port):
        super().__init__(gateway)
        self.prefix = f"port, address = {port}, '127.0.0.1:{port}' "

    def __call__(self, code, *args, **more):
        return super().__call__(self.prefix + code, *args, **more)

    def start(self, conn, id, code, *args, **more):
        super().start(conn, id, self.prefix + code, *args, **more)


@pytest.fixture
def server():
    with Lines() as server:
        yield server


@pytest.fixture
def lua(shared_gateway, server):
    """On the gateway of all these tests: the server's port, and so its pools,
    are new for each."""
    return Client(shared_gateway(PRELUDE + EVAL), server.port)


@pytest.fixture
def lua_alone(gateway, server):
    """On a gateway for the test alone."""
    return lambda *options: Client(gateway(PRELUDE + EVAL, *options),
                                   server.port)


# --- in and out -------------------------------------------------------------

def test_connection_is_used_again(server, lua):
    for times in range(5):
        assert lua.text(
            "local s = open() local i, n = id(s), s:getreusedtimes() "
            "return 200, {}, dump(i, n, s:setkeepalive())") == \
            f"1, {times}, 1"
    assert server.count == 1


def test_socket_is_closed_then_and_may_connect_anew(lua):
    assert lua.text(
        "local s = open() s:setkeepalive() "
        "return 200, {}, dump(why(s:send 'x'), why(s:receive()), "
        "why(s:setkeepalive()), why(s:getreusedtimes()), s:getfd(), "
        "s:connect(host, port), id(s), s:getreusedtimes())") == \
        '"closed", "closed", "closed", "closed", -1, 1, 1, 1'


def test_last_one_used_is_the_first_to_be_used_again(lua):
    lua.text("fill(3) return 200")
    assert lua.text(
        "local a, b, c, d = open(), open(), open(), open() "
        "return 200, {}, dump(id(a), id(b), id(c), id(d), "
        "a:getreusedtimes(), d:getreusedtimes())") == "3, 2, 1, 4, 1, 0"


def test_socket_of_a_module_is_nobodys(server, lua):
    """It serves request after request, in the pool and out of it."""
    use = ("kept = kept or open() local i = id(kept) kept:setkeepalive() "
           "assert(kept:connect(host, port)) return 200, {}, dump(i)")
    for _ in range(3):
        assert lua.text(use) == "1"
    assert server.count == 1


def test_pool_is_the_address(lua):
    """However it is written where one connects."""
    assert lua.text(
        "local s, seen = fcgi.tcp(), {} "
        "for i, way in ipairs { "
        "function() return s:connect(host, port) end, "
        "function() return s:connect(host, tostring(port)) end, "
        "function() return s:connect(host, port, {}) end, "
        "function() return s:connect(host, port, { pool = address }) end, "
        "function() s = fcgi.connect(address) return s end, "
        "function() s = fcgi.connect(address, {}) return s end } do "
        "assert(way()) seen[i] = id(s) s:setkeepalive() end "
        "return 200, {}, dump(seen)") == "{1, 1, 1, 1, 1, 1}"


def test_pool_has_the_name_that_it_is_given(lua):
    assert lua.text(
        "local function use(options) local s = open(options) local i = id(s) "
        "s:setkeepalive() return i end "
        "return 200, {}, dump(use { pool = 'a' .. port }, use { pool = 'b' .. port }, use(), "
        "use { pool = 'b' .. port }, use { pool = 'a' .. port }, use())") == \
        "1, 2, 3, 2, 1, 3"


def test_pool_can_be_done_without(lua):
    lua.text("fill(1) return 200")
    assert lua.text(
        "local s = open { pool = false } local t = fcgi.tcp() "
        "assert(t:connect(host, port, { pool = false })) "
        "return 200, {}, dump(id(s), id(t), s:getreusedtimes(), "
        "why(s:setkeepalive()), id(open()))") == '2, 3, 0, "no pool", 1'


@pytest.mark.parametrize("before,options", [
    ("s:connect(host, port) s:close()", ", { pool = false }"),
    ("s:settimeout(0) s:connect(host, stuck) s:settimeout(60)", ""),
    ("s:settimeout(0) s:connect(host, stuck) s:settimeout(60)",
     ", { pool = false }"),
    ("fcgi.timeout(0.01, s.connect, s, host, stuck)", ""),
])
def test_pool_is_of_the_last_connect(server, lua, before, options):
    """Not of one that was given up, or that has a pool where the next has
    none."""
    with socket.socket() as stuck:
        stuck.bind(("127.0.0.1", 0))
        stuck.listen(0)
        fill = [socket.socket() for _ in range(2)]
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(stuck.getsockname())
        code = (f"local stuck, s = {stuck.getsockname()[1]}, fcgi.tcp() "
                f"{before} assert(s:connect(host, port{options})) "
                "local kept = s:setkeepalive() == 1 "
                "local t = fcgi.tcp() t:settimeout(0) "
                "local other = t:connect(host, stuck) "
                "local n = open():getreusedtimes() "
                "return 200, {}, dump(kept, other, n)")
        assert lua.text(code) == ("false, nil, 0" if options
                                  else "true, nil, 1")
        for sock in fill:
            sock.close()


def test_pool_is_not_that_of_a_descriptor_of_others(lua):
    assert lua.text(
        "local s, other = open(), open() local fd = other:getfd() "
        "other:setfd(-1) s:setfd(fd) "
        "return 200, {}, dump(why(s:setkeepalive()))") == '"no pool"'


@pytest.mark.parametrize("family,host", [(socket.AF_INET6, "::1"),
                                         (socket.AF_UNIX, None)])
def test_other_families(shared_gateway, tmp_path, family, host):
    path = str(tmp_path / "socket")
    with Lines((host, 0) if host else path, family) as server:
        address = f"[::1]:{server.port}" if host else f"unix:{path}"
        where = f"'::1', {server.port}" if host else f"'unix:{path}'"
        lua = Lua(shared_gateway(EVAL))
        assert lua.text(
            f"local a = fcgi.connect '{address}' a:setkeepalive() "
            f"local b = fcgi.tcp() b:connect({where}) local n = "
            "b:getreusedtimes() b:setkeepalive() "
            f"local c = fcgi.tcp() c:connect({where}, {{}}) "
            "return 200, {}, dump(n, c:getreusedtimes())") == "1, 2"


def test_what_is_no_connection_is_not_kept(lua):
    assert lua.text(
        "local server = fcgi.tcp() server:bind(host, 0) server:listen() "
        "local near = fcgi.tcp() local before = why(near:setkeepalive()) "
        "near:connect(server:getsockname()) local far = server:accept() "
        "local accepted, listens = why(far:setkeepalive()), "
        "why(server:setkeepalive()) near:close() "
        "return 200, {}, dump(before, accepted, listens, "
        "why(near:setkeepalive()))") == \
        '"closed", "no pool", "closed", "closed"'


def test_unread_data_is_not_kept(server, lua):
    assert lua.text(
        "local s = open() s:send 'say hello\\n' s:receive(1) "
        "local err = why(s:setkeepalive()) "
        "return 200, {}, dump(err, s:getfd(), why(s:receive()))") == \
        '"unread data in buffer", -1, "closed"'
    server.wait_for(set())
    assert lua.text("return 200, {}, dump(id(open()))") == "2"


def test_what_the_peer_has_ended_is_not_kept(lua):
    assert lua.text("local s = open() s:send 'bye\\n' s:receive() "
                    "local _, err = s:receive() "
                    "return 200, {}, dump(err, why(s:setkeepalive()))") == \
        '"closed", "closed"'


def test_busy_socket_is_not_taken_away(lua):
    assert lua.text(
        "local s = open() local i = id(s) "
        "local t = fcgi.spawn(s.receive, s) fcgi.sleep(0) "
        "local err = why(s:setkeepalive()) s:send 'say hello\\n' "
        "return 200, {}, dump(i, err, t:join(), s:setkeepalive())") == \
        '1, "socket busy reading", "hello", 1'


def test_time_limits_are_the_sockets(lua):
    """Not the connection's."""
    assert lua.text(
        "local a = open() a:settimeout(0) a:setkeepalive() "
        "local b = open { timeout = 5 } return 200, {}, "
        "dump((b:gettimeout()), (a:gettimeout()), b:getreusedtimes())") == \
        "5.0, 0.0, 1"


# --- what leaves the pool ----------------------------------------------------

def test_idle_time(server, lua):
    """Nothing else happens meanwhile."""
    lua.text("fill(2, 0.05) return 200")
    server.wait_for(set())
    assert lua.text("return 200, {}, dump(id(open()))") == "3"


def test_idle_times_differ(server, lua):
    lua.text("local a, b, c, d = open(), open(), open(), open() "
             "for _, s in ipairs { a, b, c, d } do id(s) end "
             "a:setkeepalive(60) b:setkeepalive(0.02) c:setkeepalive(0) "
             "d:setkeepalive(0.04) return 200")
    server.wait_for({1, 3})
    assert lua.text("return 200, {}, dump(id(open()), id(open()))") == "3, 1"


def test_time_begins_anew_with_each_use(server, lua):
    lua.text("local s = open() id(s) s:setkeepalive(0.02) "
             "s = open() s:setkeepalive(60) s = open() id(s) "
             "local t = open() id(t) t:setkeepalive(0.02) "
             "s:setkeepalive(60) return 200")
    server.wait_for({1})


def test_full_pool_lets_go_of_the_one_unused_longest(server, lua):
    lua.text("fill(4, 60, 2) return 200")
    server.wait_for({3, 4})
    assert lua.text("return 200, {}, dump(id(open()), id(open()), "
                    "id(open()))") == "4, 3, 5"


def test_thirty_fit_in(server, lua):
    lua.text("fill(32) return 200")
    server.wait_for(set(range(3, 33)))


def test_who_makes_a_pool_says_its_size(server, lua):
    lua.text("fill(3, nil, 2) return 200")
    server.wait_for({2, 3})
    lua.text("local s = {} for i = 1, 4 do s[i] = open() id(s[i]) end "
             "for i = 1, 4 do s[i]:setkeepalive(nil, 100) end return 200")
    wait_until(lambda: len(server.ids()) == 2, "two connections")


def test_size_by_connect(server, lua):
    lua.text("local s = {} for i = 1, 3 do s[i] = open { pool_size = 1 } "
             "id(s[i]) end for i = 1, 3 do s[i]:setkeepalive() end return 200")
    server.wait_for({3})


def test_peer_that_hangs_up_takes_its_connections_out(server, lua):
    lua.text("fill(3) return 200")
    server.hang_up(3, 1)
    lua.gateway.barrier()
    assert lua.text("local a, b = open(), open() return 200, {}, dump("
                    "id(a), id(b), a:getreusedtimes())") == "2, 4, 1"


def test_peer_that_speaks_unasked_is_hung_up_on(server, lua):
    lua.text("fill(2) return 200")
    server.tell(2, b"surprise\n")
    server.wait_for({1})
    assert lua.text("return 200, {}, dump(id(open()))") == "1"


def test_reload_lets_go_of_the_old_generations(server, lua_alone):
    lua = lua_alone()
    lua.text("fill(3) return 200")
    assert server.ids() == {1, 2, 3}
    lua.gateway.signal(SIGHUP)
    server.wait_for(set())
    assert lua.text("return 200, {}, dump(id(open()))") == "4"


def test_stop_does_not_wait_for_them(server, lua_alone):
    lua = lua_alone("--grace=600")
    lua.text("fill(3, 0) return 200")
    assert lua.gateway.stop() == 0
    server.wait_for(set())


@pytest.mark.parametrize("fills", ["", "fill(1)"])
def test_nothing_is_kept_when_the_script_ends(server, lua_alone, fills):
    lua = lua_alone()
    lua.text("last = fcgi.tcp() guard = setmetatable({}, { __gc = function() "
             "fcgi.log('notice', 'kept: ', last:setkeepalive()) end }) "
             f"{fills} assert(last:connect(host, port)) return 200")
    assert lua.gateway.stop() == 0
    lua.gateway.wait_log("kept: nil")
    server.wait_for(set())


def test_finalizer_may_close_what_is_kept(lua_alone):
    """In an allocation of the pool, each of which collects all there is."""
    lua = lua_alone()
    assert lua.text(
        "collectgarbage('incremental', 100, 1000, 40) "
        "local seen = {} for i = 1, 20 do "
        "local s <close> = open { pool = 'n' .. i } "
        "collectgarbage() collectgarbage 'stop' "
        "setmetatable({}, { __gc = function() s:close() end }) "
        "collectgarbage 'restart' local err = why(s:setkeepalive()) "
        "seen[tostring(err)] = true end return 200, {}, dump(seen)") == \
        "{closed=true}"


def test_nothing_is_left_open(server, lua_alone):
    lua = lua_alone()
    lua.text("return 200")
    before = lua.gateway.fds()
    lua.text("for i = 1, 50 do fill(3, 0.01, 2) local s = open() "
             "s:send 'say x\\n' s:receive(1) s:setkeepalive() "
             "open { pool = 'n' .. i }:setkeepalive(0.01) end return 200")
    server.wait_for(set())
    lua.gateway.wait_fds(before)


# --- pools with a limit ------------------------------------------------------

def test_order_of_those_who_wait(server, lua):
    assert lua.text(
        "local a, b, log, tasks = limited(), limited(), {}, {} "
        "for i = 1, 3 do tasks[i] = fcgi.spawn(function() "
        "local s = assert(limited()) log[#log + 1] = i .. ':' .. id(s) "
        "fcgi.sleep(0.001) s:setkeepalive() end) end "
        "fcgi.sleep(0) id(a) id(b) a:setkeepalive() "
        "for i = 1, 3 do assert(tasks[i]:join() == nil) end b:close() "
        "return 200, {}, dump(log)") == '{"1:1", "2:1", "3:1"}'
    assert server.count <= 3


def test_never_more_than_so_many(server, lua):
    assert lua.text(
        "local most, now, tasks = 0, 0, {} "
        "for i = 1, 50 do tasks[i] = fcgi.spawn(function() "
        "local s = assert(limited(nil, 100)) now = now + 1 "
        "most = math.max(most, now) id(s) fcgi.sleep(i % 3 * 0.001) "
        "now = now - 1 if i % 5 == 0 then s:close() else s:setkeepalive() "
        "end return true end) end "
        "for i = 1, 50 do assert(tasks[i]:join()) end "
        "return 200, {}, dump(most)") == "2"
    assert len(server.ids()) <= 2


def test_too_many_wait(lua):
    assert lua.text(
        "local a, b, tasks = limited(), limited(), {} "
        "for i = 1, 5 do tasks[i] = fcgi.spawn(limited) end fcgi.sleep(0) "
        "local four, five = why(tasks[4]:join()), why(tasks[5]:join()) "
        "a:close() b:close() local s = tasks[1]:join() s:close() "
        "return 200, {}, dump(four, five)") == \
        ", ".join(['"too many waiting connect operations"'] * 2)


def test_nobody_waits_where_nobody_may(lua):
    assert lua.text(
        "local a, b = limited(nil, 0), limited() local err = why(limited()) "
        "a:setkeepalive() return 200, {}, dump(err, id(limited()) > 0)") == \
        '"too many waiting connect operations", true'


def test_who_waits_too_long_gives_up(lua):
    assert lua.text(
        "local a, b = limited(), limited() local t = fcgi.now() "
        "local err = why(limited(0.02)) local passed = fcgi.now() - t "
        "local now = why(limited(0)) a:close() "
        "return 200, {}, dump(err, passed >= 0.02, now, "
        "limited(0.02) ~= nil)") == '"timeout", true, "timeout", true'


@pytest.mark.parametrize("end", [
    "task:cancel() task:join()",
    "sock:close() assert(why(task:join()) == 'closed')",
], ids=["cancelled", "closed"])
def test_who_does_not_wait_any_more_leaves_the_queue(lua, end):
    assert lua.text(
        "local a, b = limited(), limited() local sock = fcgi.tcp() "
        "local task = fcgi.spawn(function() return sock:connect(host, port, "
        "{ pool = 'limited ' .. port }) end) fcgi.sleep(0) "
        "local next = fcgi.spawn(limited) fcgi.sleep(0) "
        f"{end} a:close() "
        "return 200, {}, dump(id(next:join()) > 0, sock:getfd())") == \
        "true, -1"


def test_place_that_was_promised_goes_on_when_its_task_ends(lua):
    """The coroutine that waits is closed in the moment in which it is to go
    on."""
    assert lua.text(
        "local a, b = limited(), limited() "
        "local co = coroutine.create(limited) "
        "local first = fcgi.spawn(coroutine.resume, co) fcgi.sleep(0) "
        "local second = fcgi.spawn(limited) fcgi.sleep(0) "
        "a:setkeepalive() coroutine.close(co) "
        "return 200, {}, dump(id(second:join()) > 0)") == "true"


def test_place_of_what_cannot_connect_goes_on(lua):
    assert lua.text(
        "local options, errs = { pool = 'x' .. port, pool_size = 1, backlog = 9 }, {} "
        "local tasks = {} for i = 1, 4 do tasks[i] = fcgi.spawn(function() "
        f"return fcgi.connect('127.0.0.1:{free_port()}', options) end) end "
        "for i = 1, 4 do errs[i] = why(tasks[i]:join()) end "
        "return 200, {}, dump(errs, id(open(options)))") == \
        "{" + ", ".join(['"connection refused"'] * 4) + "}, 1"


def test_place_of_a_socket_that_nobody_holds_comes_back(lua):
    assert lua.text(
        "limited() limited() collectgarbage() collectgarbage() "
        "return 200, {}, dump(id(limited(5)) > 0)") == "true"


def test_connection_that_its_peer_ends_gives_its_place(server, lua):
    lua.text("held = limited() local s = limited() id(held) id(s) "
             "s:setkeepalive() return 200")
    with lua.connect() as conn:
        lua.start(conn, 1, "local a = limited() local b = limited() "
                  "return 200, {}, dump(id(a), id(b))")
        wait_until(lambda: server.ids() == {1, 2}, "two")
        lua.gateway.barrier()
        server.hang_up(1)
        lua.text("held:close() return 200")
        assert conn.collect(1).text == "2, 3"


def test_limit_is_for_whoever_names_the_pool(lua):
    assert lua.text(
        "local a, b = limited(), open { pool = 'limited ' .. port } "
        "local c = fcgi.tcp() c:settimeout(0) "
        "return 200, {}, dump(why(c:connect(host, port, "
        "{ pool = 'limited ' .. port })))") == '"timeout"'


def test_one_connect_at_a_time(lua):
    assert lua.text(
        "local a, b, s = limited(), limited(), fcgi.tcp() "
        "local options = { pool = 'limited ' .. port } "
        "local task = fcgi.spawn(s.connect, s, host, port, options) "
        "fcgi.sleep(0) local err = why(s:connect(host, port, options)) "
        "a:close() return 200, {}, dump(err, task:join(), id(s) > 0, "
        "why(s:connect(host, port, options)))") == \
        '"socket busy connecting", 1, true, "already connected"'


# --- misuse -----------------------------------------------------------------

MISUSES = {
    "s:setkeepalive(-1)": "bad argument #1 to 'setkeepalive' "
                          "(not a number of seconds)",
    "s:setkeepalive(0/0)": "bad argument #1 to 'setkeepalive' "
                           "(not a number of seconds)",
    "s:setkeepalive('x')": "bad argument #1 to 'setkeepalive' "
                           "(number expected, got string)",
    "s:setkeepalive(1, 0)": "bad argument #2 to 'setkeepalive' "
                            "(not a number of connections)",
    "s.setkeepalive({})": "bad self (write sock:setkeepalive, with a colon)",
    "open { pool = 5 }": "bad option 'pool' (a name expected, got 5)",
    "open { pool_size = 0 }": "bad option 'pool_size' (a number of "
                              "connections expected, got 0)",
    "open { backlog = -1 }": "bad option 'backlog' (a number of connections "
                             "expected, got -1)",
    "open { backlog = 'x' }": "bad option 'backlog' (a number of connections "
                              "expected, got x)",
    "open { timeout = 0/0 }": "bad option 'timeout' (a number of seconds "
                              "expected, got number)",
}


@pytest.mark.parametrize("idle", ["", "open():setkeepalive()"])
def test_misuse(lua, idle):
    """Whether a connection lies there or not."""
    for code, message in MISUSES.items():
        shown = lua.value("select(2, pcall(function() local s = open() "
                          f"{idle} {code} end))")
        assert message in shown, code
    assert lua.text("return 200, {}, dump(id(open()))") != ""


# --- through fcgi.ngx -------------------------------------------------------

def test_ngx_counts_milliseconds(server, lua):
    assert lua.text(
        "local s = ngx.socket.tcp() assert(s:connect(host, port)) "
        "local i = id(s) assert(s:setkeepalive(50, 10) == 1) "
        "local t = ngx.socket.tcp() assert(t:connect(host, port)) "
        "local n = t:getreusedtimes() t:setkeepalive(50) "
        "return 200, {}, dump(i, n)") == "1, 1"
    server.wait_for(set())
    lua.text("local s = assert(ngx.socket.connect(host, port)) id(s) "
             "s:setkeepalive(600000) return 200")
    assert lua.text("return 200, {}, dump(ngx.socket.connect(host, port)"
                    ":getreusedtimes())") == "1"


def test_ngx_timeouts(lua):
    assert lua.text(
        "local s = ngx.socket.tcp() local function set(name, ...) "
        "s[name](s, ...) return (s:gettimeout()) end "
        "return 200, {}, dump((s:gettimeout()), set('settimeout', 250), "
        "set('settimeout', 0), set('settimeouts', 1, 2, 3000), "
        "set('settimeout'))") == "60.0, 0.25, 60.0, 3.0, 60.0"


def test_ngx_connect_closes_what_was_connected(server, lua):
    assert lua.text(
        "local s = ngx.socket.tcp() s:connect(host, port) local a = id(s) "
        "s:connect(host, port) return 200, {}, dump(a, id(s), s:close(), "
        "why(s:close()), why(s:setkeepalive()))") == \
        '1, 2, 1, "closed", "closed"'
    server.wait_for(set())


def test_ngx_receives_nothing_at_once(lua):
    assert lua.text("local s = assert(ngx.socket.connect(host, port)) "
                    "return 200, {}, dump(s:receive(0), id(s))") == '"", 1'


def test_ngx_limits(lua):
    assert lua.text(
        "local options = { pool = 'p' .. port, pool_size = 1, backlog = 1 } "
        "local a = assert(ngx.socket.connect(host, port, options)) "
        "local b = ngx.socket.tcp() b:settimeout(10) "
        "local late = why(b:connect(host, port, options)) "
        "local t = ngx.thread.spawn(b.connect, b, host, port, options) "
        "ngx.sleep(0) local many = why(ngx.socket.connect(host, port, "
        "options)) id(a) a:setkeepalive() "
        "return 200, {}, dump(late, many, select(2, ngx.thread.wait(t)), "
        "id(b), b:getreusedtimes())") == \
        '"timeout", "too many waiting connect operations", 1, 1, 1'


def test_ngx_options(lua):
    assert lua.text(
        "local s, seen = ngx.socket.tcp(), {} s:setoption('keepalive', 1) "
        "s:setoption('sndbuf', 10000) s:connect(host, port) "
        "seen[1] = s:getoption 'keepalive' "
        "seen[2] = s:getoption 'sndbuf' >= 10000 "
        "s:setoption('tcp-nodelay', false) seen[3] = s:getoption 'tcp-nodelay'"
        " s:setkeepalive() local t = ngx.socket.tcp() "
        "t:setoption('tcp-nodelay', true) t:connect(host, port) "
        "seen[4] = t:getreusedtimes() seen[5] = t:getoption 'tcp-nodelay' "
        "return 200, {}, dump(seen)") == "{true, true, false, 1, true}"


@pytest.mark.parametrize("code,message", [
    ("s:settimeout(-1)", "bad argument #1 to 'settimeout' (bad timeout "
                         "value)"),
    ("s:settimeouts(1, 'x')", "bad argument #2 to 'settimeouts' (number "
                              "expected, got string)"),
    ("s:setkeepalive({})", "bad argument #1 to 'setkeepalive' (number "
                           "expected, got table)"),
])
def test_ngx_misuse(lua, code, message):
    assert lua.value("select(2, pcall(function() local s = ngx.socket.tcp() "
                     f"{code} end))") == f'"test:1: {message}"'
