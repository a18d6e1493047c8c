"""The slow log: where slow requests wait, what blocked the loop.

SPDX-License-Identifier: MIT
"""
import re

import pytest

BUSY = """
local function busy(seconds)
  local stop = fcgi.now() + seconds
  while fcgi.now() < stop do end
end
"""
SCRIPT = "local fcgi = require 'fcgi'\n" + BUSY + """
local handlers = {}

function handlers.sleep(req)
  local function inner() fcgi.sleep(0.5) end
  inner()
end

function handlers.coroutine(req)
  local outer = coroutine.wrap(function()
    coroutine.wrap(function() fcgi.sleep(0.5) end)()
  end)
  outer()
end

function handlers.body(req) req:body() end

function handlers.task(req)
  local task = fcgi.spawn(function() fcgi.sleep(0.5) end)
  task:join()
end

function handlers.busy(req) busy(0.4) end

function handlers.busy_coroutine(req)
  coroutine.wrap(function() busy(0.4) end)()
end

function handlers.busy_in_c(req) os.execute('exec sleep 0.4') end

function handlers.short(req) for i = 1, 60 do busy(0.02) fcgi.sleep(0) end end

function handlers.hooked(req)
  local n = 0
  debug.sethook(function() n = n + 1 end, '', 1000)
  busy(0.4)
  debug.sethook()
  return n
end

function on_request(req)
  local got = handlers[req:param('REQUEST_URI'):sub(2)](req)
  return 200, {}, tostring(got)
end
"""


def line_of(text):
    """The number of the line of SCRIPT that text begins in."""
    return SCRIPT[:SCRIPT.index(text)].count("\n") + 1


def entries(gw, what):
    """Warnings that contain what, each with its indented lines."""
    found = re.findall(r"^\S+ warn \[[^\n]*\n(?:    [^\n]*\n)*", gw.log(),
                       re.M)
    return [entry for entry in found if what in entry]


def get(gw, uri):
    return gw.request({"REQUEST_URI": uri, "REMOTE_ADDR": "10.0.0.7",
                       "HTTP_X_REQUEST_ID": "r-1"})


def test_a_slow_request_is_told_of_twice(gateway):
    gw = gateway(SCRIPT, "--slow=0.1")
    assert get(gw, "/sleep").status == 200
    gw.wait_log("slow: took")
    running, = entries(gw, "so far")
    assert re.search(r"warn \[\d+/1\] slow: \d\.\d+ s so far "
                     r"\(GET /sleep, 10\.0\.0\.7, req r-1\)$", running, re.M)
    lines = running.split("\n")
    assert lines[1] == "    stack traceback:"
    assert re.search(r"\[C\]: in \w+ '(fcgi\.)?sleep'", lines[2])
    assert f"app.lua:{line_of('  local function inner')}: in " in lines[3]
    assert f"app.lua:{line_of('  inner()')}: in " in lines[4]
    took, = entries(gw, "slow: took")
    assert re.search(r"slow: took \d\.\d+ s \(GET /sleep, 10\.0\.0\.7, "
                     r"req r-1\)\n$", took)
    assert float(re.search(r"took ([\d.]+)", took)[1]) >= 0.5


def test_it_tells_while_the_request_still_runs(gateway):
    gw = gateway(SCRIPT, "--slow=0.1")
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1, {"REQUEST_URI": "/body", "REQUEST_METHOD": "POST"})
        gw.wait_log("so far")
        assert not entries(gw, "took")
        conn.stdin(1)
        conn.collect(1)
    gw.wait_log("slow: took")
    assert len(entries(gw, "so far")) == 1


def test_the_innermost_coroutine_comes_first(gateway):
    gw = gateway(SCRIPT, "--slow=0.1")
    get(gw, "/coroutine")
    running, = entries(gw, "so far")
    at = [running.index(f"app.lua:{line_of(text)}:") for text in
          ("    coroutine.wrap(function() fcgi.sleep", "  outer()")]
    assert at == sorted(at)
    assert running.count("(resumed by)") == 2
    assert running.index("'sleep'") < running.index("(resumed by)")


def test_tasks_of_the_request_are_shown(gateway):
    gw = gateway(SCRIPT, "--slow=0.1")
    get(gw, "/task")
    running, = entries(gw, "so far")
    head, _, tail = running.partition("task of the request:")
    assert f"app.lua:{line_of('  task:join()')}:" in head
    assert "'join'" in head
    assert f"app.lua:{line_of('  local task =')}:" in tail


def test_each_of_many_is_told_of_once(gateway):
    gw = gateway(SCRIPT, "--slow=0.1")
    with gw.connect() as conn:
        for id in range(1, 21):
            conn.start(id, {"REQUEST_URI": "/sleep",
                            "HTTP_X_REQUEST_ID": f"r-{id}"})
        conn.collect_all(range(1, 21))
        conn.barrier()
    for what in ("so far", "took"):
        assert sorted(re.findall(r"req (r-\d+)\)",
                                 "".join(entries(gw, what)))) == sorted(
            f"r-{id}" for id in range(1, 21))


def test_without_the_option_there_is_none(gateway):
    gw = gateway(SCRIPT)
    get(gw, "/sleep")
    gw.stop()
    assert "slow:" not in gw.log()


def test_what_is_fast_is_not_told_of(gateway):
    gw = gateway("function on_request() return 200, {}, 'x' end", "--slow=60")
    for _ in range(100):
        gw.request()
    gw.stop()
    assert "slow:" not in gw.log() and " warn " not in gw.log()


@pytest.mark.parametrize("uri", ["/busy", "/busy_coroutine"])
@pytest.mark.parametrize("options", [[], ["--slow=0.2"],
                                     ["--block-limit=0"]])
def test_what_blocked_the_loop(gateway, uri, options):
    gw = gateway(SCRIPT, *options)
    get(gw, uri)
    gw.wait_log("blocked the loop")
    entry, = entries(gw, "blocked the loop")
    took = int(re.search(r"blocked the loop for (\d+) ms \(GET " + uri +
                         r", 10\.0\.0\.7, req r-1\)\n", entry)[1])
    assert took >= 399                      # it was 0.4 s at least
    assert re.search(rf"app\.lua:({line_of('  local stop')}|"
                     rf"{line_of('  while fcgi.now')})\b", entry)
    assert (f"app.lua:{line_of('function handlers.busy(req)')}:" in entry) == \
        (uri == "/busy")
    assert ("(resumed by)" in entry) == (uri == "/busy_coroutine")


def test_c_code_that_blocked_the_loop(gateway):
    gw = gateway(SCRIPT)
    get(gw, "/busy_in_c")
    gw.wait_log("blocked the loop")
    entry, = entries(gw, "blocked the loop")
    assert f"app.lua:{line_of('function handlers.busy_in_c')}:" in entry


def test_many_short_stretches_do_not_block_it(gateway):
    gw = gateway(SCRIPT, "--slow=1")    # and they take longer together
    get(gw, "/short")
    gw.barrier()
    gw.stop()
    assert "blocked the loop" not in gw.log()


def test_a_stretch_below_the_threshold_does_not_count(gateway):
    gw = gateway(SCRIPT, "--slow=20")
    get(gw, "/busy")
    gw.stop()
    assert "blocked the loop" not in gw.log()


def test_a_hook_of_the_script_stays(gateway):
    gw = gateway(SCRIPT)
    assert int(get(gw, "/hooked").body) > 0
    gw.wait_log("blocked the loop for")


def test_it_is_below_the_level_of_errors(gateway):
    gw = gateway(SCRIPT, "--slow=0.1", "--log-level=error")
    get(gw, "/sleep")
    get(gw, "/busy")
    gw.stop()
    assert gw.log() == ""
