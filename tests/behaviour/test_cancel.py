"""Cancellation: every way to be cancelled, in every kind of wait.

SPDX-License-Identifier: MIT
"""
import contextlib
import re
import signal

import pytest

from support.gateway import wait_until
from support.lua import ECHO, EVAL, GO, Lua, params_for

# Each waits for ever in a request whose body does not come and whose answer
# is not read.
WAITS = {
    "sleep": "fcgi.sleep(3600)",
    "read": "req:read(1)",
    "read_line": "req:read_line()",
    "body": "req:body()",
    "write": "req:set_status(200) while true do req:write(('x'):rep(65536)) "
             "end",
    "flush": "req:set_status(200) req:write(('x'):rep(1024):rep(1024)) "
             "while true do req:write('x') req:flush() end",
    "join": "fcgi.spawn(fcgi.sleep, 3600):join()",
    "join with a limit": "fcgi.spawn(fcgi.sleep, 3600):join(3600)",
    "timeout": "fcgi.timeout(3600, fcgi.sleep, 3600)",
    "every": "local t <close> = fcgi.every(3600, print) t:join()",
    "get": "fcgi.channel():get()",
    "put": "fcgi.channel():put(1)",
    "put with a limit": "fcgi.channel():put(1, 3600)",
    "run": "fcgi.run { 'sleep', '3600' }",
    "read of a program": "fcgi.popen({ 'sleep', '3600' }):read()",
    "write to a program": "fcgi.popen({ 'sleep', '3600' })"
                          ":write(('x'):rep(1 << 20))",
    "end of a program": "fcgi.popen({ 'sleep', '3600' }):wait()",
    "coroutine": "coroutine.wrap(function() fcgi.sleep(3600) end)()",
    "resume": "error(select(2, coroutine.resume(coroutine.create(function() "
              "coroutine.wrap(fcgi.sleep)(3600) end))), 0)",
    "metamethod": "return setmetatable({}, { __index = function() "
                  "fcgi.sleep(3600) end }).x",
    "iterator": "for _ in function() fcgi.sleep(3600) end do end",
    "xpcall": "error(select(2, xpcall(fcgi.sleep, function(e) return e end, "
              "3600)), 0)",
    "variable": "local x <close> = setmetatable({}, { __close = function() "
                "fcgi.sleep(3600) end })",
}
WRITES = ("write", "flush")

# Says how the wait ended, waits again as if to clean up, fails on.
SHOW = ("local name = req:param 'NAME' "
        "local function show(...) fcgi.log('notice', name, ': ', dump(...)) "
        "end "
        "local function wait() %s end "
        "local function main() local ok, err = pcall(wait) "
        "show(ok, fcgi.cancelled(err), tostring(err)) "
        "fcgi.sleep(0.001) show 'waited again' error(err, 0) end ")


def show(name):
    return SHOW % WAITS[name]


@contextlib.contextmanager
def begun(lua, code, name):
    """A request that has no end of its body, on a connection that is not
    read."""
    with lua.connect(rcvbuf=4096) as conn:
        conn.begin(1)
        conn.params(1, params_for(code, {"NAME": name}))
        yield conn


def check_raised(lua, name, reason, start=0):
    for line in (f'false, "{reason}", "cancelled: {reason}"',
                 '"waited again"'):
        pattern = f" {re.escape(name)}: {re.escape(line)}"
        wait_until(lambda: re.search(pattern, lua.gateway.log()[start:]),
                   f"log line {pattern}")


# --- every wait, every way ---

@pytest.mark.parametrize("name", WAITS)
def test_timeout(shared_gateway, name):
    lua = Lua(shared_gateway(EVAL, "--timeout=0.15"))
    with begun(lua, show(name) + "main()", name) as conn:
        check_raised(lua, name, "timeout")
        response = conn.collect(1)
        if name in WRITES:
            assert response.status == 200 and response.app_status == 1
        else:
            assert response.status == 504
    assert lua(ECHO, body=b"next").text == "next"


@pytest.mark.parametrize("name", WAITS)
def test_cancel(lua, name):
    at = len(lua.gateway.log())
    with begun(lua, show(name) + "local t = fcgi.spawn(main) "
               "for _ = 1, 5 do fcgi.sleep(0.001) end "
               "assert(t:cancel('why') and t:cancel('later')) "
               "show('joined', t:join())", name) as conn:
        check_raised(lua, name, "why", at)
        conn.collect(1)
    lua.gateway.wait_log(f'{name}: "joined", nil, "why"')
    assert lua(ECHO, body=b"next").text == "next"


@pytest.mark.parametrize("name", WAITS)
def test_cancel_before_the_wait(lua, name):
    at = len(lua.gateway.log())
    with begun(lua, show(name) + "local t t = fcgi.spawn(function() "
               "t:cancel('early') main() end) "
               "show('joined', t:join())", name) as conn:
        check_raised(lua, name, "early", at)
        conn.collect(1)
    lua.gateway.wait_log(f'{name}: "joined", nil, "early"')


@pytest.mark.parametrize("name", [n for n in WAITS if not
                                  n.startswith(("read", "body", *WRITES))])
def test_end_of_the_owner(lua, name):
    # Waits for the request itself hear that it has ended.
    at = len(lua.gateway.log())
    with begun(lua, show(name) + "fcgi.spawn(main) for _ = 1, 5 do "
               "fcgi.sleep(0.001) end return 200, {}, 'x'", name) as conn:
        assert conn.collect(1).text == "x"
        check_raised(lua, name, "finished", at)


@pytest.mark.parametrize("wait", [
    "req:read(1)", "req:read_line()", "req:body()",
    "req:write(('x'):rep(1024):rep(1024)) repeat until not "
    "req:write(('x'):rep(65536))",
    "req:write(('x'):rep(1024):rep(1024)) repeat req:write('x') until not "
    "req:flush()"])
def test_end_of_the_owner_wakes_who_waits_for_the_request(lua, wait):
    at = len(lua.gateway.log())
    with begun(lua, "req:set_status(200) fcgi.spawn(function() "
               f"fcgi.log('notice', 'waits') pcall(function() {wait} end) "
               "fcgi.log('notice', 'woken') end) "
               "while not go do fcgi.sleep(0.002) end go = nil",
               "x") as conn:
        wait_until(lambda: "waits" in lua.gateway.log()[at:], "the wait")
        lua.gateway.barrier()
        assert "woken" not in lua.gateway.log()[at:]
        lua(GO)
        wait_until(lambda: "woken" in lua.gateway.log()[at:], "the end")
        conn.collect(1)


def test_stop_after_grace(lua_with):
    lua = lua_with("--grace=0.3")
    with contextlib.ExitStack() as stack:
        for name in WAITS:
            conn = stack.enter_context(begun(
                lua, "fcgi.log('notice', 'ready') " + show(name) + "main()",
                name))
            if name in WRITES:
                conn.wait_stdout(1)
        wait_until(lambda: lua.gateway.log().count("ready") == len(WAITS),
                   "all handlers")
        assert lua.gateway.stop() == 0
    for name in WAITS:
        check_raised(lua, name, "stop")


SETTING = EVAL + "\nreturn { on_request = on_request, abort = 'cancel' }\n"


@pytest.mark.parametrize("how", ["record", "connection"])
@pytest.mark.parametrize("name", ["sleep", "join", "get", "timeout", "read",
                                  "body", "coroutine", "variable", "xpcall"])
def test_abort_that_cancels(shared_gateway, name, how):
    lua = Lua(shared_gateway(SETTING))
    at = len(lua.gateway.log())
    with begun(lua, "fcgi.log('notice', 'ready') " + show(name) + "main()",
               name) as conn:
        wait_until(lambda: "ready" in lua.gateway.log()[at:], "the handler")
        if how == "record":
            conn.abort(1)
            conn.collect(1)
        else:
            conn.close()
        check_raised(lua, name, "abort", at)


@pytest.mark.parametrize("level, times", [("info", 0), ("debug", 1)])
def test_abort_that_cancels_is_no_warning(gateway, level, times):
    lua = Lua(gateway(SETTING, "--log-level=" + level))
    with lua.connect() as conn:
        lua.start(conn, 1, "local last <close> = setmetatable({}, {__close = "
                  "function() fcgi.log('error', 'gone') end}) "
                  "fcgi.log('error', 'here') fcgi.sleep(3600)")
        lua.gateway.wait_log("here")
        conn.abort(1)
        conn.collect(1)
    lua.gateway.wait_log("gone")
    assert lua.text("return 200, {}, 'x'") == "x"
    log = lua.gateway.log()
    assert log.count("cancelled: abort") == times
    assert "traceback" not in log and " warn " not in log


def test_a_cancellation_can_be_put_together_with_text(lua):
    assert lua.value(
        "select(2, pcall(function() "
        "local t = fcgi.spawn(function() "
        "local _, err = pcall(fcgi.sleep, 9) "
        "local ok, why = pcall(function() return err .. {} end) "
        "return 'a: ' .. err, err .. ' b', 1 .. err, err .. err, ok, why end) "
        "fcgi.sleep(0) t:cancel('why') return dump(t:join()) end))"
    ).replace('\\"', '"').startswith(
        '""a: cancelled: why", "cancelled: why b", "1cancelled: why", '
        '"cancelled: whycancelled: why", false, "')


def test_abort_cancels_no_task_of_the_request(lua_with):
    lua = lua_with()
    with begun(lua, "fcgi.spawn(function() local ok = pcall(fcgi.sleep, 0.2) "
               "fcgi.log('notice', 'slept ', dump(ok)) end) "
               "fcgi.log('notice', 'ready') fcgi.sleep(0.3)",
               "x") as conn:
        lua.gateway.wait_log("ready")
        conn.abort(1)
        conn.collect(1)
        lua.gateway.wait_log("slept true")


# --- the end of patience ---

def test_when_patience_ends_every_wait_raises(lua_with):
    # All at once: it takes the five seconds.
    lua = lua_with("--timeout=0.1")
    names = [name for name in WAITS if name != "timeout"]
    with contextlib.ExitStack() as stack:
        conns = []
        for name in names:
            conns.append(stack.enter_context(begun(
                lua, SHOW % WAITS[name] + "pcall(fcgi.sleep, 3600) "
                "local ok, err = pcall(fcgi.sleep, 3600) " # cleaning up
                "show('second', ok, fcgi.cancelled(err)) "
                "ok, err = pcall(wait) "
                "show('third', ok, fcgi.cancelled(err)) "
                "ok, err = pcall(fcgi.sleep, 0) "
                "show('fourth', ok, fcgi.cancelled(err))", name)))
        lua.gateway.wait_log("fourth")
        for conn in conns:
            conn.collect(1)
        for name in names:
            for which in ("second", "third", "fourth"):
                lua.gateway.wait_log(
                    f'{name}: "{which}", false, "timeout"')
    assert lua.gateway.alive()


# --- what a cancellation is ---

def test_the_error_value(lua):
    assert lua.text(
        "local t t = fcgi.spawn(function() t:cancel('why') "
        "local ok, err = pcall(fcgi.sleep, 0) "
        "return type(err), tostring(err), getmetatable(err), "
        "fcgi.cancelled(err), rawequal(err, err) end) "
        "return 200, {}, dump(t:join())") == \
        '"userdata", "cancelled: why", false, "why", true'


def test_it_is_raised_once(lua):
    assert lua.text(
        "local log = {} local t = fcgi.spawn(function() "
        "for i = 1, 3 do log[i] = tostring(pcall(fcgi.sleep, 0.001)) end "
        "end) fcgi.sleep(0) t:cancel() t:join() "
        "return 200, {}, table.concat(log, ' ')") == "false true true"


def test_one_that_goes_on_may_have_results(lua):
    assert lua.text("local t = fcgi.spawn(function() pcall(fcgi.sleep, 3600) "
                    "fcgi.sleep(0.001) return 'saved' end) fcgi.sleep(0) "
                    "t:cancel() return 200, {}, dump(t:join())"
                    ) == '"saved"'


def test_an_error_in_the_clean_up_takes_its_place(lua):
    assert lua.text(
        "local t = fcgi.spawn(function() local x <close> = setmetatable({}, "
        "{ __close = function() error('cleaning', 0) end }) "
        "fcgi.sleep(3600) end) fcgi.sleep(0) t:cancel() "
        "return 200, {}, dump(t:join())") == 'nil, "cleaning"'


def test_reason_passes_to_the_tasks_of_a_block(lua):
    assert lua.text(
        "local reasons = {} local function nest(n) "
        "local t <close> = n > 0 and fcgi.spawn(nest, n - 1) or nil "
        "local ok, err = pcall(fcgi.sleep, 3600) "
        "reasons[#reasons + 1] = fcgi.cancelled(err) error(err, 0) end "
        "local t = fcgi.spawn(nest, 3) for _ = 1, 6 do fcgi.sleep(0) end "
        "t:cancel('why') t:join() "
        "return 200, {}, table.concat(reasons, ' ')") == "why why why why"


# --- what the client and the log see ---

def test_504_when_nothing_was_sent(lua_with):
    lua = lua_with("--timeout=0.1")
    response = lua("req:set_status(201):set_header('X-A', 'b') "
                   "fcgi.spawn(fcgi.sleep, 3600):join()",
                   {"HTTP_X_REQUEST_ID": "slow-1"})
    assert response.status == 504 and "x-a" not in response.headers
    lua.gateway.wait_log(r"warn .*cancelled: timeout \(GET .*req slow-1\)")
    assert lua.gateway.log().count("cancelled: timeout") == 1


def test_answer_that_had_begun_is_broken_off(lua_with):
    lua = lua_with("--timeout=0.1")
    response = lua("req:set_status(200):write('part') req:flush() "
                   "fcgi.channel():get()")
    assert response.status == 200 and response.text == "part"
    assert response.app_status == 1


def test_handler_that_answers_after_its_cancellation(lua_with):
    lua = lua_with("--timeout=0.1")
    assert lua("local ok, err = pcall(function() fcgi.channel():get() end) "
               "return 503, {}, fcgi.cancelled(err)").text == "timeout"


def test_where_a_handler_was_is_logged(lua_with):
    lua = lua_with("--timeout=0.1")
    assert lua("\nlocal co = coroutine.wrap(function()\n"
               "fcgi.sleep(3600)\nend)\nco()").status == 504
    lua.gateway.wait_log(r"test:3: in ")
    lua.gateway.wait_log(r"test:5: in ")


def test_the_tasks_of_a_request_that_timed_out_end(lua_with):
    lua = lua_with("--timeout=0.1")
    assert lua("fcgi.spawn(function() local ok, err = pcall(fcgi.sleep, "
               "3600) fcgi.log('notice', 'child ', tostring(err)) end) "
               "fcgi.sleep(3600)").status == 504
    lua.gateway.wait_log("child cancelled: finished")


def test_stop_cancels_tasks_of_all_kinds_once(gateway):
    gw = gateway("local fcgi = require 'fcgi' "
                 "local function hold(name) local ok, err = "
                 "pcall(fcgi.sleep, 3600) fcgi.log('notice', name, ' ', "
                 "tostring(err)) end "
                 "fcgi.spawn(hold, 'top') fcgi.every(0.001, function() "
                 "local x <close> = setmetatable({}, { __close = function() "
                 "fcgi.log('notice', 'round') end }) fcgi.sleep(3600) end) "
                 "function on_request(req) fcgi.spawn(hold, 'detached')"
                 ":detach() fcgi.spawn(hold, 'child') fcgi.sleep(0) "
                 "fcgi.log('notice', 'ready') hold('handler') end",
                 "--grace=0.2")
    with gw.connect() as conn:
        conn.start(1)
        gw.wait_log("ready")
        assert gw.stop(signal.SIGTERM) == 0
    for name in ("top", "handler", "child", "detached"):
        assert gw.log().count(f"{name} cancelled: stop") == 1, name
    assert gw.log().count("round") == 1
