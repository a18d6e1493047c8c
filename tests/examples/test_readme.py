"""README.md says what is true: its Lua runs, and what it states of waiting and
tasks holds on the real program.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import shlex
import subprocess

import pytest

from support import fastcgi, forms
from support.gateway import (Gateway, environment, free_port, is_asan, program,
                             wait_until)
from support.lua import EVAL, Lua, params_for

PROJECT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "examples"
README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"^```lua\n(.*?)^```$", README, re.M | re.S)
# What each block answers, found by what stands in it.
ANSWERS = {
    'req:write("Hello, ': "Hello, world!\n",
    "<h1>Hello, ": "<h1>Hello, world!</h1>\n",
    "long options": "hello\n",
    'req:form "name"': '<form method="post"><input name="name"> '
                       "<button>Send</button></form>\n",
    'fcgi.spawn(ask, "users")':
        "an answer of users\nan answer of orders\n",
    "fcgi.every(60": "pen, no report yet\n",
    "fcgi.channel(10)": "5050",
    "fcgi.counter(": "sold\n",
    "fcgi.run": "9\n10\n",
}
# Blocks that are no pages have tests of their own.
AUTHORIZER = "on_authorize"
MOCK = "fcgi.mock"
REDIS = "INCR visits"


def answers_of(block):
    return [answer for part, answer in ANSWERS.items() if part in block]


def block_with(part):
    found, = [block for block in BLOCKS if part in block]
    return found


def states(sentence):
    """Fails when the README does not say so (any more)."""
    assert " ".join(sentence.split()) in " ".join(README.split())


def as_script(block):
    """A block that defines no hook is the body of one."""
    if re.search(r"\bon_\w+\b", block):
        return block
    return (f'local fcgi = require "fcgi"\nfunction on_request(req)\n'
            f"{block}end\n")


# --- the code -------------------------------------------------------------

def test_every_block_is_tested():
    for block in BLOCKS:
        assert (len(answers_of(block)) == 1 or AUTHORIZER in block or
                MOCK in block or REDIS in block), block
    for part in ANSWERS:
        block_with(part)


@pytest.mark.parametrize("part", ANSWERS)
def test_block_runs(gateway, part):
    gw = gateway(as_script(block_with(part)))
    for _ in range(2):
        response = gw.request()
        assert (response.status, response.text) == (200, ANSWERS[part])
        kind = "html" if response.text.startswith("<") else "plain"
        assert response.headers["content-type"].startswith("text/" + kind)
    assert gw.stop() == 0
    assert not re.search(r" (error|warn) ", gw.log())


# --- the first answer -----------------------------------------------------

class FirstAnswer:
    """The commands of that section, with app.lua in a folder of its own."""

    def __init__(self, folder):
        section = README.partition("## The first answer\n")[2]
        section = section.partition("\n## ")[0]
        self.commands = re.findall(r"^    (.*)$", section, re.M)
        self.port, self.folder = free_port(), folder
        self.script = folder / "app.lua"
        self.script.write_text(block_with("<h1>Hello, "))

    def run(self, text):
        """The one command that has this text, as it stands there but for the
        port and the socket."""
        command, = [command for command in self.commands if text in command]
        command = command.replace(":8080", f":{self.port}").replace(
            "/run/app.sock", f"{self.folder}/app.sock")
        if os.geteuid() != 0:   # only root can give files away
            command = command.replace(",group=www-data", "")
        name, *words = shlex.split(command)
        if name == "fcgi-lua":
            return Gateway(None, *words, listen=None, cwd=self.folder)
        return subprocess.run([name, "-sS", *words], capture_output=True,
                              text=True, timeout=60).stdout


@pytest.fixture
def first_answer(tmp_path):
    return FirstAnswer(tmp_path)


def test_the_first_answer_needs_no_web_server(first_answer):
    with first_answer.run("fcgi-lua --http") as gw:
        gw.wait_log("listening on http:")
        assert first_answer.run("curl") == "<h1>Hello, Ada!</h1>\n"


def test_what_is_saved_serves_a_moment_later(first_answer):
    states("With `--dev` what you save serves a moment later, and what fails "
           "is a page with the error, its traceback and the lines of source")
    script = first_answer.script
    with first_answer.run("fcgi-lua --dev") as gw:
        gw.wait_log("listening on http:")
        assert "Hello, Ada!" in first_answer.run("curl")
        whole = script.read_text()
        script.write_text(whole.replace("Hello", "Good day"))
        wait_until(lambda: "Good day, Ada!" in first_answer.run("curl"),
                   "the new script")
        script.write_text(whole.replace('"<h1>', 'no_such_name .. "<h1>'))
        wait_until(lambda: "Ada" not in first_answer.run("curl").partition(
            "\n")[0], "the error")
        page = first_answer.run("curl")
        assert "app.lua:5: attempt to concatenate a nil value" in page
        assert "in function 'on_request'" in page
        assert 'no_such_name .. "<h1>Hello, ' in page


def test_the_same_script_behind_a_web_server(first_answer):
    states("`-l` in the place of `--http` is all that changes")
    with first_answer.run("fcgi-lua -l") as gw:
        gw.wait_log("listening on unix:")
        answer = fastcgi.request(str(first_answer.folder / "app.sock"),
                                 {"QUERY_STRING": "name=Ada"})
        assert answer.text == "<h1>Hello, Ada!</h1>\n"
        assert answer.headers["content-type"] == "text/html"
    # As nginx.conf wants it.
    command, = [command for command in first_answer.commands
                if "unix:" in command]
    assert command.replace("app.lua", "/srv/app.lua &") in (
        EXAMPLES / "servers/nginx.conf").read_text()


def test_authorizers_let_in_and_refuse(gateway):
    for block in [block for block in BLOCKS if AUTHORIZER in block]:
        gw = gateway(block, "--eval", "sessions = { s1 = 'Ada' }")
        with gw.connect() as conn:
            let_in = conn.request(1, {"HTTP_COOKIE": "session=s1"},
                                  role=fastcgi.AUTHORIZER)
            assert let_in.status == 200
            assert let_in.headers["variable-remote_user"] == "Ada"
            for cookie in (None, "session=s2"):
                refused = conn.request(1, {"HTTP_COOKIE": cookie},
                                       role=fastcgi.AUTHORIZER)
                assert refused.status == 403


def test_the_form_greets_whoever_fills_it_in(gateway):
    gw = gateway(block_with('req:form "name"'))
    assert gw.request(forms.URLENCODED, b"name=Ada+%26").text == \
        "Welcome, Ada &amp;!\n"
    assert gw.request(forms.params(),
                      forms.multipart(forms.field("name", "Ada"))).text == \
        "Welcome, Ada!\n"
    assert gw.request(forms.URLENCODED, b"other=x").text == \
        "Welcome, stranger!\n"
    response = gw.request({"REQUEST_METHOD": "POST"}, b"name=Ada")
    assert (response.status, response.text) == (400, "not a form")


def test_a_broken_upload_is_the_clients_fault(gateway):
    states("When the loop has ended, all of the form has come.")
    states("if nobody catches that, the client gets a 400 (415 for a body "
           "that is not multipart/form-data), `on_error` is not called, and "
           "the log gets nothing above the level `info`.")
    gw = gateway("function on_error() return 500 end\n"
                 "function on_request(req) for _ in req:parts() do end "
                 "return 200, {}, 'all of it' end\n")
    body = forms.multipart(forms.field("a", "1"))
    assert gw.request(forms.params(), body).text == "all of it"
    assert gw.request(forms.params(), body[:-9]).status == 400
    assert gw.request(forms.URLENCODED, b"a=1").status == 415
    assert not re.search(r" (error|warn) ", gw.log())


def test_visits_are_counted_through_the_pool(gateway, redis):
    gw = gateway(as_script(block_with(REDIS)).replace("127.0.0.1:6379",
                                                      redis.address))
    before = redis.command("INFO", "stats")
    for number in range(1, 11):
        assert gw.request().text == f"visit {number}\n"
    connections = [int(re.search(r"total_connections_received:(\d+)",
                                 stats).group(1))
                   for stats in (before, redis.command("INFO", "stats"))]
    # The gateway's, and that of the command itself.
    assert connections[1] - connections[0] == 2


def test_the_two_calls_wait_side_by_side(gateway):
    # Each sleep ends when both are under way.
    gw = gateway(as_script(block_with("fcgi.spawn(ask")), "--eval",
                 "local fcgi = require 'fcgi' local sleep, n = fcgi.sleep, 0 "
                 "function fcgi.sleep() n = n + 1 "
                 "while n < 2 do sleep(0.001) end end")
    assert gw.request().text == ANSWERS['fcgi.spawn(ask, "users")']


def test_the_sale_is_rolled_back_in_time(gateway):
    gw = gateway(as_script(block_with("fcgi.every(60")), "--eval",
                 "local fcgi = require 'fcgi' "
                 "local sleep, timeout = fcgi.sleep, fcgi.timeout "
                 "function fcgi.sleep() sleep(3600) end "
                 "function fcgi.timeout(_, ...) return timeout(0.05, ...) end")
    response = gw.request()
    assert (response.status, response.text) == (503, "timeout")
    gw.wait_log(r"rolled back: cancelled: timeout \(GET")


def test_the_sale_is_committed(gateway):
    gw = gateway(as_script(block_with("fcgi.every(60")))
    gw.request()
    gw.wait_log(r"notice .*: committed \(GET")


def test_the_report_is_made_now_and_then(gateway):
    gw = gateway(as_script(block_with("fcgi.every(60")), "--eval",
                 "local fcgi = require 'fcgi' local every = fcgi.every "
                 "function fcgi.every(_, f) return every(0.01, f) end")
    gw.request()
    wait_until(lambda: re.fullmatch(r"pen, [1-9]\d* sold so far\n",
                                    gw.request().text), "a report")


# --- tasks ----------------------------------------------------------------

@pytest.fixture
def own(lua_with):
    return lua_with()


@pytest.fixture
def lua_with(gateway):
    return lambda *options, **args: Lua(gateway(EVAL, *options, **args))


@pytest.fixture
def lua(shared_gateway):
    return Lua(shared_gateway(EVAL))


# A value whose closing is logged.
CLOSER = ("local _ <close> = setmetatable({}, { __close = function(_, err) "
          "fcgi.log('notice', 'closed: ', tostring(err)) end }) ")
FOREVER = "function() " + CLOSER + "fcgi.sleep(3600) end"


def test_spawn_begins_when_its_maker_waits(lua):
    states("it begins when its maker waits or ends")
    assert lua.text(
        "local seen = {} fcgi.spawn(function() seen[1] = 'begun' end) "
        "local before = #seen fcgi.sleep(0) "
        "return 200, {}, dump(before, #seen)") == "0, 1"
    lua("fcgi.spawn(function() at_end = true end):detach() "
        "return 200, {}, ''")
    assert lua.value("at_end") == "true"


def test_join(lua):
    states("f's results; nil and the error that it raised; nil and the reason "
           'why it was cancelled; nil, `"timeout"` if it still runs')
    assert lua.value("fcgi.spawn(function(...) return ... end, 1, 'b'):join()"
                     ) == '1, "b"'
    assert lua.value("fcgi.spawn(error, 'no', 0):join()") == 'nil, "no"'
    assert lua.text(f"local t = fcgi.spawn({FOREVER}) fcgi.sleep(0) "
                    "local a = dump(t:join(0.001)) t:cancel('enough') "
                    "return 200, {}, a .. '; ' .. dump(t:join())"
                    ) == 'nil, "timeout"; nil, "enough"'


def test_cancel(lua):
    states('cancels it, with `"cancelled"` if no reason is given; false if it '
           "has ended")
    assert lua.text(
        f"local t = fcgi.spawn({FOREVER}) fcgi.sleep(0) local a = t:cancel() "
        "return 200, {}, dump(a, select(2, t:join()), t:cancel())"
    ) == 'true, "cancelled", false'


def test_close_of_a_task(lua):
    states("at the end of the block the task is cancelled, and has ended")
    assert lua.text(
        "local ended do local t <close> = fcgi.spawn(function() "
        "pcall(fcgi.sleep, 3600) fcgi.sleep(0.01) ended = true end) "
        "fcgi.sleep(0) end return 200, {}, dump(ended)") == "true"


def test_timeout(lua):
    states("f's results, or its error raised; nil, `\"timeout\"` if it took "
           "too long: then it was cancelled and has ended")
    assert lua.value("fcgi.timeout(10, string.rep, 'a', 3)") == '"aaa"'
    assert lua.value("pcall(fcgi.timeout, 10, error, 'no', 0)"
                     ) == 'false, "no"'
    assert lua.text(
        "local ended local a, b = fcgi.timeout(0.01, function() "
        "local _, err = pcall(fcgi.sleep, 3600) fcgi.sleep(0.01) "
        "ended = true error(err) end) return 200, {}, dump(ended, a, b)"
    ) == 'true, nil, "timeout"'


def test_every(gateway):
    states("one call at a time; an error is logged, and the next call comes")
    gw = gateway(
        "local fcgi = require 'fcgi' local calls, under_way, most = 0, 0, 0 "
        "fcgi.every(0.01, function() under_way = under_way + 1 "
        "most = math.max(most, under_way) fcgi.sleep(0.03) "
        "under_way = under_way - 1 calls = calls + 1 "
        "if calls == 1 then error 'the first' end end) "
        "return function() return 200, {}, calls .. ' ' .. most end")
    wait_until(lambda: re.fullmatch(r"([3-9]|\d\d+) 1", gw.request().text))
    assert gw.log().count("the first") == 1


def test_channel(lua):
    states('gives true, or nil, `"closed"` or `"timeout"`')
    assert lua.text(
        "local c = fcgi.channel(1) local none = fcgi.channel() "
        "local out = { dump(c:get(0.001)), dump(c:put 'x'), "
        "dump(c:put('y', 0.001)), dump(none:put('z', 0.001)) } c:close() "
        "out[5], out[6], out[7] = dump(c:put 'w'), dump(c:get()), "
        "dump(c:get()) return 200, {}, table.concat(out, '; ')"
    ) == ('nil, "timeout"; true; nil, "timeout"; nil, "timeout"; '
          'nil, "closed"; "x"; nil, "closed"')


# --- where one can wait ---------------------------------------------------

def test_a_generator_may_read_the_body(lua):
    states("a generator made with `coroutine.wrap` may read the body")
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "local out = {} for s in coroutine.wrap(function() "
            "for s in function() return req:read(99) end do "
            "coroutine.yield(s) end end) do out[#out + 1] = s end "
            "return 200, {}, table.concat(out)"))
        conn.stdin(1, b"one ", end=False)
        assert lua.text("return 200, {}, 'others go on'") == "others go on"
        conn.stdin(1, b"two")
        assert conn.collect(1).text == "one two"


@pytest.mark.parametrize("code, name", [
    ("table.sort({ 2, 1 }, function() fcgi.sleep(0) end)", "table.sort"),
    ("string.gsub('x', '.', function() fcgi.sleep(0) end)", "string.gsub"),
    ("setmetatable({}, { __gc = function() local _, err = "
     "pcall(fcgi.sleep, 0) failure = err end }) collectgarbage() "
     "error(failure)", "a finalizer"),
])
def test_one_cannot_wait_inside_of_c(lua, code, name):
    states("inside `table.sort`, `string.gsub` or a finalizer they raise "
           "`cannot wait here` and name what is in the way")
    assert f"cannot wait here (inside {name})" in lua.value(
        f"pcall(function() {code} end)")


# --- cancelled ------------------------------------------------------------

def test_the_wait_under_way_raises(lua):
    states("the wait under way raises an error, `cancelled: REASON`, from "
           "which `fcgi.cancelled(err)` gives the reason")
    assert lua.text(
        "local t = fcgi.spawn(function() local ok, err = "
        "pcall(fcgi.sleep, 3600) return ok, tostring(err), "
        "fcgi.cancelled(err) end) fcgi.sleep(0) t:cancel('enough') "
        "return 200, {}, dump(t:join())"
    ) == 'false, "cancelled: enough", "enough"'


def test_a_wait_that_is_over_returns(lua):
    states("A wait that is over by then still returns what it waited for, and "
           "the next one raises.")
    assert lua.text(
        "local c, got = fcgi.channel() local t = fcgi.spawn(function() "
        "got = c:get() fcgi.sleep(3600) end) fcgi.sleep(0) "
        "c:put('value') t:cancel() t:join() return 200, {}, got") == "value"


def test_waits_work_for_cleaning_up_then_every_wait_raises(own):
    states("For 5 seconds more waits work, so that `pcall` and `<close>` "
           "variables can clean up; after that every wait raises, and a task "
           "that does not end then is closed by force.")
    response = own(
        "local t = fcgi.spawn(function() pcall(fcgi.sleep, 3600) "
        "local start = fcgi.now() fcgi.sleep(0.01) "
        "fcgi.log('notice', 'cleaned up') " + CLOSER +
        "while true do if not pcall(fcgi.sleep, 3600) and not raised then "
        "raised = fcgi.now() - start end end end) fcgi.sleep(0) t:cancel() "
        "local ok, err = t:join() return 200, {}, dump(raised >= 4.9, ok)")
    assert response.text == "true, nil"
    own.gateway.wait_log("cleaned up")
    own.gateway.wait_log("closed: ")


def test_what_has_not_begun_never_begins(own):
    states("What is cancelled before it has begun never begins.")
    assert own.text(
        "local t = fcgi.spawn(function() fcgi.log('notice', 'begun') end) "
        "t:cancel() return 200, {}, dump(t:join())") == 'nil, "cancelled"'
    assert own.gateway.stop() == 0
    assert "begun" not in own.gateway.log()


def test_a_cancellation_can_be_passed_on(lua):
    states("`if fcgi.cancelled(err) then error(err, 0) end`")
    assert lua.text(
        "local rounds = 0 local t = fcgi.spawn(function() while true do "
        "rounds = rounds + 1 local _, err = pcall(fcgi.sleep, 3600) "
        "if fcgi.cancelled(err) then error(err, 0) end end end) "
        "fcgi.sleep(0) t:cancel('enough') local _, why = t:join() "
        "return 200, {}, dump(rounds, why)") == '1, "enough"'


# --- the client, the time -------------------------------------------------

def test_an_abort_interrupts_nothing(own):
    states("nothing is interrupted.")
    with own.connect() as conn:
        own.start(conn, 1, "fcgi.spawn(function() "
                  "while not req:is_aborted() do fcgi.sleep(0.001) end "
                  "fcgi.sleep(0.01) fcgi.log('notice', 'its task goes on') "
                  "over = true end) fcgi.log('notice', 'ready') "
                  "while not over do fcgi.sleep(0.001) end "
                  "fcgi.log('notice', 'got ', dump(req:read(1)), "
                  "dump(req:write 'x'))")
        own.gateway.wait_log("ready")
        conn.abort(1)
        conn.collect(1)
    own.gateway.wait_log("its task goes on")
    own.gateway.wait_log('nil, "aborted"')


def test_an_abort_cancels_on_request(gateway):
    states('With `abort = "cancel"` in the table that the script returns the '
           'handler is cancelled instead, with the reason `"abort"`.')
    gw = gateway("local fcgi = require 'fcgi' return { abort = 'cancel', "
                 "on_request = function() " + CLOSER +
                 "fcgi.log('notice', 'ready') fcgi.sleep(3600) end }")
    with gw.connect() as conn:
        conn.start(1)
        gw.wait_log("ready")
        conn.abort(1)
        conn.collect(1)
    gw.wait_log("closed: cancelled: abort")


def test_a_handler_without_a_client_never_begins(own):
    states("A handler whose client has gone before it began never begins.")
    with own.connect() as conn:
        conn.expect(1)
        conn.send_raw(
            fastcgi.request_bytes(1, params_for(
                "fcgi.log('notice', 'begun') return 200, {}, 'x'"),
                flags=fastcgi.KEEP_CONN, defaults=False)
            + fastcgi.record(fastcgi.ABORT, 1))
        conn.collect(1)
        conn.barrier()
    assert "begun" not in own.gateway.log()


def test_the_time_is_over(lua_with):
    states('the handler is cancelled with `"timeout"`. If nothing was sent '
           "the answer is 504.")
    lua = lua_with("--timeout=0.1")
    assert lua(CLOSER + "fcgi.sleep(3600)").status == 504
    lua.gateway.wait_log("closed: cancelled: timeout")


# --- who ends with whom ---------------------------------------------------

def test_tasks_of_tasks_end_with_the_handler(own):
    states('are cancelled with `"finished"` when its handler has ended: not '
           "by `req:finish`")
    own("fcgi.spawn(function() fcgi.spawn(" + FOREVER + ") "
        "fcgi.sleep(0) fcgi.spawn(function() fcgi.sleep(0.01) "
        "fcgi.log('notice', 'after finish') over = true end) " + CLOSER +
        "fcgi.sleep(3600) end) req:send(200, {}, 'x') req:finish() "
        "while not over do fcgi.sleep(0.001) end")
    own.gateway.wait_log(r"(?s)after finish(.*closed: cancelled: finished){2}")


def test_a_task_that_cleans_up_counts_against_max_reqs(lua_with):
    states("a task that takes long to clean up counts against `--max-reqs`.")
    lua = lua_with("--max-reqs=2", "--log-level=debug")
    with lua.connect() as conn:
        assert lua.on(conn, "fcgi.spawn(function() "
                      "pcall(fcgi.sleep, 3600) "
                      "while not go do fcgi.sleep(0.01) end "
                      "fcgi.log('notice', 'clean') end) "
                      "fcgi.sleep(0) return 200, {}, 'x'").text == "x"
        # One of the two is taken; one is left.
        lua.start(conn, 2, "fcgi.log('notice', 'holding') "
                  "while not req:is_aborted() do fcgi.sleep(0.01) end "
                  "go = true")
        lua.gateway.wait_log("holding")
        lua.start(conn, 3, "return 200, {}, 'z'")
        refused = conn.collect(3)
        assert refused.protocol_status == fastcgi.OVERLOADED
        conn.abort(2)


def test_a_detached_task_has_the_time_of_grace(own):
    states("A detached task lives on without its request, and at a stop it "
           "has the time of `--grace`, as requests have.")
    own("fcgi.spawn(function() fcgi.sleep(0.3) "
        "fcgi.log('notice', 'detached task ended') end):detach() "
        "return 200, {}, 'x'")
    assert own.gateway.stop() == 0
    assert re.search(r"detached task ended$", own.gateway.log(), re.M)


def test_a_detached_task_is_cancelled_after_grace(lua_with):
    lua = lua_with("--grace=0.1")
    lua(f"fcgi.spawn({FOREVER}):detach() return 200, {{}}, 'x'")
    assert lua.gateway.stop() == 0
    assert "closed: cancelled: stop" in lua.gateway.log()


def test_tasks_of_the_top_level_end_with_the_process(gateway):
    states('they are cancelled with `"stop"` when the last request has ended')
    gw = gateway("local fcgi = require 'fcgi' fcgi.spawn(" + FOREVER + ") "
                 "return function() fcgi.log('notice', 'begun') "
                 "fcgi.sleep(0.2) fcgi.log('notice', 'request ended') end")
    with gw.connect() as conn:
        conn.start(1, flags=0)
        gw.wait_log("begun")
        assert gw.stop() == 0
    assert re.search(r"(?s)request ended.*closed: cancelled: stop", gw.log())


# --- errors ---------------------------------------------------------------

def test_an_error_that_is_joined_is_not_logged(own):
    states("Errors** of a task are for who joins it.")
    assert own.value("fcgi.spawn(error, 'joined', 0):join()"
                     ) == 'nil, "joined"'
    assert own.gateway.stop() == 0
    assert "joined" not in own.gateway.log()


@pytest.mark.parametrize("how", ["", ":detach()"])
def test_an_error_that_nobody_joins_is_logged_once(own, how):
    states("One that nobody joins is logged once, with its traceback: when "
           "the handler has ended, or, of detached tasks and those of the top "
           "level, a second or two later.")
    own(f"local t = fcgi.spawn(function() error 'alone' end){how} "
        "fcgi.sleep(0.01) return 200, {}, 'x'")
    own.gateway.wait_log(r" error .*alone.*\n.*stack traceback:")
    assert own.gateway.stop() == 0
    assert own.gateway.log().count(": alone") == 1


def test_an_error_of_the_top_level_is_logged(gateway):
    gw = gateway("local fcgi = require 'fcgi' "
                 "t = fcgi.spawn(function() error 'alone' end) "
                 "return function() end")
    gw.wait_log(r" error .*alone\n.*stack traceback:")


def test_the_spec_passes_and_can_fail(tmp_path):
    """As busted finds the module in a build."""
    spec = block_with(MOCK)
    (tmp_path / "app.lua").write_text("""
        function on_request(req)
          req:set_header("Content-Type", "text/plain")
          req:write("Good day, ", req:body(), "!")
        end""")
    (tmp_path / "good_spec.lua").write_text(spec)
    (tmp_path / "bad_spec.lua").write_text(spec.replace("Ada!", "Bob!"))
    env = environment()
    if is_asan():  # lua5.4 knows nothing of it
        env["LD_PRELOAD"] = subprocess.run(
            ["gcc", "-print-file-name=libasan.so"], capture_output=True,
            text=True, check=True).stdout.strip()
        env["ASAN_OPTIONS"] = "detect_leaks=0"
    modules = pathlib.Path(program()).resolve().parent / "lua" / "?.so"
    for name, code in (("good_spec.lua", 0), ("bad_spec.lua", 1)):
        done = subprocess.run(
            ["busted", "--lua=lua5.4", f"--cpath={modules}", name],
            cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
