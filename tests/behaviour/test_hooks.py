"""on_start, on_worker, on_exit; fcgi.worker, fcgi.stats; --load-timeout.

SPDX-License-Identifier: MIT
"""
import os
import re
import signal
import socket
import time

import pytest

from support import fastcgi
from support.gateway import run, wait_until
from support.lua import EVAL, GO, HANGS, HOLD


def lines(gw):
    """What the script has printed, in order."""
    return re.findall(r" notice \[\S+\] say (.*?)(?: \(GET .*)?$", gw.log(),
                      re.M)


# Waits until a file called `go` lies beside the script.
UNTIL_GO = """
local folder = arg[0]:match("^(.*)/")
local function until_go()
  while true do
    local file = io.open(folder .. "/go")
    if file then file:close() return end
    fcgi.sleep(0.005)
  end
end
"""


def go(gw):
    (gw.folder / "go").write_text("")


SAYS = """
local fcgi = require "fcgi"
local function say(...) print("say " .. table.concat({...}, " ")) end
"""


def test_order_of_the_hooks(gateway):
    gw = gateway(SAYS + """
say("top", tostring(fcgi.worker))
function on_start(...) say("start", select("#", ...), tostring(fcgi.worker)) end
function on_worker(...)
  say("worker", table.concat({...}, " "), math.type((...)))
  fcgi.sleep(0.01)
  say("worker slept")
end
function on_request() say("request") return 200, {}, "x" end
function on_exit(...)
  say("exit", table.concat({...}, " "))
  fcgi.sleep(0.01)
  say("exit slept")
end
""")
    gw.request()
    assert gw.stop() == 0
    assert lines(gw) == [
        "top nil", "start 0 nil", "worker 1 integer", "worker slept",
        "request", "exit 1 stop", "exit slept"]


def test_hooks_of_a_table(gateway):
    gw = gateway(SAYS + """
function on_start() say("a global beside a table") end
return {
  on_start = function() say("start") end,
  on_worker = function() say("worker") end,
  on_exit = function() say("exit") end,
  on_request = function() return 200, {}, "x" end,
}
""")
    assert gw.request().text == "x"
    assert gw.stop() == 0
    assert lines(gw) == ["start", "worker", "exit"]


@pytest.mark.parametrize("hook", ["on_start", "on_worker", "on_exit"])
def test_hook_that_is_no_function(tmp_path, hook):
    script = tmp_path / "app.lua"
    script.write_text(f"function on_request() end {hook} = 42")
    result = run("-t", script)
    assert result.code == 78
    assert f"{hook} is not a function but a number" in result.err


def test_check_runs_no_hooks(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("function on_request() end "
                      "function on_start() error('started') end")
    assert run("-t", script).code == 0


# --- on_start ---------------------------------------------------------------

def test_on_start_cannot_wait(gateway):
    gw = gateway(SAYS + """
function on_start()
  say(select(2, pcall(fcgi.sleep, 1)))
end
function on_request() end
""")
    assert re.search(r"cannot wait here: on_start", lines(gw)[0])


def test_error_in_on_start_is_one_of_loading(gateway):
    gw = gateway("function on_request() end\n"
                 "function on_start() error('no cheese') end",
                 wait=False, expect=78)
    assert gw.wait() == 78
    assert re.search(r"^fcgi-lua: \S*app.lua:2: no cheese\nstack traceback:",
                     gw.log(), re.M)
    assert not os.path.exists(gw.address)


def test_tasks_of_on_start_run_when_the_worker_does(gateway):
    gw = gateway(SAYS + """
function on_start()
  fcgi.spawn(function() fcgi.sleep(0) say("spawned", fcgi.worker.id) end)
end
function on_request() end
""")
    gw.wait_log("say spawned 1")


def test_signals_during_on_start_wait(gateway):
    gw = gateway(SAYS + UNTIL_GO.replace("fcgi.sleep(0.005)", "") + """
function on_start()
  say("waits")
  until_go()
  -- what is started here can be ended
  os.execute("kill -TERM $$; echo survived >&2")
end
function on_request() end
""", wait=False)
    gw.wait_log("say waits")
    gw.signal(signal.SIGHUP)
    gw.signal(signal.SIGTERM)
    go(gw)
    assert gw.wait() == 0
    assert "survived" not in gw.log()
    assert not os.path.exists(gw.address)


# --- on_worker --------------------------------------------------------------

def test_waits_in_on_worker_delay_accepting(gateway):
    gw = gateway(SAYS + UNTIL_GO + """
function on_worker() say("waits") until_go() say("ready") end
function on_request() say("request") return 200, {}, "served" end
""", wait=False)
    gw.wait_log("say waits")
    with fastcgi.connect(gw.address) as sock:   # it is in the queue
        sock.sendall(fastcgi.request_bytes(1))
        sock.settimeout(0.2)
        with pytest.raises(socket.timeout):
            sock.recv(1)
        assert lines(gw) == ["waits"]
        assert "listening on" not in gw.log()
        go(gw)
        sock.settimeout(fastcgi.DEADLINE)
        assert sock.recv(1)
    assert lines(gw) == ["waits", "ready", "request"]


def test_error_in_on_worker_ends_with_78(gateway):
    gw = gateway("local fcgi = require 'fcgi'\n"
                 "function on_request() end\n"
                 "function on_exit() print('exit') end\n"
                 "function on_worker() fcgi.sleep(0) error('no cheese') end",
                 wait=False, expect=78)
    assert gw.wait() == 78
    assert re.search(r" error \[\S+\] \S*app.lua:4: no cheese\n +stack",
                     gw.log())
    assert " error " in gw.log() and "on_worker failed" in gw.log()
    assert "] exit" not in gw.log()     # it never was a worker
    assert not os.path.exists(gw.address)


def test_on_worker_that_takes_too_long(gateway):
    gw = gateway("local fcgi = require 'fcgi'\n"
                 "function on_request() end\n"
                 "function on_worker() fcgi.sleep(3600) end",
                 "--load-timeout=0.2", wait=False, expect=78)
    assert gw.wait() == 78
    assert "app.lua: on_worker was cancelled: timeout" in gw.log()


def test_on_worker_that_never_yields(gateway):
    gw = gateway("function on_request() end\n"
                 "function on_worker() while true do end end",
                 "--block-limit=0.2", wait=False, expect=78)
    assert gw.wait() == 78
    assert "(--block-limit)" in gw.log()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stop_during_on_worker(gateway, sig):
    gw = gateway(SAYS + """
function on_request() end
function on_worker()
  say("waits")
  local ok, err = pcall(fcgi.sleep, 3600)
  fcgi.sleep(0.01)
  say("cancelled by", fcgi.cancelled(err))
end
function on_exit() say("exit") end
""", wait=False)
    gw.wait_log("say waits")
    assert gw.stop(sig) == 0
    assert lines(gw) == ["waits", "cancelled by stop"]


def test_tasks_of_on_worker_live_with_the_worker(gateway):
    gw = gateway(SAYS + """
local n = 0
function on_worker()
  fcgi.spawn(function()
    local inner <close> = setmetatable({}, { __close = function(_, err)
      fcgi.sleep(0.01)
      say("task ended:", fcgi.cancelled(err))
    end })
    while true do n = n + 1 fcgi.sleep(0.001) end
  end)
end
function on_request() return 200, {}, tostring(n) end
function on_exit()
  local before = n
  while n == before do fcgi.sleep(0.001) end
  say("exit: the task still runs")
end
""")
    first = int(gw.request().text)
    wait_until(lambda: int(gw.request().text) > first, "the task goes on")
    assert gw.stop() == 0
    assert lines(gw) == ["exit: the task still runs", "task ended: stop"]


# --- on_exit ----------------------------------------------------------------

def test_on_exit_comes_after_the_last_request(gateway):
    gw = gateway(SAYS + UNTIL_GO + """
function on_request()
  say("begun")
  until_go()
  fcgi.spawn(function()
    local x <close> = setmetatable({}, { __close = function()
      fcgi.sleep(0.01)
      say("its task has ended")
    end })
    fcgi.sleep(3600)
  end)
  fcgi.sleep(0)
  say("answered")
  return 200, {}, "x"
end
function on_exit() say("exit") end
""")
    with gw.connect() as conn:
        conn.start(1, flags=0)
        gw.wait_log("say begun")
        gw.signal(signal.SIGTERM)
        gw.wait_log("stopping")
        go(gw)
        assert conn.collect(1).text == "x"
    assert gw.wait() == 0
    assert lines(gw) == ["begun", "answered", "its task has ended", "exit"]


def test_error_in_on_exit_is_logged_and_no_more(gateway):
    gw = gateway("function on_request() end\n"
                 "function on_exit() error('too late') end")
    assert gw.stop() == 0
    assert re.search(r" error .*app.lua:2: too late\n +stack", gw.log())


def test_grace_limits_on_exit(gateway):
    gw = gateway(SAYS + """
function on_request() end
function on_exit()
  local ok, err = pcall(fcgi.sleep, 3600)
  say("cancelled by", fcgi.cancelled(err))
  fcgi.sleep(3600)
end
""", "--grace=0.2")
    assert gw.stop() == 0
    assert lines(gw) == ["cancelled by stop"]


def test_on_exit_runs_when_grace_is_over(gateway):
    gw = gateway(SAYS + """
function on_request() say("begun") fcgi.sleep(3600) end
function on_exit() fcgi.sleep(0.01) say("exit") end
""", "--grace=0.2")
    with gw.connect() as conn:
        conn.start(1)
        gw.wait_log("say begun")
        assert gw.stop() == 0
    assert lines(gw) == ["begun", "exit"]


def test_second_signal_does_not_wait_for_on_exit(gateway):
    gw = gateway(SAYS + """
function on_request() end
function on_exit() say("exit") fcgi.sleep(3600) end
""", "--grace=10m")
    gw.signal(signal.SIGTERM)
    gw.wait_log("say exit")
    assert gw.stop() == 0


# --- fcgi.worker, fcgi.stats ------------------------------------------------

def test_worker_tells_which_it_is(lua_with):
    lua = lua_with()
    assert lua.value("fcgi.worker") == (
        "{count=1, generation=1, id=1, pid=%d}" % lua.gateway.pid)


def test_stats_count(lua_with):
    lua = lua_with()

    def number(name):
        return int(lua.text(f"return 200, {{}}, tostring(fcgi.stats().{name})"))

    before, accepted = number("requests"), number("accepted")
    assert number("requests") == before + 2     # and the one that asks
    assert number("accepted") == accepted + 2
    assert number("active") == 1
    assert number("tasks") == 1
    with lua.connect() as conn:
        lua.start(conn, 1, HOLD)
        lua.gateway.wait_log("holding")
        assert number("active") == number("tasks") == 2
        lua(GO)
        conn.collect(1)
    assert abs(number("started") - time.time()) < 3600
    assert number("memory") > 10000
    assert lua.value("math.type(fcgi.stats().uptime), "
                     "fcgi.stats().uptime >= 0") == '"float", true'
    assert number("memory // 1") < 1 << 30


def test_stats_know_nothing_of_the_process_while_it_is_loaded(gateway):
    gw = gateway("local fcgi = require 'fcgi'\n"
                 "local stats = fcgi.stats()\n"
                 "print(stats.requests, stats.uptime, stats.memory > 0)\n"
                 + EVAL)
    gw.wait_log(r"\] nil\tnil\ttrue")


# --- --load-timeout ---------------------------------------------------------

LOOPS = {
    "loop": "while true do end",
    "caught": "while true do pcall(function() while true do end end) end",
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "on_start": "function on_request() end "
                "function on_start() while true do end end",
}


@pytest.mark.parametrize("name", LOOPS)
def test_endless_loop_at_load(gateway, name):
    gw = gateway(LOOPS[name], "--load-timeout=0.2", wait=False, expect=78)
    assert gw.wait() == 78
    assert re.search(r"^fcgi-lua: .*app.lua:1: stopped: loading took more than "
                     r"0.2 s \(--load-timeout\)\nstack traceback:", gw.log())


def test_endless_loop_where_hooks_are_looked_for(gateway):
    gw = gateway("return setmetatable({}, { __index = function() "
                 "while true do end end })", "--load-timeout=0.2",
                 wait=False, expect=78)
    assert gw.wait() == 78
    assert "app.lua:1: stopped: loading took more than 0.2 s" in gw.log()


def test_c_code_that_hangs_at_load(gateway):
    gw = gateway(HANGS, "--load-timeout=0.2",
                 wait=False, expect=78)
    assert gw.wait() == 78
    assert "did not return within --load-timeout" in gw.log()


def test_load_timeout_does_not_reach_handlers(gateway):
    gw = gateway("local t = os.clock() while os.clock() < t + 0.01 do end\n"
                 "function on_request() local t = os.clock()\n"
                 "while os.clock() < t + 0.6 do end return 200, {}, 'x' end",
                 "--load-timeout=0.3")
    assert gw.request().text == "x"


def test_load_timeout_cannot_stand_in_the_script(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("return { on_request = print, load_timeout = 3 }")
    result = run("-t", script)
    assert result.code == 78
    assert "needed before the script is loaded" in result.err
