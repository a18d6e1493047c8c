"""What a service with several processes survives: the death or the silence of
each of them at every moment.

SPDX-License-Identifier: MIT
"""
import os
import re
import signal

import pytest
from support.gateway import wait_until
from support.processes import (WHO, Client, all_workers, children, is_gone,
                               one_generation, serves, state, workers, write)

# on_worker waits while the file that is the first argument exists.
SLOW_START = WHO + """
function on_worker(id)
  local fcgi = require "fcgi"
  while true do
    local file = io.open(fcgi.args[1])
    if not file then return end
    file:close()
    fcgi.sleep(0.01)
  end
end
"""


def template_of(gw):
    """Of the generation that serves, while there is but one."""
    pid, = wait_until(lambda: len(children(gw.pid)) == 1 and
                      children(gw.pid), "one template")
    return pid


def starting(gw):
    """Until a second generation has forked its workers; their template."""
    def find():
        templates = children(gw.pid)
        return (len(templates) == 2 and len(children(templates[1])) == 2 and
                templates[1])
    return wait_until(find, "two generations")


# --- workers -----------------------------------------------------------------

def test_stopped_worker_is_replaced(gateway):
    """Although it was idle, and nothing but its silence could tell."""
    gw = gateway(WHO, "-w", "2", "--block-limit=0.3")
    serves(gw, 1)
    before = all_workers(gw)
    os.kill(before[1], signal.SIGSTOP)
    gw.wait_log(r"worker 1 \(\d+\) has not turned its loop for \d+ s \(it is "
                r"stopped\): it is killed")
    gw.wait_log(r"worker 1 \(\d+\) was killed by SIGKILL")
    wait_until(lambda: workers(gw).get(1, before[1]) != before[1],
               "another worker 1")
    assert workers(gw).get(2, before[2]) == before[2]  # idle, too


def test_worker_that_is_stopped_before_it_is_ready_is_replaced(gateway,
                                                               tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    gw = gateway(SLOW_START, "-w", "2", "--block-limit=0.3", wait=False,
                 args=[gate])
    template = template_of(gw)
    pids = wait_until(lambda: len(children(template)) == 2 and
                      children(template), "two workers")
    os.kill(pids[0], signal.SIGSTOP)
    gw.wait_log(r"\(it is stopped\): it is killed")
    gate.unlink()
    serves(gw, 1)
    assert pids[0] not in all_workers(gw).values()


@pytest.mark.parametrize("sig, words", [
    (signal.SIGKILL, "was killed by SIGKILL"),
    (signal.SIGXCPU, "was killed by SIGXCPU"),
    (signal.SIGTERM, "ended"),
])
def test_kept_connection_of_another_worker_is_not_touched(gateway, sig, words):
    gw = gateway(WHO, "-w", "2", expect=0)
    serves(gw, 1)
    with gw.connect() as conn:
        mine = int(conn.request(1).text.split()[1])
        others = set(all_workers(gw).values()) - {mine}
        os.kill(others.pop(), sig)
        gw.wait_log(words)
        assert int(conn.request(1).text.split()[1]) == mine


def test_worker_that_is_told_to_end_hands_over(gateway):
    """By somebody else than the supervisor: another one takes its place."""
    gw = gateway(WHO, "-w", "2")
    serves(gw, 1)
    with gw.connect() as conn:
        mine = int(conn.request(1).text.split()[1])
        os.kill(mine, signal.SIGTERM)
        wait_until(lambda: is_gone(mine), "its end")
        assert int(conn.request(1).text.split()[1]) != mine
    assert mine not in all_workers(gw).values()


def test_hundreds_of_kept_connections_go_over(gateway, many_files):
    """More than the links hold at once."""
    gw = gateway(WHO, "-w", "2", "--max-conns=2000")
    serves(gw, 1)
    conns = [gw.connect() for _ in range(800)]
    try:
        for conn in conns:
            conn.request(1)
        gw.signal(signal.SIGHUP)
        serves(gw, 2)
        one_generation(gw)
        for conn in conns:
            assert conn.request(1).text.endswith(" 2")
    finally:
        for conn in conns:
            conn.close()
    assert "warn" not in gw.log() and "error" not in gw.log()


def test_stopped_worker_is_given_no_connections(gateway, many_files):
    """It is not noticed (no block limit), and nobody waits for it."""
    gw = gateway(WHO, "-w", "3", "--block-limit=0", "--max-conns=2000",
                 "--grace=0.5")
    serves(gw, 1)
    pids = all_workers(gw, 3)
    os.kill(pids[1], signal.SIGSTOP)
    wait_until(lambda: state(pids[1]) == "T")
    clients = [Client(gw) for _ in range(3)]
    gw.signal(signal.SIGHUP)
    serves(gw, 2)
    for client in clients:
        client.finish()
    gw.wait_log(r"worker 1 \(\d+\) does not end: it is killed")


# --- templates ---------------------------------------------------------------

def test_killed_template_costs_no_request(gateway):
    gw = gateway(WHO, "-w", "2")
    serves(gw, 1)
    clients = [Client(gw) for _ in range(4)]
    os.kill(template_of(gw), signal.SIGKILL)
    gw.wait_log(r"the template of generation 1 was killed by SIGKILL: the "
                r"script is loaded again")
    serves(gw, 2)
    one_generation(gw)
    for client in clients:
        client.finish()
    assert all(gw.request().text.endswith(" 2") for _ in range(10))


def test_worker_of_a_killed_template_is_told_of_rightly(gateway, tmp_path):
    """It is the supervisor's own child then."""
    gate = tmp_path / "gate"
    gw = gateway(SLOW_START, "-w", "2", args=[gate])
    serves(gw, 1)
    before = all_workers(gw)
    gate.touch()
    os.kill(template_of(gw), signal.SIGKILL)
    gw.wait_log("the template of generation 1 was killed")
    os.kill(before[1], signal.SIGXCPU)
    gw.wait_log(rf"worker 1 \({before[1]}\) was killed by SIGXCPU")
    assert set(workers(gw)) == {2}
    gate.unlink()
    serves(gw, 2)
    assert set(all_workers(gw)) == {1, 2}


def test_killed_template_of_a_script_that_is_broken_now(gateway):
    """The workers serve on; when one dies, loading is tried until it works."""
    gw = gateway(WHO, "-w", "2")
    serves(gw, 1)
    before = all_workers(gw)
    write(gw, "this is no Lua")
    os.kill(template_of(gw), signal.SIGKILL)
    gw.wait_log("the reload failed, generation 1 goes on")
    assert all_workers(gw) == before
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gw.log().count("the reload failed") > 2, "two tries")
    write(gw, WHO)
    wait_until(lambda: re.search(r"generation \d+ serves with", gw.log()
                                 .split("the reload failed")[-1]), "the cure")
    assert set(all_workers(gw)) == {1, 2}


def test_stopped_template_is_noticed_when_it_is_needed(gateway):
    gw = gateway(WHO, "-w", "2", "--block-limit=0.3")
    serves(gw, 1)
    before = all_workers(gw)
    template = template_of(gw)
    os.kill(template, signal.SIGSTOP)
    os.kill(before[1], signal.SIGKILL)
    gw.wait_log(rf"the template of generation 1 \({template}\) has not "
                r"answered for \d+ s \(it is stopped\): it is killed")
    gw.wait_log(rf"worker 1 \({before[1]}\) was killed by SIGKILL")
    serves(gw, 2)
    assert set(all_workers(gw)) == {1, 2}
    assert is_gone(template)


# --- while a generation rises ------------------------------------------------

@pytest.fixture
def rising(gateway, tmp_path):
    """A service whose second generation waits in on_worker; what ends that."""
    gate = tmp_path / "gate"
    gw = gateway(SLOW_START, "-w", "2", args=[gate])
    serves(gw, 1)
    gate.touch()
    gw.signal(signal.SIGHUP)
    gw.rising = starting(gw)
    return gw, gate.unlink


def test_worker_is_replaced_while_a_generation_rises(rising):
    """By one of its own generation, which is the one that serves."""
    gw, go = rising
    before = all_workers(gw)
    write(gw, "this is no Lua")
    os.kill(before[2], signal.SIGKILL)
    wait_until(lambda: "worker 2" in gw.log())
    old, _ = children(gw.pid)
    wait_until(lambda: len(children(old)) == 2, "its replacement")
    go()
    serves(gw, 2)
    one_generation(gw)
    assert all(gw.request().text.endswith(" 2") for _ in range(10))


def test_reload_while_a_generation_rises(rising):
    """Comes after it, once however often it is asked for."""
    gw, go = rising
    for count in range(1, 4):
        gw.signal(signal.SIGHUP)
        wait_until(lambda: gw.log().count("SIGHUP") == count + 1)
    go()
    serves(gw, 3)
    one_generation(gw)
    assert "generation 4" not in gw.log()


def test_killed_worker_of_a_generation_that_rises(rising):
    """It is not fit: what serves goes on, and gets no workers of its kind."""
    gw, go = rising
    os.kill(children(gw.rising)[0], signal.SIGKILL)
    gw.wait_log("generation 2 is not fit to serve: generation 1 goes on")
    one_generation(gw)
    before = all_workers(gw)
    os.kill(before[1], signal.SIGKILL)
    go()
    wait_until(lambda: workers(gw).get(1, before[1]) != before[1],
               "another worker 1")
    assert all(gw.request().text.endswith(" 1") for _ in range(10))
    gw.signal(signal.SIGHUP)
    serves(gw, 3)


def test_killed_template_of_a_generation_that_rises(rising):
    gw, go = rising
    os.kill(gw.rising, signal.SIGKILL)
    gw.wait_log("the template of generation 2 was killed by SIGKILL: "
                "generation 1 goes on")
    one_generation(gw)
    go()
    assert all(gw.request().text.endswith(" 1") for _ in range(10))
    gw.signal(signal.SIGHUP)
    serves(gw, 3)


def test_killed_template_of_the_generation_that_serves_meanwhile(rising):
    gw, go = rising
    old, _ = children(gw.pid)
    os.kill(old, signal.SIGKILL)
    gw.wait_log("the template of generation 1 was killed by SIGKILL")
    assert gw.request().text.endswith(" 1")
    go()
    serves(gw, 2)
    one_generation(gw)
    assert all(gw.request().text.endswith(" 2") for _ in range(10))


def test_one_worker_less_while_a_generation_rises(rising):
    """It may be complete then."""
    gw, go = rising
    gw.signal(signal.SIGTTOU)
    gw.wait_log("SIGTTOU: 1 workers")
    go()
    gw.wait_log("generation 2 serves with 1 workers")
    one_generation(gw)
    assert set(workers(gw)) == {1}


def test_one_worker_more_while_a_generation_rises(rising):
    gw, go = rising
    gw.signal(signal.SIGTTIN)
    gw.wait_log("SIGTTIN: 3 workers")
    go()
    gw.wait_log("generation 2 serves with 3 workers")
    one_generation(gw)
    assert set(all_workers(gw, 3)) == {1, 2, 3}
    text = gw.request().text
    assert text.endswith(" 2")


def test_stop_while_a_generation_rises(rising):
    gw, _ = rising
    pids = [pid for template in children(gw.pid)
            for pid in [template, *children(template)]]
    assert gw.stop() == 0
    assert all(is_gone(pid) for pid in pids)


def test_no_zombies(gateway):
    gw = gateway(WHO, "-w", "2", "--max-requests=20")
    serves(gw, 1)
    for number in range(2, 5):
        os.kill(all_workers(gw)[1], signal.SIGKILL)
        gw.signal(signal.SIGHUP)
        serves(gw, number)

    def are_well():
        templates = children(gw.pid)
        return len(templates) == 1 and \
            len(children(templates[0])) == 2 and \
            all(state(pid) not in (None, "Z")
                for pid in templates + children(templates[0]))
    wait_until(are_well, "one template and two workers")


def test_count_of_workers_is_that_of_now(gateway):
    gw = gateway("""
local fcgi = require "fcgi"
function on_request(req)
  return 200, {}, ("%d %d %d"):format(fcgi.worker.id, fcgi.worker.pid,
    fcgi.worker.count)
end
""", "-w", "2")
    serves(gw, 1)
    gw.signal(signal.SIGTTIN)
    wait_until(lambda: 3 in workers(gw), "a third worker")
    gw.signal(signal.SIGHUP)
    serves(gw, 2)
    one_generation(gw)
    assert gw.request().text.endswith(" 3")
