"""-w N: a supervisor keeps workers serving, whatever happens to one of them.

SPDX-License-Identifier: MIT
"""
import os
import re
import signal
import threading

from support.gateway import wait_until

SCRIPT = """
local fcgi = require "fcgi"
function on_request(req)
  return 200, {}, ("%d %d %d"):format(fcgi.worker.id, fcgi.worker.pid,
    fcgi.worker.generation)
end
"""


def serves(gw, number):
    wait_until(lambda: f"generation {number} serves" in gw.log(),
               f"generation {number}")


def workers(gw, asks=40):
    """id -> pid of those that answered."""
    found = {}
    for _ in range(asks):
        number, pid, _ = gw.request().text.split()
        found[int(number)] = int(pid)
    return found


def both_workers(gw):
    found = {}

    def have_both():
        found.update(workers(gw))
        return len(found) == 2
    wait_until(have_both, "an answer of each worker")
    return found


def write(gw, text):
    fresh = gw.folder / "fresh.lua"
    fresh.write_text(text)
    fresh.rename(gw.script)


class Client(threading.Thread):
    """Asks on one kept connection until it is told to stop."""

    def __init__(self, gw):
        super().__init__()
        self.gw, self.done, self.error, self.stopping = gw, 0, None, False
        self.start()

    def run(self):
        try:
            with self.gw.connect() as conn:
                while not self.stopping:
                    response = conn.request(1)
                    response.check_complete()
                    assert re.fullmatch(r"\d+ \d+ \d+", response.text)
                    self.done += 1
        except BaseException as error:
            self.error = error


def test_two_processes_answer(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    found = both_workers(gw)
    assert set(found) == {1, 2}
    assert gw.pid not in found.values()


def test_killed_worker_is_replaced(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    before = both_workers(gw)
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
        client.stopping = True
    for client in clients:
        client.join()
        assert client.error is None, client.error
        assert client.done > 0


def test_broken_script_changes_nothing(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    write(gw, "this is no Lua")
    gw.signal(signal.SIGHUP)
    wait_until(lambda: "the reload failed, generation 1 goes on" in gw.log())
    assert gw.request().text.endswith(" 1")


def test_number_of_workers_follows_signals(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    gw.signal(signal.SIGTTIN)
    wait_until(lambda: 3 in workers(gw), "a third worker")
    gw.signal(signal.SIGTTOU)
    wait_until(lambda: 3 not in workers(gw), "two workers")


def test_workers_end_when_the_supervisor_is_gone(gateway):
    gw = gateway(SCRIPT, "-w", "2")
    serves(gw, 1)
    pids = both_workers(gw).values()
    gw.expect = None
    gw.signal(signal.SIGKILL)
    gw.wait()

    def is_gone(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True
    wait_until(lambda: all(is_gone(pid) for pid in pids), "the end of both")
