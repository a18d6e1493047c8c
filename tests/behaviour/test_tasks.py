"""Tasks that a script spawns: what they give, with whom they end, what the log
tells of them.

SPDX-License-Identifier: MIT
"""
import re

import pytest

from support import fastcgi
from support.gateway import run
from support.lua import ECHO, GO

SLEEPER = ("local function sleeper(name) return function() "
           "local ok, err = pcall(fcgi.sleep, 3600) "
           "fcgi.log('notice', name, ' ended by ', tostring(err)) "
           "if not ok then error(err, 0) end end end ")


# --- spawn, join, cancel ---

JOINS = {
    "results": ("fcgi.spawn(function(...) fcgi.sleep(0) return ... end, "
                "1, 'a'):join()", '1, "a"'),
    "no result": ("select('#', fcgi.spawn(function() end):join())", "0"),
    "nils": ("fcgi.spawn(function() return nil, 2, nil end):join()",
             "nil, 2, nil"),
    "many": ("select('#', fcgi.spawn(table.unpack, {}, 1, 200):join())",
             "200"),
    "error": ("fcgi.spawn(error, 'oops', 0):join()", 'nil, "oops"'),
    "error value": ("fcgi.spawn(error, {7}):join()", "nil, {7}"),
    "no error value": ("fcgi.spawn(error):join()", "nil, nil"),
    "cancelled": ("(function() local t = fcgi.spawn(fcgi.sleep, 3600) "
                  "fcgi.sleep(0) t:cancel() return t:join() end)()",
                  'nil, "cancelled"'),
    "reason": ("(function() local t = fcgi.spawn(fcgi.sleep, 3600) "
               "fcgi.sleep(0) t:cancel('why') t:cancel('later') "
               "return t:join() end)()", 'nil, "why"'),
    "never begun": ("(function() local t = fcgi.spawn(fcgi.sleep, 3600) "
                    "t:cancel('early') return t:join() end)()",
                    'nil, "early"'),
    "timeout": ("fcgi.spawn(fcgi.sleep, 3600):join(0.005)",
                'nil, "timeout"'),
    "at once": ("fcgi.spawn(fcgi.sleep, 3600):join(0)", 'nil, "timeout"'),
    "itself": ("(function() local t t = fcgi.spawn(function() "
               "return t:join() end) return select(2, t:join()):match("
               "'test:1: (.*)') end)()", '"a task cannot join itself"'),
}


@pytest.mark.parametrize("name", JOINS)
def test_join(lua, name):
    expression, wanted = JOINS[name]
    assert lua.value(expression) == wanted


@pytest.mark.parametrize("name", ["results", "error", "error value",
                                  "reason"])
def test_joining_twice_gives_the_same(lua, name):
    call = JOINS[name][0].replace(":join()", "").replace(
        "return t end", "t:join() return t end")
    assert lua.text(f"local t = {call} t:join() "
                    "return 200, {}, dump(t:join())") == JOINS[name][1]


def test_tasks_run_beside_their_handler(lua):
    assert lua.text(
        "local log = {} local function say(name) return function() "
        "for i = 1, 3 do log[#log + 1] = name fcgi.sleep(0) end end end "
        "local a, b = fcgi.spawn(say 'a'), fcgi.spawn(say 'b') "
        "a:join() b:join() return 200, {}, log") == "ababab"


def test_a_task_reads_and_answers_for_its_request(lua):
    assert lua("local t = fcgi.spawn(function() return req:body() end) "
               "fcgi.spawn(function() req:send(200, {}, t:join()) end):join()",
               body=b"by a task").text == "by a task"


def test_an_iterator_of_the_answer_may_join(lua):
    assert lua("local n = 0 return 200, {}, function() n = n + 1 "
               "return n < 4 and fcgi.spawn(function() fcgi.sleep(0) "
               "return 'part' .. n .. ' ' end):join() or nil end"
               ).text == "part1 part2 part3 "


@pytest.mark.parametrize("call, message", [
    ("fcgi.spawn()", "#1 to 'spawn' (function expected, got no value)"),
    ("fcgi.spawn('x')", "#1 to 'spawn' (function expected, got string)"),
    ("fcgi.spawn(print):join('x')", "#1 to 'join' (number expected, "
     "got string)"),
    ("fcgi.spawn(print):join(-1)", "#1 to 'join' (not a number of seconds)"),
    ("fcgi.spawn(print):cancel({})", "#1 to 'cancel' (string expected, "
     "got table)"),
    ("fcgi.every(0, print)", "#1 to 'every' (more than 0 seconds expected, "
     "got 0)"),
    ("fcgi.every(1)", "#2 to 'every' (function expected, got nil)"),
    ("fcgi.timeout('x', print)", "#1 to 'timeout' (number expected, "
     "got string)"),
    ("fcgi.timeout(1, 2)", "#2 to 'timeout' (function expected, got number)"),
])
def test_misuse_names_the_line(lua, call, message):
    assert lua.text(f"\nlocal ok, err = pcall(function()\n{call}\nend) "
                    "return 200, {}, err") == f"test:3: bad argument {message}"


def test_ten_thousand_tasks(lua_with):
    lua = lua_with()
    response = lua("local tasks, sum = {}, 0 for i = 1, 10000 do "
                   "tasks[i] = fcgi.spawn(function() fcgi.sleep(0.01) "
                   "return i end) end "
                   "for i = 1, 10000 do sum = sum + tasks[i]:join() end "
                   "return 200, {}, sum")
    assert response.text == "50005000"


def test_ten_thousand_requests_sleep_on_one_connection(lua_with):
    lua = lua_with("--max-reqs=10000")
    code = ("running = (running or 0) + 1 if running == 10000 then all = true "
            "end while not all do fcgi.sleep(0.2) end return 200, {}, 'x'")
    params = {"LUA": code}
    with lua.connect() as conn:
        for first in range(1, 10001, 100):
            ids = range(first, first + 100)
            for id in ids:
                conn.expect(id)
            conn.send_duplex(b"".join(
                fastcgi.request_bytes(id, params, flags=fastcgi.KEEP_CONN,
                                      defaults=False) for id in ids))
        for id in range(1, 10001):
            assert conn.collect(id, 60).text == "x"


def test_a_module_that_failed_may_be_required_again(lua):
    assert lua.text(
        "local n = 0 package.preload.brittle = function() n = n + 1 "
        "if n == 1 then fcgi.sleep(0) error('on purpose', 0) end "
        "return { n = n } end "
        "local a = fcgi.spawn(require, 'brittle') "
        "local b = fcgi.spawn(require, 'brittle') "
        "local _, err = a:join() assert(select(2, b:join()) == err) "
        "local module = require 'brittle' "
        "package.preload.brittle, package.loaded.brittle = nil, nil "
        "return 200, {}, dump(err:match('on purpose'), module.n)"
        ) == '"on purpose", 2'


# --- who ends with whom ---

def test_tasks_end_when_the_handler_returns(lua_with):
    lua = lua_with()
    assert lua(SLEEPER + "fcgi.spawn(function() fcgi.spawn(sleeper 'inner') "
               "sleeper 'outer' () end) fcgi.sleep(0) fcgi.sleep(0) "
               "return 200, {}, 'x'").text == "x"
    lua.gateway.wait_log("inner ended by cancelled: finished")
    lua.gateway.wait_log("outer ended by cancelled: finished")


def test_tasks_end_when_the_handler_fails(lua_with):
    lua = lua_with()
    assert lua(SLEEPER + "fcgi.spawn(sleeper 'child') fcgi.sleep(0) "
               "error 'x'").status == 500
    lua.gateway.wait_log("child ended by cancelled: finished")


@pytest.mark.parametrize("finish", ["req:finish()", "req:send(200, {}, 'x')"])
def test_tasks_do_not_end_at_finish(lua, finish):
    with lua.connect() as conn:
        lua.start(conn, 1, "req:set_status(200) local t = fcgi.spawn("
                  "function() while not go_on do fcgi.sleep(0.002) end "
                  "return 'unharmed' end) fcgi.sleep(0) "
                  + finish + " told = t:join()")
        conn.collect(1)
        assert lua("go_on = true while not told do fcgi.sleep(0.002) end "
                   "local got = told go_on, told = nil, nil "
                   "return 200, {}, got").text == "unharmed"


@pytest.mark.parametrize("how", ["record", "connection"])
def test_tasks_do_not_end_by_an_abort(lua, how):
    with lua.connect() as conn:
        lua.start(conn, 1, "local t = fcgi.spawn(function() "
                  "while not (go_on and req:is_aborted()) do "
                  "fcgi.sleep(0.002) end return 'unharmed' end) "
                  "begun = true told = t:join()")
        assert lua("while not begun do fcgi.sleep(0.002) end begun = nil "
                   "return 200, {}, 'begun'").text == "begun"
        if how == "record":
            conn.abort(1)
            conn.collect(1)
    assert lua("go_on = true while not told do fcgi.sleep(0.002) end "
               "local got = told go_on, told = nil, nil "
               "return 200, {}, got").text == "unharmed"


def test_orphans_may_clean_up_while_others_are_served(lua_with):
    lua = lua_with()
    assert lua("fcgi.spawn(function() local x <close> = setmetatable({}, "
               "{ __close = function() cleaning = true "
               "while not go do fcgi.sleep(0.002) end "
               "fcgi.log('notice', 'cleaned ', "
               "dump(fcgi.timeout(9, function() fcgi.sleep(0) return 1, 2 "
               "end))) end }) fcgi.sleep(3600) end) fcgi.sleep(0) "
               "return 200, {}, 'answered'",
               {"HTTP_X_REQUEST_ID": "orphan-1"}).text == "answered"
    assert lua.value("cleaning") == "true"
    lua(GO)
    lua.gateway.wait_log(r"cleaned 1, 2 \(GET .*req orphan-1\)")


def test_close_waits_for_the_end_of_a_task(lua):
    assert lua.text(
        "local log = {} do local t <close> = fcgi.spawn(function() "
        "local ok, err = pcall(fcgi.sleep, 3600) fcgi.sleep(0.005) "
        "log[1] = tostring(err) end) fcgi.sleep(0) end "
        "return 200, {}, log") == "cancelled: closed"


# --- detach ---

def test_detached_task_outlives_its_request(lua_with):
    lua = lua_with()
    assert lua("fcgi.spawn(function() while not go do fcgi.sleep(0.002) end "
               "fcgi.log('notice', 'still there') end):detach() "
               "return 200, {}, 'x'", {"REQUEST_URI": "/gone"}).text == "x"
    lua(GO)
    line = lua.gateway.wait_log("^.*still there.*$").group()
    assert "/gone" not in line


def test_detached_task_may_be_joined_by_another_request(lua):
    lua("kept = fcgi.spawn(function() while not go do fcgi.sleep(0.002) end "
        "go = nil return 'r' end):detach() return 200")
    with lua.connect() as conn:
        lua.start(conn, 1, "local r = kept:join() kept = nil "
                  "return 200, {}, r")
        lua(GO)
        assert conn.collect(1).text == "r"


# --- the top level ---

TOP = ("local fcgi = require 'fcgi'\n"
       "local n = 0\n"
       "local ticker = fcgi.every(0.002, function() n = n + 1 "
       "if n == 2 then error('of round 2') end end)\n"
       "local worker = fcgi.spawn(function() fcgi.sleep(0.001) "
       "return 'served' end)\n"
       "function on_request(req)\n"
       "  while n < 4 do fcgi.sleep(0.002) end\n"
       "  return 200, {}, worker:join()\nend\n")


def test_top_level_tasks_serve_all_requests(gateway):
    gw = gateway(TOP)
    for _ in range(3):
        assert gw.request().text == "served"
    assert len(re.findall(r"error .*of round 2", gw.log())) == 1


def test_top_level_tasks_do_not_run_at_a_check(tmp_path):
    path = tmp_path / "app.lua"
    path.write_text("require('fcgi').spawn(print, 'begun') "
                    "function on_request() end")
    result = run("--check", path)
    assert result.code == 0 and "begun" not in result.out + result.err


# --- the log ---

def test_error_that_nobody_joins_is_logged_once(lua_with):
    lua = lua_with()
    assert lua("local lost = fcgi.spawn(function() local f = "
               "coroutine.wrap(function() coroutine.wrap(function() "
               "fcgi.sleep(0) error('nobody joins') end)() end) f() end) "
               "local t = fcgi.spawn(error, 'somebody joins') t:join() "
               "fcgi.sleep(0) fcgi.sleep(0) return 200, {}, 'x'",
               {"HTTP_X_REQUEST_ID": "lost-1"}).text == "x"
    lua.gateway.wait_log(r"error .*nobody joins \(GET .*req lost-1\)")
    assert lua.gateway.stop() == 0
    log = lua.gateway.log()
    assert log.count("nobody joins") == 1 and "somebody joins" not in log
    assert log.count("(resumed by)") == 2


def test_error_of_a_detached_task_is_logged_once(lua_with):
    lua = lua_with()
    lua("kept = fcgi.spawn(error, 'of a detached one', 0):detach() "
        "return 200")
    line = lua.gateway.wait_log("^.*error .*of a detached one.*$").group()
    assert "req " not in line
    assert lua.gateway.stop() == 0
    assert lua.gateway.log().count("of a detached one") == 1


def test_error_of_a_top_level_task_is_logged_once(gateway):
    gw = gateway("t = require('fcgi').spawn(error, 'at the top', 0) "
                 "function on_request() return 200, {}, 'x' end")
    assert gw.request().text == "x"
    assert gw.stop() == 0
    assert len(re.findall("error .*at the top", gw.log())) == 1
    assert gw.log().count("at the top") == 1


def test_error_handed_over_by_timeout_is_logged_once(lua_with):
    lua = lua_with()
    assert lua("\nlocal function inner()\nfcgi.sleep(0)\n"
               "error 'under a limit'\nend\n"
               "fcgi.timeout(9, function() inner() end)").status == 500
    assert lua.gateway.stop() == 0
    log = lua.gateway.log()
    assert len(re.findall("error .*test:4: under a limit", log)) == 1
    assert re.search(r"test:4: in .*'inner'", log)
    assert re.search(r"test:6: in ", log)


def test_cancelled_tasks_are_no_log_lines(lua_with):
    lua = lua_with()
    lua("fcgi.spawn(fcgi.sleep, 3600) local t = fcgi.spawn(fcgi.sleep, 3600) "
        "fcgi.sleep(0) t:cancel() t:join() return 200")
    assert lua.gateway.stop() == 0
    assert "cancelled" not in lua.gateway.log()


# --- at the stop ---

def test_top_level_tasks_do_not_delay_the_stop(gateway):
    gw = gateway("local fcgi = require 'fcgi' fcgi.every(60, print) "
                 "fcgi.every(0.001, function() end) "
                 "fcgi.spawn(function() local ok, err = pcall(fcgi.sleep, "
                 "3600) fcgi.sleep(0.01) fcgi.log('notice', 'cleaned up ', "
                 "tostring(err)) end) "
                 "function on_request() return 200 end", "--grace=10m")
    gw.request()
    assert gw.stop() == 0
    gw.wait_log("cleaned up cancelled: stop")
    assert " warn " not in gw.log()


def test_top_level_tasks_serve_until_the_last_request(gateway):
    gw = gateway("local fcgi = require 'fcgi' local jobs = fcgi.channel() "
                 "fcgi.spawn(function() while true do jobs:get():put('done') "
                 "end end) function on_request(req) fcgi.log('notice', "
                 "'ready') req:body() local back = fcgi.channel() "
                 "jobs:put(back) return 200, {}, back:get() end")
    with gw.connect() as conn:
        conn.begin(1, flags=0)
        conn.params(1, {})
        gw.wait_log("ready")
        gw.signal(15)
        gw.wait_log("stopping")
        conn.stdin(1)
        assert conn.collect(1).text == "done"
        assert gw.wait() == 0


def test_detached_tasks_are_waited_for(lua_with):
    lua = lua_with("--grace=10m")
    lua("fcgi.spawn(function() fcgi.sleep(0.3) fcgi.log('notice', "
        "'sent the mail') end):detach() return 200")
    assert lua.gateway.stop() == 0
    lua.gateway.wait_log("sent the mail")


def test_detached_tasks_have_until_grace(lua_with):
    lua = lua_with("--grace=0.2")
    lua(SLEEPER + "fcgi.spawn(sleeper 'mail'):detach() fcgi.sleep(0) "
        "return 200")
    assert lua.gateway.stop() == 0
    lua.gateway.wait_log("mail ended by cancelled: stop")
    lua.gateway.wait_log(" warn ")


def test_memory_of_many_failing_tasks_is_given_back(lua_with):
    lua = lua_with()
    used = lua.value("(function() local function fail() local t = "
                     "fcgi.spawn(error, {}) t:join() end "
                     "for i = 1, 1000 do fail() end collectgarbage() "
                     "collectgarbage() local before = collectgarbage('count') "
                     "for i = 1, 10000 do fail() end collectgarbage() "
                     "collectgarbage() return collectgarbage('count') - before < 64 end)()")
    assert used == "true"
    assert lua(ECHO, body=b"next").text == "next"
