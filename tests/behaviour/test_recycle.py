"""--max-requests and --max-memory: a worker that has done enough is replaced.

SPDX-License-Identifier: MIT
"""
import itertools
import signal

import pytest
from support.gateway import wait_until
from support.processes import (WHO, Client, all_workers, children, serves,
                               workers)

# Keeps what it is asked to keep, and drops the same again.
HEAP = WHO + """
local kept, page = {}, ("x"):rep(1024)
function on_request(req)
  local path = req:path()
  if path == "/keep" then
    kept[#kept + 1] = page:rep(1024)
  elseif path == "/drop" then
    local garbage = {}
    for i = 1, 16 do garbage[i] = page:rep(1024 + i) end
  end
  return 200, {}, ("%d %d %d"):format(fcgi.worker.id, fcgi.worker.pid,
    fcgi.worker.generation)
end
"""
EXIT = """
function on_exit(id, reason)
  require("fcgi").log("notice", ("exit %d: %s"):format(id, reason))
end
"""


def ask(gw, path="/"):
    number, pid, generation = gw.request(
        {"SCRIPT_NAME": path, "REQUEST_URI": path}).text.split()
    return int(number), int(pid)


def test_worker_is_replaced_after_its_requests(gateway):
    gw = gateway(WHO + EXIT, "-w", "2", "--max-requests=20")
    serves(gw, 1)
    before = all_workers(gw)
    wait_until(lambda: all(workers(gw, 20).get(i, pid) != pid
                           for i, pid in before.items()), "two new workers")
    gw.wait_log(r"exit 1: max-requests")
    gw.wait_log(r"exit 2: max-requests")
    assert "error" not in gw.log()


def test_worker_begins_that_many_requests_at_least(gateway):
    gw = gateway(WHO, "-w", "2", "--max-requests=50")
    serves(gw, 1)
    with gw.connect() as conn:
        pids = [conn.request(1).text.split()[1] for _ in range(400)]
    runs = [len(list(run)) for _, run in itertools.groupby(pids)]
    assert len(runs) > 3, runs
    assert all(run >= 50 for run in runs[1:-1]), runs


def test_kept_connections_survive_recycling(gateway):
    """Also those over which requests come without a pause."""
    gw = gateway(WHO, "-w", "2", "--max-requests=50")
    serves(gw, 1)
    clients = [Client(gw) for _ in range(8)]
    wait_until(lambda: all(len(client.pids) > 4 or client.error
                           for client in clients),
               "clients that have seen five workers each")
    for client in clients:
        client.finish()
    assert "error" not in gw.log() and "warn" not in gw.log()


def test_workers_are_replaced_one_at_a_time(gateway, tmp_path):
    """However many of them have reached the limit."""
    script = WHO + """
function on_worker(id)
  local fcgi = require "fcgi"
  while true do
    local file = io.open(fcgi.args[1])
    if file then file:close() return end
    fcgi.sleep(0.01)
  end
end
"""
    gate = tmp_path / "gate"
    gate.touch()
    gw = gateway(script, "-w", "3", "--max-requests=5", "--log-level=info",
                 args=[gate])
    serves(gw, 1)
    gate.unlink()
    template, = children(gw.pid)
    before = all_workers(gw, 3)
    wait_until(lambda: gw.request() and
               gw.log().count("is to be replaced") == 3, "three wishes")
    wait_until(lambda: len(children(template)) == 4, "one replacement")
    assert all_workers(gw, 3) == before
    assert len(children(template)) == 4
    gate.touch()
    wait_until(lambda: not set(workers(gw).values()) & set(before.values()),
               "three new workers")


def test_heap_that_grows_is_replaced(gateway):
    gw = gateway(HEAP + EXIT, "-w", "2", "--max-memory=8M")
    serves(gw, 1)
    before = all_workers(gw)

    def have_new():
        ask(gw, "/keep")
        found = workers(gw, 8)
        return any(found.get(i, pid) != pid for i, pid in before.items())
    wait_until(have_new, "a new worker")
    gw.wait_log(r"exit \d: max-memory")


def test_garbage_is_no_reason(gateway):
    """What is collected anyway does not count, however much it was."""
    gw = gateway(HEAP + EXIT, "-w", "2", "--max-memory=24M")
    serves(gw, 1)
    before = all_workers(gw)
    for _ in range(12):
        ask(gw, "/drop")
    assert all_workers(gw) == before
    assert "max-memory" not in gw.log()


@pytest.mark.parametrize("option", ["--max-requests=3", "--max-memory=4M"])
def test_single_process_ends(gateway, option):
    """For whoever has started it to start it again."""
    gw = gateway(HEAP + EXIT, option)
    pids = set()

    def has_ended():
        try:
            pids.add(ask(gw, "/keep")[1])
        except OSError:
            pass
        return not gw.alive()
    wait_until(has_ended, "its end")
    assert gw.wait() == 0
    assert len(pids) == 1
    assert f"exit 1: {option[2:].split('=')[0]}" in gw.log()


def test_running_request_ends_before_its_worker(gateway):
    script = WHO + """
local who = on_request
function on_request(req)
  if req:path() == "/slow" then
    for _ = 1, 3 do req:read() end -- until the body has come
  end
  return who(req)
end
"""
    gw = gateway(script + EXIT, "-w", "2", "--max-requests=10")
    serves(gw, 1)
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1, {"SCRIPT_NAME": "/slow", "REQUEST_URI": "/slow"})
        conn.wait_taken()
        seen = {1: set(), 2: set()}

        def both_are_new():
            number, pid = ask(gw)
            seen[number].add(pid)
            return all(len(pids) > 1 for pids in seen.values())
        wait_until(both_are_new, "two new workers")
        conn.stdin(1, b"")
        number, pid, _ = conn.collect(1).text.split()
        # It is idle now and goes over, if it is not asked again before.
        wait_until(lambda: conn.request(2).text.split()[1] != pid,
                   "another worker at the connection")
        gw.wait_log(rf"exit {number}: max-requests")


def test_worker_that_does_not_drain_is_killed(gateway):
    script = WHO + """
function on_exit(id, reason)
  while true do pcall(string.rep, "x", 100) end
end
"""
    gw = gateway(script, "-w", "2", "--max-requests=5", "--grace=0.2",
                 "--block-limit=0")
    serves(gw, 1)
    before = all_workers(gw)
    wait_until(lambda: not set(workers(gw).values()) & set(before.values()),
               "two new workers")
    gw.wait_log(r"worker \d \(\d+\) does not end: it is killed")
    gw.signal(signal.SIGTERM)
    gw.signal(signal.SIGTERM)
    assert gw.wait() == 0


def test_replacement_that_fails_is_tried_again(gateway, tmp_path):
    """And the worker that it was to replace serves on."""
    script = WHO + """
function on_worker(id)
  local file = io.open(require("fcgi").args[1])
  if file then file:close() error("not now") end
end
"""
    trap = tmp_path / "trap"
    gw = gateway(script, "-w", "2", "--max-requests=500", args=[trap])
    serves(gw, 1)
    before = all_workers(gw)
    trap.touch()
    wait_until(lambda: gw.request() and gw.log().count("not now") > 2,
               "three failures")
    assert all_workers(gw) == before
    trap.unlink()
    wait_until(lambda: not set(workers(gw).values()) & set(before.values()),
               "two new workers")
