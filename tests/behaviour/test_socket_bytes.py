"""What goes through the sockets of scripts: patterns, limits, ends and resets,
back-pressure, tasks that share a socket, and how all of that ends.

SPDX-License-Identifier: MIT
"""
import os
import socket

import pytest

from support.peers import BIG, MIB, Run, dumped, fds, reset


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
