"""How a service with several processes begins, ends and fails: exit codes, one
clear line, and nothing left.

SPDX-License-Identifier: MIT
"""
import os
import re
import signal

import pytest
from support.gateway import run, wait_until
from support.processes import (WHO, all_workers, children, is_gone, serves,
                               state, write)

HANG = WHO + """
local who = on_request
function on_request(req)
  if req:path() == "/hang" then
    fcgi.log("notice", "it waits")
    while true do fcgi.sleep(3600) end
  end
  return who(req)
end
"""


def errors(text):
    """Lines of the log that say so."""
    return [line for line in text.splitlines()
            if re.search(r"^\S+ error |^fcgi-lua: ", line)]


def family(gw):
    """All processes below the supervisor."""
    found, todo = [], [gw.pid]
    while todo:
        for pid in children(todo.pop()):
            found.append(pid)
            todo.append(pid)
    return found


# --- it does not begin -------------------------------------------------------

@pytest.mark.parametrize("script, code, line", [
    ("this is no Lua", 65, "app.lua:1"),
    ("error 'oh'", 78, "app.lua:1: oh"),
    ("x = 1", 78, "on_request"),
    (WHO + "function on_start() error 'no database' end", 78, "no database"),
    (WHO + "function on_worker() error 'no database' end", 78, "no database"),
    ("return { grace = 'long', on_request = print }", 78, "grace"),
    (WHO + "function on_start() os.exit(3) end", 3, "ended its process with 3"),
    (WHO + "function on_start() require('fcgi').sleep(1) end", 78, "on_start"),
])
def test_exit_code_is_that_of_a_single_process(tmp_path, script, code, line):
    app = tmp_path / "app.lua"
    app.write_text(script)
    sock = tmp_path / "sock"
    several = run("-w", "3", "-l", f"unix:{sock}", app)
    assert several.code == code, several
    assert line in several.err
    assert "giving up" not in several.err
    if "on_worker" not in script and "exit" not in script:
        alone = run("-l", f"unix:{sock}", app)
        assert alone.code == code
        assert len(errors(several.err)) == len(errors(alone.err)) == 1
    assert not sock.exists()


def test_unreadable_script(tmp_path):
    result = run("-w", "2", "-l", f"unix:{tmp_path}/s", tmp_path / "none.lua")
    assert result.code == 66 and len(errors(result.err)) == 1, result


def test_load_timeout(tmp_path):
    """Of on_start, which runs in a template."""
    app = tmp_path / "app.lua"
    app.write_text(WHO + "function on_start() while true do end end")
    result = run("-w", "2", "--load-timeout=0.2", "-l", f"unix:{tmp_path}/s",
                 app)
    assert result.code == 78, result
    assert len(errors(result.err)) == 1, result
    assert "load-timeout" in result.err


def test_no_load_timeout(gateway):
    gw = gateway(WHO, "-w", "2", "--load-timeout=0")
    serves(gw, 1)
    assert "error" not in gw.log()


def test_gives_up_when_no_worker_was_ever_ready(tmp_path):
    """For no fault of on_worker: it might have gone well the next time."""
    app = tmp_path / "app.lua"
    app.write_text(WHO + "function on_worker() os.exit(9) end")
    result = run("-w", "2", "-l", f"unix:{tmp_path}/s", app)
    assert result.code == 70, result
    assert "no worker was ever ready: giving up" in result.err
    assert len(re.findall("ended with 9", result.err)) >= 10


def test_goes_on_when_one_worker_was_ready(gateway, tmp_path):
    """However often the other fails; HUP then brings the cure."""
    gw = gateway(WHO + "function on_worker(id) if id == 2 then error 'no' end "
                 "end", "-w", "2")
    wait_until(lambda: gw.log().count("worker 2") > 4, "some failures")
    assert gw.request().text.startswith("1 ")
    write(gw, WHO)
    gw.signal(signal.SIGHUP)
    serves(gw, 2)
    assert set(all_workers(gw)) == {1, 2}


def test_killed_while_loading(gateway, tmp_path):
    """A template that dies without a word, for whatever reason."""
    gw = gateway(WHO + "function on_start() while true do end end", "-w", "2",
                 "--load-timeout=60", wait=False, expect=70)
    template, = wait_until(lambda: children(gw.pid), "a template")
    os.kill(template, signal.SIGKILL)
    assert gw.wait() == 70
    assert "was killed by SIGKILL" in gw.log()
    assert len(errors(gw.log())) == 1


# --- it ends -----------------------------------------------------------------

@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT,
                                 signal.SIGQUIT])
def test_stop_while_the_first_generation_loads(gateway, sig):
    gw = gateway(WHO + "function on_start() while true do end end", "-w", "2",
                 "--load-timeout=60", wait=False)
    template, = wait_until(lambda: children(gw.pid), "a template")
    assert gw.stop(sig) == 0
    assert is_gone(template)
    assert "error" not in gw.log()


def test_stop_while_workers_start(gateway):
    gw = gateway(WHO + "function on_worker() require('fcgi').sleep(3600) end",
                 "-w", "2", wait=False, args=[])
    wait_until(lambda: len(family(gw)) == 3, "template and workers")
    pids = family(gw)
    assert gw.stop() == 0
    assert all(is_gone(pid) for pid in pids)


def test_second_signal_stops_at_once(gateway):
    gw = gateway(HANG, "-w", "2", "--grace=600")
    serves(gw, 1)
    pids = family(gw)
    with gw.connect() as conn:
        conn.start(1, {"SCRIPT_NAME": "/hang", "REQUEST_URI": "/hang"})
        conn.wait_taken()
        gw.signal(signal.SIGTERM)
        gw.wait_log("SIGTERM: stopping")
        gw.signal(signal.SIGTERM)
        assert gw.wait() == 0
    assert re.search(r"warn .*stopping at once", gw.log())
    assert all(is_gone(pid) for pid in pids)


def test_second_quit_changes_nothing(gateway):
    gw = gateway(WHO + """
local who = on_request
function on_request(req)
  while req:read() do end
  return who(req)
end
""", "-w", "2")
    serves(gw, 1)
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1, {"REQUEST_URI": "/"})
        conn.wait_taken()
        gw.signal(signal.SIGQUIT)
        gw.wait_log("SIGQUIT: stopping")
        gw.signal(signal.SIGQUIT)
        gw.signal(signal.SIGQUIT)
        conn.stdin(1, b"")
        assert conn.collect(1).status == 200
    assert gw.wait() == 0
    assert "at once" not in gw.log()


def test_no_connection_waits_for_a_service_that_stops(gateway):
    """While a request keeps a worker no other process has the sockets open."""
    gw = gateway(HANG, "-w", "2", "--grace=600", listen="tcp")
    serves(gw, 1)
    with gw.connect() as conn:
        conn.start(1, {"SCRIPT_NAME": "/hang", "REQUEST_URI": "/hang"})
        gw.wait_log("it waits")
        gw.signal(signal.SIGTERM)

        def is_refused():
            try:
                gw.connect().close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                pass  # it had come into the queue that was closed then
            return False
        wait_until(is_refused, "a refusal")
        assert gw.alive()
        gw.signal(signal.SIGTERM)
        assert gw.wait() == 0
    assert "error" not in gw.log()


def test_stopped_worker_does_not_hold_up_the_end(gateway):
    gw = gateway(WHO, "-w", "2", "--grace=0.1")
    serves(gw, 1)
    pids = family(gw)
    os.kill(all_workers(gw)[1], signal.SIGSTOP)
    assert gw.stop() == 0
    assert "does not end: it is killed" in gw.log()
    assert all(is_gone(pid) for pid in pids)


def test_stopped_template_does_not_hold_up_the_end(gateway):
    gw = gateway(WHO, "-w", "2")
    serves(gw, 1)
    template, = children(gw.pid)
    os.kill(template, signal.SIGSTOP)
    wait_until(lambda: state(template) == "T")
    assert gw.stop() == 0
    assert is_gone(template)
    gw.wait_log(rf"template of generation 1 \({template}\) does not end")


def test_nothing_is_left_when_the_supervisor_is_killed(gateway):
    """Not even while a request runs: its worker listens no more, ends with it,
    and the address is free for the next."""
    script = HANG + """
function on_exit(id, reason)
  require("fcgi").log("notice", ("exit %d: %s"):format(id, reason))
end
"""
    gw = gateway(script, "-w", "2", "--grace=1", listen="tcp")
    serves(gw, 1)
    pids = family(gw)
    with gw.connect() as conn:
        conn.start(1, {"SCRIPT_NAME": "/hang", "REQUEST_URI": "/hang"})
        gw.wait_log("it waits")
        gw.expect = None
        gw.signal(signal.SIGKILL)
        gw.wait()
        gw.wait_log(r"the main process has gone(.|\n)*the main process has gone")
        gateway(WHO, "-w", "2", listen="%s:%d" % gw.address,
                address=gw.address)
        wait_until(lambda: all(is_gone(pid) for pid in pids), "their end")
    assert "exit 1: orphan" in gw.log() and "exit 2: orphan" in gw.log()


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("where", ["load", "on_start"])
def test_a_script_that_never_loads_ends_with_the_supervisor(gateway, where,
                                                            user):
    """It has the sockets open: the address must be free for the next."""
    options = ["-u", "nobody"] if user and os.geteuid() == 0 else []
    gw = gateway(WHO, "-w", "2", "--log-level=info", "--load-timeout=1h",
                 *options)
    serves(gw, 1)
    loop = "io.stderr:write('it hangs\\n') while true do end"
    gw.script.write_text(WHO + (loop if where == "load" else
                                f"function on_start() {loop} end"))
    gw.signal(signal.SIGHUP)
    gw.wait_log("it hangs")
    pids = family(gw)
    assert len(pids) == 4
    gw.expect = None
    gw.signal(signal.SIGKILL)
    gw.wait()
    wait_until(lambda: all(is_gone(pid) for pid in pids), "their end")


@pytest.mark.parametrize("script, words", [
    pytest.param(WHO, None, id="well"),
    pytest.param(WHO + "\nfunction on_exit() os.exit(6) end", "ended with 6",
                 id="with 6")])
def test_the_ends_of_workers_are_told_rightly_at_a_stop(gateway, script,
                                                        words):
    for _ in range(8):
        gw = gateway(script, "-w", "4")
        serves(gw, 1)
        assert gw.stop() == 0
        assert "has gone" not in gw.log()
        assert gw.log().count(" error ") == (0 if words is None else 4)
        if words is not None:
            assert gw.log().count(words) == 4
