"""-w N: a supervisor keeps workers serving, whatever happens to one of them.

SPDX-License-Identifier: MIT
"""
import os
import signal

from support.gateway import wait_until
from support.processes import (WHO as SCRIPT, Client, all_workers, is_gone,
                               one_generation, serves, workers, write)


def test_two_processes_answer(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    found = all_workers(gw)
    assert set(found) == {1, 2}
    assert gw.pid not in found.values()


def test_killed_worker_is_replaced(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    before = all_workers(gw)
    os.kill(before[1], signal.SIGKILL)
    wait_until(lambda: workers(gw).get(1, before[1]) != before[1],
               "another worker 1")
    assert "worker 1" in gw.log() and "SIGKILL" in gw.log()


def test_kept_connections_survive_reloads(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    clients = [Client(gw) for _ in range(4)]
    for number in range(2, 7):
        gw.signal(signal.SIGHUP)
        serves(gw, number)
    for client in clients:
        client.finish()


def test_broken_script_changes_nothing(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    write(gw, "this is no Lua")
    gw.signal(signal.SIGHUP)
    wait_until(lambda: "the reload failed, generation 1 goes on" in gw.log())
    assert gw.request().text.endswith(" 1")


def test_settings_at_a_reload(gateway):
    """Those of the workers are the new script's; what the supervisor has done
    with the old ones stays."""
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    write(gw, SCRIPT + """
local who = on_request
return {
  log = "/nonexistent", pid = "/nonexistent",
  log_level = "info", max_params = 1000,
  on_request = function(req)
    fcgi.log("info", "at length")
    return who(req)
  end,
}
""")
    gw.signal(signal.SIGHUP)
    serves(gw, 2)
    one_generation(gw)
    gw.request()
    gw.wait_log("at length")
    for name in "log", "pid":
        assert f"{name} has changed: the old value holds" in gw.log()
    wait_until(lambda: gw.request({"LONG": "x" * 2000}).status == 431)


def test_number_of_workers_follows_signals(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    gw.signal(signal.SIGTTIN)
    wait_until(lambda: 3 in workers(gw), "a third worker")
    gw.signal(signal.SIGHUP)
    gw.wait_log("generation 2 serves with 3 workers")
    gw.signal(signal.SIGTTOU)
    wait_until(lambda: 3 not in workers(gw), "two workers")
    gw.signal(signal.SIGTTOU)
    wait_until(lambda: 2 not in workers(gw), "one worker")
    gw.signal(signal.SIGTTOU)
    gw.wait_log("SIGTTOU: there are 1 workers already")


def test_number_of_a_single_process(gateway):
    gw = gateway(SCRIPT)
    gw.signal(signal.SIGTTIN)
    gw.wait_log(r"notice .* SIGTTIN is for a supervisor")
    assert set(workers(gw)) == {1}


def test_workers_end_when_the_supervisor_is_gone(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    pids = all_workers(gw).values()
    gw.expect = None
    gw.signal(signal.SIGKILL)
    gw.wait()

    wait_until(lambda: all(is_gone(pid) for pid in pids), "the end of both")
